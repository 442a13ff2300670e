// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: collect namespace, name, uid and owners as texts that stand behind the struct, labels and
 * field values as texts in front of the JSON, which becomes the body. A packed body is unpacked for
 * whoever asks, as far as needed. Fails only for texts that are too big or not UTF-8.
 */

#include "local/store/object.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "json/jread.h"

#define DEPTH_MAX      100
#define VERSION_KEY    "\"resourceVersion\":\""
#define VERSION_DIGITS 20
#define IDS_MAX        (4u << 20)
#define LOAD_MAX       (64u << 20)

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
        free(f->body);
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

static void let_tree_go(struct object **place)
{
    if (*place != NULL) {
        object_keep_tree(*place, NULL);
        object_unref(*place);
        *place = NULL;
    }
}

void object_trees_add(struct object_trees *t, struct object *o, json_t *root)
{
    struct object **place = &t->kept[t->next++ % OBJECT_TREES];
    let_tree_go(place);
    *place = object_ref(o);
    object_keep_tree(o, root);
}

void object_trees_rest(struct object_trees *t)
{
    for (unsigned i = OBJECT_TREES_REST; i < OBJECT_TREES; i++) {
        let_tree_go(&t->kept[(t->next - 1 - i) % OBJECT_TREES]);
    }
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

json_t *object_only(const struct object *o, const char *const *paths, size_t count)
{
    CLEANUP(object_room_fini) struct object_room room = {0};
    json_t *root = object_full(o)->tree;
    if (root == NULL) {
        root = jread_only(object_json(o, &room), paths, count, DEPTH_MAX);
    } else {
        json_incref(root);
    }
    return root != NULL ? root : object_parse(o);
}

json_t *object_parse(const struct object *o)
{
    CLEANUP(object_room_fini) struct object_room room = {0};
    struct slice text = object_json(o, &room);
    json_t *root = jread(text, false, DEPTH_MAX);
    if (root == NULL) {
        root = json_loadb(text.ptr, text.len, JSON_ALLOW_NUL, NULL);
    }
    REQUIRE(root != NULL);
    return root;
}

/* --- texts --------------------------------------------------------------------------------- */

void object_room_fini(struct object_room *room)
{
    free(room->text);
    *room = (struct object_room){0};
}

/* The first len bytes of the body. */
static const char *body_of(const struct object_full *f, size_t len, struct object_room *room)
{
    if (f->pack == NULL) {
        return f->body;
    }
    REQUIRE(room != NULL);
    if (room->size < len) {
        free(room->text);
        room->text = xmalloc(len);
        room->size = len;
    }
    struct error err;
    int rc = unpack_first(f->pack, slice_of(f->body, f->packed_len), room->text, len, &err);
    REQUIRE(rc == 0); /* we packed it */
    return room->text;
}

struct slice object_json(const struct object *o, struct object_room *room)
{
    const struct object_full *f = object_full(o);
    size_t len = (size_t)f->texts_len + f->json_len;
    return slice_of(body_of(f, len, room) + f->texts_len, f->json_len);
}

size_t object_json_len(const struct object *o)
{
    return object_full(o)->json_len;
}

void object_json_at(const struct object *o, uint64_t version, struct object_room *room,
                    struct slice out[3])
{
    const struct object_full *f = object_full(o);
    struct slice text = object_json(o, room);
    int n = snprintf(room->number, sizeof(room->number), "%" PRIu64, version);
    out[0] = slice_sub(text, 0, f->version_at);
    out[1] = slice_of(room->number, (size_t)n);
    out[2] = slice_sub(text, (size_t)f->version_at + f->version_len, text.len);
}

const char *object_next_text(const char *text)
{
    return text + strlen(text) + 1;
}

const char *object_owners(const struct object *o)
{
    return object_next_text(o->uid);
}

const char *object_texts(const struct object *o, struct object_room *room)
{
    const struct object_full *f = object_full(o);
    return body_of(f, f->texts_len, room);
}

const char *object_label(const struct object *o, const char *texts, const char *key)
{
    const struct object_full *f = object_full(o);
    for (uint32_t i = 0; i < f->labels_count; i++) {
        const char *value = object_next_text(texts);
        if (strcmp(texts, key) == 0) {
            return value;
        }
        texts = object_next_text(value);
    }
    return NULL;
}

const char *object_field(const struct object *o, const char *texts, size_t field)
{
    const struct object_full *f = object_full(o);
    for (size_t i = 0; i < (size_t)f->labels_count * 2 + field; i++) {
        texts = object_next_text(texts);
    }
    return texts;
}

struct slice object_body(const struct object *o)
{
    const struct object_full *f = object_full(o);
    REQUIRE(f->pack == NULL);
    return slice_of(f->body, (size_t)f->texts_len + f->json_len);
}

void object_keep_packed(struct object *o, const struct pack *pack, char *packed, size_t len)
{
    struct object_full *f = object_full(o);
    REQUIRE(f->pack == NULL && len <= UINT32_MAX);
    free(f->body);
    f->body = packed;
    f->pack = pack;
    f->packed_len = (uint32_t)len;
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

static void add_text(struct strbuf *out, const char *text)
{
    text = text == NULL ? "" : text;
    (void)strbuf_append(out, text, strlen(text) + 1);
}

static const char *string_at(const json_t *root, const char *path)
{
    return json_string_value(object_path(root, path));
}

static uint32_t add_labels(struct strbuf *out, const json_t *metadata)
{
    json_t *labels = json_object_get(metadata, "labels");
    const char *key;
    json_t *value;
    uint32_t n = 0;
    json_object_foreach(labels, key, value)
    {
        add_text(out, key);
        add_text(out, json_string_value(value));
        n++;
    }
    return n;
}

static uint32_t add_owners(struct strbuf *out, const json_t *metadata, uint32_t *out_blocks)
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
            add_text(out, uid);
            n++;
        }
    }
    return n;
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
    const char *json = f->body + f->texts_len;
    const char *found = memmem(json, f->json_len, VERSION_KEY, sizeof(VERSION_KEY) - 1);
    if (found == NULL) {
        return error_set(err, ERR_PROTOCOL, "metadata.resourceVersion is missing");
    }
    f->version_at = (uint32_t)(found - json + (ptrdiff_t)sizeof(VERSION_KEY) - 1);
    uint64_t n = 0;
    uint32_t i = f->version_at;
    for (; i < f->json_len && json[i] >= '0' && json[i] <= '9'; i++) {
        n = n * 10 + (uint64_t)(json[i] - '0');
    }
    if (i - f->version_at > VERSION_DIGITS) {
        return error_set(err, ERR_PROTOCOL, "metadata.resourceVersion is too long");
    }
    f->version_len = (uint8_t)(i - f->version_at);
    f->pub.version = n;
    return 0;
}

/* The struct with the ids behind it, and what else is projected but the body's texts. */
static struct object_full *make_full(const struct store_kind *kind, const json_t *metadata)
{
    uint32_t blocks;
    CLEANUP(strbuf_fini) struct strbuf ids;
    strbuf_init(&ids, IDS_MAX);
    add_text(&ids, string_at(metadata, "namespace"));
    add_text(&ids, string_at(metadata, "name"));
    add_text(&ids, string_at(metadata, "uid"));
    uint32_t owners = add_owners(&ids, metadata, &blocks);
    if (!strbuf_ok(&ids)) {
        return NULL;
    }
    struct object_full *f = xcalloc(1, sizeof(*f) + ids.len);
    memcpy(f->ids, ids.ptr, ids.len);
    f->kind = kind;
    f->refs = 1;
    f->pub.resource = kind->resource;
    f->pub.ns = f->ids;
    f->pub.name = object_next_text(f->pub.ns);
    f->pub.uid = object_next_text(f->pub.name);
    f->pub.generation = json_integer_value(json_object_get(metadata, "generation"));
    f->pub.deleting = json_object_get(metadata, "deletionTimestamp") != NULL;
    f->owners_count = owners;
    f->blocks = blocks;
    f->foreground = f->pub.deleting && waits_for_dependents(metadata);
    f->finalizers = json_array_size(json_object_get(metadata, "finalizers")) > 0;
    return f;
}

static int too_big(struct error *err)
{
    return error_set(err, ERR_TOO_BIG, "labels, owners and fields of the object are too big");
}

/* Begins the body with labels and fields. The caller adds the JSON. */
static int start_body(const struct store_kind *kind, const json_t *root, struct strbuf *body,
                      struct object_full **out, struct error *err)
{
    const json_t *metadata = json_object_get(root, "metadata");
    struct object_full *f = make_full(kind, metadata);
    if (f == NULL) {
        return too_big(err);
    }
    f->labels_count = add_labels(body, metadata);
    for (size_t i = 0; i < object_fields_count(kind); i++) {
        add_text(body, string_at(root, kind->fields[i]));
    }
    if (!strbuf_ok(body)) {
        free(f);
        return too_big(err);
    }
    f->texts_len = (uint32_t)body->len;
    *out = f;
    return 0;
}

/* Ends what start_body() began. Takes f, also when it fails. */
static int end_body(struct object_full *f, struct strbuf *body, struct object **out,
                    struct error *err)
{
    size_t len;
    char *text = strbuf_take(body, &len);
    f->body = xrealloc(text, len);
    f->json_len = (uint32_t)(len - f->texts_len);
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

static int append_json(const char *text, size_t len, void *arg)
{
    return strbuf_append(arg, text, len) == 0 ? 0 : -1;
}

int object_make(const struct store_kind *kind, const json_t *root, size_t bytes_max,
                struct object **out, struct error *err)
{
    if (too_deep(root, DEPTH_MAX)) {
        return error_set(err, ERR_INVALID, "the object is nested deeper than %d levels", DEPTH_MAX);
    }
    CLEANUP(strbuf_fini) struct strbuf body;
    struct object_full *f;
    strbuf_init(&body, bytes_max * 3 + 4096); /* a label takes less room in the texts */
    int rc = start_body(kind, root, &body, &f, err);
    if (rc < 0) {
        return rc;
    }
    rc = json_dump_callback(root, append_json, &body, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!strbuf_ok(&body) || body.len - f->texts_len > bytes_max) {
        rc = error_set(err, ERR_TOO_BIG, "Request entity too large: limit is %zu", bytes_max);
    } else if (rc < 0) {
        rc = error_set(err, ERR_INVALID, "the object cannot be written as JSON");
    }
    if (rc < 0) {
        free(f);
        return rc;
    }
    return end_body(f, &body, out, err);
}

int object_load(const struct store_kind *kind, struct slice text, struct object **out,
                struct error *err)
{
    json_error_t problem;
    const char *paths[1 + ARRAY_LEN(kind->fields)] = {"metadata"};
    size_t fields = object_fields_count(kind);
    memcpy(paths + 1, kind->fields, fields * sizeof(*paths));
    json_t *root = jread_only(text, paths, 1 + fields, DEPTH_MAX);
    if (root == NULL) {
        root = json_loadb(text.ptr, text.len, JSON_ALLOW_NUL, &problem);
    }
    if (root == NULL) {
        return error_set(err, ERR_PROTOCOL, "not JSON: %s", problem.text);
    }
    CLEANUP(strbuf_fini) struct strbuf body;
    struct object_full *f;
    strbuf_init(&body, LOAD_MAX);
    int rc = start_body(kind, root, &body, &f, err);
    json_decref(root);
    if (rc == 0 && strbuf_append_slice(&body, text) < 0) {
        free(f);
        rc = too_big(err);
    }
    rc = rc == 0 ? end_body(f, &body, out, err) : rc;
    if (rc == 0 && ((*out)->name[0] == '\0' || (*out)->uid[0] == '\0')) {
        object_unref(*out);
        return error_set(err, ERR_PROTOCOL, "an object without name or uid");
    }
    return rc;
}
