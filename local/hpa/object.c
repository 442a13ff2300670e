// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Readers that take what the API server has checked (api/core.c) and filled in; what is not
 * there has Kubernetes' defaults. A metric that is not of a resource is kept with its name: the
 * caller says that it has no numbers for it.
 */
#include "local/hpa/object.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "json/jbuild.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/quantity.h"

#define NANO_PER_MILLI 1000000
#define NANO           1000000000

/* --- the object ---------------------------------------------------------------------------- */

static int32_t number_at(const json_t *root, const char *path, int32_t otherwise)
{
    int64_t value;
    return jget_i64(root, path, &value, NULL) == 0 && value >= 0 && value <= INT32_MAX
               ? (int32_t)value
               : otherwise;
}

/* Thousandths of a core, or bytes; rounded up. -1: not a quantity. */
static int64_t amount_of(struct slice text, bool cpu)
{
    struct quantity q;
    if (slice_empty(text) || !quantity_parse(text, &q)) {
        return -1;
    }
    __int128 unit = cpu ? NANO_PER_MILLI : NANO;
    __int128 amount = (q.nano + unit - 1) / unit;
    return amount > INT64_MAX / 128 ? INT64_MAX / 128 : (int64_t)amount;
}

static void read_rules(const json_t *rules, struct hpa_rules *out)
{
    size_t i;
    json_t *policy;
    const char *select = jpeek_cstr(rules, "selectPolicy");
    json_t *policies = jpeek_arr(rules, "policies");
    out->window_s = number_at(rules, "stabilizationWindowSeconds", out->window_s);
    out->select = strcmp(select, "Min") == 0        ? HPA_SELECT_MIN
                  : strcmp(select, "Disabled") == 0 ? HPA_SELECT_DISABLED
                                                    : HPA_SELECT_MAX;
    out->count = json_array_size(policies) > 0 ? 0 : out->count;
    json_array_foreach(policies, i, policy)
    {
        if (out->count < HPA_POLICIES_MAX) {
            out->policies[out->count++] = (struct hpa_policy){
                .percent = strcmp(jpeek_cstr(policy, "type"), "Percent") == 0,
                .value = number_at(policy, "value", 0),
                .period_s = number_at(policy, "periodSeconds", 0),
            };
        }
    }
}

static void read_bounds(const json_t *hpa, const struct hpa_settings *settings,
                        struct hpa_bounds *out)
{
    static const struct hpa_rules up = {
        .policies = {{false, 4, 15}, {true, 100, 15}},
        .count = 2,
    };
    static const struct hpa_rules down = {.policies = {{true, 100, 15}}, .count = 1};
    const json_t *behavior = jpeek_obj(hpa, "spec.behavior");
    *out = (struct hpa_bounds){
        .min = number_at(hpa, "spec.minReplicas", 1),
        .max = number_at(hpa, "spec.maxReplicas", 1),
        .behavior = behavior != NULL,
        .up = up,
        .down = down,
    };
    out->down.window_s = settings->downscale_window_s;
    if (behavior != NULL) {
        read_rules(jpeek_obj(behavior, "scaleUp"), &out->up);
        read_rules(jpeek_obj(behavior, "scaleDown"), &out->down);
    }
}

/* The types of metrics, where each has its name, and the reason when there is no number for it. */
static const struct metric_type {
    const char *type, *name_path, *reason;
} metric_types[] = {
    {"Resource", "resource.name", "FailedGetResourceMetric"},
    {"Pods", "pods.metric.name", "FailedGetPodsMetric"},
    {"Object", "object.metric.name", "FailedGetObjectMetric"},
    {"External", "external.metric.name", "FailedGetExternalMetric"},
    {"ContainerResource", "containerResource.name", "FailedGetContainerResourceMetric"},
};

static void read_metric(const json_t *metric, struct hpa_metric *out)
{
    *out = (struct hpa_metric){
        .type = jpeek_cstr(metric, "type"), .name = "", .reason = "InvalidMetricSourceType"};
    for (size_t i = 0; i < ARRAY_LEN(metric_types); i++) {
        if (strcmp(out->type, metric_types[i].type) == 0) {
            out->name = jpeek_cstr(metric, metric_types[i].name_path);
            out->reason = metric_types[i].reason;
        }
    }
    if (strcmp(out->type, "Resource") != 0) {
        return;
    }
    bool cpu = strcmp(out->name, "cpu") == 0;
    int64_t percent = jpeek_i64(metric, "resource.target.averageUtilization");
    int64_t amount = amount_of(jpeek_str(metric, "resource.target.averageValue"), cpu);
    out->measure = (struct hpa_measure){
        .resource = out->name,
        .cpu = cpu,
        .utilization = amount < 0,
        .target = amount < 0 ? percent : amount,
    };
    out->resource = (cpu || strcmp(out->name, "memory") == 0) && out->measure.target > 0;
}

void hpa_spec_read(const json_t *hpa, const struct hpa_settings *settings, struct hpa_spec *out)
{
    size_t i;
    json_t *metric;
    *out = (struct hpa_spec){
        .target_version = jpeek_cstr(hpa, "spec.scaleTargetRef.apiVersion"),
        .target_kind = jpeek_cstr(hpa, "spec.scaleTargetRef.kind"),
        .target_name = jpeek_cstr(hpa, "spec.scaleTargetRef.name"),
    };
    read_bounds(hpa, settings, &out->bounds);
    json_array_foreach(jpeek_arr(hpa, "spec.metrics"), i, metric)
    {
        if (out->count < HPA_METRICS_MAX) {
            read_metric(metric, &out->metrics[out->count++]);
        }
    }
    if (out->count == 0) {
        out->metrics[out->count++] = (struct hpa_metric){
            .type = metric_types[0].type,
            .name = "cpu",
            .reason = metric_types[0].reason,
            .resource = true,
            .measure = {"cpu", .cpu = true, .utilization = true, .target = 80},
        };
    }
}

/* --- Pods ---------------------------------------------------------------------------------- */

bool hpa_selector(const json_t *deployment, struct strbuf *out)
{
    const char *key;
    json_t *value;
    strbuf_clear(out);
    json_object_foreach(jpeek_obj(deployment, "spec.selector.matchLabels"), key, value)
    {
        (void)strbuf_appendf(out, "%s%s=%s", out->len > 0 ? "," : "", key,
                             json_is_string(value) ? json_string_value(value) : "");
    }
    return out->len > 0 && strbuf_ok(out);
}

static void read_requests(const json_t *pod, bool cpu, struct hpa_pod *out)
{
    size_t i;
    json_t *container;
    json_array_foreach(jpeek_arr(pod, "spec.containers"), i, container)
    {
        int64_t amount = amount_of(
            jpeek_str(container, cpu ? "resources.requests.cpu" : "resources.requests.memory"),
            cpu);
        if (amount < 0) { /* a limit is a request where there is none */
            amount = amount_of(
                jpeek_str(container, cpu ? "resources.limits.cpu" : "resources.limits.memory"),
                cpu);
        }
        if (amount < 0 && out->unrequested == NULL) {
            out->unrequested = jpeek_cstr(container, "name");
        }
        out->request += amount < 0 ? 0 : amount;
    }
}

static bool time_at(const json_t *root, const char *path, int64_t *out)
{
    return clock_parse_rfc3339(jpeek_str(root, path), out, NULL) == 0;
}

static void read_readiness(const json_t *pod, struct hpa_pod *out)
{
    size_t i;
    json_t *condition;
    json_array_foreach(jpeek_arr(pod, "status.conditions"), i, condition)
    {
        if (strcmp(jpeek_cstr(condition, "type"), "Ready") == 0) {
            out->has_ready = time_at(condition, "lastTransitionTime", &out->ready_changed_ns) &&
                             time_at(pod, "status.startTime", &out->started_ns);
            out->unready = strcmp(jpeek_cstr(condition, "status"), "False") == 0;
        }
    }
}

void hpa_pod_read(const json_t *pod, const struct usage *usage, bool cpu, struct hpa_pod *out)
{
    const char *phase = jpeek_cstr(pod, "status.phase");
    *out = (struct hpa_pod){
        .name = jpeek_cstr(pod, "metadata.name"),
        .ignored = jget(pod, "metadata.deletionTimestamp") != NULL || strcmp(phase, "Failed") == 0,
        .pending = strcmp(phase, "Pending") == 0,
    };
    read_requests(pod, cpu, out);
    read_readiness(pod, out);
    if (usage == NULL || !usage->parts[USAGE_FUNCTION].known) {
        return;
    }
    out->measured = true;
    out->measured_ns = usage->at_ns;
    out->window_ns = usage->window_ns;
    for (int i = 0; i < USAGE_PARTS; i++) {
        out->usage += cpu ? (usage->parts[i].cpu_nano + NANO_PER_MILLI - 1) / NANO_PER_MILLI
                          : usage->parts[i].memory_bytes;
    }
}

/* --- the status ---------------------------------------------------------------------------- */

json_t *hpa_metric_status(const struct hpa_metric *metric, const struct hpa_proposal *proposal)
{
    char text[QUANTITY_TEXT];
    bool cpu = metric->measure.cpu;
    struct quantity q = {
        .nano = (__int128)proposal->average * (cpu ? NANO_PER_MILLI : NANO),
        .format = cpu ? QUANTITY_DECIMAL : QUANTITY_BINARY,
    };
    json_t *current = json_pack("{s:s}", "averageValue", quantity_print(&q, text));
    if (metric->measure.utilization) {
        REQUIRE(json_object_set_new(current, "averageUtilization",
                                    json_integer(proposal->utilization)) == 0);
    }
    return json_pack("{s:s,s:{s:s,s:o}}", "type", "Resource", "resource", "name", metric->name,
                     "current", current);
}

static const json_t *condition_of(const json_t *hpa, const char *type)
{
    size_t i;
    json_t *condition;
    json_array_foreach(jpeek_arr(hpa, "status.conditions"), i, condition)
    {
        if (strcmp(jpeek_cstr(condition, "type"), type) == 0) {
            return condition;
        }
    }
    return NULL;
}

static void append_condition(json_t *list, const json_t *hpa, const struct hpa_condition *c,
                             const char *now)
{
    const json_t *old = condition_of(hpa, c->type);
    if (c->status == NULL) { /* what was said before stands */
        if (old != NULL) {
            REQUIRE(json_array_append(list, (json_t *)(uintptr_t)old) == 0);
        }
        return;
    }
    bool same = old != NULL && strcmp(jpeek_cstr(old, "status"), c->status) == 0;
    json_t *one =
        json_pack("{s:s,s:s,s:s,s:s,s:o}", "type", c->type, "status", c->status,
                  "lastTransitionTime", same ? jpeek_cstr(old, "lastTransitionTime") : now,
                  "reason", c->reason, "message", jstring_lossy(slice_str(c->message)));
    REQUIRE(json_array_append_new(list, one) == 0);
}

json_t *hpa_status(const json_t *hpa, int32_t current, int32_t desired, bool changed,
                   json_t *metrics, const struct hpa_condition *conditions, size_t count,
                   int64_t now_ns)
{
    char now[CLOCK_RFC3339_MAX];
    json_t *list = json_array();
    clock_format_rfc3339(now_ns, 0, now, sizeof(now));
    for (size_t i = 0; i < count; i++) {
        append_condition(list, hpa, &conditions[i], now);
    }
    json_t *scaled = changed ? json_string(now) : json_incref(jget(hpa, "status.lastScaleTime"));
    json_t *status =
        json_pack("{s:i,s:i,s:o,s:o,s:o*,s:o*}", "currentReplicas", current, "desiredReplicas",
                  desired, "conditions", list, "currentMetrics", metrics, "lastScaleTime", scaled,
                  "observedGeneration", json_incref(jget(hpa, "metadata.generation")));
    REQUIRE(status != NULL);
    if (jequal(status, jpeek_obj(hpa, "status"))) {
        json_decref(status);
        return NULL;
    }
    return json_pack("{s:o}", "status", status);
}
