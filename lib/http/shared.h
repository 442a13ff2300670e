// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Private to lib/http: what all connections of a loop share, so that an idle one owns no buffer.
 *
 * http_shared: the block that is read into, the gather buffer, and the text of Date. Counted by the
 * servers and pools of the loop. What was read may be used inside the read callback; who needs it
 * longer takes a count of the block instead of a copy, and the next read goes into another one.
 *
 * http_out: the sending side of one connection. Small writes are gathered so that a head and
 * its first body bytes leave in one send. There is one gather buffer with one owner at a time;
 * who wants it next sends what is in it first.
 */

#include "base/strbuf.h"
#include "loop/stream.h"
#include "http/server.h"

/* A request with a body of 64 KiB comes in one read, and is sent on in one. */
#define HTTP_READ_SIZE (72 * 1024)

struct http_block {
    struct list link; /* shared->spare */
    unsigned refs;
    char bytes[HTTP_READ_SIZE];
};

struct http_out;

struct http_shared {
    struct loop *loop;
    struct http_block *block; /* read into */
    struct list spare;        /* blocks; those that are not needed for a second are freed */
    size_t n_spare;
    size_t least_spare; /* since trim_ns */
    uint64_t trim_ns;   /* when it was looked at last */
    struct strbuf gather;
    struct http_out *owner; /* whose bytes are gathered */
    uint64_t date_until_ns; /* by the loop's clock: the text holds for so long */
    char date[64];
    unsigned refs;
};

struct http_out {
    struct http_shared *shared;
    struct stream *stream;
    struct strbuf *early; /* not NULL: not connected yet, bytes go here */
    uint64_t sent;        /* body bytes taken */
    uint64_t wire;        /* bytes given to the stream, heads and framing included */
    uint32_t high;        /* unsent bytes at which writes say HTTP_FULL */
    bool chunked;         /* bodies are framed */
    bool trailing; /* the last chunk and its trailers were written, not yet the end of them */
    bool corked;
    bool failed; /* a write failed: the stream reports, or nothing more fits */
};

/* The loop's, made at first use. */
struct http_shared *http_shared_ref(struct loop *loop);
void http_shared_unref(struct http_shared *shared);
/* Where to read into. */
struct stream_buffer http_shared_buffer(struct http_shared *shared);
/* A count of the block that was read into, if these bytes lie in it; else NULL. */
struct http_block *http_shared_keep(struct http_shared *shared, struct slice bytes);
/* Gives it back. NULL is fine. */
void http_shared_let_go(struct http_shared *shared, struct http_block *block);
/* Text for a Date header. */
struct slice http_shared_date(struct http_shared *shared);

/* The gather buffer, owned by `out` from now on. */
struct strbuf *http_out_gather(struct http_out *out);
/* Body bytes; framed when chunked. */
void http_out_write(struct http_out *out, struct slice chunk);
/* Fields behind a chunked body, once, before its end; nothing in another framing. */
void http_out_trailers(struct http_out *out, const struct http_head *trailers);
/* The end of a chunked body. */
void http_out_last_chunk(struct http_out *out);
void http_out_flush(struct http_out *out);
/* Forgets what is gathered (the connection goes away). */
void http_out_drop(struct http_out *out);
/* What writes say now. */
enum http_flow http_out_flow(const struct http_out *out);
