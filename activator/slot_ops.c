// SPDX-License-Identifier: Apache-2.0
/* Plan: one table says which fields an op has; writing and reading follow it. */
#include "activator/slot_ops.h"

#include <string.h>

#define FRAME_MAX 65536u /* a frame is closed when it is longer; far below what a link takes */
#define TEXT_MAX  1024u

enum { FIELD_HOW = 1, FIELD_REVISION = 2, FIELD_REPLICA = 4 };

/* -1: no such op */
static int fields_of(uint8_t op)
{
    switch (op) {
    case SLOT_RESERVE:
        return FIELD_REVISION;
    case SLOT_CLAIM:
        return FIELD_REVISION | FIELD_REPLICA;
    case SLOT_DONE:
    case SLOT_BACK:
        return FIELD_HOW;
    case SLOT_GRANT:
        return FIELD_REPLICA;
    case SLOT_CANCEL:
    case SLOT_FULL:
    case SLOT_MOVED:
    case SLOT_LATE:
        return 0;
    default:
        return -1;
    }
}

void ops_init(struct ops_out *out, size_t max)
{
    *out = (struct ops_out){.open = 0};
    strbuf_init(&out->buf, max);
}

void ops_fini(struct ops_out *out)
{
    strbuf_fini(&out->buf);
}

void ops_clear(struct ops_out *out)
{
    strbuf_clear(&out->buf);
    out->open = 0;
}

bool ops_empty(const struct ops_out *out)
{
    return out->buf.len == 0;
}

bool ops_ok(const struct ops_out *out)
{
    return strbuf_ok(&out->buf);
}

static void put_be(char *at, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        at[i] = (char)(v >> (8 * (bytes - 1 - i)));
    }
}

static uint64_t get_be(const char *at, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++) {
        v = v << 8 | (uint8_t)at[i];
    }
    return v;
}

static void put_text(struct strbuf *s, struct slice text)
{
    char head[2];
    put_be(head, text.len, 2);
    strbuf_append(s, head, sizeof(head));
    strbuf_append_slice(s, text);
}

void ops_put(struct ops_out *out, const struct slot_message *m)
{
    struct strbuf *s = &out->buf;
    int fields = fields_of((uint8_t)m->op);
    char head[9] = {0};
    if (s->len == 0 || s->len - out->open > FRAME_MAX) {
        out->open = s->len;
        strbuf_append(s, head, 4);
    }
    head[0] = (char)m->op;
    put_be(head + 1, m->id, 8);
    strbuf_append(s, head, sizeof(head));
    if (fields & FIELD_HOW) {
        strbuf_append_char(s, (char)m->how);
    }
    if (fields & FIELD_REVISION) {
        put_text(s, m->revision);
    }
    if (fields & FIELD_REPLICA) {
        put_text(s, m->replica);
    }
    if (strbuf_ok(s)) {
        put_be(s->ptr + out->open, s->len - out->open - 4, 4);
    }
}

bool ops_next_frame(const struct ops_out *out, size_t *at, struct slice *frame)
{
    if (*at >= out->buf.len) {
        return false;
    }
    size_t len = (size_t)get_be(out->buf.ptr + *at, 4);
    *frame = slice_of(out->buf.ptr + *at + 4, len);
    *at += 4 + len;
    return true;
}

static bool take(struct slice *rest, size_t n, struct slice *out)
{
    if (rest->len < n) {
        return false;
    }
    *out = slice_of(rest->ptr, n);
    *rest = slice_of(rest->ptr + n, rest->len - n);
    return true;
}

static bool take_text(struct slice *rest, struct slice *out)
{
    struct slice head;
    if (!take(rest, 2, &head)) {
        return false;
    }
    size_t len = (size_t)get_be(head.ptr, 2);
    return len > 0 && len <= TEXT_MAX && take(rest, len, out);
}

int ops_read(struct slice *rest, struct slot_message *out, struct error *err)
{
    struct slice head;
    struct slice how = SLICE_EMPTY;
    if (rest->len == 0) {
        return 0;
    }
    *out = (struct slot_message){.op = (enum slot_op)(uint8_t)rest->ptr[0]};
    int fields = fields_of((uint8_t)rest->ptr[0]);
    if (fields < 0 || !take(rest, 9, &head) || ((fields & FIELD_HOW) && !take(rest, 1, &how)) ||
        ((fields & FIELD_REVISION) && !take_text(rest, &out->revision)) ||
        ((fields & FIELD_REPLICA) && !take_text(rest, &out->replica))) {
        return error_set(err, ERR_PROTOCOL, "a slot message that cannot be read (op %u)",
                         (unsigned)out->op);
    }
    out->id = get_be(head.ptr + 1, 8);
    out->how = how.len == 1 ? (uint8_t)how.ptr[0] : 0;
    return 1;
}
