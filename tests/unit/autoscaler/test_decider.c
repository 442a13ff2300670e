// SPDX-License-Identifier: Apache-2.0
/* The decision: numbers worked out by hand from Knative's formula. */
#include <math.h>

#include "autoscaler/decider.h"
#include "spec.h"
#include "test.h"

#define T0 1000000ull

struct row {
    const char *name;
    double stable, panic;
    int32_t ready;
    bool unreachable;
    double up, down, target; /* 0: the default */
    int32_t activation;
    int32_t want;
    enum decider_rule rule;
    bool panicking;
};

static const struct row rows[] = {
    {"idle", 0, 0, 0, .want = 0, .rule = DECIDER_STABLE},
    {"a trickle wants one", 0.01, 0.1, 0, .want = 1, .rule = DECIDER_STABLE},
    {"exactly one replica's worth", 70, 70, 1, .want = 1, .rule = DECIDER_STABLE},
    {"a little more", 70.000001, 70, 1, .want = 2, .rule = DECIDER_STABLE},
    {"ten times, calm", 690, 690, 10, .want = 10, .rule = DECIDER_STABLE},
    /* the panic average needs 2 with 1 ready: 2/1 >= 2 */
    {"panic begins at twice", 10, 71, 1, .want = 2, .rule = DECIDER_PANIC, .panicking = true},
    {"below twice there is no panic", 10, 71, 2, .want = 1, .rule = DECIDER_STABLE},
    {"the stable wish may be the larger", 300, 210, 1, .want = 5, .rule = DECIDER_STABLE,
     .panicking = true},
    {"at most half goes at once", 0, 0, 9, .want = 4, .rule = DECIDER_MAX_DOWN},
    {"one may go", 0, 0, 1, .want = 0, .rule = DECIDER_STABLE},
    {"unreachable falls at once", 0, 0, 9, .unreachable = true, .want = 0, .rule = DECIDER_STABLE},
    {"the rate upwards", 7000, 0, 4, .up = 2, .want = 8, .rule = DECIDER_MAX_UP},
    /* ceil(1.1 * 2) = 3 */
    {"a small rate still gives one more", 3, 3, 2, .up = 1.1, .target = 1, .want = 3,
     .rule = DECIDER_STABLE},
    {"a rate downwards of 10", 0, 0, 25, .down = 10, .want = 2, .rule = DECIDER_MAX_DOWN},
    {"activation scale on first traffic", 0.1, 0.1, 0, .activation = 3, .want = 3,
     .rule = DECIDER_ACTIVATION, .panicking = false},
    {"activation scale not without traffic", 0, 0, 0, .activation = 3, .want = 0,
     .rule = DECIDER_STABLE},
    {"activation scale gives way to more", 350, 300, 4, .activation = 3, .want = 5,
     .rule = DECIDER_STABLE},
    {"a tiny target", 1, 1, 1, .target = 0.01, .want = 100, .rule = DECIDER_STABLE,
     .panicking = true},
};

static void single_decisions(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        struct scaling_spec spec = spec_defaults();
        spec.max_scale_up_rate = r->up > 0 ? r->up : spec.max_scale_up_rate;
        spec.max_scale_down_rate = r->down > 0 ? r->down : spec.max_scale_down_rate;
        spec.target = r->target > 0 ? r->target : spec.target;
        spec.activation_scale = r->activation > 0 ? r->activation : 1;
        struct decider d = {0};
        struct decision got = decider_decide(&d, &spec,
                                             &(struct decider_input){
                                                 .now_ms = T0,
                                                 .has_data = true,
                                                 .stable = r->stable,
                                                 .panic = r->panic,
                                                 .ready = r->ready,
                                                 .reachable = !r->unreachable,
                                             });
        if (!got.valid || got.desired != r->want || got.rule != r->rule ||
            got.panicking != r->panicking) {
            fail_msg("%s: got %d by %s%s, want %d by %s%s", r->name, got.desired,
                     decider_rule_text(got.rule), got.panicking ? " in panic" : "", r->want,
                     decider_rule_text(r->rule), r->panicking ? " in panic" : "");
        }
        decider_fini(&d);
    }
}

static int32_t step(struct decider *d, const struct scaling_spec *spec, uint64_t now_ms,
                    double stable, double panic, int32_t ready)
{
    struct decision got = decider_decide(d, spec,
                                         &(struct decider_input){.now_ms = now_ms,
                                                                 .has_data = true,
                                                                 .stable = stable,
                                                                 .panic = panic,
                                                                 .ready = ready,
                                                                 .reachable = true});
    assert_true(got.valid);
    return got.desired;
}

static void panic_keeps_the_most(void **state)
{
    struct scaling_spec spec = spec_defaults();
    struct decider d = {0};
    assert_int_equal(step(&d, &spec, T0, 50, 350, 1), 5);
    assert_int_equal(step(&d, &spec, T0 + 2000, 60, 700, 5), 10);
    /* calm again: 1 wanted of 10 ready, but a window must pass since the last time over */
    assert_int_equal(step(&d, &spec, T0 + 4000, 60, 60, 10), 10);
    assert_int_equal(step(&d, &spec, T0 + 62000, 60, 60, 10), 10);
    assert_true(d.panicking);
    assert_int_equal(step(&d, &spec, T0 + 62001, 60, 60, 10), 5);
    assert_false(d.panicking);
    assert_int_equal(step(&d, &spec, T0 + 64000, 60, 60, 5), 2);
    assert_int_equal(step(&d, &spec, T0 + 66000, 60, 60, 2), 1);
    decider_fini(&d);
}

static void a_new_decider_with_replicas_starts_in_panic(void **state)
{
    struct scaling_spec spec = spec_defaults();
    struct decider d;
    decider_init(&d, T0, 8);
    assert_int_equal(step(&d, &spec, T0 + 2000, 1, 1, 8), 8);
    assert_int_equal(step(&d, &spec, T0 + 60001, 1, 1, 8), 4);
    decider_fini(&d);
    decider_init(&d, T0, 1);
    assert_false(d.panicking);
    assert_int_equal(step(&d, &spec, T0, 0, 0, 1), 0);
    decider_fini(&d);
}

static void scale_down_waits_for_the_delay(void **state)
{
    struct scaling_spec spec = spec_defaults();
    spec.scale_down_delay_s = 10;
    struct decider d = {0};
    assert_int_equal(step(&d, &spec, T0, 210, 0, 3), 3);
    for (uint64_t t = 2000; t <= 8000; t += 2000) {
        struct decision got = decider_decide(
            &d, &spec,
            &(struct decider_input){
                .now_ms = T0 + t, .has_data = true, .stable = 100, .ready = 3, .reachable = true});
        assert_int_equal(got.desired, 3);
        assert_int_equal(got.rule, DECIDER_DELAY);
        assert_int_equal(got.until_ms, T0 + 10000);
    }
    assert_int_equal(step(&d, &spec, T0 + 10000, 100, 0, 3), 2);
    /* up is never delayed */
    assert_int_equal(step(&d, &spec, T0 + 12000, 280, 0, 2), 4);
    decider_fini(&d);
}

static void missing_data_decides_nothing(void **state)
{
    struct scaling_spec spec = spec_defaults();
    struct decider d = {0};
    struct decider_input in = {.now_ms = T0, .ready = 3, .reachable = true};
    assert_false(decider_decide(&d, &spec, &in).valid);
    /* … but a held request wants a replica even so */
    in.held = 1;
    in.ready = 0;
    struct decision got = decider_decide(&d, &spec, &in);
    assert_true(got.valid);
    assert_int_equal(got.desired, 1);
    assert_int_equal(got.rule, DECIDER_HELD_REQUEST);
    assert_false(got.panicking);
    spec.activation_scale = 4;
    assert_int_equal(decider_decide(&d, &spec, &in).desired, 4);
    decider_fini(&d);
}

/* A crowd that waits is served at once, by what can run it: not by the averages, and no panic. */
static void a_crowd_that_waits(void **state)
{
    struct scaling_spec spec = spec_defaults();
    struct decider d = {0};
    spec.total = 1;
    spec.target = 0.7;
    struct decider_input in = {.now_ms = T0, .ready = 0, .reachable = true, .held = 50};
    struct decision got = decider_decide(&d, &spec, &in);
    assert_int_equal(got.desired, 50);
    assert_int_equal(got.rule, DECIDER_HELD_REQUEST);
    assert_false(got.panicking);
    in.has_data = true; /* the windows have hardly seen it */
    in.stable = in.panic = 0.1;
    assert_int_equal(decider_decide(&d, &spec, &in).desired, 50);
    in.panic = 70; /* the formula asks for more */
    got = decider_decide(&d, &spec, &in);
    assert_int_equal(got.desired, 100);
    assert_true(got.panicking);
    decider_fini(&d);
    spec.max_scale_up_rate = 10;
    d = (struct decider){0};
    in.has_data = false;
    assert_int_equal(decider_decide(&d, &spec, &in).desired, 10);
    spec.metric = SCALING_RPS;
    assert_int_equal(decider_decide(&d, &spec, &in).desired, 1);
    decider_fini(&d);
}

static void burst_capacity_is_reported(void **state)
{
    static const struct {
        double tbc, total, panic;
        int32_t ready, want;
    } cases[] = {
        {211, 100, 0, 2, -11}, {211, 100, 0, 3, 89},  {211, 100, 89.5, 3, -1},
        {0, 100, 500, 1, 0},   {-1, 100, 500, 1, -1}, {10, 10, 4.2, 0, -15},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct scaling_spec spec = spec_defaults();
        spec.target_burst_capacity = cases[i].tbc;
        spec.total = cases[i].total;
        struct decider d = {0};
        struct decision got = decider_decide(&d, &spec,
                                             &(struct decider_input){.now_ms = T0,
                                                                     .has_data = true,
                                                                     .panic = cases[i].panic,
                                                                     .ready = cases[i].ready,
                                                                     .reachable = true});
        assert_int_equal(got.excess_burst, cases[i].want);
        decider_fini(&d);
    }
}

static void absurd_averages_stay_in_range(void **state)
{
    struct scaling_spec spec = spec_defaults();
    spec.max_scale_up_rate = 1e12;
    struct decider d = {0};
    assert_int_equal(step(&d, &spec, T0, 1e300, 0, 1), INT32_MAX);
    decider_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_decisions),
        cmocka_unit_test(panic_keeps_the_most),
        cmocka_unit_test(a_new_decider_with_replicas_starts_in_panic),
        cmocka_unit_test(scale_down_waits_for_the_delay),
        cmocka_unit_test(missing_data_decides_nothing),
        cmocka_unit_test(a_crowd_that_waits),
        cmocka_unit_test(burst_capacity_is_reported),
        cmocka_unit_test(absurd_averages_stay_in_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
