// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the HTTP fuzz targets share: a message is fed whole and byte by byte, and both must come to
 * the same end; what was accepted must satisfy what the rest of the code relies on.
 */

#include <stdio.h>
#include <stdlib.h>

#include "http/h1.h"

#define FUZZ_CHECK(cond)                                               \
    do {                                                               \
        if (!(cond)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            abort();                                                   \
        }                                                              \
    } while (0)

struct fuzz_seen {
    struct h1_message msg;
    struct strbuf body;
    enum h1_result result;
    size_t used;
    int status;
};

static inline enum h1_go fuzz_on_head(struct h1_parser *p, void *owner)
{
    return H1_GO;
}

static inline bool fuzz_on_body(struct h1_parser *p, struct slice chunk, void *owner)
{
    struct fuzz_seen *s = owner;
    FUZZ_CHECK(strbuf_append_slice(&s->body, chunk) == 0);
    return true;
}

static const struct h1_events fuzz_events = {.on_head = fuzz_on_head, .on_body = fuzz_on_body};

static inline void fuzz_feed(struct fuzz_seen *s, enum llhttp_type type, const char *data,
                             size_t size, size_t step)
{
    struct http_limits limits = http_limits_default();
    struct h1_parser p;
    limits.max_head_bytes = 2000;
    limits.max_target_bytes = 1000;
    limits.max_headers = 20;
    *s = (struct fuzz_seen){.result = H1_MORE};
    h1_message_init(&s->msg);
    strbuf_init(&s->body, size);
    h1_parser_init(&p, type, &limits, &fuzz_events, s);
    p.msg = &s->msg;
    while (s->used < size && s->result == H1_MORE) {
        size_t n = size - s->used < step ? size - s->used : step;
        size_t used = 0;
        s->result = h1_feed(&p, data + s->used, n, &used);
        FUZZ_CHECK(used <= n);
        s->used += used;
    }
    if (s->result == H1_MORE && h1_finish(&p) == H1_DONE) {
        s->result = H1_DONE;
    }
    s->status = p.bad_status;
    FUZZ_CHECK(s->result != H1_BAD || (s->status >= 400 && s->status < 600 && p.bad_text != NULL));
}

static inline void fuzz_free(struct fuzz_seen *s)
{
    h1_message_fini(&s->msg);
    strbuf_fini(&s->body);
}

/* A head that was accepted has only valid names and values, and can be copied and written. */
static inline void fuzz_check_head(const struct http_head *head)
{
    for (size_t i = 0; i < head->n_headers; i++) {
        FUZZ_CHECK(http_name_valid(head->headers[i].name));
        struct slice v = head->headers[i].value;
        for (size_t k = 0; k < v.len; k++) {
            FUZZ_CHECK(v.ptr[k] != '\r' && v.ptr[k] != '\n' && v.ptr[k] != '\0');
        }
    }
    struct http_header room[40];
    struct http_head copy;
    http_head_init(&copy, room, 40);
    FUZZ_CHECK(http_head_copy(head, &copy) == 0);
}

/* Both ways of feeding; the caller frees both. */
static inline void fuzz_both(struct fuzz_seen *whole, struct fuzz_seen *bytes,
                             enum llhttp_type type, const uint8_t *data, size_t size)
{
    fuzz_feed(whole, type, (const char *)data, size, size > 0 ? size : 1);
    fuzz_feed(bytes, type, (const char *)data, size, 1);
    /* Which fault is met first, a wrong byte or a limit, may depend on the reads; a refusal may
     * not. */
    FUZZ_CHECK(whole->result == bytes->result);
    if (whole->result == H1_DONE) {
        FUZZ_CHECK(whole->used == bytes->used);
        FUZZ_CHECK(slice_eq(strbuf_slice(&whole->body), strbuf_slice(&bytes->body)));
        FUZZ_CHECK(whole->msg.head.n_headers == bytes->msg.head.n_headers);
        fuzz_check_head(&whole->msg.head);
    }
}
