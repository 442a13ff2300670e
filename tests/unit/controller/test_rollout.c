// SPDX-License-Identifier: Apache-2.0
/* Gradual rollout: every step against the formula, written out here a second time. */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "controller/rollout.h"
#include "test.h"

#define S INT64_C(1000000000)

enum { START = 1000 }; /* wall time of the first run, seconds */

static struct rollout state_of(const char *text)
{
    struct error err = {0};
    struct rollout r;
    ASSERT_OK(rollout_parse(&r, slice_str(text), &err));
    return r;
}

static struct rollout goal_of(const char *revision, int64_t percent)
{
    struct rollout r;
    rollout_init(&r);
    rollout_add(&r, "c", "", revision, percent);
    return r;
}

/* One run of the Route's reconciler: the wish is all of percent for revision. */
static int64_t run(struct rollout *state, const char *revision, int64_t percent, int64_t now_ns,
                   int64_t duration_s)
{
    struct rollout goal = goal_of(revision, percent);
    rollout_observe(state, now_ns, duration_s);
    int64_t next = rollout_step(&goal, state, now_ns);
    rollout_fini(state);
    *state = goal;
    return next;
}

/* As after a restart: the state goes through its text. */
static void restart(struct rollout *state)
{
    char *text = rollout_text(state);
    rollout_fini(state);
    *state = state_of(text);
    free(text);
}

/* "r1 60, r2 40" */
static void assert_shares(const struct rollout *state, const char *tag, const char *want)
{
    char got[256] = "";
    const struct rollout_target *t = rollout_find(state, "c", tag);
    assert_non_null(t);
    for (size_t i = 0; i < t->count; i++) {
        size_t len = strlen(got);
        snprintf(got + len, sizeof(got) - len, "%s%s %lld", i == 0 ? "" : ", ",
                 t->shares[i].revision, (long long)t->shares[i].percent);
    }
    assert_string_equal(got, want);
}

/* From 100 % of r1 to all of r2 of a target with percent, in duration; seen after `seen` ns. */
static void whole_way(int64_t percent, int64_t duration_s, int64_t seen_ns, bool with_restarts)
{
    struct rollout state = goal_of("r1", percent);
    int64_t now = START * S;
    char want[64];
    assert_int_equal(run(&state, "r2", percent, now, duration_s), 0); /* not routed yet */
    snprintf(want, sizeof(want), "r1 %lld, r2 1", (long long)percent - 1);
    assert_shares(&state, "", want);

    double min_step = fmax(1, ceil((double)seen_ns / 1e9));
    double left = fmax(1, (double)duration_s - min_step);
    double steps = fmin((double)percent - 1, fmax(1, left / min_step));
    int64_t size = (int64_t)round((double)(percent - 1) / steps);
    int64_t step = (int64_t)(left / steps * 1e9);

    now += seen_ns;
    int64_t next = run(&state, "r2", percent, now, duration_s);
    assert_int_equal(next, now + step);
    int64_t have = 1;
    for (int guard = 0; have < percent; guard++) {
        assert_true(guard < 200);
        if (with_restarts) {
            restart(&state);
        }
        /* Too early: nothing moves. */
        assert_int_equal(run(&state, "r2", percent, next - 1, duration_s), next);
        now = next + 3; /* a little late, as timers are */
        next = run(&state, "r2", percent, now, duration_s);
        have = have + size > percent ? percent : have + size;
        if (have < percent) {
            snprintf(want, sizeof(want), "r1 %lld, r2 %lld", (long long)(percent - have),
                     (long long)have);
            assert_int_equal(next, now + step);
            assert_false(rollout_done(&state));
        } else {
            snprintf(want, sizeof(want), "r2 %lld", (long long)percent);
            assert_int_equal(next, 0);
        }
        assert_shares(&state, "", want);
    }
    assert_true(rollout_done(&state));
    const struct rollout_target *t = rollout_find(&state, "c", "");
    assert_int_equal(t->start_ns, 0);
    assert_int_equal(t->step_ns, 0);
    rollout_fini(&state);
}

static void every_step_is_the_formula(void **state)
{
    static const int64_t percents[] = {2, 3, 10, 42, 50, 99, 100};
    static const int64_t durations[] = {1, 2, 5, 10, 60, 120, 600, 3600};
    static const int64_t seen[] = {0, 5000000, S, S + 1, 3 * S, 30 * S, 700 * S};
    (void)state;
    for (size_t p = 0; p < ARRAY_LEN(percents); p++) {
        for (size_t d = 0; d < ARRAY_LEN(durations); d++) {
            for (size_t s = 0; s < ARRAY_LEN(seen); s++) {
                if (seen[s] <= durations[d] * S) {
                    whole_way(percents[p], durations[d], seen[s], false);
                    whole_way(percents[p], durations[d], seen[s], true);
                }
            }
        }
    }
}

/* 100 % in 120 s, seen at once: 119 s are left, 99 steps of one percent. */
static void a_known_case(void **arg)
{
    (void)arg;
    struct rollout state = goal_of("r1", 100);
    (void)run(&state, "r2", 100, START * S, 120);
    int64_t next = run(&state, "r2", 100, START * S + 1, 120);
    const struct rollout_target *t = rollout_find(&state, "c", "");
    assert_int_equal(t->step_size, 1);
    assert_int_equal(t->step_ns, (int64_t)(119.0 / 99 * 1e9));
    assert_int_equal(next, START * S + 1 + t->step_ns);
    char *text = rollout_text(&state);
    assert_string_equal(
        text, "{\"configurations\":[{\"configurationName\":\"c\",\"percent\":100,\"revisions\":[{"
              "\"revisionName\":\"r1\",\"percent\":99},{\"revisionName\":\"r2\",\"percent\":1}],"
              "\"stepParams\":{\"starttime\":1000000000000,\"nextStepTime\":1001202020203,"
              "\"stepDuration\":1202020202,\"stepSize\":1}}]}");
    free(text);
    rollout_fini(&state);
    /* It took 10 s until it was routed: 110 s are left, 11 steps of 9. */
    state = goal_of("r1", 100);
    (void)run(&state, "r2", 100, START * S, 120);
    (void)run(&state, "r2", 100, (START + 10) * S, 120);
    t = rollout_find(&state, "c", "");
    assert_int_equal(t->step_size, 9);
    assert_int_equal(t->step_ns, 10 * S);
    rollout_fini(&state);
}

static void nothing_to_roll(void **arg)
{
    (void)arg;
    struct rollout state;
    rollout_init(&state); /* the first revision of all */
    assert_int_equal(run(&state, "r1", 100, START * S, 60), 0);
    assert_shares(&state, "", "r1 100");
    assert_int_equal(run(&state, "r1", 100, START * S, 60), 0); /* no news */
    assert_shares(&state, "", "r1 100");
    rollout_fini(&state);
    state = goal_of("r1", 1); /* one percent has no steps */
    assert_int_equal(run(&state, "r2", 1, START * S, 60), 0);
    assert_shares(&state, "", "r2 1");
    rollout_fini(&state);
}

/* r3 comes while r2 takes over from r1: what each had stays, r3 gets its percent from r2. */
static void a_newer_one_on_the_way(void **arg)
{
    (void)arg;
    struct rollout state = goal_of("r1", 100);
    (void)run(&state, "r2", 100, START * S, 11);
    int64_t next = run(&state, "r2", 100, START * S, 11); /* 10 steps of 10, one a second */
    for (int i = 0; i < 3; i++) {
        next = run(&state, "r2", 100, next, 11);
    }
    assert_shares(&state, "", "r1 69, r2 31");
    assert_int_equal(run(&state, "r3", 100, next, 11), 0);
    assert_shares(&state, "", "r1 69, r2 30, r3 1");
    restart(&state);
    next = run(&state, "r3", 100, next + 1, 11);
    const struct rollout_target *t = rollout_find(&state, "c", "");
    assert_int_equal(t->step_size, 10);
    assert_int_equal(t->step_ns, S);
    next = run(&state, "r3", 100, next, 11);
    assert_shares(&state, "", "r1 69, r2 20, r3 11");
    next = run(&state, "r3", 100, next, 11);
    next = run(&state, "r3", 100, next, 11);
    assert_shares(&state, "", "r1 69, r3 31"); /* r2 has nothing left and is out */
    for (int i = 0; i < 6; i++) {
        next = run(&state, "r3", 100, next, 11);
    }
    assert_shares(&state, "", "r1 9, r3 91");
    assert_int_equal(run(&state, "r3", 100, next, 11), 0);
    assert_shares(&state, "", "r3 100");
    rollout_fini(&state);
    /* Two in quick succession: the one percent of the first is all that it ever gets. */
    state = goal_of("r1", 100);
    (void)run(&state, "r2", 100, START * S, 11);
    (void)run(&state, "r3", 100, START * S, 11);
    assert_shares(&state, "", "r1 99, r3 1");
    /* Back to r1: at once. */
    assert_int_equal(run(&state, "r1", 100, START * S, 11), 0);
    assert_shares(&state, "", "r1 100");
    rollout_fini(&state);
}

static void the_percent_changes(void **arg)
{
    (void)arg;
    struct rollout state = goal_of("r1", 60);
    (void)run(&state, "r2", 60, START * S, 60);
    (void)run(&state, "r2", 60, START * S, 60);
    (void)run(&state, "r2", 80, START * S, 60);
    assert_shares(&state, "", "r1 59, r2 21"); /* more: to the newest */
    (void)run(&state, "r2", 30, START * S, 60);
    assert_shares(&state, "", "r1 9, r2 21"); /* less: from the oldest */
    (void)run(&state, "r2", 20, START * S, 60);
    assert_shares(&state, "", "r2 20");
    assert_true(rollout_done(&state));
    rollout_fini(&state);
}

/* Each tag goes its own way, and a new tag or Configuration has nothing to come from. */
static void tags_are_apart(void **arg)
{
    (void)arg;
    struct rollout state;
    struct rollout goal;
    rollout_init(&state);
    rollout_add(&state, "c", "", "r1", 50);
    rollout_add(&state, "c", "x", "r1", 50);
    rollout_init(&goal);
    rollout_add(&goal, "c", "x", "r2", 40);
    rollout_add(&goal, "c", "", "r2", 50);
    rollout_add(&goal, "c", "new", "r2", 5);
    rollout_add(&goal, "d", "", "d1", 5);
    assert_int_equal(rollout_step(&goal, &state, START * S), 0);
    rollout_fini(&state);
    assert_shares(&goal, "", "r1 49, r2 1");
    assert_shares(&goal, "x", "r1 39, r2 1");
    assert_shares(&goal, "new", "r2 5");
    assert_int_equal(goal.count, 4);
    assert_string_equal(goal.targets[0].configuration, "c"); /* by tag, then Configuration */
    assert_string_equal(goal.targets[1].configuration, "d");
    assert_string_equal(goal.targets[3].tag, "x");
    restart(&goal);
    assert_shares(&goal, "x", "r1 39, r2 1");
    rollout_drop(&goal.targets[3], 0); /* r1 was deleted */
    assert_shares(&goal, "x", "r2 40");
    rollout_fini(&goal);
}

static void bad_states_are_refused(void **arg)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{\"configurations\":[{\"percent\":5}]}",
        "{\"configurations\":[{\"configurationName\":\"c\",\"percent\":101,\"revisions\":[{"
        "\"revisionName\":\"r\",\"percent\":101}]}]}",
        "{\"configurations\":[{\"configurationName\":\"c\",\"percent\":10,\"revisions\":[{"
        "\"revisionName\":\"r\",\"percent\":9}]}]}",
        "{\"configurations\":[{\"configurationName\":\"c\",\"percent\":10,\"revisions\":[{"
        "\"revisionName\":\"r\",\"percent\":20},{\"revisionName\":\"s\",\"percent\":-10}]}]}",
        "{\"configurations\":[{\"configurationName\":\"c\",\"percent\":10,\"revisions\":[{"
        "\"revisionName\":\"r\",\"percent\":10}],\"stepParams\":{\"stepSize\":11}}]}",
        "{\"configurations\":[{\"configurationName\":\"c\",\"percent\":0},"
        "{\"configurationName\":\"c\",\"percent\":0}]}",
    };
    (void)arg;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct error err = {0};
        struct rollout r;
        assert_true(rollout_parse(&r, slice_str(bad[i]), &err) < 0);
        assert_int_equal(r.count, 0);
    }
    struct rollout odd = state_of("{\"configurations\":[{\"configurationName\":\"c\",\"percent\":0,"
                                  "\"unknown\":1}]}");
    assert_int_equal(run(&odd, "r1", 100, START * S, 60), 0);
    assert_shares(&odd, "", "r1 100");
    rollout_fini(&odd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_step_is_the_formula), cmocka_unit_test(a_known_case),
        cmocka_unit_test(nothing_to_roll),           cmocka_unit_test(a_newer_one_on_the_way),
        cmocka_unit_test(the_percent_changes),       cmocka_unit_test(tags_are_apart),
        cmocka_unit_test(bad_states_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
