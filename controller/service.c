// SPDX-License-Identifier: Apache-2.0
/*
 * Service → one Configuration and one Route of the same name; their conditions come back.
 * Happy path: both are made, then kept in line with the Service's spec; status copies what they
 * report. Failure modes: a spec that breaks a rule and objects of the name that belong to someone
 * else are told in the conditions, and nothing is written but that.
 */
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/build.h"
#include "controller/conditions.h"
#include "controller/meta.h"
#include "controller/reconcile.h"
#include "controller/routing.h"

#define CONFIGURATIONS_READY "ConfigurationsReady"
#define ROUTES_READY         "RoutesReady"
#define HTTP2_LIMITED        "HTTP2Limited" /* ours: what a port named h2c does not get yet */

static const char *const annotations_of_service_only[] = {
    ANNOTATION_LAST_APPLIED, ANNOTATION_ROLLOUT_DURATION, ANNOTATION_ROLLOUT_DURATION_OLD, NULL};
static const char *const annotations_not_copied[] = {ANNOTATION_LAST_APPLIED, NULL};

static json_t *child(const json_t *service, enum kind_id kind, json_t *labels, json_t *annotations,
                     json_t *spec)
{
    const struct kind *row = kind_row(kind);
    meta_set(labels, LABEL_SERVICE, meta_name(service));
    return json_pack("{s:s,s:s,s:{s:s,s:s,s:o,s:o,s:o},s:o}", "apiVersion", kind_api_version(row),
                     "kind", row->kind, "metadata", "name", meta_name(service), "namespace",
                     meta_ns(service), "labels", labels, "annotations", annotations,
                     "ownerReferences", meta_owner_refs(KIND_SERVICE, service), "spec", spec);
}

/* actual: as it is, NULL when it is not there; Routes of others may use it too. */
static json_t *build_configuration(const json_t *service, const json_t *actual)
{
    CLEANUP(strbuf_fini) struct strbuf routes;
    json_t *labels = meta_copy(jget(service, "metadata.labels"), NULL);
    json_t *annotations =
        meta_copy(jget(service, "metadata.annotations"), annotations_of_service_only);
    strbuf_init(&routes, ROUTES_TEXT_MAX);
    routing_with(meta_annotation(actual, ANNOTATION_ROUTES), meta_name(service), &routes);
    meta_set(labels, LABEL_SERVICE_UID, meta_uid(service));
    meta_set(annotations, ANNOTATION_ROUTES, routes.ptr);
    return child(service, KIND_CONFIGURATION, labels, annotations,
                 json_pack("{s:O}", "template", jget(service, "spec.template")));
}

/* Targets that follow the latest revision name the Configuration. */
static json_t *build_traffic(const json_t *service)
{
    json_t *traffic = json_array();
    size_t i;
    const json_t *target;
    json_array_foreach(jpeek_arr(service, "spec.traffic"), i, target)
    {
        json_t *copy = json_deep_copy(target);
        if (jpeek_str(copy, "revisionName").len == 0) {
            json_object_set_new(copy, "configurationName", json_string(meta_name(service)));
        }
        json_array_append_new(traffic, copy);
    }
    return traffic;
}

/* actual: as above; a rollout under way is the Route's own affair. */
static json_t *build_route(const json_t *service, const json_t *actual)
{
    json_t *labels = meta_copy(jget(service, "metadata.labels"), NULL);
    json_t *annotations = meta_copy(jget(service, "metadata.annotations"), annotations_not_copied);
    meta_set(annotations, ANNOTATION_ROLLOUT, meta_annotation(actual, ANNOTATION_ROLLOUT));
    return child(service, KIND_ROUTE, labels, annotations,
                 json_pack("{s:o}", "traffic", build_traffic(service)));
}

/*
 * Makes or corrects the child. Returns the condition it stands for; texts live as long as actual,
 * or are written to text.
 */
static struct condition sync_child(const json_t *service, enum kind_id kind, const json_t *actual,
                                   json_t *wanted, const char *type, char *text, size_t size,
                                   struct plan *plan)
{
    const char *kind_name = kind_row(kind)->kind;
    struct condition c = {.type = type, .status = STATUS_UNKNOWN, .reason = "", .message = ""};
    if (actual == NULL) {
        plan_create(plan, kind, meta_name(service), json_incref(wanted));
        plan_event(plan, false, "Created", "Created %s \"%s\"", kind_name, meta_name(service));
        return c;
    }
    if (!meta_controlled_by(actual, service)) {
        snprintf(text, size, "There is an existing %s \"%s\" that we do not own.", kind_name,
                 meta_name(service));
        return (struct condition){type, STATUS_FALSE, "NotOwned", text, false};
    }
    bool changed = plan_sync(plan, kind, actual, wanted);
    if (changed || !condition_observed(actual)) {
        snprintf(text, size, "The %s is still working to reflect the latest desired specification.",
                 kind_name);
        return (struct condition){type, STATUS_UNKNOWN, "OutOfDate", text, false};
    }
    struct condition ready = condition_get(actual, "Ready");
    ready.type = type;
    ready.status = ready.status[0] == '\0' ? STATUS_UNKNOWN : ready.status;
    return ready;
}

/* The revision that a target of the Route's spec means. */
static struct slice wanted_revision(const json_t *configuration, const json_t *target)
{
    bool latest = slice_eq_str(jpeek_str(target, "configurationName"), meta_name(configuration));
    return latest ? jpeek_str(configuration, "status.latestReadyRevisionName")
                  : jpeek_str(target, "revisionName");
}

static int64_t percent_in(const json_t *list, struct slice tag, struct slice revision,
                          const json_t *configuration)
{
    int64_t sum = 0;
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        struct slice name = configuration == NULL ? jpeek_str(item, "revisionName")
                                                  : wanted_revision(configuration, item);
        if (slice_eq(name, revision) && slice_eq(jpeek_str(item, "tag"), tag)) {
            sum += jpeek_i64(item, "percent");
        }
    }
    return sum;
}

/* The Route is ready, but what it routes is not yet what the spec asks for. */
static bool traffic_lags(const json_t *configuration, const json_t *route)
{
    const json_t *wanted = jpeek_arr(route, "spec.traffic");
    const json_t *routed = jpeek_arr(route, "status.traffic");
    size_t i;
    const json_t *item;
    json_array_foreach(wanted, i, item)
    {
        struct slice tag = jpeek_str(item, "tag");
        struct slice revision = wanted_revision(configuration, item);
        bool there = false;
        size_t k;
        const json_t *other;
        json_array_foreach(routed, k, other)
        {
            there |= slice_eq(jpeek_str(other, "revisionName"), revision) &&
                     slice_eq(jpeek_str(other, "tag"), tag);
        }
        if (!there || percent_in(wanted, tag, revision, configuration) !=
                          percent_in(routed, tag, revision, NULL)) {
            return true;
        }
    }
    return json_array_size(routed) > json_array_size(wanted);
}

static void copy_field(json_t *status, const char *key, const json_t *from)
{
    json_t *value = json_object_get(json_object_get(from, "status"), key);
    if (value != NULL) {
        json_object_set(status, key, value);
    }
}

/* What the children say counts only while they are the Service's own. */
static void set_status(const struct reconcile_env *env, const json_t *service,
                       const json_t *configuration, const json_t *route,
                       const struct condition conditions[2], struct plan *plan)
{
    struct condition all[3] = {conditions[0],
                               conditions[1],
                               {HTTP2_LIMITED, STATUS_TRUE, "PriorKnowledge",
                                "The function's port is named h2c: every request reaches it as "
                                "HTTP/2. Clients may speak HTTP/2 (gRPC) themselves only to an "
                                "activator that runs with --h2c; connections are not upgraded "
                                "(WebSocket): such a request gets 501.",
                                true}};
    size_t n = build_speaks_h2c(jget(service, "spec.template")) ? 3 : 2;
    json_t *status = json_pack("{s:I,s:o}", "observedGeneration",
                               (json_int_t)jpeek_i64(service, "metadata.generation"), "conditions",
                               conditions_build(all, n, service, env->now));
    const json_t *before = service;
    const json_t *from = meta_controlled_by(configuration, service) ? configuration : before;
    copy_field(status, "latestCreatedRevisionName", from);
    copy_field(status, "latestReadyRevisionName", from);
    from = meta_controlled_by(route, service) ? route : before;
    copy_field(status, "url", from);
    copy_field(status, "address", from);
    copy_field(status, "traffic", from);
    plan_status(plan, KIND_SERVICE, service, status);
}

enum { TAKEN_AGAIN_MS = 5000 };

/* The two objects of the Service's name. */
struct children {
    json_t *configuration; /* NULL: not there */
    json_t *route;
    struct condition conditions[2];
    char text[2][ERROR_MSG_MAX];
};

/* A revision name of the user's choice that another revision has: its traffic stays where it is. */
static bool name_is_taken(const struct reconcile_env *env, const json_t *configuration)
{
    const char *name = jpeek_cstr(configuration, "spec.template.metadata.name");
    CLEANUP(jfree)
    json_t *revision =
        name[0] == '\0' ? NULL : env->get(env->arg, KIND_REVISION, meta_ns(configuration), name);
    return revision != NULL && !configuration_owns(env, configuration, revision);
}

static void sync_route(const struct reconcile_env *env, const json_t *service,
                       const json_t *wanted_configuration, struct children *c, struct plan *plan)
{
    const char *chosen = jpeek_cstr(wanted_configuration, "spec.template.metadata.name");
    struct condition *ready = &c->conditions[1];
    if (strcmp(c->conditions[0].reason, "NotOwned") == 0) {
        return; /* nothing to route to */
    }
    if (chosen[0] != '\0' && strcmp(c->conditions[0].reason, "OutOfDate") == 0) {
        /* Whether the name is free is known only when the Configuration has looked. */
        *ready = condition_get(service, ROUTES_READY);
        ready->status = ready->status[0] == '\0' ? STATUS_UNKNOWN : ready->status;
        return;
    }
    if (c->configuration != NULL && name_is_taken(env, c->configuration)) {
        snprintf(c->text[1], sizeof(c->text[1]),
                 "The revision name \"%s\" is taken by a conflicting Revision, so traffic will "
                 "not be migrated",
                 chosen);
        *ready =
            (struct condition){ROUTES_READY, STATUS_FALSE, "RevisionNameTaken", c->text[1], false};
        plan_again(plan, TAKEN_AGAIN_MS);
        return;
    }
    CLEANUP(jfree) json_t *wanted = build_route(service, c->route);
    *ready = sync_child(service, KIND_ROUTE, c->route, wanted, ROUTES_READY, c->text[1],
                        sizeof(c->text[1]), plan);
    if (strcmp(ready->status, STATUS_TRUE) == 0 && traffic_lags(c->configuration, c->route)) {
        *ready = (struct condition){ROUTES_READY, STATUS_UNKNOWN, "TrafficNotMigrated",
                                    "Traffic is not yet migrated to the latest revision.", false};
    }
}

void reconcile_service(const struct reconcile_env *env, const json_t *service, struct plan *plan)
{
    struct error err = {0};
    const struct kind *kind = kind_row(KIND_SERVICE);
    const char *ns = meta_ns(service);
    const char *name = meta_name(service);
    if (meta_deleting(service)) {
        return;
    }
    CLEANUP(jfree) json_t *configuration = env->get(env->arg, KIND_CONFIGURATION, ns, name);
    CLEANUP(jfree) json_t *route = env->get(env->arg, KIND_ROUTE, ns, name);
    struct children c = {
        .configuration = configuration,
        .route = route,
        .conditions = {{CONFIGURATIONS_READY, STATUS_UNKNOWN, "", "", false},
                       {ROUTES_READY, STATUS_UNKNOWN, "", "", false}},
    };
    CLEANUP(jfree) json_t *full = json_deep_copy(service);
    if (serving_default(&env->settings->defaults, kind, full, service, &err) < 0 ||
        serving_validate(&env->settings->defaults, kind, full, NULL, &err) < 0) {
        c.conditions[0].status = STATUS_FALSE;
        c.conditions[0].reason = "InvalidSpec";
        c.conditions[0].message = err.msg;
    } else {
        /* The template as the user wrote it: what defaults are today makes no new revision. */
        CLEANUP(jfree) json_t *wanted = build_configuration(service, configuration);
        c.conditions[0] = sync_child(full, KIND_CONFIGURATION, configuration, wanted,
                                     CONFIGURATIONS_READY, c.text[0], sizeof(c.text[0]), plan);
        sync_route(env, full, wanted, &c, plan);
    }
    set_status(env, service, configuration, route, c.conditions, plan);
}
