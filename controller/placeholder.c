// SPDX-License-Identifier: Apache-2.0
/*
 * Names to core Services. Happy path: each name has its Service, in line with the Route's labels
 * and annotations; labels and annotations that others put there stay. Failure modes: a Service in
 * the way is told to the caller; a name that no Service can have is left out.
 */
#include "controller/placeholder.h"

#include "json/jedit.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/traffic.h"
#include "controller/meta.h"

enum {
    HTTP_PORT = 80,
    NAMES_TEXT_MAX = 256 << 10,
    OPS_LEFT = 4, /* of a plan, for the Route itself; the rest follows on the event of these */
};

static const char *const labels_not_copied[] = {LABEL_VISIBILITY, NULL};
static const char *const annotations_not_copied[] = {ANNOTATION_LAST_APPLIED, ANNOTATION_ROLLOUT,
                                                     NULL};

/* False when it is no name for a Service. */
static bool name_of(const json_t *route, const char *tag, char out[static OBJECT_BUF])
{
    int len = snprintf(out, OBJECT_BUF, "%s%s%s", tag, tag[0] == '\0' ? "" : "-", meta_name(route));
    return len > 0 && len < OBJECT_BUF && name_is_dns1035(out);
}

bool placeholder_is_local(const struct reconcile_env *env, const json_t *route, const char *tag)
{
    char name[OBJECT_BUF];
    struct network_config network =
        network_of(&env->settings->network, json_object_get(route, "metadata"));
    if (strcmp(meta_label(route, LABEL_VISIBILITY), VISIBILITY_CLUSTER_LOCAL) == 0 ||
        network_is_local(&network)) {
        return true;
    }
    if (!name_of(route, tag, name)) {
        return false;
    }
    CLEANUP(jfree)
    json_t *service = env->get(env->arg, KIND_CORE_SERVICE, meta_ns(route), name);
    return meta_controlled_by(service, route) && meta_label(service, LABEL_VISIBILITY)[0] != '\0';
}

/* Where the name leads: on a cluster to the ingress inside, on one machine to itself. */
static json_t *spec_of(const struct reconcile_env *env, const json_t *route, const char *tag)
{
    struct network_config network =
        network_of(&env->settings->network, json_object_get(route, "metadata"));
    CLEANUP(strbuf_fini) struct strbuf host;
    strbuf_init(&host, OBJECT_BUF * 3);
    if (network.address_template[0] == '\0') {
        strbuf_append_str(&host, env->settings->local_gateway);
    } else {
        traffic_host(&network, meta_ns(route), meta_name(route), tag, &host);
    }
    return json_pack("{s:s,s:s,s:s,s:[{s:s,s:s,s:i,s:i}]}", "type", "ExternalName", "externalName",
                     host.ptr, "sessionAffinity", "None", "ports", "name", "http", "protocol",
                     "TCP", "port", HTTP_PORT, "targetPort", HTTP_PORT);
}

static json_t *metadata_of(const json_t *route, const char *name)
{
    json_t *labels = meta_copy(jget(route, "metadata.labels"), labels_not_copied);
    json_t *annotations = meta_copy(jget(route, "metadata.annotations"), annotations_not_copied);
    meta_set(labels, LABEL_ROUTE, meta_name(route));
    return json_pack("{s:s,s:s,s:o,s:o,s:o}", "name", name, "namespace", meta_ns(route), "labels",
                     labels, "annotations", annotations, "ownerReferences",
                     meta_owner_refs(KIND_ROUTE, route));
}

/* Members of wanted that actual has not, or other ones; NULL when there is none. */
static json_t *lacking(const json_t *actual, const json_t *wanted)
{
    json_t *patch = NULL;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)wanted, key, value)
    {
        if (!jequal(json_object_get(actual, key), value)) {
            patch = patch == NULL ? json_object() : patch;
            json_object_set(patch, key, value);
        }
    }
    return patch;
}

static void update(const json_t *actual, const char *name, const json_t *metadata,
                   const json_t *spec, struct plan *plan)
{
    static const char *const parts[] = {"labels", "annotations"};
    json_t *patch = json_object();
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        json_t *part = lacking(json_object_get(json_object_get(actual, "metadata"), parts[i]),
                               json_object_get(metadata, parts[i]));
        if (part != NULL && json_object_get(patch, "metadata") == NULL) {
            json_object_set_new(patch, "metadata", json_object());
        }
        if (part != NULL) {
            json_object_set_new(json_object_get(patch, "metadata"), parts[i], part);
        }
    }
    if (!slice_eq(jpeek_str(actual, "spec.externalName"), jpeek_str(spec, "externalName")) ||
        !slice_eq(jpeek_str(actual, "spec.type"), jpeek_str(spec, "type"))) {
        json_object_set_new(patch, "spec", json_deep_copy(spec));
    }
    if (json_object_size(patch) > 0) {
        plan_patch(plan, KIND_CORE_SERVICE, name, patch);
    } else {
        json_decref(patch);
    }
}

/* False when there is one that is not the Route's. */
static bool sync_one(const struct reconcile_env *env, const json_t *route, const char *tag,
                     const char *name, struct plan *plan)
{
    CLEANUP(jfree) json_t *actual = env->get(env->arg, KIND_CORE_SERVICE, meta_ns(route), name);
    if (actual != NULL && !meta_controlled_by(actual, route)) {
        return false;
    }
    if (plan_room(plan) <= OPS_LEFT) {
        return true;
    }
    CLEANUP(jfree) json_t *metadata = metadata_of(route, name);
    CLEANUP(jfree) json_t *spec = spec_of(env, route, tag);
    if (actual == NULL) {
        plan_create(plan, KIND_CORE_SERVICE, name,
                    json_pack("{s:s,s:s,s:O,s:O}", "apiVersion", "v1", "kind", "Service",
                              "metadata", metadata, "spec", spec));
        plan_event(plan, false, "Created", "Created placeholder service \"%s\"", name);
    } else {
        update(actual, name, metadata, spec, plan);
    }
    return true;
}

static bool is_wanted(const json_t *route, const char *name)
{
    char other[OBJECT_BUF];
    size_t i;
    const json_t *target;
    if (strcmp(meta_name(route), name) == 0) {
        return true;
    }
    json_array_foreach(jpeek_arr(route, "spec.traffic"), i, target)
    {
        if (name_of(route, jpeek_cstr(target, "tag"), other) && strcmp(other, name) == 0) {
            return true;
        }
    }
    return false;
}

static void drop_others(const struct reconcile_env *env, const json_t *route, struct plan *plan)
{
    CLEANUP(strbuf_fini) struct strbuf names;
    strbuf_init(&names, NAMES_TEXT_MAX);
    env->refs(env->arg, REFS_PLACEHOLDERS, meta_ns(route), meta_name(route), &names);
    for (const char *at = names.ptr; *at != '\0' && plan_room(plan) > OPS_LEFT;) {
        char name[OBJECT_BUF];
        size_t len = strcspn(at, ",");
        if (slice_copy(slice_of(at, len), name, sizeof(name)) && !is_wanted(route, name)) {
            CLEANUP(jfree)
            json_t *service = env->get(env->arg, KIND_CORE_SERVICE, meta_ns(route), name);
            if (meta_controlled_by(service, route) && !meta_deleting(service)) {
                plan_delete(plan, KIND_CORE_SERVICE, name, meta_uid(service));
            }
        }
        at += len + (at[len] == ',' ? 1 : 0);
    }
}

bool placeholders_sync(const struct reconcile_env *env, const json_t *route, bool keep,
                       struct plan *plan, char name[static OBJECT_BUF])
{
    char other[OBJECT_BUF];
    size_t i;
    const json_t *target;
    bool ours = !name_of(route, "", name) || sync_one(env, route, "", name, plan);
    json_array_foreach(jpeek_arr(route, "spec.traffic"), i, target)
    {
        const char *tag = jpeek_cstr(target, "tag");
        if (tag[0] != '\0' && name_of(route, tag, other) &&
            !sync_one(env, route, tag, other, plan) && ours) {
            ours = false;
            slice_copy(slice_str(other), name, OBJECT_BUF);
        }
    }
    if (!keep) {
        drop_others(env, route, plan);
    }
    return ours;
}
