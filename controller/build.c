// SPDX-License-Identifier: Apache-2.0
/*
 * Revision to Deployment and PodAutoscaler, in Knative's shape. Happy path: the revision's pod spec
 * is copied without Knative's own fields, the serving container gets its environment, the
 * queue-proxy is put beside it. Failure mode: NULL from jansson when a text cannot be written, for
 * the whole.
 */
#include "controller/build.h"

#include "base/num.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/names.h"
#include "controller/hpa.h"
#include "controller/meta.h"
#include "controller/sidecar.h"

int64_t build_initial_scale(const struct settings *settings, const json_t *revision)
{
    const char *text =
        meta_annotation_of(revision, ANNOTATION_INITIAL_SCALE, ANNOTATION_INITIAL_SCALE_OLD);
    int64_t scale = settings->autoscaler.initial_scale;
    if (text[0] != '\0' && num_parse_i64(slice_str(text), 0, INT32_MAX, &scale, NULL) < 0) {
        scale = settings->autoscaler.initial_scale;
    }
    /* nobody would bring class hpa up from none */
    bool zero = settings->autoscaler.allow_zero_initial_scale && !hpa_class(settings, revision);
    return scale == 0 && !zero ? 1 : scale;
}

int64_t build_progress_deadline_s(const struct settings *settings, const json_t *revision)
{
    const char *text = meta_annotation_of(revision, ANNOTATION_PROGRESS_DEADLINE,
                                          "serving.knative.dev/progressDeadline");
    int64_t ns = 0;
    if (text[0] == '\0' || num_parse_duration_ns(slice_str(text), &ns, NULL) < 0 ||
        ns < 1000000000) {
        return settings->deployment.progress_deadline_s;
    }
    return ns / 1000000000;
}

const char *build_reachability(const json_t *revision)
{
    const char *state = meta_label(revision, LABEL_ROUTING_STATE);
    return strcmp(state, "active") == 0    ? "Reachable"
           : strcmp(state, "reserve") == 0 ? "Unreachable"
                                           : "";
}

/* --- the container that serves
 * ------------------------------------------------------------------------ */

/* The only container, or the one that names a port. */
json_t *build_serving_container(const json_t *spec)
{
    json_t *containers = jpeek_arr(spec, "containers");
    size_t i;
    json_t *container;
    json_array_foreach(containers, i, container)
    {
        if (json_array_size(json_object_get(container, "ports")) > 0) {
            return container;
        }
    }
    return json_array_get(containers, 0);
}

int64_t build_user_port(const json_t *revision)
{
    const json_t *spec = jpeek_obj(revision, "spec");
    int64_t port = jpeek_i64(build_serving_container(spec), "ports[0].containerPort");
    return port == 0 ? DEFAULT_USER_PORT : port;
}

bool build_speaks_h2c(const json_t *revision)
{
    const json_t *container = build_serving_container(jpeek_obj(revision, "spec"));
    return slice_eq_str(jpeek_str(container, "ports[0].name"), "h2c");
}

static void env_text(json_t *env, const char *name, const char *value)
{
    json_array_append_new(env, json_pack("{s:s,s:s}", "name", name, "value", value));
}

static void knative_environment(const json_t *revision, json_t *container, bool serving)
{
    json_t *env = json_object_get(container, "env");
    if (!json_is_array(env)) {
        json_object_set_new(container, "env", json_array());
        env = json_object_get(container, "env");
    }
    if (serving) {
        char port[24];
        snprintf(port, sizeof(port), "%lld", (long long)build_user_port(revision));
        env_text(env, "PORT", port);
    }
    env_text(env, "K_REVISION", meta_name(revision));
    env_text(env, "K_CONFIGURATION", meta_label(revision, LABEL_CONFIGURATION));
    env_text(env, "K_SERVICE", meta_label(revision, LABEL_SERVICE));
}

void build_probe_port(json_t *container, const char *probe_name, int64_t port, bool keep_number)
{
    static const char *const handlers[] = {"httpGet", "tcpSocket"};
    json_t *probe = json_object_get(container, probe_name);
    for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
        json_t *handler = json_object_get(probe, handlers[i]);
        if (json_is_object(handler) && (!keep_number || jpeek_i64(handler, "port") == 0)) {
            json_object_set_new(handler, "port", json_integer(port));
        }
    }
}

/* Every container of the user's: it ends after the queue-proxy has let go of it. */
static void complete_container(const json_t *revision, json_t *container, bool serving)
{
    knative_environment(revision, container, serving);
    json_object_set_new(container, "lifecycle",
                        json_pack("{s:{s:{s:s,s:i}}}", "preStop", "httpGet", "path",
                                  "/wait-for-drain", "port", QUEUE_PORT_ADMIN));
    if (json_object_get(container, "terminationMessagePolicy") == NULL) {
        json_object_set_new(container, "terminationMessagePolicy",
                            json_string("FallbackToLogsOnError"));
    }
}

static void complete_serving_container(const struct settings *settings, const json_t *revision,
                                       json_t *container)
{
    int64_t port = build_user_port(revision);
    const struct features *features = &settings->defaults.features;
    json_object_set_new(container, "ports",
                        json_pack("[{s:s,s:I,s:s}]", "name", "user-port", "containerPort",
                                  (json_int_t)port, "protocol", "TCP"));
    if (jget(container, "readinessProbe.exec") == NULL) {
        /* the queue-proxy asks, and answers the kubelet */
        json_object_del(container, "readinessProbe");
    }
    build_probe_port(container, "livenessProbe", port,
                     feature_enabled(features, FEATURE_MULTI_CONTAINER_PROBING));
    build_probe_port(container, "startupProbe", port, true);
}

/* --- the Deployment
 * ---------------------------------------------------------------------------------------- */

static void add_sidecar(const struct settings *settings, const json_t *revision, json_t *spec)
{
    CLEANUP(jfree) json_t *volumes = sidecar_volumes(settings, revision);
    json_array_append_new(json_object_get(spec, "containers"),
                          sidecar_container(settings, revision, volumes));
    if (json_array_size(volumes) > 0) {
        json_t *all = json_object_get(spec, "volumes");
        if (!json_is_array(all)) {
            json_object_set_new(spec, "volumes", json_array());
            all = json_object_get(spec, "volumes");
        }
        json_array_extend(all, volumes);
    }
}

/* What config-deployment says of where Pods run, unless the revision says it. One machine has no
 * other place. */
static void add_placement(const struct settings *settings, const json_t *revision, json_t *spec)
{
    if (settings->sidecar_image[0] == '\0') {
        return;
    }
    if (settings->deployment.spread_over_nodes && json_object_get(spec, "affinity") == NULL) {
        json_object_set_new(spec, "affinity",
                            json_pack("{s:{s:[{s:i,s:{s:s,s:{s:{s:s}}}}]}}", "podAntiAffinity",
                                      "preferredDuringSchedulingIgnoredDuringExecution", "weight",
                                      100, "podAffinityTerm", "topologyKey",
                                      "kubernetes.io/hostname", "labelSelector", "matchLabels",
                                      LABEL_REVISION, meta_name(revision)));
    }
    if (json_object_get(spec, "runtimeClassName") == NULL) {
        char class[DEPLOYMENT_CLASS_BUF];
        deployment_config_class(&settings->deployment, jget(revision, "metadata.labels"), class);
        meta_set(spec, "runtimeClassName", class);
    }
}

static json_t *pod_spec(const struct settings *settings, const json_t *revision)
{
    static const char *const not_pod[] = {"containerConcurrency", "timeoutSeconds",
                                          "responseStartTimeoutSeconds", "idleTimeoutSeconds"};
    const json_t *of = jpeek_obj(revision, "spec");
    json_t *spec = json_deep_copy(of);
    for (size_t i = 0; i < ARRAY_LEN(not_pod); i++) {
        json_object_del(spec, not_pod[i]);
    }
    json_t *serving = build_serving_container(spec);
    json_t *containers = json_object_get(spec, "containers");
    size_t i;
    json_t *container;
    json_array_foreach(containers, i, container)
    {
        complete_container(revision, container, container == serving);
    }
    if (serving != NULL) {
        complete_serving_container(settings, revision, serving);
    }
    add_sidecar(settings, revision, spec);
    add_placement(settings, revision, spec);
    if (json_object_get(spec, "enableServiceLinks") == NULL) {
        /* As the defaults say for a new Service; nobody fills it in before us on a cluster. */
        json_object_set_new(spec, "enableServiceLinks", json_false());
    }
    json_object_set_new(spec, "terminationGracePeriodSeconds",
                        json_integer(jpeek_i64(of, "timeoutSeconds")));
    return spec;
}

static json_t *labels_of(const json_t *revision)
{
    static const char *const without[] = {LABEL_ROUTING_STATE, NULL};
    json_t *labels = meta_copy(jget(revision, "metadata.labels"), without);
    meta_set(labels, LABEL_REVISION, meta_name(revision));
    meta_set(labels, LABEL_REVISION_UID, meta_uid(revision));
    if (json_object_get(labels, "app") == NULL) {
        meta_set(labels, "app", meta_name(revision));
    }
    return labels;
}

/* scaling: those of the PodAutoscaler too, which nothing else has to know. */
static json_t *annotations_of(const json_t *revision, bool scaling)
{
    static const char *const without[] = {
        ANNOTATION_LAST_APPLIED,          ANNOTATION_ROUTES, ANNOTATION_ROUTING_STATE_MODIFIED,
        "serving.knative.dev/lastPinned", ANNOTATION_NO_GC,  NULL};
    json_t *annotations = meta_copy(jget(revision, "metadata.annotations"), without);
    const char *key;
    void *next;
    json_t *value;
    json_object_foreach_safe(annotations, next, key, value)
    {
        if (!scaling && strncmp(key, AUTOSCALING_PREFIX, strlen(AUTOSCALING_PREFIX)) == 0) {
            json_object_del(annotations, key);
        }
    }
    return annotations;
}

static json_t *pod_annotations(const json_t *revision)
{
    json_t *annotations = annotations_of(revision, false);
    const json_t *serving = build_serving_container(jpeek_obj(revision, "spec"));
    meta_set(annotations, "kubectl.kubernetes.io/default-container", jpeek_cstr(serving, "name"));
    return annotations;
}

static json_t *metadata_of(const json_t *revision, const char *name, bool scaling)
{
    return json_pack("{s:s,s:s,s:o,s:o,s:o}", "name", name, "namespace", meta_ns(revision),
                     "labels", labels_of(revision), "annotations",
                     annotations_of(revision, scaling), "ownerReferences",
                     meta_owner_refs(KIND_REVISION, revision));
}

json_t *build_deployment(const struct settings *settings, const json_t *revision)
{
    char name[NAME_BUF];
    name_deployment(name, meta_name(revision));
    json_t *template =
        json_pack("{s:{s:o,s:o},s:o}", "metadata", "labels", labels_of(revision), "annotations",
                  pod_annotations(revision), "spec", pod_spec(settings, revision));
    return json_pack(
        "{s:s,s:s,s:o,s:{s:I,s:I,s:i,s:{s:s,s:{s:i}},s:{s:{s:s}},s:o}}", "apiVersion", "apps/v1",
        "kind", "Deployment", "metadata", metadata_of(revision, name, false), "spec", "replicas",
        (json_int_t)build_initial_scale(settings, revision), "progressDeadlineSeconds",
        (json_int_t)build_progress_deadline_s(settings, revision), "revisionHistoryLimit", 0,
        "strategy", "type", "RollingUpdate", "rollingUpdate", "maxUnavailable", 0, "selector",
        "matchLabels", LABEL_REVISION_UID, meta_uid(revision), "template", template);
}

json_t *build_pod_autoscaler(const json_t *revision)
{
    char deployment[NAME_BUF];
    name_deployment(deployment, meta_name(revision));
    json_t *spec = json_pack("{s:I,s:{s:s,s:s,s:s},s:s,s:s}", "containerConcurrency",
                             (json_int_t)jpeek_i64(revision, "spec.containerConcurrency"),
                             "scaleTargetRef", "apiVersion", "apps/v1", "kind", "Deployment",
                             "name", deployment, "reachability", build_reachability(revision),
                             "protocolType", build_speaks_h2c(revision) ? "h2c" : "http1");
    return json_pack("{s:s,s:s,s:o,s:o}", "apiVersion", AUTOSCALING_API_VERSION, "kind",
                     "PodAutoscaler", "metadata", metadata_of(revision, meta_name(revision), true),
                     "spec", spec);
}
