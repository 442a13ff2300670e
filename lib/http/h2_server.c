// SPDX-License-Identifier: Apache-2.0
/*
 * Exchanges on an HTTP/2 connection.
 *
 * Happy path: a stream begins → an exchange is taken; its head is complete → on_request; body bytes
 * and its end → as in HTTP/1.1; the answer's END_STREAM is sent → the stream closes → on_close.
 * What a listener is told outside of the arrival of bytes (room, the end of a batch, on_close)
 * waits in the session's list until nghttp2 has returned, or for the loop's next turn.
 *
 * Failure: a client's reset is on_close GONE; ours (abort, an answer that does not keep its length)
 * is ABORTED; a connection that ends takes all of its exchanges with it. A head over the limits is
 * answered without a handler.
 */

#include "http/h2_server.h"

#include "base/mem.h"
#include "http/h2.h"

#define SEND_AT (16 * 1024) /* corked or not, so much is sent */

struct h2_sconn {
    struct h2_session session;
    struct sconn *conn;
    struct loop_task task;
};

enum { STALL_BODY, STALL_WRITE, STALL_NONE };

static void after(struct h2_sconn *h);

/* ---- exchanges ---- */

static void close_exchange(struct h2_stream *st, enum http_close how)
{
    struct http_exchange *ex = st->owner;
    if (ex == NULL) {
        return;
    }
    struct http_server *server = ex->conn->server;
    st->owner = NULL;
    st->head = &st->own;
    if (ex->announced && ex->events != NULL && ex->events->on_close != NULL) {
        ex->events->on_close(ex, how, ex->arg);
    }
    server_give_exchange(server, ex);
}

static void close_all(struct h2_sconn *h, enum http_close how)
{
    list_foreach_safe (node, &h->session.streams) {
        struct h2_stream *st = LIST_ENTRY(node, struct h2_stream, link);
        close_exchange(st, st->sent && st->closed ? HTTP_CLOSE_DONE : how);
    }
}

/* Tells what waits to be told. Nothing in here frees a stream that is not in hand. */
static void run_due(struct h2_sconn *h)
{
    struct h2_stream *st;
    while (!h->conn->closing && (st = h2_session_next_due(&h->session)) != NULL) {
        struct http_exchange *ex = st->owner;
        if (ex != NULL && !st->closed) {
            exchange_flush_batch(ex);
        }
        if (ex != NULL && st->writable && !st->closed) {
            st->writable = false;
            exchange_drained(ex);
        }
        if (st->closed) {
            close_exchange(st, st->sent     ? HTTP_CLOSE_DONE
                               : st->broken ? HTTP_CLOSE_ABORTED
                                            : HTTP_CLOSE_GONE);
            h2_stream_free(st);
        }
    }
}

/* ---- streams that wait for their client ---- */

static int stalls_on(const struct h2_stream *st)
{
    const struct http_exchange *ex = st->owner;
    if (ex == NULL || st->closed) {
        return STALL_NONE;
    }
    if (st->out.len > st->out_pos || (st->ended && st->has_data && !st->sent)) {
        return STALL_WRITE;
    }
    /* Once the answer has begun, a stream may be quiet both ways: that is how streams are. */
    return !ex->started && ex->resumed && !ex->complete ? STALL_BODY : STALL_NONE;
}

static uint64_t moved(const struct h2_stream *st)
{
    const struct http_exchange *ex = st->owner;
    return st->taken + ex->bytes_in;
}

/* The clock runs from here; whether anything moved is looked at when it ends. */
static void watch(struct h2_stream *st)
{
    struct http_exchange *ex = st->owner;
    int kind = stalls_on(st);
    if (kind == STALL_NONE) {
        deadline_clear(&st->stall);
        return;
    }
    const struct http_limits *l = &ex->conn->server->options.limits;
    if (!deadline_is_set(&st->stall) && (kind == STALL_BODY ? l->body_ms : l->write_ms) > 0) {
        st->stall_mark = moved(st);
        deadline_set(&ex->conn->server->stalls[kind], &st->stall);
    }
}

static void on_stall(struct deadline *deadline, void *data);

void h2_server_init(struct http_server *server)
{
    const struct http_limits *l = &server->options.limits;
    deadlines_init(&server->stalls[STALL_BODY], server->loop, l->body_ms > 0 ? l->body_ms : 1,
                   on_stall, server);
    deadlines_init(&server->stalls[STALL_WRITE], server->loop, l->write_ms > 0 ? l->write_ms : 1,
                   on_stall, server);
}

static struct h2_sconn *of(const struct http_exchange *ex)
{
    return ex->conn->h2;
}

/* After a handler has said something. Calls nobody back. */
static void push(struct h2_sconn *h)
{
    struct h2_session *s = &h->session;
    if (s->busy || h->conn->closing) {
        return;
    }
    h2_session_pump(s);
    if (!list_empty(&s->due) || s->dead || s->out.failed || h2_session_over(s)) {
        loop_task_post(s->loop, &h->task);
    }
    sconn_arm(h->conn, false);
}

/* After the handler of one stream has said something. */
static void push_stream(const struct http_exchange *ex)
{
    push(of(ex));
    watch(ex->h2);
}

/* ---- what arrives ---- */

static struct h2_stream *on_begin(struct h2_session *s, int32_t id)
{
    struct h2_sconn *h = s->owner;
    if (h->conn->closing) {
        return NULL;
    }
    struct h2_stream *st = h2_stream_new(s, id);
    struct http_exchange *ex = server_take_exchange(h->conn->server, h->conn);
    ex->h2 = st;
    st->owner = ex;
    st->head = &ex->msg;
    return st;
}

/* Without a handler, or instead of it. */
static void refuse(struct h2_stream *st, int status, const char *why)
{
    struct http_exchange *ex = st->owner;
    char text[256];
    int n = snprintf(text, sizeof(text), "%s\n", why);
    if (ex->announced && ex->events != NULL && ex->events->on_close != NULL) {
        ex->events->on_close(ex, HTTP_CLOSE_ABORTED, ex->arg);
    }
    ex->announced = false;
    http_exchange_listen(ex, NULL, NULL);
    if (ex->started) {
        h2_exchange_abort(ex);
        return;
    }
    http_exchange_respond(ex, status, "text/plain; charset=utf-8", slice_of(text, (size_t)n));
}

static void on_stall(struct deadline *deadline, void *data)
{
    struct h2_stream *st = CONTAINER_OF(deadline, struct h2_stream, stall);
    struct http_exchange *ex = st->owner;
    int kind = stalls_on(st);
    if (kind == STALL_NONE || ex->conn->closing) {
        return;
    }
    if (moved(st) != st->stall_mark) {
        watch(st);
        return;
    }
    struct h2_sconn *h = of(ex);
    if (kind == STALL_BODY) {
        st->status = 408;
        refuse(st, 408, "the request body took too long");
    } else {
        h2_exchange_abort(ex);
    }
    after(h);
}

static void on_head(struct h2_stream *st, bool end)
{
    struct http_exchange *ex = st->owner;
    struct http_server *server = ex->conn->server;
    uint64_t max = server->options.limits.max_body_bytes;
    ex->conn->requests++;
    sconn_disarm(ex->conn);
    if (st->status == 0 && max > 0 && ex->msg.head.content_length > max) {
        st->status = 413;
        st->why = "the body is too large";
    }
    if (st->status != 0) {
        ex->complete = end;
        refuse(st, st->status, st->why);
        return;
    }
    ex->announced = true;
    ex->keep_alive = true;
    ex->continue_due = ex->msg.head.expect_continue;
    if (server->options.on_over != NULL) {
        ex->begun_ns = loop_now_ns(server->loop);
    }
    server->options.on_request(ex, server->options.arg);
}

static void on_body(struct h2_stream *st, struct slice chunk)
{
    struct http_exchange *ex = st->owner;
    if (ex == NULL || !ex->announced || ex->conn->closing) {
        h2_stream_took(st);
        return;
    }
    uint64_t max = ex->conn->server->options.limits.max_body_bytes;
    if (max > 0 && ex->bytes_in + chunk.len > max) {
        st->status = 413;
        refuse(st, 413, "the body is too large");
        return;
    }
    exchange_got_body(ex, chunk);
    if (ex->held_pos == ex->held.len) {
        h2_stream_took(st);
    }
    watch(st);
    h2_stream_due(st);
}

static void on_end(struct h2_stream *st)
{
    struct http_exchange *ex = st->owner;
    if (ex == NULL) {
        return;
    }
    exchange_got_end(ex);
    h2_stream_due(st);
}

static void on_sent(struct h2_stream *st)
{
    if (!st->got_end) { /* the answer is whole: the rest of the request is not wanted */
        h2_stream_reset(st, NGHTTP2_NO_ERROR);
    }
}

static void on_closed_stream(struct h2_stream *st)
{
    h2_stream_due(st);
}

static const struct h2_events events = {
    .on_begin = on_begin,
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_sent = on_sent,
    .on_closed = on_closed_stream,
};

/* ---- the connection ---- */

/* Everything that one event brought is known: tell it, then see how the connection goes on. */
static void after(struct h2_sconn *h)
{
    struct sconn *conn = h->conn;
    struct h2_session *s = &h->session;
    run_due(h);
    if (conn->closing) {
        return;
    }
    h2_session_pump(s);
    if (!list_empty(&s->due)) {
        loop_task_post(s->loop, &h->task);
    }
    if (s->out.failed) {
        sconn_close(conn);
    } else if (s->dead) {
        close_all(h, HTTP_CLOSE_ABORTED);
        if (!conn->closing) {
            sconn_linger(conn);
        }
    } else if (h2_session_over(s) && s->n_streams == 0 && stream_queued_bytes(&conn->stream) == 0) {
        sconn_close(conn);
    } else {
        sconn_arm(conn, true);
    }
}

static void run_task(struct loop_task *task)
{
    struct h2_sconn *h = task->data;
    if (!h->conn->closing && !h->conn->lingering) {
        after(h);
    }
}

static struct stream_buffer on_buffer(struct stream *stream)
{
    struct sconn *conn = stream->data;
    return http_shared_buffer(conn->server->shared);
}

static void on_read(struct stream *stream, char *bytes, size_t n)
{
    struct sconn *conn = stream->data;
    h2_session_feed(&conn->h2->session, bytes, n);
    after(conn->h2);
}

static void on_stream_end(struct stream *stream)
{
    sconn_close(stream->data);
}

static void on_drain(struct stream *stream)
{
    struct sconn *conn = stream->data;
    h2_session_pump(&conn->h2->session);
    after(conn->h2);
}

static void on_error(struct stream *stream, const struct error *err)
{
    sconn_close(stream->data);
}

static const struct stream_events stream_events = {
    .on_buffer = on_buffer,
    .on_read = on_read,
    .on_end = on_stream_end,
    .on_drain = on_drain,
    .on_error = on_error,
};

bool h2_server_sniff(struct sconn *conn, const char *bytes, size_t n, size_t *before)
{
    static const char method[] = H2_PREFACE_METHOD;
    size_t had = conn->sniffed;
    size_t want = sizeof(method) - 1 - had;
    size_t look = n < want ? n : want;
    *before = had;
    if (memcmp(bytes, method + had, look) != 0) {
        conn->sniffed = 0;
        return false;
    }
    conn->sniffed = (uint8_t)(had + look);
    if (look < want) {
        return true;
    }
    struct h2_sconn *h = NEW(struct h2_sconn);
    h->conn = conn;
    conn->h2 = h;
    conn->sniffed = 0;
    loop_task_init(&h->task, run_task, h);
    h2_session_init(&h->session, true, conn->server->shared, &conn->stream, NULL,
                    &conn->server->options.limits, &events, h);
    stream_set_events(&conn->stream, &stream_events, conn);
    h2_session_feed(&h->session, method, had);
    h2_session_feed(&h->session, bytes, n);
    after(h);
    return true;
}

void h2_server_drain(struct sconn *conn)
{
    if (conn->closing || conn->lingering) {
        return;
    }
    h2_session_goaway(&conn->h2->session, NGHTTP2_NO_ERROR);
    push(conn->h2);
}

void h2_server_closed(struct sconn *conn)
{
    struct h2_sconn *h = conn->h2;
    close_all(h, conn->aborted ? HTTP_CLOSE_ABORTED : HTTP_CLOSE_GONE);
    conn->h2 = NULL;
    loop_task_cancel(&h->task);
    h2_session_fini(&h->session);
    free(h);
}

enum sconn_wait h2_server_waits_for(const struct sconn *conn)
{
    if (stream_queued_bytes(&conn->stream) > 0) {
        return SCONN_WAIT_WRITE;
    }
    if (conn->h2->session.reading_head || !conn->h2->session.started) {
        return SCONN_WAIT_HEAD;
    }
    if (conn->h2->session.n_streams == 0) {
        return SCONN_WAIT_IDLE;
    }
    return SCONN_WAIT_NONE;
}

/* ---- the exchange's side ---- */

bool h2_exchange_dead(const struct http_exchange *ex)
{
    return ex->h2->closed || ex->h2->broken;
}

void h2_exchange_start(struct http_exchange *ex, const struct http_head *given)
{
    struct http_head head = *given;
    if (head.status == 101) { /* no handler may: there is no upgrade to ask for */
        h2_exchange_abort(ex);
        return;
    }
    if (ex->no_body) {
        head.has_length = head.has_length || head.body == HTTP_BODY_LENGTH;
        head.body = HTTP_BODY_NONE;
    }
    struct slice date = http_head_find_id(&head, HTTP_H_DATE) == NULL
                            ? http_shared_date(ex->out.shared)
                            : (struct slice){0};
    if (!h2_stream_answer(ex->h2, &head, date)) {
        ex->h2->broken = true;
    }
}

void h2_exchange_inform(struct http_exchange *ex, const struct http_head *head)
{
    if (h2_stream_inform(ex->h2, head)) {
        push_stream(ex);
    }
}

enum http_flow h2_exchange_write(struct http_exchange *ex, struct slice chunk)
{
    struct h2_stream *st = ex->h2;
    ex->out.sent += chunk.len;
    (void)h2_stream_write(st, chunk);
    if (!ex->out.corked || st->out.len - st->out_pos >= SEND_AT) {
        return h2_exchange_flush(ex);
    }
    return HTTP_GO;
}

enum http_flow h2_exchange_flush(struct http_exchange *ex)
{
    struct h2_stream *st = ex->h2;
    push_stream(ex);
    if (st->full) {
        ex->full = true;
        return HTTP_FULL;
    }
    st->writable = false; /* there is room already */
    return HTTP_GO;
}

void h2_exchange_end(struct http_exchange *ex)
{
    h2_stream_end(ex->h2);
    push_stream(ex);
}

void h2_exchange_abort(struct http_exchange *ex)
{
    ex->h2->broken = true;
    h2_stream_reset(ex->h2, NGHTTP2_INTERNAL_ERROR);
    push_stream(ex);
}

void h2_exchange_settle(struct http_exchange *ex)
{
    if (ex->held_pos == ex->held.len && !ex->h2->closed) {
        h2_stream_took(ex->h2);
    }
    push_stream(ex);
}
