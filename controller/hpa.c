// SPDX-License-Identifier: Apache-2.0
/*
 * PodAutoscaler to HorizontalPodAutoscaler, as Knative translates the annotations. Happy path: one
 * object of the revision's name, owned by the PodAutoscaler; Active is always true, since this
 * class knows no zero. What the API server fills in is left alone: a field counts only when we ask
 * for it. Failure modes: an object of the name that is somebody else's is not touched and said in
 * Active; what keeps Kubernetes from scaling (no metrics server, for instance) is its condition
 * ScalingActive, which is shown on the PodAutoscaler beside ours.
 */
#include "controller/hpa.h"

#include <math.h>

#include "base/num.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/names.h"
#include "serving/quantity.h"
#include "controller/build.h"
#include "controller/conditions.h"
#include "controller/meta.h"

#define MIB 1048576

bool hpa_class(const struct settings *settings, const json_t *revision)
{
    const char *class = meta_annotation(revision, ANNOTATION_CLASS);
    return strcmp(class[0] != '\0' ? class : settings->autoscaler.pod_autoscaler_class,
                  CLASS_HPA) == 0;
}

static int64_t bound(const json_t *revision, const char *key, const char *old, int64_t otherwise)
{
    int64_t value = 0;
    const char *text = meta_annotation_of(revision, key, old);
    return num_parse_i64(slice_str(text), 0, INT32_MAX, &value, NULL) < 0 ? otherwise : value;
}

/* Replicas that it keeps while requests may come. */
static int64_t least(const struct settings *settings, const json_t *revision)
{
    bool unreachable = strcmp(build_reachability(revision), "Unreachable") == 0;
    int64_t min = unreachable ? 0
                              : bound(revision, ANNOTATION_MIN_SCALE, ANNOTATION_MIN_SCALE_OLD,
                                      settings->autoscaler.min_scale);
    return min < 1 ? 1 : min;
}

static json_t *average(double amount, enum quantity_format format)
{
    char text[QUANTITY_TEXT];
    struct quantity q = {.nano = (__int128)(int64_t)amount * 1000000000, .format = format};
    return json_pack("{s:s,s:s}", "type", "AverageValue", "averageValue", quantity_print(&q, text));
}

/* Without a target Kubernetes has one of its own: 80 % of the CPU that was asked for. */
static json_t *metrics_of(const json_t *revision)
{
    double target = 0;
    const char *metric = meta_annotation(revision, ANNOTATION_METRIC);
    const char *text = meta_annotation(revision, ANNOTATION_TARGET);
    if (num_parse_double(slice_str(text), 0, 1e12, &target, NULL) < 0) {
        return NULL;
    }
    if (metric[0] == '\0' || strcmp(metric, "cpu") == 0) {
        return json_pack("[{s:s,s:{s:s,s:{s:s,s:I}}}]", "type", "Resource", "resource", "name",
                         "cpu", "target", "type", "Utilization", "averageUtilization",
                         (json_int_t)ceil(fmin(target, INT32_MAX)));
    }
    if (strcmp(metric, "memory") == 0) {
        return json_pack("[{s:s,s:{s:s,s:o}}]", "type", "Resource", "resource", "name", "memory",
                         "target", average(floor(target) * MIB, QUANTITY_BINARY));
    }
    return json_pack("[{s:s,s:{s:{s:s},s:o}}]", "type", "Pods", "pods", "metric", "name", metric,
                     "target", average(target, QUANTITY_DECIMAL));
}

/* The window is how long Kubernetes waits before it follows, up and down. */
static json_t *behavior_of(const json_t *revision)
{
    int64_t ns = 0;
    const char *text = meta_annotation(revision, ANNOTATION_WINDOW);
    if (text[0] == '\0' || num_parse_duration_ns(slice_str(text), &ns, NULL) < 0 || ns < 0) {
        return NULL;
    }
    json_int_t s = ns / 1000000000;
    return json_pack("{s:{s:I},s:{s:I}}", "scaleDown", "stabilizationWindowSeconds", s, "scaleUp",
                     "stabilizationWindowSeconds", s);
}

json_t *hpa_build(const struct settings *settings, const json_t *revision, const json_t *autoscaler)
{
    json_t *hpa = build_pod_autoscaler(revision); /* its labels and annotations are the same */
    json_t *target = json_incref(jpeek_obj(hpa, "spec.scaleTargetRef"));
    int64_t max = bound(revision, ANNOTATION_MAX_SCALE, ANNOTATION_MAX_SCALE_OLD,
                        settings->autoscaler.max_scale);
    meta_set(hpa, "apiVersion", kind_api_version(kind_row(KIND_HPA)));
    meta_set(hpa, "kind", kind_row(KIND_HPA)->kind);
    json_object_set_new(json_object_get(hpa, "metadata"), "ownerReferences",
                        meta_owner_refs(KIND_PODAUTOSCALER, autoscaler));
    json_object_set_new(hpa, "spec",
                        json_pack("{s:o,s:I,s:I,s:o*,s:o*}", "scaleTargetRef", target,
                                  "minReplicas", (json_int_t)least(settings, revision),
                                  "maxReplicas", (json_int_t)(max == 0 ? INT32_MAX : max),
                                  "metrics", metrics_of(revision), "behavior",
                                  behavior_of(revision)));
    return hpa;
}

/* All that is wanted is there; what else is there was filled in by others. */
static bool covers(const json_t *actual, const json_t *wanted)
{
    const char *key;
    json_t *value;
    size_t i;
    if (json_is_object(wanted)) {
        json_object_foreach((json_t *)(uintptr_t)wanted, key, value)
        {
            if (!covers(json_object_get(actual, key), value)) {
                return false;
            }
        }
        return json_is_object(actual);
    }
    if (json_is_array(wanted)) {
        json_array_foreach(wanted, i, value)
        {
            if (!covers(json_array_get(actual, i), value)) {
                return false;
            }
        }
        return json_array_size(actual) == json_array_size(wanted);
    }
    return json_equal(actual, wanted) != 0;
}

/* A status that names the condition's reason, as one for information. */
static struct condition scaling_of(const json_t *hpa)
{
    struct condition scaling = condition_get(hpa, "ScalingActive");
    if (scaling.status[0] == '\0') {
        scaling = (struct condition){"ScalingActive", STATUS_UNKNOWN, "Deploying",
                                     "Kubernetes has not looked at it yet.", true};
    }
    scaling.info = true;
    return scaling;
}

static void set_status(const struct reconcile_env *env, const json_t *revision,
                       const json_t *autoscaler, const json_t *deployment, const json_t *hpa,
                       const struct replicas *replicas, struct plan *plan)
{
    char message[ERROR_MSG_MAX];
    bool foreign = hpa != NULL && !meta_controlled_by(hpa, autoscaler);
    int64_t initial = build_initial_scale(env->settings, revision);
    int64_t wanted = least(env->settings, revision);
    wanted = wanted > initial ? wanted : initial;
    bool initialized = condition_is(autoscaler, "ScaleTargetInitialized", STATUS_TRUE) ||
                       (hpa != NULL && replicas->ready >= wanted);
    snprintf(message, sizeof(message),
             "There is an existing HorizontalPodAutoscaler \"%s\" that we do not own.",
             meta_name(revision));
    struct condition conditions[] = {
        foreign ? (struct condition){"Active", STATUS_FALSE, "NotOwned", message, false}
                : (struct condition){"Active", STATUS_TRUE, "", "", false},
        {"ScaleTargetInitialized", initialized ? STATUS_TRUE : STATUS_UNKNOWN, "", "", false},
        scaling_of(hpa),
    };
    bool seen = jget(hpa, "status.desiredReplicas") != NULL;
    int64_t desired =
        seen ? jpeek_i64(hpa, "status.desiredReplicas") : jpeek_i64(deployment, "spec.replicas");
    plan_status(plan, KIND_PODAUTOSCALER, autoscaler,
                json_pack("{s:I,s:o,s:I,s:I}", "observedGeneration",
                          (json_int_t)jpeek_i64(autoscaler, "metadata.generation"), "conditions",
                          conditions_build(conditions, ARRAY_LEN(conditions), autoscaler, env->now),
                          "desiredScale", (json_int_t)desired, "actualScale",
                          (json_int_t)replicas->ready));
}

void hpa_sync(const struct reconcile_env *env, const json_t *revision, const json_t *autoscaler,
              const json_t *deployment, const struct replicas *replicas, struct plan *plan)
{
    const char *name = meta_name(revision);
    CLEANUP(jfree) json_t *hpa = env->get(env->arg, KIND_HPA, meta_ns(revision), name);
    bool ours = hpa != NULL && meta_controlled_by(hpa, autoscaler);
    if (!hpa_class(env->settings, revision)) {
        if (ours && !meta_deleting(hpa)) {
            plan_delete(plan, KIND_HPA, name, meta_uid(hpa));
        }
        return;
    }
    json_t *wanted = hpa_build(env->settings, revision, autoscaler);
    if (hpa == NULL) {
        plan_create(plan, KIND_HPA, name, wanted);
    } else {
        if (ours && !covers(json_object_get(hpa, "spec"), json_object_get(wanted, "spec"))) {
            plan_patch(plan, KIND_HPA, name,
                       json_pack("{s:O}", "spec", json_object_get(wanted, "spec")));
        }
        json_decref(wanted);
    }
    set_status(env, revision, autoscaler, deployment, hpa, replicas, plan);
}
