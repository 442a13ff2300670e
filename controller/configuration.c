// SPDX-License-Identifier: Apache-2.0
/*
 * Configuration → one Revision per generation; the newest ready one is remembered.
 * Happy path: the generation's Revision is made, becomes ready, and is latestReady then.
 * Failure modes: a Revision that fails is told in Ready while latestReady stays where it was; a
 * name that another Configuration's Revision has taken is told as well.
 */
#include <stdlib.h>

#include "json/jedit.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/conditions.h"
#include "controller/meta.h"
#include "controller/reconcile.h"
#include "controller/routing.h"

#define CREATION_FAILED "Revision creation failed with message: "

enum { TAKEN_AGAIN_MS = 5000 }; /* the other revision may go without an event of ours */

static json_t *build_revision(const struct reconcile_env *env, const json_t *configuration,
                              const char *name)
{
    char generation[24];
    json_t *labels = meta_copy(jget(configuration, "spec.template.metadata.labels"), NULL);
    json_t *annotations =
        meta_copy(jget(configuration, "spec.template.metadata.annotations"), NULL);
    const char *modifier = meta_annotation(configuration, ANNOTATION_LAST_MODIFIER);
    const char *routes = meta_annotation(configuration, ANNOTATION_ROUTES);
    snprintf(generation, sizeof(generation), "%lld",
             (long long)jpeek_i64(configuration, "metadata.generation"));
    meta_set(labels, LABEL_CONFIGURATION, meta_name(configuration));
    meta_set(labels, LABEL_CONFIGURATION_UID, meta_uid(configuration));
    meta_set(labels, LABEL_CONFIGURATION_GENERATION, generation);
    meta_set(labels, LABEL_SERVICE, meta_label(configuration, LABEL_SERVICE));
    meta_set(labels, LABEL_SERVICE_UID, meta_label(configuration, LABEL_SERVICE_UID));
    meta_set(labels, LABEL_ROUTING_STATE, routes[0] == '\0' ? "pending" : "active");
    meta_set(annotations, ANNOTATION_ROUTES, routes);
    meta_set(annotations, ANNOTATION_CREATOR, modifier);
    meta_set(annotations, ANNOTATION_ROUTING_STATE_MODIFIED, env->now);
    json_t *revision =
        json_pack("{s:s,s:s,s:{s:s,s:s,s:o,s:o,s:o},s:o}", "apiVersion", SERVING_API_VERSION,
                  "kind", "Revision", "metadata", "name", name, "namespace", meta_ns(configuration),
                  "labels", labels, "annotations", annotations, "ownerReferences",
                  meta_owner_refs(KIND_CONFIGURATION, configuration), "spec",
                  json_deep_copy(jget(configuration, "spec.template.spec")));
    /* What the template leaves open is fixed now, for the revision's life. */
    if (revision != NULL && serving_default(&env->settings->defaults, kind_row(KIND_REVISION),
                                            revision, NULL, NULL) < 0) {
        json_decref(revision);
        revision = NULL;
    }
    return revision;
}

/* --- the latest ready one ----------------------------------------------------------------------
 */

static bool is_candidate(const json_t *revision, const json_t *configuration)
{
    return object_is_ready(revision) && meta_controlled_by(revision, configuration) &&
           !meta_deleting(revision);
}

/*
 * The newest ready revision: the one of this generation (under its own name first), then down to
 * the one that was the newest so far, which stays when nothing newer is ready. False: that one is
 * gone, and there is no other.
 */
static bool latest_ready(const struct reconcile_env *env, const json_t *configuration,
                         const json_t *revision, char out[OBJECT_BUF])
{
    enum { SCAN_MAX = 64 }; /* generations that failed in a row */
    const char *ns = meta_ns(configuration);
    const char *before = jpeek_cstr(configuration, "status.latestReadyRevisionName");
    slice_copy(slice_str(before), out, OBJECT_BUF);
    if (is_candidate(revision, configuration)) {
        slice_copy(slice_str(meta_name(revision)), out, OBJECT_BUF);
        return true;
    }
    CLEANUP(jfree)
    json_t *known = before[0] == '\0' ? NULL : env->get(env->arg, KIND_REVISION, ns, before);
    long long floor = strtoll(meta_label(known, LABEL_CONFIGURATION_GENERATION), NULL, 10);
    int64_t generation = jpeek_i64(configuration, "metadata.generation");
    for (int64_t g = generation - 1; g > floor && g > generation - SCAN_MAX; g--) {
        char name[NAME_BUF];
        name_revision(name, meta_name(configuration), g);
        CLEANUP(jfree) json_t *older = env->get(env->arg, KIND_REVISION, ns, name);
        if (is_candidate(older, configuration)) {
            slice_copy(slice_str(name), out, OBJECT_BUF);
            return true;
        }
    }
    return before[0] == '\0' || known != NULL;
}

/* --- the one of this generation ----------------------------------------------------------------
 */

/* A template that breaks a rule gets no revision. False: text says which. */
static bool template_is_valid(const struct reconcile_env *env, const json_t *configuration,
                              char *text, size_t size)
{
    struct error err = {0};
    const struct kind *kind = kind_row(KIND_CONFIGURATION);
    CLEANUP(jfree) json_t *full = json_deep_copy(configuration);
    int rc = serving_default(&env->settings->defaults, kind, full, NULL, &err);
    if (rc == 0) {
        rc = serving_validate(&env->settings->defaults, kind, full, NULL, &err);
    }
    if (rc < 0) {
        snprintf(text, size, "%s", err.msg);
    }
    return rc == 0;
}

/* Made from this very generation, or from one with the same spec (a name of the user's choice). */
static bool is_of_generation(const struct reconcile_env *env, const json_t *configuration,
                             const json_t *revision)
{
    long long of = strtoll(meta_label(revision, LABEL_CONFIGURATION_GENERATION), NULL, 10);
    if (of == jpeek_i64(configuration, "metadata.generation")) {
        return true;
    }
    CLEANUP(jfree) json_t *wanted = build_revision(env, configuration, meta_name(revision));
    return wanted != NULL && jequal(jget(wanted, "spec"), jget(revision, "spec"));
}

bool configuration_owns(const struct reconcile_env *env, const json_t *configuration,
                        const json_t *revision)
{
    return meta_controlled_by(revision, configuration) &&
           is_of_generation(env, configuration, revision);
}

/* --- conditions --------------------------------------------------------------------------------
 */

struct view {
    const json_t *configuration;
    const json_t *revision; /* of this generation; NULL: not there yet */
    const char *name;
    bool valid;   /* the template is */
    bool taken;   /* the name is another's */
    bool refused; /* the API did not take it when we tried last; status says why */
    bool exists;  /* the latest ready one, if there ever was one */
    char latest[OBJECT_BUF];
    char text[2 * ERROR_MSG_MAX];
};

static struct condition ready_of(struct view *v)
{
    struct condition c = {"Ready", STATUS_UNKNOWN, "", "", false};
    struct condition ready = condition_get(v->revision, "Ready");
    bool observed = condition_observed(v->revision);
    if (!v->valid) {
        return (struct condition){"Ready", STATUS_FALSE, "InvalidSpec", v->text, false};
    }
    if (v->taken) {
        snprintf(v->text, sizeof(v->text),
                 CREATION_FAILED "revisions.serving.knative.dev \"%s\" already exists.", v->name);
        return (struct condition){"Ready", STATUS_FALSE, "RevisionFailed", v->text, false};
    }
    if (v->refused) {
        return condition_get(v->configuration, "Ready");
    }
    if (observed && strcmp(ready.status, STATUS_FALSE) == 0) {
        snprintf(v->text, sizeof(v->text), "Revision \"%s\" failed with message: %s.", v->name,
                 ready.message);
        return (struct condition){"Ready", STATUS_FALSE, "RevisionFailed", v->text, false};
    }
    if (strcmp(v->latest, v->name) == 0 && v->revision != NULL) {
        c.status = STATUS_TRUE; /* also while it is Unknown: it was ready, and goes on */
    } else if (!v->exists && strcmp(v->latest, v->name) != 0) {
        snprintf(v->text, sizeof(v->text), "Revision \"%s\" was deleted.", v->latest);
        return (struct condition){"Ready", STATUS_FALSE, "RevisionDeleted", v->text, false};
    } else if (strcmp(ready.reason, "Deploying") != 0) {
        c.reason = ready.reason; /* what keeps it from coming up, when that is known */
        c.message = ready.message;
    }
    return c;
}

static void tell_changes(const struct view *v, const struct condition *ready, struct plan *plan)
{
    const char *before = jpeek_cstr(v->configuration, "status.latestReadyRevisionName");
    struct condition was = condition_get(v->configuration, "Ready");
    bool failed = strcmp(ready->reason, "RevisionFailed") == 0 && !v->taken && !v->refused;
    if (failed &&
        (strcmp(was.reason, ready->reason) != 0 || strcmp(was.message, ready->message) != 0)) {
        bool latest = strcmp(before, v->name) == 0;
        plan_event(plan, true, latest ? "LatestReadyFailed" : "LatestCreatedFailed",
                   "Latest %s revision \"%s\" has failed", latest ? "ready" : "created", v->name);
    }
    if (v->latest[0] == '\0' || strcmp(before, v->latest) == 0) {
        return;
    }
    if (before[0] == '\0') {
        plan_event(plan, false, "ConfigurationReady", "Configuration becomes ready");
    }
    plan_event(plan, false, "LatestReadyUpdate", "LatestReadyRevisionName updated to \"%s\"",
               v->latest);
}

static void set_status(const struct reconcile_env *env, struct view *v, struct plan *plan)
{
    const json_t *configuration = v->configuration;
    const char *created = jpeek_cstr(configuration, "status.latestCreatedRevisionName");
    struct condition ready = ready_of(v);
    tell_changes(v, &ready, plan);
    created = v->revision != NULL && !v->taken ? v->name : created;
    json_t *status = json_pack("{s:I,s:o,s:s*,s:s*}", "observedGeneration",
                               (json_int_t)jpeek_i64(configuration, "metadata.generation"),
                               "conditions", conditions_build(&ready, 1, configuration, env->now),
                               "latestCreatedRevisionName", created[0] == '\0' ? NULL : created,
                               "latestReadyRevisionName", v->latest[0] == '\0' ? NULL : v->latest);
    plan_status(plan, KIND_CONFIGURATION, configuration, status);
}

static bool was_refused(const json_t *configuration)
{
    struct condition ready = condition_get(configuration, "Ready");
    return condition_observed(configuration) && strcmp(ready.reason, "RevisionFailed") == 0 &&
           slice_starts_with(slice_str(ready.message), SLICE_LIT(CREATION_FAILED));
}

void reconcile_refused_revision(const struct reconcile_env *env, const json_t *configuration,
                                const char *why, struct plan *plan)
{
    char text[2 * ERROR_MSG_MAX];
    struct condition ready = {"Ready", STATUS_FALSE, "RevisionFailed", text, false};
    const json_t *before = jpeek_obj(configuration, "status");
    json_t *status = before == NULL ? json_object() : json_deep_copy(before);
    snprintf(text, sizeof(text), CREATION_FAILED "%s.", why);
    json_object_set_new(status, "observedGeneration",
                        json_integer(jpeek_i64(configuration, "metadata.generation")));
    json_object_set_new(status, "conditions", conditions_build(&ready, 1, configuration, env->now));
    plan_status(plan, KIND_CONFIGURATION, configuration, status);
}

static void sync_routes(const struct reconcile_env *env, const json_t *configuration,
                        struct plan *plan)
{
    CLEANUP(strbuf_fini) struct strbuf routes;
    strbuf_init(&routes, ROUTES_TEXT_MAX);
    routing_of_configuration(env, configuration, &routes);
    if (strcmp(routes.ptr, meta_annotation(configuration, ANNOTATION_ROUTES)) != 0) {
        plan_patch(plan, KIND_CONFIGURATION, meta_name(configuration),
                   json_pack("{s:{s:{s:o}}}", "metadata", "annotations", ANNOTATION_ROUTES,
                             routes.len == 0 ? json_null() : json_string(routes.ptr)));
    }
}

void reconcile_configuration(const struct reconcile_env *env, const json_t *configuration,
                             struct plan *plan)
{
    char name[NAME_BUF];
    const char *ns = meta_ns(configuration);
    if (meta_deleting(configuration)) {
        return;
    }
    meta_revision_name(configuration, name);
    CLEANUP(jfree) json_t *revision = env->get(env->arg, KIND_REVISION, ns, name);
    struct view v = {.configuration = configuration, .revision = revision, .name = name};
    v.taken = revision != NULL && !configuration_owns(env, configuration, revision);
    v.refused = revision == NULL && was_refused(configuration);
    v.valid = revision != NULL || template_is_valid(env, configuration, v.text, sizeof(v.text));
    if (revision == NULL && v.valid) {
        plan_create(plan, KIND_REVISION, name, build_revision(env, configuration, name));
        plan_event(plan, false, "Created", "Created Revision \"%s\"", name);
    }
    if (v.taken) {
        plan_again(plan, TAKEN_AGAIN_MS);
    }
    v.exists = latest_ready(env, configuration, v.taken ? NULL : revision, v.latest);
    sync_routes(env, configuration, plan);
    set_status(env, &v, plan);
}
