// SPDX-License-Identifier: Apache-2.0
/* A revision's life in virtual time: up, down, to zero; predictions come true. */
#include <math.h>

#include "world.h"

static void idle_reaches_zero_after_the_window(void **state)
{
    struct world w;
    world_init(&w, NULL, 0);
    for (int i = 0; i < 5; i++) {
        world_step(&w, 3);
    }
    uint64_t idle_ms = w.now_ms;
    while (w.rev->replicas > 0 && w.now_ms < idle_ms + 200000) {
        world_step(&w, 0);
    }
    assert_int_equal(w.rev->replicas, 0);
    /* the last busy second leaves the window of 60 s; decisions are two seconds apart */
    assert_true(w.now_ms - idle_ms >= 60000 && w.now_ms - idle_ms <= 62000);
    assert_int_equal(w.rev->state.active, PLAN_INACTIVE);
    assert_int_equal(w.writes, 1);
    world_fini(&w);
}

static void load_scales_up_and_down_again(void **state)
{
    struct world w;
    world_init(&w, NULL, 0);
    for (int i = 0; i < 10; i++) {
        world_step(&w, 700);
    }
    assert_int_equal(w.rev->replicas, 10);
    for (int i = 0; i < 100; i++) {
        world_step(&w, 70);
    }
    assert_int_equal(w.rev->replicas, 1);
    assert_false(w.rev->decider.panicking);
    world_fini(&w);
}

/* One that rests until it is called decides as one that was decided on all the time. */
static void rest_changes_nothing(void **state)
{
    struct world awake, rested;
    world_init(&awake, NULL, 0);
    world_init(&rested, NULL, 0);
    for (int i = 0; i < 5; i++) {
        world_step(&awake, 3);
        world_step(&rested, 3);
    }
    for (int i = 0; i < 200; i++) {
        world_step(&awake, 0);
        for (int second = 0; rested.rev->resting && second < 2; second++) {
            rested.now_ms += 1000;
            world_report(&rested, 0);
        }
        if (rested.rev->resting) {
            continue;
        }
        world_step(&rested, 0);
        if (revision_at_rest(rested.rev, &rested.reports)) {
            revision_rest(rested.rev, rested.now_ms);
        }
    }
    assert_true(rested.rev->resting);
    assert_null(rested.rev->concurrency_stable.buckets);
    assert_int_equal(rested.now_ms, awake.now_ms);
    revision_wake(rested.rev, &rested.reports);
    for (int i = 0; i < 100; i++) {
        double load = i < 20 ? 300 : 20;
        world_step(&awake, load);
        world_step(&rested, load);
        assert_int_equal(awake.rev->replicas, rested.rev->replicas);
        assert_true(awake.rev->last.stable == rested.rev->last.stable);
        assert_true(awake.rev->last.panic == rested.rev->last.panic);
        assert_int_equal(awake.rev->last.panicking, rested.rev->last.panicking);
    }
    assert_true(awake.rev->replicas > 0);
    world_fini(&awake);
    world_fini(&rested);
}

/* What a poke asked for stays for a moment, until the windows have seen the crowd; then they rule.
 */
static void a_crowd_is_not_forgotten(void **state)
{
    struct world w;
    world_init(&w, NULL, 0);
    revision_poked(w.rev, 1000, w.now_ms);
    revision_poked(w.rev, 1, w.now_ms); /* another activator has less */
    assert_int_equal(revision_decide(w.rev, &w.reports, true, w.now_ms).want, 10);
    for (int i = 0; i < 2; i++) {
        w.now_ms += 1000;
        assert_int_equal(revision_decide(w.rev, &w.reports, false, w.now_ms).want, 10);
    }
    w.now_ms += 1000;
    assert_true(revision_decide(w.rev, &w.reports, false, w.now_ms).want < 10);
    world_fini(&w);
}

static void a_hole_in_the_reports_keeps_the_scale(void **state)
{
    struct world w;
    world_init(&w, NULL, 0);
    for (int i = 0; i < 40; i++) {
        world_step(&w, 700);
    }
    assert_int_equal(w.rev->replicas, 10);
    w.silent_link = true;
    for (int i = 0; i < 100; i++) {
        world_step(&w, 0);
    }
    assert_int_equal(w.rev->replicas, 10);
    assert_int_equal(w.rev->plan.rule, PLAN_OBSERVING);
    w.silent_link = false;
    uint64_t back_ms = w.now_ms;
    while (w.rev->replicas == 10 && w.now_ms < back_ms + 200000) {
        world_step(&w, 0);
    }
    assert_true(w.now_ms - back_ms >= 60000);
    world_fini(&w);
}

static void tick(struct world *w)
{
    reports_check(&w->reports, w->now_ms);
    struct plan plan = revision_decide(w->rev, &w->reports, false, w->now_ms);
    if (plan.write) {
        world_scale(w, plan.want);
    }
}

/* The clock runs on by an hour in which nobody reported. Whether a tick or a report comes first
 * then, and though that report spreads its traffic over the hour: no replica goes. */
static void a_jump_of_the_clock_scales_nothing_down(void **state)
{
    for (int order = 0; order < 4; order++) {
        bool report_first = order & 1;
        bool replan = order & 2; /* something of the API is the first thing that comes */
        struct world w;
        world_init(&w, NULL, 0);
        for (int i = 0; i < 80; i++) {
            world_step(&w, 700);
        }
        assert_int_equal(w.rev->replicas, 10);
        w.now_ms += 3600000;
        if (replan) {
            reports_check(&w.reports, w.now_ms);
            revision_replan(w.rev, &w.reports, false, w.now_ms);
            assert_false(w.rev->plan.write);
        }
        if (report_first) {
            world_report(&w, 0);
        }
        w.now_ms += 100;
        tick(&w);
        assert_int_equal(w.rev->replicas, 10);
        assert_int_equal(w.rev->last.valid, report_first); /* a tick alone has no number */
        assert_int_equal(w.rev->plan.rule, report_first ? PLAN_OBSERVING : PLAN_AS_DECIDED);
        assert_int_equal(w.rev->state.active, PLAN_ACTIVE);
        for (int i = 0; i < 80; i++) { /* the load goes on */
            world_step(&w, 700);
            assert_int_equal(w.rev->replicas, 10);
        }
        w.now_ms += 3600000;
        uint64_t jump_ms = w.now_ms;
        if (report_first) {
            world_report(&w, 0);
        }
        tick(&w);
        while (w.rev->replicas > 0 && w.now_ms < jump_ms + 200000) { /* it does not */
            world_step(&w, 0);
        }
        assert_int_equal(w.rev->replicas, 0);
        assert_true(w.now_ms - jump_ms >= 60000 && w.now_ms - jump_ms <= 75000);
        world_fini(&w);
    }
}

/* The second of the report that ends a hole is in no average that takes a replica away, also when a
 * decision comes before the report of its own second. */
static void the_first_second_after_a_hole_does_not_count(void **state)
{
    static const struct config_pair annotations[] = {
        {SLICE_LIT("autoscaling.knative.dev/window"), SLICE_LIT("6s")}};
    struct world w;
    world_init(&w, annotations, ARRAY_LEN(annotations));
    for (int i = 0; i < 20; i++) {
        world_step(&w, 700);
    }
    assert_int_equal(w.rev->replicas, 10);
    uint64_t jump_ms = w.now_ms + 3600000;
    w.now_ms = jump_ms + 100;
    world_report(&w, 0);
    for (uint64_t t = jump_ms + 1000; t < jump_ms + 20000; t += 1000) {
        w.now_ms = t + 200;
        tick(&w);
        assert_int_equal(w.rev->replicas, 10);
        w.now_ms = t + 500;
        world_report(&w, 700);
    }
    assert_int_equal(w.rev->plan.rule, PLAN_AS_DECIDED);
    world_fini(&w);
}

static void a_restart_keeps_the_scale(void **state)
{
    struct world w;
    world_init(&w, NULL, 0);
    for (int i = 0; i < 10; i++) {
        world_step(&w, 700);
    }
    /* a new process: the replicas are there, the windows are not */
    struct world fresh;
    world_init(&fresh, NULL, 0);
    world_scale(&fresh, 10);
    fresh.writes = 0;
    revision_start(fresh.rev, fresh.now_ms);
    for (int i = 0; i < 20; i++) {
        world_step(&fresh, 700);
        assert_int_equal(fresh.rev->replicas, 10);
    }
    assert_int_equal(fresh.writes, 0);
    world_fini(&fresh);
    world_fini(&w);
}

#define PAIR(k, v)                                            \
    {                                                         \
        SLICE_LIT("autoscaling.knative.dev/" k), SLICE_LIT(v) \
    }

static struct reporter *second_activator(struct world *w, int *link)
{
    struct error err = {0};
    struct reporter *second;
    void *replaced;
    ASSERT_OK(
        reports_hello(&w->reports, SLICE_LIT("b"), link, w->now_ms, &second, &replaced, &err));
    return second;
}

/*
 * Two activators report at .15 and .88 of each second; clients of the first one are away. A
 * decision at .63 knows only its zero of the present second: half of the traffic is still there.
 */
static void a_second_that_is_half_told_takes_no_replica(void **state)
{
    static const struct config_pair annotations[] = {PAIR("target", "2"), PAIR("window", "3s")};
    struct world w;
    int link;
    int32_t seen = 0;
    world_init(&w, annotations, ARRAY_LEN(annotations));
    struct reporter *second = second_activator(&w, &link);
    for (uint64_t t = WORLD_T0 + 1000; t < WORLD_T0 + 60000; t += 1000) {
        bool away = t >= WORLD_T0 + 30000;
        w.now_ms = t + 150;
        world_report_of(&w, w.activator, away ? 0 : 1.85);
        w.now_ms = t + 630;
        struct plan plan = revision_decide(w.rev, &w.reports, false, w.now_ms);
        if (plan.write) {
            world_scale(&w, plan.want);
        }
        seen = w.rev->replicas > seen ? w.rev->replicas : seen;
        assert_true(t < WORLD_T0 + 10000 || w.rev->replicas >= (away ? 2 : 3));
        w.now_ms = t + 880;
        world_report_of(&w, second, 1.85);
    }
    assert_int_equal(seen, 3);
    assert_int_equal(w.rev->replicas, 2); /* what is left needs no more */
    assert_true(fabs(w.rev->last.stable - 1.85) < 1e-6);
    world_fini(&w);
}

/* It can raise, though: a burst is not waited for. */
static void a_second_that_is_half_told_adds_replicas(void **state)
{
    struct world w;
    int link;
    world_init(&w, NULL, 0);
    struct reporter *second = second_activator(&w, &link);
    w.now_ms += 880;
    world_report_of(&w, second, 0);
    w.now_ms += 120;
    world_report_of(&w, w.activator, 1000);
    assert_true(w.reports.told_ms < w.now_ms);
    assert_true(revision_decide(w.rev, &w.reports, false, w.now_ms).want > 1);
    world_fini(&w);
}

/* Traffic past the activators is told by who is asked for it; that nobody has answered is no zero.
 */
static void what_nobody_was_asked_is_not_silence(void **state)
{
    static const struct config_pair annotations[] = {PAIR("target", "2"), PAIR("window", "6s")};
    struct world w;
    world_init(&w, annotations, ARRAY_LEN(annotations));
    for (int i = 0; i < 30; i++) {
        w.now_ms += 1000;
        world_report(&w, 0);
        bool answered = i < 20;
        if (answered) {
            w.rev->bypassed = true;
            w.rev->scraped_ms = w.now_ms + 300;
            revision_record(w.rev, w.now_ms + 300, 0, 5, 5);
        }
        struct plan plan = revision_decide(w.rev, &w.reports, false, w.now_ms + 500);
        if (plan.write) {
            world_scale(&w, plan.want);
        }
        assert_true(i < 10 || w.rev->replicas == 4);
    }
    w.rev->bypassed = false; /* they answered that there is none */
    for (int i = 0; i < 10; i++) {
        world_step(&w, 0);
    }
    assert_int_equal(w.rev->replicas, 0);
    world_fini(&w);
}

static void what_was_reported_before_a_start_is_lost(void **state)
{
    struct world w;
    world_init(&w, NULL, 0);
    reports_restart(&w.reports, w.now_ms + 500);
    double stable;
    double panic;
    (void)revision_decide(w.rev, &w.reports, false, w.now_ms + 600);
    assert_false(revision_averages(w.rev, w.now_ms + 600, &stable, &panic));
    w.now_ms += 1000;
    world_report(&w, 0);
    (void)revision_decide(w.rev, &w.reports, false, w.now_ms);
    assert_true(revision_averages(w.rev, w.now_ms, &stable, &panic));
    world_fini(&w);
}

static void the_status_is_the_memory_of_a_restart(void **state)
{
    struct autoscaler_config config;
    autoscaler_config_default(&config);
    struct revision *rev = revision_new("ns", "r");
    struct pa_object pa = {.deployment = xstrdup("d"),
                           .reachable = true,
                           .has_active = true,
                           .active = PLAN_ACTIVE,
                           .active_wall_ns = 5000000000,
                           .initialized = true};
    history_add(&pa.history, &(struct change){.to = 4});
    /* seven seconds of wall time ago */
    revision_set_pa(rev, &pa, &config, 100000, 12000000000);
    assert_int_equal(rev->state.active, PLAN_ACTIVE);
    assert_int_equal(rev->state.since_ms, 93000);
    assert_true(rev->state.initialized);
    assert_int_equal(rev->history.changes[0].to, 4);
    assert_int_equal(pa.history.count, 0);
    /* a later status, our own echo, changes nothing */
    pa.active = PLAN_INACTIVE;
    revision_set_pa(rev, &pa, &config, 200000, 13000000000);
    assert_int_equal(rev->state.active, PLAN_ACTIVE);
    free(pa.deployment);
    revision_free(rev);

    /* a time in the future counts as now */
    rev = revision_new("ns", "r");
    pa.deployment = xstrdup("d");
    pa.active_wall_ns = 99000000000;
    revision_set_pa(rev, &pa, &config, 100000, 12000000000);
    assert_int_equal(rev->state.since_ms, 100000);
    free(pa.deployment);
    revision_free(rev);
}

/* What explain predicts happens, to the tick, when the traffic really stops. */
static void check_forecast(const char *name, const struct config_pair *annotations, size_t count,
                           double load, int busy_steps)
{
    struct world w;
    world_init(&w, annotations, count);
    for (int i = 0; i < busy_steps; i++) {
        world_step(&w, load);
    }
    struct forecast f = forecast_run(w.rev, &w.reports, w.now_ms);
    uint64_t from_ms = w.now_ms;
    uint64_t changed_ms = 0;
    uint64_t zero_ms = 0;
    int32_t replicas = w.rev->replicas;
    int32_t changed_to = replicas;
    for (int i = 0; i < 3600 && zero_ms == 0; i++) {
        world_step(&w, 0);
        if (changed_ms == 0 && w.rev->replicas != replicas) {
            changed_ms = w.now_ms - from_ms;
            changed_to = w.rev->replicas;
        }
        zero_ms = w.rev->replicas == 0 ? w.now_ms - from_ms : 0;
    }
    if (f.changes != (changed_ms > 0) || f.in_ms != changed_ms ||
        (f.changes && f.to != changed_to) || f.zero != (zero_ms > 0) || f.zero_ms != zero_ms) {
        fail_msg("%s: predicted %d in %llu ms and zero in %llu, came %d in %llu and zero in %llu",
                 name, f.to, (unsigned long long)f.in_ms, (unsigned long long)f.zero_ms, changed_to,
                 (unsigned long long)changed_ms, (unsigned long long)zero_ms);
    }
    world_fini(&w);
}

static void predictions_come_true(void **state)
{
    check_forecast("default", NULL, 0, 3, 40);
    check_forecast("young", NULL, 0, 3, 2);
    check_forecast("many", NULL, 0, 1400, 60);
    static const struct config_pair retention[] = {
        PAIR("scale-to-zero-pod-retention-period", "5m")};
    check_forecast("retention", retention, 1, 3, 40);
    static const struct config_pair delay[] = {PAIR("scale-down-delay", "90s"),
                                               PAIR("window", "20s")};
    check_forecast("delay", delay, 2, 350, 40);
    static const struct config_pair min[] = {PAIR("min-scale", "2")};
    check_forecast("min", min, 1, 700, 40);
    static const struct config_pair weighted[] = {
        PAIR("metric-aggregation-algorithm", "weighted-exponential")};
    check_forecast("weighted", weighted, 1, 700, 40);
    static const struct config_pair rps[] = {PAIR("metric", "rps"), PAIR("window", "6s")};
    check_forecast("rps", rps, 2, 700, 40);
}

static const char *text_of(const struct world *w, char *buf, size_t size)
{
    struct error err = {0};
    json_t *json = explain_json(w->rev, &w->reports, w->now_ms, 0, &err);
    assert_non_null(json);
    snprintf(buf, size, "%s", json_string_value(json_object_get(json, "text")));
    json_decref(json);
    return buf;
}

static void why_in_words(void **state)
{
    char text[1024];
    struct world w;
    world_init(&w, NULL, 0);
    for (int i = 0; i < 40; i++) {
        world_step(&w, 3);
    }
    assert_string_equal(text_of(&w, text, sizeof(text)),
                        "hello-00001 is at 1 replica, 1 ready: over the last 60 s there were on "
                        "average 3 requests at a time, and one replica is to have 70. Without "
                        "further traffic it goes to 0 in 1m0s.");
    world_step(&w, 350);
    for (int i = 0; i < 4; i++) {
        world_step(&w, 0);
    }
    if (strstr(text_of(&w, text, sizeof(text)), "panic mode after a burst keeps") == NULL) {
        fail_msg("%s", text);
    }
    while (w.rev->replicas > 0) {
        world_step(&w, 0);
    }
    assert_string_equal(text_of(&w, text, sizeof(text)),
                        "hello-00001 is scaled to zero: there was no traffic in the last 60 s. The "
                        "next request starts a replica.");
    w.silent_link = true;
    world_step(&w, 0);
    world_step(&w, 0);
    world_scale(&w, 1);
    world_step(&w, 0);
    assert_non_null(strstr(text_of(&w, text, sizeof(text)), "reports of an activator are missing"));
    world_fini(&w);
}

static void trouble_is_said(void **state)
{
    struct world w;
    world_init(&w, NULL, 0);
    struct pod_object pod = {.failing = true, .trouble = xstrdup("user-container: crash")};
    revision_set_pod(w.rev, "pod-0", &pod);
    free(pod.trouble);
    world_step(&w, 0);
    char text[1024];
    assert_non_null(strstr(text_of(&w, text, sizeof(text)),
                           "Its replicas have trouble: user-container: crash."));
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_reaches_zero_after_the_window),
        cmocka_unit_test(load_scales_up_and_down_again),
        cmocka_unit_test(rest_changes_nothing),
        cmocka_unit_test(a_crowd_is_not_forgotten),
        cmocka_unit_test(a_hole_in_the_reports_keeps_the_scale),
        cmocka_unit_test(a_jump_of_the_clock_scales_nothing_down),
        cmocka_unit_test(the_first_second_after_a_hole_does_not_count),
        cmocka_unit_test(a_restart_keeps_the_scale),
        cmocka_unit_test(a_second_that_is_half_told_takes_no_replica),
        cmocka_unit_test(a_second_that_is_half_told_adds_replicas),
        cmocka_unit_test(what_nobody_was_asked_is_not_silence),
        cmocka_unit_test(what_was_reported_before_a_start_is_lost),
        cmocka_unit_test(the_status_is_the_memory_of_a_restart),
        cmocka_unit_test(predictions_come_true),
        cmocka_unit_test(why_in_words),
        cmocka_unit_test(trouble_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
