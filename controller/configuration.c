// SPDX-License-Identifier: Apache-2.0
/*
 * Configuration → one Revision per generation; the newest ready one is remembered.
 * Happy path: the generation's Revision is made, becomes ready, and is latestReady then.
 * Failure modes: a Revision that fails is told in Ready while latestReady stays where it was; a
 * name that another Configuration's Revision has taken is told as well.
 */
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/conditions.h"
#include "controller/meta.h"
#include "controller/reconcile.h"

static void revision_name(const json_t *configuration, int64_t generation, char out[NAME_BUF])
{
    const char *chosen = jpeek_cstr(configuration, "spec.template.metadata.name");
    if (chosen[0] == '\0' || !slice_copy(slice_str(chosen), out, NAME_BUF)) {
        name_revision(out, meta_name(configuration), generation);
    }
}

static json_t *build_revision(const struct reconcile_env *env, const json_t *configuration,
                              const char *name)
{
    char generation[24];
    json_t *labels = meta_copy(jget(configuration, "spec.template.metadata.labels"), NULL);
    json_t *annotations =
        meta_copy(jget(configuration, "spec.template.metadata.annotations"), NULL);
    const char *modifier = meta_annotation(configuration, ANNOTATION_LAST_MODIFIER);
    snprintf(generation, sizeof(generation), "%lld",
             (long long)jpeek_i64(configuration, "metadata.generation"));
    meta_set(labels, LABEL_CONFIGURATION, meta_name(configuration));
    meta_set(labels, LABEL_CONFIGURATION_UID, meta_uid(configuration));
    meta_set(labels, LABEL_CONFIGURATION_GENERATION, generation);
    meta_set(labels, LABEL_SERVICE, meta_label(configuration, LABEL_SERVICE));
    meta_set(labels, LABEL_SERVICE_UID, meta_label(configuration, LABEL_SERVICE_UID));
    meta_set(labels, LABEL_ROUTING_STATE, "pending");
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

/*
 * The newest ready revision: from this generation down to the one that was the newest so far, which
 * stays when nothing newer is ready.
 */
static void latest_ready(const struct reconcile_env *env, const json_t *configuration,
                         const json_t *revision, char out[OBJECT_BUF])
{
    enum { SCAN_MAX = 64 }; /* generations that failed in a row */
    const char *ns = meta_ns(configuration);
    const char *before = jpeek_cstr(configuration, "status.latestReadyRevisionName");
    slice_copy(slice_str(before), out, OBJECT_BUF);
    if (object_is_ready(revision)) {
        slice_copy(slice_str(meta_name(revision)), out, OBJECT_BUF);
        return;
    }
    CLEANUP(jfree)
    json_t *known = before[0] == '\0' ? NULL : env->get(env->arg, KIND_REVISION, ns, before);
    long long floor = strtoll(meta_label(known, LABEL_CONFIGURATION_GENERATION), NULL, 10);
    int64_t generation = jpeek_i64(configuration, "metadata.generation");
    for (int64_t g = generation - 1; g > floor && g > generation - SCAN_MAX; g--) {
        char name[NAME_BUF];
        name_revision(name, meta_name(configuration), g);
        CLEANUP(jfree) json_t *older = env->get(env->arg, KIND_REVISION, ns, name);
        if (object_is_ready(older) && meta_controlled_by(older, configuration)) {
            slice_copy(slice_str(name), out, OBJECT_BUF);
            return;
        }
    }
}

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

static struct condition ready_of(const json_t *configuration, const json_t *revision,
                                 const char *name, char *text, size_t size)
{
    struct condition c = {"Ready", STATUS_UNKNOWN, "", "", false};
    if (revision == NULL) {
        return c;
    }
    if (!meta_controlled_by(revision, configuration)) {
        snprintf(text, size,
                 "Revision creation failed with message: revisions.serving.knative.dev \"%s\" "
                 "already exists.",
                 name);
        return (struct condition){"Ready", STATUS_FALSE, "RevisionNameTaken", text, false};
    }
    struct condition ready = condition_get(revision, "Ready");
    if (condition_observed(revision) && strcmp(ready.status, STATUS_TRUE) == 0) {
        c.status = STATUS_TRUE;
    } else if (strcmp(ready.status, STATUS_FALSE) == 0) {
        snprintf(text, size, "Revision \"%s\" failed with message: %s.", name, ready.message);
        return (struct condition){"Ready", STATUS_FALSE, "RevisionFailed", text, false};
    } else {
        c.reason = ready.reason;
        c.message = ready.message;
    }
    return c;
}

static void tell_changes(const json_t *configuration, const char *latest, struct plan *plan)
{
    const char *before = jpeek_cstr(configuration, "status.latestReadyRevisionName");
    if (latest[0] == '\0' || strcmp(before, latest) == 0) {
        return;
    }
    if (before[0] == '\0') {
        plan_event(plan, false, "ConfigurationReady", "Configuration becomes ready");
    }
    plan_event(plan, false, "LatestReadyUpdate", "LatestReadyRevisionName updated to \"%s\"",
               latest);
}

void reconcile_configuration(const struct reconcile_env *env, const json_t *configuration,
                             struct plan *plan)
{
    char name[NAME_BUF];
    char latest[OBJECT_BUF];
    char text[2 * ERROR_MSG_MAX];
    const char *ns = meta_ns(configuration);
    if (meta_deleting(configuration)) {
        return;
    }
    revision_name(configuration, jpeek_i64(configuration, "metadata.generation"), name);
    CLEANUP(jfree) json_t *revision = env->get(env->arg, KIND_REVISION, ns, name);
    bool valid = revision != NULL || template_is_valid(env, configuration, text, sizeof(text));
    if (revision == NULL && valid) {
        plan_create(plan, KIND_REVISION, name, build_revision(env, configuration, name));
        plan_event(plan, false, "Created", "Created Revision \"%s\"", name);
    }
    latest_ready(env, configuration, revision, latest);
    tell_changes(configuration, latest, plan);
    struct condition ready =
        valid ? ready_of(configuration, revision, name, text, sizeof(text))
              : (struct condition){"Ready", STATUS_FALSE, "InvalidSpec", text, false};
    json_t *status = json_pack("{s:I,s:o,s:s*}", "observedGeneration",
                               (json_int_t)jpeek_i64(configuration, "metadata.generation"),
                               "conditions", conditions_build(&ready, 1, configuration, env->now),
                               "latestCreatedRevisionName", valid ? name : NULL);
    if (latest[0] != '\0') {
        json_object_set_new(status, "latestReadyRevisionName", json_string(latest));
    }
    plan_status(plan, KIND_CONFIGURATION, configuration, status);
}
