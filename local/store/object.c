// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: collect labels, owners and field values as texts in one buffer with their offsets, then
 * make one block that holds the struct, the pointer arrays and the texts; the JSON text stands
 * alone (it is what jansson allocated). Fails only for texts that are too big or not UTF-8.
 */

#include "local/store/object.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "json/jread.h"

#define DEPTH_MAX   100
#define VERSION_KEY "\"resourceVersion\":\""

struct object *object_ref(struct object *o)
{
    object_full(o)->refs++;
    return o;
}

void object_unref(struct object *o)
{
    if (o == NULL) {
        return;
    }
    struct object_full *f = object_full(o);
    REQUIRE(f->refs > 0);
    if (--f->refs == 0) {
        json_decref(f->tree);
        free((void *)(uintptr_t)f->pub.json.ptr);
        free(f);
    }
}

void object_keep_tree(struct object *o, json_t *root)
{
    struct object_full *f = object_full(o);
    json_t *old = f->tree;
    f->tree = json_incref(root);
    json_decref(old);
}

void object_trees_add(struct object_trees *t, struct object *o, json_t *root)
{
    struct object **place = &t->kept[t->next++ % OBJECT_TREES];
    if (*place != NULL) {
        object_keep_tree(*place, NULL);
        object_unref(*place);
    }
    *place = object_ref(o);
    object_keep_tree(o, root);
}

void object_trees_fini(struct object_trees *t)
{
    for (size_t i = 0; i < OBJECT_TREES; i++) {
        object_unref(t->kept[i]);
        t->kept[i] = NULL;
    }
}

json_t *object_tree(const struct object *o)
{
    json_t *kept = object_full(o)->tree;
    return kept != NULL ? json_incref(kept) : object_parse(o);
}

json_t *object_parse(const struct object *o)
{
    json_t *root = jread(o->json, false, DEPTH_MAX);
    if (root == NULL) {
        root = json_loadb(o->json.ptr, o->json.len, JSON_ALLOW_NUL, NULL);
    }
    REQUIRE(root != NULL);
    return root;
}

void object_json_at(const struct object *o, uint64_t version, char number[OBJECT_VERSION_MAX],
                    struct slice out[3])
{
    const struct object_full *f = object_full(o);
    int n = snprintf(number, OBJECT_VERSION_MAX, "%" PRIu64, version);
    size_t rest = (size_t)f->version_at + f->version_len;
    out[0] = slice_of(o->json.ptr, f->version_at);
    out[1] = slice_of(number, (size_t)n);
    out[2] = slice_of(o->json.ptr + rest, o->json.len - rest);
}

const char *object_label(const struct object *o, const char *key)
{
    const struct object_full *f = object_full(o);
    for (uint32_t i = 0; i < f->labels_count; i++) {
        if (strcmp(f->labels[i].key, key) == 0) {
            return f->labels[i].value;
        }
    }
    return NULL;
}

size_t object_fields_count(const struct store_kind *kind)
{
    size_t n = 0;
    while (n < ARRAY_LEN(kind->fields) && kind->fields[n] != NULL) {
        n++;
    }
    return n;
}

json_t *object_path(const json_t *root, const char *path)
{
    struct slice rest = slice_str(path);
    json_t *at = (json_t *)(uintptr_t)root;
    while (at != NULL && rest.len > 0) {
        ptrdiff_t dot = slice_find(rest, '.');
        struct slice key = dot < 0 ? rest : slice_sub(rest, 0, (size_t)dot);
        rest = dot < 0 ? SLICE_EMPTY : slice_sub(rest, (size_t)dot + 1, rest.len);
        at = json_object_getn(at, key.ptr, key.len);
    }
    return at;
}

/* --- projection ---------------------------------------------------------------------------- */

/* The texts one after the other with their NULs. */
struct texts {
    struct strbuf buf;
    size_t count;
};

static void texts_add(struct texts *t, const char *text)
{
    text = text == NULL ? "" : text;
    (void)strbuf_append(&t->buf, text, strlen(text) + 1);
    t->count++;
}

static const char *string_at(const json_t *root, const char *path)
{
    const char *text = json_string_value(object_path(root, path));
    return text == NULL ? "" : text;
}

static uint32_t add_labels(struct texts *t, const json_t *metadata)
{
    json_t *labels = json_object_get(metadata, "labels");
    const char *key;
    json_t *value;
    uint32_t n = 0;
    json_object_foreach(labels, key, value)
    {
        texts_add(t, key);
        texts_add(t, json_string_value(value));
        n++;
    }
    return n;
}

static uint32_t add_owners(struct texts *t, const json_t *metadata, uint32_t *out_blocks)
{
    json_t *owners = json_object_get(metadata, "ownerReferences");
    size_t i;
    json_t *owner;
    uint32_t n = 0;
    *out_blocks = 0;
    json_array_foreach(owners, i, owner)
    {
        const char *uid = json_string_value(json_object_get(owner, "uid"));
        if (uid != NULL) {
            bool blocks = json_is_true(json_object_get(owner, "blockOwnerDeletion"));
            *out_blocks |= blocks && n < 32 ? 1u << n : 0;
            texts_add(t, uid);
            n++;
        }
    }
    return n;
}

/* Lays out the block: struct, pointer arrays, texts; the order is that of collect(). */
static struct object_full *lay_out(const struct store_kind *kind, const struct texts *t,
                                   uint32_t labels, uint32_t owners, size_t fields)
{
    size_t arrays = labels * sizeof(struct object_pair) + (owners + fields) * sizeof(char *);
    struct object_full *f = xcalloc(1, sizeof(*f) + arrays + t->buf.len);
    f->labels = (struct object_pair *)(f + 1);
    f->owners = (const char **)(f->labels + labels);
    f->fields = f->owners + owners;
    char *at = (char *)(f->fields + fields);
    memcpy(at, t->buf.ptr, t->buf.len);

    const char **singles[] = {&f->pub.ns, &f->pub.name, &f->pub.uid};
    for (size_t i = 0; i < ARRAY_LEN(singles); i++) {
        *singles[i] = at;
        at += strlen(at) + 1;
    }
    for (uint32_t i = 0; i < labels; i++) {
        f->labels[i].key = at;
        at += strlen(at) + 1;
        f->labels[i].value = at;
        at += strlen(at) + 1;
    }
    for (uint32_t i = 0; i < owners; i++) {
        f->owners[i] = at;
        at += strlen(at) + 1;
    }
    for (size_t i = 0; i < fields; i++) {
        f->fields[i] = at;
        at += strlen(at) + 1;
    }
    f->kind = kind;
    f->refs = 1;
    f->labels_count = labels;
    f->owners_count = owners;
    f->pub.resource = kind->resource;
    return f;
}

static bool waits_for_dependents(const json_t *metadata)
{
    size_t i;
    json_t *finalizer;
    json_array_foreach(json_object_get(metadata, "finalizers"), i, finalizer)
    {
        if (slice_eq_str(slice_str(json_string_value(finalizer)), OBJECT_FOREGROUND)) {
            return true;
        }
    }
    return false;
}

static int find_version(struct object_full *f, struct error *err)
{
    const char *found =
        memmem(f->pub.json.ptr, f->pub.json.len, VERSION_KEY, sizeof(VERSION_KEY) - 1);
    if (found == NULL) {
        return error_set(err, ERR_PROTOCOL, "metadata.resourceVersion is missing");
    }
    f->version_at = (uint32_t)(found - f->pub.json.ptr + (ptrdiff_t)sizeof(VERSION_KEY) - 1);
    uint64_t n = 0;
    uint32_t i = f->version_at;
    for (; i < f->pub.json.len && f->pub.json.ptr[i] >= '0' && f->pub.json.ptr[i] <= '9'; i++) {
        n = n * 10 + (uint64_t)(f->pub.json.ptr[i] - '0');
    }
    f->version_len = i - f->version_at;
    f->pub.version = n;
    return 0;
}

/* Takes `text` (malloc), also when it fails. */
static int project(const struct store_kind *kind, const json_t *root, char *text, size_t len,
                   struct object **out, struct error *err)
{
    const json_t *metadata = json_object_get(root, "metadata");
    size_t fields = object_fields_count(kind);
    struct texts t = {.count = 0};
    strbuf_init(&t.buf, len * 2 + 4096);
    texts_add(&t, string_at(metadata, "namespace"));
    texts_add(&t, string_at(metadata, "name"));
    texts_add(&t, string_at(metadata, "uid"));
    uint32_t labels = add_labels(&t, metadata);
    uint32_t blocks, owners = add_owners(&t, metadata, &blocks);
    for (size_t i = 0; i < fields; i++) {
        texts_add(&t, string_at(root, kind->fields[i]));
    }
    if (!strbuf_ok(&t.buf)) {
        strbuf_fini(&t.buf);
        free(text);
        return error_set(err, ERR_TOO_BIG, "labels and fields of the object are too big");
    }
    struct object_full *f = lay_out(kind, &t, labels, owners, fields);
    strbuf_fini(&t.buf);
    f->pub.json = slice_of(text, len);
    f->pub.generation = json_integer_value(json_object_get(metadata, "generation"));
    f->pub.deleting = json_object_get(metadata, "deletionTimestamp") != NULL;
    f->blocks = blocks;
    f->foreground = f->pub.deleting && waits_for_dependents(metadata);
    f->finalizers = json_array_size(json_object_get(metadata, "finalizers")) > 0;
    int rc = find_version(f, err);
    if (rc < 0) {
        object_unref(&f->pub);
        return rc;
    }
    *out = &f->pub;
    return 0;
}

/* Patches can nest what came flat; everything that walks a tree relies on this bound. */
static bool too_deep(const json_t *value, unsigned left)
{
    if (left == 0) {
        return true;
    }
    const char *key;
    json_t *item;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)value, key, item)
    {
        if (too_deep(item, left - 1)) {
            return true;
        }
    }
    json_array_foreach(value, i, item)
    {
        if (too_deep(item, left - 1)) {
            return true;
        }
    }
    return false;
}

int object_make(const struct store_kind *kind, const json_t *root, size_t bytes_max,
                struct object **out, struct error *err)
{
    if (too_deep(root, DEPTH_MAX)) {
        return error_set(err, ERR_INVALID, "the object is nested deeper than %d levels", DEPTH_MAX);
    }
    char *text = json_dumps(root, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text == NULL) {
        return error_set(err, ERR_INVALID, "the object cannot be written as JSON");
    }
    size_t len = strlen(text);
    if (len > bytes_max) {
        free(text);
        return error_set(err, ERR_TOO_BIG, "Request entity too large: limit is %zu", bytes_max);
    }
    return project(kind, root, text, len, out, err);
}

int object_load(const struct store_kind *kind, struct slice text, struct object **out,
                struct error *err)
{
    json_error_t problem;
    json_t *root = NULL;
    if (object_fields_count(kind) == 0) { /* all that is projected stands in there */
        json_t *metadata = jread_member(text, "metadata", DEPTH_MAX);
        root = metadata == NULL ? NULL : json_pack("{s:o}", "metadata", metadata);
    }
    if (root == NULL) {
        root = jread(text, false, DEPTH_MAX);
    }
    if (root == NULL) {
        root = json_loadb(text.ptr, text.len, JSON_ALLOW_NUL, &problem);
    }
    if (root == NULL) {
        return error_set(err, ERR_PROTOCOL, "not JSON: %s", problem.text);
    }
    int rc = project(kind, root, xstrndup(text.ptr, text.len), text.len, out, err);
    json_decref(root);
    if (rc == 0 && ((*out)->name[0] == '\0' || (*out)->uid[0] == '\0')) {
        object_unref(*out);
        return error_set(err, ERR_PROTOCOL, "an object without name or uid");
    }
    return rc;
}
