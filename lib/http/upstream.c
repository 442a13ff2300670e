// SPDX-License-Identifier: Apache-2.0
/*
 * Upstream pool: connections to one address, kept alive between calls, last used first.
 *
 * Happy path: a call takes an idle connection, or opens one, which goes to the idle list when the
 * call has left it clean. What a call does with its connection is in upstream_call.c.
 *
 * Failure: a connection that is not made in time, or ends while it is idle, is closed. One that was
 * idle for a while is looked at before it is used.
 */

#include "http/upstream.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "http/h2_upstream.h"
#include "http/upstream_impl.h"

#define PROBE_IDLE_MS 100 /* a connection that was idle longer is looked at before it is used */

struct http_pool_options http_pool_options_default(void)
{
    return (struct http_pool_options){
        .limits = http_limits_default(),
        .max_idle = 64,
        .max_connections = 0,
        .idle_ms = 4000,
        .connect_ms = 5000,
    };
}

/* ---- life of a connection ---- */

static void drop_handle(struct http_pool *pool)
{
    pool->open_handles--;
    if (!pool->closing || pool->open_handles > 0) {
        return;
    }
    void (*cb)(void *) = pool->close_cb;
    void *arg = pool->close_arg;
    http_shared_unref(pool->shared);
    free(pool);
    if (cb != NULL) {
        cb(arg);
    }
}

static void on_closed(struct stream *s)
{
    struct http_conn *conn = s->data;
    if (conn->call != NULL) { /* the pool closes, or the producer did not heed HTTP_FULL */
        struct error err;
        error_set(&err, conn->pool->closing ? ERR_CANCELED : ERR_OVERLOAD,
                  conn->pool->closing ? "the connections to %s are being closed"
                                      : "%s does not take the request's bytes",
                  conn->pool->text);
        upstream_fail(conn, &err);
    }
    h1_message_fini(&conn->msg);
    strbuf_fini(&conn->early);
    struct http_pool *pool = conn->pool;
    free(conn);
    drop_handle(pool);
}

static void unlink_conn(struct http_conn *conn)
{
    struct http_pool *pool = conn->pool;
    if (list_linked(&conn->link)) {
        list_remove(&conn->link);
        if (conn->idle) {
            pool->n_idle--;
        } else {
            pool->n_busy--;
        }
    }
}

void upstream_close(struct http_conn *conn)
{
    if (conn->closing) {
        return;
    }
    conn->closing = true;
    deadline_clear(&conn->deadline);
    unlink_conn(conn);
    http_out_drop(&conn->out);
    stream_close(&conn->stream, on_closed);
}

void upstream_to_idle(struct http_conn *conn)
{
    struct http_pool *pool = conn->pool;
    list_remove(&conn->link);
    pool->n_busy--;
    conn->idle = true;
    conn->idle_since_ms = loop_now_ms(pool->loop);
    list_push_front(&pool->idle, &conn->link);
    pool->n_idle++;
    deadline_set(&pool->idle_wait, &conn->deadline);
    if (conn->paused) {
        conn->paused = false;
        stream_read_start(&conn->stream);
    }
    if (pool->n_idle > pool->options.max_idle) {
        upstream_close(LIST_ENTRY(list_last(&pool->idle), struct http_conn, link));
    }
}

/* ---- connecting ---- */

static void on_connect(struct stream *s, const struct error *given)
{
    struct http_conn *conn = s->data;
    if (conn->closing) {
        return;
    }
    if (given != NULL) {
        struct error err;
        error_copy(&err, given);
        error_prefix(&err, given->code, "%s", conn->pool->text);
        upstream_fail(conn, &err);
        return;
    }
    conn->connected = true;
    deadline_clear(&conn->deadline);
    conn->out.early = NULL;
    if (conn->early.len > 0 &&
        stream_write_bytes(&conn->stream, conn->early.ptr, conn->early.len, NULL) < 0) {
        return; /* on_error comes */
    }
    strbuf_fini(&conn->early);
    if (!conn->paused) {
        stream_read_start(&conn->stream);
    }
    if (stream_queued_bytes(s) == 0) {
        upstream_drained(conn);
    }
}

static void on_connect_late(struct deadline *deadline, void *data)
{
    struct http_conn *conn = CONTAINER_OF(deadline, struct http_conn, deadline);
    struct error err;
    error_set(&err, ERR_TIMEOUT, "%s: no connection within %u ms", conn->pool->text,
              conn->pool->options.connect_ms);
    upstream_fail(conn, &err);
}

static void on_idle_late(struct deadline *deadline, void *data)
{
    upstream_close(CONTAINER_OF(deadline, struct http_conn, deadline));
}

struct http_conn *upstream_open(struct http_pool *pool, struct error *err)
{
    const struct http_limits *limits = &pool->options.limits;
    struct http_conn *conn = NEW(struct http_conn);
    conn->pool = pool;
    stream_init(&conn->stream, pool->loop, &upstream_stream_events, conn);
    deadline_init(&conn->deadline);
    list_init(&conn->link);
    h1_message_init(&conn->msg);
    h1_parser_init(&conn->parser, HTTP_RESPONSE, limits, &upstream_parser_events, conn);
    conn->parser.msg = &conn->msg;
    strbuf_init(&conn->early, (size_t)limits->out_high_bytes + 1024 * 1024);
    pool->open_handles++;
    int rc = stream_connect(&conn->stream, &pool->addr, on_connect, err);
    if (rc == 0 && pool->options.secure != NULL) {
        rc = pool->options.secure(pool->options.secure_data, &conn->stream, err);
    }
    if (rc < 0) {
        error_prefix(err, rc, "%s", pool->text);
        conn->closing = true;
        stream_close(&conn->stream, on_closed);
        return NULL;
    }
    stream_set_queue_max(&conn->stream, (size_t)limits->out_high_bytes + 1024 * 1024);
    conn->out = (struct http_out){.shared = pool->shared,
                                  .stream = &conn->stream,
                                  .early = &conn->early,
                                  .high = limits->out_high_bytes};
    deadline_set(&pool->connect_wait, &conn->deadline);
    list_push_back(&pool->busy, &conn->link);
    pool->n_busy++;
    return conn;
}

/* Whether the peer has closed an idle connection and the loop has not seen it yet. */
static bool is_stale(struct http_conn *conn)
{
    char byte;
    if (loop_now_ms(conn->pool->loop) - conn->idle_since_ms < PROBE_IDLE_MS) {
        return false;
    }
    ssize_t n = recv(stream_fd(&conn->stream), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return !(n < 0 && errno == EAGAIN);
}

struct http_conn *upstream_take_idle(struct http_pool *pool)
{
    struct list *node;
    while ((node = list_first(&pool->idle)) != NULL) {
        struct http_conn *conn = LIST_ENTRY(node, struct http_conn, link);
        if (!stream_is_open(&conn->stream) || is_stale(conn)) {
            upstream_close(conn);
            continue;
        }
        unlink_conn(conn);
        deadline_clear(&conn->deadline);
        conn->idle = false;
        conn->reused = true;
        conn->ended = false;
        conn->got_bytes = false;
        conn->got_head = false;
        conn->informed = 0;
        conn->full = false;
        conn->out.sent = 0;
        conn->out.wire = 0;
        list_push_back(&pool->busy, &conn->link);
        pool->n_busy++;
        return conn;
    }
    return NULL;
}

/* ---- life of a pool ---- */

int http_pool_new(struct loop *loop, const char *addr, const struct http_pool_options *options,
                  struct http_pool **out_pool, struct error *err)
{
    struct addr parsed;
    int rc = addr_parse(slice_str(addr), &parsed, err);
    if (rc < 0) {
        return rc;
    }
    struct http_pool *pool = NEW(struct http_pool);
    pool->loop = loop;
    pool->shared = http_shared_ref(loop);
    pool->options = *options;
    pool->addr = parsed;
    addr_format(&parsed, pool->text, sizeof(pool->text));
    list_init(&pool->idle);
    list_init(&pool->busy);
    REQUIRE(options->idle_ms > 0 && options->connect_ms > 0);
    deadlines_init(&pool->idle_wait, loop, options->idle_ms, on_idle_late, pool);
    deadlines_init(&pool->connect_wait, loop, options->connect_ms, on_connect_late, pool);
    pool->open_handles = 2;
    if (options->h2c) {
        pool->h2 = h2_pool_new(loop, &pool->addr, pool->text, options);
        pool->open_handles++;
    }
    *out_pool = pool;
    return 0;
}

static void on_wait_closed(struct deadlines *d)
{
    drop_handle(d->data);
}

static void on_h2_closed(void *arg)
{
    drop_handle(arg);
}

void http_pool_close(struct http_pool *pool, void (*cb)(void *arg), void *arg)
{
    REQUIRE(!pool->closing);
    pool->closing = true;
    pool->close_cb = cb;
    pool->close_arg = arg;
    http_pool_flush_idle(pool);
    list_foreach_safe (node, &pool->busy) {
        upstream_close(LIST_ENTRY(node, struct http_conn, link));
    }
    if (pool->h2 != NULL) {
        h2_pool_close(pool->h2, on_h2_closed, pool);
    }
    deadlines_close(&pool->idle_wait, on_wait_closed);
    deadlines_close(&pool->connect_wait, on_wait_closed);
}

const char *http_pool_addr(const struct http_pool *pool)
{
    return pool->text;
}

size_t http_pool_active(const struct http_pool *pool)
{
    return pool->h2 != NULL ? h2_pool_active(pool->h2) : pool->n_busy;
}

size_t http_pool_idle(const struct http_pool *pool)
{
    return pool->h2 != NULL ? h2_pool_idle(pool->h2) : pool->n_idle;
}

void http_pool_flush_idle(struct http_pool *pool)
{
    if (pool->h2 != NULL) {
        h2_pool_flush_idle(pool->h2);
        return;
    }
    list_foreach_safe (node, &pool->idle) {
        upstream_close(LIST_ENTRY(node, struct http_conn, link));
    }
}
