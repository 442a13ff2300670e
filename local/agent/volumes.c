// SPDX-License-Identifier: Apache-2.0
//
// One volume is a list of sources (a projected one has several); each adds its files. Files of
// Secrets lose the mode bits of group and others: each function has a user of its own.
#include "local/agent/volumes.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"

#define MODE_DEFAULT 0644
#define PATH_LEN_MAX 4096

struct reader {
    const struct reference_source *source;
    const json_t *pod;
    struct volume *volume;
    struct error *err;
    unsigned mode; /* the volume's default */
    size_t bytes;  /* of all files */
};

bool volume_path_is_inside(const char *path)
{
    struct slice rest = slice_str(path), part;

    if (path[0] == '\0' || path[0] == '/' || rest.len > PATH_LEN_MAX) {
        return false;
    }
    while (slice_split(&rest, '/', &part)) {
        if (slice_eq_str(part, "..")) {
            return false;
        }
    }
    return true;
}

// Takes the data.
static int file_add(struct reader *r, const char *path, unsigned mode, struct reference_value data)
{
    struct volume *v = r->volume;

    r->bytes += data.len;
    if (!volume_path_is_inside(path) || strncmp(path, "..", 2) == 0) {
        free(data.ptr);
        return error_set(r->err, ERR_INVALID, "path \"%.120s\" must be inside the volume", path);
    }
    if (r->bytes > VOLUME_BYTES_MAX || v->count == VOLUME_FILES_MAX) {
        free(data.ptr);
        return error_set(r->err, ERR_TOO_BIG, "more than %u MiB or %d files in volumes",
                         VOLUME_BYTES_MAX >> 20, VOLUME_FILES_MAX);
    }
    for (size_t i = 0; i < v->count; i++) {
        if (strcmp(v->files[i].path, path) == 0) { // of two sources the later one
            free(v->files[i].data.ptr);
            v->files[i].data = data;
            v->files[i].mode = mode;
            return 0;
        }
    }
    v->files = xreallocarray(v->files, v->count + 1, sizeof *v->files);
    v->files[v->count++] = (struct volume_file){xstrdup(path), mode, data};
    return 0;
}

static unsigned mode_of(const json_t *row, const char *key, unsigned otherwise)
{
    const json_t *mode = json_object_get(row, key);
    return json_is_integer(mode) ? (unsigned)json_integer_value(mode) & 0777 : otherwise;
}

// ---- secret and configMap

static int key_add(struct reader *r, const json_t *object, enum reference_kind kind,
                   const char *key, const char *path, unsigned mode)
{
    struct reference_value data;
    int rc = reference_value(object, kind, key, true, &data, r->err);

    if (rc <= 0) {
        return rc;
    }
    rc = file_add(r, path, kind == REFERENCE_SECRET ? mode & 0700 : mode, data);
    return rc < 0 ? rc : 1;
}

static int all_add(struct reader *r, const json_t *object, enum reference_kind kind)
{
    static const char *const MAPS[] = {"data", "binaryData"};
    const char *key;
    json_t *ignored;

    for (size_t i = 0; i < ARRAY_LEN(MAPS); i++) {
        json_object_foreach(json_object_get(object, MAPS[i]), key, ignored)
        {
            int rc = key_add(r, object, kind, key, key, r->mode);
            if (rc < 0) {
                return rc;
            }
        }
    }
    return 0;
}

static int items_add(struct reader *r, const json_t *object, enum reference_kind kind,
                     const json_t *items, bool optional)
{
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item)
    {
        const char *key = jpeek_cstr(item, "key");
        int rc =
            key_add(r, object, kind, key, jpeek_cstr(item, "path"), mode_of(item, "mode", r->mode));
        if (rc == 0 && !optional) {
            rc = error_set(r->err, ERR_NOT_FOUND, "references non-existent %s key: %.253s",
                           kind == REFERENCE_SECRET ? "secret" : "config", key);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int object_add(struct reader *r, const json_t *row, enum reference_kind kind,
                      const char *name)
{
    const json_t *items = jpeek_arr(row, "items");
    bool optional = jpeek_bool(row, "optional");
    json_t *object = NULL;

    int rc = reference_object(r->source, kind, name, optional, &object, r->err);
    if (rc == 0 && object) {
        rc = json_array_size(items) > 0 ? items_add(r, object, kind, items, optional)
                                        : all_add(r, object, kind);
    }
    json_decref(object);
    return rc;
}

// ---- downwardAPI

static int downward_add(struct reader *r, const json_t *row)
{
    size_t i;
    json_t *item;
    json_array_foreach(jpeek_arr(row, "items"), i, item)
    {
        const json_t *field = jpeek_obj(item, "fieldRef");
        const json_t *resource = jpeek_obj(item, "resourceFieldRef");
        struct reference_value data = {0};
        int rc = field ? reference_field(r->pod, jpeek_cstr(field, "fieldPath"), &data.ptr, r->err)
                       : reference_resource(jpeek_row(r->pod, "spec.containers", "name",
                                                      jpeek_str(resource, "containerName")),
                                            resource, &data.ptr, r->err);
        if (rc == 0) {
            data.len = strlen(data.ptr);
            rc = file_add(r, jpeek_cstr(item, "path"), mode_of(item, "mode", r->mode), data);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

// ---- volumes

// A source of a projected volume, or a volume of one source. `name` is where the Secret's name is.
static int source_add(struct reader *r, const json_t *row, const char *name)
{
    const json_t *secret = jpeek_obj(row, "secret");
    const json_t *config = jpeek_obj(row, "configMap");
    const json_t *downward = jpeek_obj(row, "downwardAPI");
    const char *what = "nothing";
    json_t *ignored;

    if (secret) {
        return object_add(r, secret, REFERENCE_SECRET, jpeek_cstr(secret, name));
    }
    if (config) {
        return object_add(r, config, REFERENCE_CONFIG_MAP, jpeek_cstr(config, "name"));
    }
    if (downward) {
        return downward_add(r, downward);
    }
    const char *key;
    json_object_foreach((json_t *)(uintptr_t)row, key, ignored)
    {
        what = strcmp(key, "name") == 0 ? what : key;
    }
    return error_set(r->err, ERR_UNSUPPORTED,
                     "one machine has no volumes of type %.60s: there are configMap, secret, "
                     "downwardAPI, emptyDir, and projected of the first three",
                     what);
}

static int files_read(struct reader *r, const json_t *row)
{
    static const char *const TYPES[] = {"secret", "configMap", "downwardAPI", "projected"};
    const json_t *projected = jpeek_obj(row, "projected");
    size_t i;
    json_t *source;

    r->mode = MODE_DEFAULT;
    for (i = 0; i < ARRAY_LEN(TYPES); i++) {
        r->mode = mode_of(jpeek_obj(row, TYPES[i]), "defaultMode", r->mode);
    }
    if (!projected) {
        return source_add(r, row, "secretName");
    }
    json_array_foreach(jpeek_arr(projected, "sources"), i, source)
    {
        int rc = source_add(r, source, "name");
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int volume_read(struct reader *r, struct volume_set *out, struct slice name, size_t *index)
{
    for (*index = 0; *index < out->count; ++*index) {
        if (slice_eq_str(name, out->volumes[*index].name)) {
            return 0;
        }
    }
    json_t *found = jpeek_row(r->pod, "spec.volumes", "name", name);
    // Its name is a folder's.
    if (!found || slice_empty(name) || slice_find(name, '/') >= 0 || name.ptr[0] == '.') {
        return error_set(r->err, ERR_INVALID, "volumeMounts: there is no volume \"%.*s\"",
                         SLICE_FMT(slice_sub(name, 0, 120)));
    }
    out->volumes = xreallocarray(out->volumes, out->count + 1, sizeof *out->volumes);
    out->volumes[out->count] = (struct volume){.name = slice_dup(name)};
    r->volume = &out->volumes[out->count++];
    if (jpeek_obj(found, "emptyDir")) {
        r->volume->writable = true;
        return 0;
    }
    int rc = files_read(r, found);
    return rc == 0 ? 0
                   : error_prefix(r->err, rc, "MountVolume.SetUp failed for volume \"%s\" ",
                                  r->volume->name);
}

static int mount_read(struct reader *r, struct volume_set *out, const json_t *row)
{
    const char *path = jpeek_cstr(row, "mountPath");
    const char *sub = jpeek_cstr(row, "subPath"), *expr = jpeek_cstr(row, "subPathExpr");
    struct volume_mount m = {.expand = !sub[0] && expr[0],
                             .read_only = jpeek_bool(row, "readOnly")};

    if (path[0] != '/' || path[1] == '\0' || !volume_path_is_inside(path + 1)) {
        return error_set(r->err, ERR_INVALID,
                         "mountPath \"%.120s\" must be an absolute path below / without \"..\"",
                         path);
    }
    if (sub[0] && !volume_path_is_inside(sub)) {
        return error_set(r->err, ERR_INVALID, "subPath \"%.120s\" must be inside the volume", sub);
    }
    int rc = volume_read(r, out, jpeek_str(row, "name"), &m.volume);
    if (rc < 0) {
        return rc;
    }
    m.read_only = m.read_only || !out->volumes[m.volume].writable;
    m.path = xstrdup(path);
    m.sub = sub[0] || expr[0] ? xstrdup(sub[0] ? sub : expr) : NULL;
    out->mounts = xreallocarray(out->mounts, out->mounts_count + 1, sizeof *out->mounts);
    out->mounts[out->mounts_count++] = m;
    return 0;
}

static int by_depth(const void *a, const void *b)
{
    const struct volume_mount *x = a, *y = b;
    return strcmp(x->path, y->path); // a parent's path is the beginning of its children's
}

int volumes_read(struct volume_set *out, const struct reference_source *source, const json_t *pod,
                 const json_t *container, struct error *err)
{
    struct reader r = {.source = source, .pod = pod, .err = err};
    size_t i;
    json_t *row;

    json_array_foreach(jpeek_arr(container, "volumeMounts"), i, row)
    {
        int rc = mount_read(&r, out, row);
        if (rc < 0) {
            return rc;
        }
    }
    if (out->mounts_count > 1) {
        qsort(out->mounts, out->mounts_count, sizeof *out->mounts, by_depth);
    }
    return 0;
}

void volumes_fini(struct volume_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        struct volume *v = &set->volumes[i];
        for (size_t f = 0; f < v->count; f++) {
            free(v->files[f].path);
            free(v->files[f].data.ptr);
        }
        free(v->files);
        free(v->name);
    }
    for (size_t i = 0; i < set->mounts_count; i++) {
        free(set->mounts[i].path);
        free(set->mounts[i].sub);
    }
    free(set->volumes);
    free(set->mounts);
    *set = (struct volume_set){0};
}
