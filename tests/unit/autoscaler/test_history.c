// SPDX-License-Identifier: Apache-2.0
/* What a status says of a change is enough to compute it again. */
#include "base/random.h"
#include "json/jget.h"
#include "autoscaler/history.h"
#include "spec.h"
#include "test.h"

#define ROUNDS 20000

static struct change change_of(const struct decision *d, const struct scaling_spec *spec)
{
    return (struct change){.wall_ns = 1700000000000000000,
                           .from = d->ready,
                           .to = d->desired,
                           .decider_rule = d->rule,
                           .panicking = d->panicking,
                           .ready = d->ready,
                           .stable = d->stable,
                           .panic = d->panic,
                           .target = spec->target,
                           .complete = true,
                           .reachable = d->reachable,
                           .held = (float)d->held,
                           .panic_before = d->panic_before,
                           .backlog = d->backlog,
                           .backlog_target =
                               spec->metric == SCALING_BACKLOG ? spec->backlog_target : 0,
                           .backlog_most = d->backlog_most,
                           .delay_most = d->delay_most,
                           .stable_window_s = spec->stable_window_s,
                           .panic_window_s = spec->panic_window_s};
}

static void expect_same(const struct change *change, const struct scaling_spec *spec)
{
    struct history written = {0};
    struct history read;
    const char *rule;
    int32_t to;
    history_add(&written, change);
    json_t *json = history_to_json(&written);
    history_from_json(&read, json);
    json_decref(json);
    assert_int_equal(read.count, 1);
    assert_true(change_recompute(&read.changes[0], spec, &to, &rule));
    assert_int_equal(to, change->to);
    assert_string_equal(rule, change_rule(change));
    history_fini(&written);
    history_fini(&read);
}

static void any_decision_can_be_computed_again(void **state)
{
    struct prng prng;
    struct decider d;
    struct scaling_spec spec = spec_defaults();
    unsigned rules = 0;
    uint64_t now_ms = 5000;
    prng_seed(&prng, 20261123);
    decider_init(&d, now_ms, 3);
    for (int i = 0; i < ROUNDS; i++) {
        now_ms += 2000 * (1 + prng_below(&prng, 20) / 19 * 40);
        if (i % 500 == 0) {
            spec.scale_down_delay_s = prng_below(&prng, 2) * 10;
            spec.activation_scale = prng_below(&prng, 4) == 0 ? 5 : 1;
            spec.metric = prng_below(&prng, 2) == 0 ? SCALING_BACKLOG : SCALING_CONCURRENCY;
            spec.backlog_target = 20;
            spec.max_scale_up_rate = prng_below(&prng, 2) == 0 ? 1.5 : 1000;
        }
        double load = prng_below(&prng, 3) == 0 ? 0 : prng_below(&prng, 2000);
        struct decider_input in = {.now_ms = now_ms,
                                   .has_data = true,
                                   .stable = load,
                                   .panic = load * (1 + prng_below(&prng, 3)),
                                   .ready = (int32_t)prng_below(&prng, 30),
                                   .reachable = prng_below(&prng, 10) > 0,
                                   .backlog = (double)prng_below(&prng, 4) * 300 - 300,
                                   .held = prng_below(&prng, 10) == 0 ? 5 : 0};
        struct decision decision = decider_decide(&d, &spec, &in);
        struct change change = change_of(&decision, &spec);
        expect_same(&change, &spec);
        rules |= 1u << decision.rule;
    }
    /* every rule but "no data" was met */
    assert_int_equal(rules, (1u << DECIDER_RULE_N) - 1 - (1u << DECIDER_NO_DATA));
    decider_fini(&d);
}

static void bounds_count_again(void **state)
{
    struct scaling_spec spec = spec_defaults();
    struct decider d = {0};
    struct decider_input in = {.now_ms = 1000, .has_data = true, .stable = 700, .ready = 1};
    spec.max_scale = 4;
    spec.min_scale = 2;
    struct decision decision = decider_decide(&d, &spec, &in);
    struct change change = change_of(&decision, &spec);
    change.plan_rule = PLAN_MAX_SCALE;
    change.to = 4;
    expect_same(&change, &spec);
    in.stable = 0;
    decision = decider_decide(&d, &spec, &in);
    change = change_of(&decision, &spec);
    change.plan_rule = PLAN_MIN_SCALE;
    change.to = 2;
    expect_same(&change, &spec);
}

static void an_older_record_is_not_enough(void **state)
{
    struct change change = {.to = 1, .decider_rule = DECIDER_STABLE};
    const char *rule;
    int32_t to;
    struct scaling_spec spec = spec_defaults();
    assert_false(change_recompute(&change, &spec, &to, &rule));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_decision_can_be_computed_again),
        cmocka_unit_test(bounds_count_again),
        cmocka_unit_test(an_older_record_is_not_enough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
