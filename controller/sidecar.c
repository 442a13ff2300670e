// SPDX-License-Identifier: Apache-2.0
/*
 * The container queue-proxy: its environment tells it what the revision asks for, its probe is the
 * one that the kubelet sees, its resources come from config-deployment and, for one revision, from
 * annotations (a share of the function's own, or amounts). Failure mode: an amount that is none
 * counts as absent; admission has refused it already.
 */
#include "controller/sidecar.h"

#include <strings.h>

#include "base/num.h"
#include "base/strbuf.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/announce.h"
#include "serving/names.h"
#include "serving/quantity.h"
#include "controller/build.h"
#include "controller/meta.h"

enum {
    PROBE_TEXT_MAX = 16 << 10,
    TOKEN_SECONDS = 3600,
};

#define QUEUE_PREFIX   "queue.sidecar.serving.knative.dev/"
#define POD_INFO       "pod-info"
#define TOKEN_VOLUME   "knative-token-volume"
#define NANO_PER_MILLI 1000000

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

/* The probe as the queue-proxy is to run it, as JSON text. Returns the port to be probed where that
 * is not the function's, else 0. */
static int64_t probe_text(const json_t *revision, struct strbuf *out)
{
    int64_t other = 0;
    json_t *holder = json_deep_copy(build_serving_container(jpeek_obj(revision, "spec")));
    if (json_object_get(holder, "readinessProbe") == NULL) {
        json_object_set_new(
            holder, "readinessProbe",
            json_pack("{s:{s:i},s:i}", "tcpSocket", "port", 0, "successThreshold", 1));
    }
    build_probe_port(holder, "readinessProbe", build_user_port(revision), true);
    json_t *probe = json_object_get(holder, "readinessProbe");
    if (json_object_get(probe, "exec") != NULL) {
        /* The kubelet runs it in the function's container; here it is enough that it listens. */
        json_object_del(probe, "exec");
        json_object_set_new(probe, "tcpSocket",
                            json_pack("{s:I}", "port", (json_int_t)build_user_port(revision)));
    }
    for (size_t i = 0; i < 2; i++) {
        json_t *handler = json_object_get(probe, i == 0 ? "httpGet" : "tcpSocket");
        if (json_is_object(handler)) {
            json_object_set_new(handler, "host", json_string("127.0.0.1"));
            other = jpeek_i64(handler, "port");
        }
    }
    other = json_object_get(probe, "grpc") != NULL ? jpeek_i64(probe, "grpc.port") : other;
    if (jdump(probe, out, NULL) < 0) {
        strbuf_clear(out);
    }
    json_decref(holder);
    return other == build_user_port(revision) ? 0 : other;
}

/* What the replica needs to announce itself: fixed here, for as long as the Deployment lives. */
static void add_announcement(const struct settings *settings, const json_t *revision, json_t *env)
{
    char key[SHA256_HEX + 1];
    if (settings->announce[0] == '\0') {
        return;
    }
    announce_key(strbuf_slice(&settings->secret), slice_str(meta_uid(revision)), key);
    env_text(env, "LULL_ANNOUNCE", settings->announce);
    env_text(env, "LULL_ANNOUNCE_KEY", key);
    env_text(env, "LULL_REVISION_UID", meta_uid(revision));
    env_field(env, "LULL_POD_UID", "metadata.uid");
}

static json_t *queue_environment(const struct settings *settings, const json_t *revision)
{
    const json_t *spec = jpeek_obj(revision, "spec");
    const char *duplex = meta_annotation(revision, "features.knative.dev/http-full-duplex");
    CLEANUP(strbuf_fini) struct strbuf probe;
    strbuf_init(&probe, PROBE_TEXT_MAX);
    int64_t probe_port = probe_text(revision, &probe);
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
    if (probe_port > 0) {
        env_int(env, "LULL_PROBE_PORT", probe_port);
    }
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
    add_announcement(settings, revision, env);
    env_text(env, "ENABLE_HTTP2_AUTO_DETECTION", "false");
    env_text(env, "ENABLE_MULTI_CONTAINER_PROBES", "false");
    return env;
}

static json_t *queue_ports(const json_t *revision)
{
    bool h2c = build_speaks_h2c(revision);
    return json_pack("[{s:s,s:i,s:s},{s:s,s:i,s:s},{s:s,s:i,s:s},{s:s,s:i,s:s}]", "name",
                     "http-queueadm", "containerPort", QUEUE_PORT_ADMIN, "protocol", "TCP", "name",
                     "http-autometric", "containerPort", QUEUE_PORT_METRICS, "protocol", "TCP",
                     "name", "http-usermetric", "containerPort", QUEUE_PORT_USER_METRICS,
                     "protocol", "TCP", "name", h2c ? "queue-port-h2c" : "queue-port",
                     "containerPort", h2c ? QUEUE_PORT_H2C : QUEUE_PORT_HTTP1, "protocol", "TCP");
}

/* The kubelet asks often and waits: the answer comes when the function listens. */
static json_t *queue_probe(const json_t *revision)
{
    return json_pack("{s:{s:i,s:[{s:s,s:s}]},s:i,s:i,s:i,s:i}", "httpGet", "port",
                     build_speaks_h2c(revision) ? QUEUE_PORT_H2C : QUEUE_PORT_HTTP1, "httpHeaders",
                     "name", "K-Network-Probe", "value", "queue", "periodSeconds", 1,
                     "timeoutSeconds", 10, "successThreshold", 1, "failureThreshold", 3);
}

/* --- resources ----------------------------------------------------------------------------------
 */

static const char *const resource_names[SIDECAR_RESOURCES] = {"cpu", "memory", "ephemeral-storage"};

/* queueproxy.resource-defaults: what is given where config-deployment says nothing. */
static const char *const default_amounts[SIDECAR_RESOURCES][2] = {
    {"25m", "1"}, {"400Mi", "800Mi"}, {"", ""}};

/* What a share of the function's resources is held between: request, limit. */
static const struct {
    const char *least;
    const char *most;
} share_bounds[2][2] = {
    {{"25m", "100m"}, {"40m", "500m"}},
    {{"50Mi", "200Mi"}, {"200Mi", "500Mi"}},
};

/* The deprecated annotation resource-percentage as a factor; 0: none. */
static double share_of(const json_t *revision)
{
    const char *text = meta_annotation_of(revision, QUEUE_PREFIX "resource-percentage",
                                          QUEUE_PREFIX "resourcePercentage");
    double percent = 0;
    return num_parse_double(slice_str(text), 0.1, 100, &percent, NULL) < 0 ? 0 : percent / 100;
}

/* That share of what the function has (whole thousandths), within the bounds; false: it has none.
 */
static bool share_amount(const char *of_function, double share, size_t resource, bool limit,
                         char out[QUANTITY_TEXT])
{
    struct quantity q;
    struct quantity least;
    struct quantity most;
    const char *least_text = share_bounds[resource][limit].least;
    const char *most_text = share_bounds[resource][limit].most;
    if (!quantity_parse(slice_str(of_function), &q) || q.nano <= 0 ||
        !quantity_parse(slice_str(least_text), &least) ||
        !quantity_parse(slice_str(most_text), &most)) {
        return false;
    }
    double milli = (double)(q.nano / NANO_PER_MILLI) * share;
    __int128 nano = milli > (double)(most.nano / NANO_PER_MILLI)
                        ? most.nano + 1
                        : (__int128)(int64_t)milli * NANO_PER_MILLI;
    if (nano < least.nano || nano > most.nano) {
        snprintf(out, QUANTITY_TEXT, "%s", nano < least.nano ? least_text : most_text);
        return true;
    }
    q = (struct quantity){.nano = nano, .format = QUANTITY_BINARY};
    (void)quantity_print(&q, out);
    return true;
}

/* One amount: config-deployment, over it a share of the function's, over it the annotation. */
static void resource_amount(const struct settings *settings, const json_t *revision,
                            size_t resource, bool limit, char out[QUANTITY_TEXT])
{
    static const char *const old_names[SIDECAR_RESOURCES] = {"cpu", "memory", "ephemeralStorage"};
    const char *name = resource_names[resource];
    const char *said =
        limit ? settings->deployment.limits[resource] : settings->deployment.requests[resource];
    const struct features *features = &settings->defaults.features;
    if (said[0] == '\0' && feature_enabled(features, FEATURE_QUEUE_RESOURCE_DEFAULTS)) {
        said = default_amounts[resource][limit];
    }
    snprintf(out, QUANTITY_TEXT, "%s", said);
    double share = share_of(revision);
    if (share > 0 && resource < ARRAY_LEN(share_bounds)) {
        const json_t *of = jpeek_obj(build_serving_container(jpeek_obj(revision, "spec")),
                                     limit ? "resources.limits" : "resources.requests");
        (void)share_amount(jpeek_cstr(of, name), share, resource, limit, out);
    }
    char key[96];
    char old[96];
    snprintf(key, sizeof(key), QUEUE_PREFIX "%s-resource-%s", name, limit ? "limit" : "request");
    snprintf(old, sizeof(old), QUEUE_PREFIX "%sResource%s", old_names[resource],
             limit ? "Limit" : "Request");
    const char *own = meta_annotation_of(revision, key, old);
    struct quantity q;
    if (quantity_parse(slice_str(own), &q)) {
        (void)quantity_canonical(slice_str(own), out);
    }
}

static json_t *queue_resources(const struct settings *settings, const json_t *revision)
{
    static const char *const lists[] = {"requests", "limits"};
    json_t *out = json_object();
    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        json_t *list = json_object();
        for (size_t i = 0; i < SIDECAR_RESOURCES; i++) {
            char amount[QUANTITY_TEXT];
            resource_amount(settings, revision, i, l == 1, amount);
            meta_set(list, resource_names[i], amount);
        }
        if (l == 0 || json_object_size(list) > 0) {
            json_object_set(out, lists[l], list);
        }
        json_decref(list);
    }
    return out;
}

/* --- volumes
 * ---------------------------------------------------------------------------------------------
 */

/* queueproxy.mount-podinfo: on for all, or for the revisions that ask for it. */
static bool wants_pod_info(const struct settings *settings, const json_t *revision)
{
    const char *own = meta_annotation(revision, "features.knative.dev/queueproxy-podinfo");
    enum feature_value value = feature_get(&settings->defaults.features, FEATURE_QUEUE_POD_INFO);
    return value == FEATURE_ENABLED ||
           (value == FEATURE_ALLOWED && strcasecmp(own, "Enabled") == 0);
}

/* One token for each audience of config-deployment's queue-sidecar-token-audiences. */
static json_t *token_sources(const struct settings *settings)
{
    json_t *sources = json_array();
    struct slice rest = slice_str(settings->deployment.token_audiences);
    struct slice audience;
    while (slice_split(&rest, ',', &audience)) {
        audience = slice_trim(audience);
        if (audience.len > 0) {
            json_array_append_new(sources, json_pack("{s:{s:i,s:s%,s:s%}}", "serviceAccountToken",
                                                     "expirationSeconds", TOKEN_SECONDS, "path",
                                                     audience.ptr, audience.len, "audience",
                                                     audience.ptr, audience.len));
        }
    }
    return sources;
}

json_t *sidecar_volumes(const struct settings *settings, const json_t *revision)
{
    json_t *volumes = json_array();
    json_t *sources = token_sources(settings);
    if (wants_pod_info(settings, revision)) {
        json_array_append_new(volumes, json_pack("{s:s,s:{s:[{s:s,s:{s:s}}]}}", "name", POD_INFO,
                                                 "downwardAPI", "items", "path", "annotations",
                                                 "fieldRef", "fieldPath", "metadata.annotations"));
    }
    if (json_array_size(sources) > 0) {
        json_array_append_new(volumes, json_pack("{s:s,s:{s:O}}", "name", TOKEN_VOLUME, "projected",
                                                 "sources", sources));
    }
    json_decref(sources);
    return volumes;
}

static json_t *mounts_of(const json_t *volumes)
{
    json_t *mounts = json_array();
    size_t i;
    json_t *volume;
    json_array_foreach(volumes, i, volume)
    {
        const char *name = jpeek_cstr(volume, "name");
        bool info = strcmp(name, POD_INFO) == 0;
        json_array_append_new(mounts, json_pack("{s:s,s:s,s:b}", "name", name, "mountPath",
                                                info ? "/etc/podinfo" : "/var/run/secrets/tokens",
                                                "readOnly", 1));
    }
    return mounts;
}

json_t *sidecar_container(const struct settings *settings, const json_t *revision,
                          const json_t *volumes)
{
    json_t *security = json_pack("{s:b,s:b,s:b,s:{s:[s]},s:{s:s}}", "allowPrivilegeEscalation", 0,
                                 "readOnlyRootFilesystem", 1, "runAsNonRoot", 1, "capabilities",
                                 "drop", "ALL", "seccompProfile", "type", "RuntimeDefault");
    json_t *container =
        json_pack("{s:s,s:s,s:o,s:o,s:o,s:o,s:o}", "name", QUEUE_CONTAINER_NAME, "image",
                  settings->sidecar_image, "env", queue_environment(settings, revision), "ports",
                  queue_ports(revision), "readinessProbe", queue_probe(revision), "securityContext",
                  security, "resources", queue_resources(settings, revision));
    if (json_array_size(volumes) > 0) {
        json_object_set_new(container, "volumeMounts", mounts_of(volumes));
    }
    return container;
}
