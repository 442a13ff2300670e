// SPDX-License-Identifier: Apache-2.0
/*
 * Rules of the annotations autoscaling.knative.dev/…; paths are the annotations' keys. Failure
 * modes: a value that does not parse or is out of bounds, two that contradict each other. A number
 * that is none (NaN) is refused, where the reference lets it through.
 */
#include <math.h>

#include "base/clock.h"
#include "base/num.h"
#include "serving/gotext.h"
#include "serving/names.h"
#include "serving/rules.h"

#define SECOND_NS 1000000000LL

/* An annotation that is there. */
struct found {
    const char *key;
    struct slice value;
};

static bool find(const json_t *annotations, const char *key, const char *old, struct found *out)
{
    const json_t *value = rule_annotation(annotations, key, old, &out->key);
    out->value = rule_text(annotations, out->key);
    return value != NULL;
}

static void check_class(struct rules *r, const json_t *a)
{
    struct found f;
    if (find(a, ANNOTATION_CLASS, NULL, &f) &&
        slice_ends_with(f.value, SLICE_LIT("autoscaling.knative.dev")) &&
        !slice_eq_str(f.value, CLASS_KPA) && !slice_eq_str(f.value, CLASS_HPA)) {
        problem_invalid(r->p, f.key, f.value);
    }
}

static int64_t check_scale(struct rules *r, const json_t *a, const char *key, const char *old)
{
    struct found f;
    int64_t value = 0;
    if (!find(a, key, old, &f)) {
        return 0;
    }
    enum go_number how = go_parse_int(f.value, 32, &value);
    if (how == GO_NUMBER_FINE && value >= 0) {
        return value;
    }
    if (how == GO_NUMBER_SYNTAX) {
        problem_invalid(r->p, f.key, f.value);
    } else {
        problem_add(r->p, f.key, "expected 0 <= %.*s <= %d", SLICE_FMT(f.value), INT32_MAX);
    }
    return 0;
}

static void check_activation(struct rules *r, const json_t *a, int64_t min, int64_t max)
{
    struct found f;
    int64_t value;
    if (!find(a, ANNOTATION_ACTIVATION_SCALE, NULL, &f)) {
        return;
    }
    if (go_parse_int(f.value, 32, &value) != GO_NUMBER_FINE) {
        problem_invalid(r->p, f.key, f.value);
    } else if (min > value) {
        problem_add(r->p, f.key, "min-scale=%lld is greater than activation-scale=%lld",
                    (long long)min, (long long)value);
    } else if (max < value && max != 0) {
        problem_add(r->p, f.key, "max-scale=%lld is less than activation-scale=%lld",
                    (long long)max, (long long)value);
    } else if (value < 2) {
        problem_add(r->p, f.key, "activation-scale=%lld must be greater than 1", (long long)value);
    }
}

static void check_scales(struct rules *r, const json_t *a)
{
    struct found f;
    int32_t limit = r->config->autoscaler.max_scale_limit;
    int64_t min = check_scale(r, a, ANNOTATION_MIN_SCALE, ANNOTATION_MIN_SCALE_OLD);
    int64_t max = check_scale(r, a, ANNOTATION_MAX_SCALE, ANNOTATION_MAX_SCALE_OLD);
    if (max != 0 && max < min) {
        problem_add(r->p, ANNOTATION_MAX_SCALE, "max-scale=%lld is less than min-scale=%lld",
                    (long long)max, (long long)min);
        problem_path(r->p, ANNOTATION_MIN_SCALE);
    }
    if (find(a, ANNOTATION_MAX_SCALE, ANNOTATION_MAX_SCALE_OLD, &f) && limit != 0) {
        if (max > limit) {
            problem_bounds(r->p, f.key, max, 1, limit);
        }
        if (max == 0) {
            problem_add(r->p, f.key, "max-scale=0 (unlimited), must be less than %d", limit);
        }
    }
    check_activation(r, a, min, max);
}

static void check_float(struct rules *r, const json_t *a, const char *key, const char *old,
                        double min, double max)
{
    struct found f;
    double value;
    if (!find(a, key, old, &f)) {
        return;
    }
    if (!go_parse_float(f.value, &value) || isnan(value)) {
        problem_invalid(r->p, f.key, f.value);
    } else if (value < min || value > max) {
        problem_add(r->p, f.key, "expected %g <= %.*s <= %g", min, SLICE_FMT(f.value), max);
    }
}

static void check_floats(struct rules *r, const json_t *a)
{
    struct found f;
    double value;
    check_float(r, a, ANNOTATION_PANIC_WINDOW, ANNOTATION_PANIC_WINDOW_OLD, 1, 100);
    check_float(r, a, ANNOTATION_PANIC_THRESHOLD, ANNOTATION_PANIC_THRESHOLD_OLD, 110, 1000);
    check_float(r, a, ANNOTATION_TARGET_UTILIZATION, ANNOTATION_TARGET_UTILIZATION_OLD, 1, 100);
    if (find(a, ANNOTATION_TARGET, NULL, &f)) {
        if (!go_parse_float(f.value, &value) || isnan(value)) {
            problem_invalid(r->p, f.key, f.value);
        } else if (value < AUTOSCALER_TARGET_MIN) {
            problem_add(r->p, f.key, "target %.*s should be at least %g", SLICE_FMT(f.value),
                        AUTOSCALER_TARGET_MIN);
        }
    }
    if (find(a, ANNOTATION_TARGET_BURST, ANNOTATION_TARGET_BURST_OLD, &f) &&
        (!go_parse_float(f.value, &value) || isnan(value) || (value < 0 && fabs(value + 1) > 0))) {
        problem_invalid(r->p, f.key, f.value);
    }
}

static void check_duration(struct rules *r, const json_t *a, const char *key, const char *old,
                           int64_t min_ns, bool whole)
{
    struct found f;
    int64_t ns;
    int64_t max_ns = (int64_t)AUTOSCALER_WINDOW_MAX_MS * 1000000;
    if (!find(a, key, old, &f)) {
        return;
    }
    if (num_parse_duration_ns(f.value, &ns, NULL) < 0) {
        problem_invalid(r->p, f.key, f.value);
    } else if (ns < min_ns || ns > max_ns) {
        char least[NUM_DURATION_MAX];
        problem_add(r->p, f.key, "expected %s <= %.*s <= 1h0m0s",
                    num_format_duration_ns(min_ns, least, sizeof(least)), SLICE_FMT(f.value));
    } else if (whole && ns % SECOND_NS != 0) {
        problem_add(r->p, f.key, "must be specified with at most second precision");
    }
}

static void check_metric(struct rules *r, const json_t *a)
{
    struct found f;
    struct found class;
    if (!find(a, ANNOTATION_METRIC, NULL, &f)) {
        return;
    }
    struct slice name = slice_str(r->config->autoscaler.pod_autoscaler_class);
    if (find(a, ANNOTATION_CLASS, NULL, &class)) {
        name = class.value;
    }
    bool known = slice_eq_str(f.value, "concurrency") || slice_eq_str(f.value, "rps") ||
                 slice_eq_str(f.value, "backlog");
    if ((slice_eq_str(name, CLASS_KPA) && !known) ||
        (slice_eq_str(name, CLASS_HPA) && f.value.len == 0)) {
        problem_invalid(r->p, f.key, f.value);
    }
}

static void check_algorithm(struct rules *r, const json_t *a)
{
    struct found f;
    if (slice_eq_str(rule_text(a, ANNOTATION_CLASS), CLASS_KPA) &&
        find(a, ANNOTATION_AGGREGATION, ANNOTATION_AGGREGATION_OLD, &f) && f.value.len > 0 &&
        !slice_eq_str(f.value, "linear") && !slice_eq_str(f.value, "weighted-exponential") &&
        !slice_eq_str(f.value, "weightedExponential")) {
        problem_invalid(r->p, f.key, f.value);
    }
}

static void check_initial(struct rules *r, const json_t *a)
{
    struct found f;
    int64_t value;
    char path[200];
    if (!find(a, ANNOTATION_INITIAL_SCALE, ANNOTATION_INITIAL_SCALE_OLD, &f)) {
        return;
    }
    if (go_parse_int(f.value, 64, &value) != GO_NUMBER_FINE) {
        problem_invalid(r->p, f.key, f.value);
    } else if (value < 0) {
        snprintf(path, sizeof(path), "%s must be greater than 0", f.key);
        problem_invalid(r->p, path, f.value);
    } else if (value == 0 && !r->config->autoscaler.allow_zero_initial_scale) {
        snprintf(path, sizeof(path), "%s=0 not allowed by cluster", f.key);
        problem_invalid(r->p, path, f.value);
    }
}

static void check_policy(struct rules *r, const json_t *a)
{
    struct found f;
    int64_t ns;
    if (find(a, ANNOTATION_POLICY, NULL, &f) && !slice_eq_str(f.value, "histogram") &&
        !slice_eq_str(f.value, "none")) {
        problem_invalid(r->p, f.key, f.value);
        problem_details(r->p, "must be histogram or none");
    }
    if (!find(a, ANNOTATION_HISTOGRAM_BIN, NULL, &f)) {
        return;
    }
    if (num_parse_duration_ns(f.value, &ns, NULL) < 0) {
        problem_invalid(r->p, f.key, f.value);
    } else if (ns < HISTOGRAM_BIN_MIN_MS * 1000000LL || ns > HISTOGRAM_BIN_MAX_MS * 1000000LL) {
        problem_add(r->p, f.key, "expected 1s <= %.*s <= 10m0s", SLICE_FMT(f.value));
    }
}

/* The times of a warm-at, one after the other. */
static void check_warm_at(struct rules *r, const json_t *a)
{
    struct found f;
    if (!find(a, ANNOTATION_WARM_AT, NULL, &f)) {
        return;
    }
    struct slice rest = f.value;
    struct slice one;
    unsigned count = 0;
    while (slice_split(&rest, ',', &one)) {
        int64_t wall_ns;
        if (clock_parse_rfc3339(slice_trim(one), &wall_ns, NULL) < 0 || ++count > WARM_AT_MAX) {
            problem_invalid(r->p, f.key, f.value);
            problem_details(r->p,
                            "must be at most %u times as in 2006-01-02T15:04:05Z, separated "
                            "by commas",
                            WARM_AT_MAX);
            return;
        }
    }
}

void rules_scaling(struct rules *r, const json_t *annotations)
{
    bool unsafe = r->config->autoscaler.allow_unsafe_windows;
    check_class(r, annotations);
    check_scales(r, annotations);
    check_floats(r, annotations);
    check_duration(r, annotations, ANNOTATION_WINDOW, NULL,
                   unsafe ? SECOND_NS : AUTOSCALER_WINDOW_MIN_MS * 1000000LL, true);
    check_duration(r, annotations, ANNOTATION_RETENTION, ANNOTATION_RETENTION_OLD, 0, false);
    check_duration(r, annotations, ANNOTATION_SCALE_DOWN_DELAY, ANNOTATION_SCALE_DOWN_DELAY_OLD, 0,
                   true);
    check_metric(r, annotations);
    check_algorithm(r, annotations);
    check_initial(r, annotations);
    check_policy(r, annotations);
    check_warm_at(r, annotations);
}
