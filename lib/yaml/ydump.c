// SPDX-License-Identifier: Apache-2.0
//
// Recursion over the value, one line per scalar. A text is written plain when it is made of
// harmless characters and resolves to itself, as a block when it has several lines, else quoted.
#include "yaml/ydump.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jtext.h"
#include "yaml/yscalar.h"

#define DEPTH_MAX      256
#define SIMPLE_KEY_MAX 900 // readers give up on a longer key that stands before its colon

static const char PLAIN_FIRST[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_/.$(";
static const char PLAIN[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_/.$()-+=,@;:~^% ";

/* One code point at p; its length, 0 when it is no UTF-8 (jansson lets none in). */
static size_t code_point(const unsigned char *p, size_t left, uint32_t *out)
{
    size_t n = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;

    if (n > left) {
        return 0;
    }
    uint32_t c = n == 1 ? *p : *p & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        c = c << 6 | (p[i] & 0x3fu);
    }
    *out = c;
    return n;
}

/* Whether a reader takes it as it stands, in quotes or in a block. */
static bool printable(uint32_t c)
{
    return (c >= 0x20 && c < 0x7f) || (c >= 0xa0 && c < 0xd800 && c != 0x2028 && c != 0x2029) ||
           (c >= 0xe000 && c <= 0xfffd && c != 0xfeff) || c >= 0x10000;
}

static bool looks_like_number_or_time(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!strchr("0123456789.:+-_TZtzeE ", text.ptr[i])) {
            return false;
        }
    }
    return text.ptr[0] >= '0' && text.ptr[0] <= '9';
}

static bool plain_fits(struct slice text)
{
    if (text.len == 0 || !strchr(PLAIN_FIRST, text.ptr[0]) || text.ptr[0] == '\0' ||
        text.ptr[text.len - 1] == ' ' || looks_like_number_or_time(text)) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool colon = c == ':' && (i + 1 == text.len || text.ptr[i + 1] == ' ');
        if (c == '\0' || !strchr(PLAIN, c) || colon) {
            return false;
        }
    }
    json_t *value = yscalar_resolve(text);
    bool same = json_is_string(value);
    json_decref(value);
    return same;
}

static void put_quoted(struct strbuf *out, struct slice text)
{
    uint32_t c = 0;

    strbuf_append_char(out, '"');
    for (size_t i = 0, n; i < text.len; i += n) {
        n = code_point((const unsigned char *)text.ptr + i, text.len - i, &c);
        if (n == 0) {
            break;
        }
        if (c == '"' || c == '\\') {
            strbuf_appendf(out, "\\%c", (char)c);
        } else if (c == '\n' || c == '\t' || c == '\r') {
            strbuf_append_str(out, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r");
        } else if (printable(c)) {
            strbuf_append(out, text.ptr + i, n);
        } else {
            strbuf_appendf(out, c > 0xffff ? "\\U%08X" : "\\u%04X", c);
        }
    }
    strbuf_append_char(out, '"');
}

static void put_word(struct strbuf *out, struct slice text)
{
    if (plain_fits(text)) {
        strbuf_append_slice(out, text);
    } else {
        put_quoted(out, text);
    }
}

/* Several lines that a block keeps exactly. */
static bool block_fits(struct slice text)
{
    uint32_t c = 0, before = '\n';

    if (slice_find(text, '\n') < 0 || text.ptr[0] == ' ' || text.ptr[0] == '\n') {
        return false;
    }
    for (size_t i = 0, n; i < text.len; i += n) {
        n = code_point((const unsigned char *)text.ptr + i, text.len - i, &c);
        bool tab = c == '\t' && before != '\n';
        if (n == 0 || (!printable(c) && c != '\n' && !tab) || (c == '\n' && before == ' ')) {
            return false;
        }
        before = c;
    }
    return before != ' ' && before != '\t';
}

static void put_indent(struct strbuf *out, int indent)
{
    for (int i = 0; i < indent; i++) {
        strbuf_append_str(out, "  ");
    }
}

static void put_block(struct strbuf *out, struct slice text, int indent)
{
    struct slice line;
    bool ends = text.ptr[text.len - 1] == '\n';
    bool more = ends && text.len > 1 && text.ptr[text.len - 2] == '\n';

    strbuf_append_str(out, more ? "|+" : ends ? "|" : "|-");
    struct slice rest = slice_sub(text, 0, text.len - ends);
    while (slice_split(&rest, '\n', &line)) {
        strbuf_append_char(out, '\n');
        if (line.len > 0) {
            put_indent(out, indent);
            strbuf_append_slice(out, line);
        }
    }
}

static void put_scalar(struct strbuf *out, const json_t *value, int indent)
{
    struct slice text = slice_of(json_string_value(value), json_string_length(value));

    switch (json_typeof(value)) {
    case JSON_STRING:
        if (block_fits(text)) {
            put_block(out, text, indent);
        } else {
            put_word(out, text);
        }
        break;
    case JSON_INTEGER:
    case JSON_REAL:
    case JSON_TRUE:
    case JSON_FALSE:
    case JSON_NULL:
        jtext_scalar(out, value);
        break;
    case JSON_OBJECT:
        strbuf_append_str(out, "{}");
        break;
    case JSON_ARRAY:
        strbuf_append_str(out, "[]");
        break;
    }
    strbuf_append_char(out, '\n');
}

static bool nested(const json_t *value)
{
    return json_object_size(value) > 0 || json_array_size(value) > 0;
}

static int put_value(struct strbuf *out, const json_t *value, int indent, int depth);

/* The indent of the first line is written already. */
static int put_object(struct strbuf *out, const json_t *object, int indent, int depth)
{
    CLEANUP(cleanup_free) const char **keys = jtext_names(object);
    int rc = 0;

    for (size_t i = 0; rc == 0 && keys[i]; i++) {
        const json_t *item = json_object_get(object, keys[i]);
        bool longer = strlen(keys[i]) > SIMPLE_KEY_MAX;
        if (i > 0) {
            put_indent(out, indent);
        }
        strbuf_append_str(out, longer ? "? " : "");
        put_word(out, slice_str(keys[i]));
        if (longer) {
            strbuf_append_char(out, '\n');
            put_indent(out, indent);
        }
        strbuf_append_char(out, ':');
        if (!nested(item)) {
            strbuf_append_char(out, ' ');
            put_scalar(out, item, indent + 1);
            continue;
        }
        int inner = json_is_array(item) ? indent : indent + 1;
        strbuf_append_char(out, '\n');
        put_indent(out, inner);
        rc = put_value(out, item, inner, depth + 1);
    }
    return rc;
}

/* Writes a nested value whose first line's indent is there already. */
static int put_value(struct strbuf *out, const json_t *value, int indent, int depth)
{
    json_t *item;
    size_t i;
    int rc = 0;

    if (depth > DEPTH_MAX || !strbuf_ok(out)) {
        return ERR_TOO_BIG;
    }
    if (json_is_object(value)) {
        return put_object(out, value, indent, depth);
    }
    json_array_foreach(value, i, item)
    {
        if (i > 0) {
            put_indent(out, indent);
        }
        strbuf_append_str(out, "- ");
        if (nested(item)) {
            rc = put_value(out, item, indent + 1, depth + 1);
        } else {
            put_scalar(out, item, indent + 1);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

int ydump(const json_t *value, struct strbuf *out, struct error *err)
{
    int rc = 0;

    if (nested(value)) {
        rc = put_value(out, value, 0, 0);
    } else {
        put_scalar(out, value, 1);
    }
    return rc == 0 && strbuf_ok(out)
               ? 0
               : error_set(err, ERR_TOO_BIG, "the value is too large for YAML");
}
