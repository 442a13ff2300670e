// SPDX-License-Identifier: Apache-2.0
/*
 * Parsing and printing. Depth is counted before jansson sees the text, because its own limit (2048)
 * is fixed at its build. Printing is our own: numbers come out in their shortest form, and into a
 * bounded buffer.
 */
#include "json/jparse.h"

#include <math.h>

#include "base/mem.h"
#include "base/num.h"
#include "json/jread.h"

/* Deepest tree that is printed: more than jparse lets in, and a stop for a cycle. */
#define DUMP_DEPTH_MAX 256

static bool too_deep(struct slice text)
{
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (in_string) {
            i += c == '\\' ? 1 : 0;
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > JPARSE_DEPTH_MAX) {
                return true;
            }
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

static int parse(struct slice text, size_t max, size_t flags, json_t **out, struct error *err)
{
    if (text.len > max) {
        return error_set(err, ERR_TOO_BIG, "JSON of %zu bytes, at most %zu are allowed", text.len,
                         max);
    }
    json_t *value = jread(text, (flags & JSON_REJECT_DUPLICATES) != 0, JPARSE_DEPTH_MAX);
    if (value != NULL) {
        *out = value;
        return 0;
    }
    if (too_deep(text)) {
        return error_set(err, ERR_TOO_BIG, "JSON is nested deeper than %d levels",
                         JPARSE_DEPTH_MAX);
    }
    if (text.len == 0) {
        return error_set(err, ERR_INVALID, "JSON is empty");
    }
    json_error_t why;
    value = json_loadb(text.ptr, text.len, flags | JSON_DECODE_ANY, &why);
    if (value == NULL) {
        return error_set(err, ERR_INVALID, "JSON: line %d, column %d: %s", why.line, why.column,
                         why.text);
    }
    *out = value;
    return 0;
}

int jparse(struct slice text, size_t max, json_t **out, struct error *err)
{
    return parse(text, max, JSON_REJECT_DUPLICATES, out, err);
}

int jparse_last(struct slice text, size_t max, json_t **out, struct error *err)
{
    return parse(text, max, 0, out, err);
}

int jparse_object(struct slice text, size_t max, json_t **out, struct error *err)
{
    json_t *value;
    int rc = jparse(text, max, &value, err);
    if (rc == 0 && !json_is_object(value)) {
        json_decref(value);
        rc = error_set(err, ERR_INVALID, "JSON: an object is expected");
    } else if (rc == 0) {
        *out = value;
    }
    return rc;
}

int jparse_object_without(struct slice text, size_t max, const char *const *without, json_t **out,
                          struct error *err)
{
    struct slice rest = text;
    json_t *value = text.len > max ? NULL : jread_front(&rest, without, JPARSE_DEPTH_MAX);
    if (json_is_object(value) && slice_trim(rest).len == 0) {
        *out = value;
        return 0;
    }
    json_decref(value);
    return jparse_object(text, max, out, err);
}

struct dump {
    struct strbuf *out;
    bool sorted;
    int indent; /* 0: compact */
};

static void dump_value(const struct dump *d, const json_t *value, int depth);

static void new_line(const struct dump *d, int depth)
{
    if (d->indent > 0) {
        strbuf_appendf(d->out, "\n%*s", d->indent * depth, "");
    }
}

static void dump_real(const struct dump *d, double x)
{
    char text[NUM_DOUBLE_MAX];
    num_format_double(x, text, sizeof(text));
    strbuf_append_str(d->out, text);
    if (strpbrk(text, ".en") == NULL) {
        strbuf_append_str(d->out, ".0"); /* it stays a real when it is read again */
    }
}

static void dump_array(const struct dump *d, const json_t *value, int depth)
{
    size_t n = json_array_size(value);
    strbuf_append_char(d->out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i > 0) {
            strbuf_append_char(d->out, ',');
        }
        new_line(d, depth + 1);
        dump_value(d, json_array_get(value, i), depth + 1);
    }
    if (n > 0) {
        new_line(d, depth);
    }
    strbuf_append_char(d->out, ']');
}

static int by_key(const void *a, const void *b)
{
    const char *const *x = a;
    const char *const *y = b;
    return strcmp(*x, *y);
}

static void dump_object(const struct dump *d, const json_t *value, int depth)
{
    json_t *object = (json_t *)(uintptr_t)value; /* jansson's iterators are not const */
    size_t n = json_object_size(value);
    CLEANUP(cleanup_free) const char **keys = xcalloc(n, sizeof(*keys));
    size_t i = 0;
    for (void *it = json_object_iter(object); it != NULL; it = json_object_iter_next(object, it)) {
        keys[i++] = json_object_iter_key(it);
    }
    if (d->sorted) {
        qsort(keys, n, sizeof(*keys), by_key);
    }
    strbuf_append_char(d->out, '{');
    for (i = 0; i < n; i++) {
        if (i > 0) {
            strbuf_append_char(d->out, ',');
        }
        new_line(d, depth + 1);
        strbuf_append_json(d->out, slice_str(keys[i]));
        strbuf_append_str(d->out, d->indent > 0 ? ": " : ":");
        dump_value(d, json_object_get(value, keys[i]), depth + 1);
    }
    if (n > 0) {
        new_line(d, depth);
    }
    strbuf_append_char(d->out, '}');
}

static void dump_value(const struct dump *d, const json_t *value, int depth)
{
    if (depth > DUMP_DEPTH_MAX) {
        d->out->failed = true;
    }
    if (!strbuf_ok(d->out)) {
        return;
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        dump_object(d, value, depth);
        break;
    case JSON_ARRAY:
        dump_array(d, value, depth);
        break;
    case JSON_STRING:
        strbuf_append_json(d->out, slice_of(json_string_value(value), json_string_length(value)));
        break;
    case JSON_INTEGER:
        strbuf_appendf(d->out, "%lld", (long long)json_integer_value(value));
        break;
    case JSON_REAL:
        dump_real(d, json_real_value(value));
        break;
    case JSON_TRUE:
        strbuf_append_str(d->out, "true");
        break;
    case JSON_FALSE:
        strbuf_append_str(d->out, "false");
        break;
    case JSON_NULL:
        strbuf_append_str(d->out, "null");
        break;
    }
}

static int dump(const json_t *value, struct strbuf *out, bool sorted, int indent, struct error *err)
{
    const struct dump d = {.out = out, .sorted = sorted, .indent = indent};
    dump_value(&d, value, 0);
    if (!strbuf_ok(out)) {
        return error_set(err, ERR_TOO_BIG, "JSON has more than %zu bytes or %d levels", out->max,
                         DUMP_DEPTH_MAX);
    }
    return 0;
}

int jdump(const json_t *value, struct strbuf *out, struct error *err)
{
    return dump(value, out, false, 0, err);
}

int jdump_canonical(const json_t *value, struct strbuf *out, struct error *err)
{
    return dump(value, out, true, 0, err);
}

int jdump_pretty(const json_t *value, struct strbuf *out, struct error *err)
{
    return dump(value, out, false, 2, err);
}

char *jdump_str(const json_t *value)
{
    struct strbuf out;
    strbuf_init(&out, 1u << 30);
    int rc = jdump(value, &out, NULL);
    REQUIRE(rc == 0);
    return strbuf_take(&out, NULL);
}

void jfree(json_t **value)
{
    json_decref(*value);
    *value = NULL;
}
