// SPDX-License-Identifier: Apache-2.0
/*
 * Happy path: a prefix (not compressed, length), then protobuf: field 1 of the request is the
 * service's name, field 1 of the answer the status, of which 1 is SERVING. Failure modes: an empty
 * body (an error of gRPC, which stands in the trailers), one that is compressed or cut off, or one
 * that does not say the status is not SERVING.
 */
#include "queue-proxy/grpc_health.h"

enum { PREFIX = 5, TAG_SERVICE = 1 << 3 | 2, FIELD_STATUS = 1, SERVING = 1, VARINT_BITS = 64 };
enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

static void append_varint(struct strbuf *out, size_t n)
{
    for (; n >= 0x80; n >>= 7) {
        strbuf_append_char(out, (char)(n | 0x80));
    }
    strbuf_append_char(out, (char)n);
}

bool grpc_health_request(struct slice service, struct strbuf *out)
{
    char message[16];
    CLEANUP(strbuf_fini) struct strbuf head;
    strbuf_init(&head, sizeof(message));
    if (service.len > 0) {
        strbuf_append_char(&head, TAG_SERVICE);
        append_varint(&head, service.len);
    }
    size_t len = head.len + service.len;
    const char prefix[PREFIX] = {0, (char)(len >> 24), (char)(len >> 16), (char)(len >> 8),
                                 (char)len};
    strbuf_append(out, prefix, sizeof(prefix));
    strbuf_append_slice(out, strbuf_slice(&head));
    strbuf_append_slice(out, service);
    return strbuf_ok(out);
}

static bool take_varint(struct slice *rest, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < VARINT_BITS && rest->len > 0; shift += 7) {
        unsigned char c = (unsigned char)rest->ptr[0];
        *rest = slice_sub(*rest, 1, rest->len);
        *out |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80) {
            return true;
        }
    }
    return false;
}

/* Steps over a field's value; *out is it where it is a number. */
static bool take_value(struct slice *rest, unsigned wire, uint64_t *out)
{
    uint64_t skip = wire == WIRE_64 ? 8 : 4;
    if (wire == WIRE_VARINT) {
        return take_varint(rest, out);
    }
    if (wire != WIRE_64 && wire != WIRE_32 && (wire != WIRE_BYTES || !take_varint(rest, &skip))) {
        return false;
    }
    if (skip > rest->len) {
        return false;
    }
    *rest = slice_sub(*rest, skip, rest->len);
    return true;
}

bool grpc_health_serving(struct slice body)
{
    uint64_t tag, value = 0, status = 0;
    if (body.len < PREFIX || body.ptr[0] != 0) {
        return false;
    }
    size_t len = 0;
    for (size_t i = 1; i < PREFIX; i++) {
        len = len << 8 | (unsigned char)body.ptr[i];
    }
    struct slice rest = slice_sub(body, PREFIX, body.len);
    if (len != rest.len) {
        return false;
    }
    while (rest.len > 0) {
        if (!take_varint(&rest, &tag) || !take_value(&rest, tag & 7, &value)) {
            return false;
        }
        if (tag == (FIELD_STATUS << 3 | WIRE_VARINT)) {
            status = value;
        }
    }
    return status == SERVING;
}
