// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: the envelope ("k8s\0", then runtime.Unknown) names the kind; a table per message type says
 * which field number is which member; one function walks a message by its table. Fields that are
 * not in the table are stepped over; empty ones are left out, as JSON's omitempty does.
 */

#include "local/api/protobuf.h"

#include <string.h>

#include "base/clock.h"
#include "local/api/base64.h"

#define DEPTH_MAX 24

enum type {
    TEXT,
    TEXT_SET,
    BYTES,
    INT,
    INT_SET,
    BOOL,
    BOOL_SET,
    MESSAGE_TYPE,
    INLINE,
    TIME,
    QUANTITY,
    INT_OR_TEXT,
    TEXT_MAP,
    BYTES_MAP,
    QUANTITY_MAP
};

struct message;

struct field {
    uint32_t number;
    enum type type;
    const char *name;
    bool repeated;
    const struct message *of; /* of MESSAGE_TYPE and INLINE */
};

struct message {
    const struct field *fields;
    size_t count;
};

#define F(number, type, name)           \
    {                                   \
        number, type, name, false, NULL \
    }
#define L(number, type, name)          \
    {                                  \
        number, type, name, true, NULL \
    }
#define M(number, name, message)                    \
    {                                               \
        number, MESSAGE_TYPE, name, false, &message \
    }
#define ML(number, name, message)                  \
    {                                              \
        number, MESSAGE_TYPE, name, true, &message \
    }
#define I(number, message)                  \
    {                                       \
        number, INLINE, "", false, &message \
    }
#define MESSAGE(name, ...)                                     \
    static const struct field name##_fields[] = {__VA_ARGS__}; \
    static const struct message name = {name##_fields, ARRAY_LEN(name##_fields)};
#include "local/api/protobuf_fields.def"
#undef MESSAGE

static const struct {
    const char *kind;
    const struct message *message;
} kinds[] = {
    {"Namespace", &namespace},
    {"ConfigMap", &config_map},
    {"Secret", &secret},
    {"ServiceAccount", &service_account},
    {"Service", &service},
    {"Event", &event},
    {"Pod", &pod},
    {"Deployment", &deployment},
    {"Scale", &scale},
    {"HorizontalPodAutoscaler", &hpa},
    {"DeleteOptions", &delete_options},
    {"SelfSubjectAccessReview", &self_subject_access_review},
    {"SelfSubjectRulesReview", &self_subject_rules_review},
    {"SelfSubjectReview", &self_subject_review},
};

/* --- reading bytes ------------------------------------------------------------------------- */

static bool take_varint(struct slice *in, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (in->len == 0) {
            return false;
        }
        unsigned char byte = (unsigned char)in->ptr[0];
        *in = slice_sub(*in, 1, in->len);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *out = value;
            return true;
        }
    }
    return false;
}

/* One field: its number, and its bytes (wire type 2) or its number value (wire type 0). */
struct token {
    uint32_t number;
    bool bytes;
    uint64_t value;
    struct slice text;
};

static bool take_token(struct slice *in, struct token *out)
{
    uint64_t key, len;
    if (!take_varint(in, &key)) {
        return false;
    }
    *out = (struct token){.number = (uint32_t)(key >> 3), .text = SLICE_EMPTY};
    switch (key & 7) {
    case 0:
        return take_varint(in, &out->value);
    case 2:
        if (!take_varint(in, &len) || len > in->len) {
            return false;
        }
        out->bytes = true;
        out->text = slice_sub(*in, 0, (size_t)len);
        *in = slice_sub(*in, (size_t)len, in->len);
        return true;
    case 1:
    case 5:
        len = (key & 7) == 1 ? 8 : 4;
        if (in->len < len) {
            return false;
        }
        *in = slice_sub(*in, (size_t)len, in->len);
        return true;
    default:
        return false;
    }
}

/* --- values -------------------------------------------------------------------------------- */

/* NULL for what JSON cannot carry here: not UTF-8, or a NUL. */
static json_t *read_text(struct slice in)
{
    return memchr(in.ptr, 0, in.len) != NULL ? NULL : json_stringn(in.ptr, in.len);
}

/* Time {seconds = 1, nanos = 2}; NULL when it is not set. */
static json_t *read_time(struct slice in)
{
    struct token t;
    int64_t seconds = 0;
    while (in.len > 0 && take_token(&in, &t)) {
        seconds = t.number == 1 ? (int64_t)t.value : seconds;
    }
    if (seconds <= 0 || seconds > 9000000000) {
        return NULL;
    }
    char text[CLOCK_RFC3339_MAX];
    return json_string(
        clock_format_rfc3339(seconds * (int64_t)CLOCK_NS_PER_S, 0, text, sizeof(text)));
}

/* Quantity {string = 1} */
static json_t *read_quantity(struct slice in)
{
    struct token t;
    struct slice text = SLICE_EMPTY;
    while (in.len > 0 && take_token(&in, &t)) {
        text = t.number == 1 ? t.text : text;
    }
    return read_text(text);
}

/* IntOrString {type = 1, intVal = 2, strVal = 3}; type 1 is a text. */
static json_t *read_int_or_text(struct slice in)
{
    struct token t;
    struct slice text = SLICE_EMPTY;
    uint64_t type = 0, number = 0;
    while (in.len > 0) {
        if (!take_token(&in, &t)) {
            return NULL;
        }
        type = t.number == 1 ? t.value : type;
        number = t.number == 2 ? t.value : number;
        text = t.number == 3 ? t.text : text;
    }
    return type == 1 ? read_text(text) : json_integer((json_int_t)number);
}

static bool read_entry(struct slice in, enum type type, json_t *map)
{
    struct token t;
    struct slice key = SLICE_EMPTY, value = SLICE_EMPTY;
    while (in.len > 0) {
        if (!take_token(&in, &t)) {
            return false;
        }
        key = t.number == 1 ? t.text : key;
        value = t.number == 2 ? t.text : value;
    }
    json_t *text = type == BYTES_MAP      ? base64_json(value)
                   : type == QUANTITY_MAP ? read_quantity(value)
                                          : read_text(value);
    if (text == NULL || memchr(key.ptr, 0, key.len) != NULL) {
        json_decref(text);
        return false;
    }
    return json_object_setn_new(map, key.ptr, key.len, text) == 0;
}

static json_t *read_message(const struct message *message, struct slice in, unsigned depth);
static bool read_members(const struct message *message, struct slice in, unsigned depth,
                         json_t *object);

/* NULL: not readable, or (out_skip) nothing to set. */
static json_t *read_value(const struct field *f, const struct token *t, unsigned depth,
                          bool *out_skip)
{
    *out_skip = false;
    switch (f->type) {
    case TEXT:
        *out_skip = t->text.len == 0 && !f->repeated;
        return *out_skip ? NULL : read_text(t->text);
    case TEXT_SET:
        return read_text(t->text);
    case BYTES:
        return base64_json(t->text);
    case INT:
        *out_skip = t->value == 0;
        return *out_skip ? NULL : json_integer((json_int_t)t->value);
    case INT_SET:
        return json_integer((json_int_t)t->value);
    case BOOL:
        *out_skip = t->value == 0;
        return *out_skip ? NULL : json_true();
    case BOOL_SET:
        return json_boolean(t->value != 0);
    case TIME: {
        json_t *time = read_time(t->text);
        *out_skip = time == NULL;
        return time;
    }
    case QUANTITY:
        return read_quantity(t->text);
    case INT_OR_TEXT:
        return read_int_or_text(t->text);
    case MESSAGE_TYPE:
        return read_message(f->of, t->text, depth + 1);
    case INLINE:
    case TEXT_MAP:
    case BYTES_MAP:
    case QUANTITY_MAP:
        break;
    }
    return NULL;
}

static bool set_field(json_t *object, const struct field *f, const struct token *t, unsigned depth)
{
    json_t *there = json_object_get(object, f->name);
    if (f->type == INLINE) {
        return read_members(f->of, t->text, depth + 1, object);
    }
    if (f->type >= TEXT_MAP) {
        if (there == NULL) {
            there = json_object();
            (void)json_object_set_new(object, f->name, there);
        }
        return read_entry(t->text, f->type, there);
    }
    bool skip;
    json_t *value = read_value(f, t, depth, &skip);
    if (value == NULL) {
        return skip;
    }
    if (!f->repeated) {
        return json_object_set_new(object, f->name, value) == 0;
    }
    if (there == NULL) {
        there = json_array();
        (void)json_object_set_new(object, f->name, there);
    }
    return json_array_append_new(there, value) == 0;
}

static bool read_members(const struct message *message, struct slice in, unsigned depth,
                         json_t *object)
{
    bool fine = depth < DEPTH_MAX;
    while (fine && in.len > 0) {
        struct token t;
        fine = take_token(&in, &t);
        for (size_t i = 0; fine && i < message->count; i++) {
            const struct field *f = &message->fields[i];
            bool number = f->type >= INT && f->type <= BOOL_SET;
            if (f->number == t.number && number != t.bytes) {
                fine = set_field(object, f, &t, depth);
            }
        }
    }
    return fine;
}

static json_t *read_message(const struct message *message, struct slice in, unsigned depth)
{
    json_t *object = json_object();
    if (!read_members(message, in, depth, object)) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* --- the envelope -------------------------------------------------------------------------- */

static bool read_envelope(struct slice in, struct slice *type, struct slice *raw)
{
    struct token t;
    *type = *raw = SLICE_EMPTY;
    while (in.len > 0) {
        if (!take_token(&in, &t)) {
            return false;
        }
        *type = t.number == 1 ? t.text : *type;
        *raw = t.number == 2 ? t.text : *raw;
    }
    return true;
}

int protobuf_read(struct slice body, json_t **out, struct error *err)
{
    static const char magic[4] = {'k', '8', 's', 0};
    struct slice type, raw, version = SLICE_EMPTY, kind = SLICE_EMPTY;
    if (body.len < sizeof(magic) || memcmp(body.ptr, magic, sizeof(magic)) != 0 ||
        !read_envelope(slice_sub(body, sizeof(magic), body.len), &type, &raw) ||
        !read_envelope(type, &version, &kind)) {
        return error_set(err, ERR_PROTOCOL, "the body is not Kubernetes' protobuf form");
    }
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!slice_eq_str(kind, kinds[i].kind)) {
            continue;
        }
        json_t *object = read_message(kinds[i].message, raw, 0);
        if (object == NULL) {
            return error_set(err, ERR_PROTOCOL, "the protobuf body of a %s cannot be read",
                             kinds[i].kind);
        }
        (void)json_object_set_new(object, "apiVersion", json_stringn(version.ptr, version.len));
        (void)json_object_set_new(object, "kind", json_string(kinds[i].kind));
        *out = object;
        return 0;
    }
    return error_set(err, ERR_UNSUPPORTED,
                     "the protobuf form of %.*s is not supported - accepted media types include: "
                     "application/json",
                     (int)(kind.len > 60 ? 60 : kind.len), kind.ptr);
}
