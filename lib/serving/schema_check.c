// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: two walks along schema and object, one that collects causes, one that stops at the first.
 * Both keep the path in one buffer. Failure modes: too many causes are cut, too long a path is cut.
 */
#include "serving/schema_check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "json/jedit.h"
#include "json/jparse.h"

#define PATH_LEN_MAX 1024
#define TEXT_MAX     8192

/* --- custom kinds -------------------------------------------------------------------------- */

struct check {
    json_t *causes; // NULL until the first
    size_t skip;    // so much of the path is not in the sentences
    size_t len;
    char path[PATH_LEN_MAX];
};

static void check_object(struct check *c, const struct schema *schema, const json_t *object);

static size_t push(struct check *c, const char *format, ...) PRINTF_LIKE(2, 3);
static size_t push(struct check *c, const char *format, ...)
{
    size_t before = c->len;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(c->path + c->len, sizeof(c->path) - c->len, format, args);
    va_end(args);
    c->len += n < 0 ? 0 : (size_t)n;
    if (c->len >= sizeof(c->path)) {
        c->len = sizeof(c->path) - 1;
    }
    return before;
}

// The path grows by a name; as this is done for every field of every write, without a format.
static size_t append_key(char path[PATH_LEN_MAX], size_t *len, const char *key)
{
    size_t before = *len, n = strlen(key);
    if (before + n + 2 <= PATH_LEN_MAX) {
        if (before > 0) {
            path[(*len)++] = '.';
        }
        memcpy(path + *len, key, n + 1);
        *len += n;
    }
    return before;
}

static size_t push_key(struct check *c, const char *key)
{
    return append_key(c->path, &c->len, key);
}

static void pop(struct check *c, size_t before)
{
    c->len = before;
    c->path[before] = '\0';
}

static void add_cause(struct check *c, const char *reason, const char *message)
{
    if (c->causes == NULL) {
        c->causes = json_array();
    }
    if (json_array_size(c->causes) < SCHEMA_CAUSES_MAX) {
        (void)json_array_append_new(c->causes, json_pack("{s:s, s:s, s:s}", "reason", reason,
                                                         "message", message, "field", c->path));
    }
}

static const char *body_path(const struct check *c)
{
    return c->path + (c->skip < c->len ? c->skip : c->len);
}

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "object";
    case JSON_ARRAY:
        return "array";
    case JSON_STRING:
        return "string";
    case JSON_INTEGER:
        return "integer";
    case JSON_REAL:
        return "number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "boolean";
    case JSON_NULL:
        return "null";
    }
    return "null";
}

static void bad_type(struct check *c, const char *wanted, const char *is)
{
    CLEANUP(cleanup_free)
    char *message = xasprintf("Invalid value: \"%s\": %s in body must be of type %s: \"%s\"", is,
                              body_path(c), wanted, is);
    add_cause(c, "FieldValueTypeInvalid", message);
}

static bool is_whole(const json_t *value)
{
    return json_is_real(value) && rint(json_real_value(value)) == json_real_value(value);
}

static void check_integer(struct check *c, const json_t *value)
{
    if (!json_is_integer(value) && !is_whole(value)) {
        bad_type(c, "integer", type_name(value));
    }
}

static bool is_digit(char ch)
{
    return ch >= '0' && ch <= '9';
}

// "[0-9]+(\.[0-9]*)?|\.[0-9]+"; NULL: it is not there.
static const char *skip_decimal(const char *at)
{
    const char *from = at;
    while (is_digit(*at)) {
        at++;
    }
    bool whole = at > from;
    if (*at == '.') {
        const char *fraction = ++at;
        while (is_digit(*at)) {
            at++;
        }
        if (!whole && at == fraction) {
            return NULL;
        }
        return at;
    }
    return whole ? at : NULL;
}

// SCHEMA_QUANTITY_PATTERN
static bool is_quantity(const char *text)
{
    text += *text == '+' || *text == '-' ? 1 : 0;
    text = skip_decimal(text);
    if (text == NULL || *text == '\0') {
        return text != NULL;
    }
    if (strchr("KMGTPE", *text) != NULL && text[1] == 'i') {
        return text[2] == '\0';
    }
    if (strchr("numkMGTPE", *text) != NULL && text[1] == '\0') {
        return true;
    }
    if (*text != 'e' && *text != 'E') {
        return false;
    }
    text += text[1] == '+' || text[1] == '-' ? 2 : 1;
    text = skip_decimal(text);
    return text != NULL && *text == '\0';
}

static void check_quantity(struct check *c, const json_t *value)
{
    if (json_is_string(value) && !is_quantity(json_string_value(value))) {
        CLEANUP(cleanup_free)
        char *message = xasprintf("Invalid value: \"%s\": %s in body should match '%s'",
                                  json_string_value(value), body_path(c), SCHEMA_QUANTITY_PATTERN);
        add_cause(c, "FieldValueInvalid", message);
    }
}

static void check_scalar(struct check *c, const struct schema_field *field, const json_t *value)
{
    switch ((enum schema_type)field->type) {
    case SCHEMA_TYPE_OPEN:
    case SCHEMA_TYPE_OBJECT:
        if (!json_is_object(value)) {
            bad_type(c, "object", type_name(value));
        } else if (!schema_is_open(field, true)) {
            check_object(c, schema_row((enum schema_id)field->ref), value);
        }
        break;
    case SCHEMA_TYPE_STRING:
    case SCHEMA_TYPE_TIME:
    case SCHEMA_TYPE_MICRO_TIME:
    case SCHEMA_TYPE_BYTES:
        if (!json_is_string(value)) {
            bad_type(c, "string", type_name(value));
        }
        break;
    case SCHEMA_TYPE_INT32:
    case SCHEMA_TYPE_INT64:
        check_integer(c, value);
        break;
    case SCHEMA_TYPE_BOOL:
        if (!json_is_boolean(value)) {
            bad_type(c, "boolean", type_name(value));
        }
        break;
    case SCHEMA_TYPE_QUANTITY:
    case SCHEMA_TYPE_INT_OR_STRING:
        if (!json_is_string(value) && !json_is_integer(value)) {
            bad_type(c, "integer,string", type_name(value));
        } else if (field->type == SCHEMA_TYPE_QUANTITY) {
            check_quantity(c, value);
        }
        break;
    }
}

static void check_keys(struct check *c, const struct schema_field *field, const json_t *list)
{
    CLEANUP(jfree) json_t *seen = json_object();
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        const char *key = json_string_value(json_object_get(item, field->keys));
        if (key == NULL) {
            continue;
        }
        if (json_object_get(seen, key) != NULL) {
            size_t before = push(c, "[%zu]", i);
            CLEANUP(jfree) json_t *which = json_pack("{s:s}", field->keys, key);
            CLEANUP(cleanup_free) char *text = jdump_str(which);
            CLEANUP(cleanup_free) char *message = xasprintf("Duplicate value: %s", text);
            add_cause(c, "FieldValueDuplicate", message);
            pop(c, before);
        }
        (void)json_object_set_new(seen, key, json_true());
    }
}

static void check_field(struct check *c, const struct schema_field *field, const json_t *value)
{
    const char *key;
    json_t *item;
    size_t i;
    if (field->shape == SCHEMA_ONE) {
        check_scalar(c, field, value);
    } else if (field->shape == SCHEMA_LIST && json_is_array(value)) {
        json_array_foreach(value, i, item)
        {
            size_t before = push(c, "[%zu]", i);
            check_scalar(c, field, item);
            pop(c, before);
        }
        if (field->keys != NULL) {
            check_keys(c, field, value);
        }
    } else if (field->shape == SCHEMA_MAP && json_is_object(value)) {
        json_object_foreach((json_t *)(uintptr_t)value, key, item)
        {
            size_t before = push_key(c, key);
            check_scalar(c, field, item);
            pop(c, before);
        }
    } else {
        bad_type(c, field->shape == SCHEMA_LIST ? "array" : "object", type_name(value));
    }
}

static void check_object(struct check *c, const struct schema *schema, const json_t *object)
{
    size_t at = 0;
    const struct schema_field *f;
    while ((f = schema_next(schema, true, &at)) != NULL) {
        const json_t *value = json_object_get(object, f->name);
        bool required = value == NULL && schema_is_required(f, true);
        if (value == NULL && !required) {
            continue;
        }
        size_t before = push_key(c, f->name);
        if (value != NULL) {
            check_field(c, f, value);
        } else {
            add_cause(c, "FieldValueRequired", "Required value");
        }
        pop(c, before);
    }
}

json_t *schema_check(const struct kind *kind, const json_t *object)
{
    struct check c = {0};
    check_object(&c, schema_of(kind), object);
    return c.causes;
}

json_t *schema_check_status(const struct kind *kind, const json_t *object)
{
    struct check c = {0};
    const struct schema_field *f = schema_field(schema_of(kind), SLICE_LIT("status"), true);
    const json_t *status = json_object_get(object, "status");
    if (f != NULL && status != NULL) {
        (void)push_key(&c, f->name);
        c.skip = c.len + 1;
        check_field(&c, f, status);
    }
    return c.causes;
}

void schema_causes_text(const json_t *causes, struct strbuf *out)
{
    bool several = json_array_size(causes) > 1;
    size_t i;
    json_t *cause;
    (void)strbuf_append_str(out, several ? "[" : "");
    json_array_foreach(causes, i, cause)
    {
        (void)strbuf_appendf(out, "%s%s: %s", i > 0 ? ", " : "",
                             json_string_value(json_object_get(cause, "field")),
                             json_string_value(json_object_get(cause, "message")));
    }
    (void)strbuf_append_str(out, several ? "]" : "");
}

/* --- Kubernetes' own kinds ----------------------------------------------------------------- */

struct decode {
    struct strbuf *out;
    size_t len;
    char path[PATH_LEN_MAX];
};

static bool decode_object(struct decode *d, const struct schema *schema, const json_t *object);

static const char *go_type(const struct schema_field *field)
{
    switch ((enum schema_type)field->type) {
    case SCHEMA_TYPE_STRING:
        return "string";
    case SCHEMA_TYPE_INT32:
        return "int32";
    case SCHEMA_TYPE_INT64:
        return "int64";
    case SCHEMA_TYPE_BOOL:
        return "bool";
    case SCHEMA_TYPE_BYTES:
        return "[]uint8";
    case SCHEMA_TYPE_OBJECT:
        return schema_row((enum schema_id)field->ref)->name;
    case SCHEMA_TYPE_OPEN:
    case SCHEMA_TYPE_TIME:
    case SCHEMA_TYPE_MICRO_TIME:
    case SCHEMA_TYPE_QUANTITY:
    case SCHEMA_TYPE_INT_OR_STRING:
        return "string";
    }
    return "string";
}

static bool go_error(struct decode *d, const struct schema *schema,
                     const struct schema_field *field, const json_t *value, bool element)
{
    const char *is = type_name(value);
    is = json_is_number(value) ? "number" : json_is_boolean(value) ? "bool" : is;
    const char *around = element                       ? ""
                         : field->shape == SCHEMA_LIST ? "[]"
                         : field->shape == SCHEMA_MAP  ? "map[string]"
                                                       : "";
    (void)strbuf_appendf(d->out, "json: cannot unmarshal %s", is);
    bool integer = field->type == SCHEMA_TYPE_INT32 || field->type == SCHEMA_TYPE_INT64;
    if (json_is_number(value) && integer) {
        CLEANUP(cleanup_free) char *text = jdump_str(value);
        (void)strbuf_appendf(d->out, " %s", text);
    }
    (void)strbuf_appendf(d->out, " into Go struct field %s.%s of type %s%s%s", schema->name,
                         d->path, around, field->type == SCHEMA_TYPE_OBJECT ? "v1." : "",
                         go_type(field));
    return false;
}

static bool is_base64(struct slice text, size_t *bad)
{
    size_t n = text.len;
    for (size_t i = 0; i < n; i++) {
        char ch = text.ptr[i];
        bool letter = (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') || is_digit(ch) ||
                      ch == '+' || ch == '/';
        bool pad = ch == '=' && i + 2 >= n && n % 4 == 0 && (i + 1 == n || text.ptr[n - 1] == '=');
        if (!letter && !pad) {
            *bad = i;
            return false;
        }
    }
    *bad = n / 4 * 4;
    return n % 4 == 0;
}

static bool decode_one(struct decode *d, const struct schema *schema,
                       const struct schema_field *field, const json_t *value, bool element)
{
    bool good = true;
    size_t bad = 0;
    switch ((enum schema_type)field->type) {
    case SCHEMA_TYPE_OPEN:
    case SCHEMA_TYPE_INT_OR_STRING:
        return true;
    case SCHEMA_TYPE_OBJECT:
        if (json_is_object(value)) {
            return decode_object(d, schema_row((enum schema_id)field->ref), value);
        }
        good = false;
        break;
    case SCHEMA_TYPE_BYTES:
        good = json_is_string(value);
        if (good &&
            !is_base64(slice_of(json_string_value(value), json_string_length(value)), &bad)) {
            (void)strbuf_appendf(d->out, "illegal base64 data at input byte %zu", bad);
            return false;
        }
        break;
    case SCHEMA_TYPE_STRING:
    case SCHEMA_TYPE_TIME:
    case SCHEMA_TYPE_MICRO_TIME:
        good = json_is_string(value);
        break;
    case SCHEMA_TYPE_INT32:
        good = json_is_integer(value) && json_integer_value(value) >= INT32_MIN &&
               json_integer_value(value) <= INT32_MAX;
        break;
    case SCHEMA_TYPE_INT64:
        good = json_is_integer(value);
        break;
    case SCHEMA_TYPE_BOOL:
        good = json_is_boolean(value);
        break;
    case SCHEMA_TYPE_QUANTITY:
        good = json_is_number(value) ||
               (json_is_string(value) && is_quantity(json_string_value(value)));
        if (!good) {
            (void)strbuf_append_str(d->out, "quantities must match the regular expression "
                                            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
            return false;
        }
        break;
    }
    return good || go_error(d, schema, field, value, element);
}

static bool decode_field(struct decode *d, const struct schema *schema,
                         const struct schema_field *field, const json_t *value)
{
    const char *key;
    json_t *item;
    size_t i;
    if (field->shape == SCHEMA_ONE) {
        return decode_one(d, schema, field, value, false);
    }
    if (field->shape == SCHEMA_LIST ? !json_is_array(value) : !json_is_object(value)) {
        return go_error(d, schema, field, value, false);
    }
    json_array_foreach(value, i, item)
    {
        if (!json_is_null(item) && !decode_one(d, schema, field, item, true)) {
            return false;
        }
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, item)
    {
        if (!json_is_null(item) && !decode_one(d, schema, field, item, true)) {
            return false;
        }
    }
    return true;
}

static bool decode_object(struct decode *d, const struct schema *schema, const json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        const struct schema_field *field = schema_field(schema, slice_str(key), false);
        if (field == NULL || json_is_null(value)) {
            continue;
        }
        size_t before = append_key(d->path, &d->len, key);
        if (!decode_field(d, schema, field, value)) {
            return false;
        }
        d->len = before;
        d->path[before] = '\0';
    }
    return true;
}

// Kubernetes reads the metadata of custom kinds on its own, so the path begins in it.
static bool decode_metadata(const struct kind *kind, const json_t *metadata, struct strbuf *out)
{
    bool custom = kind_is_custom(kind);
    if (json_is_object(metadata)) {
        struct decode d = {.out = out, .len = custom ? 0 : sizeof("metadata") - 1};
        (void)snprintf(d.path, sizeof(d.path), "%s", custom ? "" : "metadata");
        return decode_object(&d, schema_row(SCHEMA_OBJECT_META), metadata);
    }
    const char *is = type_name(metadata);
    is = json_is_number(metadata) ? "number" : json_is_boolean(metadata) ? "bool" : is;
    if (custom) {
        (void)strbuf_appendf(out, "json: cannot unmarshal %s into Go value of type v1.ObjectMeta",
                             is);
    } else {
        (void)strbuf_appendf(out,
                             "json: cannot unmarshal %s into Go struct field %s.metadata of type "
                             "v1.ObjectMeta",
                             is, kind->kind);
    }
    return false;
}

bool schema_decodes(const struct kind *kind, const json_t *object, struct strbuf *out)
{
    const json_t *metadata = json_object_get(object, "metadata");
    if (metadata != NULL && !json_is_null(metadata) && !decode_metadata(kind, metadata, out)) {
        return false;
    }
    struct decode d = {.out = out};
    return kind_is_custom(kind) || decode_object(&d, schema_of(kind), object);
}
