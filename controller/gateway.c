// SPDX-License-Identifier: Apache-2.0
/*
 * Happy path: the object is there and its annotation says that it was made of the present wishes.
 * What the gateway's own defaults and admission add is left alone, so only that annotation is
 * compared. Failure modes: an object of the name without our label, or of another owner, is not
 * touched; hosts that do not fit into one plan follow with the next.
 */
#include "controller/gateway.h"

#include <inttypes.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/names.h"
#include "controller/certificates.h"
#include "controller/conditions.h"
#include "controller/meta.h"

#define SPEC_ANNOTATION "lull.dev/gateway-spec"
#define SERVICE_PUBLIC  "lull-activator"
#define OPS_LEFT        2 /* of a plan, for the owner's own */

enum kind_id gateway_kind(const struct settings *settings)
{
    const char *kind = settings->network.gateway_kind;
    return strcmp(kind, "Ingress") == 0     ? KIND_INGRESS
           : strcmp(kind, "HTTPRoute") == 0 ? KIND_HTTPROUTE
                                            : KIND_COUNT;
}

/* --- what it says --------------------------------------------------------------------------- */

static json_t *ingress_spec(const struct reconcile_env *env, const char *host)
{
    const struct network_config *n = &env->settings->network;
    json_t *backend =
        json_pack("{s:{s:s,s:{s:s}}}", "service", "name", SERVICE_PUBLIC, "port", "name", "http");
    json_t *spec = json_pack("{s:[{s:s,s:{s:[{s:s,s:s,s:o}]}}]}", "rules", "host", host, "http",
                             "paths", "path", "/", "pathType", "Prefix", "backend", backend);
    char secret[OBJECT_BUF];
    if (n->gateway_class[0] != '\0') {
        json_object_set_new(spec, "ingressClassName", json_string(n->gateway_class));
    }
    if (certificate_listed_for(env, host, secret)) {
        json_object_set_new(spec, "tls",
                            json_pack("[{s:[s],s:s}]", "hosts", host, "secretName", secret));
    }
    return spec;
}

static json_t *httproute_spec(const struct reconcile_env *env, const char *host)
{
    const struct network_config *n = &env->settings->network;
    json_t *spec =
        json_pack("{s:[s],s:[{s:[{s:s,s:I}]}]}", "hostnames", host, "rules", "backendRefs", "name",
                  SERVICE_PUBLIC, "port", (json_int_t)n->gateway_port);
    if (n->gateway_parents != NULL) {
        json_object_set(spec, "parentRefs", n->gateway_parents);
    }
    return spec;
}

/* A sum of the wishes. */
static void sum_of(const json_t *wanted, char out[static 17])
{
    CLEANUP(cleanup_free) char *text = json_dumps(wanted, JSON_SORT_KEYS | JSON_COMPACT);
    uint64_t hash = UINT64_C(14695981039346656037);
    for (const char *c = text; c != NULL && *c != '\0'; c++) {
        hash = (hash ^ (unsigned char)*c) * UINT64_C(1099511628211);
    }
    (void)snprintf(out, 17, "%016" PRIx64, hash);
}

static json_t *build(const struct reconcile_env *env, enum kind_id kind, const json_t *owner,
                     const char *route, const char *host)
{
    char sum[17];
    bool is_route = route[0] != '\0';
    const json_t *more = env->settings->network.gateway_annotations;
    json_t *annotations = more == NULL ? json_object() : json_copy((json_t *)(uintptr_t)more);
    json_t *labels = json_pack(
        "{s:s,s:s}", LABEL_GATEWAY, is_route ? GATEWAY_ROUTE : GATEWAY_DOMAIN,
        is_route ? LABEL_ROUTE_NAMESPACE : LABEL_DOMAIN_MAPPING_NAMESPACE, meta_ns(owner));
    if (is_route) {
        json_object_set_new(labels, LABEL_ROUTE, json_string(route));
    } else {
        json_object_set_new(labels, LABEL_DOMAIN_MAPPING_UID, json_string(meta_uid(owner)));
    }
    json_t *object =
        json_pack("{s:s,s:s,s:{s:s,s:o,s:o},s:o}", "apiVersion", kind_api_version(kind_row(kind)),
                  "kind", kind_row(kind)->kind, "metadata", "name", host, "labels", labels,
                  "annotations", annotations, "spec",
                  kind == KIND_INGRESS ? ingress_spec(env, host) : httproute_spec(env, host));
    sum_of(object, sum);
    json_object_set_new(annotations, SPEC_ANNOTATION, json_string(sum));
    return object;
}

/* --- writing -------------------------------------------------------------------------------- */

static bool same_owner(const json_t *a, const json_t *b)
{
    static const char *const keys[] = {LABEL_GATEWAY, LABEL_ROUTE, LABEL_ROUTE_NAMESPACE,
                                       LABEL_DOMAIN_MAPPING_NAMESPACE};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (strcmp(meta_label(a, keys[i]), meta_label(b, keys[i])) != 0) {
            return false;
        }
    }
    return true;
}

void gateway_sync(const struct reconcile_env *env, const json_t *owner, const char *route,
                  const char *host, struct plan *plan)
{
    enum kind_id kind = gateway_kind(env->settings);
    if (kind == KIND_COUNT || kind != env->gateway || !name_is_dns1123_subdomain(host)) {
        return;
    }
    const char *ns = env->settings->system_namespace;
    CLEANUP(jfree) json_t *now = env->get(env->arg, kind, ns, host);
    CLEANUP(jfree) json_t *wanted = build(env, kind, owner, route, host);
    if (now != NULL &&
        (!same_owner(now, wanted) || strcmp(meta_annotation(now, SPEC_ANNOTATION),
                                            meta_annotation(wanted, SPEC_ANNOTATION)) == 0)) {
        return;
    }
    if (plan_room(plan) <= OPS_LEFT) {
        plan_again(plan, 1);
        return;
    }
    plan_in(plan, ns);
    if (now == NULL) {
        plan_create(plan, kind, host, json_incref(wanted));
    } else {
        plan_patch(plan, kind, host,
                   json_pack("{s:O,s:O}", "metadata", json_object_get(wanted, "metadata"), "spec",
                             json_object_get(wanted, "spec")));
    }
    plan_in(plan, NULL);
}

/* "https://a.example.com:8443" → "a.example.com"; empty for what is only inside. */
static struct slice public_host(const struct reconcile_env *env, struct slice url)
{
    char inside[sizeof(env->settings->network.cluster_domain) + 8];
    ptrdiff_t scheme = slice_find(url, '/');
    struct slice host = scheme < 0 ? SLICE_EMPTY : slice_sub(url, (size_t)scheme + 2, url.len);
    ptrdiff_t end = slice_find(host, ':');
    host = end < 0 ? host : slice_sub(host, 0, (size_t)end);
    snprintf(inside, sizeof(inside), ".svc.%s", env->settings->network.cluster_domain);
    return slice_ends_with(host, slice_str(inside)) ? SLICE_EMPTY : host;
}

/* fn for each public host in a Route's status; false from it ends the walk. */
static void each_host(const struct reconcile_env *env, const json_t *status,
                      bool (*fn)(void *arg, const char *host), void *arg)
{
    char host[OBJECT_BUF];
    size_t i;
    const json_t *target;
    if (slice_copy(public_host(env, jpeek_str(status, "url")), host, sizeof(host)) &&
        host[0] != '\0' && !fn(arg, host)) {
        return;
    }
    json_array_foreach(jpeek_arr(status, "traffic"), i, target)
    {
        if (jpeek_str(target, "tag").len > 0 &&
            slice_copy(public_host(env, jpeek_str(target, "url")), host, sizeof(host)) &&
            host[0] != '\0' && !fn(arg, host)) {
            return;
        }
    }
}

struct sync_arg {
    const struct reconcile_env *env;
    const json_t *route;
    struct plan *plan;
};

static bool sync_host(void *arg, const char *host)
{
    const struct sync_arg *s = arg;
    gateway_sync(s->env, s->route, meta_name(s->route), host, s->plan);
    return true;
}

void gateway_sync_route(const struct reconcile_env *env, const json_t *route, const json_t *status,
                        struct plan *plan)
{
    struct sync_arg arg = {env, route, plan};
    if (gateway_kind(env->settings) != KIND_COUNT) {
        each_host(env, status, sync_host, &arg);
    }
}

/* --- the end of it -------------------------------------------------------------------------- */

struct find_arg {
    const char *host;
    bool found;
};

static bool find_host(void *arg, const char *host)
{
    struct find_arg *f = arg;
    f->found = strcmp(host, f->host) == 0;
    return !f->found;
}

static bool route_wants(const struct reconcile_env *env, const json_t *object)
{
    CLEANUP(jfree)
    json_t *route = env->get(env->arg, KIND_ROUTE, meta_label(object, LABEL_ROUTE_NAMESPACE),
                             meta_label(object, LABEL_ROUTE));
    struct find_arg f = {meta_name(object), false};
    if (route != NULL && !meta_deleting(route)) {
        each_host(env, jpeek_obj(route, "status"), find_host, &f);
    }
    return f.found;
}

static bool domain_wants(const struct reconcile_env *env, const json_t *object)
{
    CLEANUP(jfree)
    json_t *mapping =
        env->get(env->arg, KIND_DOMAINMAPPING, meta_label(object, LABEL_DOMAIN_MAPPING_NAMESPACE),
                 meta_name(object));
    return mapping != NULL && !meta_deleting(mapping) &&
           condition_is(mapping, "DomainClaimed", STATUS_TRUE) &&
           condition_is(mapping, "ReferenceResolved", STATUS_TRUE);
}

void reconcile_gateway(const struct reconcile_env *env, enum kind_id kind, const json_t *object,
                       struct plan *plan)
{
    const char *of = meta_label(object, LABEL_GATEWAY);
    if (of[0] == '\0' || meta_deleting(object)) {
        return;
    }
    bool wanted =
        kind == gateway_kind(env->settings) &&
        (strcmp(of, GATEWAY_ROUTE) == 0 ? route_wants(env, object) : domain_wants(env, object));
    if (!wanted) {
        plan_delete(plan, kind, meta_name(object), meta_uid(object));
    }
}
