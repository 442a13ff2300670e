// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Kubernetes' formula: how many replicas what is used asks for. Pure; owns nothing.
 * Pods that start are left out of the average; where they or Pods without numbers could change the
 * answer, it is computed again with what speaks against a change: nothing used when it would grow,
 * all that was asked for when it would shrink. A change by less than the tolerance is none.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct hpa_pod {
    const char *name;
    bool ignored;             /* being deleted, or failed */
    bool pending;             /* phase Pending */
    bool has_ready;           /* it has a start time and the condition Ready … */
    bool unready;             /* … which is False */
    int64_t started_ns;       /* wall clock */
    int64_t ready_changed_ns; /* lastTransitionTime of Ready */
    const char *unrequested;  /* a container without request of the resource; NULL: all have one */
    int64_t request;          /* of all containers: thousandths of a core, or bytes */
    bool measured;            /* the next are known */
    int64_t usage;            /* thousandths of a core, or bytes */
    int64_t measured_ns;      /* wall clock */
    int64_t window_ns;
};

struct hpa_measure {
    const char *resource; /* "cpu" or "memory" */
    bool cpu;             /* Pods that start are left out */
    bool utilization;     /* target in percent of the request; else an amount per Pod */
    int64_t target;       /* > 0 */
};

struct hpa_settings {
    double tolerance;
    int64_t cpu_initialization_ns;
    int64_t initial_readiness_ns;
    int32_t downscale_window_s; /* stabilization where the object says nothing */
};

struct hpa_proposal {
    int32_t replicas;
    int64_t average;     /* per Pod, of those with numbers that count */
    int32_t utilization; /* percent; with hpa_measure.utilization */
    double ratio;        /* used to wanted, of the last computation */
    bool tolerated;      /* not 1, but within the tolerance */
    size_t counted, starting, missing;
};

/* ERR_UNAVAILABLE: nothing can be said now; the sentence is Kubernetes'. */
MUST_CHECK int hpa_calculate(const struct hpa_pod *pods, size_t count, int32_t current,
                             const struct hpa_measure *measure, const struct hpa_settings *settings,
                             int64_t now_ns, struct hpa_proposal *out, struct error *err);
