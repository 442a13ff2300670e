// SPDX-License-Identifier: Apache-2.0
/*
 * Shared buffers of a loop and the sending side of a connection.
 *
 * Blocks: while requests with large bodies come, as many blocks go around as are kept at once, and
 * none is allocated; what a whole second did not need is freed at the first read after it.
 *
 * Happy path: small pieces are copied into the gather buffer, a flush hands them to the stream in
 * one send; a large piece goes out at once behind what is gathered, without a copy.
 * Failure: stream_write's error is remembered in `failed`; the stream's own on_error ends the
 * connection. A queue that is full means that a producer ignored HTTP_FULL: `failed` too.
 */

#include "http/shared.h"

#include "base/clock.h"
#include "base/mem.h"
#include "http/h1.h"

#define GATHER_MAX  (512 * 1024) /* two of the largest heads fit */
#define GATHER_KEEP (64 * 1024)
#define GATHER_SEND (48 * 1024) /* sent when so much is gathered, corked or not */
#define COPY_BELOW  (12 * 1024) /* smaller pieces are copied, larger ones sent from their place */

static struct http_block *new_block(void)
{
    struct http_block *b = xmalloc(sizeof(*b));
    list_init(&b->link);
    b->refs = 1;
    return b;
}

static void free_spare(struct http_shared *s, size_t n)
{
    for (; n > 0; n--, s->n_spare--) {
        free(LIST_ENTRY(list_pop_front(&s->spare), struct http_block, link));
    }
}

/* A second at a time: what was spare through all of it goes. */
static void trim(struct http_shared *s)
{
    uint64_t now_ns = loop_now_ns(s->loop);
    if (now_ns - s->trim_ns >= CLOCK_NS_PER_S) {
        free_spare(s, s->least_spare);
        s->trim_ns = now_ns;
        s->least_spare = s->n_spare;
    }
}

static struct http_block *take_block(struct http_shared *s)
{
    struct list *node = list_pop_front(&s->spare);
    if (node == NULL) {
        return new_block();
    }
    s->n_spare--;
    s->least_spare = s->n_spare < s->least_spare ? s->n_spare : s->least_spare;
    struct http_block *b = LIST_ENTRY(node, struct http_block, link);
    b->refs = 1;
    return b;
}

struct stream_buffer http_shared_buffer(struct http_shared *s)
{
    if (s->n_spare > 0) {
        trim(s);
    }
    if (s->block->refs > 1) {
        s->block->refs--; /* who keeps it gives it back */
        s->block = take_block(s);
    }
    return (struct stream_buffer){s->block->bytes, HTTP_READ_SIZE};
}

struct http_block *http_shared_keep(struct http_shared *s, struct slice bytes)
{
    uintptr_t at = (uintptr_t)bytes.ptr;
    uintptr_t start = (uintptr_t)s->block->bytes;
    if (at < start || at >= start + HTTP_READ_SIZE) {
        return NULL;
    }
    s->block->refs++;
    return s->block;
}

void http_shared_let_go(struct http_shared *s, struct http_block *block)
{
    if (block != NULL && --block->refs == 0) {
        list_push_front(&s->spare, &block->link);
        s->n_spare++;
    }
}

struct http_shared *http_shared_ref(struct loop *loop)
{
    struct http_shared *s = loop->http;
    if (s == NULL) {
        s = NEW(struct http_shared);
        s->loop = loop;
        list_init(&s->spare);
        s->block = new_block();
        strbuf_init(&s->gather, GATHER_MAX);
        loop->http = s;
    }
    s->refs++;
    return s;
}

void http_shared_unref(struct http_shared *s)
{
    if (s == NULL || --s->refs > 0) {
        return;
    }
    s->loop->http = NULL;
    REQUIRE(s->block->refs == 1);
    free(s->block);
    free_spare(s, s->n_spare);
    strbuf_fini(&s->gather);
    free(s);
}

struct slice http_shared_date(struct http_shared *s)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    uint64_t now_ns = loop_now_ns(s->loop);
    if (now_ns >= s->date_until_ns) {
        int64_t wall_ns = clock_wall_ns();
        struct tm tm;
        time_t t = (time_t)(wall_ns / (int64_t)CLOCK_NS_PER_S);
        gmtime_r(&t, &tm);
        snprintf(s->date, sizeof(s->date), "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
                 days + 3 * (tm.tm_wday % 7), tm.tm_mday % 100, months + 3 * (tm.tm_mon % 12),
                 (tm.tm_year + 1900) % 10000, tm.tm_hour % 100, tm.tm_min % 100, tm.tm_sec % 100);
        s->date_until_ns = now_ns + CLOCK_NS_PER_S - (uint64_t)wall_ns % CLOCK_NS_PER_S;
    }
    return slice_str(s->date);
}

struct strbuf *http_out_gather(struct http_out *out)
{
    struct http_shared *s = out->shared;
    if (s->owner != out) {
        if (s->owner != NULL) {
            http_out_flush(s->owner);
        }
        s->owner = out;
    }
    return &s->gather;
}

static void send_iov(struct http_out *out, const struct iovec *iov, unsigned n)
{
    if (out->failed) {
        return;
    }
    if (out->early != NULL) {
        for (unsigned i = 0; i < n; i++) {
            if (strbuf_append(out->early, iov[i].iov_base, iov[i].iov_len) < 0) {
                out->failed = true;
            }
        }
        return;
    }
    if (stream_write(out->stream, iov, n, NULL) < 0) {
        out->failed = true;
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        out->wire += iov[i].iov_len;
    }
}

static void gather_release(struct http_shared *s)
{
    s->owner = NULL;
    if (s->gather.cap > GATHER_KEEP) {
        strbuf_fini(&s->gather);
    } else {
        strbuf_clear(&s->gather);
    }
}

void http_out_flush(struct http_out *out)
{
    struct http_shared *s = out->shared;
    if (s->owner != out) {
        return;
    }
    if (s->gather.len > 0) {
        struct iovec iov = {s->gather.ptr, s->gather.len};
        send_iov(out, &iov, 1);
    }
    gather_release(s);
}

void http_out_drop(struct http_out *out)
{
    if (out->shared != NULL && out->shared->owner == out) {
        gather_release(out->shared);
    }
}

static void iov_set(struct iovec *iov, const void *bytes, size_t len)
{
    union {
        const void *in;
        void *out;
    } u = {.in = bytes}; /* iovec has no const; nothing writes through it */
    iov->iov_base = u.out;
    iov->iov_len = len;
}

void http_out_write(struct http_out *out, struct slice chunk)
{
    char head[H1_CHUNK_HEAD_MAX];
    size_t head_len = 0;
    if (chunk.len == 0) {
        return;
    }
    out->sent += chunk.len;
    if (out->chunked) {
        head_len = h1_chunk_head(head, chunk.len);
    }
    struct strbuf *gather = http_out_gather(out);
    if (chunk.len < COPY_BELOW) {
        strbuf_append(gather, head, head_len);
        strbuf_append_slice(gather, chunk);
        if (out->chunked) {
            strbuf_append(gather, "\r\n", 2);
        }
        if (!out->corked || gather->len >= GATHER_SEND) {
            http_out_flush(out);
        }
        return;
    }
    struct iovec iov[4];
    unsigned n = 0;
    if (gather->len > 0) {
        iov_set(&iov[n++], gather->ptr, gather->len);
    }
    if (out->chunked) {
        iov_set(&iov[n++], head, head_len);
    }
    iov_set(&iov[n++], chunk.ptr, chunk.len);
    if (out->chunked) {
        iov_set(&iov[n++], "\r\n", 2);
    }
    send_iov(out, iov, n);
    gather_release(out->shared);
}

void http_out_trailers(struct http_out *out, const struct http_head *trailers)
{
    if (!out->chunked || out->trailing) {
        return;
    }
    struct strbuf *gather = http_out_gather(out);
    out->trailing = true;
    strbuf_append_str(gather, "0\r\n");
    if (!h1_write_trailers(gather, trailers)) {
        out->failed = true;
    }
}

void http_out_last_chunk(struct http_out *out)
{
    strbuf_append_str(http_out_gather(out), out->trailing ? "\r\n" : "0\r\n\r\n");
    out->trailing = false;
}

enum http_flow http_out_flow(const struct http_out *out)
{
    size_t n = out->early != NULL ? out->early->len : stream_queued_bytes(out->stream);
    return n >= out->high ? HTTP_FULL : HTTP_GO;
}
