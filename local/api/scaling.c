// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. One function for each structure of the spec, each with the path that it speaks of; types
 * and unknown fields were seen to before (coerce.c). What is a list is bounded first.
 */
#include "local/api/scaling.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "serving/quantity.h"
#include "local/api/causes.h"
#include "local/hpa/object.h"

void scaling_default(json_t *object)
{
    json_t *spec = jobject_at(object, "spec");
    if (!field_is_set(spec, "minReplicas")) {
        REQUIRE(json_object_set_new(spec, "minReplicas", json_integer(1)) == 0);
    }
    if (json_array_size(json_object_get(spec, "metrics")) == 0) {
        REQUIRE(json_object_set_new(spec, "metrics",
                                    json_pack("[{s:s,s:{s:s,s:{s:s,s:i}}}]", "type", "Resource",
                                              "resource", "name", "cpu", "target", "type",
                                              "Utilization", "averageUtilization", 80)) == 0);
    }
}

/* --- behavior ------------------------------------------------------------------------------ */

static void check_policy(json_t *causes, const json_t *policy, const char *path)
{
    static const char *const types[] = {"Percent", "Pods", NULL};
    int64_t value = jpeek_i64(policy, "value"), period = jpeek_i64(policy, "periodSeconds");
    char field[128];
    (void)snprintf(field, sizeof(field), "%s.type", path);
    cause_unless_one_of(causes, field, jpeek_cstr(policy, "type"), types);
    if (value < 1) {
        (void)snprintf(field, sizeof(field), "%s.value", path);
        cause_add(causes, field, "Invalid value: %lld: must be greater than zero",
                  (long long)value);
    }
    if (period < 1 || period > HPA_PERIOD_MAX_S) {
        (void)snprintf(field, sizeof(field), "%s.periodSeconds", path);
        cause_add(causes, field, "Invalid value: %lld: must be %s", (long long)period,
                  period < 1 ? "greater than zero" : "less than or equal to 1800");
    }
}

/* One direction of spec.behavior; NULL is fine. */
static void check_rules(json_t *causes, const json_t *rules, const char *name)
{
    static const char *const selects[] = {"Disabled", "Max", "Min", NULL};
    char field[96];
    int64_t window = jpeek_i64(rules, "stabilizationWindowSeconds");
    const json_t *policies = json_object_get(rules, "policies");
    size_t count = json_array_size(policies);
    if (window < 0 || window > HPA_WINDOW_MAX_S) {
        (void)snprintf(field, sizeof(field), "spec.behavior.%s.stabilizationWindowSeconds", name);
        cause_add(causes, field, "Invalid value: %lld: must be %s", (long long)window,
                  window < 0 ? "greater than or equal to zero" : "less than or equal to 3600");
    }
    if (field_is_set(rules, "selectPolicy")) {
        (void)snprintf(field, sizeof(field), "spec.behavior.%s.selectPolicy", name);
        cause_unless_one_of(causes, field, jpeek_cstr(rules, "selectPolicy"), selects);
    }
    (void)snprintf(field, sizeof(field), "spec.behavior.%s.policies", name);
    if (json_is_array(policies) && count == 0) {
        cause_add(causes, field, "Required value: must specify at least one Policy");
    } else if (count > HPA_POLICIES_MAX) {
        cause_add(causes, field, "Too many: %zu: must have at most %d items", count,
                  HPA_POLICIES_MAX);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(field, sizeof(field), "spec.behavior.%s.policies[%zu]", name, i);
        check_policy(causes, json_array_get(policies, i), field);
    }
}

/* --- metrics ------------------------------------------------------------------------------- */

static void check_amount(json_t *causes, const json_t *target, const char *path, const char *key)
{
    char field[96];
    struct quantity amount;
    struct slice text = jpeek_str(target, key);
    if (text.len > 0 && quantity_parse(text, &amount) && amount.nano <= 0) {
        (void)snprintf(field, sizeof(field), "%s.%s", path, key);
        cause_add(causes, field, "Invalid value: \"%.*s\": must be positive", SLICE_FMT(text));
    }
}

/* Of a Resource: the one type that has numbers here. */
static void check_resource(json_t *causes, const json_t *resource, const char *path)
{
    static const char *const types[] = {"AverageValue", "Utilization", "Value"};
    char field[128], target_path[80];
    const json_t *target = json_object_get(resource, "target");
    const char *type = jpeek_cstr(target, "type");
    int64_t percent = jpeek_i64(target, "averageUtilization");
    bool share = field_is_set(target, "averageUtilization");
    bool amount = field_is_set(target, "averageValue"), known = false;
    (void)snprintf(target_path, sizeof(target_path), "%s.target", path);
    if (!field_is_set(resource, "name")) {
        (void)snprintf(field, sizeof(field), "%s.name", path);
        cause_add(causes, field, "Required value: must specify a resource name");
    }
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        known = known || strcmp(type, types[i]) == 0;
    }
    (void)snprintf(field, sizeof(field), "%s.type", target_path);
    if (type[0] == '\0') {
        cause_add(causes, field, "Required value: must specify a metric target type");
    } else if (!known) {
        cause_add(causes, field,
                  "Invalid value: \"%.200s\": must be either Utilization, Value, or AverageValue",
                  type);
    }
    check_amount(causes, target, target_path, "value");
    check_amount(causes, target, target_path, "averageValue");
    (void)snprintf(field, sizeof(field), "%s.averageUtilization", target_path);
    if (share && percent < 1) {
        cause_add(causes, field, "Invalid value: %lld: must be greater than 0", (long long)percent);
    }
    if (!share && !amount) {
        cause_add(causes, field,
                  "Required value: must set either a target raw value or a target utilization");
    } else if (share && amount) {
        (void)snprintf(field, sizeof(field), "%s.averageValue", target_path);
        cause_add(causes, field,
                  "Forbidden: may not set both a target raw value and a target utilization");
    }
}

/* The member that its type names is there, and no other. */
static void check_metric(json_t *causes, const json_t *metric, size_t index)
{
    static const char *const types[] = {"ContainerResource", "External", "Object", "Pods",
                                        "Resource",          NULL};
    static const char *const members[] = {"containerResource", "external", "object", "pods",
                                          "resource"};
    const char *type = jpeek_cstr(metric, "type");
    char field[64];
    (void)snprintf(field, sizeof(field), "spec.metrics[%zu].type", index);
    cause_unless_one_of(causes, field, type, types);
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        bool named = strcmp(type, types[i]) == 0, there = field_is_set(metric, members[i]);
        (void)snprintf(field, sizeof(field), "spec.metrics[%zu].%s", index, members[i]);
        if (named && !there) {
            cause_add(causes, field,
                      "Required value: must populate information for the given metric source");
        } else if (!named && there) {
            cause_add(causes, field, "Forbidden: must populate the given metric source only");
        } else if (named && strcmp(type, "Resource") == 0) {
            check_resource(causes, json_object_get(metric, "resource"), field);
        }
    }
}

static void check_metrics(json_t *causes, const json_t *metrics)
{
    if (json_array_size(metrics) > HPA_METRICS_MAX) {
        cause_add(causes, "spec.metrics", "Too many: %zu: must have at most %d items",
                  json_array_size(metrics), HPA_METRICS_MAX);
        return;
    }
    for (size_t i = 0; i < json_array_size(metrics); i++) {
        check_metric(causes, json_array_get(metrics, i), i);
    }
}

/* --- all ----------------------------------------------------------------------------------- */

void scaling_check(json_t *causes, const json_t *object)
{
    int64_t min = jpeek_i64(object, "spec.minReplicas");
    int64_t max = jpeek_i64(object, "spec.maxReplicas");
    static const char *const target[] = {"spec.scaleTargetRef.kind", "spec.scaleTargetRef.name"};
    for (size_t i = 0; i < ARRAY_LEN(target); i++) {
        if (slice_empty(jpeek_str(object, target[i]))) {
            cause_add(causes, target[i], "Required value");
        }
    }
    if (min < 1) {
        cause_add(causes, "spec.minReplicas",
                  "Invalid value: %lld: must be greater than or equal to 1", (long long)min);
    }
    if (max < 1) {
        cause_add(causes, "spec.maxReplicas", "Invalid value: %lld: must be greater than 0",
                  (long long)max);
    } else if (max < min) {
        cause_add(causes, "spec.maxReplicas",
                  "Invalid value: %lld: must be greater than or equal to `minReplicas`",
                  (long long)max);
    }
    check_metrics(causes, jpeek_arr(object, "spec.metrics"));
    check_rules(causes, jpeek_obj(object, "spec.behavior.scaleUp"), "scaleUp");
    check_rules(causes, jpeek_obj(object, "spec.behavior.scaleDown"), "scaleDown");
}
