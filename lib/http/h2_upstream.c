// SPDX-License-Identifier: Apache-2.0
/*
 * Calls over HTTP/2: a few connections to one address, many calls on each.
 *
 * Happy path: a call takes the first connection with room (or opens one; frames are gathered until
 * it is there), its answer's frames drive the call's events, and END_STREAM ends it. A connection
 * without calls is closed after idle_ms.
 *
 * Failure: a reset fails one call, a broken connection or GOAWAY those that it concerns. The stage
 * is UNSEEN where the peer says that it has not looked at the stream (REFUSED_STREAM, a GOAWAY
 * before it). What is told outside of the arrival of bytes waits for the loop's next turn.
 */

#include "http/h2_upstream.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "loop/deadline.h"
#include "http/h2.h"

#define INFORM_MAX    32          /* interim answers (1xx) to one request */
#define PROBE_IDLE_MS 100         /* idle for longer: looked at before it is used */
#define SEND_AT       (16 * 1024) /* flushed or not, so much of a body is sent */

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

static void after(struct h2_conn *conn);

static struct h2_conn *conn_of(const struct h2_stream *st)
{
    return st->session->owner;
}

/* ---- the end of calls ---- */

static void detach(struct h2_call *c)
{
    conn_of(c->st)->pool->n_calls--;
    c->st->owner = NULL;
    c->call->h2 = NULL;
    strbuf_fini(&c->held);
    free(c);
}

static enum http_stage stage_of(const struct h2_call *c)
{
    const struct h2_stream *st = c->st;
    const struct h2_conn *conn = conn_of(st);
    if (st->got_head) {
        return HTTP_STAGE_ANSWERED;
    }
    if (!conn->connected) {
        return HTTP_STAGE_NOT_SENT;
    }
    if (!st->head_sent || (st->closed && st->code == NGHTTP2_REFUSED_STREAM)) {
        return HTTP_STAGE_UNSEEN;
    }
    return conn->used && conn->bytes_in == c->bytes_before ? HTTP_STAGE_REUSED : HTTP_STAGE_SENT;
}

static void fail(struct h2_call *c, const struct error *err)
{
    struct http_call *call = c->call;
    enum http_stage stage = stage_of(c);
    detach(c);
    call->events->on_fail(call, stage, err, call->arg);
}

static void fail_reset(struct h2_call *c)
{
    struct error err;
    const char *text = conn_of(c->st)->pool->text;
    if (c->st->status != 0) {
        error_set(&err, ERR_PROTOCOL, "%s sent a bad answer: %s", text, c->st->why);
    } else if (c->bad) {
        error_set(&err, ERR_PROTOCOL, "%s sent a bad answer: too many interim answers", text);
    } else {
        error_set(&err, ERR_CLOSED, "%s reset the request %s (%s)", text,
                  c->st->got_head ? "in the middle of its answer" : "without an answer",
                  nghttp2_http2_strerror(c->st->code));
    }
    fail(c, &err);
}

/* Last statement of its callers: the call's owner may do anything. */
static void finish(struct h2_call *c)
{
    struct h2_stream *st = c->st;
    struct http_call *call = c->call;
    conn_of(st)->used = true;
    const struct h1_message *trailers = st->head->trailers;
    if (trailers != NULL && trailers->head.n_headers > 0 && call->events->on_trailers != NULL) {
        call->events->on_trailers(call, &trailers->head, call->arg);
        if (st->owner == NULL) {
            return;
        }
    }
    if (!st->sent) { /* answered before it had all of the request */
        h2_stream_reset(st, NGHTTP2_CANCEL);
    }
    detach(c);
    call->events->on_end(call, call->arg);
}

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

static void fail_all(struct h2_conn *conn, const struct error *err)
{
    list_foreach_safe (node, &conn->session.streams) {
        struct h2_stream *st = LIST_ENTRY(node, struct h2_stream, link);
        if (st->owner != NULL) {
            fail(st->owner, err);
        }
    }
}

static void on_conn_closed(struct stream *s)
{
    struct h2_conn *conn = s->data;
    struct h2_pool *pool = conn->pool;
    struct error err;
    error_set(&err, pool->closing ? ERR_CANCELED : ERR_CLOSED,
              "the connection to %s is being closed", pool->text);
    fail_all(conn, &err);
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
    fail_all(conn, err);
}

/* Without calls it waits to be used again. */
static void mark_idle(struct h2_conn *conn)
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
static void push(struct h2_conn *conn)
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

static void on_head(struct h2_stream *st, bool end)
{
    struct h2_call *c = st->owner;
    struct http_head *head = &st->head->head;
    if (c == NULL) {
        return;
    }
    if (st->status != 0) {
        st->got_head = false; /* none that counts */
        h2_stream_reset(st, NGHTTP2_PROTOCOL_ERROR);
        return;
    }
    c->batch = true;
    h2_stream_due(st);
    if (head->status < 200) {
        if (++c->informed > INFORM_MAX) {
            c->bad = true;
            h2_stream_reset(st, NGHTTP2_ENHANCE_YOUR_CALM);
            return;
        }
        if (c->call->events->on_inform != NULL) {
            c->call->events->on_inform(c->call, head, c->call->arg);
        }
        h1_message_reset(st->head);
        return;
    }
    if (c->head_method || head->status == 204 || head->status == 304) {
        head->body = HTTP_BODY_NONE;
    }
    c->call->events->on_head(c->call, head, c->call->arg);
}

static void on_body(struct h2_stream *st, struct slice chunk)
{
    struct h2_call *c = st->owner;
    if (c == NULL || c->head_method) {
        h2_stream_took(st);
        return;
    }
    if (c->paused || c->held.len > 0) {
        if (strbuf_append_slice(&c->held, chunk) < 0) { /* cannot be: its window is smaller */
            h2_stream_reset(st, NGHTTP2_FLOW_CONTROL_ERROR);
        }
        return;
    }
    c->batch = true;
    h2_stream_due(st);
    h2_stream_took(st);
    c->call->events->on_body(c->call, chunk, c->call->arg);
}

static void on_end(struct h2_stream *st)
{
    struct h2_call *c = st->owner;
    if (c != NULL) {
        c->over = true;
        h2_stream_due(st);
    }
}

static void on_sent(struct h2_stream *st)
{
}

static void on_stream_closed(struct h2_stream *st)
{
    h2_stream_due(st);
}

static const struct h2_events events = {
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_sent = on_sent,
    .on_closed = on_stream_closed,
};

/* What a call is to be told now; it may be over or cancelled after each. */
static void tell(struct h2_stream *st)
{
    struct h2_call *c = st->owner;
    struct http_call *call = c->call;
    if (!c->paused && c->held.len > 0) {
        struct strbuf held = c->held;
        strbuf_init(&c->held, held.max);
        h2_stream_took(st);
        c->batch = true;
        call->events->on_body(call, strbuf_slice(&held), call->arg);
        strbuf_fini(&held);
        if (st->owner == NULL) {
            return;
        }
    }
    if (c->over && !c->paused) {
        finish(c);
        return;
    }
    if (c->batch) {
        c->batch = false;
        if (call->events->on_flush != NULL) {
            call->events->on_flush(call, call->arg);
        }
        if (st->owner == NULL) {
            return;
        }
    }
    if (st->writable) {
        st->writable = false;
        if (call->events->on_writable != NULL) {
            call->events->on_writable(call, call->arg);
        }
        if (st->owner == NULL) {
            return;
        }
    }
    if (st->closed && !c->over) {
        fail_reset(c);
    }
}

static void after(struct h2_conn *conn)
{
    struct h2_session *s = &conn->session;
    struct h2_stream *st;
    while (!conn->closing && (st = h2_session_next_due(s)) != NULL) {
        if (st->owner != NULL) {
            tell(st);
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
        mark_idle(conn);
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
    return (struct stream_buffer){conn->pool->shared->read_buf, HTTP_READ_SIZE};
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
                    &pool->options.limits, &events, conn);
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

static struct h2_conn *take_conn(struct h2_pool *pool, struct error *err)
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

/* ---- calls ---- */

int h2_call_start(struct h2_pool *pool, struct http_call *call, const struct http_head *head,
                  const struct http_call_events *call_events, void *arg, struct error *err)
{
    struct error why = {0};
    if (head->upgrade.len > 0) {
        return error_set(err, ERR_UNSUPPORTED,
                         "HTTP/2 is spoken there, over which connections are not upgraded (%.*s)",
                         SLICE_FMT(slice_sub(head->upgrade, 0, 32)));
    }
    struct h2_conn *conn = take_conn(pool, &why);
    if (conn == NULL) {
        if (err != NULL) {
            error_copy(err, &why);
        }
        return why.code == 0 ? ERR_IO : (int)why.code;
    }
    struct h2_stream *st = h2_stream_new(&conn->session, 0);
    int rc = h2_stream_request(st, head);
    if (rc < 0) {
        h2_stream_free(st);
        return error_set(err, (enum err_code)rc, "the request's head for %s cannot be sent",
                         pool->text);
    }
    struct h2_call *c = NEW(struct h2_call);
    c->st = st;
    c->call = call;
    c->head_method = head->method_id == HTTP_METHOD_HEAD;
    c->bytes_before = conn->bytes_in;
    strbuf_init(&c->held, (size_t)pool->options.limits.hold_body_bytes + 65536);
    st->owner = c;
    *call = (struct http_call){.h2 = c, .events = call_events, .arg = arg};
    pool->n_calls++;
    mark_idle(conn);
    return 0;
}

enum http_flow h2_call_write(struct http_call *call, struct slice chunk)
{
    struct h2_stream *st = call->h2->st;
    enum http_flow flow = h2_stream_write(st, chunk);
    return st->out.len - st->out_pos >= SEND_AT ? h2_call_flush(call) : flow;
}

enum http_flow h2_call_flush(struct http_call *call)
{
    struct h2_stream *st = call->h2->st;
    push(conn_of(st));
    if (!st->full) {
        st->writable = false; /* there is room already */
    }
    return st->full ? HTTP_FULL : HTTP_GO;
}

void h2_call_trailers(struct http_call *call, const struct http_head *trailers)
{
    h2_stream_trailers(call->h2->st, trailers);
}

void h2_call_end(struct http_call *call)
{
    h2_stream_end(call->h2->st);
    push(conn_of(call->h2->st));
}

void h2_call_pause(struct http_call *call)
{
    call->h2->paused = true;
}

void h2_call_resume(struct http_call *call)
{
    struct h2_call *c = call->h2;
    if (c->paused) {
        c->paused = false;
        h2_stream_due(c->st);
        push(conn_of(c->st));
    }
}

void h2_call_cut(struct http_call *call)
{
    struct h2_stream *st = call->h2->st;
    if (!st->ended) { /* on_closed tells the call */
        h2_stream_reset(st, NGHTTP2_CANCEL);
        push(conn_of(st));
    }
}

bool h2_call_reached(const struct http_call *call)
{
    const struct h2_stream *st = call->h2->st;
    return conn_of(st)->connected && st->head_sent;
}

void h2_call_cancel(struct http_call *call)
{
    struct h2_stream *st = call->h2->st;
    struct h2_conn *conn = conn_of(st);
    detach(call->h2);
    if (st->closed) {
        h2_stream_due(st);
    } else {
        h2_stream_reset(st, NGHTTP2_CANCEL);
    }
    push(conn);
}

bool h2_call_sent(const struct http_call *call)
{
    return call->h2->st->sent;
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
