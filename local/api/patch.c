// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: merge patch is lib/json's; JSON patch is applied operation by operation on a copy;
 * strategic merge patch (strategic.c) is for the kinds that have it on Kubernetes. The rest is
 * refused with what to use instead.
 */

#include <string.h>

#include "json/jedit.h"
#include "json/jget.h"
#include "local/api/call.h"
#include "local/api/strategic.h"

#define OPERATIONS_MAX 10000
#define COST_MAX       (16u << 20) /* bytes put in by one patch */
#define VALUE_COST     8u
#define DEPTH_MAX      100

static struct slice pointer_of(const json_t *operation, const char *key)
{
    return jpeek_str(operation, key);
}

static int refuse(struct error *err, size_t i, const struct error *why)
{
    return error_set(err, ERR_INVALID,
                     "the server rejected our request due to an error in our request: operation "
                     "%zu: %s",
                     i, why->msg);
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

/* Takes what it costs off the budget; gives up (false) below depth 0 or beyond the budget. */
static bool measure(const json_t *value, int depth, size_t *budget)
{
    size_t cost = VALUE_COST + json_string_length(value);
    if (depth <= 0 || *budget < cost) {
        return false;
    }
    *budget -= cost;
    const char *key;
    json_t *item;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)value, key, item)
    {
        size_t name = strlen(key);
        if (*budget < name || !measure(item, depth - 1, budget)) {
            return false;
        }
        *budget -= *budget < name ? *budget : name;
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

/* What is not there equals null. */
static bool test_passes(const json_t *there, const json_t *wanted)
{
    bool nothing = wanted == NULL || json_is_null(wanted);
    return there == NULL || json_is_null(there) ? nothing : jequal(there, wanted);
}

/* A member of an object need not be there: Kubernetes' library sets it. */
static bool replaceable(const json_t *root, struct slice path)
{
    ptrdiff_t slash = slice_rfind(path, '/');
    return jpointer_get(root, path) != NULL ||
           (slash >= 0 && json_is_object(jpointer_get(root, slice_sub(path, 0, (size_t)slash))));
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
    if (value == NULL && !slice_eq_str(op, "test")) {
        return error_set(err, ERR_INVALID, "%s",
                         from_other ? "nothing is at \"from\"" : "\"value\" is missing");
    }
    if (slice_eq_str(op, "test")) {
        return test_passes(jpointer_get(*root, path), value)
                   ? 0
                   : error_set(err, ERR_INVALID, "testing value %.80s failed", path.ptr);
    }
    if (slice_eq_str(op, "replace") && !replaceable(*root, path)) {
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
    if (!json_is_array(patch)) {
        return error_set(err, ERR_PROTOCOL,
                         "error decoding patch: it must be an array of operations, is %s",
                         jtype_name(patch));
    }
    if (json_array_size(patch) > OPERATIONS_MAX) {
        return error_set(err, ERR_TOO_BIG,
                         "The allowed maximum operations in a JSON patch is %d, got %zu",
                         OPERATIONS_MAX, json_array_size(patch));
    }
    json_t *root = json_deep_copy(target);
    size_t i, budget = COST_MAX;
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

#define ACCEPTED                                                                        \
    "the body of the request was in an unknown format - accepted media types include: " \
    "application/json-patch+json, application/merge-patch+json"

static int refuse_type(struct slice type, enum kind_id id, struct error *err)
{
    const char *strategic =
        strategic_type_of(id) == NULL ? "" : ", application/strategic-merge-patch+json";
    const char *hint = "";
    if (slice_starts_with(type, SLICE_LIT("application/apply-patch"))) {
        hint = " (server-side apply is not supported: use kubectl apply without --server-side)";
    } else if (slice_starts_with(type, SLICE_LIT("application/strategic"))) {
        hint = " (use a merge patch: kubectl patch --type=merge)";
    }
    return error_set(err, ERR_UNSUPPORTED, ACCEPTED "%s%s", strategic, hint);
}

static struct slice media_type(struct slice content_type)
{
    ptrdiff_t semicolon = slice_find(content_type, ';');
    return slice_trim(semicolon < 0 ? content_type : slice_sub(content_type, 0, (size_t)semicolon));
}

int patch_check(enum kind_id id, struct slice content_type, struct error *err)
{
    struct slice type = media_type(content_type);
    bool fine = slice_eq_str(type, "application/json-patch+json") ||
                slice_eq_str(type, "application/merge-patch+json") ||
                (slice_eq_str(type, "application/strategic-merge-patch+json") &&
                 strategic_type_of(id) != NULL);
    return fine ? 0 : refuse_type(type, id, err);
}

int patch_apply(enum kind_id id, struct slice content_type, const json_t *target,
                const json_t *patch, json_t **out, struct error *err)
{
    int rc = patch_check(id, content_type, err);
    if (rc < 0) {
        return rc;
    }
    struct slice type = media_type(content_type);
    if (slice_eq_str(type, "application/json-patch+json")) {
        return json_patch(target, patch, out, err);
    }
    if (!json_is_object(patch)) {
        return error_set(err, ERR_PROTOCOL, "error decoding patch: it must be a JSON object, is %s",
                         jtype_name(patch));
    }
    if (slice_eq_str(type, "application/strategic-merge-patch+json")) {
        return strategic_merge(strategic_type_of(id), target, patch, out, err);
    }
    *out = jmerge_patch(target, patch);
    return 0;
}
