// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: one walk along schema and object; the path is one buffer that grows and shrinks with it. A
 * structure that keeps unknown fields is still walked where it has known ones. The search for
 * duplicates is a walk over the text with the set of names of each open object. Failure modes:
 * none; a path beyond its buffer is cut.
 */
#include "serving/schema_prune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jparse.h"

#define PATH_LEN_MAX 1024
#define DEPTH_MAX    64

struct walk {
    bool custom;
    json_t *unknown; // may be NULL
    size_t len;
    char path[PATH_LEN_MAX];
};

static void prune_object(struct walk *w, const struct schema *schema, json_t *object);

static size_t push_key(struct walk *w, const char *key)
{
    size_t before = w->len, n = strlen(key);
    if (before + n + 2 <= sizeof(w->path)) {
        if (before > 0) {
            w->path[w->len++] = '.';
        }
        memcpy(w->path + w->len, key, n + 1);
        w->len += n;
    }
    return before;
}

static size_t push_index(struct walk *w, size_t i)
{
    size_t before = w->len;
    int n = snprintf(w->path + w->len, sizeof(w->path) - w->len, "[%zu]", i);
    w->len += n < 0 ? 0 : (size_t)n;
    if (w->len >= sizeof(w->path)) {
        w->len = sizeof(w->path) - 1;
    }
    return before;
}

static void pop(struct walk *w, size_t before)
{
    w->len = before;
    w->path[before] = '\0';
}

static void note(struct walk *w, const char *key)
{
    if (w->unknown == NULL || json_array_size(w->unknown) >= SCHEMA_NAMES_MAX) {
        return;
    }
    size_t before = push_key(w, key);
    (void)json_array_append_new(w->unknown, json_stringn_nocheck(w->path, w->len));
    pop(w, before);
}

static void prune_one(struct walk *w, const struct schema_field *field, json_t *value)
{
    if (!schema_is_open(field, w->custom) && field->type == SCHEMA_TYPE_OBJECT &&
        json_is_object(value)) {
        prune_object(w, schema_row((enum schema_id)field->ref), value);
    }
}

static void prune_field(struct walk *w, const struct schema_field *field, json_t *value)
{
    const char *key;
    json_t *item;
    size_t i;
    if (field->shape == SCHEMA_LIST) {
        json_array_foreach(value, i, item)
        {
            size_t before = push_index(w, i);
            prune_one(w, field, item);
            pop(w, before);
        }
    } else if (field->shape == SCHEMA_MAP) {
        json_object_foreach(value, key, item)
        {
            size_t before = push_key(w, key);
            prune_one(w, field, item);
            pop(w, before);
        }
    } else {
        prune_one(w, field, value);
    }
}

static void fill_defaults(const struct schema *schema, json_t *object)
{
    size_t at = 0;
    const struct schema_field *f;
    while ((f = schema_next(schema, true, &at)) != NULL) {
        if (f->initial != NULL && json_object_get(object, f->name) == NULL) {
            REQUIRE(json_object_set_new(object, f->name, json_string(f->initial)) == 0);
        }
    }
}

static void prune_object(struct walk *w, const struct schema *schema, json_t *object)
{
    bool root = w->len == 0;
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(object, next, key, value)
    {
        if (root && (strcmp(key, "apiVersion") == 0 || strcmp(key, "kind") == 0 ||
                     strcmp(key, "metadata") == 0)) {
            continue;
        }
        const struct schema_field *field = schema_field(schema, slice_str(key), w->custom);
        if (field == NULL) {
            if (!schema->keeps) {
                note(w, key);
                (void)json_object_del(object, key);
            }
        } else if (json_is_null(value)) {
            (void)json_object_del(object, key);
        } else {
            size_t before = push_key(w, key);
            prune_field(w, field, value);
            pop(w, before);
        }
    }
    if (w->custom) {
        fill_defaults(schema, object);
    }
}

static int by_text(const void *a, const void *b)
{
    json_t *const *x = a, *const *y = b;
    return strcmp(json_string_value(*x), json_string_value(*y));
}

static void sort_names(json_t *names)
{
    size_t n = json_array_size(names);
    CLEANUP(cleanup_free) json_t **all = xcalloc(n + 1, sizeof(*all));
    for (size_t i = 0; i < n; i++) {
        all[i] = json_incref(json_array_get(names, i));
    }
    qsort(all, n, sizeof(*all), by_text);
    (void)json_array_clear(names);
    for (size_t i = 0; i < n; i++) {
        (void)json_array_append_new(names, all[i]);
    }
}

void schema_prune(const struct kind *kind, json_t *object, json_t *unknown)
{
    if (!json_is_object(object)) {
        return;
    }
    struct walk w = {.custom = kind_is_custom(kind), .unknown = unknown};
    json_t *metadata = json_object_get(object, "metadata");
    if (json_is_object(metadata)) {
        struct walk m = {.custom = false, .unknown = unknown};
        size_t before = push_key(&m, "metadata");
        prune_object(&m, schema_row(SCHEMA_OBJECT_META), metadata);
        pop(&m, before);
    }
    prune_object(&w, schema_of(kind), object);
    if (unknown != NULL) {
        sort_names(unknown);
    }
}

/* --- names that stand twice ---------------------------------------------------------------- */

struct level {
    json_t *names; // of the object that is open; NULL: an array
    size_t index;  // of the array that is open
    size_t path;   // length of the path before its members
};

struct scan {
    struct slice text;
    size_t at;
    struct walk walk;
    struct level levels[DEPTH_MAX + 1];
    size_t depth;
};

// The string that begins at the quote; at is behind it afterwards. New reference or NULL.
static json_t *take_string(struct scan *s)
{
    size_t from = s->at++;
    while (s->at < s->text.len && s->text.ptr[s->at] != '"') {
        s->at += s->text.ptr[s->at] == '\\' ? 2 : 1;
    }
    s->at++;
    if (s->at > s->text.len) {
        s->at = s->text.len;
        return NULL;
    }
    return json_loadb(s->text.ptr + from, s->at - from, JSON_DECODE_ANY, NULL);
}

static void skip_space(struct scan *s)
{
    while (s->at < s->text.len && strchr(" \t\r\n", s->text.ptr[s->at]) != NULL) {
        s->at++;
    }
}

static void take_name(struct scan *s, struct level *level)
{
    CLEANUP(jfree) json_t *name = take_string(s);
    const char *key = json_string_value(name);
    pop(&s->walk, level->path);
    if (key == NULL) {
        return;
    }
    if (json_object_get(level->names, key) != NULL) {
        note(&s->walk, key);
    }
    (void)json_object_set_new(level->names, key, json_true());
    (void)push_key(&s->walk, key);
}

static void open_level(struct scan *s, bool object)
{
    if (s->depth < DEPTH_MAX) {
        s->depth++;
    }
    struct level *level = &s->levels[s->depth];
    json_decref(level->names);
    *level = (struct level){.names = object ? json_object() : NULL, .path = s->walk.len};
    if (!object) {
        (void)push_index(&s->walk, 0);
    }
}

static void close_level(struct scan *s)
{
    struct level *level = &s->levels[s->depth];
    json_decref(level->names);
    level->names = NULL;
    pop(&s->walk, level->path);
    s->depth -= s->depth > 0 ? 1 : 0;
}

static void scan_value(struct scan *s)
{
    struct level *level = &s->levels[s->depth];
    char c = s->text.ptr[s->at];
    if (c == '"') {
        size_t from = s->at;
        json_decref(take_string(s));
        skip_space(s);
        if (level->names != NULL && s->at < s->text.len && s->text.ptr[s->at] == ':') {
            s->at = from;
            take_name(s, level);
        }
        return;
    }
    s->at++;
    if (c == '{' || c == '[') {
        open_level(s, c == '{');
    } else if (c == '}' || c == ']') {
        close_level(s);
    } else if (c == ',' && s->depth > 0 && level->names == NULL) {
        pop(&s->walk, level->path);
        (void)push_index(&s->walk, ++level->index);
    }
}

json_t *schema_duplicates(struct slice text)
{
    struct scan s = {.text = text, .walk = {.unknown = json_array()}};
    for (skip_space(&s); s.at < text.len; skip_space(&s)) {
        scan_value(&s);
    }
    for (size_t i = 0; i <= DEPTH_MAX; i++) {
        json_decref(s.levels[i].names);
    }
    return s.walk.unknown;
}
