// SPDX-License-Identifier: Apache-2.0
/*
 * SinkBinding → the variables K_SINK and K_CE_OVERRIDES in the containers of the Service that is
 * its subject, which an annotation then says to be bound. The Service undoes it itself when its
 * binding is gone or means another one (sink_binding_release), also when that happened while nobody
 * looked. Happy path: subject and sink are there, the Service has the variables, Ready. Failure
 * modes: one of them is not there (yet), the subject is bound by another, or of a kind that is not
 * known: told in the conditions.
 */
#include "base/mem.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/conditions.h"
#include "controller/destination.h"
#include "controller/meta.h"
#include "controller/reconcile.h"
#include "eventing/names.h"

static const char *const lists[] = {"containers", "initContainers"};

static bool is_ours(const char *name)
{
    return strcmp(name, "K_SINK") == 0 || strcmp(name, "K_CE_OVERRIDES") == 0 ||
           strcmp(name, "K_CA_CERTS") == 0;
}

/* The containers with the variables, or without them (sink NULL). NULL: there are none. */
static json_t *containers_of(const json_t *service, const char *list, const char *sink,
                             const char *overrides)
{
    char path[64];
    size_t i;
    json_t *container;
    snprintf(path, sizeof(path), "spec.template.spec.%s", list);
    const json_t *now = jpeek_arr(service, path);
    json_t *all = json_array_size(now) == 0 ? NULL : json_deep_copy(now);
    json_array_foreach(all, i, container)
    {
        json_t *env = jpeek_arr(container, "env");
        for (size_t k = json_array_size(env); k > 0; k--) {
            if (is_ours(jpeek_cstr(json_array_get(env, k - 1), "name"))) {
                json_array_remove(env, k - 1);
            }
        }
        if (sink != NULL) {
            if (env == NULL) {
                env = json_array();
                json_object_set_new(container, "env", env);
            }
            json_array_append_new(env, json_pack("{s:s,s:s}", "name", "K_SINK", "value", sink));
            json_array_append_new(
                env, json_pack("{s:s,s:s}", "name", "K_CE_OVERRIDES", "value", overrides));
        } else if (env != NULL && json_array_size(env) == 0) {
            json_object_del(container, "env");
        }
    }
    return all;
}

/* binding NULL: the variables and the annotation go. */
static void change_subject(const struct reconcile_env *env, const json_t *service,
                           const char *binding, const char *sink, const char *overrides,
                           struct plan *plan)
{
    CLEANUP(jfree) json_t *spec = json_object();
    bool same = strcmp(meta_annotation(service, ANNOTATION_SINK_BINDING),
                       binding == NULL ? "" : binding) == 0;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        char path[64];
        json_t *wanted = containers_of(service, lists[i], sink, overrides);
        snprintf(path, sizeof(path), "spec.template.spec.%s", lists[i]);
        if (wanted != NULL) {
            same = same && jequal(wanted, jpeek_arr(service, path));
            json_object_set_new(spec, lists[i], wanted);
        }
    }
    if (!same) {
        const char *version =
            env->version == NULL
                ? NULL
                : env->version(env->arg, KIND_SERVICE, meta_ns(service), meta_name(service));
        plan_patch(plan, KIND_SERVICE, meta_name(service),
                   json_pack("{s:{s:s*,s:{s:s?}},s:{s:{s:O}}}", "metadata", "resourceVersion",
                             version, "annotations", ANNOTATION_SINK_BINDING, binding, "spec",
                             "template", "spec", spec));
    }
}

static bool means(const json_t *binding, const json_t *service)
{
    return slice_eq_str(jpeek_str(binding, "spec.subject.name"), meta_name(service)) &&
           kind_by_object(jpeek_cstr(binding, "spec.subject.apiVersion"),
                          jpeek_cstr(binding, "spec.subject.kind")) == kind_row(KIND_SERVICE);
}

bool sink_binding_release(const struct reconcile_env *env, const json_t *service, struct plan *plan)
{
    const char *name = meta_annotation(service, ANNOTATION_SINK_BINDING);
    if (name[0] == '\0') {
        return false;
    }
    CLEANUP(jfree) json_t *binding = env->get(env->arg, KIND_SINKBINDING, meta_ns(service), name);
    if (binding != NULL && !meta_deleting(binding) && means(binding, service)) {
        return false;
    }
    change_subject(env, service, NULL, NULL, NULL, plan);
    return true;
}

/* Says what is the matter with the subject; *out: the Service to change, the caller's, or NULL. */
static struct condition subject_of(const struct reconcile_env *env, const json_t *binding,
                                   json_t **out, char message[static ERROR_MSG_MAX])
{
    const char *name = jpeek_cstr(binding, "spec.subject.name");
    const struct kind *kind = kind_by_object(jpeek_cstr(binding, "spec.subject.apiVersion"),
                                             jpeek_cstr(binding, "spec.subject.kind"));
    const char *reason = "SubjectMissing";
    *out = NULL;
    if (kind != kind_row(KIND_SERVICE) || name[0] == '\0') {
        reason = "SubjectNotSupported";
        snprintf(message, ERROR_MSG_MAX,
                 "subject must name a Service of serving.knative.dev/v1; %.60s is not bound",
                 name[0] == '\0' ? "what a selector finds"
                                 : jpeek_cstr(binding, "spec.subject.kind"));
    } else {
        json_t *service = env->get(env->arg, KIND_SERVICE, meta_ns(binding), name);
        const char *other = meta_annotation(service, ANNOTATION_SINK_BINDING);
        if (service == NULL || meta_deleting(service)) {
            snprintf(message, ERROR_MSG_MAX, "services.serving.knative.dev \"%.63s\" not found",
                     name);
        } else if (other[0] != '\0' && strcmp(other, meta_name(binding)) != 0) {
            reason = "SubjectBound";
            snprintf(message, ERROR_MSG_MAX, "Service %.63s is bound by SinkBinding %.253s", name,
                     other);
        } else {
            *out = service;
            return (struct condition){"SinkBindingAvailable", STATUS_TRUE, "", "", false};
        }
        json_decref(service);
    }
    return (struct condition){"SinkBindingAvailable", STATUS_FALSE, reason, message, false};
}

void reconcile_sink_binding(const struct reconcile_env *env, const json_t *binding,
                            struct plan *plan)
{
    char subject_message[ERROR_MSG_MAX], sink_message[ERROR_MSG_MAX];
    if (meta_deleting(binding)) {
        return;
    }
    CLEANUP(strbuf_fini) struct strbuf sink;
    CLEANUP(jfree) json_t *service = NULL;
    strbuf_init(&sink, DESTINATION_URL_MAX);
    bool resolved = destination_reach(env, jpeek_obj(binding, "spec.sink"), meta_ns(binding), &sink,
                                      sink_message);
    struct condition conditions[] = {
        subject_of(env, binding, &service, subject_message),
        {"SinkProvided", resolved ? STATUS_TRUE : STATUS_FALSE, resolved ? "" : "NotFound",
         resolved ? "" : sink_message, false},
        {"OIDCIdentityCreated", STATUS_TRUE, "authentication-oidc feature disabled", "", false},
        {"OIDCTokenSecretCreated", STATUS_TRUE, "authentication-oidc feature disabled", "", false},
        {"TrustBundlePropagated", STATUS_TRUE, "", "", false},
    };
    if (service != NULL && resolved) {
        const json_t *given = jpeek_obj(binding, "spec.ceOverrides");
        CLEANUP(cleanup_free) char *overrides = given == NULL ? xstrdup("") : jdump_str(given);
        change_subject(env, service, meta_name(binding), sink.ptr, overrides, plan);
    }
    struct condition ready = conditions_ready(conditions, ARRAY_LEN(conditions));
    if (strcmp(ready.status, STATUS_FALSE) == 0 && !condition_is(binding, "Ready", STATUS_FALSE)) {
        plan_event(plan, true, ready.reason, "%s", ready.message);
    }
    plan_status(plan, KIND_SINKBINDING, binding,
                json_pack("{s:I,s:o,s:s*}", "observedGeneration",
                          (json_int_t)jpeek_i64(binding, "metadata.generation"), "conditions",
                          conditions_build(conditions, ARRAY_LEN(conditions), binding, env->now),
                          "sinkUri", resolved ? sink.ptr : NULL));
}
