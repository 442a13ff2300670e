// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Writing: each field as tag and value, zeros left out as proto3 does; a nested message is
 * first written into a small array on the stack, because its length comes before it.
 * Reading: one loop over fields (field_next); a sample's fields are a table, both ways; unknown
 * fields are skipped, a repeated single field takes the last value, a nested message given twice
 * is merged. Failure: a length that points past the end, a varint of more than ten bytes, field
 * number 0 or a group are ERR_PROTOCOL.
 */
#include "serving/stat.h"

#include <math.h>

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

enum message_field { MESSAGE_NAMESPACE = 1, MESSAGE_NAME = 2, MESSAGE_SAMPLE = 3 };

enum list_field { LIST_MESSAGE = 1 };

/* --- writing ------------------------------------------------------------------------------- */

struct writer {
    uint8_t *bytes;
    size_t len;
    size_t cap;
    bool full;
};

static void put_byte(struct writer *w, uint8_t byte)
{
    if (w->len >= w->cap) {
        w->full = true;
        return;
    }
    w->bytes[w->len++] = byte;
}

static void put_varint(struct writer *w, uint64_t value)
{
    while (value >= 0x80) {
        put_byte(w, (uint8_t)(value | 0x80));
        value >>= 7;
    }
    put_byte(w, (uint8_t)value);
}

static void put_tag(struct writer *w, unsigned field, enum wire_type type)
{
    put_varint(w, ((uint64_t)field << 3) | (uint64_t)type);
}

static void put_bytes(struct writer *w, unsigned field, const void *bytes, size_t len)
{
    put_tag(w, field, WIRE_BYTES);
    put_varint(w, len);
    if (len > w->cap - w->len) {
        w->full = true;
        return;
    }
    if (len > 0) {
        memcpy(w->bytes + w->len, bytes, len);
    }
    w->len += len;
}

static void put_text(struct writer *w, unsigned field, struct slice text)
{
    if (text.len > 0) {
        put_bytes(w, field, text.ptr, text.len);
    }
}

static void put_integer(struct writer *w, unsigned field, int64_t value)
{
    if (value != 0) {
        put_tag(w, field, WIRE_VARINT);
        put_varint(w, (uint64_t)value);
    }
}

static void put_double(struct writer *w, unsigned field, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    if (bits == 0) {
        return;
    }
    put_tag(w, field, WIRE_FIXED64);
    for (int i = 0; i < 8; i++) {
        put_byte(w, (uint8_t)(bits >> (8 * i)));
    }
}

/* The fields of a sample, in the order in which they are written. */
enum sample_kind { SAMPLE_TEXT, SAMPLE_DOUBLE, SAMPLE_INTEGER };

static const struct sample_row {
    unsigned field;
    enum sample_kind kind;
    size_t offset; /* in struct stat_sample: struct slice, double, int64_t */
} sample_rows[] = {
    {1, SAMPLE_TEXT, offsetof(struct stat_sample, pod_name)},
    {2, SAMPLE_DOUBLE, offsetof(struct stat_sample, concurrency)},
    {3, SAMPLE_DOUBLE, offsetof(struct stat_sample, proxied_concurrency)},
    {4, SAMPLE_DOUBLE, offsetof(struct stat_sample, request_count)},
    {5, SAMPLE_DOUBLE, offsetof(struct stat_sample, proxied_request_count)},
    {6, SAMPLE_DOUBLE, offsetof(struct stat_sample, process_uptime_s)},
    {7, SAMPLE_INTEGER, offsetof(struct stat_sample, timestamp)},
};

static void put_sample(struct writer *w, const struct stat_sample *sample)
{
    for (size_t i = 0; i < ARRAY_LEN(sample_rows); i++) {
        const struct sample_row *row = &sample_rows[i];
        const void *at = (const char *)sample + row->offset;
        switch (row->kind) {
        case SAMPLE_TEXT:
            put_text(w, row->field, *(const struct slice *)at);
            break;
        case SAMPLE_DOUBLE:
            put_double(w, row->field, *(const double *)at);
            break;
        case SAMPLE_INTEGER:
            put_integer(w, row->field, *(const int64_t *)at);
            break;
        }
    }
}

int stat_encode(const struct stat_sample *sample, struct strbuf *out, struct error *err)
{
    uint8_t bytes[STAT_SAMPLE_BYTES];
    struct writer w = {.bytes = bytes, .cap = sizeof(bytes)};
    put_sample(&w, sample);
    if (w.full || sample->pod_name.len > STAT_NAME_MAX) {
        return error_set(err, ERR_TOO_BIG, "the name of a stat has %zu bytes, at most %d are sent",
                         sample->pod_name.len, STAT_NAME_MAX);
    }
    if (out->len + w.len > out->max) {
        return error_set(err, ERR_TOO_BIG, "no room for a stat of %zu bytes", w.len);
    }
    return strbuf_append(out, bytes, w.len);
}

int stat_message_append(const struct stat_message *message, struct strbuf *out, struct error *err)
{
    uint8_t sample_bytes[STAT_SAMPLE_BYTES];
    struct writer sample = {.bytes = sample_bytes, .cap = sizeof(sample_bytes)};
    put_sample(&sample, &message->sample);

    uint8_t body_bytes[STAT_MESSAGE_BYTES - 8];
    struct writer body = {.bytes = body_bytes, .cap = sizeof(body_bytes)};
    put_text(&body, MESSAGE_NAMESPACE, message->namespace_name);
    put_text(&body, MESSAGE_NAME, message->name);
    put_bytes(&body, MESSAGE_SAMPLE, sample_bytes, sample.len);
    if (sample.full || body.full || message->namespace_name.len > STAT_NAMESPACE_MAX ||
        message->name.len > STAT_NAME_MAX || message->sample.pod_name.len > STAT_NAME_MAX) {
        return error_set(err, ERR_TOO_BIG, "a name in a stat message is too long");
    }

    uint8_t bytes[STAT_MESSAGE_BYTES];
    struct writer w = {.bytes = bytes, .cap = sizeof(bytes)};
    put_bytes(&w, LIST_MESSAGE, body_bytes, body.len);
    if (out->len + w.len > out->max) {
        return error_set(err, ERR_TOO_BIG, "no room for a stat message of %zu bytes", w.len);
    }
    return strbuf_append(out, bytes, w.len);
}

/* --- reading ------------------------------------------------------------------------------- */

struct field {
    uint64_t number;
    uint64_t type;     /* enum wire_type */
    uint64_t value;    /* of a varint or a fixed number */
    struct slice body; /* of WIRE_BYTES */
};

static void take(struct slice *rest, size_t n)
{
    rest->ptr += n;
    rest->len -= n;
}

static int take_varint(struct slice *rest, uint64_t *out, struct error *err)
{
    uint64_t value = 0;
    for (size_t i = 0; i < 10 && i < rest->len; i++) {
        uint8_t byte = (uint8_t)rest->ptr[i];
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if ((byte & 0x80) == 0) {
            take(rest, i + 1);
            *out = value;
            return 0;
        }
    }
    return error_set(err, ERR_PROTOCOL, "a number in a stat is cut or longer than ten bytes");
}

static int take_fixed(struct slice *rest, size_t size, uint64_t *out, struct error *err)
{
    if (rest->len < size) {
        return error_set(err, ERR_PROTOCOL, "a stat ends inside a number");
    }
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value |= (uint64_t)(uint8_t)rest->ptr[i] << (8 * i);
    }
    take(rest, size);
    *out = value;
    return 0;
}

/* Takes one field off *rest, which is not empty. */
static int field_next(struct slice *rest, struct field *out, struct error *err)
{
    uint64_t tag;
    int rc = take_varint(rest, &tag, err);
    if (rc < 0) {
        return rc;
    }
    *out = (struct field){.number = tag >> 3, .type = tag & 7};
    if (out->number == 0 || out->number > 536870911) {
        return error_set(err, ERR_PROTOCOL, "a stat has a field number out of range");
    }
    switch (out->type) {
    case WIRE_VARINT:
        return take_varint(rest, &out->value, err);
    case WIRE_FIXED64:
        return take_fixed(rest, 8, &out->value, err);
    case WIRE_FIXED32:
        return take_fixed(rest, 4, &out->value, err);
    case WIRE_BYTES:
        rc = take_varint(rest, &out->value, err);
        if (rc < 0) {
            return rc;
        }
        if (out->value > rest->len) {
            return error_set(err, ERR_PROTOCOL, "a stat ends inside a field");
        }
        out->body = slice_of(rest->ptr, (size_t)out->value);
        take(rest, (size_t)out->value);
        return 0;
    default:
        return error_set(err, ERR_PROTOCOL, "a stat has a field of the unknown kind %u",
                         (unsigned)out->type);
    }
}

static int expect_type(const struct field *field, enum wire_type type, struct error *err)
{
    if (field->type == (uint64_t)type) {
        return 0;
    }
    return error_set(err, ERR_PROTOCOL, "field %u of a stat has the kind %u instead of %u",
                     (unsigned)field->number, (unsigned)field->type, (unsigned)type);
}

static int read_text(const struct field *field, struct slice *out, struct error *err)
{
    int rc = expect_type(field, WIRE_BYTES, err);
    if (rc == 0) {
        *out = field->body;
    }
    return rc;
}

static int read_sample_field(const struct sample_row *row, const struct field *field,
                             struct stat_sample *out, struct error *err)
{
    void *at = (char *)out + row->offset;
    int rc;
    switch (row->kind) {
    case SAMPLE_TEXT:
        return read_text(field, at, err);
    case SAMPLE_DOUBLE:
        rc = expect_type(field, WIRE_FIXED64, err);
        break;
    case SAMPLE_INTEGER:
    default:
        rc = expect_type(field, WIRE_VARINT, err);
        break;
    }
    if (rc == 0) {
        memcpy(at, &field->value, sizeof(field->value)); /* 8 bytes either way */
    }
    return rc;
}

/* Merges the fields of `bytes` into *out; does not judge the numbers. */
static int read_sample(struct slice bytes, struct stat_sample *out, struct error *err)
{
    while (bytes.len > 0) {
        struct field field;
        int rc = field_next(&bytes, &field, err);
        for (size_t i = 0; rc == 0 && i < ARRAY_LEN(sample_rows); i++) {
            if (field.number == sample_rows[i].field) {
                rc = read_sample_field(&sample_rows[i], &field, out, err);
            }
        }
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static bool believed(double value)
{
    return isfinite(value) && value >= 0 && value <= STAT_VALUE_MAX;
}

static bool sample_believed(const struct stat_sample *s)
{
    return s->pod_name.len <= STAT_NAME_MAX && believed(s->concurrency) &&
           believed(s->proxied_concurrency) && believed(s->request_count) &&
           believed(s->proxied_request_count) && believed(s->process_uptime_s);
}

int stat_decode(struct slice bytes, struct stat_sample *out, struct error *err)
{
    struct stat_sample sample = {0};
    int rc = read_sample(bytes, &sample, err);
    if (rc < 0) {
        return rc;
    }
    if (!sample_believed(&sample)) {
        return error_set(err, ERR_INVALID, "a stat has a number or a name that cannot be true");
    }
    *out = sample;
    return 0;
}

static int read_message(struct slice bytes, struct stat_message *out, struct error *err)
{
    while (bytes.len > 0) {
        struct field field;
        int rc = field_next(&bytes, &field, err);
        if (rc < 0) {
            return rc;
        }
        switch (field.number) {
        case MESSAGE_NAMESPACE:
            rc = read_text(&field, &out->namespace_name, err);
            break;
        case MESSAGE_NAME:
            rc = read_text(&field, &out->name, err);
            break;
        case MESSAGE_SAMPLE:
            rc = expect_type(&field, WIRE_BYTES, err);
            rc = rc < 0 ? rc : read_sample(field.body, &out->sample, err);
            break;
        default:
            break;
        }
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static bool message_believed(const struct stat_message *m)
{
    return m->namespace_name.len > 0 && m->namespace_name.len <= STAT_NAMESPACE_MAX &&
           m->name.len > 0 && m->name.len <= STAT_NAME_MAX && sample_believed(&m->sample);
}

int stat_reader_next(struct stat_reader *reader, struct stat_message *out, struct error *err)
{
    while (reader->rest.len > 0) {
        struct field field;
        int rc = field_next(&reader->rest, &field, err);
        if (rc < 0) {
            return rc;
        }
        if (field.number != LIST_MESSAGE) {
            continue;
        }
        struct stat_message message = {0};
        rc = expect_type(&field, WIRE_BYTES, err);
        rc = rc < 0 ? rc : read_message(field.body, &message, err);
        if (rc < 0) {
            return rc;
        }
        if (message_believed(&message)) {
            *out = message;
            return 1;
        }
        reader->dropped++;
    }
    return 0;
}
