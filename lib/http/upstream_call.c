// SPDX-License-Identifier: Apache-2.0
/*
 * One call on one connection of a pool.
 *
 * Happy path: http_call_start takes an idle connection (or opens one and gathers bytes until it is
 * there), the answer's parser drives the call's events, and the connection goes back to the pool
 * when request and answer are both complete and both sides allow it. Calls of a pool that speaks
 * HTTP/2 go to h2_upstream.c.
 *
 * Failure: the call learns the stage. A connection is never reused after anything odd: bytes behind
 * the answer, an answer before the request was sent, a cancelled call.
 */

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "http/h2_upstream.h"
#include "http/upstream_impl.h"

#define INFORM_MAX 32 /* interim answers (1xx) to one request */

/* ---- how it ends ---- */

/*
 * Whether the peer ended a kept connection before a byte of this request arrived: the kernel took
 * none; or the peer's end of file came, which acknowledges all that had arrived, and acknowledges
 * nothing of it. (After a reset there is no telling: it may hide bytes that were read.)
 */
static bool unseen(const struct http_conn *conn)
{
    int unacked = 0;
    uint64_t handed = conn->out.wire - stream_queued_bytes(&conn->stream);
    if (handed == 0) {
        return true;
    }
    return conn->saw_end && !addr_is_unix(&conn->pool->addr) &&
           ioctl(stream_fd(&conn->stream), SIOCOUTQ, &unacked) == 0 && (uint64_t)unacked >= handed;
}

static enum http_stage stage_of(const struct http_conn *conn)
{
    if (conn->got_head) {
        return HTTP_STAGE_ANSWERED;
    }
    if (!conn->connected) {
        return HTTP_STAGE_NOT_SENT;
    }
    if (!conn->reused || conn->got_bytes) {
        return HTTP_STAGE_SENT;
    }
    return unseen(conn) ? HTTP_STAGE_UNSEEN : HTTP_STAGE_REUSED;
}

/* Ends the call with an error; the connection is closed. Last statement of its callers. */
void upstream_fail(struct http_conn *conn, const struct error *err)
{
    struct http_call *call = conn->call;
    enum http_stage stage = stage_of(conn);
    conn->call = NULL;
    upstream_close(conn);
    if (call != NULL) {
        call->conn = NULL;
        call->events->on_fail(call, stage, err, call->arg);
    }
}

/* The answer is complete. Last statement of its callers. */
static void finish(struct http_conn *conn, bool reusable)
{
    struct http_call *call = conn->call;
    bool sent = http_call_sent(call);
    conn->call = NULL;
    if (reusable && sent && !conn->cut && !conn->out.failed && stream_is_open(&conn->stream)) {
        h1_message_reset(&conn->msg);
        upstream_to_idle(conn);
    } else {
        upstream_close(conn);
    }
    call->conn = NULL;
    call->events->on_end(call, call->arg);
}

/* ---- bytes in ---- */

static enum h1_go on_head(struct h1_parser *p, void *owner)
{
    struct http_conn *conn = owner;
    struct http_call *call = conn->call;
    struct http_head *head = &conn->msg.head;
    if (head->status == 101) {
        const struct http_header *h = http_head_find_id(head, HTTP_H_UPGRADE);
        if (!conn->upgrading || h == NULL) {
            p->bad_status = 502;
            p->bad_text = "it upgraded a connection that did not ask for it";
            return H1_STOP;
        }
        head->upgrade = h->value;
        head->body = HTTP_BODY_TUNNEL;
        conn->tunnel = true;
        conn->ended = false; /* from now on it says whether our half of the tunnel is */
    } else if (head->status < 200) {
        if (++conn->informed > INFORM_MAX) {
            p->bad_status = 502;
            p->bad_text = "too many interim answers";
            return H1_STOP;
        }
        if (call->events->on_inform != NULL) {
            call->events->on_inform(call, head, call->arg);
        }
        return conn->call == NULL ? H1_STOP : H1_NO_BODY;
    }
    conn->got_head = true;
    if (conn->head_method) {
        head->body = HTTP_BODY_NONE;
    }
    call->events->on_head(call, head, call->arg);
    if (conn->call == NULL) {
        return H1_STOP;
    }
    if (conn->tunnel) {
        return H1_TUNNEL;
    }
    return conn->head_method ? H1_NO_BODY : H1_GO;
}

static bool on_body(struct h1_parser *p, struct slice chunk, void *owner)
{
    struct http_conn *conn = owner;
    conn->call->events->on_body(conn->call, chunk, conn->call->arg);
    return conn->call != NULL;
}

const struct h1_events upstream_parser_events = {.on_head = on_head, .on_body = on_body};

static void bad_answer(struct http_conn *conn)
{
    struct error err;
    error_set(&err, ERR_PROTOCOL, "%s sent a bad answer: %s", conn->pool->text,
              conn->parser.bad_text);
    upstream_fail(conn, &err);
}

/*
 * The batch of one read is over: say so, unless the call is.
 */
static void flush_batch(struct http_conn *conn)
{
    struct http_call *call = conn->call;
    if (call != NULL && call->events->on_flush != NULL) {
        call->events->on_flush(call, call->arg);
    }
}

static void tunnel_bytes(struct http_conn *conn, const char *bytes, size_t n)
{
    if (n > 0) {
        conn->call->events->on_body(conn->call, slice_of(bytes, n), conn->call->arg);
    }
    flush_batch(conn);
}

static void give_trailers(struct http_conn *conn)
{
    const struct h1_message *t = conn->msg.trailers;
    struct http_call *call = conn->call;
    if (t != NULL && t->head.n_headers > 0 && call->events->on_trailers != NULL) {
        call->events->on_trailers(call, &t->head, call->arg);
    }
}

static void input(struct http_conn *conn, const char *bytes, size_t n)
{
    bool small = n < HTTP_READ_SIZE / 2;
    conn->got_bytes = true;
    if (conn->tunnel) {
        tunnel_bytes(conn, bytes, n);
        return;
    }
    while (n > 0) {
        size_t used = 0;
        enum h1_result result = h1_feed(&conn->parser, bytes, n, &used);
        if (conn->call == NULL) { /* cancelled inside a callback */
            return;
        }
        if (conn->parser.bad_status != 0) {
            bad_answer(conn);
            return;
        }
        bytes += used;
        n -= used;
        if (result == H1_DONE && conn->tunnel) {
            tunnel_bytes(conn, bytes, n);
            return;
        }
        if (result == H1_DONE && conn->got_head) {
            give_trailers(conn);
            if (conn->call == NULL) {
                return;
            }
            finish(conn, conn->parser.keep_alive && n == 0);
            return;
        }
        if (result == H1_DONE) { /* a 1xx is over */
            h1_message_reset(&conn->msg);
        }
    }
    if (small) { /* many servers write head and body apart, and without TCP_NODELAY */
        stream_ack_now(&conn->stream);
    }
    flush_batch(conn);
}

static struct stream_buffer on_buffer(struct stream *s)
{
    struct http_conn *conn = s->data;
    return http_shared_buffer(conn->pool->shared);
}

static void on_read(struct stream *s, char *bytes, size_t n)
{
    struct http_conn *conn = s->data;
    if (conn->call == NULL) {
        upstream_close(conn); /* nobody asked for these bytes */
        return;
    }
    input(conn, bytes, n);
}

/* Over when both halves are; a listener without on_half takes the peer's for both. */
static void tunnel_end(struct http_conn *conn)
{
    struct http_call *call = conn->call;
    conn->peer_ended = true;
    if (conn->shut || call->events->on_half == NULL) {
        finish(conn, false);
    } else if (!conn->ended) {
        call->events->on_half(call, call->arg);
    } /* else on_shut */
}

static void on_shut(struct stream *s, const struct error *err)
{
    struct http_conn *conn = s->data;
    if (conn->closing || err != NULL) {
        return; /* on_error tells */
    }
    conn->shut = true;
    if (conn->peer_ended && conn->call != NULL) {
        finish(conn, false);
    }
}

static void on_end(struct stream *s)
{
    struct http_conn *conn = s->data;
    struct error err;
    conn->saw_end = true;
    if (conn->call == NULL) {
        upstream_close(conn);
        return;
    }
    if (conn->tunnel) {
        tunnel_end(conn);
        return;
    }
    if (conn->got_head && h1_finish(&conn->parser) == H1_DONE) {
        if (conn->call != NULL) {
            finish(conn, false);
        }
        return;
    }
    error_set(&err, ERR_CLOSED, "%s closed the connection %s", conn->pool->text,
              conn->got_head    ? "in the middle of its answer"
              : conn->got_bytes ? "in the middle of its answer's head"
                                : "without an answer");
    upstream_fail(conn, &err);
}

void upstream_drained(struct http_conn *conn)
{
    struct http_call *call = conn->call;
    if (call != NULL && conn->full) {
        conn->full = false;
        if (call->events->on_writable != NULL) {
            call->events->on_writable(call, call->arg);
        }
    }
}

static void on_drain(struct stream *s)
{
    upstream_drained(s->data);
}

/*
 * The connection broke while we were still writing: the peer may have answered before it closed.
 * Takes what the kernel still has of an answer; true: the call is over.
 */
static bool take_early_answer(struct http_conn *conn)
{
    bool retried = false;
    while (conn->call != NULL && conn->connected && !conn->tunnel && !conn->closing) {
        struct stream_buffer buf = http_shared_buffer(conn->pool->shared);
        ssize_t n = recv(stream_fd(&conn->stream), buf.ptr, buf.len, MSG_DONTWAIT);
        if (n > 0) {
            input(conn, buf.ptr, (size_t)n);
        } else if (n < 0 && errno == ECONNRESET && !retried) {
            retried = true; /* said once, before the bytes */
        } else {
            return false;
        }
    }
    return conn->call == NULL;
}

static void on_error(struct stream *s, const struct error *given)
{
    struct http_conn *conn = s->data;
    struct error err;
    if (conn->call != NULL && take_early_answer(conn)) {
        return;
    }
    error_copy(&err, given);
    error_prefix(&err, given->code, "%s", conn->pool->text);
    upstream_fail(conn, &err);
}

const struct stream_events upstream_stream_events = {
    .on_buffer = on_buffer,
    .on_read = on_read,
    .on_end = on_end,
    .on_drain = on_drain,
    .on_error = on_error,
};

/* ---- calls ---- */

int http_call_start(struct http_pool *pool, struct http_call *call, const struct http_head *head,
                    const struct http_call_events *events, void *arg, struct error *err)
{
    const struct http_pool_options *o = &pool->options;
    if (pool->closing) {
        return error_set(err, ERR_CANCELED, "the connection pool of %s is being closed",
                         pool->text);
    }
    if (pool->h2 != NULL) {
        return h2_call_start(pool->h2, call, head, events, arg, err);
    }
    struct http_conn *conn = upstream_take_idle(pool);
    if (conn == NULL && o->max_connections > 0 && pool->n_busy >= o->max_connections) {
        return error_set(err, ERR_OVERLOAD, "%zu connections to %s are all in use", pool->n_busy,
                         pool->text);
    }
    if (conn == NULL && (conn = upstream_open(pool, err)) == NULL) {
        return err == NULL || err->code == 0 ? ERR_IO : (int)err->code;
    }
    conn->upgrading = head->upgrade.len > 0;
    conn->head_method = head->method_id == HTTP_METHOD_HEAD;
    conn->out.chunked = head->body == HTTP_BODY_STREAM;
    conn->out.corked = true; /* until flush, so that head and body start go together */
    enum h1_connection say = conn->upgrading ? H1_UPGRADE : o->max_idle == 0 ? H1_CLOSE : H1_KEEP;
    if (!h1_write_request(http_out_gather(&conn->out), head, say)) {
        upstream_close(conn);
        return error_set(err, ERR_TOO_BIG, "the request head for %s is too large", pool->text);
    }
    conn->call = call;
    *call = (struct http_call){.conn = conn, .events = events, .arg = arg};
    return 0;
}

static enum http_flow wrote(struct http_conn *conn)
{
    if (conn->out.failed && (!conn->connected || stream_is_open(&conn->stream))) {
        upstream_close(conn); /* on_closed tells the call */
        return HTTP_GO;
    }
    if (http_out_flow(&conn->out) == HTTP_FULL) {
        conn->full = true;
        return HTTP_FULL;
    }
    return HTTP_GO;
}

enum http_flow http_call_write(struct http_call *call, struct slice chunk)
{
    if (call->h2 != NULL) {
        return h2_call_write(call, chunk);
    }
    struct http_conn *conn = call->conn;
    if (conn == NULL || conn->closing || conn->ended) {
        return HTTP_GO;
    }
    if (conn->tunnel) {
        conn->out.chunked = false;
    }
    http_out_write(&conn->out, chunk);
    return wrote(conn);
}

enum http_flow http_call_flush(struct http_call *call)
{
    if (call->h2 != NULL) {
        return h2_call_flush(call);
    }
    struct http_conn *conn = call->conn;
    if (conn == NULL || conn->closing) {
        return HTTP_GO;
    }
    http_out_flush(&conn->out);
    return wrote(conn);
}

void http_call_trailers(struct http_call *call, const struct http_head *trailers)
{
    if (call->h2 != NULL) {
        h2_call_trailers(call, trailers);
        return;
    }
    struct http_conn *conn = call->conn;
    if (conn != NULL && !conn->closing && !conn->ended) {
        http_out_trailers(&conn->out, trailers);
    }
}

void http_call_end(struct http_call *call)
{
    if (call->h2 != NULL) {
        h2_call_end(call);
        return;
    }
    struct http_conn *conn = call->conn;
    if (conn == NULL || conn->closing) {
        return;
    }
    if (conn->ended) {
        return;
    }
    conn->ended = true;
    if (conn->tunnel) {
        http_out_flush(&conn->out);
        (void)!stream_shutdown(&conn->stream, on_shut, NULL); /* if not, on_error comes */
        return;
    }
    if (conn->out.chunked) {
        http_out_last_chunk(&conn->out);
    }
    http_out_flush(&conn->out);
}

void http_call_cut(struct http_call *call)
{
    if (call->h2 != NULL) {
        h2_call_cut(call);
        return;
    }
    struct http_conn *conn = call->conn;
    if (conn == NULL || conn->closing || conn->ended) {
        return;
    }
    conn->ended = true;
    conn->cut = true;
    http_out_flush(&conn->out);
    if (stream_is_open(&conn->stream)) {
        (void)!stream_shutdown(&conn->stream, NULL, NULL); /* if not, on_error comes */
    }
}

bool http_call_reached(const struct http_call *call)
{
    if (call->h2 != NULL) {
        return h2_call_reached(call);
    }
    return call->conn != NULL && call->conn->connected;
}

void http_call_pause(struct http_call *call)
{
    if (call->h2 != NULL) {
        h2_call_pause(call);
        return;
    }
    struct http_conn *conn = call->conn;
    if (conn != NULL && !conn->closing && !conn->paused) {
        conn->paused = true;
        stream_read_stop(&conn->stream);
    }
}

void http_call_resume(struct http_call *call)
{
    if (call->h2 != NULL) {
        h2_call_resume(call);
        return;
    }
    struct http_conn *conn = call->conn;
    if (conn != NULL && !conn->closing && conn->paused) {
        conn->paused = false;
        if (conn->connected) {
            stream_read_start(&conn->stream);
        }
    }
}

void http_call_cancel(struct http_call *call)
{
    if (call->h2 != NULL) {
        h2_call_cancel(call);
        return;
    }
    struct http_conn *conn = call->conn;
    if (conn != NULL) {
        call->conn = NULL;
        conn->call = NULL;
        upstream_close(conn);
    }
}

bool http_call_sent(const struct http_call *call)
{
    if (call->h2 != NULL) {
        return h2_call_sent(call);
    }
    const struct http_conn *conn = call->conn;
    return conn != NULL && conn->ended && conn->connected &&
           stream_queued_bytes(&conn->stream) == 0;
}

bool http_call_running(const struct http_call *call)
{
    return call->conn != NULL || call->h2 != NULL;
}
