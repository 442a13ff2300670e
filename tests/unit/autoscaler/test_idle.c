// SPDX-License-Identifier: Apache-2.0
/* Idle times in bins, what they foretell, and a revision that lives by it. */
#include "base/random.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "autoscaler/idle_json.h"
#include "world.h"

#define MINUTE 60000ull

static struct idle made_of(const uint64_t *lengths_ms, size_t count)
{
    struct idle idle;
    idle_init(&idle, IDLE_BIN_MS);
    for (size_t i = 0; i < count; i++) {
        idle_add(&idle, lengths_ms[i], 1);
    }
    idle.last_ms = 1000 * MINUTE;
    return idle;
}

/*
 * Worked out by hand: 20 idle times, one each of 10 to 29 minutes. 5th percentile: the 1st, bin 10,
 * 10 min less a tenth; 99th: the 20th, bin 29, rounded up 30 min and a tenth more. The bins: mean
 * 1/12, squares 1/12, so the coefficient of variation is sqrt(12 - 1) = 3.3.
 */
static void percentiles_are_those_of_the_paper(void **state)
{
    uint64_t lengths[20];
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        lengths[i] = (10 + i) * MINUTE + 59999;
    }
    struct idle idle = made_of(lengths, ARRAY_LEN(lengths));
    struct idle_window w = idle_window(&idle);
    assert_int_equal(w.verdict, IDLE_PREDICTED);
    assert_int_equal(w.from_ms - idle.last_ms, 9 * MINUTE);
    assert_int_equal(w.until_ms - idle.last_ms, 33 * MINUTE);
}

static void verdicts(void **state)
{
    static const struct {
        uint32_t bins; /* the first so many, each once */
        uint32_t beyond;
        enum idle_verdict want;
    } rows[] = {
        {4, 0, IDLE_LEARNING},
        {5, 0, IDLE_PREDICTED},
        {0, 5, IDLE_BEYOND},
        {5, 4, IDLE_PREDICTED},
        {5, 5, IDLE_BEYOND},
        /* sqrt(240 / n - 1) is 2 at n = 48 */
        {48, 0, IDLE_PREDICTED},
        {49, 0, IDLE_EVEN},
        {240, 0, IDLE_EVEN},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct idle idle = made_of(NULL, 0);
        for (uint32_t k = 0; k < rows[i].bins; k++) {
            idle_add(&idle, k * MINUTE, 1);
        }
        for (uint32_t k = 0; k < rows[i].beyond; k++) {
            idle_add(&idle, 240 * MINUTE, 1);
        }
        if (idle_window(&idle).verdict != rows[i].want) {
            fail_msg("row %zu: %s", i, idle_verdict_text(idle_window(&idle).verdict));
        }
    }
}

/* Five times 5 minutes and five times as said: a span of more than two hours that begins early, or
 * one that is far off. */
static void a_wide_span_foretells_only_what_is_far_off(void **state)
{
    static const struct {
        uint64_t minutes[2];
        enum idle_verdict want;
    } rows[] = {{{5, 100}, IDLE_PREDICTED}, {{5, 120}, IDLE_EVEN}, {{80, 200}, IDLE_PREDICTED}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct idle idle = made_of(NULL, 0);
        idle_add(&idle, rows[i].minutes[0] * MINUTE, 5);
        idle_add(&idle, rows[i].minutes[1] * MINUTE, 5);
        assert_int_equal(idle_window(&idle).verdict, rows[i].want);
    }
}

static void what_the_window_covers_is_no_idle_time(void **state)
{
    struct idle idle;
    idle_init(&idle, IDLE_BIN_MS);
    idle.least_ms = 60000;
    idle_traffic(&idle, 1000);
    idle_traffic(&idle, 61000);
    assert_int_equal(idle.total, 0);
    idle_traffic(&idle, 121001);
    assert_int_equal(idle.total, 1);
}

static void short_gaps_and_backward_steps_are_no_idle_times(void **state)
{
    struct idle idle;
    idle_init(&idle, IDLE_BIN_MS);
    idle_traffic(&idle, 5000);
    idle_traffic(&idle, 6000);
    idle_traffic(&idle, 6000);
    idle_traffic(&idle, 5000);
    assert_int_equal(idle.total, 0);
    idle_traffic(&idle, 8000);
    assert_int_equal(idle.total, 1);
    assert_int_equal(idle.bins[0], 1);
    idle_traffic(&idle, 8000 + 90 * MINUTE);
    assert_int_equal(idle.bins[90], 1);
}

/* Of any idle times: counts are kept, the span holds the median and never begins before the last
 * traffic; what is written down and read back says the same. */
static void any_idle_times_keep_their_promises(void **state)
{
    struct prng p;
    prng_seed(&p, 7);
    for (int round = 0; round < 300; round++) {
        struct idle idle = made_of(NULL, 0);
        uint32_t count = prng_below(&p, 400);
        uint64_t spread = 1 + prng_below(&p, 20000000);
        for (uint32_t i = 0; i < count; i++) {
            idle_add(&idle, prng_below(&p, (uint32_t)spread), 1 + prng_below(&p, 60));
            assert_true(idle.total + idle.beyond <= 240 * IDLE_COUNT_MAX);
        }
        struct idle_window w = idle_window(&idle);
        if (w.verdict == IDLE_PREDICTED) {
            assert_true(w.from_ms >= idle.last_ms && w.from_ms < w.until_ms);
            assert_true(w.until_ms - idle.last_ms <= 264 * MINUTE);
        }
        struct idle back = {0};
        idle_init(&back, IDLE_BIN_MS);
        json_t *json = idle_to_json(&idle);
        idle_from_json(&back, json, idle.last_ms);
        assert_memory_equal(back.bins, idle.bins, sizeof(idle.bins));
        assert_int_equal(back.beyond, idle.beyond);
        assert_int_equal(back.last_ms, idle.last_ms);
        assert_int_equal(idle_window(&back).from_ms, w.from_ms);
        assert_int_equal(idle_window(&back).until_ms, w.until_ms);
        json_decref(json);
    }
}

static void what_makes_no_sense_is_not_taken_from_a_status(void **state)
{
    struct idle idle;
    idle_init(&idle, IDLE_BIN_MS);
    json_t *json =
        json_pack("{s:i, s:{s:i, s:i, s:i, s:s}, s:i, s:s}", "bin", 60, "counts", "7", 3, "240", 1,
                  "8", -2, "9", "x", "beyond", 99999999, "last", "2100-01-01T00:00:00Z");
    idle_from_json(&idle, json, 1000);
    assert_int_equal(idle.total, 3);
    assert_int_equal(idle.beyond, 0);
    assert_int_equal(idle.last_ms, 0);
    json_object_set_new(json, "bin", json_integer(30));
    idle_init(&idle, IDLE_BIN_MS);
    idle_from_json(&idle, json, 1000);
    assert_int_equal(idle.total, 0);
    json_decref(json);
}

/* --- a revision ---------------------------------------------------------------------------- */

#define NOTE(name, text)                 \
    {                                    \
        SLICE_LIT(name), SLICE_LIT(text) \
    }
#define PERIOD 61 /* steps of two seconds: idle for 121 s */

static const struct config_pair notes[] = {NOTE("autoscaling.knative.dev/window", "6s"),
                                           NOTE("autoscaling.lull.dev/policy", "histogram"),
                                           NOTE("autoscaling.lull.dev/histogram-bin", "10s")};

/* Runs periods; returns how often traffic found nothing ready. */
static int live(struct world *w, int periods)
{
    int cold = 0;
    for (int i = 0; i < periods * PERIOD; i++) {
        if (i % PERIOD == 0) {
            cold += w->rev->ready == 0 ? 1 : 0;
            revision_poked(w->rev, 1, w->now_ms);
            struct plan plan = revision_decide(w->rev, &w->reports, true, w->now_ms);
            if (plan.write) {
                world_scale(w, plan.want);
            }
        }
        world_step(w, i % PERIOD == 0 ? 1 : 0);
    }
    return cold;
}

static void regular_traffic_finds_a_replica_in_time(void **state)
{
    struct world w;
    world_init(&w, notes, ARRAY_LEN(notes));
    int learning = live(&w, 6);
    assert_in_range(learning, 4, 5);
    int writes = w.writes;
    assert_int_equal(live(&w, 10), 0);
    assert_int_equal(w.writes - writes, 20); /* away and back each time */

    /* It goes once the expected time has passed, and nothing brings it back. */
    for (int i = 0; i < 200; i++) {
        world_step(&w, 0);
    }
    assert_int_equal(w.rev->replicas, 0);
    assert_int_equal(revision_warm(w.rev, w.now_ms).next_ms, 0);
    world_fini(&w);
}

static void a_successor_knows_what_was_learned(void **state)
{
    struct world w;
    struct error err;
    world_init(&w, notes, ARRAY_LEN(notes));
    live(&w, 8);
    json_t *idle = idle_to_json(w.rev->idle);
    uint64_t last_ms = w.rev->idle->last_ms;
    int64_t wall_ms = w.rev->idle->wall_ms;
    world_fini(&w);

    /* Another process, whose clock began elsewhere. */
    struct revision *rev = revision_new("default", "hello-00001");
    struct autoscaler_config config;
    autoscaler_config_default(&config);
    struct config_pair copy[ARRAY_LEN(notes)];
    memcpy(copy, notes, sizeof(notes));
    struct pa_object pa = {.deployment = xstrdup("d"),
                           .reachable = true,
                           .annotations = copy,
                           .annotation_count = ARRAY_LEN(copy),
                           .idle = idle};
    uint64_t now_ms = 500000;
    int64_t wall_ns = ((int64_t)last_ms + wall_ms + 30000) * 1000000;
    revision_set_pa(rev, &pa, &config, now_ms, wall_ns);
    free(pa.deployment);
    assert_int_equal(rev->idle->last_ms, now_ms - 30000);
    assert_int_equal(revision_warm(rev, now_ms).next_ms, now_ms - 30000 + 108000);
    CLEANUP(jfree) json_t *page = NULL;
    struct reports reports;
    reports_init(&reports);
    rev->replicas = 0;
    page = explain_json(rev, &reports, now_ms, wall_ns, &err);
    assert_non_null(strstr(jpeek_cstr(page, "text"), "it is started in 1m18s (histogram)"));
    assert_string_equal(jpeek_cstr(page, "histogram.verdict"), "predicted");
    reports_fini(&reports);
    json_decref(idle);
    revision_free(rev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_those_of_the_paper),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(a_wide_span_foretells_only_what_is_far_off),
        cmocka_unit_test(what_the_window_covers_is_no_idle_time),
        cmocka_unit_test(short_gaps_and_backward_steps_are_no_idle_times),
        cmocka_unit_test(any_idle_times_keep_their_promises),
        cmocka_unit_test(what_makes_no_sense_is_not_taken_from_a_status),
        cmocka_unit_test(regular_traffic_finds_a_replica_in_time),
        cmocka_unit_test(a_successor_knows_what_was_learned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
