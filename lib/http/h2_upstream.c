// SPDX-License-Identifier: Apache-2.0
/*
 * Calls over HTTP/2: many on each of a pool's few connections (h2_pool.c).
 *
 * Happy path: a call takes a connection with room, its answer's frames drive the call's events, and
 * END_STREAM ends it.
 *
 * Failure: a reset fails one call, a broken connection or GOAWAY those that it concerns. The stage
 * is UNSEEN where the peer says that it has not looked at the stream (REFUSED_STREAM, a GOAWAY
 * before it). What is told outside of the arrival of bytes waits for the loop's next turn.
 */

#include "base/mem.h"
#include "http/h2_upstream_impl.h"

#define INFORM_MAX 32          /* interim answers (1xx) to one request */
#define SEND_AT    (16 * 1024) /* flushed or not, so much of a body is sent */

/* ---- the end of calls ---- */

static void detach(struct h2_call *c)
{
    h2_conn_of(c->st)->pool->n_calls--;
    c->st->owner = NULL;
    c->call->h2 = NULL;
    strbuf_fini(&c->held);
    free(c);
}

static enum http_stage stage_of(const struct h2_call *c)
{
    const struct h2_stream *st = c->st;
    const struct h2_conn *conn = h2_conn_of(st);
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
    const char *text = h2_conn_of(c->st)->pool->text;
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
    h2_conn_of(st)->used = true;
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

void h2_call_fail_all(struct h2_conn *conn, const struct error *err)
{
    list_foreach_safe (node, &conn->session.streams) {
        struct h2_stream *st = LIST_ENTRY(node, struct h2_stream, link);
        if (st->owner != NULL) {
            fail(st->owner, err);
        }
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

const struct h2_events h2_call_session_events = {
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_sent = on_sent,
    .on_closed = on_stream_closed,
};

/* What a call is to be told now; it may be over or cancelled after each. */
void h2_call_tell(struct h2_stream *st)
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
    struct h2_conn *conn = h2_conn_take(pool, &why);
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
    h2_conn_mark(conn);
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
    h2_conn_push(h2_conn_of(st));
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
    h2_conn_push(h2_conn_of(call->h2->st));
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
        h2_conn_push(h2_conn_of(c->st));
    }
}

void h2_call_cut(struct http_call *call)
{
    struct h2_stream *st = call->h2->st;
    if (!st->ended) { /* on_closed tells the call */
        h2_stream_reset(st, NGHTTP2_CANCEL);
        h2_conn_push(h2_conn_of(st));
    }
}

bool h2_call_reached(const struct http_call *call)
{
    const struct h2_stream *st = call->h2->st;
    return h2_conn_of(st)->connected && st->head_sent;
}

void h2_call_cancel(struct http_call *call)
{
    struct h2_stream *st = call->h2->st;
    struct h2_conn *conn = h2_conn_of(st);
    detach(call->h2);
    if (st->closed) {
        h2_stream_due(st);
    } else {
        h2_stream_reset(st, NGHTTP2_CANCEL);
    }
    h2_conn_push(conn);
}

bool h2_call_sent(const struct http_call *call)
{
    return call->h2->st->sent;
}
