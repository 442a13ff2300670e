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

#define DEPTH_MAX 8

enum type { TEXT, BYTES, INT, BOOL, MESSAGE, TIME, TEXT_MAP, BYTES_MAP };

struct message;

struct field {
    uint32_t number;
    enum type type;
    const char *name;
    bool repeated;
    const struct message *of; /* of MESSAGE */
};

struct message {
    const struct field *fields;
    size_t count;
};

#define MESSAGE_OF(list)      \
    {                         \
        list, ARRAY_LEN(list) \
    }

static const struct field owner_fields[] = {
    {1, TEXT, "kind"},       {3, TEXT, "name"},       {4, TEXT, "uid"},
    {5, TEXT, "apiVersion"}, {6, BOOL, "controller"}, {7, BOOL, "blockOwnerDeletion"}};
static const struct message owner = MESSAGE_OF(owner_fields);

static const struct field metadata_fields[] = {{1, TEXT, "name"},
                                               {2, TEXT, "generateName"},
                                               {3, TEXT, "namespace"},
                                               {5, TEXT, "uid"},
                                               {6, TEXT, "resourceVersion"},
                                               {7, INT, "generation"},
                                               {8, TIME, "creationTimestamp"},
                                               {9, TIME, "deletionTimestamp"},
                                               {10, INT, "deletionGracePeriodSeconds"},
                                               {11, TEXT_MAP, "labels"},
                                               {12, TEXT_MAP, "annotations"},
                                               {13, MESSAGE, "ownerReferences", true, &owner},
                                               {14, TEXT, "finalizers", true}};
static const struct message metadata = MESSAGE_OF(metadata_fields);

static const struct field namespace_spec_fields[] = {{1, TEXT, "finalizers", true}};
static const struct message namespace_spec = MESSAGE_OF(namespace_spec_fields);
static const struct field namespace_status_fields[] = {{1, TEXT, "phase"}};
static const struct message namespace_status = MESSAGE_OF(namespace_status_fields);
static const struct field namespace_fields[] = {{1, MESSAGE, "metadata", false, &metadata},
                                                {2, MESSAGE, "spec", false, &namespace_spec},
                                                {3, MESSAGE, "status", false, &namespace_status}};

static const struct field configmap_fields[] = {{1, MESSAGE, "metadata", false, &metadata},
                                                {2, TEXT_MAP, "data"},
                                                {3, BYTES_MAP, "binaryData"},
                                                {4, BOOL, "immutable"}};

static const struct field secret_fields[] = {{1, MESSAGE, "metadata", false, &metadata},
                                             {2, BYTES_MAP, "data"},
                                             {3, TEXT, "type"},
                                             {4, TEXT_MAP, "stringData"},
                                             {5, BOOL, "immutable"}};

static const struct field preconditions_fields[] = {{1, TEXT, "uid"}, {2, TEXT, "resourceVersion"}};
static const struct message preconditions = MESSAGE_OF(preconditions_fields);
static const struct field delete_fields[] = {{1, INT, "gracePeriodSeconds"},
                                             {2, MESSAGE, "preconditions", false, &preconditions},
                                             {3, BOOL, "orphanDependents"},
                                             {4, TEXT, "propagationPolicy"},
                                             {5, TEXT, "dryRun", true}};

static const struct field reference_fields[] = {
    {1, TEXT, "kind"},       {2, TEXT, "namespace"},       {3, TEXT, "name"},     {4, TEXT, "uid"},
    {5, TEXT, "apiVersion"}, {6, TEXT, "resourceVersion"}, {7, TEXT, "fieldPath"}};
static const struct message reference = MESSAGE_OF(reference_fields);
static const struct field source_fields[] = {{1, TEXT, "component"}, {2, TEXT, "host"}};
static const struct message source = MESSAGE_OF(source_fields);
static const struct field event_fields[] = {{1, MESSAGE, "metadata", false, &metadata},
                                            {2, MESSAGE, "involvedObject", false, &reference},
                                            {3, TEXT, "reason"},
                                            {4, TEXT, "message"},
                                            {5, MESSAGE, "source", false, &source},
                                            {6, TIME, "firstTimestamp"},
                                            {7, TIME, "lastTimestamp"},
                                            {8, INT, "count"},
                                            {9, TEXT, "type"},
                                            {10, TIME, "eventTime"},
                                            {12, TEXT, "action"},
                                            {14, TEXT, "reportingComponent"},
                                            {15, TEXT, "reportingInstance"}};

static const struct {
    const char *kind;
    struct message message;
} kinds[] = {
    {"Namespace", MESSAGE_OF(namespace_fields)}, {"ConfigMap", MESSAGE_OF(configmap_fields)},
    {"Secret", MESSAGE_OF(secret_fields)},       {"DeleteOptions", MESSAGE_OF(delete_fields)},
    {"Event", MESSAGE_OF(event_fields)},
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

static bool read_entry(struct slice in, bool bytes, json_t *map)
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
    json_t *text = bytes ? base64_json(value) : read_text(value);
    if (text == NULL || memchr(key.ptr, 0, key.len) != NULL) {
        json_decref(text);
        return false;
    }
    return json_object_setn_new(map, key.ptr, key.len, text) == 0;
}

static json_t *read_message(const struct message *message, struct slice in, unsigned depth);

/* NULL: not readable, or (out_skip) nothing to set. */
static json_t *read_value(const struct field *f, const struct token *t, unsigned depth,
                          bool *out_skip)
{
    *out_skip = false;
    switch (f->type) {
    case TEXT:
        *out_skip = t->text.len == 0 && !f->repeated;
        return *out_skip ? NULL : read_text(t->text);
    case BYTES:
        return base64_json(t->text);
    case INT:
        return json_integer((json_int_t)t->value);
    case BOOL:
        return json_boolean(t->value != 0);
    case TIME: {
        json_t *time = read_time(t->text);
        *out_skip = time == NULL;
        return time;
    }
    case MESSAGE:
        return read_message(f->of, t->text, depth + 1);
    case TEXT_MAP:
    case BYTES_MAP:
        break;
    }
    return NULL;
}

static bool set_field(json_t *object, const struct field *f, const struct token *t, unsigned depth)
{
    json_t *there = json_object_get(object, f->name);
    bool map = f->type == TEXT_MAP || f->type == BYTES_MAP;
    if (map) {
        if (there == NULL) {
            there = json_object();
            (void)json_object_set_new(object, f->name, there);
        }
        return read_entry(t->text, f->type == BYTES_MAP, there);
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

static json_t *read_message(const struct message *message, struct slice in, unsigned depth)
{
    json_t *object = json_object();
    bool fine = depth < DEPTH_MAX;
    while (fine && in.len > 0) {
        struct token t;
        fine = take_token(&in, &t);
        for (size_t i = 0; fine && i < message->count; i++) {
            const struct field *f = &message->fields[i];
            bool number = f->type == INT || f->type == BOOL;
            if (f->number == t.number && number != t.bytes) {
                fine = set_field(object, f, &t, depth);
            }
        }
    }
    if (!fine) {
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
        json_t *object = read_message(&kinds[i].message, raw, 0);
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
