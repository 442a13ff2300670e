// SPDX-License-Identifier: Apache-2.0
/*
 * Happy path: the containers of an object are compared with what is wanted, and what differs
 * becomes a patch. A Service's or Configuration's is a merge patch, with whole lists of containers;
 * a workload's names only containers and our variables, for more is not kept. Failure modes: a
 * selector that cannot be read means nothing.
 */
#include "controller/subject.h"

#include <string.h>

#include "base/mem.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "controller/meta.h"
#include "eventing/names.h"

#define TEMPLATE "spec.template.spec"

static const char *const lists[] = {"containers", "initContainers"};
static const char *const ours[] = {"K_SINK", "K_CE_OVERRIDES", "K_CA_CERTS"};

static const enum kind_id workloads[] = {KIND_WORKLOAD, KIND_STATEFULSET, KIND_DAEMONSET, KIND_JOB,
                                         KIND_CRONJOB};
static const enum kind_id others[] = {KIND_SERVICE, KIND_CONFIGURATION};

/* --- kinds --------------------------------------------------------------------------------- */

static bool is_row(enum kind_id id, const char *api_version, const char *kind)
{
    const struct kind *row = kind_row(id);
    return strcmp(kind_api_version(row), api_version) == 0 && strcmp(row->kind, kind) == 0;
}

enum kind_id subject_kind(const char *api_version, const char *kind)
{
    for (size_t i = 0; i < ARRAY_LEN(workloads); i++) {
        if (is_row(workloads[i], api_version, kind)) {
            return workloads[i];
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (is_row(others[i], api_version, kind)) {
            return others[i];
        }
    }
    return KIND_COUNT;
}

bool subject_is_workload(enum kind_id kind)
{
    for (size_t i = 0; i < ARRAY_LEN(workloads); i++) {
        if (workloads[i] == kind) {
            return true;
        }
    }
    return false;
}

enum kind_id subject_workload_at(size_t i)
{
    return i < ARRAY_LEN(workloads) ? workloads[i] : KIND_COUNT;
}

bool subject_is_fixed(enum kind_id kind)
{
    return kind == KIND_JOB;
}

/* --- what is kept -------------------------------------------------------------------------- */

static bool is_ours(const json_t *variable)
{
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        if (slice_eq_str(jpeek_str(variable, "name"), ours[i])) {
            return true;
        }
    }
    return false;
}

static json_t *slim_containers(const json_t *containers)
{
    size_t i, k;
    const json_t *container;
    json_t *variable;
    json_t *out = json_array();
    json_array_foreach(containers, i, container)
    {
        json_t *env = json_array();
        json_array_foreach(jpeek_arr(container, "env"), k, variable)
        {
            if (is_ours(variable)) {
                json_array_append(env, variable);
            }
        }
        json_array_append_new(
            out, json_pack("{s:O?,s:o}", "name", json_object_get(container, "name"), "env", env));
    }
    return out;
}

json_t *subject_slim(enum kind_id kind, const json_t *object)
{
    static const char *const kept[] = {"name", "namespace", "uid", "deletionTimestamp", "labels"};
    const json_t *metadata = json_object_get(object, "metadata");
    const json_t *pod =
        jpeek_obj(object, kind == KIND_CRONJOB ? "spec.jobTemplate.spec.template.spec" : TEMPLATE);
    const char *bound = meta_annotation(object, ANNOTATION_SINK_BINDING);
    json_t *small = json_object();
    json_t *slim = json_object();
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        json_t *value = json_object_get(metadata, kept[i]);
        if (value != NULL) {
            json_object_set(small, kept[i], value);
        }
    }
    if (bound[0] != '\0') {
        json_object_set_new(small, "annotations",
                            json_pack("{s:s}", ANNOTATION_SINK_BINDING, bound));
    }
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        const json_t *containers = jpeek_arr(pod, lists[i]);
        if (json_array_size(containers) > 0) {
            json_object_set_new(slim, lists[i], slim_containers(containers));
        }
    }
    return json_pack("{s:o,s:{s:{s:o}}}", "metadata", small, "spec", "template", "spec", slim);
}

/* --- which are meant ----------------------------------------------------------------------- */

static bool among(const json_t *values, const char *value)
{
    size_t i;
    const json_t *item;
    json_array_foreach(values, i, item)
    {
        if (json_is_string(item) && strcmp(json_string_value(item), value) == 0) {
            return true;
        }
    }
    return false;
}

/* One of matchExpressions; has NULL: there is no such label. */
static bool holds(const json_t *expression, const char *has)
{
    const char *op = jpeek_cstr(expression, "operator");
    const json_t *values = jpeek_arr(expression, "values");
    return strcmp(op, "In") == 0             ? has != NULL && among(values, has)
           : strcmp(op, "NotIn") == 0        ? has == NULL || !among(values, has)
           : strcmp(op, "Exists") == 0       ? has != NULL
           : strcmp(op, "DoesNotExist") == 0 ? has == NULL
                                             : false;
}

static bool selects(const json_t *selector, const json_t *labels)
{
    const char *key;
    json_t *value;
    size_t i;
    const json_t *expression;
    json_object_foreach(jpeek_obj(selector, "matchLabels"), key, value)
    {
        const char *has = json_string_value(json_object_get(labels, key));
        if (has == NULL || !json_is_string(value) || strcmp(has, json_string_value(value)) != 0) {
            return false;
        }
    }
    json_array_foreach(jpeek_arr(selector, "matchExpressions"), i, expression)
    {
        const char *wanted = jpeek_cstr(expression, "key");
        if (!holds(expression, json_string_value(json_object_get(labels, wanted)))) {
            return false;
        }
    }
    return true;
}

bool subject_meant(const json_t *subject, enum kind_id kind, const json_t *object)
{
    const char *name = jpeek_cstr(subject, "name");
    const json_t *selector = jpeek_obj(subject, "selector");
    if (subject_kind(jpeek_cstr(subject, "apiVersion"), jpeek_cstr(subject, "kind")) != kind) {
        return false;
    }
    return name[0] != '\0'
               ? strcmp(name, meta_name(object)) == 0
               : selector != NULL && selects(selector, jpeek_obj(object, "metadata.labels"));
}

/* --- variables ----------------------------------------------------------------------------- */

static const char *wanted_of(size_t our, const struct subject_vars *vars)
{
    return vars->sink == NULL ? NULL : our == 0 ? vars->sink : our == 1 ? vars->overrides : NULL;
}

/* Whether the container has just these. */
static bool has_vars(const json_t *container, const struct subject_vars *vars)
{
    size_t wanted = 0, found = 0;
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        const char *value = wanted_of(i, vars);
        const json_t *variable = jpeek_row(container, "env", "name", slice_str(ours[i]));
        wanted += value != NULL;
        if (variable != NULL) {
            found++;
            if (value == NULL || json_object_get(variable, "valueFrom") != NULL ||
                strcmp(jpeek_cstr(variable, "value"), value) != 0) {
                return false;
            }
        }
    }
    return found == wanted;
}

static json_t *variable_of(size_t our, const char *value)
{
    return json_pack("{s:s,s:s}", "name", ours[our], "value", value);
}

/* Takes ours out of the container, and puts those that are wanted at the end. */
static void set_vars(json_t *container, const struct subject_vars *vars)
{
    json_t *env = jpeek_arr(container, "env");
    if (has_vars(container, vars)) {
        return;
    }
    for (size_t k = json_array_size(env); k > 0; k--) {
        if (is_ours(json_array_get(env, k - 1))) {
            json_array_remove(env, k - 1);
        }
    }
    if (env == NULL && vars->sink != NULL) {
        env = json_array();
        json_object_set_new(container, "env", env);
    }
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        if (wanted_of(i, vars) != NULL) {
            json_array_append_new(env, variable_of(i, wanted_of(i, vars)));
        }
    }
    if (env != NULL && json_array_size(env) == 0) {
        json_object_del(container, "env");
    }
}

/* The part of a strategic merge patch for a container. */
static json_t *vars_patch(const json_t *container, const struct subject_vars *vars)
{
    json_t *env = json_array();
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        const char *value = wanted_of(i, vars);
        const json_t *now = jpeek_row(container, "env", "name", slice_str(ours[i]));
        if (value != NULL) {
            json_t *variable = variable_of(i, value);
            if (json_object_get(now, "valueFrom") != NULL) {
                json_object_set_new(variable, "valueFrom", json_null());
            }
            json_array_append_new(env, variable);
        } else if (now != NULL) {
            json_array_append_new(env, json_pack("{s:s,s:s}", "name", ours[i], "$patch", "delete"));
        }
    }
    return json_pack("{s:O?,s:o}", "name", json_object_get(container, "name"), "env", env);
}

/* The list as a patch has it; NULL: it is as it should be. */
static json_t *list_patch(enum kind_id kind, const json_t *now, const struct subject_vars *vars)
{
    size_t i;
    json_t *container;
    bool same = true;
    json_t *out = subject_is_workload(kind) ? json_array() : json_deep_copy(now);
    json_array_foreach((json_t *)(uintptr_t)now, i, container)
    {
        if (has_vars(container, vars)) {
            continue;
        }
        same = false;
        if (subject_is_workload(kind)) {
            json_array_append_new(out, vars_patch(container, vars));
        } else {
            set_vars(json_array_get(out, i), vars);
        }
    }
    if (same) {
        json_decref(out);
        return NULL;
    }
    return out;
}

/* What has the Pod's spec in it, as a spec of this kind. */
static json_t *spec_around(enum kind_id kind, json_t *pod)
{
    return kind == KIND_CRONJOB
               ? json_pack("{s:{s:{s:{s:o}}}}", "jobTemplate", "spec", "template", "spec", pod)
               : json_pack("{s:{s:o}}", "template", "spec", pod);
}

json_t *subject_patch(enum kind_id kind, const json_t *object, const char *binding,
                      const struct subject_vars *vars, const char *version)
{
    json_t *pod = json_object();
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        const json_t *now = jpeek_arr(jpeek_obj(object, TEMPLATE), lists[i]);
        json_t *patch = list_patch(kind, now, vars);
        if (patch != NULL) {
            json_object_set_new(pod, lists[i], patch);
        }
    }
    bool same = strcmp(meta_annotation(object, ANNOTATION_SINK_BINDING),
                       binding == NULL ? "" : binding) == 0;
    if (same && json_object_size(pod) == 0) {
        json_decref(pod);
        return NULL;
    }
    json_t *out = json_pack("{s:{s:s*,s:{s:s?}}}", "metadata", "resourceVersion", version,
                            "annotations", ANNOTATION_SINK_BINDING, binding);
    if (subject_is_workload(kind)) {
        json_object_set_new(json_object_get(out, "metadata"), "labels",
                            json_pack("{s:s?}", LABEL_SINK_BOUND, binding == NULL ? NULL : "true"));
    }
    if (json_object_size(pod) > 0) {
        json_object_set_new(out, "spec", spec_around(kind, pod));
    } else {
        json_decref(pod);
    }
    return out;
}
