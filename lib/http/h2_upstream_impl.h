// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Private to lib/http: what h2_pool.c (connections) and h2_upstream.c (calls on them) share.
 */

#include "loop/deadline.h"
#include "http/h2.h"
#include "http/h2_upstream.h"

struct h2_conn {
    struct h2_session session;
    struct stream stream;
    struct strbuf early;
    struct h2_pool *pool;
    struct list link; /* pool->conns, until it closes */
    struct deadline deadline;
    struct loop_task task;
    uint64_t idle_since_ms; /* 0: it has calls */
    uint64_t bytes_in;
    bool connected;
    bool used; /* a call has ended well here */
    bool closing;
};

struct h2_pool {
    struct loop *loop;
    struct http_shared *shared;
    struct http_pool_options options;
    struct addr addr;
    const char *text;
    struct list conns;
    struct deadlines idle_wait;
    struct deadlines connect_wait;
    size_t n_calls;
    size_t open_handles;
    bool closing;
    void (*close_cb)(void *arg);
    void *close_arg;
};

/* One call's side of a stream. */
struct h2_call {
    struct h2_stream *st;
    struct http_call *call;
    struct strbuf held;    /* body that came while paused */
    uint64_t bytes_before; /* on the connection, when it began */
    unsigned informed;
    bool head_method;
    bool paused;
    bool batch; /* something was told since the last on_flush */
    bool over;  /* the answer is complete; on_end is due */
    bool bad;   /* the answer broke a rule; on_fail is due */
};

static inline struct h2_conn *h2_conn_of(const struct h2_stream *st)
{
    return st->session->owner;
}

/* ---- h2_pool.c ---- */

/* A connection with room for one more call, opened when there is none. NULL: err says why. */
struct h2_conn *h2_conn_take(struct h2_pool *pool, struct error *err);
/* After a call's owner has said something. Calls nobody back. */
void h2_conn_push(struct h2_conn *conn);
/* A call has begun or ended: without calls it waits to be used again. */
void h2_conn_mark(struct h2_conn *conn);

/* ---- h2_upstream.c ---- */

extern const struct h2_events h2_call_session_events;
/* What a stream's call is to be told now. */
void h2_call_tell(struct h2_stream *st);
/* Ends all calls of a connection. */
void h2_call_fail_all(struct h2_conn *conn, const struct error *err);
