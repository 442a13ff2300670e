// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. The annotations of one revision, declared in serving/autoscaler_config.h. Each is looked up
 * under its kebab-case name first, then under its older camelCase name. check_* functions append
 * a line per problem in Knative's words; the resolver parses the same way and falls back.
 * Failure modes: a value that does not parse or is out of bounds; two that contradict each other.
 */
#include <math.h>

#include "base/num.h"
#include "serving/autoscaler_config.h"
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

/* --- checking ------------------------------------------------------------------------------ */

struct check {
    struct annotations all;
    const struct autoscaler_config *config;
    const char *path;
    struct strbuf *problems;
    size_t count;
};

static void problem(struct check *c, struct slice key, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void problem(struct check *c, struct slice key, const char *fmt, ...)
{
    if (c->count++ > 0) {
        strbuf_append_char(c->problems, '\n');
    }
    va_list ap;
    va_start(ap, fmt);
    strbuf_vappendf(c->problems, fmt, ap);
    va_end(ap);
    strbuf_appendf(c->problems, ": %s%s%.*s", c->path, c->path[0] == '\0' ? "" : ".",
                   SLICE_FMT(key));
}

static void invalid_value(struct check *c, const struct config_pair *p)
{
    problem(c, p->key, "invalid value: %.*s", SLICE_FMT(p->value));
}

/* Whether text is a whole number that only does not fit. */
static bool all_digits(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        bool sign = i == 0 && text.len > 1 && (text.ptr[0] == '-' || text.ptr[0] == '+');
        if (!sign && (text.ptr[i] < '0' || text.ptr[i] > '9')) {
            return false;
        }
    }
    return text.len > 0;
}

static int32_t check_scale(struct check *c, struct names names)
{
    const struct config_pair *p = lookup(c->all, names);
    int64_t value;
    if (p == NULL) {
        return 0;
    }
    if (num_parse_i64(p->value, 0, INT32_MAX, &value, NULL) == 0) {
        return (int32_t)value;
    }
    if (all_digits(p->value)) {
        problem(c, p->key, "expected 0 <= %.*s <= %d", SLICE_FMT(p->value), INT32_MAX);
    } else {
        invalid_value(c, p);
    }
    return 0;
}

static void check_max_limit(struct check *c, int32_t max)
{
    const struct config_pair *p = lookup(c->all, MAX_SCALE);
    int32_t limit = c->config->max_scale_limit;
    if (p == NULL || limit == 0) {
        return;
    }
    if (max > limit) {
        problem(c, p->key, "expected 1 <= %d <= %d", max, limit);
    } else if (max == 0) {
        problem(c, p->key, "max-scale=0 (unlimited), must be less than %d", limit);
    }
}

static void check_scales(struct check *c)
{
    int32_t min = check_scale(c, MIN_SCALE);
    int32_t max = check_scale(c, MAX_SCALE);
    if (max != 0 && max < min) {
        problem(c, slice_str(ANNOTATION_MAX_SCALE ", " ANNOTATION_MIN_SCALE),
                "max-scale=%d is less than min-scale=%d", max, min);
    }
    check_max_limit(c, max);

    const struct config_pair *p = lookup(c->all, ACTIVATION);
    int64_t activation;
    if (p != NULL) {
        if (num_parse_i64(p->value, INT32_MIN, INT32_MAX, &activation, NULL) < 0) {
            invalid_value(c, p);
        } else if (activation < 2) {
            problem(c, p->key, "activation-scale=%d must be greater than 1", (int)activation);
        } else if (max != 0 && max < activation) {
            problem(c, p->key, "max-scale=%d is less than activation-scale=%d", max,
                    (int)activation);
        }
    }

    p = lookup(c->all, INITIAL_SCALE);
    int64_t initial;
    if (p != NULL) {
        if (num_parse_i64(p->value, INT32_MIN, INT32_MAX, &initial, NULL) < 0) {
            invalid_value(c, p);
        } else if (initial < 0) {
            problem(c, p->key, "invalid value: %d, must be at least 0", (int)initial);
        } else if (initial == 0 && !c->config->allow_zero_initial_scale) {
            problem(c, p->key, "invalid value: 0, initial-scale=0 not allowed by cluster");
        }
    }
}

static void check_double(struct check *c, struct names names, double min, double max)
{
    const struct config_pair *p = lookup(c->all, names);
    double value;
    if (p == NULL) {
        return;
    }
    if (num_parse_double(p->value, -1e300, 1e300, &value, NULL) < 0) {
        invalid_value(c, p);
    } else if (value < min || value > max) {
        problem(c, p->key, "expected %g <= %.*s <= %g", min, SLICE_FMT(p->value), max);
    }
}

static void check_targets(struct check *c)
{
    check_double(c, PANIC_WINDOW, 1, 100);
    check_double(c, PANIC_THRESHOLD, 110, 1000);
    check_double(c, UTILIZATION, 1, 100);
    const struct config_pair *p = lookup(c->all, TARGET);
    double value;
    if (p != NULL) {
        if (num_parse_double(p->value, -1e300, 1e300, &value, NULL) < 0) {
            invalid_value(c, p);
        } else if (value < AUTOSCALER_TARGET_MIN) {
            problem(c, p->key, "target %.*s should be at least %g", SLICE_FMT(p->value),
                    AUTOSCALER_TARGET_MIN);
        }
    }
    p = lookup(c->all, BURST_CAPACITY);
    if (p != NULL &&
        (num_parse_double(p->value, -1, 1e300, &value, NULL) < 0 || (value < 0 && value != -1))) {
        invalid_value(c, p);
    }
}

static void check_duration(struct check *c, struct names names, int64_t min_ms, bool whole)
{
    const struct config_pair *p = lookup(c->all, names);
    int64_t ns;
    if (p == NULL) {
        return;
    }
    if (num_parse_duration_ns(p->value, &ns, NULL) < 0) {
        invalid_value(c, p);
    } else if (ns < min_ms * MS_NS || ns > (int64_t)AUTOSCALER_WINDOW_MAX_MS * MS_NS) {
        char least[NUM_DURATION_MAX];
        problem(c, p->key, "expected %s <= %.*s <= 1h0m0s",
                num_format_duration_ns(min_ms * MS_NS, least, sizeof(least)), SLICE_FMT(p->value));
    } else if (whole && ns % (1000 * (int64_t)MS_NS) != 0) {
        problem(c, p->key, "must be specified with at most second precision");
    }
}

static bool is_text(const struct config_pair *p, const char *text)
{
    return p != NULL && slice_eq_str(p->value, text);
}

static void check_words(struct check *c)
{
    const struct config_pair *class = lookup(c->all, CLASS);
    bool known = class == NULL || is_text(class, CLASS_KPA) || is_text(class, CLASS_HPA);
    if (!known && slice_ends_with(class->value, SLICE_LIT("autoscaling.knative.dev"))) {
        invalid_value(c, class);
    }
    bool kpa = class == NULL || is_text(class, CLASS_KPA);
    bool hpa = is_text(class, CLASS_HPA);
    const struct config_pair *p = lookup(c->all, METRIC);
    if (p != NULL) {
        bool kpa_metric = is_text(p, "concurrency") || is_text(p, "rps");
        if ((kpa && !kpa_metric) || (hpa && slice_empty(p->value))) {
            invalid_value(c, p);
        }
    }
    p = lookup(c->all, ALGORITHM);
    if (kpa && p != NULL && !slice_empty(p->value) && !is_text(p, "linear") &&
        !is_text(p, "weighted-exponential") && !is_text(p, "weightedExponential")) {
        invalid_value(c, p);
    }
}

size_t autoscaler_annotations_check(const struct config_pair *pairs, size_t count,
                                    const struct autoscaler_config *config, const char *path,
                                    struct strbuf *problems)
{
    struct check c = {.all = {pairs, count}, .config = config, .path = path, .problems = problems};
    check_words(&c);
    check_scales(&c);
    check_targets(&c);
    check_duration(&c, WINDOW, config->allow_unsafe_windows ? 1000 : AUTOSCALER_WINDOW_MIN_MS,
                   true);
    check_duration(&c, RETENTION, 0, false);
    check_duration(&c, DOWN_DELAY, 0, true);
    return c.count;
}

/* --- resolving ----------------------------------------------------------------------------- */

static double get_double(struct annotations a, struct names names, double min, double max,
                         double otherwise)
{
    const struct config_pair *p = lookup(a, names);
    double value;
    return p != NULL && num_parse_double(p->value, min, max, &value, NULL) == 0 ? value : otherwise;
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
    if (target > 0) {
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

void scaling_spec_resolve(const struct autoscaler_config *config, const struct config_pair *pairs,
                          size_t count, int64_t container_concurrency, struct scaling_spec *out)
{
    struct annotations a = {pairs, count};
    const struct config_pair *class = lookup(a, CLASS);
    const struct config_pair *metric = lookup(a, METRIC);
    const struct config_pair *algorithm = lookup(a, ALGORITHM);
    *out = (struct scaling_spec){
        .kpa = class == NULL ? strcmp(config->pod_autoscaler_class, CLASS_KPA) == 0
                             : is_text(class, CLASS_KPA),
        .metric = is_text(metric, "rps") ? SCALING_RPS : SCALING_CONCURRENCY,
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
}
