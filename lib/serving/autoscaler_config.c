// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. The ConfigMap is a table of rows (key, type, place in the struct); parsing fills a copy of
 * the defaults and then checks the bounds, some of which span two keys. The first problem is the
 * answer; the caller keeps the settings it had.
 */
#include "serving/autoscaler_config.h"

#include "base/num.h"
#include "serving/names.h"

#define MS_NS 1000000

enum value_type { VALUE_BOOL, VALUE_DOUBLE, VALUE_INT32, VALUE_DURATION_MS, VALUE_TEXT };

struct config_row {
    const char *key;
    enum value_type type;
    size_t offset;
};

#define ROW(key, type, member)                                        \
    {                                                                 \
        key, VALUE_##type, offsetof(struct autoscaler_config, member) \
    }

static const struct config_row rows[] = {
    ROW("pod-autoscaler-class", TEXT, pod_autoscaler_class),
    ROW("enable-scale-to-zero", BOOL, enable_scale_to_zero),
    ROW("allow-zero-initial-scale", BOOL, allow_zero_initial_scale),
    ROW("allow-unsafe-windows", BOOL, allow_unsafe_windows),
    ROW("max-scale-up-rate", DOUBLE, max_scale_up_rate),
    ROW("max-scale-down-rate", DOUBLE, max_scale_down_rate),
    ROW("container-concurrency-target-percentage", DOUBLE, target_fraction),
    ROW("container-concurrency-target-default", DOUBLE, concurrency_target_default),
    ROW("requests-per-second-target-default", DOUBLE, rps_target_default),
    ROW("target-burst-capacity", DOUBLE, target_burst_capacity),
    ROW("panic-window-percentage", DOUBLE, panic_window_percentage),
    ROW("panic-threshold-percentage", DOUBLE, panic_threshold_percentage),
    ROW("activator-capacity", DOUBLE, activator_capacity),
    ROW("initial-scale", INT32, initial_scale),
    ROW("min-scale", INT32, min_scale),
    ROW("max-scale", INT32, max_scale),
    ROW("max-scale-limit", INT32, max_scale_limit),
    ROW("stable-window", DURATION_MS, stable_window_ms),
    ROW("scale-down-delay", DURATION_MS, scale_down_delay_ms),
    ROW("scale-to-zero-grace-period", DURATION_MS, scale_to_zero_grace_ms),
    ROW("scale-to-zero-pod-retention-period", DURATION_MS, scale_to_zero_retention_ms),
};

void autoscaler_config_default(struct autoscaler_config *out)
{
    *out = (struct autoscaler_config){
        .pod_autoscaler_class = CLASS_KPA,
        .enable_scale_to_zero = true,
        .max_scale_up_rate = 1000,
        .max_scale_down_rate = 2,
        .target_fraction = 0.7,
        .concurrency_target_default = 100,
        .rps_target_default = 200,
        .target_burst_capacity = 211,
        .panic_window_percentage = 10,
        .panic_threshold_percentage = 200,
        .activator_capacity = 100,
        .initial_scale = 1,
        .stable_window_ms = 60000,
        .scale_to_zero_grace_ms = 30000,
    };
}

static int parse_duration_ms(struct slice text, uint64_t *out_ms, const char *key,
                             struct error *err)
{
    int64_t ns;
    int rc = num_parse_duration_ns(text, &ns, err);
    if (rc < 0) {
        return error_prefix(err, rc, "%s", key);
    }
    if (ns < 0) {
        return error_set(err, ERR_INVALID, "%s cannot be negative, was: %.*s", key,
                         SLICE_FMT(text));
    }
    /* A part of a millisecond counts as a whole one: 1ns is not 0. */
    *out_ms = ((uint64_t)ns + MS_NS - 1) / MS_NS;
    return 0;
}

static int parse_value(const struct config_row *row, struct slice text,
                       struct autoscaler_config *config, struct error *err)
{
    void *member = (char *)config + row->offset;
    int rc = 0;
    switch (row->type) {
    case VALUE_BOOL:
        rc = num_parse_bool(text, member, err);
        break;
    case VALUE_DOUBLE:
        rc = num_parse_double(text, -1e12, 1e12, member, err);
        break;
    case VALUE_INT32: {
        int64_t number;
        rc = num_parse_i64(text, INT32_MIN, INT32_MAX, &number, err);
        if (rc == 0) {
            *(int32_t *)member = (int32_t)number;
        }
        break;
    }
    case VALUE_DURATION_MS:
        return parse_duration_ms(text, member, row->key, err);
    case VALUE_TEXT:
        if (!slice_copy(text, member, sizeof(config->pod_autoscaler_class))) {
            return error_set(err, ERR_INVALID, "%s is too long", row->key);
        }
        break;
    }
    return rc < 0 ? error_prefix(err, rc, "%s", row->key) : 0;
}

static int check_rates(const struct autoscaler_config *c, struct error *err)
{
    if (c->target_burst_capacity < 0 && c->target_burst_capacity != -1) {
        return error_set(err, ERR_INVALID,
                         "target-burst-capacity must be either non-negative or -1 (for "
                         "unlimited), was: %g",
                         c->target_burst_capacity);
    }
    if (c->target_fraction <= 0 || c->target_fraction > 1) {
        return error_set(err, ERR_INVALID,
                         "container-concurrency-target-percentage = %g is outside of the valid "
                         "range of (0, 100]",
                         c->target_fraction * 100);
    }
    double target = c->target_fraction * c->concurrency_target_default;
    if (target < AUTOSCALER_TARGET_MIN) {
        return error_set(err, ERR_INVALID,
                         "container-concurrency-target-percentage and "
                         "container-concurrency-target-default yield a target concurrency of %g, "
                         "it can't be less than %g",
                         target, AUTOSCALER_TARGET_MIN);
    }
    if (c->rps_target_default < AUTOSCALER_TARGET_MIN) {
        return error_set(err, ERR_INVALID,
                         "requests-per-second-target-default must be at least %g, was: %g",
                         AUTOSCALER_TARGET_MIN, c->rps_target_default);
    }
    if (c->activator_capacity < 1) {
        return error_set(err, ERR_INVALID, "activator-capacity = %g, must be at least 1",
                         c->activator_capacity);
    }
    if (c->max_scale_up_rate <= 1) {
        return error_set(err, ERR_INVALID, "max-scale-up-rate = %g, must be greater than 1.0",
                         c->max_scale_up_rate);
    }
    if (c->max_scale_down_rate <= 1) {
        return error_set(err, ERR_INVALID, "max-scale-down-rate = %g, must be greater than 1.0",
                         c->max_scale_down_rate);
    }
    if (c->panic_window_percentage < 1 || c->panic_window_percentage > 100) {
        return error_set(err, ERR_INVALID,
                         "panic-window-percentage = %g, must be in [1, 100] interval",
                         c->panic_window_percentage);
    }
    if (c->panic_threshold_percentage <= 0) {
        return error_set(err, ERR_INVALID, "panic-threshold-percentage = %g, must be positive",
                         c->panic_threshold_percentage);
    }
    return 0;
}

static int check_whole_seconds(uint64_t ms, const char *key, struct error *err)
{
    if (ms % 1000 == 0) {
        return 0;
    }
    char text[NUM_DURATION_MAX];
    return error_set(err, ERR_INVALID, "%s = %s, must be specified with at most second precision",
                     key, num_format_duration_ns((int64_t)ms * MS_NS, text, sizeof(text)));
}

static uint64_t window_min_ms(const struct autoscaler_config *c)
{
    return c->allow_unsafe_windows ? 1000 : AUTOSCALER_WINDOW_MIN_MS;
}

static int check_windows(const struct autoscaler_config *c, struct error *err)
{
    if (c->stable_window_ms < window_min_ms(c) || c->stable_window_ms > AUTOSCALER_WINDOW_MAX_MS) {
        char text[NUM_DURATION_MAX];
        return error_set(
            err, ERR_INVALID, "stable-window = %s, must be in [%ss; 1h0m0s] range",
            num_format_duration_ns((int64_t)c->stable_window_ms * MS_NS, text, sizeof(text)),
            c->allow_unsafe_windows ? "1" : "6");
    }
    int rc = check_whole_seconds(c->stable_window_ms, "stable-window", err);
    if (rc < 0) {
        return rc;
    }
    if (c->scale_to_zero_grace_ms == 0 && !c->allow_unsafe_windows) {
        return error_set(err, ERR_INVALID, "scale-to-zero-grace-period must be positive, was: 0s");
    }
    if (c->scale_down_delay_ms > AUTOSCALER_WINDOW_MAX_MS) {
        return error_set(err, ERR_INVALID, "scale-down-delay must be at most 1h");
    }
    return check_whole_seconds(c->scale_down_delay_ms, "scale-down-delay", err);
}

static int check_scales(const struct autoscaler_config *c, struct error *err)
{
    if (c->initial_scale < 0 || (c->initial_scale == 0 && !c->allow_zero_initial_scale)) {
        return error_set(err, ERR_INVALID,
                         "initial-scale = %d, must be at least 0 (or at least 1 when "
                         "allow-zero-initial-scale is false)",
                         c->initial_scale);
    }
    if (c->max_scale_limit < 0) {
        return error_set(err, ERR_INVALID, "max-scale-limit = %d, must be at least 0",
                         c->max_scale_limit);
    }
    int32_t least = c->max_scale_limit > 0 ? 1 : 0;
    if (c->max_scale < least || (c->max_scale_limit > 0 && c->max_scale > c->max_scale_limit)) {
        return error_set(err, ERR_INVALID,
                         "max-scale = %d, must be in [%d, max-scale-limit(%d)] range", c->max_scale,
                         least, c->max_scale_limit);
    }
    if (c->min_scale < 0 || (c->max_scale > 0 && c->min_scale > c->max_scale)) {
        return error_set(err, ERR_INVALID, "min-scale = %d, must be in [0, max-scale(%d)] range",
                         c->min_scale, c->max_scale);
    }
    return 0;
}

int autoscaler_config_parse(const struct config_pair *pairs, size_t count,
                            struct autoscaler_config *out, struct error *err)
{
    struct autoscaler_config config;
    autoscaler_config_default(&config);
    for (size_t i = 0; i < count; i++) {
        for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
            if (!slice_eq_str(pairs[i].key, rows[r].key)) {
                continue;
            }
            int rc = parse_value(&rows[r], slice_trim(pairs[i].value), &config, err);
            if (rc < 0) {
                return rc;
            }
        }
    }
    /* A percentage; for old configurations up to 1 it is taken as a fraction. */
    if (config.target_fraction > 1) {
        config.target_fraction /= 100;
    }
    int rc = check_rates(&config, err);
    rc = rc < 0 ? rc : check_windows(&config, err);
    rc = rc < 0 ? rc : check_scales(&config, err);
    if (rc < 0) {
        return rc;
    }
    *out = config;
    return 0;
}
