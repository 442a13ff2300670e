// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: peek at the few fields that matter. A Route becomes one block: the spec, its targets, and
 * the text that their slices point to.
 *
 * Failure modes: none of its own; what is absent or of another type reads as empty.
 */
#include "activator/objects.h"

#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "serving/config_network.h"
#include "serving/names.h"

#define TARGETS_MAX ROUTE_TARGETS_MAX

/* Longer names cannot exist; who sends one all the same is not listened to. */
static bool names_fit(const json_t *object)
{
    return jpeek_str(object, "metadata.name").len < OBJECT_BUF &&
           jpeek_str(object, "metadata.namespace").len <= NAME_MAX_LEN;
}

/* "http://name.ns.localhost:8080/x" → "name.ns.localhost" */
static struct slice host_of_url(struct slice url)
{
    for (size_t i = 0; i + 2 < url.len; i++) {
        if (memcmp(url.ptr + i, "://", 3) == 0) {
            struct slice rest = slice_sub(url, i + 3, url.len);
            ptrdiff_t slash = slice_find(rest, '/');
            if (slash >= 0) {
                rest = slice_sub(rest, 0, (size_t)slash);
            }
            return route_host_without_port(rest);
        }
    }
    return SLICE_EMPTY;
}

/* "name.ns.svc.…", or "tag-name.ns.svc.…": a name of the Route inside the cluster. */
static bool is_inside(struct slice host, const json_t *object)
{
    struct slice ns = jpeek_str(object, "metadata.namespace");
    ptrdiff_t dot = slice_find(host, '.');
    struct slice rest = dot < 0 ? SLICE_EMPTY : slice_sub(host, (size_t)dot + 1, host.len);
    return rest.len > ns.len && slice_starts_with(rest, ns) &&
           slice_starts_with(slice_sub(rest, ns.len, rest.len), SLICE_LIT(".svc."));
}

/* Moves the bytes of *s into the block. */
static void keep(struct slice *s, char **at)
{
    if (s->len > 0) {
        memcpy(*at, s->ptr, s->len);
    }
    s->ptr = *at;
    *at += s->len;
}

int object_route(const json_t *object, struct route_object *out)
{
    struct route_target targets[TARGETS_MAX];
    if (!names_fit(object)) {
        return 1;
    }
    struct route_spec spec = {
        .ns = jpeek_str(object, "metadata.namespace"),
        .name = jpeek_str(object, "metadata.name"),
        .host = host_of_url(jpeek_str(object, "status.url")),
        .http_protocol = (unsigned char)http_protocol_of(object),
        .async_off =
            slice_eq_str(jpeek_str(object, "metadata.annotations.`" ANNOTATION_ASYNC "`"), "off"),
    };
    spec.cluster_local = is_inside(spec.host, object) ||
                         slice_eq_str(jpeek_str(object, "metadata.labels.`" LABEL_VISIBILITY "`"),
                                      VISIBILITY_CLUSTER_LOCAL);
    size_t text = spec.ns.len + spec.name.len + spec.host.len;
    size_t i;
    json_t *item;
    json_array_foreach(jpeek_arr(object, "status.traffic"), i, item)
    {
        struct slice revision = jpeek_str(item, "revisionName");
        int64_t percent = jpeek_i64(item, "percent");
        if (slice_empty(revision) || revision.len >= OBJECT_BUF || spec.count == TARGETS_MAX) {
            continue;
        }
        struct route_target *t = &targets[spec.count++];
        *t = (struct route_target){
            .revision = revision,
            .tag = jpeek_str(item, "tag"),
            .host = host_of_url(jpeek_str(item, "url")),
            .percent = percent < 0     ? 0
                       : percent > 100 ? 100
                                       : (uint32_t)percent,
        };
        t->cluster_local = is_inside(t->host, object);
        text += t->revision.len + t->tag.len + t->host.len;
    }
    char *block = xmalloc(sizeof(spec) + spec.count * sizeof(*targets) + text);
    struct route_target *kept = (struct route_target *)(void *)(block + sizeof(spec));
    char *at = (char *)(kept + spec.count);
    keep(&spec.ns, &at);
    keep(&spec.name, &at);
    keep(&spec.host, &at);
    for (i = 0; i < spec.count; i++) {
        keep(&targets[i].revision, &at);
        keep(&targets[i].tag, &at);
        keep(&targets[i].host, &at);
        kept[i] = targets[i];
    }
    spec.targets = kept;
    memcpy(block, &spec, sizeof(spec));
    out->spec = (struct route_spec *)(void *)block;
    return 0;
}

/* The condition of this type, or NULL. */
static json_t *condition(const json_t *object, const char *type)
{
    return jpeek_row(object, "status.conditions", "type", slice_str(type));
}

static bool condition_is(const json_t *cond, const char *status)
{
    return cond != NULL && slice_eq_str(jpeek_str(cond, "status"), status);
}

int object_revision(const json_t *object, struct revision_object *out)
{
    int64_t cc = jpeek_i64(object, "spec.containerConcurrency");
    int64_t timeout = jpeek_i64(object, "spec.timeoutSeconds");
    const json_t *ready = condition(object, "Ready");
    if (!names_fit(object)) {
        return 1;
    }
    out->concurrency = cc < 0 ? 0 : cc > INT32_MAX ? INT32_MAX : (uint32_t)cc;
    out->timeout_s = timeout < 0 ? 0 : timeout > INT32_MAX ? INT32_MAX : (uint32_t)timeout;
    if (condition_is(ready, "False")) {
        struct slice reason = jpeek_str(ready, "reason");
        out->reason = slice_empty(reason) ? xstrdup("NotReady") : slice_dup(reason);
        out->message = jpeek_dup(ready, "message");
    }
    return 0;
}

/* A start-up probe, an exec readiness probe and those of other containers than the function's are
 * the kubelet's to run (the function's own was given to the queue-proxy): no way around them. */
static bool may_probe(const json_t *object)
{
    size_t i;
    json_t *item;
    json_array_foreach(jpeek_arr(object, "spec.containers"), i, item)
    {
        bool ours = slice_eq_str(jpeek_str(item, "name"), QUEUE_CONTAINER_NAME);
        if (jget(item, "startupProbe") != NULL || (jget(item, "readinessProbe") != NULL && !ours)) {
            return false;
        }
    }
    return true;
}

/* Where its queue-proxy listens, and whether that is for HTTP/2: the function's port was named h2c.
 */
static uint16_t queue_port(const json_t *object, bool *h2c)
{
    size_t i;
    size_t k;
    json_t *container;
    json_t *port;
    json_array_foreach(jpeek_arr(object, "spec.containers"), i, container){json_array_foreach(
        jpeek_arr(container, "ports"), k, port){struct slice name = jpeek_str(port, "name");
    int64_t number = jpeek_i64(port, "containerPort");
    *h2c = slice_eq_str(name, "queue-port-h2c");
    if (*h2c || slice_eq_str(name, "queue-port")) {
        uint16_t usual = *h2c ? QUEUE_PORT_H2C : QUEUE_PORT_HTTP1;
        return number > 0 && number <= UINT16_MAX ? (uint16_t)number : usual;
    }
}
}
*h2c = false;
return QUEUE_PORT_HTTP1;
}

char *object_address(const char *ip, uint16_t port)
{
    bool six = strchr(ip, ':') != NULL;
    return xasprintf("%s%s%s:%u", six ? "[" : "", ip, six ? "]" : "", port);
}

static char *pod_address(const json_t *object, enum pod_address how, uint16_t port)
{
    if (how == POD_ADDRESS_UNIX) {
        return jpeek_dup(object, "metadata.annotations.`" ANNOTATION_QUEUE_ADDRESS "`");
    }
    struct slice ip = jpeek_str(object, "status.podIP");
    if (slice_empty(ip)) {
        return NULL;
    }
    CLEANUP(cleanup_free) char *text = slice_dup(ip);
    return object_address(text, port);
}

int object_pod(const json_t *object, enum pod_address how, struct pod_object *out)
{
    struct slice revision = jpeek_str(object, "metadata.labels.`" LABEL_REVISION "`");
    if (slice_empty(revision) || revision.len >= OBJECT_BUF || !names_fit(object)) {
        return 1;
    }
    struct slice phase = jpeek_str(object, "status.phase");
    const json_t *scheduled = condition(object, "PodScheduled");
    out->revision = slice_dup(revision);
    out->port = queue_port(object, &out->h2c);
    out->address = pod_address(object, how, out->port);
    out->running = slice_eq_str(phase, "Running");
    out->ready = condition_is(condition(object, "Ready"), "True");
    out->terminating = jget(object, "metadata.deletionTimestamp") != NULL;
    out->finished = slice_eq_str(phase, "Succeeded") || slice_eq_str(phase, "Failed");
    out->ours = how == POD_ADDRESS_IP && may_probe(object);
    if (condition_is(scheduled, "False") &&
        slice_eq_str(jpeek_str(scheduled, "reason"), "Unschedulable")) {
        struct slice message = jpeek_str(scheduled, "message");
        out->blocked = slice_empty(message) ? xstrdup("no node has room") : slice_dup(message);
    }
    return 0;
}

int object_domain(const json_t *object, struct domain_object *out)
{
    if (!names_fit(object)) {
        return 1;
    }
    bool claimed = condition_is(condition(object, "DomainClaimed"), "True");
    out->keep = claimed && jpeek_i64(object, "status.observedGeneration") !=
                               jpeek_i64(object, "metadata.generation");
    out->http_protocol = (unsigned char)http_protocol_of(object);
    if (claimed && condition_is(condition(object, "ReferenceResolved"), "True")) {
        out->route = jpeek_dup(object, "spec.ref.name");
    }
    return 0;
}

int object_features(const json_t *object, struct features_object *out)
{
    struct slice value = slice_trim(jpeek_str(object, "data.tag-header-based-routing"));
    out->tag_header = slice_eq_nocase(value, SLICE_LIT("enabled")); /* "Allowed" does not do */
    return 0;
}

int object_network(const json_t *object, struct network_object *out)
{
    struct network_config config;
    network_config_init(&config);
    bool bad = network_config_read(&config, jpeek_obj(object, "data"), NULL) < 0;
    *out = (struct network_object){.redirects = config.redirects,
                                   .external_tls_port = (uint16_t)config.external_tls_port};
    network_config_fini(&config);
    return bad ? 1 : 0;
}

void route_object_fini(struct route_object *o)
{
    free(o->spec);
    o->spec = NULL;
}

void revision_object_fini(struct revision_object *o)
{
    free(o->reason);
    free(o->message);
    o->reason = NULL;
    o->message = NULL;
}

void domain_object_fini(struct domain_object *o)
{
    free(o->route);
    o->route = NULL;
}

void pod_object_fini(struct pod_object *o)
{
    free(o->revision);
    free(o->address);
    free(o->blocked);
    *o = (struct pod_object){.revision = NULL};
}
