// SPDX-License-Identifier: Apache-2.0

/* Plan: one function per part of the body; the first thing that is wrong ends it. */

#include "local/store/check.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "serving/rules.h"
#include "local/store/rules.h"

#define ANNOTATIONS_BYTES_MAX (256 * 1024)

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

int check_words(const struct store_kind *kind, struct slice name, const char *field,
                struct slice value, check_words_fn *words, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf first, text;
    strbuf_init(&first, 8192);
    strbuf_init(&text, 16384);
    if (words(value, "", &text) == 0) {
        return 0;
    }
    (void)strbuf_appendf(&first, "%s: Invalid value: \"%.*s\": ", field,
                         (int)(value.len > 2048 ? 2048 : value.len), value.ptr);
    CLEANUP(cleanup_free) char *sep = xasprintf(", %s", first.ptr);
    strbuf_clear(&text);
    size_t count = words(value, sep, &text);
    char kind_text[RULES_KIND_MAX];
    return error_set(err, ERR_INVALID, "%s \"%.*s\" is invalid: %s%s%s%s",
                     rules_kind_text(kind, kind_text, sizeof(kind_text)),
                     (int)(name.len > 2048 ? 2048 : name.len), name.ptr, count > 1 ? "[" : "",
                     first.ptr, text.ptr, count > 1 ? "]" : "");
}

/* An annotation's key may have a domain in capitals. */
static size_t words_annotation(struct slice text, const char *sep, struct strbuf *out)
{
    if (words_qualified_name(text, sep, out) == 0) {
        return 0;
    }
    CLEANUP(strbuf_fini) struct strbuf lower;
    strbuf_init(&lower, ANNOTATIONS_BYTES_MAX + 1);
    for (size_t i = 0; i < text.len; i++) {
        bool capital = text.ptr[i] >= 'A' && text.ptr[i] <= 'Z';
        (void)strbuf_append_char(&lower, (char)(capital ? text.ptr[i] + ('a' - 'A') : text.ptr[i]));
    }
    strbuf_clear(out);
    return words_qualified_name(strbuf_slice(&lower), sep, out);
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
        char field[40];
        (void)snprintf(field, sizeof(field), "metadata.%s", member);
        int rc = check_words(kind, slice_str(name), field, slice_str(key),
                             labels ? words_qualified_name : words_annotation, err);
        if (rc == 0 && labels) {
            rc = check_words(kind, slice_str(name), field, text, words_label_value, err);
        }
        if (rc < 0) {
            return rc;
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
    CLEANUP(strbuf_fini) struct strbuf why;
    strbuf_init(&why, 4096);
    return slice_find(name, '/') >= 0 && words_qualified_name(name, "", &why) == 0;
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
