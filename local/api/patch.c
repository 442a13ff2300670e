// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: merge patch is lib/json's; JSON patch is applied operation by operation on a copy; a
 * strategic merge patch that has no lists and no directives means the same as a merge patch and is
 * taken as one. The rest is refused with what to use instead.
 */

#include <string.h>

#include "json/jedit.h"
#include "json/jget.h"
#include "local/api/call.h"

#define OPERATIONS_MAX 10000
#define VALUES_MAX     1000000 /* put in by one patch */
#define DEPTH_MAX      100

static struct slice pointer_of(const json_t *operation, const char *key)
{
    return jpeek_str(operation, key);
}

static int refuse(struct error *err, size_t i, const struct error *why)
{
    return error_set(err, ERR_INVALID, "the JSON patch cannot be applied: operation %zu: %s", i,
                     why->msg);
}

/* Sets at a pointer; "add" into an array inserts. Takes value. */
static int add_value(json_t **root, struct slice pointer, json_t *value, bool insert,
                     struct error *err)
{
    if (pointer.len == 0) {
        json_decref(*root);
        *root = value;
        return 0;
    }
    ptrdiff_t slash = slice_rfind(pointer, '/');
    json_t *parent = slash < 0 ? NULL : jpointer_get(*root, slice_sub(pointer, 0, (size_t)slash));
    if (insert && json_is_array(parent)) {
        struct slice key = slice_sub(pointer, (size_t)slash + 1, pointer.len);
        size_t at = 0;
        for (size_t i = 0; i < key.len && key.ptr[i] >= '0' && key.ptr[i] <= '9' && at < 100000;
             i++) {
            at = at * 10 + (size_t)(key.ptr[i] - '0');
        }
        if (key.len > 0 && key.ptr[0] != '-') {
            if (at > json_array_size(parent)) {
                json_decref(value);
                return error_set(err, ERR_INVALID, "index out of range");
            }
            if (json_array_insert_new(parent, at, value) != 0) {
                return error_set(err, ERR_INVALID, "index out of range");
            }
            return 0;
        }
    }
    return jpointer_set(*root, pointer, value, err);
}

/* Counts the values in it; gives up (false) below depth 0 or beyond the budget. */
static bool measure(const json_t *value, int depth, size_t *budget)
{
    if (depth <= 0 || *budget == 0) {
        return false;
    }
    --*budget;
    const char *key;
    json_t *item;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)value, key, item)
    {
        if (!measure(item, depth - 1, budget)) {
            return false;
        }
    }
    json_array_foreach(value, i, item)
    {
        if (!measure(item, depth - 1, budget)) {
            return false;
        }
    }
    return true;
}

/* Copies of copies grow without bound, in size and in depth: both have one. */
static bool fits(struct slice path, const json_t *value, size_t *budget)
{
    int depth = DEPTH_MAX;
    for (size_t i = 0; i < path.len; i++) {
        depth -= path.ptr[i] == '/' ? 1 : 0;
    }
    return measure(value, depth, budget);
}

static int run_operation(json_t **root, const json_t *operation, size_t *budget, struct error *err)
{
    struct slice op = jpeek_str(operation, "op");
    struct slice path = pointer_of(operation, "path");
    json_t *value = json_object_get(operation, "value");
    bool from_other = slice_eq_str(op, "move") || slice_eq_str(op, "copy");
    if (from_other) {
        value = jpointer_get(*root, pointer_of(operation, "from"));
    }
    if (slice_eq_str(op, "remove")) {
        return jpointer_remove(*root, path, err);
    }
    if (value == NULL) {
        return error_set(err, ERR_INVALID, "%s",
                         from_other ? "nothing is at \"from\"" : "\"value\" is missing");
    }
    if (slice_eq_str(op, "test")) {
        return jequal(jpointer_get(*root, path), value)
                   ? 0
                   : error_set(err, ERR_INVALID, "testing value %.80s failed", path.ptr);
    }
    if (slice_eq_str(op, "replace") && jpointer_get(*root, path) == NULL) {
        return error_set(err, ERR_INVALID, "nothing is at \"%.80s\"", path.ptr);
    }
    if (!from_other && !slice_eq_str(op, "add") && !slice_eq_str(op, "replace")) {
        return error_set(err, ERR_INVALID, "unknown operation \"%.40s\"", op.ptr);
    }
    if (!fits(path, value, budget)) {
        return error_set(err, ERR_INVALID, "it makes the object too big or too deep");
    }
    json_t *copy = json_deep_copy(value);
    if (slice_eq_str(op, "move")) {
        int rc = jpointer_remove(*root, pointer_of(operation, "from"), err);
        if (rc < 0) {
            json_decref(copy);
            return rc;
        }
    }
    return add_value(root, path, copy, !slice_eq_str(op, "replace"), err);
}

static int json_patch(const json_t *target, const json_t *patch, json_t **out, struct error *err)
{
    if (!json_is_array(patch) || json_array_size(patch) > OPERATIONS_MAX) {
        return error_set(err, ERR_PROTOCOL, "a JSON patch is an array of at most %d operations",
                         OPERATIONS_MAX);
    }
    json_t *root = json_deep_copy(target);
    size_t i, budget = VALUES_MAX;
    json_t *operation;
    json_array_foreach(patch, i, operation)
    {
        struct error why;
        if (run_operation(&root, operation, &budget, &why) < 0) {
            json_decref(root);
            return refuse(err, i, &why);
        }
    }
    *out = root;
    return 0;
}

/* Whether the strategic form could mean something else than the plain merge. */
static bool needs_strategy(const json_t *patch)
{
    if (json_is_array(patch)) {
        return true;
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)patch, key, value)
    {
        if (key[0] == '$' || needs_strategy(value)) {
            return true;
        }
    }
    return false;
}

int patch_apply(struct slice content_type, const json_t *target, const json_t *patch, json_t **out,
                struct error *err)
{
    ptrdiff_t semicolon = slice_find(content_type, ';');
    struct slice type =
        slice_trim(semicolon < 0 ? content_type : slice_sub(content_type, 0, (size_t)semicolon));
    if (slice_eq_str(type, "application/json-patch+json")) {
        return json_patch(target, patch, out, err);
    }
    bool strategic = slice_eq_str(type, "application/strategic-merge-patch+json");
    if (!strategic && !slice_eq_str(type, "application/merge-patch+json")) {
        return error_set(err, ERR_UNSUPPORTED,
                         "the body of the request was in an unknown format (%.*s) - accepted "
                         "media types include: application/json-patch+json, "
                         "application/merge-patch+json",
                         (int)(type.len > 60 ? 60 : type.len), type.ptr == NULL ? "" : type.ptr);
    }
    if (strategic && needs_strategy(patch)) {
        return error_set(err, ERR_UNSUPPORTED,
                         "strategic merge patches with lists or directives are not supported: use "
                         "a merge patch (kubectl patch --type=merge)");
    }
    if (!json_is_object(patch)) {
        return error_set(err, ERR_PROTOCOL, "a merge patch must be a JSON object");
    }
    *out = jmerge_patch(target, patch);
    return 0;
}
