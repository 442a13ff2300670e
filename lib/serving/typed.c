// SPDX-License-Identifier: Apache-2.0
/*
 * Walks over trees by their types. Happy path: each known field of an object is looked at by its
 * form (one value, a list, a map) and kind. Failure modes: only type_check has some, a value of
 * another type; the other functions treat such a value as one that says nothing. Depth is bounded
 * by the types, which do not contain themselves.
 */
#include "serving/typed.h"

#include "base/mem.h"
#include "json/jget.h"
#include "serving/quantity.h"

#define FIELD(json, path, form, kind, type, omit)                       \
    {                                                                   \
        json, path, TYPE_##form, TYPE_##kind, TYPE_##type, FIELD_##omit \
    }
#define FIELD_OMITTED       true
#define FIELD_KEPT          false
#define TYPE(name, go, ...) static const struct type_field fields_##name[] = {__VA_ARGS__};
#include "serving/typed.def"
#undef TYPE

static const struct {
    const char *go;
    const struct type_field *fields;
    size_t count;
} types[TYPE_COUNT] = {
#define TYPE(name, go, ...) [TYPE_##name] = {go, fields_##name, ARRAY_LEN(fields_##name)},
#include "serving/typed.def"
#undef TYPE
#undef FIELD
};

const struct type_field *type_fields(enum type_id type, size_t *out_count)
{
    *out_count = types[type].count;
    return types[type].fields;
}

const struct type_field *type_field(enum type_id type, const char *json)
{
    for (size_t i = 0; i < types[type].count; i++) {
        if (strcmp(types[type].fields[i].json, json) == 0) {
            return &types[type].fields[i];
        }
    }
    return NULL;
}

const char *type_go_name(enum type_id type)
{
    return types[type].go;
}

/* NULL for nothing and null. */
static json_t *member(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

/* --- zero ---------------------------------------------------------------------------------- */

static bool plain_is_zero(const json_t *value, const struct type_field *field)
{
    struct quantity q;
    switch ((enum type_kind)field->kind) {
    case TYPE_STRING:
        return json_string_length(value) == 0;
    case TYPE_BOOL:
        return !json_is_true(value);
    case TYPE_INT32:
    case TYPE_INT64:
        return json_integer_value(value) == 0;
    case TYPE_INT_OR_STRING:
        return json_is_integer(value) && json_integer_value(value) == 0;
    case TYPE_QUANTITY:
        return quantity_parse(slice_str(json_string_value(value)), &q) && q.nano == 0;
    case TYPE_STRUCT:
        return type_is_zero(value, field->type);
    case TYPE_ANY:
        break;
    }
    return false;
}

bool type_field_set(const json_t *object, const struct type_field *field)
{
    const json_t *value = member(object, field->json);
    if (value == NULL) {
        return false;
    }
    switch ((enum type_form)field->form) {
    case TYPE_LIST:
        return json_array_size(value) > 0;
    case TYPE_MAP:
        return json_object_size(value) > 0;
    case TYPE_PLAIN:
        return !plain_is_zero(value, field);
    case TYPE_POINTER:
        break;
    }
    return true;
}

bool type_is_zero(const json_t *object, enum type_id type)
{
    for (size_t i = 0; i < types[type].count; i++) {
        if (type_field_set(object, &types[type].fields[i])) {
            return false;
        }
    }
    return true;
}

/* --- shape --------------------------------------------------------------------------------- */

/* The way to a value, for a sentence. */
struct way {
    const struct way *up;
    const char *key; /* NULL: an index */
    size_t index;
};

static void print_way(const struct way *way, struct strbuf *out)
{
    if (way->up != NULL) {
        print_way(way->up, out);
    }
    if (way->key == NULL) {
        strbuf_appendf(out, "[%zu]", way->index);
    } else {
        strbuf_appendf(out, "%s%.100s", out->len > 0 && way->key[0] != '[' ? "." : "", way->key);
    }
}

static int wrong(const struct way *way, const char *want, const json_t *value, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, 4096);
    print_way(way, &text);
    if (json_is_integer(value)) {
        return error_set(err, ERR_INVALID, "%s: must be %s, is %lld", text.ptr, want,
                         (long long)json_integer_value(value));
    }
    if (json_is_string(value)) {
        return error_set(err, ERR_INVALID, "%s: must be %s, is \"%.60s\"", text.ptr, want,
                         json_string_value(value));
    }
    return error_set(err, ERR_INVALID, "%s: must be %s, is %s", text.ptr, want, jtype_name(value));
}

static int check_object(const json_t *object, enum type_id type, const struct way *way,
                        struct error *err);

static bool has_int32(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= INT32_MIN &&
           json_integer_value(value) <= INT32_MAX;
}

static bool is_quantity(const json_t *value)
{
    struct quantity q;
    char text[64];
    if (json_is_integer(value)) {
        return true;
    }
    if (json_is_real(value)) {
        snprintf(text, sizeof(text), "%.17g", json_real_value(value));
        return quantity_parse(slice_str(text), &q);
    }
    return json_is_string(value) &&
           quantity_parse(slice_of(json_string_value(value), json_string_length(value)), &q);
}

static int check_value(const json_t *value, const struct type_field *field, const struct way *way,
                       struct error *err)
{
    bool fine = true;
    const char *want = "";
    switch ((enum type_kind)field->kind) {
    case TYPE_STRING:
        fine = json_is_string(value);
        want = "a string";
        break;
    case TYPE_BOOL:
        fine = json_is_boolean(value);
        want = "true or false";
        break;
    case TYPE_INT32:
        fine = has_int32(value);
        want = "an integer of 32 bits";
        break;
    case TYPE_INT64:
        fine = json_is_integer(value);
        want = "an integer";
        break;
    case TYPE_INT_OR_STRING:
        fine = json_is_string(value) || has_int32(value);
        want = "an integer of 32 bits or a string";
        break;
    case TYPE_QUANTITY:
        fine = is_quantity(value);
        want = "a quantity like 100m, 2 or 64Mi";
        break;
    case TYPE_STRUCT:
        return check_object(value, field->type, way, err);
    case TYPE_ANY:
        break;
    }
    return fine ? 0 : wrong(way, want, value, err);
}

static int check_field(const json_t *value, const struct type_field *field, const struct way *way,
                       struct error *err)
{
    int rc = 0;
    if (field->form == TYPE_LIST) {
        size_t i;
        const json_t *item;
        if (!json_is_array(value)) {
            return wrong(way, "a list", value, err);
        }
        json_array_foreach(value, i, item)
        {
            struct way at = {.up = way, .index = i};
            rc = check_value(item, field, &at, err);
            if (rc < 0) {
                break;
            }
        }
    } else if (field->form == TYPE_MAP) {
        const char *key;
        json_t *item;
        if (!json_is_object(value)) {
            return wrong(way, "an object", value, err);
        }
        json_object_foreach((json_t *)(uintptr_t)value, key, item)
        {
            struct way at = {.up = way, .key = key};
            rc = check_value(item, field, &at, err);
            if (rc < 0) {
                break;
            }
        }
    } else {
        rc = check_value(value, field, way, err);
    }
    return rc;
}

static int check_object(const json_t *object, enum type_id type, const struct way *way,
                        struct error *err)
{
    if (!json_is_object(object)) {
        return wrong(way, "an object", object, err);
    }
    for (size_t i = 0; i < types[type].count; i++) {
        const struct type_field *field = &types[type].fields[i];
        const json_t *value = member(object, field->json);
        struct way at = {.up = way, .key = field->json};
        int rc = value == NULL ? 0 : check_field(value, field, &at, err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

int type_check(const json_t *object, enum type_id type, const char *path, struct error *err)
{
    struct way way = {.key = path};
    return check_object(object, type, &way, err);
}

/* --- normal form --------------------------------------------------------------------------- */

static json_t *canonical_quantity(const json_t *value)
{
    char text[64];
    char canonical[QUANTITY_TEXT];
    struct slice s = slice_of(json_string_value(value), json_string_length(value));
    if (json_is_integer(value)) {
        snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
        s = slice_str(text);
    } else if (json_is_real(value)) {
        snprintf(text, sizeof(text), "%.17g", json_real_value(value));
        s = slice_str(text);
    }
    return json_string(quantity_canonical(s, canonical));
}

static void normalise_list(json_t *list, const struct type_field *field)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        if (field->kind == TYPE_STRUCT) {
            type_normalise(item, field->type);
        } else if (field->kind == TYPE_QUANTITY) {
            REQUIRE(json_array_set_new(list, i, canonical_quantity(item)) == 0);
        }
    }
}

static void normalise_map(json_t *map, const struct type_field *field)
{
    const char *key;
    json_t *item;
    json_object_foreach(map, key, item)
    {
        if (field->kind == TYPE_STRUCT) {
            type_normalise(item, field->type);
        } else if (field->kind == TYPE_QUANTITY) {
            /* replacing the value of a key that is there does not disturb the walk */
            REQUIRE(json_object_set_new(map, key, canonical_quantity(item)) == 0);
        }
    }
}

/* The zero value of a field that is never left out; NULL for null. */
static json_t *zero_value(const struct type_field *field)
{
    if (field->form != TYPE_PLAIN) {
        return NULL;
    }
    switch ((enum type_kind)field->kind) {
    case TYPE_STRING:
        return json_string("");
    case TYPE_BOOL:
        return json_false();
    case TYPE_INT32:
    case TYPE_INT64:
    case TYPE_INT_OR_STRING:
        return json_integer(0);
    case TYPE_QUANTITY:
        return json_string("0");
    case TYPE_STRUCT: {
        json_t *object = json_object();
        type_normalise(object, field->type);
        return object;
    }
    case TYPE_ANY:
        break;
    }
    return NULL;
}

static void normalise_field(json_t *object, const struct type_field *field)
{
    json_t *value = member(object, field->json);
    if (value == NULL) {
        json_t *zero = field->omitted ? NULL : zero_value(field);
        (void)json_object_del(object, field->json);
        if (zero != NULL) {
            REQUIRE(json_object_set_new(object, field->json, zero) == 0);
        }
        return;
    }
    if (field->omitted && !type_field_set(object, field)) {
        (void)json_object_del(object, field->json);
    } else if (field->form == TYPE_LIST) {
        normalise_list(value, field);
    } else if (field->form == TYPE_MAP) {
        normalise_map(value, field);
    } else if (field->kind == TYPE_STRUCT) {
        type_normalise(value, field->type);
    } else if (field->kind == TYPE_QUANTITY) {
        REQUIRE(json_object_set_new(object, field->json, canonical_quantity(value)) == 0);
    }
}

void type_normalise(json_t *object, enum type_id type)
{
    if (json_is_object(object)) {
        for (size_t i = 0; i < types[type].count; i++) {
            normalise_field(object, &types[type].fields[i]);
        }
    }
}
