// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Private to lib/http: a pool and its connections (HTTP/1.1).
 *
 *   upstream.c       the pool: connections are opened, kept, taken and closed
 *   upstream_call.c  one call on one connection: bytes out, bytes in, how it ends
 */

#include "loop/deadline.h"
#include "http/h1.h"
#include "http/shared.h"
#include "http/upstream.h"

struct http_conn {
    struct stream stream;
    struct http_pool *pool;
    struct list link; /* pool->idle or pool->busy */
    struct deadline deadline;
    struct h1_parser parser;
    struct h1_message msg;
    struct http_out out;
    struct strbuf early;    /* bytes gathered while connecting */
    struct http_call *call; /* NULL while idle or closing */
    uint64_t idle_since_ms;
    unsigned informed; /* interim answers to this call */
    bool idle;         /* on the pool's idle list */
    bool connected;
    bool reused;      /* this call is not the first one here */
    bool ended;       /* http_call_end */
    bool cut;         /* http_call_cut */
    bool saw_end;     /* the peer's end of file came */
    bool got_bytes;   /* of the answer */
    bool got_head;    /* the final head */
    bool head_method; /* the request was HEAD */
    bool upgrading;   /* the request asked for an upgrade */
    bool tunnel;
    bool peer_ended; /* tunnel: its half is closed */
    bool shut;       /* tunnel: ours is, and all of it was sent */
    bool paused;
    bool full;
    bool closing;
};

struct http_pool {
    struct loop *loop;
    struct http_shared *shared;
    struct http_pool_options options;
    struct addr addr;
    char text[ADDR_TEXT_MAX];
    struct h2_pool *h2; /* all calls go here */
    struct deadlines idle_wait;
    struct deadlines connect_wait;
    struct list idle; /* most recently used first */
    struct list busy;
    size_t n_idle;
    size_t n_busy;
    size_t open_handles;
    bool closing;
    void (*close_cb)(void *arg);
    void *close_arg;
};

/* upstream.c */

/* An idle connection that can be used, now busy; NULL without one. */
struct http_conn *upstream_take_idle(struct http_pool *pool);
/* One that connects, busy; NULL: err says why. */
struct http_conn *upstream_open(struct http_pool *pool, struct error *err);
/* The call is over and left the connection clean. May close it or another one. */
void upstream_to_idle(struct http_conn *conn);
/* Idempotent. A call that it still has is told when the socket is closed. */
void upstream_close(struct http_conn *conn);

/* upstream_call.c */

extern const struct stream_events upstream_stream_events;
extern const struct h1_events upstream_parser_events;
/* Ends the call with an error; the connection is closed. Last statement of its callers. */
void upstream_fail(struct http_conn *conn, const struct error *err);
/* What was queued is sent, or the connection is there: the call may write. */
void upstream_drained(struct http_conn *conn);
