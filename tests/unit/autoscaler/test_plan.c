// SPDX-License-Identifier: Apache-2.0
/* From decision to written scale: bounds, the way to zero and back, and holes in the reports. */
#include "autoscaler/plan.h"
#include "test.h"

#define T0 10000000ull

static struct scaling_spec defaults(void)
{
    return (struct scaling_spec){
        .kpa = true,
        .target = 70,
        .stable_window_s = 60,
        .grace_ms = 30000,
        .activation_scale = 1,
        .initial_scale = 1,
        .scale_to_zero = true,
    };
}

static struct decision desired(int32_t n)
{
    return (struct decision){.valid = true, .desired = n};
}

/* All is well: reports are complete, activators always in the path. */
static struct plan_input input(uint64_t now_ms, int32_t replicas, int32_t ready)
{
    return (struct plan_input){
        .now_ms = now_ms,
        .reachable = true,
        .replicas = replicas,
        .ready = ready,
        .reports = true,
        .progress_deadline_ms = 600000,
    };
}

static struct plan_state running(uint64_t since_ms)
{
    return (struct plan_state){
        .active = PLAN_ACTIVE, .since_ms = since_ms, .initialized = true, .desired = 1};
}

static void a_new_revision_reaches_its_initial_scale(void **state)
{
    struct scaling_spec spec = defaults();
    spec.initial_scale = 3;
    struct plan_state s;
    plan_init(&s, T0);
    struct plan_input in = input(T0, 3, 0);
    struct plan p = plan_make(&s, &spec, NULL, &in);
    assert_int_equal(p.want, 3);
    assert_int_equal(p.rule, PLAN_INITIAL_SCALE);
    assert_false(p.write);
    assert_int_equal(s.active, PLAN_ACTIVATING);

    struct decision none = desired(0);
    in = input(T0 + 1000, 3, 2);
    p = plan_make(&s, &spec, &none, &in);
    assert_int_equal(p.want, 3);
    assert_false(s.initialized);

    in = input(T0 + 2000, 3, 3);
    p = plan_make(&s, &spec, &none, &in);
    assert_true(s.initialized);
    assert_int_equal(s.active, PLAN_ACTIVE);
    assert_int_equal(s.since_ms, T0 + 2000);

    /* from now on it follows the traffic: one stays for a stable window */
    in = input(T0 + 4000, 3, 3);
    p = plan_make(&s, &spec, &none, &in);
    assert_int_equal(p.want, 1);
    assert_true(p.write);
    assert_int_equal(p.rule, PLAN_RECENTLY_ACTIVE);
    assert_int_equal(p.until_ms, T0 + 62000);
}

static void idle_goes_to_zero_in_one_step(void **state)
{
    struct scaling_spec spec = defaults();
    struct plan_state s = running(T0 - 60000);
    struct decision none = desired(0);
    struct plan_input in = input(T0, 1, 1);
    struct plan p = plan_make(&s, &spec, &none, &in);
    assert_int_equal(p.want, 0);
    assert_true(p.write);
    assert_int_equal(s.active, PLAN_INACTIVE);
    assert_int_equal(s.since_ms, T0);
}

static void active_for_less_than_the_window_stays(void **state)
{
    struct scaling_spec spec = defaults();
    struct plan_state s = running(T0 - 59999);
    struct decision none = desired(0);
    struct plan_input in = input(T0, 1, 1);
    struct plan p = plan_make(&s, &spec, &none, &in);
    assert_int_equal(p.want, 1);
    assert_false(p.write);
    assert_int_equal(p.until_ms, T0 + 1);
}

static void retention_keeps_the_last_replica(void **state)
{
    struct scaling_spec spec = defaults();
    spec.retention_ms = 120000;
    struct plan_state s = running(0);
    struct decision none = desired(0);
    struct plan_input in = input(T0, 1, 1);
    struct plan p = plan_make(&s, &spec, &none, &in);
    assert_int_equal(p.rule, PLAN_RETENTION);
    assert_int_equal(p.until_ms, T0 + 120000);
    assert_false(p.write);
    assert_int_equal(s.active, PLAN_INACTIVE);
    in = input(T0 + 119999, 1, 1);
    assert_false(plan_make(&s, &spec, &none, &in).write);
    in = input(T0 + 120000, 1, 1);
    p = plan_make(&s, &spec, &none, &in);
    assert_true(p.write);
    assert_int_equal(p.want, 0);

    /* unreachable: no retention */
    s = running(0);
    in = input(T0, 1, 1);
    in.reachable = false;
    assert_true(plan_make(&s, &spec, &none, &in).write);
}

static void grace_counts_from_when_activators_came(void **state)
{
    struct scaling_spec spec = defaults();
    struct plan_state s = running(0);
    struct decision none = desired(0);
    struct plan_input in = input(T0, 1, 1);
    in.path_since_ms = T0 - 10000;
    struct plan p = plan_make(&s, &spec, &none, &in);
    assert_int_equal(p.rule, PLAN_GRACE);
    assert_int_equal(p.until_ms, T0 + 20000);
    assert_false(p.write);
    in.now_ms = T0 + 20000;
    assert_true(plan_make(&s, &spec, &none, &in).write);
}

static void nothing_goes_down_while_reports_are_missing(void **state)
{
    struct scaling_spec spec = defaults();
    struct decision one = desired(1);
    struct decision six = desired(6);
    struct decision none = desired(0);
    struct plan_state s = running(0);
    struct plan_input in = input(T0, 4, 4);
    in.reports = false;
    struct plan p = plan_make(&s, &spec, &one, &in);
    assert_int_equal(p.want, 4);
    assert_int_equal(p.rule, PLAN_OBSERVING);
    assert_int_equal(p.until_ms, 0);
    /* up goes on */
    p = plan_make(&s, &spec, &six, &in);
    assert_true(p.write && p.want == 6);
    /* reports are back, but not for a whole window yet */
    in = input(T0, 4, 4);
    in.reports_since_ms = T0 - 59999;
    p = plan_make(&s, &spec, &none, &in);
    assert_int_equal(p.want, 4);
    assert_int_equal(p.until_ms, T0 + 1);
    in.now_ms = T0 + 1;
    assert_true(plan_make(&s, &spec, &one, &in).write);
}

static void a_restart_changes_nothing_before_the_first_decision(void **state)
{
    struct scaling_spec spec = defaults();
    struct plan_state s = running(0);
    s.desired = -1;
    struct plan_input in = input(T0, 5, 5);
    struct plan p = plan_make(&s, &spec, NULL, &in);
    assert_int_equal(p.want, -1);
    assert_false(p.write);
    assert_int_equal(s.active, PLAN_ACTIVE);
}

static void a_held_request_wakes_it(void **state)
{
    struct scaling_spec spec = defaults();
    struct plan_state s = {
        .active = PLAN_INACTIVE, .since_ms = 0, .initialized = true, .desired = 0};
    struct decision one = desired(1);
    struct plan_input in = input(T0, 0, 0);
    in.held = true;
    struct plan p = plan_make(&s, &spec, &one, &in);
    assert_true(p.write && p.want == 1);
    assert_int_equal(s.active, PLAN_ACTIVATING);
    /* the next decision sees no traffic yet: what was started is left alone */
    struct decision none = desired(0);
    in = input(T0 + 100, 1, 0);
    p = plan_make(&s, &spec, &none, &in);
    assert_false(p.write);
    assert_int_equal(p.want, -1);
    assert_int_equal(p.rule, PLAN_STARTING);
    in = input(T0 + 200, 1, 1);
    p = plan_make(&s, &spec, NULL, &in);
    assert_int_equal(s.active, PLAN_ACTIVE);
    assert_int_equal(s.since_ms, T0 + 200);
    assert_false(p.write);
    /* also when the present scale is not known yet */
    s = (struct plan_state){.active = PLAN_INACTIVE, .initialized = true};
    in = input(T0, -1, 0);
    assert_false(plan_make(&s, &spec, &one, &in).write);
    in.held = true;
    assert_true(plan_make(&s, &spec, &one, &in).write);
}

static void an_activation_that_never_ends_is_given_up(void **state)
{
    struct scaling_spec spec = defaults();
    struct plan_state s = {
        .active = PLAN_ACTIVATING, .since_ms = T0, .initialized = true, .desired = 1};
    struct decision none = desired(0);
    struct plan_input in = input(T0 + 629999, 1, 0);
    assert_false(plan_make(&s, &spec, &none, &in).write);
    in = input(T0 + 630000, 1, 0);
    struct plan p = plan_make(&s, &spec, &none, &in);
    assert_true(p.write && p.want == 0);
    assert_int_equal(p.rule, PLAN_GAVE_UP);
    assert_int_equal(s.active, PLAN_TIMED_OUT);
}

static void bounds_hold(void **state)
{
    static const struct {
        const char *name;
        int32_t min, max, desired, want;
        bool unreachable, zero_off;
        enum plan_rule rule;
    } rows[] = {
        {"min", 2, 0, 0, 2, .rule = PLAN_MIN_SCALE},
        {"max", 0, 5, 9, 5, .rule = PLAN_MAX_SCALE},
        {"between", 2, 5, 3, 3, .rule = PLAN_AS_DECIDED},
        {"unreachable ignores min", 2, 0, 0, 0, .unreachable = true, .rule = PLAN_AS_DECIDED},
        {"zero is off", 0, 0, 0, 1, .zero_off = true, .rule = PLAN_NO_ZERO},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct scaling_spec spec = defaults();
        spec.min_scale = rows[i].min;
        spec.max_scale = rows[i].max;
        spec.scale_to_zero = !rows[i].zero_off;
        struct plan_state s = running(0);
        struct decision d = desired(rows[i].desired);
        struct plan_input in = input(T0, 4, 4);
        in.reachable = !rows[i].unreachable;
        struct plan p = plan_make(&s, &spec, &d, &in);
        if (p.want != rows[i].want || p.rule != rows[i].rule || !p.write) {
            fail_msg("%s: got %d by \"%s\"", rows[i].name, p.want, plan_rule_text(p.rule));
        }
    }
}

static void initial_scale_zero_starts_inactive(void **state)
{
    struct scaling_spec spec = defaults();
    spec.initial_scale = 0;
    struct plan_state s;
    plan_init(&s, T0);
    struct plan_input in = input(T0, 0, 0);
    struct plan p = plan_make(&s, &spec, NULL, &in);
    assert_false(p.write);
    assert_true(s.initialized);
    assert_int_equal(s.active, PLAN_INACTIVE);
    struct decision none = desired(0);
    p = plan_make(&s, &spec, &none, &in);
    assert_int_equal(s.active, PLAN_INACTIVE);
    assert_false(p.write);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_revision_reaches_its_initial_scale),
        cmocka_unit_test(idle_goes_to_zero_in_one_step),
        cmocka_unit_test(active_for_less_than_the_window_stays),
        cmocka_unit_test(retention_keeps_the_last_replica),
        cmocka_unit_test(grace_counts_from_when_activators_came),
        cmocka_unit_test(nothing_goes_down_while_reports_are_missing),
        cmocka_unit_test(a_restart_changes_nothing_before_the_first_decision),
        cmocka_unit_test(a_held_request_wakes_it),
        cmocka_unit_test(an_activation_that_never_ends_is_given_up),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(initial_scale_zero_starts_inactive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
