// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * HorizontalPodAutoscalers and the Pods that they speak of, from JSON to what the formula needs,
 * and the outcome back to a status. Pure.
 */

#include <jansson.h>

#include "base/strbuf.h"
#include "local/hpa/calculate.h"
#include "local/hpa/limit.h"
#include "local/usage.h"

#define HPA_METRICS_MAX 16

struct hpa_metric {
    const char *type;   /* "Resource", …; borrowed */
    const char *name;   /* of the resource or metric; borrowed */
    const char *reason; /* of ScalingActive, when there is no number for it; static */
    bool resource;      /* one that is known here; the next is set */
    struct hpa_measure measure;
};

/* What is wanted; texts are borrowed from the object. */
struct hpa_spec {
    const char *target_version, *target_kind, *target_name;
    struct hpa_bounds bounds;
    struct hpa_metric metrics[HPA_METRICS_MAX]; /* more are refused (api/scaling.c) */
    size_t count;
};

void hpa_spec_read(const json_t *hpa, const struct hpa_settings *settings, struct hpa_spec *out);

/* "a=b,c=d": the labels of a Deployment's Pods. False: it has none. */
bool hpa_selector(const json_t *deployment, struct strbuf *out);

/* A Pod, for one resource; usage NULL: nothing is known. Texts are borrowed from the Pod. */
void hpa_pod_read(const json_t *pod, const struct usage *usage, bool cpu, struct hpa_pod *out);

struct hpa_condition {
    const char *type;
    const char *status; /* NULL: there is none */
    const char *reason;
    char message[ERROR_MSG_MAX];
};

/* An element of status.currentMetrics. */
json_t *hpa_metric_status(const struct hpa_metric *metric, const struct hpa_proposal *proposal);

/*
 * {"status": {…}} as a merge patch, or NULL when the object says the same. Takes metrics. changed:
 * the scale was changed now.
 */
json_t *hpa_status(const json_t *hpa, int32_t current, int32_t desired, bool changed,
                   json_t *metrics, const struct hpa_condition *conditions, size_t count,
                   int64_t now_ns);
