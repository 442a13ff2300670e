// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. The annotations of one revision, declared in serving/autoscaler_config.h. Each is looked up
 * under its kebab-case name first, then under its older camelCase name, and is read as the rules
 * (rules_scaling.c) read it. Failure modes: a value that does not parse or is out of bounds is left
 * at its default.
 */
#include <math.h>

#include "base/num.h"
#include "serving/autoscaler_config.h"
#include "serving/gotext.h"
#include "serving/names.h"

#define MS_NS 1000000

/* A name under which a setting goes; camel is NULL when there never was another spelling. */
struct names {
    const char *kebab;
    const char *camel;
};

#define NAMES(name) ((struct names){ANNOTATION_##name, ANNOTATION_##name##_OLD})
#define NAME(name)  ((struct names){ANNOTATION_##name, NULL})

#define CLASS           NAME(CLASS)
#define MIN_SCALE       NAMES(MIN_SCALE)
#define MAX_SCALE       NAMES(MAX_SCALE)
#define INITIAL_SCALE   NAMES(INITIAL_SCALE)
#define ACTIVATION      NAME(ACTIVATION_SCALE)
#define DOWN_DELAY      NAMES(SCALE_DOWN_DELAY)
#define METRIC          NAME(METRIC)
#define ALGORITHM       NAMES(AGGREGATION)
#define TARGET          NAME(TARGET)
#define UTILIZATION     NAMES(TARGET_UTILIZATION)
#define BURST_CAPACITY  NAMES(TARGET_BURST)
#define WINDOW          NAME(WINDOW)
#define PANIC_WINDOW    NAMES(PANIC_WINDOW)
#define PANIC_THRESHOLD NAMES(PANIC_THRESHOLD)
#define RETENTION       NAMES(RETENTION)
#define POLICY          NAME(POLICY)
#define HISTOGRAM_BIN   NAME(HISTOGRAM_BIN)

struct annotations {
    const struct config_pair *pairs;
    size_t count;
};

static const struct config_pair *find(struct annotations a, const char *key)
{
    for (size_t i = 0; key != NULL && i < a.count; i++) {
        if (slice_eq_str(a.pairs[i].key, key)) {
            return &a.pairs[i];
        }
    }
    return NULL;
}

static const struct config_pair *lookup(struct annotations a, struct names names)
{
    const struct config_pair *p = find(a, names.kebab);
    return p != NULL ? p : find(a, names.camel);
}

static bool is_text(const struct config_pair *p, const char *text)
{
    return p != NULL && slice_eq_str(p->value, text);
}

/* --- resolving ----------------------------------------------------------------------------- */

static double get_double(struct annotations a, struct names names, double min, double max,
                         double otherwise)
{
    const struct config_pair *p = lookup(a, names);
    double value;
    return p != NULL && go_parse_float(p->value, &value) && value >= min && value <= max
               ? value
               : otherwise;
}

static int32_t get_scale(struct annotations a, struct names names, int32_t min, int32_t otherwise)
{
    const struct config_pair *p = lookup(a, names);
    int64_t value;
    return p != NULL && num_parse_i64(p->value, min, INT32_MAX, &value, NULL) == 0 ? (int32_t)value
                                                                                   : otherwise;
}

static uint64_t get_ms(struct annotations a, struct names names, uint64_t min, uint64_t otherwise)
{
    const struct config_pair *p = lookup(a, names);
    int64_t ns;
    if (p == NULL || num_parse_duration_ns(p->value, &ns, NULL) < 0 || ns < 0) {
        return otherwise;
    }
    uint64_t ms = ((uint64_t)ns + MS_NS - 1) / MS_NS;
    return ms < min || ms > AUTOSCALER_WINDOW_MAX_MS ? otherwise : ms;
}

static void resolve_target(const struct autoscaler_config *config, struct annotations a,
                           int64_t container_concurrency, struct scaling_spec *out)
{
    double limit = (double)container_concurrency;
    double utilization = config->target_fraction;
    if (out->metric == SCALING_RPS) {
        out->total = config->rps_target_default;
        utilization = 0.7; /* the percentage of the ConfigMap is about concurrency only */
    } else {
        out->total = limit > 0 ? limit : config->concurrency_target_default;
    }
    double target = get_double(a, TARGET, AUTOSCALER_TARGET_MIN, 1e300, 0);
    if (out->metric == SCALING_BACKLOG) {
        /* The target is of the events, not of the requests. Events come as many at once as the
         * replicas can take: if that were more than they should have, they would ask for ever more.
         */
        utilization = 1;
        out->backlog_target = target > 0 ? target : SCALING_BACKLOG_TARGET;
    } else if (target > 0) {
        bool limited = out->metric == SCALING_CONCURRENCY && limit > 0;
        out->total = limited ? fmin(target, limit) : target;
    }
    double percent = get_double(a, UTILIZATION, 1, 100, 0);
    utilization = percent > 0 ? percent / 100 : utilization;
    out->target = fmax(AUTOSCALER_TARGET_MIN, out->total * utilization);
}

static void resolve_windows(const struct autoscaler_config *config, struct annotations a,
                            struct scaling_spec *out)
{
    uint64_t min_ms = config->allow_unsafe_windows ? 1000 : AUTOSCALER_WINDOW_MIN_MS;
    uint64_t stable_ms = get_ms(a, WINDOW, min_ms, config->stable_window_ms);
    out->stable_window_s = (uint32_t)(stable_ms / 1000);
    double percent = get_double(a, PANIC_WINDOW, 1, 100, config->panic_window_percentage);
    double panic_s = round((double)out->stable_window_s * percent / 100);
    out->panic_window_s = panic_s < 1 ? 1 : (uint32_t)panic_s;
    out->panic_threshold =
        get_double(a, PANIC_THRESHOLD, 110, 1000, config->panic_threshold_percentage) / 100;
    out->scale_down_delay_s =
        (uint32_t)(get_ms(a, DOWN_DELAY, 0, config->scale_down_delay_ms) / 1000);
    out->retention_ms = get_ms(a, RETENTION, 0, config->scale_to_zero_retention_ms);
    out->grace_ms = config->scale_to_zero_grace_ms;
}

const char *scaling_metric_text(enum scaling_metric metric)
{
    static const char *const texts[] = {"concurrency", "rps", "backlog"};
    return metric <= SCALING_BACKLOG ? texts[metric] : "unknown";
}

static enum scaling_metric read_metric(const struct config_pair *p)
{
    return is_text(p, "rps")       ? SCALING_RPS
           : is_text(p, "backlog") ? SCALING_BACKLOG
                                   : SCALING_CONCURRENCY;
}

void scaling_spec_resolve(const struct autoscaler_config *config, const struct config_pair *pairs,
                          size_t count, int64_t container_concurrency, struct scaling_spec *out)
{
    struct annotations a = {pairs, count};
    const struct config_pair *class = lookup(a, CLASS);
    const struct config_pair *algorithm = lookup(a, ALGORITHM);
    *out = (struct scaling_spec){
        .kpa = class == NULL ? strcmp(config->pod_autoscaler_class, CLASS_KPA) == 0
                             : is_text(class, CLASS_KPA),
        .metric = read_metric(lookup(a, METRIC)),
        .weighted =
            is_text(algorithm, "weighted-exponential") || is_text(algorithm, "weightedExponential"),
        .max_scale_up_rate = config->max_scale_up_rate,
        .max_scale_down_rate = config->max_scale_down_rate,
        .target_burst_capacity =
            get_double(a, BURST_CAPACITY, -1, 1e300, config->target_burst_capacity),
        .initial_scale = get_scale(a, INITIAL_SCALE, config->allow_zero_initial_scale ? 0 : 1,
                                   config->initial_scale),
        .min_scale = get_scale(a, MIN_SCALE, 0, config->min_scale),
        .max_scale = get_scale(a, MAX_SCALE, 0, config->max_scale),
        .activation_scale = get_scale(a, ACTIVATION, 2, 1),
        .scale_to_zero = config->enable_scale_to_zero,
    };
    int32_t limit = config->max_scale_limit;
    if (limit > 0 && (out->max_scale == 0 || out->max_scale > limit)) {
        out->max_scale = limit;
    }
    resolve_target(config, a, container_concurrency, out);
    resolve_windows(config, a, out);
    out->histogram = is_text(lookup(a, POLICY), "histogram");
    out->histogram_bin_ms =
        (uint32_t)get_ms(a, HISTOGRAM_BIN, HISTOGRAM_BIN_MIN_MS, HISTOGRAM_BIN_MS);
    if (out->histogram_bin_ms > HISTOGRAM_BIN_MAX_MS) {
        out->histogram_bin_ms = HISTOGRAM_BIN_MS;
    }
}
