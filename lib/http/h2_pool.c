// SPDX-License-Identifier: Apache-2.0
/*
 * Connections over HTTP/2 to one address, and the pool that has them.
 *
 * Happy path: a call that finds no room on a connection opens another; frames are gathered until it
 * is there. A connection without calls is closed after idle_ms, or at once after a GOAWAY.
 *
 * Failure: a connection that breaks fails its calls (h2_upstream.c says how far each came) and
 * closes.
 */

#include <errno.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "http/h2_upstream_impl.h"

#define PROBE_IDLE_MS 100 /* idle for longer: looked at before it is used */

static void after(struct h2_conn *conn);

/* ---- connections ---- */

static void drop_handle(struct h2_pool *pool)
{
    pool->open_handles--;
    if (!pool->closing || pool->open_handles > 0) {
        return;
    }
    void (*cb)(void *) = pool->close_cb;
    void *arg = pool->close_arg;
    http_shared_unref(pool->shared);
    free(pool);
    cb(arg);
}

static void on_conn_closed(struct stream *s)
{
    struct h2_conn *conn = s->data;
    struct h2_pool *pool = conn->pool;
    struct error err;
    error_set(&err, pool->closing ? ERR_CANCELED : ERR_CLOSED,
              "the connection to %s is being closed", pool->text);
    h2_call_fail_all(conn, &err);
    loop_task_cancel(&conn->task);
    h2_session_fini(&conn->session);
    strbuf_fini(&conn->early);
    free(conn);
    drop_handle(pool);
}

static void close_conn(struct h2_conn *conn)
{
    if (conn->closing) {
        return;
    }
    conn->closing = true;
    deadline_clear(&conn->deadline);
    list_remove(&conn->link);
    http_out_drop(&conn->session.out);
    stream_close(&conn->stream, on_conn_closed);
}

static void break_conn(struct h2_conn *conn, const struct error *err)
{
    close_conn(conn);
    h2_call_fail_all(conn, err);
}

/* Without calls it waits to be used again. */
void h2_conn_mark(struct h2_conn *conn)
{
    bool idle = conn->session.n_streams == 0 && conn->connected;
    if (idle == (conn->idle_since_ms != 0)) {
        return;
    }
    conn->idle_since_ms = idle ? loop_now_ms(conn->pool->loop) | 1 : 0;
    if (idle) {
        deadline_set(&conn->pool->idle_wait, &conn->deadline);
    } else if (conn->connected) {
        deadline_clear(&conn->deadline);
    }
}

/* After a call's owner has said something. Calls nobody back. */
void h2_conn_push(struct h2_conn *conn)
{
    struct h2_session *s = &conn->session;
    if (s->busy || conn->closing) {
        return;
    }
    h2_session_pump(s);
    if (!list_empty(&s->due) || s->dead || s->out.failed) {
        loop_task_post(s->loop, &conn->task);
    }
}

/* ---- what arrives ---- */

static void after(struct h2_conn *conn)
{
    struct h2_session *s = &conn->session;
    struct h2_stream *st;
    while (!conn->closing && (st = h2_session_next_due(s)) != NULL) {
        if (st->owner != NULL) {
            h2_call_tell(st);
        }
        if (st->closed && st->owner == NULL) {
            h2_stream_free(st);
        }
    }
    if (conn->closing) {
        return;
    }
    h2_session_pump(s);
    if (!list_empty(&s->due)) {
        loop_task_post(s->loop, &conn->task);
    }
    if (s->dead || s->out.failed) {
        struct error err;
        error_set(&err, ERR_PROTOCOL, "%s does not speak HTTP/2 as it should", conn->pool->text);
        break_conn(conn, &err);
    } else if (s->n_streams == 0 && (s->goaway || h2_session_over(s))) {
        close_conn(conn);
    } else {
        h2_conn_mark(conn);
    }
}

static void run_task(struct loop_task *task)
{
    struct h2_conn *conn = task->data;
    if (!conn->closing) {
        after(conn);
    }
}

static struct stream_buffer on_buffer(struct stream *s)
{
    struct h2_conn *conn = s->data;
    return http_shared_buffer(conn->pool->shared);
}

static void on_read(struct stream *s, char *bytes, size_t n)
{
    struct h2_conn *conn = s->data;
    conn->bytes_in += n;
    h2_session_feed(&conn->session, bytes, n);
    after(conn);
}

static void on_peer_end(struct stream *s)
{
    struct h2_conn *conn = s->data;
    struct error err;
    error_set(&err, ERR_CLOSED, "%s closed the connection", conn->pool->text);
    break_conn(conn, &err);
}

static void on_drain(struct stream *s)
{
    struct h2_conn *conn = s->data;
    h2_session_pump(&conn->session);
    after(conn);
}

static void on_error(struct stream *s, const struct error *given)
{
    struct h2_conn *conn = s->data;
    struct error err;
    error_copy(&err, given);
    error_prefix(&err, given->code, "%s", conn->pool->text);
    break_conn(conn, &err);
}

static const struct stream_events stream_events = {
    .on_buffer = on_buffer,
    .on_read = on_read,
    .on_end = on_peer_end,
    .on_drain = on_drain,
    .on_error = on_error,
};

/* ---- connecting ---- */

static void on_connect(struct stream *s, const struct error *given)
{
    struct h2_conn *conn = s->data;
    if (conn->closing) {
        return;
    }
    if (given != NULL) {
        on_error(s, given);
        return;
    }
    conn->connected = true;
    deadline_clear(&conn->deadline);
    conn->session.out.early = NULL;
    if (conn->early.len > 0 &&
        stream_write_bytes(&conn->stream, conn->early.ptr, conn->early.len, NULL) < 0) {
        return; /* on_error comes */
    }
    strbuf_fini(&conn->early);
    stream_read_start(&conn->stream);
    after(conn);
}

static void on_connect_late(struct deadline *deadline, void *data)
{
    struct h2_conn *conn = CONTAINER_OF(deadline, struct h2_conn, deadline);
    struct error err;
    error_set(&err, ERR_TIMEOUT, "%s: no connection within %u ms", conn->pool->text,
              conn->pool->options.connect_ms);
    break_conn(conn, &err);
}

static void on_idle_late(struct deadline *deadline, void *data)
{
    close_conn(CONTAINER_OF(deadline, struct h2_conn, deadline));
}

static struct h2_conn *open_conn(struct h2_pool *pool, struct error *err)
{
    const struct http_limits *limits = &pool->options.limits;
    struct h2_conn *conn = NEW(struct h2_conn);
    conn->pool = pool;
    stream_init(&conn->stream, pool->loop, &stream_events, conn);
    deadline_init(&conn->deadline);
    loop_task_init(&conn->task, run_task, conn);
    strbuf_init(&conn->early, (size_t)limits->out_high_bytes + 1024 * 1024);
    list_push_back(&pool->conns, &conn->link);
    pool->open_handles++;
    h2_session_init(&conn->session, false, pool->shared, &conn->stream, &conn->early,
                    &pool->options.limits, &h2_call_session_events, conn);
    int rc = stream_connect(&conn->stream, &pool->addr, on_connect, err);
    if (rc < 0) {
        error_prefix(err, rc, "%s", pool->text);
        close_conn(conn);
        return NULL;
    }
    stream_set_queue_max(&conn->stream, (size_t)limits->out_high_bytes + 1024 * 1024);
    deadline_set(&pool->connect_wait, &conn->deadline);
    return conn;
}

static bool is_stale(struct h2_conn *conn)
{
    char byte;
    if (conn->idle_since_ms == 0 ||
        loop_now_ms(conn->pool->loop) - conn->idle_since_ms < PROBE_IDLE_MS) {
        return false;
    }
    ssize_t n = recv(stream_fd(&conn->stream), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN);
}

static bool has_room(const struct h2_conn *conn)
{
    const struct h2_session *s = &conn->session;
    uint32_t peer =
        nghttp2_session_get_remote_settings(s->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    uint32_t max = peer < H2_STREAMS_MAX ? peer : H2_STREAMS_MAX;
    return !s->goaway && !s->dead && !s->out.failed && s->n_streams < (max > 0 ? max : 1) &&
           nghttp2_session_check_request_allowed(s->ng) != 0 &&
           (!conn->connected || stream_is_open(&conn->stream));
}

struct h2_conn *h2_conn_take(struct h2_pool *pool, struct error *err)
{
    size_t n = 0;
    list_foreach_safe (node, &pool->conns) {
        struct h2_conn *conn = LIST_ENTRY(node, struct h2_conn, link);
        if (is_stale(conn)) {
            close_conn(conn);
        } else if (has_room(conn)) {
            return conn;
        } else {
            n++;
        }
    }
    if (pool->options.max_connections > 0 && n >= pool->options.max_connections) {
        error_set(err, ERR_OVERLOAD, "%zu connections to %s are all in use", n, pool->text);
        return NULL;
    }
    return open_conn(pool, err);
}

/* ---- life of a pool ---- */

struct h2_pool *h2_pool_new(struct loop *loop, const struct addr *addr, const char *text,
                            const struct http_pool_options *options)
{
    struct h2_pool *pool = NEW(struct h2_pool);
    pool->loop = loop;
    pool->shared = http_shared_ref(loop);
    pool->options = *options;
    pool->addr = *addr;
    pool->text = text;
    list_init(&pool->conns);
    deadlines_init(&pool->idle_wait, loop, options->idle_ms, on_idle_late, pool);
    deadlines_init(&pool->connect_wait, loop, options->connect_ms, on_connect_late, pool);
    pool->open_handles = 2;
    return pool;
}

static void on_wait_closed(struct deadlines *d)
{
    drop_handle(d->data);
}

void h2_pool_close(struct h2_pool *pool, void (*cb)(void *arg), void *arg)
{
    pool->closing = true;
    pool->close_cb = cb;
    pool->close_arg = arg;
    list_foreach_safe (node, &pool->conns) {
        close_conn(LIST_ENTRY(node, struct h2_conn, link));
    }
    deadlines_close(&pool->idle_wait, on_wait_closed);
    deadlines_close(&pool->connect_wait, on_wait_closed);
}

size_t h2_pool_active(const struct h2_pool *pool)
{
    return pool->n_calls;
}

size_t h2_pool_idle(const struct h2_pool *pool)
{
    size_t n = 0;
    list_foreach (node, &pool->conns) {
        n += LIST_ENTRY(node, struct h2_conn, link)->idle_since_ms != 0;
    }
    return n;
}

void h2_pool_flush_idle(struct h2_pool *pool)
{
    list_foreach_safe (node, &pool->conns) {
        struct h2_conn *conn = LIST_ENTRY(node, struct h2_conn, link);
        if (conn->idle_since_ms != 0) {
            close_conn(conn);
        }
    }
}
