// SPDX-License-Identifier: Apache-2.0
/*
 * What is said to hold replicas up does: a recording of the moment, played again without the thing,
 * goes to the predicted scale at the predicted time; with it, as the forecast says.
 */
#include "json/jget.h"
#include "json/jparse.h"
#include "autoscaler/replay.h"
#include "autoscaler/replay_state.h"
#include "world.h"

#define LINE_MAX_BYTES (1u << 20)

/* --- playing a recording ------------------------------------------------------------------- */

static void find_changes(const struct strbuf *out, uint64_t now_ms, struct forecast *f)
{
    CLEANUP(jfree) json_t *decision = NULL;
    struct error err;
    ASSERT_OK(jparse_object(strbuf_slice(out), LINE_MAX_BYTES, &decision, &err));
    if (!jpeek_bool(decision, "plan.write") || f->zero) {
        return;
    }
    int32_t want = (int32_t)jpeek_i64(decision, "plan.want");
    uint64_t in_ms = (uint64_t)jpeek_i64(decision, "time") - now_ms;
    if (!f->changes) {
        f->changes = true;
        f->to = want;
        f->in_ms = in_ms;
    }
    if (want == 0) {
        f->zero = true;
        f->zero_ms = in_ms;
    }
}

static struct forecast play(const json_t *recording, uint64_t now_ms)
{
    struct forecast f = {0};
    struct replay r;
    struct strbuf line;
    struct strbuf out;
    replay_init(&r);
    strbuf_init(&line, LINE_MAX_BYTES);
    strbuf_init(&out, REPLAY_DECISION_MAX);
    size_t i;
    const json_t *json;
    json_array_foreach(recording, i, json)
    {
        struct error err = {0};
        strbuf_clear(&line);
        strbuf_clear(&out);
        ASSERT_OK(jdump(json, &line, &err));
        ASSERT_OK(replay_line(&r, strbuf_slice(&line), &out, &err));
        if (out.len > 0) {
            find_changes(&out, now_ms, &f);
        }
    }
    strbuf_fini(&line);
    strbuf_fini(&out);
    replay_fini(&r);
    return f;
}

static void assert_same(const struct forecast *got, const struct forecast *want)
{
    assert_int_equal(got->changes, want->changes);
    assert_int_equal(got->to, want->to);
    assert_int_equal(got->in_ms, want->in_ms);
    assert_int_equal(got->zero, want->zero);
    assert_int_equal(got->zero_ms, want->zero_ms);
}

/* --- taking things away, in the recording -------------------------------------------------- */

static void set(json_t *state, const char *object, const char *name, json_t *value)
{
    json_t *at = object[0] == '\0' ? state : jget(state, object);
    assert_non_null(at);
    assert_int_equal(json_object_set_new(at, name, value), 0);
}

static void take_away(json_t *state, enum hold hold)
{
    static const struct {
        enum hold hold;
        const char *name;
        double value;
    } numbers[] = {
        {HOLD_DELAY, "scaleDownDelaySeconds", 0}, {HOLD_RATE, "maxScaleDownRate", 1e9},
        {HOLD_ACTIVATION, "activationScale", 1},  {HOLD_MIN, "minScale", 0},
        {HOLD_RETENTION, "retentionMs", 0},       {HOLD_GRACE, "graceMs", 0},
    };
    static const char *const windows[] = {"concurrencyStable", "concurrencyPanic", "rpsStable",
                                          "rpsPanic"};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (numbers[i].hold == hold) {
            set(state, "settings", numbers[i].name, json_real(numbers[i].value));
        }
    }
    for (size_t i = 0; hold == HOLD_TRAFFIC && i < ARRAY_LEN(windows); i++) {
        char path[64];
        snprintf(path, sizeof(path), "windows.%s", windows[i]);
        set(state, path, "values", json_array());
    }
    if (hold == HOLD_WAITING) {
        set(state, "held", "count", json_integer(0));
    } else if (hold == HOLD_PANIC) {
        set(state, "panic", "on", json_false());
        set(state, "panic", "most", json_integer(0));
    } else if (hold == HOLD_INITIAL) {
        set(state, "active", "initialized", json_true());
    } else if (hold == HOLD_NO_ZERO) {
        set(state, "settings", "scaleToZero", json_true());
    } else if (hold == HOLD_RECENT) {
        set(state, "active", "since", json_integer(0));
    } else if (hold == HOLD_STARTING) {
        set(state, "active", "is", json_string("active"));
        set(state, "active", "since", json_integer(0));
        set(state, "", "ready", json_integer(jpeek_i64(state, "replicas")));
    } else if (hold == HOLD_HISTOGRAM) {
        set(state, "settings", "histogram", json_false());
    } else if (hold == HOLD_ANNOUNCED) {
        set(state, "", "warmAt", json_array());
    } else if (hold == HOLD_BACKLOG) {
        set(state, "backlog", "most", json_array());
    } else if (hold == HOLD_BACKLOG_UNKNOWN) {
        set(state, "backlog", "until", json_integer(0));
    } else if (hold == HOLD_REPORTS) {
        set(state, "reports", "since", json_integer(0));
    }
}

/* Every prediction of this moment, checked; returns what holds as a set of bits. */
static unsigned check(const struct world *w)
{
    struct holding holds[HOLD_N];
    unsigned seen = 0;
    if (w->rev->replicas == 0 && revision_warm(w->rev, w->now_ms).next_ms > 0) {
        return 0; /* nothing goes down, and the way up is not the forecast's */
    }
    json_t *recording = replay_record(w->rev, &w->reports, w->now_ms);
    struct forecast base = forecast_run(w->rev, &w->reports, w->now_ms);
    struct forecast played = play(recording, w->now_ms);
    assert_same(&played, &base);
    size_t count = forecast_holds(w->rev, &w->reports, w->now_ms, holds);
    for (size_t i = 0; i < count; i++) {
        json_t *without = json_deep_copy(recording);
        take_away(jget(without, "[1].state"), holds[i].hold);
        played = play(without, w->now_ms);
        assert_same(&played, &holds[i].without);
        json_decref(without);
        seen |= 1u << holds[i].hold;
    }
    json_decref(recording);
    return seen;
}

/* --- moments ------------------------------------------------------------------------------- */

#define NOTE(name, text)                                            \
    {                                                               \
        SLICE_LIT("autoscaling.knative.dev/" name), SLICE_LIT(text) \
    }

static void a_life_is_foreseen_at_every_step(void **state)
{
    static const struct config_pair notes[] = {NOTE("window", "20s"),
                                               NOTE("scale-down-delay", "8s"),
                                               NOTE("scale-to-zero-pod-retention-period", "10s")};
    static const double load[] = {3, 3, 700, 700, 300, 70, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                  0, 5, 0,   0,   0,   0,  0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    struct world w;
    unsigned seen = 0;
    world_init(&w, notes, ARRAY_LEN(notes));
    for (size_t i = 0; i < ARRAY_LEN(load) + 10; i++) {
        world_step(&w, i < ARRAY_LEN(load) ? load[i] : 0);
        seen |= check(&w);
    }
    for (enum hold hold = HOLD_IN_FLIGHT; hold < HOLD_N; hold++) {
        bool want = hold == HOLD_IN_FLIGHT || hold == HOLD_TRAFFIC || hold == HOLD_PANIC ||
                    hold == HOLD_DELAY || hold == HOLD_RETENTION;
        if (want && !(seen & 1u << hold)) {
            fail_msg("%s never held", hold_text(hold));
        }
    }
    assert_int_equal(w.rev->replicas, 0);
    world_fini(&w);
}

static void events_hold_what_they_asked_for(void **state)
{
    static const struct config_pair notes[] = {NOTE("metric", "backlog"), NOTE("target", "10"),
                                               NOTE("window", "20s")};
    static const double waits[] = {0,  40, 200, 200, 120, 0,  0, 0, 30, 0, 0, 0, 0,
                                   -1, -1, -1,  -1,  -1,  -1, 0, 0, 0,  0, 0, 0, 0};
    struct world w;
    unsigned seen = 0;
    world_init(&w, notes, ARRAY_LEN(notes));
    for (int i = 0; i < 12; i++) { /* reports are whole */
        world_step(&w, 1);
    }
    for (size_t i = 0; i < ARRAY_LEN(waits); i++) {
        w.rev->backlog = waits[i];
        w.rev->backlog_until_ms = waits[i] < 0 ? w.now_ms + 60000 : 0;
        world_step(&w, waits[i] > 0 ? 4 : 0);
        seen |= check(&w);
    }
    unsigned want = 1u << HOLD_EVENTS | 1u << HOLD_BACKLOG | 1u << HOLD_BACKLOG_UNKNOWN;
    assert_int_equal(seen & want, want);
    world_fini(&w);
}

static void settings_hold_alone(void **state)
{
    static const struct config_pair min[] = {NOTE("min-scale", "2"), NOTE("window", "6s")};
    struct world w;
    world_init(&w, min, ARRAY_LEN(min));
    world_scale(&w, 2);
    for (int i = 0; i < 20; i++) {
        world_step(&w, 0);
    }
    assert_int_equal(check(&w), 1u << HOLD_MIN);
    assert_false(forecast_run(w.rev, &w.reports, w.now_ms).changes);
    world_fini(&w);

    static const struct config_pair window[] = {NOTE("window", "6s")};
    world_init(&w, window, ARRAY_LEN(window));
    w.rev->spec.scale_to_zero = false;
    for (int i = 0; i < 20; i++) {
        world_step(&w, 0);
    }
    assert_int_equal(check(&w), 1u << HOLD_NO_ZERO);
    world_fini(&w);
}

static void a_slow_way_down_is_named(void **state)
{
    static const struct config_pair notes[] = {NOTE("window", "6s")};
    struct world w;
    unsigned seen = 0;
    world_init(&w, notes, ARRAY_LEN(notes));
    for (int i = 0; i < 20; i++) {
        world_step(&w, i < 10 ? 700 : 0);
        seen |= check(&w);
    }
    assert_true((seen & 1u << HOLD_RATE) != 0);
    world_fini(&w);
}

static void a_hole_in_the_reports_is_named(void **state)
{
    static const struct config_pair notes[] = {NOTE("window", "20s")};
    struct world w;
    world_init(&w, notes, ARRAY_LEN(notes));
    for (int i = 0; i < 20; i++) {
        world_step(&w, i < 15 ? 50 : 0);
    }
    w.silent_link = true;
    for (int i = 0; i < 3; i++) {
        world_step(&w, 0);
    }
    assert_int_equal(check(&w), 0); /* nothing can be told now */
    w.silent_link = false;
    world_step(&w, 0);
    assert_int_equal(check(&w), 1u << HOLD_REPORTS);
    world_fini(&w);
}

/* Two things that hold equally long: neither alone makes a difference, both are named. */
static void what_holds_together_is_named(void **state)
{
    static const struct config_pair notes[] = {NOTE("window", "20s"), NOTE("min-scale", "1")};
    struct world w;
    world_init(&w, notes, ARRAY_LEN(notes));
    w.rev->spec.scale_to_zero = false;
    for (int i = 0; i < 20; i++) {
        world_step(&w, 0);
    }
    assert_int_equal(check(&w), 1u << HOLD_MIN | 1u << HOLD_NO_ZERO);
    world_fini(&w);
}

static void a_fresh_start_is_named(void **state)
{
    struct world w;
    world_init(&w, NULL, 0);
    w.rev->state.active = PLAN_ACTIVATING;
    w.rev->state.since_ms = w.now_ms;
    w.rev->state.initialized = false;
    w.rev->ready = 0;
    w.rev->spec.initial_scale = 3;
    w.rev->replicas = 3;
    assert_int_equal(check(&w), 1u << HOLD_INITIAL | 1u << HOLD_STARTING);
    w.rev->state.initialized = true;
    world_step(&w, 0);
    for (int i = 0; i < 40; i++) {
        world_step(&w, 0);
    }
    assert_true((check(&w) & 1u << HOLD_STARTING) != 0);
    world_fini(&w);
}

static void rps_and_weights_are_foreseen(void **state)
{
    static const struct config_pair notes[] = {
        NOTE("window", "30s"), NOTE("metric", "rps"), NOTE("target", "10"),
        NOTE("metric-aggregation-algorithm", "weighted-exponential"),
        NOTE("activation-scale", "4")};
    struct world w;
    unsigned seen = 0;
    world_init(&w, notes, ARRAY_LEN(notes));
    for (int i = 0; i < 40; i++) {
        world_step(&w, i < 20 ? 5 : 0);
        seen |= check(&w);
    }
    assert_true((seen & 1u << HOLD_ACTIVATION) != 0);
    world_fini(&w);
}

#define OUR_NOTE(name, text)                                     \
    {                                                            \
        SLICE_LIT("autoscaling.lull.dev/" name), SLICE_LIT(text) \
    }

/* Idle times of 100 s, in bins of 10 s: kept while traffic is expected, gone before and after. */
static void what_was_learned_is_foreseen(void **state)
{
    static const struct config_pair notes[] = {
        NOTE("window", "6s"), OUR_NOTE("policy", "histogram"), OUR_NOTE("histogram-bin", "10s")};
    struct world w;
    unsigned seen = 0;
    world_init(&w, notes, ARRAY_LEN(notes));
    for (int i = 0; i < 8 * 51; i++) {
        world_step(&w, i % 51 == 0 ? 1 : 0);
        if (i > 6 * 51) {
            seen |= check(&w);
        }
    }
    assert_true((seen & 1u << HOLD_HISTOGRAM) != 0);
    assert_true((seen & 1u << HOLD_TRAFFIC) != 0);
    world_fini(&w);
}

static void what_was_announced_is_foreseen(void **state)
{
    struct world w;
    unsigned seen = 0;
    world_init(&w, (struct config_pair[]){NOTE("window", "20s")}, 1);
    w.rev->times = NEW(struct warm_at);
    *w.rev->times = (struct warm_at){.at_ms = {w.now_ms + 90000}, .count = 1};
    for (int i = 0; i < 60; i++) {
        world_step(&w, 0);
        seen |= check(&w);
        bool warm = w.now_ms >= WORLD_T0 + 75000 && w.now_ms < WORLD_T0 + 110000;
        bool gone = w.now_ms > WORLD_T0 + 50000;
        if (gone) {
            assert_int_equal(w.rev->replicas, warm ? 1 : 0);
        }
    }
    assert_true((seen & 1u << HOLD_ANNOUNCED) != 0);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_life_is_foreseen_at_every_step),
        cmocka_unit_test(events_hold_what_they_asked_for),
        cmocka_unit_test(settings_hold_alone),
        cmocka_unit_test(a_slow_way_down_is_named),
        cmocka_unit_test(a_fresh_start_is_named),
        cmocka_unit_test(a_hole_in_the_reports_is_named),
        cmocka_unit_test(what_holds_together_is_named),
        cmocka_unit_test(rps_and_weights_are_foreseen),
        cmocka_unit_test(what_was_learned_is_foreseen),
        cmocka_unit_test(what_was_announced_is_foreseen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
