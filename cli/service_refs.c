// SPDX-License-Identifier: Apache-2.0
//
// Lists are edited by what their entries say, not by their places. A volume is named after what it
// brings, so two mounts of one Secret share it.
#include "cli/service_refs.h"

#include <string.h>

#include "base/mem.h"
#include "base/slice.h"
#include "json/jget.h"
#include "serving/names.h"

struct reference {
    bool secret;
    char name[OBJECT_BUF];
};

static int parse(struct slice text, const char *flag, struct reference *out, struct error *err)
{
    ptrdiff_t colon = slice_find(text, ':');
    struct slice kind = slice_sub(text, 0, colon < 0 ? 0 : (size_t)colon);
    struct slice name = slice_sub(text, (size_t)(colon + 1), text.len);
    bool config = slice_eq_str(kind, "config") || slice_eq_str(kind, "cm") ||
                  slice_eq_str(kind, "config-map");

    out->secret = slice_eq_str(kind, "secret");
    if ((!out->secret && !config) || !slice_copy(name, out->name, sizeof out->name) ||
        !name_is_dns1123_subdomain(out->name)) {
        return error_set(err, ERR_INVALID, "--%s: \"%.*s\" must be secret:NAME or config:NAME",
                         flag, (int)(text.len < 80 ? text.len : 80), text.ptr);
    }
    return 0;
}

static json_t *array_of(json_t *object, const char *key)
{
    if (!json_is_array(json_object_get(object, key))) {
        json_object_set_new(object, key, json_array());
    }
    return json_object_get(object, key);
}

static void drop_empty(json_t *object, const char *key)
{
    if (json_array_size(json_object_get(object, key)) == 0) {
        (void)json_object_del(object, key);
    }
}

int service_env_from(json_t *container, const char *word, struct error *err)
{
    struct slice text = slice_str(word);
    struct reference ref;
    size_t i;
    json_t *row;
    bool removes = text.len > 1 && word[text.len - 1] == '-';

    int rc = parse(slice_sub(text, 0, text.len - removes), "env-from", &ref, err);
    if (rc < 0) {
        return rc;
    }
    const char *kind = ref.secret ? "secretRef" : "configMapRef";
    json_t *list = array_of(container, "envFrom");
    json_array_foreach(list, i, row)
    {
        if (strcmp(jpeek_cstr(json_object_get(row, kind), "name"), ref.name) == 0) {
            break;
        }
    }
    bool found = i < json_array_size(list);
    if (removes && !found) {
        rc = error_set(err, ERR_NOT_FOUND, "--env-from %.80s: it is not used", word);
    } else if (removes) {
        (void)json_array_remove(list, i);
    } else if (!found) {
        (void)json_array_append_new(list, json_pack("{s:{s:s}}", kind, "name", ref.name));
    }
    drop_empty(container, "envFrom");
    return rc;
}

// Takes the mount at path away; true when there was one.
static bool unmount(json_t *container, struct slice path)
{
    json_t *mounts = json_object_get(container, "volumeMounts"), *m;
    size_t i;

    json_array_foreach(mounts, i, m)
    {
        if (slice_eq(jpeek_str(m, "mountPath"), path)) {
            (void)json_array_remove(mounts, i);
            drop_empty(container, "volumeMounts");
            return true;
        }
    }
    return false;
}

static bool volume_used(const json_t *pod, const char *volume)
{
    size_t i, k;
    json_t *c, *m;
    json_array_foreach(jpeek_arr(pod, "containers"), i, c)
    {
        json_array_foreach(jpeek_arr(c, "volumeMounts"), k, m)
        {
            if (strcmp(jpeek_cstr(m, "name"), volume) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void volumes_tidy(json_t *pod)
{
    json_t *volumes = json_object_get(pod, "volumes");

    for (size_t i = json_array_size(volumes); i-- > 0;) {
        if (!volume_used(pod, jpeek_cstr(json_array_get(volumes, i), "name"))) {
            (void)json_array_remove(volumes, i);
        }
    }
    drop_empty(pod, "volumes");
}

// The volume that brings this; a new reference to its name.
static json_t *volume_of(json_t *pod, const struct reference *ref)
{
    json_t *volumes = array_of(pod, "volumes"), *v;
    const char *path = ref->secret ? "secret.secretName" : "configMap.name";
    const char *part = ref->secret ? "secret" : "configMap";
    char name[NAME_BUF];
    size_t i;

    json_array_foreach(volumes, i, v)
    {
        bool whole = json_object_size(jpeek_obj(v, part)) == 1; // no items, no mode
        if (whole && strcmp(jpeek_cstr(v, path), ref->name) == 0) {
            return json_incref(json_object_get(v, "name"));
        }
    }
    name_child(name, ref->secret ? "secret-" : "config-", ref->name);
    for (char *c = name; *c; c++) {
        *c = *c == '.' ? '-' : *c;
    }
    (void)json_array_append_new(volumes, json_pack("{s:s, s:{s:s}}", "name", name, part,
                                                   ref->secret ? "secretName" : "name", ref->name));
    return json_string(name);
}

int service_mount(json_t *pod, json_t *container, const char *word, struct error *err)
{
    struct slice text = slice_str(word);
    ptrdiff_t eq = slice_find(text, '=');
    struct reference ref;

    if (word[0] != '/' || text.len < 3 || (eq < 0 && word[text.len - 1] != '-')) {
        return error_set(
            err, ERR_INVALID,
            "--mount %.80s: must be /PATH=secret:NAME, /PATH=config:NAME, or /PATH- to "
            "take it away",
            word);
    }
    if (eq < 0) {
        if (!unmount(container, slice_sub(text, 0, text.len - 1))) {
            return error_set(err, ERR_NOT_FOUND, "--mount %.80s: nothing is mounted there", word);
        }
        volumes_tidy(pod);
        return 0;
    }
    struct slice path = slice_sub(text, 0, (size_t)eq);
    int rc = parse(slice_sub(text, (size_t)eq + 1, text.len), "mount", &ref, err);
    if (rc < 0) {
        return rc;
    }
    (void)unmount(container, path);
    json_t *mounts = array_of(container, "volumeMounts");
    json_t *mount = json_pack("{s:o, s:s%, s:b}", "name", volume_of(pod, &ref), "mountPath",
                              path.ptr, path.len, "readOnly", 1);
    if (!mount) {
        return error_set(err, ERR_INVALID, "--mount: the path is not UTF-8");
    }
    (void)json_array_append_new(mounts, mount);
    volumes_tidy(pod);
    return 0;
}
