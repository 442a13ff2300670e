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

#define CONFIGURATIONS_READY "ConfigurationsReady"
#define ROUTES_READY         "RoutesReady"
#define HTTP2_LIMITED        "HTTP2Limited" /* ours: what a port named h2c does not get yet */

static const char *const annotations_of_service_only[] = {ANNOTATION_LAST_APPLIED,
                                                          ANNOTATION_ROLLOUT_DURATION, NULL};
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

static json_t *build_configuration(const json_t *service)
{
    json_t *labels = meta_copy(jget(service, "metadata.labels"), NULL);
    json_t *annotations =
        meta_copy(jget(service, "metadata.annotations"), annotations_of_service_only);
    meta_set(labels, LABEL_SERVICE_UID, meta_uid(service));
    meta_set(annotations, ANNOTATION_ROUTES, meta_name(service));
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

static json_t *build_route(const json_t *service)
{
    json_t *labels = meta_copy(jget(service, "metadata.labels"), NULL);
    json_t *annotations = meta_copy(jget(service, "metadata.annotations"), annotations_not_copied);
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

/* The Route is ready but still shows an older revision as the latest. */
static bool traffic_lags(const json_t *configuration, const json_t *route)
{
    struct slice latest = jpeek_str(configuration, "status.latestReadyRevisionName");
    size_t i;
    const json_t *target;
    json_array_foreach(jpeek_arr(route, "status.traffic"), i, target)
    {
        if (jpeek_bool(target, "latestRevision") &&
            !slice_eq(jpeek_str(target, "revisionName"), latest)) {
            return true;
        }
    }
    return false;
}

static void copy_field(json_t *status, const char *key, const json_t *from)
{
    json_t *value = json_object_get(json_object_get(from, "status"), key);
    if (value != NULL) {
        json_object_set(status, key, value);
    }
}

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
    copy_field(status, "latestCreatedRevisionName", configuration);
    copy_field(status, "latestReadyRevisionName", configuration);
    copy_field(status, "url", route);
    copy_field(status, "address", route);
    copy_field(status, "traffic", route);
    plan_status(plan, KIND_SERVICE, service, status);
}

static void refuse(const struct reconcile_env *env, const json_t *service, const char *message,
                   struct plan *plan)
{
    const struct condition conditions[2] = {
        {CONFIGURATIONS_READY, STATUS_FALSE, "InvalidSpec", message, false},
        {ROUTES_READY, STATUS_UNKNOWN, "", "", false},
    };
    CLEANUP(jfree)
    json_t *configuration =
        env->get(env->arg, KIND_CONFIGURATION, meta_ns(service), meta_name(service));
    CLEANUP(jfree)
    json_t *route = env->get(env->arg, KIND_ROUTE, meta_ns(service), meta_name(service));
    set_status(env, service, configuration, route, conditions, plan);
}

void reconcile_service(const struct reconcile_env *env, const json_t *service, struct plan *plan)
{
    struct error err = {0};
    char text[2][ERROR_MSG_MAX];
    const struct kind *kind = kind_row(KIND_SERVICE);
    if (meta_deleting(service)) {
        return;
    }
    CLEANUP(jfree) json_t *full = json_deep_copy(service);
    if (serving_default(&env->settings->defaults, kind, full, service, &err) < 0 ||
        serving_validate(&env->settings->defaults, kind, full, NULL, &err) < 0) {
        refuse(env, service, err.msg, plan);
        return;
    }
    const char *ns = meta_ns(service);
    const char *name = meta_name(service);
    CLEANUP(jfree) json_t *configuration = env->get(env->arg, KIND_CONFIGURATION, ns, name);
    CLEANUP(jfree) json_t *route = env->get(env->arg, KIND_ROUTE, ns, name);
    /* The template as the user wrote it: what defaults are today must not make a new revision. */
    CLEANUP(jfree) json_t *want_configuration = build_configuration(service);
    CLEANUP(jfree) json_t *want_route = build_route(full);
    struct condition conditions[2] = {
        sync_child(full, KIND_CONFIGURATION, configuration, want_configuration,
                   CONFIGURATIONS_READY, text[0], sizeof(text[0]), plan),
        sync_child(full, KIND_ROUTE, route, want_route, ROUTES_READY, text[1], sizeof(text[1]),
                   plan),
    };
    if (strcmp(conditions[0].status, STATUS_TRUE) == 0 &&
        strcmp(conditions[1].status, STATUS_TRUE) == 0 && traffic_lags(configuration, route)) {
        conditions[1] =
            (struct condition){ROUTES_READY, STATUS_UNKNOWN, "TrafficNotMigrated",
                               "Traffic is not yet migrated to the latest revision.", false};
    }
    set_status(env, service, configuration, route, conditions, plan);
}
