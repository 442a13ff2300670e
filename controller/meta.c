// SPDX-License-Identifier: Apache-2.0
/* Metadata helpers. Nothing can fail but the memory. */
#include "controller/meta.h"

#include "json/jget.h"

static const char *member(const json_t *object, const char *map, const char *key)
{
    const json_t *metadata = json_object_get(object, "metadata");
    const char *value = json_string_value(json_object_get(json_object_get(metadata, map), key));
    return value == NULL ? "" : value;
}

const char *meta_name(const json_t *object)
{
    return jpeek_cstr(object, "metadata.name");
}

const char *meta_ns(const json_t *object)
{
    return jpeek_cstr(object, "metadata.namespace");
}

const char *meta_uid(const json_t *object)
{
    return jpeek_cstr(object, "metadata.uid");
}

const char *meta_label(const json_t *object, const char *key)
{
    return member(object, "labels", key);
}

const char *meta_annotation(const json_t *object, const char *key)
{
    return member(object, "annotations", key);
}

const char *meta_annotation_of(const json_t *object, const char *key, const char *old)
{
    const char *value = meta_annotation(object, key);
    return value[0] != '\0' || old == NULL ? value : meta_annotation(object, old);
}

bool meta_deleting(const json_t *object)
{
    return jpeek_str(object, "metadata.deletionTimestamp").len > 0;
}

const json_t *meta_controller(const json_t *object)
{
    size_t i;
    const json_t *ref;
    json_array_foreach(jpeek_arr(object, "metadata.ownerReferences"), i, ref)
    {
        if (jpeek_bool(ref, "controller")) {
            return ref;
        }
    }
    return NULL;
}

bool meta_controlled_by(const json_t *object, const json_t *owner)
{
    struct slice uid = jpeek_str(meta_controller(object), "uid");
    return uid.len > 0 && slice_eq_str(uid, meta_uid(owner));
}

json_t *meta_owner_refs(enum kind_id owner_kind, const json_t *owner)
{
    const struct kind *kind = kind_row(owner_kind);
    return json_pack("[{s:s,s:s,s:s,s:s,s:b,s:b}]", "apiVersion", kind_api_version(kind), "kind",
                     kind->kind, "name", meta_name(owner), "uid", meta_uid(owner), "controller", 1,
                     "blockOwnerDeletion", 1);
}

void meta_revision_name(const json_t *configuration, char out[static NAME_BUF])
{
    const char *chosen = jpeek_cstr(configuration, "spec.template.metadata.name");
    if (chosen[0] == '\0' || !slice_copy(slice_str(chosen), out, NAME_BUF)) {
        name_revision(out, meta_name(configuration),
                      jpeek_i64(configuration, "metadata.generation"));
    }
}

static bool is_in(const char *const *list, const char *key)
{
    for (; list != NULL && *list != NULL; list++) {
        if (strcmp(*list, key) == 0) {
            return true;
        }
    }
    return false;
}

json_t *meta_copy(const json_t *map, const char *const *without)
{
    json_t *copy = json_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)map, key, value)
    {
        if (json_is_string(value) && !is_in(without, key)) {
            json_object_set(copy, key, value);
        }
    }
    return copy;
}

void meta_set(json_t *map, const char *key, const char *value)
{
    if (value[0] != '\0') {
        json_object_set_new(map, key, json_string(value));
    }
}
