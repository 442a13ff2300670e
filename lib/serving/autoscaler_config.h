// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The settings of the autoscaler: the ConfigMap config-autoscaler with Knative's keys, and the
 * annotations autoscaling.knative.dev/... of one revision, with bounds and defaults.
 * Pure: text in, structs and sentences out. Owns nothing.
 *
 * Two ways through the annotations: serving/defaults.h for the API (every problem, in Knative's
 * words) and scaling_spec_resolve() for the autoscaler, which must live with what is there (a value
 * that is out of bounds is left at its default).
 */

#include "base/error.h"
#include "base/slice.h"
#include "base/strbuf.h"

#define AUTOSCALER_TARGET_MIN    0.01
#define AUTOSCALER_WINDOW_MIN_MS 6000u
#define AUTOSCALER_WINDOW_MAX_MS 3600000u

/* A key of a ConfigMap or an annotation, with its text. Borrowed. */
struct config_pair {
    struct slice key;
    struct slice value;
};

struct autoscaler_config {
    char pod_autoscaler_class[64];
    bool enable_scale_to_zero;
    bool allow_zero_initial_scale;
    bool allow_unsafe_windows; /* ours, for tests: windows from 1 s, grace from 0 s */
    double max_scale_up_rate;
    double max_scale_down_rate;
    double target_fraction; /* container-concurrency-target-percentage as a fraction */
    double concurrency_target_default;
    double rps_target_default;
    double target_burst_capacity; /* -1: unlimited */
    double panic_window_percentage;
    double panic_threshold_percentage;
    double activator_capacity;
    int32_t initial_scale;
    int32_t min_scale;
    int32_t max_scale;       /* 0: none */
    int32_t max_scale_limit; /* 0: none */
    uint64_t stable_window_ms;
    uint64_t scale_down_delay_ms;
    uint64_t scale_to_zero_grace_ms;
    uint64_t scale_to_zero_retention_ms;
};

/* Knative's defaults. */
void autoscaler_config_default(struct autoscaler_config *out);

/*
 * The defaults with the pairs over them. Unknown keys are ignored, as is "_example".
 * ERR_INVALID: the first problem as a sentence; *out is then untouched.
 */
MUST_CHECK int autoscaler_config_parse(const struct config_pair *pairs, size_t count,
                                       struct autoscaler_config *out, struct error *err);

/* Events that wait per replica, where the annotation target says nothing. */
#define SCALING_BACKLOG_TARGET 10

/* Backlog is ours: events that wait count beside concurrency. */
enum scaling_metric { SCALING_CONCURRENCY, SCALING_RPS, SCALING_BACKLOG };

/* As the annotation has it. */
const char *scaling_metric_text(enum scaling_metric metric);

/* What the autoscaler works with for one revision: config and annotations put together. */
struct scaling_spec {
    bool kpa; /* class kpa; other classes are not decided here */
    enum scaling_metric metric;
    bool weighted;                /* weighted-exponential average instead of the linear one */
    double target;                /* per replica, utilization applied; at least 0.01 */
    double total;                 /* per replica, before utilization */
    double backlog_target;        /* SCALING_BACKLOG: events waiting per replica; else 0 */
    double target_burst_capacity; /* -1: unlimited */
    double panic_threshold;       /* 2.0 for 200 % */
    double max_scale_up_rate;
    double max_scale_down_rate;
    uint32_t stable_window_s;
    uint32_t panic_window_s;
    uint32_t scale_down_delay_s;
    uint64_t grace_ms;
    uint64_t retention_ms;
    int32_t initial_scale;
    int32_t min_scale;
    int32_t max_scale;        /* 0: none */
    int32_t activation_scale; /* 1: none */
    bool scale_to_zero;
    bool histogram;            /* the way to zero follows the idle times that were learned */
    uint32_t histogram_bin_ms; /* width of their bins */
};

/* Bounds of histogram-bin. */
#define HISTOGRAM_BIN_MIN_MS 1000u
#define HISTOGRAM_BIN_MAX_MS 600000u
#define HISTOGRAM_BIN_MS     60000u
/* Times in one warm-at. */
#define WARM_AT_MAX 4u

/* container_concurrency: of the revision, 0 for no limit. Never fails. */
void scaling_spec_resolve(const struct autoscaler_config *config, const struct config_pair *pairs,
                          size_t count, int64_t container_concurrency, struct scaling_spec *out);
