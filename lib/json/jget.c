// SPDX-License-Identifier: Apache-2.0
/* Readers: walk the path, look at the type, borrow the value. Null counts as missing. */
#include "json/jget.h"

#include "json/jpath.h"

json_t *jget(const json_t *root, const char *path)
{
    const json_t *at = root;
    struct jstep step;
    while (at != NULL && jpath_next(&path, &step)) {
        if (step.kind == JSTEP_KEY) {
            at = json_object_getn(at, step.key.ptr, step.key.len);
        } else {
            size_t n = json_array_size(at);
            at = step.index < 0 ? (n == 0 ? NULL : json_array_get(at, n - 1))
                                : json_array_get(at, (size_t)step.index);
        }
    }
    return at == NULL || json_is_null(at) ? NULL : (json_t *)(uintptr_t)at;
}

const char *jtype_name(const json_t *value)
{
    if (value == NULL) {
        return "missing";
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "a whole number";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        return "null";
    }
    return "unknown";
}

static int missing(const char *path, struct error *err)
{
    return error_set(err, ERR_NOT_FOUND, "%s: missing", path);
}

static int wrong_type(const char *path, const char *want, const json_t *got, struct error *err)
{
    return error_set(err, ERR_INVALID, "%s: must be %s, is %s", path, want, jtype_name(got));
}

int jget_str(const json_t *root, const char *path, struct slice *out, struct error *err)
{
    const json_t *v = jget(root, path);
    if (v == NULL) {
        return missing(path, err);
    }
    if (!json_is_string(v)) {
        return wrong_type(path, "a string", v, err);
    }
    *out = slice_of(json_string_value(v), json_string_length(v));
    return 0;
}

int jget_i64(const json_t *root, const char *path, int64_t *out, struct error *err)
{
    const json_t *v = jget(root, path);
    if (v == NULL) {
        return missing(path, err);
    }
    if (!json_is_integer(v)) {
        return wrong_type(path, "a whole number", v, err);
    }
    *out = json_integer_value(v);
    return 0;
}

int jget_double(const json_t *root, const char *path, double *out, struct error *err)
{
    const json_t *v = jget(root, path);
    if (v == NULL) {
        return missing(path, err);
    }
    if (!json_is_number(v)) {
        return wrong_type(path, "a number", v, err);
    }
    *out = json_number_value(v);
    return 0;
}

int jget_bool(const json_t *root, const char *path, bool *out, struct error *err)
{
    const json_t *v = jget(root, path);
    if (v == NULL) {
        return missing(path, err);
    }
    if (!json_is_boolean(v)) {
        return wrong_type(path, "a boolean", v, err);
    }
    *out = json_is_true(v);
    return 0;
}

int jget_obj(const json_t *root, const char *path, json_t **out, struct error *err)
{
    json_t *v = jget(root, path);
    if (v == NULL) {
        return missing(path, err);
    }
    if (!json_is_object(v)) {
        return wrong_type(path, "an object", v, err);
    }
    *out = v;
    return 0;
}

int jget_arr(const json_t *root, const char *path, json_t **out, struct error *err)
{
    json_t *v = jget(root, path);
    if (v == NULL) {
        return missing(path, err);
    }
    if (!json_is_array(v)) {
        return wrong_type(path, "an array", v, err);
    }
    *out = v;
    return 0;
}

int jget_str_or(const json_t *root, const char *path, struct slice def, struct slice *out,
                struct error *err)
{
    if (jget(root, path) == NULL) {
        *out = def;
        return 0;
    }
    return jget_str(root, path, out, err);
}

int jget_i64_or(const json_t *root, const char *path, int64_t def, int64_t *out, struct error *err)
{
    if (jget(root, path) == NULL) {
        *out = def;
        return 0;
    }
    return jget_i64(root, path, out, err);
}

int jget_double_or(const json_t *root, const char *path, double def, double *out, struct error *err)
{
    if (jget(root, path) == NULL) {
        *out = def;
        return 0;
    }
    return jget_double(root, path, out, err);
}

int jget_bool_or(const json_t *root, const char *path, bool def, bool *out, struct error *err)
{
    if (jget(root, path) == NULL) {
        *out = def;
        return 0;
    }
    return jget_bool(root, path, out, err);
}

const char *jpeek_cstr(const json_t *root, const char *path)
{
    const char *text = json_string_value(jget(root, path));
    return text == NULL ? "" : text;
}

struct slice jpeek_str(const json_t *root, const char *path)
{
    struct slice s = SLICE_EMPTY;
    int rc = jget_str(root, path, &s, NULL);
    return rc < 0 ? SLICE_EMPTY : s;
}

char *jpeek_dup(const json_t *root, const char *path)
{
    return slice_dup_or_null(jpeek_str(root, path));
}

int64_t jpeek_i64(const json_t *root, const char *path)
{
    return json_integer_value(jget(root, path));
}

bool jpeek_bool(const json_t *root, const char *path)
{
    return json_is_true(jget(root, path));
}

json_t *jpeek_obj(const json_t *root, const char *path)
{
    json_t *v = jget(root, path);
    return json_is_object(v) ? v : NULL;
}

json_t *jpeek_arr(const json_t *root, const char *path)
{
    json_t *v = jget(root, path);
    return json_is_array(v) ? v : NULL;
}

json_t *jpeek_row(const json_t *root, const char *path, const char *key, struct slice value)
{
    size_t i;
    json_t *row;
    json_array_foreach(jpeek_arr(root, path), i, row)
    {
        const json_t *got = json_object_get(row, key);
        if (json_is_string(got) &&
            slice_eq(slice_of(json_string_value(got), json_string_length(got)), value)) {
            return row;
        }
    }
    return NULL;
}
