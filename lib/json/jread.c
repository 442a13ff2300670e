// SPDX-License-Identifier: Apache-2.0
/*
 * One pass over the bytes, recursive within the depth. Each function returns with the cursor behind
 * what it took, or fails for good. Strings are looked through in one go and copied once.
 */
#include "json/jread.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define DIGITS_MAX 18
#define PATHS_MAX  JREAD_PATHS_MAX

/* What is left of the paths that lead on from here. */
struct paths {
    const char *rest[PATHS_MAX];
    unsigned count;
};

struct cursor {
    const char *at;
    const char *end;
    unsigned depth; /* levels that are left */
    bool unique;
    struct paths without;
};

static void skip_space(struct cursor *c)
{
    while (c->at < c->end &&
           (*c->at == ' ' || *c->at == '\n' || *c->at == '\t' || *c->at == '\r')) {
        c->at++;
    }
}

static bool take(struct cursor *c, char wanted)
{
    skip_space(c);
    if (c->at < c->end && *c->at == wanted) {
        c->at++;
        return true;
    }
    return false;
}

/* --- strings ------------------------------------------------------------------------------- */

struct text {
    const char *ptr;
    size_t len;
    bool escaped; /* has backslashes */
    bool ascii;
};

/* Finds the end; the bytes between the quotes are *out. */
static bool scan_string(struct cursor *c, struct text *out)
{
    if (!take(c, '"')) {
        return false;
    }
    *out = (struct text){.ptr = c->at, .ascii = true};
    for (; c->at < c->end; c->at++) {
        unsigned char byte = (unsigned char)*c->at;
        if (byte == '"') {
            out->len = (size_t)(c->at - out->ptr);
            c->at++;
            return true;
        }
        if (byte == '\\') {
            out->escaped = true;
            c->at++;
            if (c->at == c->end || *c->at == '\0' || strchr("\"\\/bfnrt", *c->at) == NULL) {
                return false;
            }
        } else if (byte < 0x20) {
            return false;
        } else if (byte >= 0x80) {
            out->ascii = false;
        }
    }
    return false;
}

static size_t unescape(const struct text *t, char *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    size_t n = 0;
    for (size_t i = 0; i < t->len; i++) {
        char c = t->ptr[i];
        if (c == '\\') {
            c = to[strchr(from, t->ptr[++i]) - from];
        }
        out[n++] = c;
    }
    return n;
}

/* Not ASCII: jansson checks that it is UTF-8, and gives NULL when it is not. */
static json_t *make_string(const char *ptr, size_t len, bool ascii)
{
    return ascii ? json_stringn_nocheck(ptr, len) : json_stringn(ptr, len);
}

static json_t *read_string(struct cursor *c)
{
    struct text t;
    if (!scan_string(c, &t)) {
        return NULL;
    }
    if (!t.escaped) {
        return make_string(t.ptr, t.len, t.ascii);
    }
    CLEANUP(cleanup_free) char *plain = xmalloc(t.len + 1);
    return make_string(plain, unescape(&t, plain), t.ascii);
}

/* --- other values -------------------------------------------------------------------------- */

static bool read_word(struct cursor *c, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(c->end - c->at) < len || memcmp(c->at, word, len) != 0) {
        return false;
    }
    c->at += len;
    return true;
}

/* An integer; what follows it decides whether it was one. */
static bool read_integer(struct cursor *c, json_int_t *out)
{
    bool minus = c->at < c->end && *c->at == '-';
    const char *first = c->at + minus;
    json_int_t n = 0;
    for (c->at = first; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        if (c->at - first == DIGITS_MAX) {
            return false;
        }
        n = n * 10 + (*c->at - '0');
    }
    bool real = c->at < c->end && (*c->at == '.' || *c->at == 'e' || *c->at == 'E');
    *out = minus ? -n : n;
    return c->at > first && !real && (*first != '0' || (c->at == first + 1 && !minus));
}

static json_t *read_value(struct cursor *c);
static bool skip_value(struct cursor *c);

/* The paths that go on through this member. True: one ends at it. */
static bool follow(struct paths *paths, const struct text *key)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < paths->count; i++) {
        const char *path = paths->rest[i];
        if (strncmp(path, key->ptr, key->len) != 0) {
            continue;
        }
        if (path[key->len] == '\0') {
            return true;
        }
        if (path[key->len] == '.') {
            paths->rest[kept++] = path + key->len + 1;
        }
    }
    paths->count = kept;
    return false;
}

static json_t *read_member(struct cursor *c, const struct text *key, bool *out_skipped)
{
    if (c->without.count == 0) {
        return read_value(c);
    }
    struct paths outer = c->without;
    json_t *value = NULL;
    if (follow(&c->without, key)) {
        *out_skipped = skip_value(c);
    } else {
        value = read_value(c);
    }
    c->without = outer;
    return value;
}

static bool read_entry(struct cursor *c, json_t *object)
{
    struct text key;
    bool skipped = false;
    size_t before = json_object_size(object);
    if (!scan_string(c, &key) || key.escaped || !key.ascii || !take(c, ':')) {
        return false;
    }
    json_t *value = read_member(c, &key, &skipped);
    if (skipped) {
        return true;
    }
    return value != NULL && json_object_setn_new_nocheck(object, key.ptr, key.len, value) == 0 &&
           (!c->unique || json_object_size(object) > before);
}

static bool read_item(struct cursor *c, json_t *array)
{
    json_t *value = read_value(c);
    return value != NULL && json_array_append_new(array, value) == 0;
}

static json_t *read_list(struct cursor *c, json_t *list, char close,
                         bool (*read)(struct cursor *c, json_t *list))
{
    c->at++;
    bool fine = c->depth-- > 0;
    if (fine && !take(c, close)) {
        do {
            fine = read(c, list);
        } while (fine && take(c, ','));
        fine = fine && take(c, close);
    }
    c->depth++;
    if (!fine) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static json_t *read_value(struct cursor *c)
{
    json_int_t n;
    skip_space(c);
    switch (c->at < c->end ? *c->at : '\0') {
    case '{':
        return read_list(c, json_object(), '}', read_entry);
    case '[':
        return read_list(c, json_array(), ']', read_item);
    case '"':
        return read_string(c);
    case 't':
        return read_word(c, "true") ? json_true() : NULL;
    case 'f':
        return read_word(c, "false") ? json_false() : NULL;
    case 'n':
        return read_word(c, "null") ? json_null() : NULL;
    default:
        return read_integer(c, &n) ? json_integer(n) : NULL;
    }
}

json_t *jread(struct slice text, bool unique, unsigned depth_max)
{
    struct cursor c = {
        .at = text.ptr, .end = text.ptr + text.len, .depth = depth_max, .unique = unique};
    json_t *value = read_value(&c);
    skip_space(&c);
    if (value != NULL && c.at < c.end) {
        json_decref(value);
        return NULL;
    }
    return value;
}

json_t *jread_front(struct slice *text, const char *const *without, unsigned depth_max)
{
    struct cursor c = {
        .at = text->ptr, .end = text->ptr + text->len, .depth = depth_max, .unique = true};
    for (; without != NULL && *without != NULL; without++) {
        REQUIRE(c.without.count < PATHS_MAX);
        c.without.rest[c.without.count++] = *without;
    }
    json_t *value = read_value(&c);
    if (value != NULL) {
        *text = slice_of(c.at, (size_t)(c.end - c.at));
    }
    return value;
}

/* --- some members -------------------------------------------------------------------------- */

/* The entries of an object, or the items of an array. */
static bool skip_list(struct cursor *c, bool object)
{
    struct text key;
    char close = object ? '}' : ']';
    c->at++;
    bool fine = c->depth-- > 0;
    if (fine && !take(c, close)) {
        do {
            fine =
                (!object || (scan_string(c, &key) && key.ascii && take(c, ':'))) && skip_value(c);
        } while (fine && take(c, ','));
        fine = fine && take(c, close);
    }
    c->depth++;
    return fine;
}

static bool skip_value(struct cursor *c)
{
    struct text text;
    json_int_t n;
    skip_space(c);
    switch (c->at < c->end ? *c->at : '\0') {
    case '{':
        return skip_list(c, true);
    case '[':
        return skip_list(c, false);
    case '"':
        return scan_string(c, &text) && text.ascii;
    case 't':
        return read_word(c, "true");
    case 'f':
        return read_word(c, "false");
    case 'n':
        return read_word(c, "null");
    default:
        return read_integer(c, &n);
    }
}

static json_t *read_only(struct cursor *c, const struct paths *paths);

/* What the paths want of the member with this name: *out, NULL for nothing. False: not taken. */
static bool read_wanted(struct cursor *c, const struct text *name, const struct paths *paths,
                        json_t **out)
{
    struct paths below = *paths;
    bool whole = follow(&below, name);
    skip_space(c);
    *out = NULL;
    if (!whole && below.count == 0) {
        return skip_value(c);
    }
    bool object = c->at < c->end && *c->at == '{';
    *out = whole || !object ? read_value(c) : read_only(c, &below);
    return *out != NULL;
}

static bool read_only_entry(struct cursor *c, const struct paths *paths, json_t *object)
{
    struct text key;
    json_t *value;
    size_t before = json_object_size(object);
    if (!scan_string(c, &key) || !key.ascii || !take(c, ':') ||
        !read_wanted(c, &key, paths, &value)) {
        return false;
    }
    return value == NULL || (json_object_setn_new_nocheck(object, key.ptr, key.len, value) == 0 &&
                             json_object_size(object) > before);
}

static json_t *read_only(struct cursor *c, const struct paths *paths)
{
    json_t *object = json_object();
    c->at++;
    bool fine = c->depth-- > 0;
    if (fine && !take(c, '}')) {
        do {
            fine = read_only_entry(c, paths, object);
        } while (fine && take(c, ','));
        fine = fine && take(c, '}');
    }
    c->depth++;
    if (!fine) {
        json_decref(object);
        return NULL;
    }
    return object;
}

json_t *jread_only(struct slice text, const char *const *paths, size_t count, unsigned depth_max)
{
    struct cursor c = {.at = text.ptr, .end = text.ptr + text.len, .depth = depth_max};
    struct paths wanted = {.count = (unsigned)count};
    REQUIRE(count <= PATHS_MAX);
    memcpy(wanted.rest, paths, count * sizeof(*paths));
    skip_space(&c);
    json_t *object = c.at < c.end && *c.at == '{' ? read_only(&c, &wanted) : NULL;
    skip_space(&c);
    if (object != NULL && c.at < c.end) {
        json_decref(object);
        return NULL;
    }
    return object;
}
