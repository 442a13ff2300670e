// SPDX-License-Identifier: Apache-2.0
// Input: a Trigger's spec as JSON, or else an expression of CloudEvents SQL. What is taken can be
// run on any event, and says the same each time; what is not says why.
#include "json/jparse.h"
#include "events/cesql.h"
#include "events/filter.h"
#include "fuzz.h"

static const char *const EVENTS[] = {
    "specversion=1.0\nid=1\nsource=/s\ntype=order.made\nsubject=\xe2\x82\xac 100%\n"
    "time=2020-01-02T03:04:05.600Z\nn#-5\non?true\ntext="
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\nempty=\n",
    "specversion=0.3\nid=true\nsource=-1\ntype=2147483647\n"};

static void run_filter(struct slice text, const struct event *events)
{
    struct error err = {.code = 0};
    struct filter *f;
    json_t *spec = NULL;
    if (jparse_object(text, text.len, &spec, NULL) < 0) {
        return;
    }
    if (filter_compile(spec, &f, &err) < 0) {
        MUST_HOLD(err.msg[0] != '\0');
        json_decref(spec);
        return;
    }
    json_decref(spec);
    for (size_t i = 0; i < ARRAY_LEN(EVENTS); i++) {
        struct slice value;
        bool matches = filter_match(f, &events[i]);
        MUST_HOLD(filter_match(f, &events[i]) == matches);
        MUST_HOLD(matches || !filter_takes_all(f));
        if (matches && filter_needs(f, EVENT_TYPE, &value)) {
            MUST_HOLD(slice_eq(value, events[i].known[EVENT_TYPE]));
        }
    }
    filter_free(f);
}

static void run_expression(struct slice text, const struct event *events)
{
    struct error err = {.code = 0};
    struct cesql *c;
    if (cesql_compile(text, &c, &err) < 0) {
        MUST_HOLD(err.msg[0] != '\0');
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(EVENTS); i++) {
        struct cesql_value a, b;
        enum cesql_problem problem = cesql_run(c, &events[i], &a);
        size_t len = a.type == CESQL_STRING ? a.string.len : 0;
        int32_t number = a.number;
        MUST_HOLD(len <= 2 * CESQL_SCRATCH_MAX);
        MUST_HOLD(cesql_run(c, &events[i], &b) == problem && b.type == a.type);
        MUST_HOLD(b.type == CESQL_STRING ? b.string.len == len : b.number == number);
        MUST_HOLD(a.type != CESQL_BOOLEAN || number == 0 || number == 1);
        bool matches = cesql_match(c, &events[i]);
        MUST_HOLD(matches == (problem == CESQL_FINE && a.type == CESQL_BOOLEAN && number == 1));
    }
    cesql_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct slice text = {(const char *)bytes, size};
    struct event events[ARRAY_LEN(EVENTS)];
    if (size > 16u * 1024) {
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(EVENTS); i++) {
        MUST_HOLD(event_unpack(slice_str(EVENTS[i]), SLICE_EMPTY, &events[i], NULL) == 0);
    }
    if (size > 0 && bytes[0] == '{') {
        run_filter(text, events);
    } else {
        run_expression(text, events);
    }
    for (size_t i = 0; i < ARRAY_LEN(EVENTS); i++) {
        event_fini(&events[i]);
    }
    return 0;
}
