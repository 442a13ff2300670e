// SPDX-License-Identifier: Apache-2.0

/* Plan: one function per part of the body; the first thing that is wrong ends it. */

#include "local/store/check.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "local/store/rules.h"

#define ANNOTATIONS_BYTES_MAX (256 * 1024)

#define PART_RULE                                                                          \
    "consist of alphanumeric characters, '-', '_' or '.', and must start and end with an " \
    "alphanumeric character"

static const char *const map_members[] = {"labels", "annotations"};
static const char *const list_members[] = {"ownerReferences", "finalizers"};

char *rules_kind_text(const struct store_kind *kind, char *buf, size_t size)
{
    const char *slash = strchr(kind->api_version, '/');
    if (slash == NULL) {
        (void)snprintf(buf, size, "%s", kind->kind);
    } else {
        (void)snprintf(buf, size, "%s.%.*s", kind->kind, (int)(slash - kind->api_version),
                       kind->api_version);
    }
    return buf;
}

int rules_conflict(struct error *err, const struct store_kind *kind, const char *name)
{
    return error_set(err, ERR_CONFLICT,
                     "Operation cannot be fulfilled on %s \"%s\": the object has been modified; "
                     "please apply your changes to the latest version and try again",
                     kind->resource, name);
}

int rules_not_found(struct error *err, const struct store_kind *kind, const char *name)
{
    return error_set(err, ERR_NOT_FOUND, "%s \"%s\" not found", kind->resource, name);
}

int check_invalid(struct error *err, const struct store_kind *kind, const char *name,
                  const char *what)
{
    char text[RULES_KIND_MAX];
    return error_set(err, ERR_INVALID, "%s \"%s\" is invalid: %s",
                     rules_kind_text(kind, text, sizeof(text)), name, what);
}

/* --- checks -------------------------------------------------------------------------------- */

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool check_is_name(struct slice s)
{
    if (s.len == 0 || s.len > CHECK_NAME_MAX || !is_alnum(s.ptr[0]) ||
        !is_alnum(s.ptr[s.len - 1])) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        bool dot = s.ptr[i] == '.';
        if (!is_alnum(s.ptr[i]) && s.ptr[i] != '-' && !dot) {
            return false;
        }
        if (dot && (!is_alnum(s.ptr[i - 1]) || !is_alnum(s.ptr[i + 1]))) {
            return false;
        }
    }
    return true;
}

static bool is_label_part(struct slice s)
{
    if (s.len > CHECK_LABEL_MAX) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        bool edge = i == 0 || i + 1 == s.len;
        char c = s.ptr[i];
        bool word = is_alnum(c) || (c >= 'A' && c <= 'Z');
        if (!word && (edge || (c != '-' && c != '_' && c != '.'))) {
            return false;
        }
    }
    return true;
}

static bool is_label_key(struct slice key)
{
    ptrdiff_t slash = slice_find(key, '/');
    if (slash < 0) {
        return key.len > 0 && is_label_part(key);
    }
    struct slice prefix = slice_sub(key, 0, (size_t)slash);
    struct slice name = slice_sub(key, (size_t)slash + 1, key.len);
    return check_is_name(prefix) && name.len > 0 && is_label_part(name);
}

int check_shape(const struct store_kind *kind, const json_t *body, struct error *err)
{
    if (!json_is_object(body)) {
        return error_set(err, ERR_PROTOCOL, "the object must be a JSON object, is %s",
                         jtype_name(body));
    }
    const char *version = json_string_value(json_object_get(body, "apiVersion"));
    if (version != NULL && version[0] != '\0' && strcmp(version, kind->api_version) != 0) {
        return error_set(err, ERR_PROTOCOL,
                         "the API version in the data (%s) does not match the expected API "
                         "version (%s)",
                         version, kind->api_version);
    }
    const char *name = json_string_value(json_object_get(body, "kind"));
    if (name != NULL && name[0] != '\0' && strcmp(name, kind->kind) != 0) {
        return error_set(err, ERR_PROTOCOL,
                         "the kind in the data (%s) does not match the expected kind (%s)", name,
                         kind->kind);
    }
    const json_t *metadata = json_object_get(body, "metadata");
    if (metadata != NULL && !json_is_null(metadata) && !json_is_object(metadata)) {
        return error_set(err, ERR_PROTOCOL, "metadata: must be an object, is %s",
                         jtype_name(metadata));
    }
    return 0;
}

static int check_map(const struct store_kind *kind, const char *name, const json_t *metadata,
                     const char *member, struct error *err)
{
    json_t *map = json_object_get(metadata, member);
    if (map == NULL || json_is_null(map)) {
        return 0;
    }
    if (!json_is_object(map)) {
        return error_set(err, ERR_PROTOCOL, "metadata.%s: must be an object, is %s", member,
                         jtype_name(map));
    }
    bool labels = strcmp(member, "labels") == 0;
    size_t total = 0;
    const char *key;
    json_t *value;
    json_object_foreach(map, key, value)
    {
        if (!json_is_string(value)) {
            return error_set(err, ERR_PROTOCOL, "metadata.%s.%.80s: must be a string, is %s",
                             member, key, jtype_name(value));
        }
        struct slice text = slice_of(json_string_value(value), json_string_length(value));
        total += text.len + strlen(key);
        if (!is_label_key(slice_str(key)) || (labels && !is_label_part(text))) {
            bool fine_key = is_label_key(slice_str(key));
            char what[280];
            (void)snprintf(what, sizeof(what), "metadata.%s: Invalid value: \"%.60s\": %s must %s",
                           member, fine_key ? text.ptr : key,
                           fine_key ? "a valid label" : "name part",
                           fine_key ? "be an empty string or " PART_RULE : PART_RULE);
            return check_invalid(err, kind, name, what);
        }
    }
    if (total > ANNOTATIONS_BYTES_MAX) {
        char what[120];
        (void)snprintf(what, sizeof(what), "metadata.%s: Too long: must have at most %d bytes",
                       member, ANNOTATIONS_BYTES_MAX);
        return check_invalid(err, kind, name, what);
    }
    return 0;
}

/* A name of Kubernetes' own, or one with the domain of who made it up. */
static bool is_finalizer(struct slice name)
{
    static const char *const standard[] = {"kubernetes", "orphan", "foregroundDeletion"};
    for (size_t i = 0; i < ARRAY_LEN(standard); i++) {
        if (slice_eq_str(name, standard[i])) {
            return true;
        }
    }
    return is_label_key(name) && slice_find(name, '/') >= 0;
}

static int check_lists(const struct store_kind *kind, const char *name, const json_t *metadata,
                       struct error *err)
{
    for (size_t m = 0; m < ARRAY_LEN(list_members); m++) {
        json_t *list = json_object_get(metadata, list_members[m]);
        if (list == NULL || json_is_null(list)) {
            continue;
        }
        if (!json_is_array(list)) {
            return error_set(err, ERR_PROTOCOL, "metadata.%s: must be an array, is %s",
                             list_members[m], jtype_name(list));
        }
        bool owners = strcmp(list_members[m], "ownerReferences") == 0;
        size_t i;
        json_t *item;
        json_array_foreach(list, i, item)
        {
            bool fine = owners
                            ? jpeek_str(item, "uid").len > 0 && jpeek_str(item, "kind").len > 0 &&
                                  jpeek_str(item, "name").len > 0
                            : is_finalizer(slice_str(json_string_value(item)));
            if (!fine) {
                char what[200];
                (void)snprintf(what, sizeof(what), "metadata.%s[%zu]: Invalid value%s%.40s%s",
                               list_members[m], i, owners ? "" : ": \"",
                               owners ? "" : json_string_value(item),
                               owners ? ""
                                      : "\": name is neither a standard finalizer name nor is it "
                                        "fully qualified");
                return check_invalid(err, kind, name, what);
            }
        }
    }
    return 0;
}

int check_metadata(const struct store_kind *kind, const char *name, const json_t *metadata,
                   struct error *err)
{
    for (size_t m = 0; m < ARRAY_LEN(map_members); m++) {
        int rc = check_map(kind, name, metadata, map_members[m], err);
        if (rc < 0) {
            return rc;
        }
    }
    return check_lists(kind, name, metadata, err);
}
