// SPDX-License-Identifier: Apache-2.0
/*
 * Targets to revisions. Happy path: every target names a revision that is ready, or follows a
 * Configuration that has one. Failure modes: what is missing, not ready or someone else's is told,
 * the first of it, but what is sure to fail goes before what may still come.
 */
#include "controller/targets.h"

#include <stdlib.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/traffic.h"
#include "controller/meta.h"

enum { URL_MAX = 1024 };

static void unresolved(struct targets *t, const char *status, const char *reason, const char *fmt,
                       ...) PRINTF_LIKE(4, 5);

static void unresolved(struct targets *t, const char *status, const char *reason, const char *fmt,
                       ...)
{
    va_list ap;
    if (strcmp(t->status, STATUS_FALSE) == 0 ||
        (strcmp(t->status, STATUS_UNKNOWN) == 0 && strcmp(status, STATUS_UNKNOWN) == 0)) {
        return;
    }
    t->status = status;
    t->reason = reason;
    va_start(ap, fmt);
    vsnprintf(t->message, sizeof(t->message), fmt, ap);
    va_end(ap);
}

static void missing(struct targets *t, const char *status, const char *kind, const char *name)
{
    bool revision = strcmp(kind, "Revision") == 0;
    unresolved(t, status, revision ? "RevisionMissing" : "ConfigurationMissing",
               "%s \"%s\" referenced in traffic not found.", kind, name);
}

static void check_ready(struct targets *t, const json_t *revision)
{
    const char *name = meta_name(revision);
    if (condition_is(revision, "Ready", STATUS_FALSE)) {
        unresolved(t, STATUS_FALSE, "RevisionMissing", "Revision \"%s\" failed to become ready.",
                   name);
    } else if (!object_is_ready(revision)) {
        unresolved(t, STATUS_UNKNOWN, "RevisionMissing", "Revision \"%s\" is not yet ready.", name);
    }
}

/* The Route of a Service may only name revisions of that Service. */
static bool check_owner(struct targets *t, const json_t *route, const json_t *revision)
{
    const char *service = meta_label(route, LABEL_SERVICE);
    const char *actual = meta_label(revision, LABEL_SERVICE);
    const char *name = meta_name(revision);
    if (service[0] == '\0' || strcmp(service, actual) == 0) {
        return true;
    }
    if (actual[0] == '\0') {
        unresolved(t, STATUS_FALSE, "RevisionNotOwned",
                   "Revision \"%s\" does not belong to Service \"%s\".", name, service);
    } else {
        unresolved(t, STATUS_FALSE, "RevisionNotOwned",
                   "Revision \"%s\" belongs to Service \"%s\", not Service \"%s\".", name, actual,
                   service);
    }
    return false;
}

/* A target that names its revision. */
static void resolve_pinned(struct targets *t, const struct reconcile_env *env, const json_t *route,
                           struct target *target)
{
    const char *ns = meta_ns(route);
    CLEANUP(jfree) json_t *revision = env->get(env->arg, KIND_REVISION, ns, target->revision);
    if (revision == NULL) {
        missing(t, STATUS_FALSE, "Revision", target->revision);
        return;
    }
    const char *name = meta_label(revision, LABEL_CONFIGURATION);
    slice_copy(slice_str(name), target->configuration, sizeof(target->configuration));
    if (!check_owner(t, route, revision)) {
        return;
    }
    check_ready(t, revision);
    CLEANUP(jfree)
    json_t *configuration =
        name[0] == '\0' ? NULL : env->get(env->arg, KIND_CONFIGURATION, ns, name);
    if (configuration == NULL && name[0] != '\0') {
        missing(t, STATUS_FALSE, "Configuration", name);
    }
}

/*
 * A target that follows a Configuration: its newest ready revision. The Configuration of a
 * Service's own Route is made beside it and may only be on its way to our cache: not a failure.
 */
static void resolve_latest(struct targets *t, const struct reconcile_env *env, const json_t *route,
                           struct target *target)
{
    const char *ns = meta_ns(route);
    const char *name = target->configuration;
    CLEANUP(jfree) json_t *configuration = env->get(env->arg, KIND_CONFIGURATION, ns, name);
    const char *latest = jpeek_cstr(configuration, "status.latestReadyRevisionName");
    slice_copy(slice_str(latest), target->revision, sizeof(target->revision));
    if (configuration == NULL) {
        missing(t, meta_controller(route) != NULL ? STATUS_UNKNOWN : STATUS_FALSE, "Configuration",
                name);
    } else if (latest[0] == '\0' && condition_is(configuration, "Ready", STATUS_FALSE)) {
        unresolved(t, STATUS_FALSE, "RevisionMissing",
                   "Configuration \"%s\" does not have any ready Revision.", name);
    } else if (latest[0] == '\0') {
        unresolved(t, STATUS_UNKNOWN, "RevisionMissing",
                   "Configuration \"%s\" is waiting for a Revision to become ready.", name);
    }
    if (latest[0] == '\0') {
        return;
    }
    CLEANUP(jfree) json_t *revision = env->get(env->arg, KIND_REVISION, ns, latest);
    if (revision == NULL) {
        missing(t, STATUS_FALSE, "Revision", latest);
    } else {
        check_ready(t, revision);
    }
}

/* The same revision twice without a tag, or under one: one target with both percents. */
static bool merge(struct targets *t, const struct target *target)
{
    for (size_t i = 0; i < t->count; i++) {
        struct target *other = &t->list[i];
        if (other->latest == target->latest && strcmp(other->tag, target->tag) == 0 &&
            strcmp(other->revision, target->revision) == 0) {
            other->percent += target->percent;
            return true;
        }
    }
    return false;
}

static void add(struct targets *t, const struct reconcile_env *env, const json_t *route,
                const json_t *item)
{
    struct target target = {.tag = jpeek_cstr(item, "tag"), .percent = jpeek_i64(item, "percent")};
    slice_copy(jpeek_str(item, "revisionName"), target.revision, sizeof(target.revision));
    slice_copy(jpeek_str(item, "configurationName"), target.configuration,
               sizeof(target.configuration));
    target.latest = target.revision[0] == '\0';
    if (target.latest) {
        resolve_latest(t, env, route, &target);
    } else {
        resolve_pinned(t, env, route, &target);
    }
    if (!merge(t, &target)) {
        t->list[t->count++] = target;
    }
}

void targets_init(struct targets *t, const struct reconcile_env *env, const json_t *route)
{
    struct error err = {0};
    const json_t *traffic = jget(route, "spec.traffic");
    *t = (struct targets){.status = STATUS_TRUE, .reason = ""};
    if (traffic_validate(traffic, "spec.traffic", &err) < 0) {
        t->status = STATUS_FALSE;
        t->reason = "InvalidSpec";
        snprintf(t->message, sizeof(t->message), "%s", err.msg);
        return;
    }
    t->list = xcalloc(json_array_size(traffic), sizeof(*t->list));
    size_t i;
    const json_t *item;
    json_array_foreach(traffic, i, item)
    {
        add(t, env, route, item);
    }
}

void targets_fini(struct targets *t)
{
    free(t->list);
    *t = (struct targets){.count = 0};
}

json_t *targets_status(const struct targets *t, const struct rollout *shares,
                       void (*url_of)(void *arg, const char *tag, struct strbuf *out), void *arg)
{
    json_t *traffic = json_array();
    for (size_t i = 0; i < t->count; i++) {
        const struct target *target = &t->list[i];
        const struct rollout_target *split =
            shares == NULL || !target->latest
                ? NULL
                : rollout_find(shares, target->configuration, target->tag);
        CLEANUP(strbuf_fini) struct strbuf url;
        strbuf_init(&url, URL_MAX);
        if (target->tag[0] != '\0') {
            url_of(arg, target->tag, &url);
        }
        for (size_t k = 0; k < (split == NULL ? 1 : split->count); k++) {
            const char *revision = split == NULL ? target->revision : split->shares[k].revision;
            int64_t percent = split == NULL ? target->percent : split->shares[k].percent;
            json_array_append_new(traffic, json_pack("{s:s*,s:s,s:b,s:I,s:s*}", "tag",
                                                     target->tag[0] == '\0' ? NULL : target->tag,
                                                     "revisionName", revision, "latestRevision",
                                                     target->latest, "percent", (json_int_t)percent,
                                                     "url", url.len == 0 ? NULL : url.ptr));
        }
    }
    return traffic;
}

void targets_goal(const struct targets *t, struct rollout *out)
{
    rollout_init(out);
    for (size_t i = 0; i < t->count; i++) {
        const struct target *target = &t->list[i];
        if (target->latest && target->percent > 0) {
            rollout_add(out, target->configuration, target->tag, target->revision, target->percent);
        }
    }
}
