// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: merge_map() walks the patch beside a private copy of the target. Directives first (the
 * whole map, then $retainKeys, then lists with an order), then member by member. A list that is
 * merged is: deletions, then each item of the patch onto the one with its key or behind the rest,
 * then the order: what the patch names in the patch's order, the others as near as possible to
 * where they stood.
 * Failures: a directive of the wrong form ends everything; so does work beyond a bound, because
 * every item is looked up among all others.
 */

#include "local/api/strategic.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"

#define PATCH     "$patch"
#define RETAIN    "$retainKeys"
#define ORDER     "$setElementOrder/"
#define REMOVE    "$deleteFromPrimitiveList/"
#define LOOKS_MAX 20000000 /* comparisons of two items */

struct run {
    size_t looks;
    struct error *err;
};

static int merge_map(struct run *run, const struct strategic_type *type, json_t *to,
                     const json_t *patch);

static bool starts(const char *key, const char *prefix)
{
    return strncmp(key, prefix, strlen(prefix)) == 0;
}

static bool is_directive(const char *key)
{
    return strcmp(key, PATCH) == 0 || strcmp(key, RETAIN) == 0 || starts(key, ORDER) ||
           starts(key, REMOVE);
}

/* --- values without directives ------------------------------------------------------------- */

/* A copy without directives, nulls in maps, and items that only say what to delete. NULL: nothing
 * is left. */
static json_t *plain_copy(const json_t *value)
{
    const char *key;
    json_t *item;
    size_t i;
    if (json_is_object(value)) {
        if (json_object_get(value, PATCH) != NULL) {
            return NULL;
        }
        json_t *out = json_object();
        json_object_foreach((json_t *)(uintptr_t)value, key, item)
        {
            json_t *kept = is_directive(key) || json_is_null(item) ? NULL : plain_copy(item);
            if (kept != NULL) {
                REQUIRE(json_object_set_new(out, key, kept) == 0);
            }
        }
        return out;
    }
    if (json_is_array(value)) {
        json_t *out = json_array();
        json_array_foreach(value, i, item)
        {
            json_t *kept = plain_copy(item);
            if (kept != NULL) {
                REQUIRE(json_array_append_new(out, kept) == 0);
            }
        }
        return out;
    }
    return json_deep_copy(value);
}

static void take_plain(json_t *to, const char *key, const json_t *value)
{
    json_t *kept = plain_copy(value);
    if (kept == NULL) {
        (void)json_object_del(to, key);
    } else {
        REQUIRE(json_object_set_new(to, key, kept) == 0);
    }
}

/* --- items of lists ------------------------------------------------------------------------ */

/* Whether two items are the same one: by merge key, or by value. */
static bool same_item(struct run *run, const json_t *a, const json_t *b, const char *key)
{
    run->looks += run->looks < LOOKS_MAX ? 1 : 0;
    if (key == NULL) {
        return json_equal(a, b);
    }
    const json_t *left = json_object_get(a, key);
    return left != NULL && json_equal(left, json_object_get(b, key));
}

static bool exhausted(const struct run *run)
{
    return run->looks >= LOOKS_MAX;
}

static int too_long(struct run *run)
{
    return error_set(run->err, ERR_TOO_BIG, "the lists of the strategic merge patch are too long");
}

/* Position in the list, or its size. */
static size_t index_of(struct run *run, const json_t *list, const json_t *item, const char *key)
{
    size_t i;
    json_t *other;
    json_array_foreach(list, i, other)
    {
        if (exhausted(run) || same_item(run, other, item, key)) {
            break;
        }
    }
    return i;
}

static bool has_item(struct run *run, const json_t *list, const json_t *item, const char *key)
{
    return index_of(run, list, item, key) < json_array_size(list);
}

/* --- the order of a merged list ------------------------------------------------------------ */

/* Items of `list` that `order` names, in its order; the others into `rest`, as they stand. */
static void split_list(struct run *run, const json_t *list, const json_t *order, const char *key,
                       json_t *named, json_t *rest)
{
    size_t i;
    json_t *item;
    json_array_foreach(order, i, item)
    {
        size_t at = index_of(run, list, item, key);
        if (at < json_array_size(list) && !has_item(run, named, item, key)) {
            REQUIRE(json_array_append(named, json_array_get(list, at)) == 0);
        }
    }
    json_array_foreach(list, i, item)
    {
        if (!has_item(run, order, item, key)) {
            REQUIRE(json_array_append(rest, item) == 0);
        }
    }
}

/* The list anew: an unnamed item stands before the first named one that stood behind it. */
static json_t *ordered(struct run *run, const json_t *list, const json_t *order,
                       const json_t *before, const char *key)
{
    json_t *named = json_array(), *rest = json_array(), *out = json_array();
    split_list(run, list, order, key, named, rest);
    size_t i = 0, j = 0, rests = json_array_size(rest), nameds = json_array_size(named);
    while ((i < rests || j < nameds) && !exhausted(run)) {
        bool take_rest = j == nameds;
        if (i < rests && j < nameds) {
            size_t left = index_of(run, before, json_array_get(rest, i), key);
            size_t right = index_of(run, before, json_array_get(named, j), key);
            take_rest = right < json_array_size(before) && left < right;
        }
        json_t *next = take_rest ? json_array_get(rest, i++) : json_array_get(named, j++);
        REQUIRE(json_array_append(out, next) == 0);
    }
    json_decref(named);
    json_decref(rest);
    return out;
}

/* --- merging lists ------------------------------------------------------------------------- */

static json_t *merge_plain(struct run *run, const json_t *old, const json_t *patch)
{
    json_t *merged = json_array();
    const json_t *const both[] = {old, patch};
    for (size_t n = 0; n < ARRAY_LEN(both); n++) {
        size_t i;
        json_t *item;
        json_array_foreach(both[n], i, item)
        {
            if (!has_item(run, merged, item, NULL)) {
                REQUIRE(json_array_append(merged, item) == 0);
            }
        }
    }
    return merged;
}

static void delete_items(struct run *run, json_t *list, const json_t *item, const char *key)
{
    for (size_t at = index_of(run, list, item, key); at < json_array_size(list) && !exhausted(run);
         at = index_of(run, list, item, key)) {
        (void)json_array_remove(list, at);
    }
}

/* Acts on the items with $patch and leaves the others in `kept`. */
static int special_items(struct run *run, json_t *old, const json_t *patch, const char *key,
                         json_t *kept, bool *out_replace)
{
    size_t i;
    json_t *item;
    *out_replace = false;
    json_array_foreach(patch, i, item)
    {
        if (!json_is_object(item) || json_object_get(item, key) == NULL) {
            bool replace = slice_eq_str(jpeek_str(item, PATCH), "replace");
            *out_replace = *out_replace || replace;
            if (replace) {
                continue;
            }
            return error_set(run->err, ERR_INVALID, "map: does not contain declared merge key: %s",
                             key);
        }
        struct slice what = jpeek_str(item, PATCH);
        if (json_object_get(item, PATCH) == NULL) {
            REQUIRE(json_array_append(kept, item) == 0);
        } else if (slice_eq_str(what, "delete")) {
            delete_items(run, old, item, key);
        } else if (slice_eq_str(what, "replace")) {
            *out_replace = true;
        } else {
            return error_set(run->err, ERR_INVALID, "unknown patch type: %.40s in map", what.ptr);
        }
    }
    return 0;
}

static int merge_items(struct run *run, const struct strategic_field *field, json_t *list,
                       const json_t *patch)
{
    size_t i;
    json_t *item;
    json_array_foreach(patch, i, item)
    {
        size_t at = index_of(run, list, item, field->key);
        if (at == json_array_size(list)) {
            REQUIRE(json_array_append_new(list, plain_copy(item)) == 0);
            continue;
        }
        int rc = merge_map(run, field->type, json_array_get(list, at), item);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

/* old: an array that may be changed. *out: a new array. */
static int merge_list(struct run *run, const struct strategic_field *field, json_t *old,
                      const json_t *patch, json_t **out)
{
    if (field->key == NULL) {
        json_t *merged = merge_plain(run, old, patch);
        *out = ordered(run, merged, patch, old, NULL);
        json_decref(merged);
        return 0;
    }
    json_t *kept = json_array();
    bool replace;
    int rc = special_items(run, old, patch, field->key, kept, &replace);
    if (rc == 0 && replace) {
        *out = plain_copy(kept);
    } else if (rc == 0) {
        json_t *merged = json_copy(old);
        rc = merge_items(run, field, merged, kept);
        *out = rc == 0 ? ordered(run, merged, kept, old, field->key) : NULL;
        json_decref(merged);
    }
    json_decref(kept);
    return rc;
}

/* --- directives ---------------------------------------------------------------------------- */

static int apply_retain(struct run *run, json_t *to, const json_t *patch)
{
    const json_t *keys = json_object_get(patch, RETAIN);
    if (keys == NULL) {
        return 0;
    }
    const char *key;
    json_t *value;
    void *next;
    bool fine = json_is_array(keys);
    json_object_foreach((json_t *)(uintptr_t)patch, key, value)
    {
        json_t *name = json_string(key);
        fine =
            fine && (is_directive(key) || json_is_null(value) || has_item(run, keys, name, NULL));
        json_decref(name);
    }
    if (!fine) {
        return error_set(run->err, ERR_PROTOCOL, "invalid patch format of retainKeys");
    }
    json_object_foreach_safe(to, next, key, value)
    {
        json_t *name = json_string(key);
        if (!has_item(run, keys, name, NULL)) {
            (void)json_object_del(to, key);
        }
        json_decref(name);
    }
    return 0;
}

/* The items of a list in a patch must stand in the order that is asked for. */
static bool follows(struct run *run, const json_t *patch, const json_t *order, const char *key)
{
    size_t at = 0, i;
    json_t *item;
    if (json_array_size(order) == 0) {
        return true;
    }
    json_array_foreach(patch, i, item)
    {
        if (json_object_get(item, PATCH) != NULL) {
            continue;
        }
        while (at < json_array_size(order) &&
               !same_item(run, json_array_get(order, at), item, key)) {
            at++;
        }
        if (at == json_array_size(order)) {
            return false;
        }
        at++;
    }
    return true;
}

/* `$setElementOrder/NAME` together with NAME itself. */
static int apply_order(struct run *run, const struct strategic_field *field, json_t *to,
                       const char *name, const json_t *order, const json_t *patch)
{
    json_t *old = json_object_get(to, name);
    bool fine = json_is_array(order) && (old == NULL || json_is_array(old)) &&
                (patch == NULL || json_is_null(patch) || json_is_array(patch));
    if (!fine) {
        return error_set(run->err, ERR_PROTOCOL, "invalid patch format of setElementOrder list");
    }
    if (json_is_null(patch) || (old == NULL && patch == NULL)) {
        return 0;
    }
    const char *key = field == NULL ? NULL : field->key;
    if (!follows(run, patch, order, key)) {
        return error_set(run->err, ERR_INVALID,
                         "The order in patch list doesn't match $setElementOrder list: %.100s",
                         name);
    }
    json_t *merged = NULL, *before = old == NULL ? json_array() : json_copy(old);
    int rc = 0;
    if (patch == NULL) {
        merged = json_incref(old);
    } else if (old == NULL || field == NULL || !field->merges) {
        merged = plain_copy(patch);
    } else {
        rc = merge_list(run, field, old, patch, &merged);
    }
    if (rc == 0) {
        json_t *sorted = ordered(run, merged, order, before, key);
        REQUIRE(json_object_set_new(to, name, sorted) == 0);
    }
    json_decref(merged);
    json_decref(before);
    return rc;
}

static int remove_values(struct run *run, json_t *to, const char *name, const json_t *values)
{
    if (!json_is_array(values)) {
        return error_set(run->err, ERR_PROTOCOL, "invalid patch format of primitive list");
    }
    json_t *list = json_object_get(to, name);
    size_t i;
    json_t *value;
    json_array_foreach(values, i, value)
    {
        if (json_is_array(list)) {
            delete_items(run, list, value, NULL);
        }
    }
    return 0;
}

/* --- merging maps -------------------------------------------------------------------------- */

static int merge_member(struct run *run, const struct strategic_type *type, json_t *to,
                        const char *key, const json_t *value)
{
    const struct strategic_field *field = strategic_field_of(type, key);
    json_t *old = json_object_get(to, key);
    if (json_is_null(value)) {
        (void)json_object_del(to, key);
    } else if (json_is_object(value) && json_is_object(old)) {
        return merge_map(run, field == NULL ? NULL : field->type, old, value);
    } else if (json_is_array(value) && json_is_array(old) && field != NULL && field->merges) {
        json_t *merged;
        int rc = merge_list(run, field, old, value, &merged);
        if (rc == 0) {
            REQUIRE(json_object_set_new(to, key, merged) == 0);
        }
        return rc;
    } else {
        take_plain(to, key, value);
    }
    return 0;
}

/* `$patch` of a map: *out_done when there was one. */
static int whole_map(struct run *run, json_t *to, const json_t *patch, bool *out_done)
{
    struct slice what = jpeek_str(patch, PATCH);
    *out_done = json_object_get(patch, PATCH) != NULL;
    if (!*out_done) {
        return 0;
    }
    bool replace = slice_eq_str(what, "replace");
    if (!replace && !slice_eq_str(what, "delete")) {
        return error_set(run->err, ERR_INVALID, "unknown patch type: %.40s in map",
                         what.ptr == NULL ? "" : what.ptr);
    }
    (void)json_object_clear(to);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)patch, key, value)
    {
        if (replace && !is_directive(key) && !json_is_null(value)) {
            take_plain(to, key, value);
        }
    }
    return 0;
}

/* A list whose order was asked for was merged with it. */
static bool has_order(const json_t *patch, const char *key)
{
    CLEANUP(cleanup_free) char *directive = xasprintf(ORDER "%s", key);
    return json_object_get(patch, directive) != NULL && !json_is_null(json_object_get(patch, key));
}

static int merge_map(struct run *run, const struct strategic_type *type, json_t *to,
                     const json_t *patch)
{
    const char *key;
    json_t *value;
    bool done;
    int rc = whole_map(run, to, patch, &done);
    if (rc < 0 || done) {
        return rc;
    }
    rc = apply_retain(run, to, patch);
    json_object_foreach((json_t *)(uintptr_t)patch, key, value)
    {
        if (rc == 0 && starts(key, ORDER)) {
            const char *name = key + strlen(ORDER);
            rc = apply_order(run, strategic_field_of(type, name), to, name, value,
                             json_object_get(patch, name));
        }
    }
    json_object_foreach((json_t *)(uintptr_t)patch, key, value)
    {
        if (rc == 0 && starts(key, REMOVE)) {
            rc = remove_values(run, to, key + strlen(REMOVE), value);
        } else if (rc == 0 && !is_directive(key) && !has_order(patch, key)) {
            rc = merge_member(run, type, to, key, value);
        }
    }
    return rc == 0 && exhausted(run) ? too_long(run) : rc;
}

int strategic_merge(const struct strategic_type *type, const json_t *target, const json_t *patch,
                    json_t **out, struct error *err)
{
    struct run run = {.err = err};
    json_t *root = json_deep_copy(target);
    int rc = merge_map(&run, type, root, patch);
    if (rc < 0) {
        json_decref(root);
        return rc;
    }
    *out = root;
    return 0;
}
