// SPDX-License-Identifier: Apache-2.0
/* Events that wait: who tells of them, what they ask for, how long that holds, and that not knowing
 * is not zero. */
#include "serving/backlog_report.h"
#include "autoscaler/backlogs.h"
#include "autoscaler/forecast.h"
#include "spec.h"
#include "world.h"

#define T0 1000000ull
#define PAIR(k, v)                                            \
    {                                                         \
        SLICE_LIT("autoscaling.knative.dev/" k), SLICE_LIT(v) \
    }

/* --- reports -------------------------------------------------------------------------------- */

struct part {
    const char *worker;
    uint64_t seq;
    uint16_t part, parts;
    const char *service; /* NULL: no entry */
    uint64_t waiting;
};

static int take(struct backlogs *b, struct part p, uint64_t now_ms)
{
    CLEANUP(strbuf_fini) struct strbuf bytes;
    strbuf_init(&bytes, 65536);
    backlog_part_write(
        &bytes, &(struct backlog_part){
                    .seq = p.seq, .part = p.part, .parts = p.parts, .worker = slice_str(p.worker)});
    if (p.service != NULL) {
        backlog_entry_write(&bytes, &(struct backlog_entry){.ns = SLICE_LIT("default"),
                                                            .name = slice_str(p.service),
                                                            .waiting = p.waiting});
    }
    struct error err;
    return backlogs_take(b, strbuf_slice(&bytes), now_ms, &err);
}

static double waiting(const struct backlogs *b, const char *service, uint64_t now_ms)
{
    return backlogs_waiting(b, SLICE_LIT("default"), slice_str(service), SLICE_LIT("a-00002"),
                            now_ms);
}

static void a_report_says_all(void **state)
{
    struct backlogs b;
    backlogs_init(&b);
    backlogs_begin(&b, T0);
    assert_true(waiting(&b, "a", T0) < 0);
    assert_int_equal(take(&b, (struct part){"w1", 1, 0, 1, "a", 40}, T0), 1);
    assert_true(waiting(&b, "a", T0) == 40);
    assert_true(waiting(&b, "b", T0) == 0);
    /* who is absent from the next one has none */
    assert_int_equal(take(&b, (struct part){"w1", 2, 0, 1, "b", 7}, T0), 1);
    assert_true(waiting(&b, "a", T0) == 0 && waiting(&b, "b", T0) == 7);
    assert_int_equal(take(&b, (struct part){"w1", 3, 0, 1, NULL, 0}, T0), 1);
    assert_true(waiting(&b, "b", T0) == 0);
    backlogs_fini(&b);
}

static void a_revision_has_its_own_and_its_services(void **state)
{
    struct backlogs b;
    backlogs_init(&b);
    backlogs_begin(&b, T0);
    assert_int_equal(take(&b, (struct part){"w1", 1, 0, 3, "a", 40}, T0), 0);
    assert_int_equal(take(&b, (struct part){"w1", 1, 1, 3, "a/a-00002", 2}, T0), 0);
    assert_int_equal(take(&b, (struct part){"w1", 1, 2, 3, "a/a-00001", 100}, T0), 1);
    assert_true(waiting(&b, "a", T0) == 42);
    assert_true(waiting(&b, "b", T0) == 0);
    backlogs_fini(&b);
}

static void parts_make_one_report(void **state)
{
    struct backlogs b;
    backlogs_init(&b);
    assert_int_equal(take(&b, (struct part){"w", 1, 0, 1, "old", 3}, T0), 1);
    assert_int_equal(take(&b, (struct part){"w", 2, 0, 2, "a", 1}, T0), 0);
    assert_true(waiting(&b, "old", T0) == 3); /* not before it is whole */
    assert_int_equal(take(&b, (struct part){"w", 2, 1, 2, "b", 2}, T0), 1);
    assert_true(waiting(&b, "a", T0) == 1 && waiting(&b, "b", T0) == 2);
    assert_true(waiting(&b, "old", T0) == 0);
    /* the first part was lost, or the last: nothing changes */
    assert_int_equal(take(&b, (struct part){"w", 3, 1, 2, "c", 9}, T0), 0);
    assert_int_equal(take(&b, (struct part){"w", 4, 0, 2, "c", 9}, T0), 0);
    assert_int_equal(take(&b, (struct part){"w", 5, 1, 2, "c", 9}, T0), 0);
    assert_true(waiting(&b, "a", T0) == 1 && waiting(&b, "c", T0) == 0);
    /* a worker that begins anew counts from 1 again */
    assert_int_equal(take(&b, (struct part){"w", 1, 0, 1, "c", 4}, T0), 1);
    assert_true(waiting(&b, "c", T0) == 4);
    backlogs_fini(&b);
}

static void the_largest_of_the_workers_counts(void **state)
{
    struct backlogs b;
    backlogs_init(&b);
    assert_int_equal(take(&b, (struct part){"w1", 1, 0, 1, "a", 40}, T0), 1);
    assert_int_equal(take(&b, (struct part){"w2", 1, 0, 1, "a", 38}, T0), 1);
    assert_true(waiting(&b, "a", T0) == 40);
    /* the one that is silent does not count any more */
    assert_int_equal(take(&b, (struct part){"w2", 2, 0, 1, "a", 5}, T0 + 9000), 1);
    assert_true(waiting(&b, "a", T0 + 9999) == 40);
    assert_true(waiting(&b, "a", T0 + 10000) == 5);
    assert_true(backlogs_known(&b, T0 + 18999));
    assert_false(backlogs_known(&b, T0 + 19000));
    assert_true(waiting(&b, "a", T0 + 19000) < 0);
    assert_int_equal(backlogs_freeze_until(&b), T0 + 9000 + 10000 + 120000);
    backlogs_fini(&b);
}

static void what_is_no_report_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } rows[] = {
        {"", 0},
        {"\0\0\0\0\0\0\0\1\0\0\0\1", 12},                        /* no worker */
        {"\0\0\0\0\0\0\0\1\0\0\0\1\0", 13},                      /* an empty one */
        {"\0\0\0\0\0\0\0\1\0\0\0\0\1w", 14},                     /* no parts */
        {"\0\0\0\0\0\0\0\1\0\1\0\1\1w", 14},                     /* part 1 of 1 */
        {"\0\0\0\0\0\0\0\1\0\0\0\x41\1w", 14},                   /* too many parts */
        {"\0\0\0\0\0\0\0\1\0\0\0\1\1w\1d", 16},                  /* half an entry */
        {"\0\0\0\0\0\0\0\1\0\0\0\1\1w\1d\1s\0\0\0\0\0\0\0", 25}, /* a byte short */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct backlogs b;
        struct error err = {0};
        backlogs_init(&b);
        assert_int_equal(backlogs_take(&b, slice_of(rows[i].bytes, rows[i].len), T0, &err),
                         ERR_PROTOCOL);
        assert_false(backlogs_known(&b, T0));
        backlogs_fini(&b);
    }
}

static void workers_are_bounded(void **state)
{
    struct backlogs b;
    char name[16];
    backlogs_init(&b);
    for (int i = 0; i < BACKLOGS_WORKERS_MAX; i++) {
        snprintf(name, sizeof(name), "w%d", i);
        assert_int_equal(take(&b, (struct part){name, 1, 0, 1, NULL, 0}, T0), 1);
    }
    assert_int_equal(take(&b, (struct part){"more", 1, 0, 1, NULL, 0}, T0), ERR_OVERLOAD);
    /* those that are silent make room */
    assert_int_equal(take(&b, (struct part){"more", 1, 0, 1, NULL, 0}, T0 + 10000), 1);
    backlogs_fini(&b);
}

/* --- decisions ------------------------------------------------------------------------------ */

static struct scaling_spec spec_of(double target)
{
    struct scaling_spec spec = spec_defaults();
    spec.metric = SCALING_BACKLOG;
    spec.target = 0.7; /* containerConcurrency 1 */
    spec.total = 1;
    spec.backlog_target = target;
    return spec;
}

static void single_decisions(void **state)
{
    static const struct {
        const char *name;
        double backlog, target, stable, held;
        int32_t ready, activation;
        double up;
        bool blind;
        int32_t want;
        enum decider_rule rule;
    } rows[] = {
        {"nothing waits", 0, 10, .want = 0, .rule = DECIDER_STABLE},
        {"one event wakes", 1, 10, .want = 1, .rule = DECIDER_BACKLOG},
        {"forty of ten each", 40, 10, .want = 4, .rule = DECIDER_BACKLOG},
        {"a part of a replica is a whole one", 41, 10, .want = 5, .rule = DECIDER_BACKLOG},
        {"two hundred of twenty each", 200, 20, .want = 10, .rule = DECIDER_BACKLOG},
        {"more requests than events", 40, 10, .stable = 4.1, .ready = 4, .want = 6,
         .rule = DECIDER_STABLE},
        {"as many: the events' rule", 40, 10, .stable = 2.8, .ready = 4, .want = 4,
         .rule = DECIDER_BACKLOG},
        {"more events than requests", 40, 10, .stable = 1.4, .ready = 3, .want = 4,
         .rule = DECIDER_BACKLOG},
        {"a request that waits", 0, 10, .held = 3, .want = 3, .rule = DECIDER_HELD_REQUEST},
        {"a step up is bounded", 1000, 1, .ready = 2, .up = 3, .want = 6, .rule = DECIDER_MAX_UP},
        {"several from zero", 1, 10, .activation = 3, .want = 3, .rule = DECIDER_ACTIVATION},
        {"not known asks for nothing", -1, 10, .want = 0, .rule = DECIDER_STABLE},
        {"events without any report of requests", 40, 10, .blind = true, .want = 4,
         .rule = DECIDER_BACKLOG},
        {"a step down is bounded too", 10, 10, .ready = 9, .want = 4, .rule = DECIDER_MAX_DOWN},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct scaling_spec spec = spec_of(rows[i].target);
        struct decider d = {0};
        spec.max_scale_up_rate = rows[i].up > 0 ? rows[i].up : 1000;
        spec.activation_scale = rows[i].activation > 0 ? rows[i].activation : 1;
        struct decision got = decider_decide(&d, &spec,
                                             &(struct decider_input){.now_ms = T0,
                                                                     .has_data = !rows[i].blind,
                                                                     .stable = rows[i].stable,
                                                                     .panic = rows[i].stable,
                                                                     .ready = rows[i].ready,
                                                                     .reachable = true,
                                                                     .held = rows[i].held,
                                                                     .backlog = rows[i].backlog});
        if (!got.valid || got.desired != rows[i].want || got.rule != rows[i].rule) {
            fail_msg("%s: %d by %s", rows[i].name, got.desired, decider_rule_text(got.rule));
        }
        assert_false(got.panicking && rows[i].stable == 0);
        decider_fini(&d);
    }
}

static struct decision decide(struct decider *d, const struct scaling_spec *spec, uint64_t at_s,
                              double backlog, int32_t ready)
{
    struct decider_input in = {.now_ms = T0 + at_s * 1000,
                               .has_data = true,
                               .ready = ready,
                               .reachable = true,
                               .backlog = backlog};
    return decider_decide(d, spec, &in);
}

static void up_at_once_and_down_over_the_stable_window(void **state)
{
    struct scaling_spec spec = spec_of(10);
    struct decider d = {0};
    assert_int_equal(decide(&d, &spec, 0, 30, 0).desired, 3);
    assert_int_equal(decide(&d, &spec, 2, 100, 3).desired, 10);
    struct decision got = decide(&d, &spec, 4, 20, 10);
    assert_int_equal(got.desired, 10);
    assert_int_equal(got.rule, DECIDER_BACKLOG_HOLD);
    assert_int_equal(got.backlog_most, 10);
    /* it fills and drains: nothing comes and goes */
    for (uint64_t at = 6; at <= 60; at += 2) {
        assert_int_equal(decide(&d, &spec, at, at % 4 == 0 ? 0 : 90, 10).desired, 10);
    }
    uint64_t until_s = (decide(&d, &spec, 60, 0, 10).until_ms - T0) / 1000;
    assert_in_range(until_s, 61, 64);
    got = decide(&d, &spec, 64, 0, 10); /* the most of the last window is 9 of 58 s */
    assert_int_equal(got.desired, 9);
    assert_int_equal(decide(&d, &spec, 122, 0, 9).desired, 4); /* max-scale-down-rate */
    assert_int_equal(decide(&d, &spec, 124, 0, 1).desired, 0);
    decider_fini(&d);
}

static void another_metric_does_not_hear_of_events(void **state)
{
    struct scaling_spec spec = spec_of(10);
    struct decider d = {0};
    spec.metric = SCALING_CONCURRENCY;
    assert_int_equal(decide(&d, &spec, 0, 500, 1).desired, 0);
    /* and forgets what it heard under the other */
    spec.metric = SCALING_BACKLOG;
    assert_int_equal(decide(&d, &spec, 2, 500, 1).desired, 50);
    spec.metric = SCALING_CONCURRENCY;
    assert_int_equal(decide(&d, &spec, 4, 0, 1).desired, 0);
    decider_fini(&d);
}

/* --- a revision's life ---------------------------------------------------------------------- */

static const struct config_pair annotations[] = {PAIR("metric", "backlog"), PAIR("target", "10")};

static const char *text_of(const struct world *w, char *buf, size_t size)
{
    struct error err = {0};
    json_t *json = explain_json(w->rev, &w->reports, w->now_ms, 0, &err);
    assert_non_null(json);
    snprintf(buf, size, "%s", json_string_value(json_object_get(json, "text")));
    json_decref(json);
    return buf;
}

static void assert_says(const struct world *w, const char *part)
{
    char text[2048];
    if (strstr(text_of(w, text, sizeof(text)), part) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", part, text);
    }
}

static void from_zero_and_back(void **state)
{
    struct world w;
    world_init(&w, annotations, ARRAY_LEN(annotations));
    for (int i = 0; i < 100 && w.rev->replicas > 0; i++) {
        world_step(&w, 0);
    }
    assert_int_equal(w.rev->replicas, 0);
    assert_true(revision_at_rest(w.rev, &w.reports));
    w.rev->backlog = 40;
    world_step(&w, 0);
    assert_int_equal(w.rev->replicas, 4);
    assert_says(&w,
                "hello-00001 is at 4 replicas, 4 ready: 40 events wait, target 10 per replica → "
                "4. ");
    w.rev->backlog = 1;
    world_step(&w, 1);
    assert_int_equal(w.rev->replicas, 4);
    assert_says(&w, "so many events waited within the last 60 s that 4 replicas were due");
    struct holding holds[HOLD_N];
    size_t n = forecast_holds(w.rev, &w.reports, w.now_ms, holds);
    unsigned seen = 0;
    for (size_t i = 0; i < n; i++) {
        seen |= 1u << holds[i].hold;
    }
    assert_true((seen & 1u << HOLD_EVENTS) != 0);
    /* what is foreseen is what comes when the last one is done */
    w.rev->backlog = 0;
    world_step(&w, 0);
    struct forecast f = forecast_run(w.rev, &w.reports, w.now_ms);
    assert_true(f.changes && f.zero);
    uint64_t begun_ms = w.now_ms;
    while (w.rev->replicas == 4) {
        world_step(&w, 0);
    }
    assert_int_equal(w.rev->replicas, f.to);
    assert_in_range(w.now_ms - begun_ms, f.in_ms < 2000 ? 0 : f.in_ms - 2000, f.in_ms + 2000);
    while (w.rev->replicas > 0) {
        world_step(&w, 0);
    }
    assert_in_range(w.now_ms - begun_ms, f.zero_ms - 2000, f.zero_ms + 2000);
    world_fini(&w);
}

static void max_scale_bounds_it_in_words(void **state)
{
    static const struct config_pair bounded[] = {PAIR("metric", "backlog"), PAIR("target", "10"),
                                                 PAIR("max-scale", "3")};
    struct world w;
    world_init(&w, bounded, ARRAY_LEN(bounded));
    w.rev->backlog = 40;
    world_step(&w, 0);
    assert_int_equal(w.rev->replicas, 3);
    assert_says(&w, "max-scale is 3 (40 events wait, target 10 per replica → 4)");
    world_fini(&w);
}

static void not_known_is_not_zero_but_not_for_ever(void **state)
{
    struct world w;
    world_init(&w, annotations, ARRAY_LEN(annotations));
    w.rev->backlog = 40;
    world_step(&w, 0);
    assert_int_equal(w.rev->replicas, 4);
    for (int i = 0; i < 40; i++) { /* the reports of requests are whole by now */
        world_step(&w, 0);
    }
    w.rev->backlog = -1;
    w.rev->backlog_until_ms = w.now_ms + 300000;
    while (w.now_ms + 2000 < w.rev->backlog_until_ms) {
        world_step(&w, 0);
        assert_int_equal(w.rev->replicas, 4);
    }
    assert_int_equal(w.rev->plan.rule, PLAN_BACKLOG_UNKNOWN);
    assert_says(&w,
                "how many events wait is not known, lull-broker does not tell: nothing is scaled "
                "down");
    /* requests bring more up meanwhile, and go on to count afterwards */
    for (int i = 0; i < 5; i++) {
        world_step(&w, 0);
    }
    assert_true(w.rev->replicas < 4);
    for (int i = 0; i < 60; i++) {
        world_step(&w, 0);
    }
    assert_int_equal(w.rev->replicas, 0);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_report_says_all),
        cmocka_unit_test(a_revision_has_its_own_and_its_services),
        cmocka_unit_test(parts_make_one_report),
        cmocka_unit_test(the_largest_of_the_workers_counts),
        cmocka_unit_test(what_is_no_report_is_refused),
        cmocka_unit_test(workers_are_bounded),
        cmocka_unit_test(single_decisions),
        cmocka_unit_test(up_at_once_and_down_over_the_stable_window),
        cmocka_unit_test(another_metric_does_not_hear_of_events),
        cmocka_unit_test(from_zero_and_back),
        cmocka_unit_test(max_scale_bounds_it_in_words),
        cmocka_unit_test(not_known_is_not_zero_but_not_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
