// SPDX-License-Identifier: Apache-2.0
// Input: a letter for the kind, then a Broker, Trigger, PingSource or SinkBinding as JSON, and
// after a zero byte perhaps the object that is stored. Whatever it is: defaulting twice is the same
// as once, judging changes nothing, what was refused has a reason, and what is valid stays valid.
// The text is read as a duration too.

#include "base/mem.h"
#include "json/jedit.h"
#include "json/jparse.h"
#include "eventing/admit.h"
#include "eventing/period.h"
#include "fuzz.h"

enum { OBJECT_MAX = 1 << 20 };

static void admitted(const struct kind *kind, json_t *object, const json_t *old)
{
    struct serving_request request = {.kind = kind, .old = old};
    struct serving_report report;
    eventing_default(kind, object);
    CLEANUP(jfree) json_t *once = json_deep_copy(object);
    eventing_default(kind, object);
    MUST_HOLD(jequal(once, object));
    serving_report_init(&report);
    int rc = eventing_validate(&request, object, &report);
    MUST_HOLD(jequal(once, object));
    MUST_HOLD((rc == 0) == (report.errors.len == 0));
    if (rc == 0) { /* stored as it is, it may be sent again */
        struct serving_request again = {.kind = kind, .old = once};
        MUST_HOLD(eventing_admit(&again, object, &report) == 0);
    }
    serving_report_fini(&report);
}

static void period(struct slice text)
{
    struct error err = {0};
    int64_t ms = 0;
    if (period_parse_ms(text, &ms, &err) < 0) {
        MUST_HOLD(err.msg[0] != '\0' && ms == 0);
    } else {
        MUST_HOLD(ms < INT64_C(4000000000000) && ms > INT64_C(-4000000000000));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(jfree) json_t *object = NULL;
    CLEANUP(jfree) json_t *old = NULL;
    if (size < 2) {
        return 0;
    }
    static const enum kind_id kinds[] = {KIND_BROKER,      KIND_TRIGGER,       KIND_PINGSOURCE,
                                         KIND_SINKBINDING, KIND_WEBHOOKSOURCE, KIND_REDISSOURCE,
                                         KIND_FILESOURCE};
    const struct kind *kind = kind_row(kinds[data[0] % ARRAY_LEN(kinds)]);
    struct slice text = {(const char *)data + 1, size - 1};
    ptrdiff_t end = slice_find(text, '\0');
    period(text);
    if (end >= 0) {
        struct slice stored = slice_sub(text, (size_t)end + 1, text.len - (size_t)end - 1);
        if (jparse(stored, OBJECT_MAX, &old, NULL) < 0) {
            old = NULL;
        }
        text = slice_sub(text, 0, (size_t)end);
    }
    if (jparse(text, OBJECT_MAX, &object, NULL) == 0) {
        admitted(kind, object, old);
    }
    return 0;
}
