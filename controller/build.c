// SPDX-License-Identifier: Apache-2.0
/*
 * Revision to Deployment and PodAutoscaler, in Knative's shape. Happy path: the revision's pod spec
 * is copied without Knative's own fields, the serving container gets its environment, the
 * queue-proxy is put beside it. Failure mode: NULL from jansson when a text cannot be written, for
 * the whole.
 */
#include "controller/build.h"

#include "base/num.h"
#include "base/strbuf.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/names.h"
#include "controller/meta.h"

enum {
    PROBE_TEXT_MAX = 16 << 10,
};

int64_t build_initial_scale(const struct settings *settings, const json_t *revision)
{
    const char *text =
        meta_annotation_of(revision, ANNOTATION_INITIAL_SCALE, ANNOTATION_INITIAL_SCALE_OLD);
    int64_t scale = settings->autoscaler.initial_scale;
    if (text[0] != '\0' && num_parse_i64(slice_str(text), 0, INT32_MAX, &scale, NULL) < 0) {
        scale = settings->autoscaler.initial_scale;
    }
    return scale == 0 && !settings->autoscaler.allow_zero_initial_scale ? 1 : scale;
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
static json_t *serving_container(const json_t *spec)
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
    int64_t port = jpeek_i64(serving_container(spec), "ports[0].containerPort");
    return port == 0 ? DEFAULT_USER_PORT : port;
}

bool build_speaks_h2c(const json_t *revision)
{
    const json_t *container = serving_container(jpeek_obj(revision, "spec"));
    return slice_eq_str(jpeek_str(container, "ports[0].name"), "h2c");
}

static void env_text(json_t *env, const char *name, const char *value)
{
    json_array_append_new(env, json_pack("{s:s,s:s}", "name", name, "value", value));
}

static void env_int(json_t *env, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%lld", (long long)value);
    env_text(env, name, text);
}

static void env_field(json_t *env, const char *name, const char *path)
{
    json_array_append_new(env, json_pack("{s:s,s:{s:{s:s}}}", "name", name, "valueFrom", "fieldRef",
                                         "fieldPath", path));
}

static void serving_environment(const json_t *revision, json_t *container)
{
    json_t *env = json_object_get(container, "env");
    if (!json_is_array(env)) {
        json_object_set_new(container, "env", json_array());
        env = json_object_get(container, "env");
    }
    env_int(env, "PORT", build_user_port(revision));
    env_text(env, "K_REVISION", meta_name(revision));
    env_text(env, "K_CONFIGURATION", meta_label(revision, LABEL_CONFIGURATION));
    env_text(env, "K_SERVICE", meta_label(revision, LABEL_SERVICE));
}

/* Probes without a port mean the function's own. */
static void fill_probe_port(json_t *container, const char *probe_name, int64_t port)
{
    static const char *const handlers[] = {"httpGet", "tcpSocket"};
    json_t *probe = json_object_get(container, probe_name);
    for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
        json_t *handler = json_object_get(probe, handlers[i]);
        if (json_is_object(handler) && jpeek_i64(handler, "port") == 0) {
            json_object_set_new(handler, "port", json_integer(port));
        }
    }
}

static void complete_serving_container(const json_t *revision, json_t *container)
{
    int64_t port = build_user_port(revision);
    serving_environment(revision, container);
    json_object_set_new(container, "ports",
                        json_pack("[{s:s,s:I,s:s}]", "name", "user-port", "containerPort",
                                  (json_int_t)port, "protocol", "TCP"));
    json_object_del(container,
                    "readinessProbe"); /* the queue-proxy asks, and answers the kubelet */
    fill_probe_port(container, "livenessProbe", port);
    fill_probe_port(container, "startupProbe", port);
    json_object_set_new(container, "lifecycle",
                        json_pack("{s:{s:{s:s,s:i}}}", "preStop", "httpGet", "path",
                                  "/wait-for-drain", "port", QUEUE_PORT_ADMIN));
}

/* --- the queue-proxy beside it
 * --------------------------------------------------------------------------- */

/* The probe as the queue-proxy is to run it, as JSON text. */
static void probe_text(const json_t *revision, struct strbuf *out)
{
    json_t *holder = json_deep_copy(serving_container(jpeek_obj(revision, "spec")));
    if (json_object_get(holder, "readinessProbe") == NULL) {
        json_object_set_new(
            holder, "readinessProbe",
            json_pack("{s:{s:i},s:i}", "tcpSocket", "port", 0, "successThreshold", 1));
    }
    fill_probe_port(holder, "readinessProbe", build_user_port(revision));
    json_t *probe = json_object_get(holder, "readinessProbe");
    for (size_t i = 0; i < 2; i++) {
        json_t *handler = json_object_get(probe, i == 0 ? "httpGet" : "tcpSocket");
        if (json_is_object(handler) && json_object_get(handler, "host") == NULL) {
            json_object_set_new(handler, "host", json_string("127.0.0.1"));
        }
    }
    if (jdump(probe, out, NULL) < 0) {
        strbuf_clear(out);
    }
    json_decref(holder);
}

static json_t *queue_environment(const struct settings *settings, const json_t *revision)
{
    const json_t *spec = jpeek_obj(revision, "spec");
    const char *duplex = meta_annotation(revision, "features.knative.dev/http-full-duplex");
    CLEANUP(strbuf_fini) struct strbuf probe;
    strbuf_init(&probe, PROBE_TEXT_MAX);
    probe_text(revision, &probe);
    json_t *env = json_array();
    env_text(env, "SERVING_NAMESPACE", meta_ns(revision));
    env_text(env, "SERVING_SERVICE", meta_label(revision, LABEL_SERVICE));
    env_text(env, "SERVING_CONFIGURATION", meta_label(revision, LABEL_CONFIGURATION));
    env_text(env, "SERVING_REVISION", meta_name(revision));
    env_int(env, "QUEUE_SERVING_PORT",
            build_speaks_h2c(revision) ? QUEUE_PORT_H2C : QUEUE_PORT_HTTP1);
    env_int(env, "QUEUE_SERVING_TLS_PORT", 8112);
    env_int(env, "CONTAINER_CONCURRENCY", jpeek_i64(spec, "containerConcurrency"));
    env_int(env, "REVISION_TIMEOUT_SECONDS", jpeek_i64(spec, "timeoutSeconds"));
    env_int(env, "REVISION_RESPONSE_START_TIMEOUT_SECONDS",
            jpeek_i64(spec, "responseStartTimeoutSeconds"));
    env_int(env, "REVISION_IDLE_TIMEOUT_SECONDS", jpeek_i64(spec, "idleTimeoutSeconds"));
    env_field(env, "SERVING_POD", "metadata.name");
    env_field(env, "SERVING_POD_IP", "status.podIP");
    env_field(env, "HOST_IP", "status.hostIP");
    env_int(env, "USER_PORT", build_user_port(revision));
    env_text(env, "SERVING_READINESS_PROBE", probe.ptr);
    env_text(env, "ENABLE_HTTP_FULL_DUPLEX", strcasecmp(duplex, "Enabled") == 0 ? "true" : "false");
    if (strcasecmp(meta_annotation(revision, "lull.dev/knative-timeouts"), "true") == 0) {
        env_text(env, "LULL_KNATIVE_TIMEOUTS", "true");
    }
    if (settings->observability.request_log) {
        env_text(env, "SERVING_ENABLE_REQUEST_LOG", "true");
        env_text(env, "SERVING_REQUEST_LOG_TEMPLATE", settings->observability.request_log_template);
        env_text(env, "SERVING_ENABLE_PROBE_REQUEST_LOG",
                 settings->observability.request_log_probes ? "true" : "false");
    }
    env_text(env, "ENABLE_HTTP2_AUTO_DETECTION", "false");
    env_text(env, "ENABLE_MULTI_CONTAINER_PROBES", "false");
    return env;
}

static json_t *queue_ports(const json_t *revision)
{
    bool h2c = build_speaks_h2c(revision);
    return json_pack("[{s:s,s:i,s:s},{s:s,s:i,s:s},{s:s,s:i,s:s}]", "name", "http-queueadm",
                     "containerPort", QUEUE_PORT_ADMIN, "protocol", "TCP", "name",
                     "http-autometric", "containerPort", QUEUE_PORT_METRICS, "protocol", "TCP",
                     "name", h2c ? "queue-port-h2c" : "queue-port", "containerPort",
                     h2c ? QUEUE_PORT_H2C : QUEUE_PORT_HTTP1, "protocol", "TCP");
}

/* The kubelet asks often and waits: the answer comes when the function listens. */
static json_t *queue_probe(const json_t *revision)
{
    return json_pack("{s:{s:i,s:[{s:s,s:s}]},s:i,s:i,s:i,s:i}", "httpGet", "port",
                     build_speaks_h2c(revision) ? QUEUE_PORT_H2C : QUEUE_PORT_HTTP1, "httpHeaders",
                     "name", "K-Network-Probe", "value", "queue", "periodSeconds", 1,
                     "timeoutSeconds", 10, "successThreshold", 1, "failureThreshold", 3);
}

/* config-deployment: queue-sidecar-… */
static json_t *queue_resources(const struct settings *settings)
{
    static const char *const names[SIDECAR_RESOURCES] = {"cpu", "memory", "ephemeral-storage"};
    json_t *requests = json_object();
    json_t *limits = json_object();
    for (size_t i = 0; i < SIDECAR_RESOURCES; i++) {
        meta_set(requests, names[i], settings->deployment.requests[i]);
        meta_set(limits, names[i], settings->deployment.limits[i]);
    }
    json_t *out = json_pack("{s:o}", "requests", requests);
    if (json_object_size(limits) > 0) {
        json_object_set(out, "limits", limits);
    }
    json_decref(limits);
    return out;
}

static json_t *queue_container(const struct settings *settings, const json_t *revision)
{
    json_t *security = json_pack("{s:b,s:b,s:b,s:{s:[s]},s:{s:s}}", "allowPrivilegeEscalation", 0,
                                 "readOnlyRootFilesystem", 1, "runAsNonRoot", 1, "capabilities",
                                 "drop", "ALL", "seccompProfile", "type", "RuntimeDefault");
    return json_pack("{s:s,s:s,s:o,s:o,s:o,s:o,s:o}", "name", QUEUE_CONTAINER_NAME, "image",
                     settings->sidecar_image, "env", queue_environment(settings, revision), "ports",
                     queue_ports(revision), "readinessProbe", queue_probe(revision),
                     "securityContext", security, "resources", queue_resources(settings));
}

/* --- the Deployment
 * ---------------------------------------------------------------------------------------- */

static json_t *pod_spec(const struct settings *settings, const json_t *revision)
{
    static const char *const not_pod[] = {"containerConcurrency", "timeoutSeconds",
                                          "responseStartTimeoutSeconds", "idleTimeoutSeconds"};
    const json_t *of = jpeek_obj(revision, "spec");
    json_t *spec = json_deep_copy(of);
    for (size_t i = 0; i < ARRAY_LEN(not_pod); i++) {
        json_object_del(spec, not_pod[i]);
    }
    json_t *serving = serving_container(spec);
    json_t *containers = json_object_get(spec, "containers");
    size_t i;
    json_t *container;
    if (serving != NULL) {
        complete_serving_container(revision, serving);
    }
    json_array_foreach(containers, i, container)
    {
        if (json_object_get(container, "terminationMessagePolicy") == NULL) {
            json_object_set_new(container, "terminationMessagePolicy",
                                json_string("FallbackToLogsOnError"));
        }
    }
    json_array_append_new(containers, queue_container(settings, revision));
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

static json_t *annotations_of(const json_t *revision)
{
    static const char *const without[] = {ANNOTATION_LAST_APPLIED, ANNOTATION_ROUTES,
                                          ANNOTATION_ROUTING_STATE_MODIFIED, NULL};
    return meta_copy(jget(revision, "metadata.annotations"), without);
}

static json_t *metadata_of(const json_t *revision, const char *name)
{
    return json_pack("{s:s,s:s,s:o,s:o,s:o}", "name", name, "namespace", meta_ns(revision),
                     "labels", labels_of(revision), "annotations", annotations_of(revision),
                     "ownerReferences", meta_owner_refs(KIND_REVISION, revision));
}

json_t *build_deployment(const struct settings *settings, const json_t *revision)
{
    char name[NAME_BUF];
    name_deployment(name, meta_name(revision));
    json_t *template =
        json_pack("{s:{s:o,s:o},s:o}", "metadata", "labels", labels_of(revision), "annotations",
                  annotations_of(revision), "spec", pod_spec(settings, revision));
    return json_pack(
        "{s:s,s:s,s:o,s:{s:I,s:I,s:i,s:{s:s,s:{s:i}},s:{s:{s:s}},s:o}}", "apiVersion", "apps/v1",
        "kind", "Deployment", "metadata", metadata_of(revision, name), "spec", "replicas",
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
                     "PodAutoscaler", "metadata", metadata_of(revision, meta_name(revision)),
                     "spec", spec);
}
