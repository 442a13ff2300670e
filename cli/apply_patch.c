// SPDX-License-Identifier: Apache-2.0
//
// Additions and changes come from wanted against live, removals from before against wanted; a list
// is one value. An annotation of somebody else that cannot be read counts as none.
#include "cli/apply_patch.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "json/jtext.h"
#include "serving/names.h"

#define ANNOTATION_BYTES_MAX (256u << 10)
#define TEXT_BYTES_MAX       (32u << 20)
#define ANNOTATION_PATH      "metadata.annotations.`" ANNOTATION_LAST_APPLIED "`"

// ---- the text

static void put_string(struct strbuf *out, const char *text, size_t len)
{
    strbuf_append_char(out, '"');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool separator = c == 0xe2 && i + 2 < len && (unsigned char)text[i + 1] == 0x80 &&
                         ((unsigned char)text[i + 2] | 1) == 0xa9;
        const char *named = c == '\n'   ? "\\n"
                            : c == '\r' ? "\\r"
                            : c == '\t' ? "\\t"
                            : c == '\b' ? "\\b"
                            : c == '\f' ? "\\f"
                                        : NULL;
        if (separator) {
            strbuf_appendf(out, "\\u202%c", (unsigned char)text[i + 2] == 0xa8 ? '8' : '9');
            i += 2;
        } else if (named) {
            strbuf_append_str(out, named);
        } else if (c == '"' || c == '\\') {
            strbuf_appendf(out, "\\%c", c);
        } else if (c < 0x20 || c == '<' || c == '>' || c == '&') {
            strbuf_appendf(out, "\\u%04x", c);
        } else {
            strbuf_append_char(out, text[i]);
        }
    }
    strbuf_append_char(out, '"');
}

static void put_value(struct strbuf *out, const json_t *value);

static void put_object(struct strbuf *out, const json_t *object)
{
    CLEANUP(cleanup_free) const char **keys = jtext_names(object);

    strbuf_append_char(out, '{');
    for (size_t i = 0; keys[i]; i++) {
        strbuf_append_str(out, i ? "," : "");
        put_string(out, keys[i], strlen(keys[i]));
        strbuf_append_char(out, ':');
        put_value(out, json_object_get(object, keys[i]));
    }
    strbuf_append_char(out, '}');
}

static void put_value(struct strbuf *out, const json_t *value)
{
    json_t *item;
    size_t i;

    switch (json_typeof(value)) {
    case JSON_OBJECT:
        put_object(out, value);
        break;
    case JSON_ARRAY:
        strbuf_append_char(out, '[');
        json_array_foreach(value, i, item)
        {
            strbuf_append_str(out, i ? "," : "");
            put_value(out, item);
        }
        strbuf_append_char(out, ']');
        break;
    case JSON_STRING:
        put_string(out, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
    case JSON_REAL:
    case JSON_TRUE:
    case JSON_FALSE:
    case JSON_NULL:
        jtext_scalar(out, value);
        break;
    }
}

char *apply_text(const json_t *value)
{
    CLEANUP(strbuf_fini) struct strbuf out;

    strbuf_init(&out, TEXT_BYTES_MAX);
    put_value(&out, value);
    return strbuf_take(&out, NULL);
}

int apply_annotate(json_t *object, struct error *err)
{
    json_t *meta = jpeek_obj(object, "metadata");
    if (!meta) {
        return error_set(err, ERR_INVALID, "metadata is missing");
    }
    if (!json_is_object(json_object_get(meta, "annotations"))) {
        json_object_set_new(meta, "annotations", json_object());
    }
    json_t *annotations = json_object_get(meta, "annotations");
    (void)json_object_del(annotations, ANNOTATION_LAST_APPLIED);
    CLEANUP(cleanup_free) char *text = apply_text(object);
    size_t len = strlen(text);
    if (len >= ANNOTATION_BYTES_MAX) {
        return error_set(
            err, ERR_TOO_BIG,
            "%zu bytes cannot be kept in an annotation (at most %u); `lull config` and "
            "`lull secret` take large ones",
            len, ANNOTATION_BYTES_MAX);
    }
    CLEANUP(cleanup_free) char *line = xasprintf("%s\n", text);
    json_object_set_new(annotations, ANNOTATION_LAST_APPLIED, json_string(line));
    return 0;
}

// ---- the merge

// Keeps of a merge patch only the removals (or only the rest).
static void keep(json_t *patch, bool removals)
{
    const char *key;
    json_t *item;
    void *next;

    json_object_foreach_safe(patch, next, key, item)
    {
        bool drop;
        if (json_is_object(item)) {
            bool was_empty = json_object_size(item) == 0;
            keep(item, removals);
            // An empty object is itself an addition.
            drop = json_object_size(item) == 0 && (removals || !was_empty);
        } else {
            drop = json_is_null(item) != removals;
        }
        if (drop) {
            (void)json_object_del(patch, key);
        }
    }
}

// Removals of what is not there any more would only be noise.
static void drop_absent(json_t *patch, const json_t *live)
{
    const char *key;
    json_t *item;
    void *next;

    json_object_foreach_safe(patch, next, key, item)
    {
        const json_t *there = json_object_get(live, key);
        if (json_is_object(item) && json_is_object(there)) {
            drop_absent(item, there);
        }
        bool empty = json_is_object(item) && json_object_size(item) == 0;
        if (!there || json_is_null(there) || empty) {
            (void)json_object_del(patch, key);
        }
    }
}

json_t *apply_patch(const json_t *wanted, const json_t *live, bool *out_first)
{
    const char *text = jpeek_cstr(live, ANNOTATION_PATH);
    json_t *before = NULL;

    *out_first = text[0] == '\0';
    if (*out_first || jparse_object(slice_str(text), TEXT_BYTES_MAX, &before, NULL) < 0) {
        before = json_object();
    }
    json_t *changes = jmerge_diff(live, wanted);
    keep(changes, false);
    json_t *removals = jmerge_diff(before, wanted);
    keep(removals, true);
    // The annotation itself is never part of what it tells.
    json_t *annotations = jpeek_obj(removals, "metadata.annotations");
    if (annotations) {
        (void)json_object_del(annotations, ANNOTATION_LAST_APPLIED);
    }
    drop_absent(removals, live);
    json_t *patch = json_object();
    json_object_update_recursive(patch, removals);
    json_object_update_recursive(patch, changes);
    json_decref(changes);
    json_decref(removals);
    json_decref(before);
    return patch;
}
