// SPDX-License-Identifier: Apache-2.0
/*
 * SinkBinding → the variables K_SINK and K_CE_OVERRIDES in the containers of its subjects, which an
 * annotation then says to be bound. A subject's own run undoes it when its binding is gone or means
 * another one (sink_binding_release), also when that happened while nobody looked.
 * Happy path: subjects and sink are there, the subjects have the variables, Ready. Failure modes:
 * one of them is not there (yet), a subject is bound by another, belongs to somebody who would undo
 * it, or is of a kind that is not known here: told in the conditions.
 */
#include <stdarg.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/conditions.h"
#include "controller/destination.h"
#include "controller/meta.h"
#include "controller/reconcile.h"
#include "controller/subject.h"
#include "eventing/names.h"

enum {
    ROOM_KEPT = 1,       /* for the status */
    MORE_MS = 50,        /* more subjects than fit into one run */
    KIND_AGAIN_MS = 5000 /* a kind that could not be read */
};

/* One look at the subjects of a binding. */
struct binding_run {
    const struct reconcile_env *env;
    const json_t *binding;
    const json_t *subject;
    enum kind_id kind;
    struct subject_vars vars; /* sink NULL: not known */
    struct plan *plan;
    size_t seen;        /* that are meant */
    size_t changing;    /* of those: are being changed */
    const char *reason; /* what stands in the way of one of them, "": nothing */
    char message[ERROR_MSG_MAX];
};

/* The first reason stays. */
static void tell(struct binding_run *run, const char *reason, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

static void tell(struct binding_run *run, const char *reason, const char *fmt, ...)
{
    va_list ap;
    if (run->reason[0] != '\0') {
        return;
    }
    run->reason = reason;
    va_start(ap, fmt);
    vsnprintf(run->message, sizeof(run->message), fmt, ap);
    va_end(ap);
}

static const char *version_of(const struct reconcile_env *env, enum kind_id kind,
                              const json_t *object)
{
    return env->version == NULL ? NULL
                                : env->version(env->arg, kind, meta_ns(object), meta_name(object));
}

/* binding NULL: the variables and the annotation go. True: there is something to write. */
static bool change(const struct reconcile_env *env, enum kind_id kind, const json_t *object,
                   const char *binding, const struct subject_vars *vars, struct plan *plan)
{
    json_t *patch = subject_patch(kind, object, binding, vars, version_of(env, kind, object));
    if (patch != NULL) {
        (subject_is_workload(kind) ? plan_patch_lists : plan_patch)(plan, kind, meta_name(object),
                                                                    patch);
    }
    return patch != NULL;
}

/* A Service's own Configuration: it writes it again. */
static const json_t *owner_of(enum kind_id kind, const json_t *object)
{
    return kind == KIND_CONFIGURATION ? meta_controller(object) : NULL;
}

bool sink_binding_release(const struct reconcile_env *env, enum kind_id kind, const json_t *object,
                          struct plan *plan)
{
    static const struct subject_vars none = {NULL, NULL};
    const char *name = meta_annotation(object, ANNOTATION_SINK_BINDING);
    if (name[0] == '\0' || owner_of(kind, object) != NULL || subject_is_fixed(kind) ||
        meta_deleting(object)) {
        return false;
    }
    CLEANUP(jfree) json_t *binding = env->get(env->arg, KIND_SINKBINDING, meta_ns(object), name);
    if (binding != NULL && !meta_deleting(binding) &&
        subject_meant(jpeek_obj(binding, "spec.subject"), kind, object)) {
        return false;
    }
    return change(env, kind, object, NULL, &none, plan);
}

static void look_at(void *arg, const json_t *object)
{
    struct binding_run *run = arg;
    const char *kind = kind_row(run->kind)->kind;
    const char *other = meta_annotation(object, ANNOTATION_SINK_BINDING);
    const json_t *owner = owner_of(run->kind, object);
    if (meta_deleting(object) || !subject_meant(run->subject, run->kind, object)) {
        return;
    }
    run->seen++;
    if (owner != NULL) {
        tell(run, "SubjectNotSupported", "%s %.63s belongs to %.63s %.63s: bind that", kind,
             meta_name(object), jpeek_cstr(owner, "kind"), jpeek_cstr(owner, "name"));
    } else if (other[0] != '\0' && strcmp(other, meta_name(run->binding)) != 0) {
        tell(run, "SubjectBound", "%s %.63s is bound by SinkBinding %.253s", kind,
             meta_name(object), other);
    } else if (run->vars.sink == NULL) {
        return;
    } else if (plan_room(run->plan) <= ROOM_KEPT) {
        run->changing++;
        plan_again(run->plan, MORE_MS);
    } else {
        run->changing +=
            change(run->env, run->kind, object, meta_name(run->binding), &run->vars, run->plan);
    }
}

static void look_for(struct binding_run *run)
{
    const char *name = jpeek_cstr(run->subject, "name");
    const struct kind *row = kind_row(run->kind);
    if (name[0] == '\0') {
        run->env->each(run->env->arg, run->kind, meta_ns(run->binding), look_at, run);
        return;
    }
    CLEANUP(jfree)
    json_t *object = run->env->get(run->env->arg, run->kind, meta_ns(run->binding), name);
    if (object != NULL) {
        look_at(run, object);
    }
    if (run->seen == 0) {
        tell(run, "SubjectMissing", "%s.%s \"%.63s\" not found", row->plural, row->group, name);
    }
}

/* Whether objects of the subject's kind are known. *out_wait: not yet, there is nothing to tell. */
static bool knows_kind(struct binding_run *run, bool *out_wait)
{
    const char *api_version = jpeek_cstr(run->subject, "apiVersion");
    const char *kind = jpeek_cstr(run->subject, "kind");
    const char *trouble = NULL;
    run->kind = subject_kind(api_version, kind);
    *out_wait = false;
    if (run->kind == KIND_COUNT) {
        tell(run, "SubjectNotSupported",
             "%.100s %.60s is not bound: Deployments, StatefulSets and DaemonSets of apps/v1, "
             "CronJobs of batch/v1, Services and Configurations of serving.knative.dev/v1 are",
             api_version, kind);
        return false;
    }
    if (subject_is_fixed(run->kind)) {
        tell(run, "SubjectNotSupported",
             "Jobs are not bound, for their Pods cannot be changed: bind the CronJob that makes "
             "them, or write K_SINK into the Job (status.sinkUri of this SinkBinding)");
        return false;
    }
    switch (run->env->knows(run->env->arg, run->kind, &trouble)) {
    case KNOWN:
        return true;
    case KNOWN_LATER:
        *out_wait = trouble == NULL;
        if (trouble != NULL) {
            tell(run, "SubjectUnavailable", "%s of %s cannot be read: %.300s",
                 kind_row(run->kind)->plural, api_version, trouble);
            plan_again(run->plan, KIND_AGAIN_MS);
        }
        return false;
    case KNOWN_NEVER:
        tell(run, "SubjectNotSupported",
             "there are no %ss on one machine: Deployments of apps/v1, Services and Configurations "
             "of serving.knative.dev/v1 are bound",
             kind);
        break;
    }
    return false;
}

static struct condition available_of(const struct binding_run *run)
{
    struct condition of = {"SinkBindingAvailable", STATUS_TRUE, "", "", false};
    if (run->reason[0] != '\0') {
        of.status = STATUS_FALSE;
        of.reason = run->reason;
        of.message = run->message;
    } else if (run->changing > 0) {
        of.status = STATUS_UNKNOWN;
        of.reason = "Binding";
    }
    return of;
}

static void write_status(const struct binding_run *run, const char *sink_message)
{
    const char *sink = run->vars.sink;
    const json_t *binding = run->binding;
    struct condition conditions[] = {
        available_of(run),
        {"SinkProvided", sink != NULL ? STATUS_TRUE : STATUS_FALSE, sink != NULL ? "" : "NotFound",
         sink != NULL ? "" : sink_message, false},
        {"OIDCIdentityCreated", STATUS_TRUE, "authentication-oidc feature disabled", "", false},
        {"OIDCTokenSecretCreated", STATUS_TRUE, "authentication-oidc feature disabled", "", false},
        {"TrustBundlePropagated", STATUS_TRUE, "", "", false},
    };
    struct condition ready = conditions_ready(conditions, ARRAY_LEN(conditions));
    if (strcmp(ready.status, STATUS_FALSE) == 0 && !condition_is(binding, "Ready", STATUS_FALSE)) {
        plan_event(run->plan, true, ready.reason, "%s", ready.message);
    }
    plan_status(
        run->plan, KIND_SINKBINDING, binding,
        json_pack("{s:I,s:o,s:s*}", "observedGeneration",
                  (json_int_t)jpeek_i64(binding, "metadata.generation"), "conditions",
                  conditions_build(conditions, ARRAY_LEN(conditions), binding, run->env->now),
                  "sinkUri", sink));
}

static char *overrides_of(const json_t *binding)
{
    const json_t *given = jpeek_obj(binding, "spec.ceOverrides");
    return given == NULL ? xstrdup("") : jdump_str(given);
}

void reconcile_sink_binding(const struct reconcile_env *env, const json_t *binding,
                            struct plan *plan)
{
    char sink_message[ERROR_MSG_MAX];
    if (meta_deleting(binding)) {
        return;
    }
    CLEANUP(strbuf_fini) struct strbuf sink;
    CLEANUP(cleanup_free) char *overrides = overrides_of(binding);
    strbuf_init(&sink, DESTINATION_URL_MAX);
    bool resolved = destination_reach(env, jpeek_obj(binding, "spec.sink"), meta_ns(binding), &sink,
                                      sink_message);
    bool wait = false;
    struct binding_run run = {
        .env = env,
        .binding = binding,
        .subject = jpeek_obj(binding, "spec.subject"),
        .vars = {resolved ? sink.ptr : NULL, overrides},
        .plan = plan,
        .reason = "",
    };
    if (knows_kind(&run, &wait)) {
        look_for(&run);
    } else if (wait) {
        return; /* it is looked at again when they are read */
    }
    write_status(&run, sink_message);
}
