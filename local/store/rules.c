// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: check the shape of the body, build a fresh metadata object in canonical order from what
 * the client may set and what only we set, then hang the other members behind it. An update first
 * decides which members come from the body and which from the old object (status and spec sides).
 */

#include "local/store/rules.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "serving/rules.h"
#include "local/store/check.h"
#include "local/store/object.h"

#define SUFFIX_LEN 5

/* What a client may set, in the order in which it is written. */
static const char *const members[] = {"labels", "annotations", "ownerReferences", "finalizers"};

/* --- building ------------------------------------------------------------------------------ */

static void set_str(json_t *object, const char *key, const char *value)
{
    REQUIRE(json_object_set_new(object, key, json_string(value)) == 0);
}

/* Copies a member that is there and not null or empty. */
static void carry(json_t *to, const json_t *from, const char *key)
{
    json_t *value = json_object_get(from, key);
    bool empty = value == NULL || json_is_null(value) ||
                 (json_is_object(value) && json_object_size(value) == 0) ||
                 (json_is_array(value) && json_array_size(value) == 0) ||
                 (json_is_string(value) && json_string_length(value) == 0);
    if (!empty) {
        REQUIRE(json_object_set(to, key, value) == 0);
    }
}

/* Metadata in canonical order: ours from `ours`, the client's from `theirs`. New reference. */
static json_t *build_metadata(const json_t *ours, const json_t *theirs)
{
    static const char *const own[] = {"name",
                                      "generateName",
                                      "namespace",
                                      "uid",
                                      "resourceVersion",
                                      "generation",
                                      "creationTimestamp",
                                      "deletionTimestamp",
                                      "deletionGracePeriodSeconds"};
    json_t *metadata = json_object();
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        json_t *value = json_object_get(ours, own[i]);
        if (value != NULL && !json_is_null(value)) {
            REQUIRE(json_object_set(metadata, own[i], value) == 0);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        carry(metadata, theirs, members[i]);
    }
    return metadata;
}

/* Takes metadata. The rest of `body`, status from `status` (NULL: none) when it is separate. */
static json_t *assemble(const struct store_kind *kind, json_t *metadata, const json_t *body,
                        bool separate_status, const json_t *status)
{
    json_t *root = json_object();
    set_str(root, "apiVersion", kind->api_version);
    set_str(root, "kind", kind->kind);
    REQUIRE(json_object_set_new(root, "metadata", metadata) == 0);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)body, key, value)
    {
        bool head = strcmp(key, "apiVersion") == 0 || strcmp(key, "kind") == 0 ||
                    strcmp(key, "metadata") == 0;
        if (!head && !(separate_status && strcmp(key, "status") == 0)) {
            REQUIRE(json_object_set(root, key, value) == 0);
        }
    }
    if (separate_status && status != NULL && !json_is_null(status)) {
        REQUIRE(json_object_set(root, "status", (json_t *)(uintptr_t)status) == 0);
    }
    return root;
}

static void set_time(json_t *metadata, const char *key, int64_t wall_ns)
{
    char text[CLOCK_RFC3339_MAX];
    set_str(metadata, key, clock_format_rfc3339(wall_ns, 0, text, sizeof(text)));
}

static void set_uid(json_t *metadata)
{
    uint8_t b[16];
    random_bytes(b, sizeof(b));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    char text[40];
    (void)snprintf(text, sizeof(text),
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]);
    set_str(metadata, "uid", text);
}

void rules_set_version(json_t *root, uint64_t version)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRIu64, version);
    set_str(json_object_get(root, "metadata"), "resourceVersion", text);
}

/* --- create -------------------------------------------------------------------------------- */

/* What a kind's names must be. */
static check_words_fn *name_words(const struct store_kind *kind)
{
    bool core = strchr(kind->api_version, '/') == NULL;
    if (core && strcmp(kind->kind, "Namespace") == 0) {
        return words_dns1123_label;
    }
    return core && strcmp(kind->kind, "Service") == 0 ? words_dns1035_label
                                                      : words_dns1123_subdomain;
}

static int choose_name(const struct store_kind *kind, const json_t *metadata,
                       char name[CHECK_NAME_MAX + 1], struct error *err)
{
    struct slice given = jpeek_str(metadata, "name");
    struct slice prefix = jpeek_str(metadata, "generateName");
    if (given.len == 0 && prefix.len == 0) {
        return check_invalid(err, kind, "",
                             "metadata.name: Required value: name or generateName is required");
    }
    if (given.len == 0) {
        static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
        size_t keep =
            prefix.len > CHECK_LABEL_MAX - SUFFIX_LEN ? CHECK_LABEL_MAX - SUFFIX_LEN : prefix.len;
        memcpy(name, prefix.ptr, keep);
        for (size_t i = 0; i < SUFFIX_LEN; i++) {
            name[keep + i] = alphabet[random_u64() % (sizeof(alphabet) - 1)];
        }
        name[keep + SUFFIX_LEN] = '\0';
    } else {
        size_t n = given.len > CHECK_NAME_MAX ? CHECK_NAME_MAX : given.len;
        memcpy(name, given.ptr, n);
        name[n] = '\0';
    }
    struct slice whole = given.len > 0 ? given : slice_str(name);
    return check_words(kind, whole, "metadata.name", whole, name_words(kind), err);
}

int rules_create(const struct store_kind *kind, const char *ns, const json_t *body, int64_t wall_ns,
                 json_t **out, struct error *err)
{
    int rc = check_shape(kind, body, err);
    if (rc < 0) {
        return rc;
    }
    const json_t *theirs = json_object_get(body, "metadata");
    char name[CHECK_NAME_MAX + 1];
    rc = choose_name(kind, theirs, name, err);
    if (rc < 0) {
        return rc;
    }
    rc = check_metadata(kind, name, theirs, err);
    if (rc < 0) {
        return rc;
    }
    struct slice their_ns = jpeek_str(theirs, "namespace");
    if (kind->namespaced && their_ns.len > 0 && !slice_eq_str(their_ns, ns)) {
        return error_set(err, ERR_PROTOCOL,
                         "the namespace of the provided object does not match the namespace sent "
                         "on the request");
    }
    if (jpeek_str(theirs, "resourceVersion").len > 0) {
        return error_set(err, ERR_PROTOCOL,
                         "resourceVersion should not be set on objects to be created");
    }
    json_t *ours = json_object();
    set_str(ours, "name", name);
    carry(ours, theirs, "generateName");
    if (kind->namespaced) {
        set_str(ours, "namespace", ns);
    }
    set_uid(ours);
    set_str(ours, "resourceVersion", "0");
    if (kind->generation) {
        REQUIRE(json_object_set_new(ours, "generation", json_integer(1)) == 0);
    }
    set_time(ours, "creationTimestamp", wall_ns);
    *out = assemble(kind, build_metadata(ours, theirs), body, false, NULL);
    json_decref(ours);
    return 0;
}

/* --- update -------------------------------------------------------------------------------- */

static int check_identity(const struct store_kind *kind, const json_t *old, const json_t *body,
                          struct error *err)
{
    const char *name = jpeek_cstr(old, "metadata.name");
    struct slice given = jpeek_str(body, "metadata.name");
    if (given.len > 0 && !slice_eq_str(given, name)) {
        return error_set(err, ERR_PROTOCOL,
                         "the name of the object (%.100s) does not match the name on the URL (%s)",
                         given.ptr, name);
    }
    struct slice ns = jpeek_str(body, "metadata.namespace");
    if (kind->namespaced && ns.len > 0 && !slice_eq(ns, jpeek_str(old, "metadata.namespace"))) {
        return error_set(err, ERR_PROTOCOL,
                         "the namespace of the provided object does not match the namespace sent "
                         "on the request");
    }
    struct slice uid = jpeek_str(body, "metadata.uid");
    if (uid.len > 0 && !slice_eq(uid, jpeek_str(old, "metadata.uid"))) {
        return error_set(err, ERR_CONFLICT,
                         "Operation cannot be fulfilled on %s \"%s\": Precondition failed: UID in "
                         "precondition: %.40s, UID in object meta: %s",
                         kind->resource, name, uid.ptr, jpeek_cstr(old, "metadata.uid"));
    }
    struct slice version = jpeek_str(body, "metadata.resourceVersion");
    if (version.len > 0 && !slice_eq(version, jpeek_str(old, "metadata.resourceVersion"))) {
        return rules_conflict(err, kind, name);
    }
    return 0;
}

static int check_finalizers(const struct store_kind *kind, const json_t *old,
                            const json_t *metadata, struct error *err)
{
    if (jget(old, "metadata.deletionTimestamp") == NULL) {
        return 0;
    }
    const json_t *before = jget(old, "metadata.finalizers");
    char fresh[120] = "";
    size_t i, k, n = 0;
    json_t *item, *other;
    json_array_foreach(json_object_get(metadata, "finalizers"), i, item)
    {
        bool there = false;
        json_array_foreach(before, k, other)
        {
            there = there || json_equal(item, other);
        }
        if (!there && n < sizeof(fresh)) {
            n += (size_t)snprintf(fresh + n, sizeof(fresh) - n, "%s\"%.60s\"", n > 0 ? ", " : "",
                                  json_string_value(item));
        }
    }
    if (n == 0) {
        return 0;
    }
    char what[280];
    (void)snprintf(what, sizeof(what),
                   "metadata.finalizers: Forbidden: no new finalizers can be added if the object "
                   "is being deleted, found new finalizers []string{%s}",
                   fresh);
    return check_invalid(err, kind, jpeek_cstr(old, "metadata.name"), what);
}

/* Equal but for metadata (and status, where it is separate). */
static bool same_wish(const json_t *a, const json_t *b, bool separate_status)
{
    const json_t *pair[2] = {a, b};
    for (int side = 0; side < 2; side++) {
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)(uintptr_t)pair[side], key, value)
        {
            if (strcmp(key, "metadata") == 0 || (separate_status && strcmp(key, "status") == 0)) {
                continue;
            }
            if (!jequal(value, json_object_get(pair[1 - side], key))) {
                return false;
            }
        }
    }
    return true;
}

int rules_update(const struct store_kind *kind, const json_t *old, enum store_sub sub,
                 const json_t *body, json_t **out, bool *out_changed, struct error *err)
{
    int rc = check_shape(kind, body, err);
    if (rc == 0) {
        rc = check_identity(kind, old, body, err);
    }
    if (rc < 0) {
        return rc;
    }
    const json_t *ours = json_object_get(old, "metadata");
    json_t *root;
    if (sub == STORE_SUB_STATUS) {
        root =
            assemble(kind, build_metadata(ours, ours), old, true, json_object_get(body, "status"));
    } else {
        const json_t *theirs = json_object_get(body, "metadata");
        rc = check_metadata(kind, jpeek_cstr(old, "metadata.name"), theirs, err);
        if (rc == 0) {
            rc = check_finalizers(kind, old, theirs, err);
        }
        if (rc < 0) {
            return rc;
        }
        root = assemble(kind, build_metadata(ours, theirs), body, kind->status,
                        json_object_get(old, "status"));
    }
    *out_changed = !jequal(root, old);
    if (!*out_changed) {
        json_decref(root);
        return 0;
    }
    if (kind->generation && !same_wish(root, old, kind->status)) {
        json_int_t generation = json_integer_value(json_object_get(ours, "generation"));
        REQUIRE(json_object_set_new(json_object_get(root, "metadata"), "generation",
                                    json_integer(generation + 1)) == 0);
    }
    *out = root;
    return 0;
}

/* --- deletion ------------------------------------------------------------------------------ */

/* A copy of the object whose metadata is its own; the rest is shared. */
static json_t *with_own_metadata(const json_t *old)
{
    json_t *root = json_copy((json_t *)(uintptr_t)old);
    REQUIRE(json_object_set_new(root, "metadata", json_copy(json_object_get(old, "metadata"))) ==
            0);
    return root;
}

void rules_mark(const json_t *old, int64_t wall_ns, int64_t grace_s, json_t **out,
                bool *out_changed)
{
    const json_t *metadata = json_object_get(old, "metadata");
    const json_t *grace_before = json_object_get(metadata, "deletionGracePeriodSeconds");
    bool marked = json_object_get(metadata, "deletionTimestamp") != NULL;
    *out_changed = !marked || grace_s < json_integer_value(grace_before);
    if (!*out_changed) {
        return;
    }
    json_t *root = with_own_metadata(old);
    json_t *fresh = json_object_get(root, "metadata");
    set_time(fresh, "deletionTimestamp", wall_ns + grace_s * (int64_t)CLOCK_NS_PER_S);
    REQUIRE(json_object_set_new(fresh, "deletionGracePeriodSeconds", json_integer(grace_s)) == 0);
    const json_t *generation = json_object_get(metadata, "generation");
    if (!marked && generation != NULL) {
        REQUIRE(json_object_set_new(fresh, "generation",
                                    json_integer(json_integer_value(generation) + 1)) == 0);
    }
    json_t *ordered = build_metadata(fresh, fresh);
    REQUIRE(json_object_set_new(root, "metadata", ordered) == 0);
    *out = root;
}

static json_t *finalizers_without(const json_t *root, const char *finalizer)
{
    json_t *kept = json_array();
    size_t i;
    json_t *item;
    json_array_foreach(jget(root, "metadata.finalizers"), i, item)
    {
        if (!slice_eq_str(slice_str(json_string_value(item)), finalizer)) {
            REQUIRE(json_array_append(kept, item) == 0);
        }
    }
    return kept;
}

void rules_add_finalizer(json_t *root, const char *finalizer)
{
    json_t *list = finalizers_without(root, finalizer);
    REQUIRE(json_array_append_new(list, json_string(finalizer)) == 0);
    REQUIRE(json_object_set_new(json_object_get(root, "metadata"), "finalizers", list) == 0);
}

void rules_drop_finalizer(json_t *root, const char *finalizer)
{
    json_t *list = finalizers_without(root, finalizer);
    REQUIRE(json_object_set_new(json_object_get(root, "metadata"), "finalizers", list) == 0);
}

bool rules_is_finished(const json_t *root)
{
    return jget(root, "metadata.deletionTimestamp") != NULL &&
           json_array_size(jget(root, "metadata.finalizers")) == 0 &&
           jpeek_i64(root, "metadata.deletionGracePeriodSeconds") == 0;
}

void rules_drop_owner(const json_t *old, const char *uid, json_t **out, bool *out_changed)
{
    json_t *kept = json_array();
    size_t i;
    json_t *owner;
    json_t *owners = jget(old, "metadata.ownerReferences");
    json_array_foreach(owners, i, owner)
    {
        if (!slice_eq_str(jpeek_str(owner, "uid"), uid)) {
            REQUIRE(json_array_append(kept, owner) == 0);
        }
    }
    *out_changed = json_array_size(kept) != json_array_size(owners);
    if (*out_changed) {
        json_t *root = with_own_metadata(old);
        json_t *metadata = json_object_get(root, "metadata");
        (void)json_object_del(metadata, "ownerReferences");
        if (json_array_size(kept) > 0) {
            REQUIRE(json_object_set(metadata, "ownerReferences", kept) == 0);
        }
        *out = root;
    }
    json_decref(kept);
}
