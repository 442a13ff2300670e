// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The client side of a hop: a pool of keep-alive connections to one address, and calls on them.
 * A call is one request with its answer. Its struct is the caller's (embed it); the pool owns the
 * connection under it.
 *
 *     http_call_start(pool, &call, &head, &events, me);   head is serialised now
 *     http_call_write(&call, bytes); http_call_end(&call);
 *     … on_head, on_body …, then exactly one of on_end, on_fail; the call is free then.
 *
 * No callback comes inside http_call_start/write/end/cancel. The call is over when on_end or
 * on_fail is called (it may be started again inside), or when http_call_cancel returns. The answer
 * may end before the request body was sent: on_end then says so by http_call_sent(), and the
 * connection is not reused.
 */

#include "http/head.h"
#include "http/limits.h"
#include "http/server.h"

struct http_pool;
struct http_conn; /* private */
struct h2_call;   /* private */

struct http_pool_options {
    struct http_limits limits; /* of answers: heads, body_ms 0 (callers have own deadlines) */
    bool h2c; /* HTTP/2 from the first byte ("prior knowledge"); no upgrades: ERR_UNSUPPORTED */
    uint32_t max_idle;        /* idle connections kept */
    uint32_t max_connections; /* 0: no limit; else ERR_OVERLOAD from http_call_start */
    uint32_t idle_ms;         /* an idle connection is closed after this */
    uint32_t connect_ms;      /* ERR_TIMEOUT, not sent */
    uint32_t
        connect_retry_ms; /* refused: try again for this long (function still starting); 0 no */
    /* Puts a layer (TLS) onto each new connection, not with h2c; NULL for plain. See
     * tls_secure_client. */
    int (*secure)(void *secure_data, struct stream *s, struct error *err);
    void *secure_data;
};

/* 64 idle, no limit, 4 s idle, 5 s connect. */
struct http_pool_options http_pool_options_default(void);

/* Where a call failed: what a retry may assume. */
enum http_stage {
    HTTP_STAGE_NOT_SENT, /* no byte of it reached the peer: safe to send elsewhere */
    HTTP_STAGE_UNSEEN,   /* the peer had ended a kept connection before any byte of this request
                            arrived there: safe to send again; the peer may be fine */
    HTTP_STAGE_REUSED,   /* a kept connection died with no byte of an answer: the peer most likely
                            closed it as idle; safe for idempotent requests */
    HTTP_STAGE_SENT,     /* it may have been executed */
    HTTP_STAGE_ANSWERED, /* the answer had begun */
};

struct http_call;

struct http_call_events {
    /* 1xx other than 101. May be NULL (dropped). */
    void (*on_inform)(struct http_call *call, const struct http_head *head, void *arg);
    /* The final head; borrowed until return. */
    void (*on_head)(struct http_call *call, const struct http_head *head, void *arg);
    void (*on_body)(struct http_call *call, struct slice chunk, void *arg);
    /* Fields behind the body, before on_end; borrowed until return. May be NULL (dropped). */
    void (*on_trailers)(struct http_call *call, const struct http_head *trailers, void *arg);
    /* No more callbacks from what was read just now. Not after on_end or on_fail. May be NULL. */
    void (*on_flush)(struct http_call *call, void *arg);
    /* After HTTP_FULL. May be NULL. */
    void (*on_writable)(struct http_call *call, void *arg);
    /* In a tunnel: the peer sent its last byte; http_call_end ends our half, then on_end comes.
       NULL: on_end comes at once. */
    void (*on_half)(struct http_call *call, void *arg);
    void (*on_end)(struct http_call *call, void *arg);
    void (*on_fail)(struct http_call *call, enum http_stage stage, const struct error *err,
                    void *arg);
};

struct http_call {
    struct http_conn *conn;                /* private */
    struct h2_call *h2;                    /* private: set instead of conn, over HTTP/2 */
    const struct http_call_events *events; /* private */
    void *arg;                             /* private */
};

/* addr: "IP:PORT", "[IPv6]:PORT" or "unix:/path". ERR_INVALID. Connects nothing yet. */
MUST_CHECK int http_pool_new(struct loop *loop, const char *addr,
                             const struct http_pool_options *options, struct http_pool **out_pool,
                             struct error *err);
/* Fails running calls with ERR_CANCELED (from the loop), frees the pool; cb (may be NULL) at the
 * end. */
void http_pool_close(struct http_pool *pool, void (*cb)(void *arg), void *arg);
/* The address text. */
const char *http_pool_addr(const struct http_pool *pool);
size_t http_pool_active(const struct http_pool *pool);
size_t http_pool_idle(const struct http_pool *pool);
/* Closes idle connections (the peer is known to be gone). */
void http_pool_flush_idle(struct http_pool *pool);

/*
 * Starts a call on an idle connection, or on a new one (bytes wait until it is there). head:
 * method, target, authority (written as Host), body kind, headers. The head leaves with the first
 * flush, write that is large, or end. ERR_OVERLOAD, ERR_TOO_BIG, ERR_IO: nothing was started.
 */
MUST_CHECK int http_call_start(struct http_pool *pool, struct http_call *call,
                               const struct http_head *head, const struct http_call_events *events,
                               void *arg, struct error *err);
/* Request body; gathered until flush when small. */
enum http_flow http_call_write(struct http_call *call, struct slice chunk);
enum http_flow http_call_flush(struct http_call *call);
/* Fields behind the body, before end; copied, or dropped where there is no place for them. */
void http_call_trailers(struct http_call *call, const struct http_head *trailers);
/* The request is complete; sends what is gathered. */
void http_call_end(struct http_call *call);
/* Stop and go on reading the answer. */
void http_call_pause(struct http_call *call);
void http_call_resume(struct http_call *call);
/*
 * The rest of the request will not come: our half of the connection is shut behind what was sent,
 * so that the peer sees a request that is not complete. The answer is still awaited; the connection
 * is not used again. Nothing when the request has ended. HTTP/2 has no such half end: there the
 * stream is reset, and on_fail follows.
 */
void http_call_cut(struct http_call *call);
/* Whether bytes of the request may have reached the peer. */
bool http_call_reached(const struct http_call *call);
/* Ends the call without a callback; the connection is closed. Fine for a call that is over. */
void http_call_cancel(struct http_call *call);
/* Whether http_call_end was called and all of the request was handed to the kernel. */
bool http_call_sent(const struct http_call *call);
/* Whether the call is running. */
bool http_call_running(const struct http_call *call);
