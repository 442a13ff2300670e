// SPDX-License-Identifier: Apache-2.0
//
// Member by member; whether a policy is one says the API. Failure modes: a text that is no duration
// of either form, a sink of no known form.
#include "cli/delivery_args.h"

#include "base/mem.h"
#include "base/num.h"
#include "json/jget.h"
#include "cli/sink.h"
#include "eventing/names.h"

#define NS_OF_S          1e9
#define DELIVERY_RETRIES 10
#define DELIVERY_DELAY   "PT0.2S"

int delivery_args_period(json_t *to, const char *key, const char *flag, const char *text,
                         struct error *err)
{
    char number[NUM_DOUBLE_MAX];
    int64_t ns = 0;

    if (!text) {
        return 0;
    }
    if (text[0] == 'P') { // which the API checks
        json_object_set_new(to, key, json_string(text));
        return 0;
    }
    if (num_parse_duration_ns(slice_str(text), &ns, NULL) < 0 || ns < 0) {
        return error_set(err, ERR_INVALID, "--%s %.60s: must be a duration, as 500ms or PT0.5S",
                         flag, text);
    }
    CLEANUP(cleanup_free)
    char *iso = xasprintf("PT%sS", num_format_double((double)ns / NS_OF_S, number, sizeof number));
    json_object_set_new(to, key, json_string(iso));
    return 0;
}

// What was not said: as it is without any delivery. The API takes a missing retry for none.
static void fill(json_t *delivery)
{
    json_t *usual = json_pack("{s:i, s:s, s:s}", "retry", DELIVERY_RETRIES, "backoffPolicy",
                              BACKOFF_EXPONENTIAL, "backoffDelay", DELIVERY_DELAY);

    (void)json_object_update_missing(delivery, usual);
    json_decref(usual);
}

int delivery_args_set(const struct delivery_args *a, json_t *delivery, struct error *err)
{
    json_t *sink = NULL;
    bool fresh = json_object_size(delivery) == 0;

    if (a->retry >= 0) {
        json_object_set_new(delivery, "retry", json_integer(a->retry));
    }
    if (a->backoff) {
        json_object_set_new(delivery, "backoffPolicy", json_string(a->backoff));
    }
    int rc = delivery_args_period(delivery, "backoffDelay", "backoff-delay", a->backoff_delay, err);
    rc = rc ? rc : delivery_args_period(delivery, "timeout", "delivery-timeout", a->timeout, err);
    rc = rc ? rc
            : delivery_args_period(delivery, "retryAfterMax", "retry-after-max", a->retry_after_max,
                                   err);
    rc = rc || !a->dead_letter ? rc : sink_parse(a->dead_letter, &sink, err);
    if (sink) {
        json_object_set_new(delivery, "deadLetterSink", sink);
    }
    if (rc == 0 && fresh && json_object_size(delivery) > 0) {
        fill(delivery);
    }
    return rc;
}
