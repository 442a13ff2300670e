// SPDX-License-Identifier: Apache-2.0
/* Stabilization, rates and bounds of a HorizontalPodAutoscaler, in virtual time. */
#include <string.h>

#include "base/mem.h"
#include "local/hpa/limit.h"
#include "test.h"

#define S INT64_C(1000000000)

/* What an object without behavior has. */
static struct hpa_bounds plain(int32_t min, int32_t max)
{
    return (struct hpa_bounds){.min = min, .max = max, .down = {.window_s = 300}};
}

/* Kubernetes' defaults of a behavior, with these windows. */
static struct hpa_bounds rules(int32_t min, int32_t max, int32_t up_s, int32_t down_s)
{
    return (struct hpa_bounds){
        .min = min,
        .max = max,
        .behavior = true,
        .up = {.window_s = up_s, .policies = {{false, 4, 15}, {true, 100, 15}}, .count = 2},
        .down = {.window_s = down_s, .policies = {{true, 100, 15}}, .count = 1},
    };
}

static struct hpa_verdict at(struct hpa_memory *memory, const struct hpa_bounds *b, int32_t *scale,
                             int32_t proposal, int64_t second)
{
    struct hpa_verdict v;
    hpa_begin(memory, *scale, second * S);
    hpa_limit(memory, b, *scale, proposal, second * S, &v);
    hpa_changed(memory, b, *scale, v.replicas, second * S);
    *scale = v.replicas;
    return v;
}

static void the_largest_of_five_minutes_holds(void **state)
{
    struct hpa_memory memory = {0};
    struct hpa_bounds b = plain(1, 10);
    int32_t scale = 4;
    struct hpa_verdict v = at(&memory, &b, &scale, 6, 1000);
    assert_int_equal(v.replicas, 6); /* up at once */
    assert_string_equal(v.able_reason, "ReadyForNewScale");
    for (int64_t t = 1015; t < 1300; t += 15) {
        v = at(&memory, &b, &scale, 2, t);
        assert_int_equal(v.replicas, 6);
        assert_string_equal(v.able_reason, "ScaleDownStabilized");
        assert_int_equal(v.held_ns, (1300 - t) * S); /* and that comes true: */
    }
    assert_int_equal(at(&memory, &b, &scale, 2, 1300).replicas, 6); /* of this moment: still in */
    v = at(&memory, &b, &scale, 2, 1301);
    assert_int_equal(v.replicas, 2);
    assert_string_equal(v.able_reason, "ReadyForNewScale");
    assert_int_equal(v.held_ns, 0);
    hpa_memory_fini(&memory);
}

/* A process that starts anew takes nobody down before a window has passed. */
static void the_scale_at_the_start_counts(void **state)
{
    struct hpa_memory memory = {0};
    struct hpa_bounds b = plain(1, 10);
    int32_t scale = 5;
    assert_int_equal(at(&memory, &b, &scale, 1, 0).replicas, 5);
    assert_int_equal(at(&memory, &b, &scale, 1, 299).replicas, 5);
    assert_int_equal(at(&memory, &b, &scale, 1, 301).replicas, 1);
    hpa_memory_fini(&memory);
}

static void without_behavior_it_doubles(void **state)
{
    static const struct {
        int32_t from, proposal, max, want;
        const char *reason;
    } cases[] = {
        {1, 9, 100, 4, "ScaleUpLimit"},
        {3, 9, 100, 6, "ScaleUpLimit"},
        {3, 9, 5, 5, "TooManyReplicas"},
        {3, 5, 5, 5, "DesiredWithinRange"},
        {3, 0, 5, 3, "DesiredWithinRange"},
        {2, 2, 5, 2, "DesiredWithinRange"},
        {1 << 30, INT32_MAX, INT32_MAX, INT32_MAX, "DesiredWithinRange"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct hpa_memory memory = {0};
        struct hpa_bounds b = plain(2, cases[i].max);
        int32_t scale = cases[i].from;
        struct hpa_verdict v = at(&memory, &b, &scale, cases[i].proposal, 0);
        if (v.replicas != cases[i].want || strcmp(v.limit_reason, cases[i].reason) != 0 ||
            v.limited != (strcmp(v.limit_reason, "DesiredWithinRange") != 0)) {
            fail_msg("case %zu: %d, %s", i, v.replicas, v.limit_reason);
        }
        hpa_memory_fini(&memory);
    }
}

static void the_least_is_kept(void **state)
{
    struct hpa_memory memory = {0};
    struct hpa_bounds b = plain(2, 10);
    int32_t scale = 2;
    struct hpa_verdict v = at(&memory, &b, &scale, 0, 0);
    assert_int_equal(v.replicas, 2);
    b.down.window_s = 0;
    scale = 3;
    v = at(&memory, &b, &scale, 0, 1000);
    assert_int_equal(v.replicas, 2);
    assert_true(v.limited);
    assert_string_equal(v.limit_reason, "TooFewReplicas");
    hpa_memory_fini(&memory);
}

/* Of the default policies the larger one counts: four, or as many again, within 15 s. */
static void rates_count_within_their_period(void **state)
{
    struct hpa_memory memory = {0};
    struct hpa_bounds b = rules(1, 100, 0, 0);
    int32_t scale = 1;
    struct hpa_verdict v = at(&memory, &b, &scale, 50, 0);
    assert_int_equal(v.replicas, 5);
    assert_string_equal(v.limit_reason, "ScaleUpLimit");
    assert_int_equal(at(&memory, &b, &scale, 50, 5).replicas, 5); /* the period began with 1 */
    assert_int_equal(at(&memory, &b, &scale, 50, 15).replicas, 10);
    assert_int_equal(at(&memory, &b, &scale, 50, 30).replicas, 20);
    assert_int_equal(at(&memory, &b, &scale, 3, 31).replicas, 3); /* down: all of them at once */
    /* 3 + 17 - 10 stood at the start of the period: 20 is what may be there again */
    assert_int_equal(at(&memory, &b, &scale, 50, 32).replicas, 20);
    hpa_memory_fini(&memory);
}

static void policies_are_selected(void **state)
{
    struct hpa_bounds b = rules(1, 100, 0, 0);
    b.down = (struct hpa_rules){.policies = {{false, 3, 60}, {true, 50, 60}}, .count = 2};
    const struct {
        enum hpa_select select;
        int32_t want;
    } cases[] = {{HPA_SELECT_MAX, 10}, {HPA_SELECT_MIN, 17}, {HPA_SELECT_DISABLED, 20}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct hpa_memory memory = {0};
        int32_t scale = 20;
        b.down.select = cases[i].select;
        struct hpa_verdict v = at(&memory, &b, &scale, 1, 0);
        assert_int_equal(v.replicas, cases[i].want);
        assert_string_equal(v.limit_reason, "ScaleDownLimit");
        hpa_memory_fini(&memory);
    }
}

/* A share is worked out as Kubernetes does it, in the same floating point. */
static void shares_are_rounded_as_kubernetes_does(void **state)
{
    static const struct {
        int32_t from, percent;
        bool up;
        int32_t want;
    } cases[] = {
        {100, 10, true, 111},                   /* 1.1 × 100 is a little more than 110 */
        {10, 10, true, 11},   {1, 10, true, 2}, /* rounded up, or it would never grow */
        {10, 90, false, 0}, /* 10 × (1 - 0.9) is a little less than 1, and cut off: the least is
                               kept */
        {10, 50, false, 5},   {3, 50, false, 1}, {10, 200, false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct hpa_memory memory = {0};
        struct hpa_bounds b = rules(1, 10000, 0, 0);
        struct hpa_rules *r = cases[i].up ? &b.up : &b.down;
        int32_t scale = cases[i].from, want = cases[i].want < 1 ? 1 : cases[i].want;
        *r = (struct hpa_rules){.policies = {{true, cases[i].percent, 60}}, .count = 1};
        struct hpa_verdict v = at(&memory, &b, &scale, cases[i].up ? 10000 : 0, 0);
        if (v.replicas != want) {
            fail_msg("case %zu: %d", i, v.replicas);
        }
        assert_string_equal(v.limit_reason, cases[i].up         ? "ScaleUpLimit"
                                            : cases[i].want < 2 ? "TooFewReplicas"
                                                                : "ScaleDownLimit");
        hpa_memory_fini(&memory);
    }
}

/* Each policy counts the changes of its own period; up and down count against each other. */
static void each_policy_has_its_period(void **state)
{
    struct hpa_memory memory = {0};
    struct hpa_bounds b = rules(1, 100, 0, 0);
    b.up = (struct hpa_rules){
        .policies = {{false, 2, 10}, {false, 5, 60}}, .count = 2, .select = HPA_SELECT_MIN};
    int32_t scale = 10;
    assert_int_equal(at(&memory, &b, &scale, 50, 0).replicas, 12);
    assert_int_equal(at(&memory, &b, &scale, 50, 9).replicas, 12);
    assert_int_equal(at(&memory, &b, &scale, 50, 10).replicas, 14);
    assert_int_equal(at(&memory, &b, &scale, 50, 20).replicas, 15); /* five in a minute */
    assert_int_equal(at(&memory, &b, &scale, 50, 59).replicas, 15);
    assert_int_equal(at(&memory, &b, &scale, 50, 60).replicas, 17); /* the first is a minute old */
    hpa_memory_fini(&memory);
}

/* With a window upwards the smallest proposal of the window is followed. */
static void both_windows_hold(void **state)
{
    struct hpa_memory memory = {0};
    struct hpa_bounds b = rules(1, 100, 60, 60);
    int32_t scale = 4;
    struct hpa_verdict v = at(&memory, &b, &scale, 8, 0);
    assert_int_equal(v.replicas, 4); /* the scale at the start was the first proposal */
    assert_string_equal(v.able_reason, "ScaleUpStabilized");
    assert_int_equal(v.held_ns, 60 * S);
    assert_int_equal(at(&memory, &b, &scale, 7, 30).replicas, 4);
    assert_int_equal(at(&memory, &b, &scale, 9, 60).replicas, 7);
    assert_int_equal(at(&memory, &b, &scale, 1, 70).replicas, 7);
    v = at(&memory, &b, &scale, 1, 119);
    assert_int_equal(v.replicas, 7);
    assert_string_equal(v.able_reason, "ScaleDownStabilized");
    assert_int_equal(at(&memory, &b, &scale, 1, 120).replicas, 1);
    hpa_memory_fini(&memory);
}

static void memory_is_bounded(void **state)
{
    struct hpa_memory memory = {0};
    struct hpa_bounds b = rules(1, 100, 3600, 3600);
    int32_t scale = 4;
    for (int64_t t = 0; t < 20000; t++) {
        (void)at(&memory, &b, &scale, 1 + (int32_t)(t % 9), t);
    }
    assert_true(memory.proposals.count <= 4096 && memory.proposals.room <= 8192);
    assert_true(memory.ups.count <= 1801);
    hpa_memory_fini(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_largest_of_five_minutes_holds),
        cmocka_unit_test(the_scale_at_the_start_counts),
        cmocka_unit_test(without_behavior_it_doubles),
        cmocka_unit_test(the_least_is_kept),
        cmocka_unit_test(rates_count_within_their_period),
        cmocka_unit_test(policies_are_selected),
        cmocka_unit_test(shares_are_rounded_as_kubernetes_does),
        cmocka_unit_test(each_policy_has_its_period),
        cmocka_unit_test(both_windows_hold),
        cmocka_unit_test(memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
