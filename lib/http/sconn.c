// SPDX-License-Identifier: Apache-2.0
/*
 * One server connection.
 *
 * Happy path: bytes → parser → exchange → on_request; the answer ends → sconn_settle → the
 * exchange goes back, the connection is idle or takes up the bytes that came behind (pipelining).
 * While a request runs, reading goes on, so that a client that leaves is noticed; bytes of the next
 * request are kept aside and reading stops.
 *
 * Failure: a message that is refused gets its status, then the connection lingers: our side is
 * shut, the client's bytes are thrown away for a short while, so that it can read the answer. A
 * client that ends or breaks the connection while its request runs is gone: everything is closed,
 * on_close comes from the close callback.
 */

#include <sys/socket.h>

#include "base/mem.h"
#include "http/h2.h"
#include "http/h2_server.h"

static const struct stream_events conn_events;
#define ALLOW "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE\r\n"

static void input(struct sconn *conn, const char *bytes, size_t n);

/* ---- reading and deadlines by state ---- */

static bool wants_bytes(const struct sconn *conn)
{
    const struct http_exchange *ex = conn->ex;
    if (conn->lingering || (ex == NULL && conn->pending_len == 0)) {
        return true;
    }
    if (conn->pending_len > 0 || conn->peer_ended) {
        return false;
    }
    if (conn->tunnel) {
        return ex->resumed;
    }
    if (!ex->announced || ex->complete || ex->resumed || ex->ended) {
        return true;
    }
    return ex->held.len - ex->held_pos < conn->server->options.limits.hold_body_bytes;
}

void sconn_read(struct sconn *conn)
{
    if (wants_bytes(conn)) {
        stream_read_start(&conn->stream);
    } else {
        stream_read_stop(&conn->stream);
    }
}

static enum sconn_wait waits_for(const struct sconn *conn)
{
    const struct http_exchange *ex = conn->ex;
    if (conn->lingering) {
        return SCONN_WAIT_LINGER;
    }
    if (conn->h2 != NULL) {
        return h2_server_waits_for(conn);
    }
    if (stream_queued_bytes(&conn->stream) > 0) {
        return SCONN_WAIT_WRITE;
    }
    if (ex == NULL && conn->server->draining) {
        return SCONN_WAIT_DRAIN;
    }
    if (ex == NULL) {
        return conn->requests > 0 ? SCONN_WAIT_IDLE : SCONN_WAIT_HEAD;
    }
    if (!ex->announced) {
        return SCONN_WAIT_HEAD;
    }
    bool streams = ex->started && !ex->ended; /* both ways: the handler has clocks of its own */
    if (!conn->tunnel && !ex->complete && (ex->resumed || ex->ended) && !streams) {
        return SCONN_WAIT_BODY;
    }
    return SCONN_WAIT_NONE;
}

void sconn_arm(struct sconn *conn, bool progress)
{
    enum sconn_wait wait = waits_for(conn);
    if (wait == conn->wait && !(progress && wait == SCONN_WAIT_BODY)) {
        return;
    }
    conn->wait = wait;
    if (wait == SCONN_WAIT_NONE || conn->server->unlimited[wait]) {
        deadline_clear(&conn->deadline);
        return;
    }
    if (wait == SCONN_WAIT_WRITE) {
        conn->watched = stream_queued_bytes(&conn->stream);
    }
    deadline_set(&conn->server->waits[wait], &conn->deadline);
}

/* A request came or was answered, perhaps within one turn: what is waited for next has its whole
 * time. */
void sconn_disarm(struct sconn *conn)
{
    conn->wait = SCONN_WAIT_NONE;
    deadline_clear(&conn->deadline);
}

/* ---- closing ---- */

static void on_closed(struct stream *s)
{
    struct sconn *conn = s->data;
    struct http_exchange *ex = conn->ex;
    conn->ex = NULL;
    if (ex != NULL) {
        list_remove(&ex->link);
        if (ex->announced && ex->events != NULL && ex->events->on_close != NULL) {
            ex->events->on_close(ex, conn->aborted ? HTTP_CLOSE_ABORTED : HTTP_CLOSE_GONE, ex->arg);
        }
        server_give_exchange(conn->server, ex);
    }
    if (conn->h2 != NULL) {
        h2_server_closed(conn);
    }
    server_conn_closed(conn);
}

static void close_with(struct sconn *conn, void (*how)(struct stream *, stream_close_cb))
{
    if (conn->closing) {
        return;
    }
    conn->closing = true;
    deadline_clear(&conn->deadline);
    if (conn->ex != NULL) {
        http_out_drop(&conn->ex->out);
    }
    how(&conn->stream, on_closed);
}

void sconn_close(struct sconn *conn)
{
    close_with(conn, stream_close);
}

void sconn_abort(struct sconn *conn)
{
    conn->aborted = true;
    /* Only where the end of the connection would pass for the end of the answer a reset is due. */
    bool reset = conn->ex != NULL && conn->ex->until_close;
    close_with(conn, reset ? stream_reset : stream_close);
}

void sconn_linger(struct sconn *conn)
{
    conn->lingering = true;
    stream_set_events(&conn->stream, &conn_events, conn);
    if (stream_shutdown(&conn->stream, NULL, NULL) < 0) {
        sconn_close(conn);
        return;
    }
    sconn_read(conn);
    sconn_arm(conn, false);
}

/* Answers for a request that no handler will answer, and ends the connection. */
static void refuse(struct sconn *conn, int status, const char *text)
{
    struct http_exchange *ex = conn->ex;
    if (ex != NULL) {
        bool started = ex->started;
        if (started) {
            sconn_abort(conn);
            return;
        }
        conn->ex = NULL;
        list_remove(&ex->link);
        http_out_drop(&ex->out);
        if (ex->announced && ex->events != NULL && ex->events->on_close != NULL) {
            ex->events->on_close(ex, HTTP_CLOSE_ABORTED, ex->arg);
        }
        ex->status = (uint16_t)status;
        server_give_exchange(conn->server, ex);
    }
    bool bare = conn->parser.is_head;
    char answer[512];
    int n = snprintf(answer, sizeof(answer),
                     "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
                     "%sContent-Length: %zu\r\nConnection: close\r\n\r\n%s%s",
                     status, http_status_text(status), status == 405 ? ALLOW : "", strlen(text) + 1,
                     bare ? "" : text, bare ? "" : "\n");
    if (n < 0 || (size_t)n >= sizeof(answer) || conn->closing ||
        stream_write_bytes(&conn->stream, answer, (size_t)n, NULL) < 0) {
        sconn_close(conn);
        return;
    }
    sconn_linger(conn);
}

/* ---- the end of an exchange ---- */

static bool answered(const struct sconn *conn)
{
    const struct http_exchange *ex = conn->ex;
    if (ex == NULL || !ex->ended || stream_queued_bytes(&conn->stream) > 0) {
        return false;
    }
    if (conn->tunnel) { /* without a listener nobody takes what the client may still say */
        return ex->events == NULL || (conn->peer_ended && ex->end_delivered);
    }
    return ex->complete || ex->close_after; /* else the rest of its body is read away first */
}

static void finish(struct sconn *conn)
{
    struct http_exchange *ex = conn->ex;
    bool ends = ex->close_after || conn->server->draining;
    bool complete = ex->complete;
    conn->ex = NULL;
    list_remove(&ex->link);
    if (ex->events != NULL && ex->events->on_close != NULL) {
        ex->events->on_close(ex, HTTP_CLOSE_DONE, ex->arg);
    }
    server_give_exchange(conn->server, ex);
    if (conn->closing) {
        return;
    }
    sconn_disarm(conn);
    if (conn->tunnel || (ends && complete && conn->pending_len == 0)) {
        sconn_close(conn);
    } else if (ends) {
        sconn_linger(conn);
    }
}

/* Bytes that came behind the request that is now answered. */
static void take_pending(struct sconn *conn)
{
    char *bytes = conn->pending;
    size_t n = conn->pending_len;
    conn->pending = NULL;
    conn->pending_len = 0;
    input(conn, bytes, n);
    free(bytes);
}

void sconn_settle(struct sconn *conn)
{
    if (conn->in_feed || conn->closing) {
        return;
    }
    if (answered(conn)) {
        const struct http_exchange *ex = conn->ex;
        if (conn->pending_len > 0 || (ex->events != NULL && ex->events->on_close != NULL)) {
            if (!list_linked(&conn->ex->link)) {
                list_push_back(&conn->server->finished, &conn->ex->link);
                server_post(conn->server);
            }
            return;
        }
        finish(conn);
        if (conn->closing || conn->lingering) {
            return;
        }
    }
    sconn_read(conn);
    sconn_arm(conn, false);
}

/* ---- bytes in ---- */

static enum h1_go on_head(struct h1_parser *p, void *owner)
{
    struct sconn *conn = owner;
    struct http_exchange *ex = conn->ex;
    struct http_server *server = conn->server;
    ex->announced = true;
    ex->keep_alive = h1_keeps_alive(p);
    ex->continue_due = ex->msg.head.expect_continue;
    conn->requests++;
    if (server->options.on_over != NULL) {
        ex->begun_ns = loop_now_ns(server->loop);
    }
    server->options.on_request(ex, server->options.arg);
    return conn->closing ? H1_STOP : H1_GO;
}

static bool on_body(struct h1_parser *p, struct slice chunk, void *owner)
{
    struct sconn *conn = owner;
    struct http_exchange *ex = conn->ex;
    uint64_t max = p->limits->max_body_bytes;
    if (max > 0 && ex->bytes_in + chunk.len > max) {
        p->bad_status = 413;
        p->bad_text = "the body is too large";
        return false;
    }
    exchange_got_body(ex, chunk);
    return !conn->closing;
}

static const struct h1_events parser_events = {.on_head = on_head, .on_body = on_body};

static void stash(struct sconn *conn, const char *bytes, size_t n)
{
    conn->pending = xrealloc(conn->pending, conn->pending_len + n);
    memcpy(conn->pending + conn->pending_len, bytes, n);
    conn->pending_len += n;
}

/* One step: at most to the end of one message. Returns how many bytes were used; 0: stop. */
static size_t feed(struct sconn *conn, const char *bytes, size_t n)
{
    size_t used = 0;
    if (conn->ex == NULL) {
        conn->ex = server_take_exchange(conn->server, conn);
        conn->parser.msg = &conn->ex->msg;
    }
    enum h1_result result = h1_feed(&conn->parser, bytes, n, &used);
    if (conn->closing) {
        return 0;
    }
    if (conn->parser.bad_status != 0) {
        refuse(conn, conn->parser.bad_status, conn->parser.bad_text);
        return 0;
    }
    if (result == H1_DONE) {
        exchange_got_end(conn->ex);
    }
    if (!conn->closing) {
        exchange_flush_batch(conn->ex);
    }
    return used;
}

static void input(struct sconn *conn, const char *bytes, size_t n)
{
    bool small = n < HTTP_READ_SIZE / 2;
    conn->in_feed = true;
    while (n > 0 && !conn->closing && !conn->lingering) {
        if (conn->tunnel) {
            exchange_got_body(conn->ex, slice_of(bytes, n));
            if (!conn->closing) {
                exchange_flush_batch(conn->ex);
            }
            break;
        }
        if (conn->ex != NULL && conn->ex->complete) {
            stash(conn, bytes, n);
            break;
        }
        size_t used = feed(conn, bytes, n);
        if (used == 0) {
            break;
        }
        bytes += used;
        n -= used;
        if (!conn->closing && answered(conn)) {
            finish(conn);
        }
    }
    conn->in_feed = false;
    if (conn->closing || conn->lingering) {
        return;
    }
    if (small && conn->ex != NULL && !conn->ex->complete && !conn->tunnel) {
        stream_ack_now(&conn->stream); /* many clients write head and body apart */
    }
    sconn_arm(conn, true);
    sconn_settle(conn);
}

static struct stream_buffer on_buffer(struct stream *s)
{
    struct sconn *conn = s->data;
    return http_shared_buffer(conn->server->shared);
}

static void on_read(struct stream *s, char *bytes, size_t n)
{
    struct sconn *conn = s->data;
    if (conn->lingering) {
        conn->lingered += (uint32_t)n;
        if (conn->lingered > SCONN_LINGER_BYTES) {
            stream_read_stop(
                s); /* until the time is over: a close now could take the answer away */
        }
        return;
    }
    if (conn->requests == 0 && conn->server->options.h2c && conn->ex == NULL) {
        size_t before;
        if (h2_server_sniff(conn, bytes, n, &before)) {
            return;
        }
        if (before > 0) {
            input(conn, H2_PREFACE_METHOD, before);
        }
        if (conn->closing) {
            return;
        }
    }
    input(conn, bytes, n);
}

static void on_end(struct stream *s)
{
    struct sconn *conn = s->data;
    struct http_exchange *ex = conn->ex;
    if (conn->tunnel && ex != NULL) {
        conn->peer_ended = true;
        exchange_got_end(ex);
        if (!conn->closing) {
            exchange_flush_batch(ex);
            sconn_settle(conn);
        }
        return;
    }
    if (ex != NULL && ex->ended && ex->complete) {
        ex->close_after = true; /* it still reads what is queued for it */
        conn->peer_ended = true;
        return;
    }
    sconn_close(conn);
}

/* Nobody reads on because the request waits and enough of its body is kept: its client has gone. */
static void on_hangup(struct stream *s)
{
    struct sconn *conn = s->data;
    const struct http_exchange *ex = conn->ex;
    if (conn->h2 == NULL && !conn->tunnel && !conn->lingering && ex != NULL && ex->announced &&
        !ex->complete && !ex->resumed && !ex->ended && conn->pending_len == 0) {
        sconn_close(conn);
    }
}

static void on_drain(struct stream *s)
{
    struct sconn *conn = s->data;
    if (conn->ex != NULL) {
        exchange_drained(conn->ex);
    }
    if (!conn->closing) {
        sconn_settle(conn);
    }
}

static void on_error(struct stream *s, const struct error *err)
{
    sconn_close(s->data);
}

static const struct stream_events conn_events = {
    .on_buffer = on_buffer,
    .on_read = on_read,
    .on_end = on_end,
    .on_hangup = on_hangup,
    .on_drain = on_drain,
    .on_error = on_error,
};

/* A request came while we were busy: its bytes wait in the kernel. */
static bool has_unread(const struct sconn *conn)
{
    char byte;
    return recv(stream_fd(&conn->stream), &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void sconn_on_deadline(struct deadline *deadline, void *data)
{
    struct sconn *conn = CONTAINER_OF(deadline, struct sconn, deadline);
    enum sconn_wait wait = conn->wait;
    conn->wait = SCONN_WAIT_NONE;
    switch (wait) {
    case SCONN_WAIT_HEAD:
        if (conn->parser.started) {
            refuse(conn, 408, "the request head took too long");
        } else {
            sconn_close(conn);
        }
        break;
    case SCONN_WAIT_BODY:
        if (waits_for(conn) != SCONN_WAIT_BODY) { /* the answer has begun */
            sconn_arm(conn, false);
            break;
        }
        refuse(conn, 408, "the request body took too long");
        break;
    case SCONN_WAIT_WRITE:
        if (stream_queued_bytes(&conn->stream) < conn->watched) {
            sconn_arm(conn, false);
        } else {
            sconn_abort(conn);
        }
        break;
    case SCONN_WAIT_DRAIN:
        if (has_unread(conn)) {
            sconn_arm(conn, false);
        } else {
            sconn_close(conn);
        }
        break;
    case SCONN_WAIT_IDLE:
        if (conn->h2 != NULL) {
            h2_server_drain(conn);
            break;
        }
        sconn_close(conn);
        break;
    case SCONN_WAIT_LINGER:
        sconn_close(conn);
        break;
    case SCONN_WAIT_NONE:
    case SCONN_WAIT_N:
        break;
    }
}

static void on_never_open(struct stream *s)
{
    free(s->data);
}

void sconn_open(struct http_server *server, struct listener *l)
{
    struct sconn *conn = NEW(struct sconn);
    const struct http_limits *limits = &server->options.limits;
    if (listener_accept(l, &conn->stream, &conn_events, conn, NULL) < 0) {
        stream_close(&conn->stream, on_never_open);
        return;
    }
    conn->server = server;
    size_t burst = limits->out_burst_bytes > 0 ? limits->out_burst_bytes : 1024 * 1024;
    stream_set_queue_max(&conn->stream, (size_t)limits->out_high_bytes + burst);
    deadline_init(&conn->deadline);
    h1_parser_init(&conn->parser, HTTP_REQUEST, limits, &parser_events, conn);
    list_push_back(&server->conns, &conn->link);
    server->n_conns++;
    server->open_handles++;
    if (server->n_conns > limits->max_connections) {
        refuse(conn, 503, "too many connections");
        return;
    }
    sconn_settle(conn);
}

/* server.c's task for connections whose answer is complete. */
void sconn_finish_later(struct sconn *conn)
{
    finish(conn);
    if (conn->closing || conn->lingering) {
        return;
    }
    if (conn->pending_len > 0) {
        take_pending(conn);
    } else {
        sconn_settle(conn);
    }
}
