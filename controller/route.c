// SPDX-License-Identifier: Apache-2.0
/*
 * Route → status.traffic: every target with the revision it means now, and its URLs.
 * Happy path: all targets resolve, status shows them and AllTrafficAssigned is True; activators
 * watch that. Failure modes: a target that does not exist or is not ready is told in
 * AllTrafficAssigned, and the traffic stays where it was.
 */
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/conditions.h"
#include "controller/meta.h"
#include "controller/reconcile.h"

enum {
    URL_MAX = 1024,
    HTTP_PORT = 80,
};

struct resolved {
    const char *status; /* STATUS_TRUE: traffic is complete */
    const char *reason;
    char message[ERROR_MSG_MAX];
};

static void unresolved(struct resolved *r, const char *status, const char *reason, const char *fmt,
                       const char *name)
{
    /* The first one is told, but what is sure to fail goes before what may still come. */
    if (strcmp(r->status, STATUS_FALSE) == 0 ||
        (strcmp(r->status, STATUS_UNKNOWN) == 0 && strcmp(status, STATUS_UNKNOWN) == 0)) {
        return;
    }
    r->status = status;
    r->reason = reason;
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, ERROR_MSG_MAX);
    const char *mark = strchr(fmt, '$');
    strbuf_appendf(&text, "%.*s\"%s\"%s", (int)(mark - fmt), fmt, name, mark + 1);
    snprintf(r->message, sizeof(r->message), "%s", text.ptr);
}

/* A target that names its revision. */
static void resolve_revision(const struct reconcile_env *env, const char *ns, const char *name,
                             struct resolved *r)
{
    CLEANUP(jfree) json_t *revision = env->get(env->arg, KIND_REVISION, ns, name);
    if (revision == NULL) {
        unresolved(r, STATUS_FALSE, "RevisionMissing",
                   "Revision $ referenced in traffic not found.", name);
    } else if (condition_is(revision, "Ready", STATUS_FALSE)) {
        unresolved(r, STATUS_FALSE, "RevisionMissing", "Revision $ failed to become ready.", name);
    } else if (!object_is_ready(revision)) {
        unresolved(r, STATUS_UNKNOWN, "RevisionMissing", "Revision $ is not yet ready.", name);
    }
}

/*
 * A target that follows a Configuration: its newest ready revision, written to out. The
 * Configuration of a Service's own Route is made beside it and may only be on its way to our cache:
 * not a failure.
 */
static void resolve_latest(const struct reconcile_env *env, const json_t *route, const char *name,
                           char out[OBJECT_BUF], struct resolved *r)
{
    const char *ns = meta_ns(route);
    CLEANUP(jfree) json_t *configuration = env->get(env->arg, KIND_CONFIGURATION, ns, name);
    const char *latest = jpeek_cstr(configuration, "status.latestReadyRevisionName");
    slice_copy(slice_str(latest), out, OBJECT_BUF);
    if (configuration == NULL) {
        unresolved(r, meta_controller(route) != NULL ? STATUS_UNKNOWN : STATUS_FALSE,
                   "ConfigurationMissing", "Configuration $ referenced in traffic not found.",
                   name);
    } else if (latest[0] == '\0' && condition_is(configuration, "Ready", STATUS_FALSE)) {
        unresolved(r, STATUS_FALSE, "RevisionMissing",
                   "Configuration $ does not have any ready Revision.", name);
    } else if (latest[0] == '\0') {
        unresolved(r, STATUS_UNKNOWN, "RevisionMissing",
                   "Configuration $ is waiting for a Revision to become ready.", name);
    }
}

static json_t *resolve_target(const struct reconcile_env *env, const json_t *route,
                              const json_t *target, struct resolved *r)
{
    char name[OBJECT_BUF];
    const char *ns = meta_ns(route);
    const char *tag = jpeek_cstr(target, "tag");
    const char *configuration = jpeek_cstr(target, "configurationName");
    bool latest = configuration[0] != '\0';
    json_t *percent = json_object_get(target, "percent");
    if (latest) {
        resolve_latest(env, route, configuration, name, r);
    } else {
        slice_copy(jpeek_str(target, "revisionName"), name, sizeof(name));
        resolve_revision(env, ns, name, r);
    }
    json_t *out = json_pack("{s:s,s:b}", "revisionName", name, "latestRevision", latest);
    if (percent != NULL) {
        json_object_set(out, "percent", percent);
    }
    if (tag[0] != '\0') {
        CLEANUP(strbuf_fini) struct strbuf url;
        strbuf_init(&url, URL_MAX);
        traffic_url(&env->settings->network, ns, meta_name(route), tag, &url);
        json_object_set_new(out, "tag", json_string(tag));
        json_object_set_new(out, "url", json_string(url.ptr));
    }
    return out;
}

static json_t *resolve(const struct reconcile_env *env, const json_t *route, struct resolved *r)
{
    json_t *traffic = json_array();
    size_t i;
    const json_t *target;
    struct error err = {0};
    *r = (struct resolved){.status = STATUS_TRUE, .reason = ""};
    if (traffic_validate(jget(route, "spec.traffic"), "spec.traffic", &err) < 0) {
        r->status = STATUS_FALSE;
        r->reason = "InvalidSpec";
        snprintf(r->message, sizeof(r->message), "%s", err.msg);
        return traffic;
    }
    json_array_foreach(jpeek_arr(route, "spec.traffic"), i, target)
    {
        json_array_append_new(traffic, resolve_target(env, route, target, r));
    }
    return traffic;
}

/* The public URL, or for a cluster-local Route the one it has inside. */
static void set_addresses(const struct reconcile_env *env, const json_t *route, json_t *status)
{
    CLEANUP(strbuf_fini) struct strbuf url;
    CLEANUP(strbuf_fini) struct strbuf address;
    bool local = strcmp(meta_label(route, LABEL_VISIBILITY), VISIBILITY_CLUSTER_LOCAL) == 0;
    strbuf_init(&url, URL_MAX);
    strbuf_init(&address, URL_MAX);
    traffic_address(&env->settings->network, meta_ns(route), meta_name(route), &address);
    traffic_url(&env->settings->network, meta_ns(route), meta_name(route), NULL, &url);
    json_object_set_new(status, "url", json_string(local ? address.ptr : url.ptr));
    json_object_set_new(status, "address", json_pack("{s:s}", "url", address.ptr));
}

/* False: there is a Service of that name that is not ours. */
static bool sync_placeholder(const struct reconcile_env *env, const json_t *route,
                             struct plan *plan)
{
    if (env->settings->network.address_template[0] != '\0') {
        return true; /* one machine: no DNS asks for it */
    }
    const char *name = meta_name(route);
    CLEANUP(jfree) json_t *actual = env->get(env->arg, KIND_CORE_SERVICE, meta_ns(route), name);
    if (actual != NULL && !meta_controlled_by(actual, route)) {
        return false;
    }
    json_t *labels = meta_copy(jget(route, "metadata.labels"), NULL);
    meta_set(labels, LABEL_ROUTE, name);
    CLEANUP(jfree)
    json_t *wanted = json_pack(
        "{s:s,s:s,s:{s:s,s:s,s:o,s:o},s:{s:s,s:s,s:s,s:[{s:s,s:s,s:i,s:i}]}}", "apiVersion", "v1",
        "kind", "Service", "metadata", "name", name, "namespace", meta_ns(route), "labels", labels,
        "ownerReferences", meta_owner_refs(KIND_ROUTE, route), "spec", "type", "ExternalName",
        "externalName", env->settings->local_gateway, "sessionAffinity", "None", "ports", "name",
        "http", "protocol", "TCP", "port", HTTP_PORT, "targetPort", HTTP_PORT);
    if (actual == NULL) {
        plan_create(plan, KIND_CORE_SERVICE, name, json_incref(wanted));
    } else if (!slice_eq_str(jpeek_str(actual, "spec.externalName"),
                             env->settings->local_gateway) ||
               !slice_eq_str(jpeek_str(actual, "spec.type"), "ExternalName")) {
        plan_patch(plan, KIND_CORE_SERVICE, name, json_pack("{s:O}", "spec", jget(wanted, "spec")));
    }
    return true;
}

void reconcile_route(const struct reconcile_env *env, const json_t *route, struct plan *plan)
{
    struct resolved r;
    char text[2 * ERROR_MSG_MAX];
    if (meta_deleting(route)) {
        return;
    }
    json_t *traffic = resolve(env, route, &r);
    bool complete = strcmp(r.status, STATUS_TRUE) == 0;
    json_t *before = jpeek_arr(route, "status.traffic");
    bool serving = complete || json_array_size(before) > 0;
    struct condition conditions[3] = {
        {"AllTrafficAssigned", r.status, r.reason, r.message, false},
        {"CertificateProvisioned", STATUS_TRUE, "TLSNotEnabled",
         "External-domain-tls is not enabled", false},
        {"IngressReady", serving ? STATUS_TRUE : STATUS_UNKNOWN, "", "", false},
    };
    if (!sync_placeholder(env, route, plan)) {
        snprintf(text, sizeof(text),
                 "There is an existing placeholder Service \"%s\" that we do not own.",
                 meta_name(route));
        conditions[2] = (struct condition){"IngressReady", STATUS_FALSE, "NotOwned", text, false};
    }
    json_t *status = json_pack("{s:I,s:o}", "observedGeneration",
                               (json_int_t)jpeek_i64(route, "metadata.generation"), "conditions",
                               conditions_build(conditions, 3, route, env->now));
    if (complete) {
        json_object_set(status, "traffic", traffic);
    } else if (before != NULL) {
        json_object_set(status, "traffic", before);
    }
    json_decref(traffic);
    set_addresses(env, route, status);
    plan_status(plan, KIND_ROUTE, route, status);
}
