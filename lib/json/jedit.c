// SPDX-License-Identifier: Apache-2.0
/* Merge patch, its inverse, and pointers. Recursion is as deep as the trees, which jparse bounds.
 */
#include "json/jedit.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/strbuf.h"

/* jansson's object iterators do not take const. */
static json_t *unconst(const json_t *value)
{
    return (json_t *)(uintptr_t)value;
}

/* Applies the patch to target (taken, may be NULL); returns the result (the caller's). */
static json_t *merge_into(json_t *target, const json_t *patch)
{
    if (!json_is_object(patch)) {
        json_decref(target);
        return json_deep_copy(patch);
    }
    if (!json_is_object(target)) {
        json_decref(target);
        target = json_object();
    }
    const char *key;
    json_t *value;
    json_object_foreach(unconst(patch), key, value)
    {
        if (json_is_null(value)) {
            json_object_del(target, key);
        } else {
            json_object_set_new(target, key,
                                merge_into(json_incref(json_object_get(target, key)), value));
        }
    }
    return target;
}

json_t *jmerge_patch(const json_t *target, const json_t *patch)
{
    /* A patch that is no object replaces everything: nothing to copy then. */
    return merge_into(json_is_object(patch) && target != NULL ? json_deep_copy(target) : NULL,
                      patch);
}

json_t *jmerge_patch_shared(const json_t *target, const json_t *patch)
{
    if (!json_is_object(patch)) {
        return json_deep_copy(patch);
    }
    json_t *merged = json_is_object(target) ? json_copy(unconst(target)) : json_object();
    const char *key;
    json_t *value;
    json_object_foreach(unconst(patch), key, value)
    {
        if (json_is_null(value)) {
            json_object_del(merged, key);
        } else {
            json_object_set_new(merged, key,
                                jmerge_patch_shared(json_object_get(target, key), value));
        }
    }
    return merged;
}

json_t *jmerge_diff(const json_t *from, const json_t *to)
{
    if (!json_is_object(from) || !json_is_object(to)) {
        return json_deep_copy(to);
    }
    json_t *patch = json_object();
    const char *key;
    json_t *value;
    json_object_foreach(unconst(from), key, value)
    {
        if (json_object_get(to, key) == NULL) {
            json_object_set_new(patch, key, json_null());
        }
    }
    json_object_foreach(unconst(to), key, value)
    {
        const json_t *old = json_object_get(from, key);
        if (jequal(old, value)) {
            continue;
        }
        json_object_set_new(patch, key, jmerge_diff(old, value));
    }
    return patch;
}

bool jequal(const json_t *a, const json_t *b)
{
    return a == NULL || b == NULL ? a == b : json_equal(a, b) != 0;
}

/* One token of a pointer, unescaped into buf; *rest moves on. False at the end or when malformed.
 */
static bool next_token(struct slice *rest, struct strbuf *buf)
{
    if (rest->len == 0 || rest->ptr[0] != '/') {
        return false;
    }
    strbuf_clear(buf);
    size_t i = 1;
    for (; i < rest->len && rest->ptr[i] != '/'; i++) {
        char c = rest->ptr[i];
        if (c == '~') {
            i++;
            if (i >= rest->len || (rest->ptr[i] != '0' && rest->ptr[i] != '1')) {
                return false;
            }
            c = rest->ptr[i] == '0' ? '~' : '/';
        }
        strbuf_append_char(buf, c);
    }
    *rest = slice_sub(*rest, i, rest->len);
    return strbuf_ok(buf);
}

/* The index that the token names in an array of n elements; n itself for "-". */
static bool array_index(const struct strbuf *token, size_t n, size_t *out)
{
    uint64_t index;
    if (strcmp(token->ptr, "-") == 0) {
        *out = n;
        return true;
    }
    if ((token->len > 1 && token->ptr[0] == '0') ||
        num_parse_u64(strbuf_slice(token), 0, UINT32_MAX, &index, NULL) < 0) {
        return false;
    }
    *out = (size_t)index;
    return true;
}

static json_t *child(const json_t *at, const struct strbuf *token)
{
    size_t index;
    if (json_is_object(at)) {
        return json_object_getn(at, token->ptr, token->len);
    }
    if (json_is_array(at) && array_index(token, json_array_size(at), &index)) {
        return json_array_get(at, index);
    }
    return NULL;
}

#define TOKEN_MAX 1024

json_t *jpointer_get(const json_t *root, struct slice pointer)
{
    CLEANUP(strbuf_fini) struct strbuf token;
    strbuf_init(&token, TOKEN_MAX);
    const json_t *at = root;
    while (at != NULL && next_token(&pointer, &token)) {
        at = child(at, &token);
    }
    return pointer.len == 0 ? unconst(at) : NULL;
}

/* The parent of what the pointer names, and its last token. */
static int find_parent(json_t *root, struct slice pointer, json_t **out, struct strbuf *token,
                       struct error *err)
{
    ptrdiff_t slash = slice_rfind(pointer, '/');
    struct slice last = slash < 0 ? pointer : slice_sub(pointer, (size_t)slash, pointer.len);
    json_t *parent = slash < 0 ? NULL : jpointer_get(root, slice_sub(pointer, 0, (size_t)slash));
    if (parent == NULL || !next_token(&last, token) || last.len != 0) {
        return error_set(err, ERR_NOT_FOUND, "\"%.*s\": nothing there", SLICE_FMT(pointer));
    }
    *out = parent;
    return 0;
}

int jpointer_set(json_t *root, struct slice pointer, json_t *value, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf token;
    strbuf_init(&token, TOKEN_MAX);
    json_t *parent;
    int rc = find_parent(root, pointer, &parent, &token, err);
    if (rc < 0) {
        json_decref(value);
        return rc;
    }
    size_t index;
    int failed = -1;
    if (json_is_object(parent)) {
        failed = json_object_setn_new(parent, token.ptr, token.len, value);
    } else if (json_is_array(parent) && array_index(&token, json_array_size(parent), &index)) {
        failed = index == json_array_size(parent) ? json_array_append_new(parent, value)
                                                  : json_array_set_new(parent, index, value);
    } else {
        json_decref(value);
    }
    return failed ? error_set(err, ERR_INVALID, "\"%.*s\": cannot be set", SLICE_FMT(pointer)) : 0;
}

int jpointer_remove(json_t *root, struct slice pointer, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf token;
    strbuf_init(&token, TOKEN_MAX);
    json_t *parent;
    int rc = find_parent(root, pointer, &parent, &token, err);
    if (rc < 0) {
        return rc;
    }
    size_t index;
    int failed = -1;
    if (json_is_object(parent)) {
        failed = json_object_deln(parent, token.ptr, token.len);
    } else if (json_is_array(parent) && array_index(&token, json_array_size(parent), &index)) {
        failed = json_array_remove(parent, index);
    }
    return failed ? error_set(err, ERR_NOT_FOUND, "\"%.*s\": nothing there", SLICE_FMT(pointer))
                  : 0;
}

/* --- members ------------------------------------------------------------------------------- */

json_t *jobject_at(json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    if (!json_is_object(value)) {
        value = json_object();
        REQUIRE(json_object_set_new(object, key, value) == 0);
    }
    return value;
}

void jset_text(json_t *object, const char *key, const char *text)
{
    REQUIRE(json_object_set_new(object, key, json_string(text)) == 0);
}
