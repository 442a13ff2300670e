// SPDX-License-Identifier: Apache-2.0
/* config-autoscaler and the annotations of a revision: defaults, bounds, sentences. */
#include "serving/autoscaler_config.h"
#include "serving/names.h"
#include "test.h"

#define MAX_PAIRS 8

/* "key=value" texts, NULL at the end. */
static size_t pairs_of(const char *const *texts, struct config_pair *out)
{
    size_t n = 0;
    for (; texts[n] != NULL; n++) {
        assert_true(n < MAX_PAIRS);
        struct slice rest = slice_str(texts[n]);
        struct slice key;
        assert_true(slice_split(&rest, '=', &key));
        out[n] = (struct config_pair){key, rest};
    }
    return n;
}

static void the_defaults_are_valid(void **state)
{
    struct error err = {0};
    struct autoscaler_config c;
    ASSERT_OK(autoscaler_config_parse(NULL, 0, &c, &err));
    assert_string_equal(c.pod_autoscaler_class, CLASS_KPA);
    assert_true(c.enable_scale_to_zero && !c.allow_zero_initial_scale && !c.allow_unsafe_windows);
    assert_true(c.target_fraction == 0.7 && c.target_burst_capacity == 211);
    assert_int_equal(c.stable_window_ms, 60000);
    assert_int_equal(c.scale_to_zero_grace_ms, 30000);
}

static void keys_are_read(void **state)
{
    static const char *const texts[] = {"_example=stable-window: nonsense",
                                        "stable-window=2m",
                                        "container-concurrency-target-percentage=80",
                                        "max-scale-up-rate=1.5",
                                        "enable-scale-to-zero=false",
                                        "scale-to-zero-grace-period= 100ms ",
                                        "max-scale=7",
                                        NULL};
    struct config_pair pairs[MAX_PAIRS];
    struct error err = {0};
    struct autoscaler_config c;
    ASSERT_OK(autoscaler_config_parse(pairs, pairs_of(texts, pairs), &c, &err));
    assert_int_equal(c.stable_window_ms, 120000);
    assert_true(c.target_fraction == 0.8 && c.max_scale_up_rate == 1.5);
    assert_false(c.enable_scale_to_zero);
    assert_int_equal(c.scale_to_zero_grace_ms, 100);
    assert_int_equal(c.max_scale, 7);

    static const char *const fraction[] = {"container-concurrency-target-percentage=0.5", NULL};
    ASSERT_OK(autoscaler_config_parse(pairs, pairs_of(fraction, pairs), &c, &err));
    assert_true(c.target_fraction == 0.5);
}

static void bounds_of_the_config(void **state)
{
    static const struct {
        const char *pairs[4];
        const char *says; /* NULL: valid */
    } rows[] = {
        {{"stable-window=5s"}, "stable-window = 5s, must be in [6s; 1h0m0s] range"},
        {{"stable-window=6s"}, NULL},
        {{"stable-window=1h"}, NULL},
        {{"stable-window=1h1s"}, "1h0m1s"},
        {{"stable-window=6500ms"}, "at most second precision"},
        {{"stable-window=1s", "allow-unsafe-windows=true"}, NULL},
        {{"stable-window=500ms", "allow-unsafe-windows=true"}, "[1s; 1h0m0s]"},
        {{"stable-window=-6s"}, "stable-window cannot be negative"},
        {{"stable-window=60"}, "stable-window"},
        {{"scale-to-zero-grace-period=0s"}, "scale-to-zero-grace-period must be positive"},
        {{"scale-to-zero-grace-period=0s", "allow-unsafe-windows=true"}, NULL},
        {{"scale-to-zero-pod-retention-period=-1s"}, "cannot be negative"},
        {{"scale-down-delay=1500ms"}, "scale-down-delay = 1.5s"},
        {{"max-scale-up-rate=1.0"}, "max-scale-up-rate = 1, must be greater than 1.0"},
        {{"max-scale-down-rate=0.9"}, "max-scale-down-rate"},
        {{"container-concurrency-target-percentage=0"}, "(0, 100]"},
        {{"container-concurrency-target-percentage=101"}, "(0, 100]"},
        {{"container-concurrency-target-default=0.001"}, "can't be less than 0.01"},
        {{"requests-per-second-target-default=0"}, "at least 0.01"},
        {{"target-burst-capacity=-1"}, NULL},
        {{"target-burst-capacity=-0.5"}, "non-negative or -1"},
        {{"panic-window-percentage=0.5"}, "[1, 100]"},
        {{"panic-window-percentage=nan"}, "panic-window-percentage"},
        {{"activator-capacity=0"}, "at least 1"},
        {{"initial-scale=0"}, "initial-scale = 0"},
        {{"initial-scale=0", "allow-zero-initial-scale=true"}, NULL},
        {{"max-scale-limit=3"}, "max-scale = 0, must be in [1, max-scale-limit(3)]"},
        {{"max-scale-limit=3", "max-scale=3"}, NULL},
        {{"max-scale=-1"}, "max-scale = -1"},
        {{"min-scale=4", "max-scale=3"}, "min-scale = 4"},
        {{"enable-scale-to-zero=maybe"}, "enable-scale-to-zero"},
        {{"initial-scale=99999999999"}, "initial-scale"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config_pair pairs[MAX_PAIRS];
        struct error err = {0};
        struct autoscaler_config c = {.initial_scale = -7};
        int rc = autoscaler_config_parse(pairs, pairs_of(rows[i].pairs, pairs), &c, &err);
        bool right = rows[i].says == NULL
                         ? rc == 0
                         : rc == ERR_INVALID && strstr(err.msg, rows[i].says) != NULL &&
                               c.initial_scale == -7;
        if (!right) {
            fail_msg("%s: %d \"%s\"", rows[i].pairs[0], rc, err.msg);
        }
    }
}

static struct scaling_spec resolve(const char *const *texts, int64_t concurrency, bool unsafe)
{
    struct config_pair pairs[MAX_PAIRS];
    struct autoscaler_config config;
    autoscaler_config_default(&config);
    config.allow_unsafe_windows = unsafe;
    struct scaling_spec spec;
    scaling_spec_resolve(&config, pairs, pairs_of(texts, pairs), concurrency, &spec);
    return spec;
}

static void targets_follow_metric_limit_and_annotation(void **state)
{
    static const struct {
        const char *pairs[4];
        int64_t concurrency;
        double total, target;
    } rows[] = {
        {{NULL}, 0, 100, 70},
        {{NULL}, 10, 10, 7},
        {{"autoscaling.knative.dev/metric=rps"}, 10, 200, 140},
        {{"autoscaling.knative.dev/target=5"}, 10, 5, 3.5},
        {{"autoscaling.knative.dev/target=50"}, 10, 10, 7},
        {{"autoscaling.knative.dev/target=50"}, 0, 50, 35},
        {{"autoscaling.knative.dev/target=50", "autoscaling.knative.dev/metric=rps"}, 10, 50, 35},
        {{"autoscaling.knative.dev/targetUtilizationPercentage=90"}, 10, 10, 9},
        {{"autoscaling.knative.dev/target=0.01"}, 0, 0.01, 0.01},
        /* with metric backlog the target is of the events */
        {{"autoscaling.knative.dev/target=5", "autoscaling.knative.dev/metric=backlog"},
         0,
         100,
         100},
        {{"autoscaling.knative.dev/target=5", "autoscaling.knative.dev/metric=backlog"}, 2, 2, 2},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct scaling_spec spec = resolve(rows[i].pairs, rows[i].concurrency, false);
        if (spec.total != rows[i].total || spec.target != rows[i].target) {
            fail_msg("row %zu: total %g, target %.17g", i, spec.total, spec.target);
        }
    }
}

static void backlog_has_a_target_of_its_own(void **state)
{
    static const char *const none[] = {"autoscaling.knative.dev/metric=backlog", NULL};
    static const char *const twenty[] = {"autoscaling.knative.dev/metric=backlog",
                                         "autoscaling.knative.dev/target=20", NULL};
    static const char *const other[] = {"autoscaling.knative.dev/target=20", NULL};
    assert_int_equal(resolve(none, 0, false).metric, SCALING_BACKLOG);
    assert_true(resolve(none, 0, false).backlog_target == SCALING_BACKLOG_TARGET);
    assert_true(resolve(twenty, 1, false).backlog_target == 20);
    assert_true(resolve(other, 1, false).backlog_target == 0);
}

static void windows_are_resolved(void **state)
{
    static const char *const none[] = {NULL};
    struct scaling_spec spec = resolve(none, 0, false);
    assert_true(spec.kpa && spec.scale_to_zero && spec.panic_threshold == 2);
    assert_int_equal(spec.stable_window_s, 60);
    assert_int_equal(spec.panic_window_s, 6);
    assert_int_equal(spec.activation_scale, 1);

    static const char *const small[] = {"autoscaling.knative.dev/window=14s",
                                        "autoscaling.knative.dev/panic-window-percentage=25", NULL};
    spec = resolve(small, 0, false);
    assert_int_equal(spec.stable_window_s, 14);
    assert_int_equal(spec.panic_window_s, 4); /* 3.5 rounds away from zero */

    static const char *const tiny[] = {"autoscaling.knative.dev/window=1s", NULL};
    assert_int_equal(resolve(tiny, 0, false).stable_window_s, 60);
    spec = resolve(tiny, 0, true);
    assert_int_equal(spec.stable_window_s, 1);
    assert_int_equal(spec.panic_window_s, 1);
}

static void kebab_case_wins_over_camel_case(void **state)
{
    static const char *const texts[] = {
        "autoscaling.knative.dev/minScale=1",
        "autoscaling.knative.dev/min-scale=2",
        "autoscaling.knative.dev/maxScale=9",
        "autoscaling.knative.dev/scale-to-zero-pod-retention-period=90s",
        "autoscaling.knative.dev/metric-aggregation-algorithm=weightedExponential",
        NULL};
    struct scaling_spec spec = resolve(texts, 0, false);
    assert_int_equal(spec.min_scale, 2);
    assert_int_equal(spec.max_scale, 9);
    assert_int_equal(spec.retention_ms, 90000);
    assert_true(spec.weighted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults_are_valid),
        cmocka_unit_test(keys_are_read),
        cmocka_unit_test(bounds_of_the_config),
        cmocka_unit_test(targets_follow_metric_limit_and_annotation),
        cmocka_unit_test(backlog_has_a_target_of_its_own),
        cmocka_unit_test(windows_are_resolved),
        cmocka_unit_test(kebab_case_wins_over_camel_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
