// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. One project/release pair per kind; each takes the few fields that decisions need.
 * Failure modes: an object that is not a revision's is skipped (1); a field of a wrong type counts
 * as absent, because nothing here can answer the one who wrote it. A config-autoscaler that does
 * not parse is kept as invalid, with the sentence, so that the old settings stay in force.
 */
#include "autoscaler/objects.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "json/jget.h"
#include "serving/autoscaler_json.h"
#include "serving/names.h"

#define ANNOTATION_BYTES_MAX 256 /* longest value that is kept; longer ones cannot be valid */
#define TROUBLE_MAX          160 /* bytes of another's message that are passed on */

static int64_t peek_time(const json_t *root, const char *path)
{
    int64_t wall_ns;
    return clock_parse_rfc3339(jpeek_str(root, path), &wall_ns, NULL) == 0 ? wall_ns : 0;
}

/* The element of an array of conditions whose type is this, or NULL. */
static const json_t *find_condition(const json_t *object, const char *type)
{
    size_t i;
    const json_t *condition;
    json_array_foreach(jpeek_arr(object, "status.conditions"), i, condition)
    {
        if (strcmp(jpeek_cstr(condition, "type"), type) == 0) {
            return condition;
        }
    }
    return NULL;
}

static bool condition_is(const json_t *condition, const char *status)
{
    return condition != NULL && strcmp(jpeek_cstr(condition, "status"), status) == 0;
}

static const char *revision_label(const json_t *object)
{
    return jpeek_cstr(object, "metadata.labels.`" LABEL_REVISION "`");
}

/* --- PodAutoscaler ------------------------------------------------------------------------- */

static void read_warm_at(struct slice text, struct pa_object *pa)
{
    struct slice one;
    while (slice_split(&text, ',', &one) && pa->warm_at_count < WARM_AT_MAX) {
        if (clock_parse_rfc3339(slice_trim(one), &pa->warm_at_wall_ns[pa->warm_at_count], NULL) ==
            0) {
            pa->warm_at_count++;
        }
    }
}

static void read_annotations(const json_t *object, struct pa_object *pa)
{
    json_t *annotations = jpeek_obj(object, "metadata.annotations");
    const char *key;
    json_t *value;
    json_object_foreach(annotations, key, value)
    {
        const char *text = json_string_value(value);
        if (text == NULL || strlen(text) > ANNOTATION_BYTES_MAX) {
            continue;
        }
        if (strcmp(key, ANNOTATION_WARM_AT) == 0) {
            read_warm_at(slice_str(text), pa);
        } else if (slice_starts_with(slice_str(key), SLICE_LIT(AUTOSCALING_PREFIX)) ||
                   slice_starts_with(slice_str(key), SLICE_LIT(AUTOSCALING_LULL_PREFIX))) {
            pa->annotations =
                xreallocarray(pa->annotations, pa->annotation_count + 1, sizeof(*pa->annotations));
            pa->annotations[pa->annotation_count++] = (struct config_pair){
                slice_of(xstrdup(key), strlen(key)), slice_of(xstrdup(text), strlen(text))};
        } else if (strcmp(key, ANNOTATION_PROGRESS_DEADLINE) == 0) {
            int64_t ns;
            if (num_parse_duration_ns(slice_str(text), &ns, NULL) == 0 && ns > 0) {
                pa->progress_deadline_ms = (uint64_t)ns / CLOCK_NS_PER_MS;
            }
        }
    }
}

static bool is_backlog(const struct pa_object *pa)
{
    for (size_t i = 0; i < pa->annotation_count; i++) {
        if (slice_eq_str(pa->annotations[i].key, ANNOTATION_METRIC)) {
            return slice_eq_str(pa->annotations[i].value, scaling_metric_text(SCALING_BACKLOG));
        }
    }
    return false;
}

static void read_pa_status(const json_t *object, struct pa_object *pa)
{
    const json_t *active = find_condition(object, "Active");
    pa->observed_generation = jpeek_i64(object, "status.observedGeneration");
    pa->has_active = active != NULL;
    if (condition_is(active, "True")) {
        pa->active = PLAN_ACTIVE;
    } else if (condition_is(active, "False")) {
        bool timed_out = strcmp(jpeek_cstr(active, "reason"), "TimedOut") == 0;
        pa->active = timed_out ? PLAN_TIMED_OUT : PLAN_INACTIVE;
    } else {
        pa->active = PLAN_ACTIVATING;
    }
    pa->active_wall_ns = active == NULL ? 0 : peek_time(active, "lastTransitionTime");
    const json_t *initialized = find_condition(object, "ScaleTargetInitialized");
    pa->initialized = condition_is(initialized, "True");
    pa->initialized_wall_ns =
        initialized == NULL ? 0 : peek_time(initialized, "lastTransitionTime");
    int64_t scale;
    pa->desired_scale = jget_i64(object, "status.desiredScale", &scale, NULL) == 0 && scale >= 0 &&
                                scale <= INT32_MAX
                            ? (int32_t)scale
                            : -1;
    pa->actual_scale = jget_i64(object, "status.actualScale", &scale, NULL) == 0 && scale >= 0 &&
                               scale <= INT32_MAX
                           ? (int32_t)scale
                           : -1;
    json_t *decisions = jpeek_arr(object, "status.lullDecisions");
    if (json_array_size(decisions) > 0) {
        history_from_json(&pa->history, decisions);
    }
    pa->idle = json_incref(jpeek_obj(object, "status.lullIdle"));
}

int pa_object_project(void *arg, const json_t *object, void *value, struct error *err)
{
    struct pa_object *pa = value;
    struct slice deployment;
    int rc = jget_str(object, "spec.scaleTargetRef.name", &deployment, err);
    if (rc < 0) {
        return rc;
    }
    pa->deployment = slice_dup(deployment);
    pa->container_concurrency = jpeek_i64(object, "spec.containerConcurrency");
    pa->generation = jpeek_i64(object, "metadata.generation");
    pa->reachable = strcmp(jpeek_cstr(object, "spec.reachability"), "Unreachable") != 0;
    read_annotations(object, pa);
    if (is_backlog(pa)) {
        pa->service = jpeek_dup(object, "metadata.labels.`" LABEL_SERVICE "`");
    }
    read_pa_status(object, pa);
    return 0;
}

/* The pairs were made by xstrdup: their memory is ours, though a slice reads as const. */
static void free_text(struct slice text)
{
    union {
        const char *read;
        char *owned;
    } ptr = {.read = text.ptr};
    free(ptr.owned);
}

void pa_object_release(void *arg, void *value)
{
    struct pa_object *pa = value;
    for (size_t i = 0; i < pa->annotation_count; i++) {
        free_text(pa->annotations[i].key);
        free_text(pa->annotations[i].value);
    }
    free(pa->annotations);
    free(pa->deployment);
    free(pa->service);
    history_fini(&pa->history);
    json_decref(pa->idle);
}

/* --- Deployment ---------------------------------------------------------------------------- */

int deployment_object_project(void *arg, const json_t *object, void *value, struct error *err)
{
    struct deployment_object *deployment = value;
    const char *revision = revision_label(object);
    if (revision[0] == '\0') {
        return 1;
    }
    int64_t replicas = 1;
    int rc = jget_i64_or(object, "spec.replicas", 1, &replicas, err);
    if (rc < 0) {
        return rc;
    }
    if (replicas < 0 || replicas > INT32_MAX) {
        return error_set(err, ERR_INVALID, "spec.replicas is out of range");
    }
    deployment->revision = xstrdup(revision);
    deployment->replicas = (int32_t)replicas;
    return 0;
}

void deployment_object_release(void *arg, void *value)
{
    free(((struct deployment_object *)value)->revision);
}

/* --- Pod ----------------------------------------------------------------------------------- */

static char *pod_scrape_address(const json_t *object, enum pod_address kind)
{
    if (kind == POD_ADDRESS_UNIX) {
        return jpeek_dup(object, "metadata.annotations.`" ANNOTATION_ADMIN_ADDRESS "`");
    }
    const char *ip = jpeek_cstr(object, "status.podIP");
    if (ip[0] == '\0' || strlen(ip) > 45) {
        return NULL;
    }
    bool v6 = strchr(ip, ':') != NULL;
    return xasprintf(v6 ? "[%s]:%d" : "%s:%d", ip, QUEUE_PORT_METRICS);
}

/* Reasons under which a waiting container will not come up by waiting. */
static bool is_failing_reason(const char *reason)
{
    static const char *const failing[] = {
        "CrashLoopBackOff",           "ErrImagePull",      "ImagePullBackOff",
        "InvalidImageName",           "RunContainerError", "CreateContainerError",
        "CreateContainerConfigError", "ContainerMissing",
    };
    for (size_t i = 0; i < ARRAY_LEN(failing); i++) {
        if (strcmp(reason, failing[i]) == 0) {
            return true;
        }
    }
    return false;
}

static char *sentence(const char *name, const char *reason, const char *message)
{
    return xasprintf("%s: %s%s%.*s", name, reason, message[0] == '\0' ? "" : ": ", TROUBLE_MAX,
                     message);
}

static void read_pod_trouble(const json_t *object, struct pod_object *pod)
{
    size_t i;
    const json_t *status;
    json_array_foreach(jpeek_arr(object, "status.containerStatuses"), i, status)
    {
        const char *name = jpeek_cstr(status, "name");
        const char *reason = jpeek_cstr(status, "state.waiting.reason");
        if (!is_failing_reason(reason)) {
            continue;
        }
        const char *last = jpeek_cstr(status, "lastState.terminated.message");
        pod->failing = true;
        pod->trouble = sentence(
            name, reason, last[0] != '\0' ? last : jpeek_cstr(status, "state.waiting.message"));
        return;
    }
    const json_t *scheduled = find_condition(object, "PodScheduled");
    if (condition_is(scheduled, "False")) {
        pod->trouble = sentence("no place for a replica", jpeek_cstr(scheduled, "reason"),
                                jpeek_cstr(scheduled, "message"));
    }
}

int pod_object_project(void *arg, const json_t *object, void *value, struct error *err)
{
    struct pod_object *pod = value;
    const char *revision = revision_label(object);
    if (revision[0] == '\0') {
        return 1;
    }
    pod->revision = xstrdup(revision);
    pod->address = pod_scrape_address(object, *(const enum pod_address *)arg);
    pod->created_wall_ns = peek_time(object, "metadata.creationTimestamp");
    pod->terminating = jget(object, "metadata.deletionTimestamp") != NULL;
    pod->ready = !pod->terminating && condition_is(find_condition(object, "Ready"), "True");
    if (!pod->ready && !pod->terminating) {
        read_pod_trouble(object, pod);
    }
    return 0;
}

void pod_object_release(void *arg, void *value)
{
    struct pod_object *pod = value;
    free(pod->revision);
    free(pod->address);
    free(pod->trouble);
}

/* --- config-autoscaler --------------------------------------------------------------------- */

int config_object_project(void *arg, const json_t *object, void *value, struct error *err)
{
    struct config_object *config = value;
    config->valid =
        autoscaler_config_from_json(jpeek_obj(object, "data"), &config->config, &config->err) == 0;
    return 0;
}
