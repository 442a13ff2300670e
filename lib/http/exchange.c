// SPDX-License-Identifier: Apache-2.0
/*
 * One request with its answer, as a handler sees it.
 *
 * Request: body bytes are delivered while the exchange is resumed, else kept in `held`; with `keep`
 * they stay there after delivery, so that the request can be delivered once more. Answer: a head in
 * the gather buffer, then body bytes behind it, then the end, after which sconn_settle decides what
 * becomes of the connection.
 *
 * Failure: writes to a connection that is closing do nothing; on_close is under way. An answer
 * that is shorter or longer than its head said breaks the connection off, since the client could
 * not tell where the next one starts.
 */

#include "base/mem.h"
#include "http/h2.h"
#include "http/h2_server.h"

/* Such a rest of a request body is read away after an early answer; a larger one ends the
 * connection. */
#define READ_AWAY_MAX (64 * 1024)
#define IN_PLACE_MIN  (HTTP_READ_SIZE / 2) /* smaller pieces are copied: a whole block is kept */

/* ---- request ---- */

const struct http_head *http_exchange_request(const struct http_exchange *ex)
{
    return &ex->msg.head;
}

struct slice http_exchange_peer(const struct http_exchange *ex)
{
    struct sconn *conn = ex->conn;
    if (conn->peer[0] == '\0') {
        struct addr addr;
        char text[ADDR_TEXT_MAX] = "unix";
        if (stream_peer_addr(&conn->stream, &addr, NULL) == 0 && !addr_is_unix(&addr)) {
            addr_format_ip(&addr, text, sizeof(text));
        }
        snprintf(conn->peer, sizeof(conn->peer), "%.*s", (int)sizeof(conn->peer) - 1, text);
    }
    return slice_str(conn->peer);
}

bool http_exchange_is_tls(const struct http_exchange *ex)
{
    return stream_is_secure(&ex->conn->stream);
}

void http_exchange_listen(struct http_exchange *ex, const struct http_exchange_events *events,
                          void *arg)
{
    ex->events = events;
    ex->arg = arg;
}

void *http_exchange_arg(const struct http_exchange *ex)
{
    return ex->arg;
}

bool http_exchange_request_complete(const struct http_exchange *ex)
{
    return ex->complete;
}

const struct http_head *http_exchange_request_trailers(const struct http_exchange *ex)
{
    return ex->complete ? ex->trailers : NULL;
}

int http_exchange_status(const struct http_exchange *ex)
{
    return ex->status;
}

uint64_t http_exchange_begun_ns(const struct http_exchange *ex)
{
    return ex->begun_ns;
}

void http_exchange_set_note(struct http_exchange *ex, void *note)
{
    ex->note = note;
}

void *http_exchange_note(const struct http_exchange *ex)
{
    return ex->note;
}

uint64_t http_exchange_bytes_in(const struct http_exchange *ex)
{
    return ex->bytes_in;
}

uint64_t http_exchange_bytes_out(const struct http_exchange *ex)
{
    return ex->out.sent;
}

static void abort_exchange(struct http_exchange *ex)
{
    if (ex->h2 != NULL) {
        h2_exchange_abort(ex);
    } else {
        sconn_abort(ex->conn);
    }
}

static void settle(struct http_exchange *ex)
{
    if (ex->h2 != NULL) {
        h2_exchange_settle(ex);
    } else {
        sconn_settle(ex->conn);
    }
}

void exchange_let_go_first(struct http_exchange *ex)
{
    http_shared_let_go(ex->out.shared, ex->block);
    ex->block = NULL;
    ex->first = SLICE_EMPTY;
}

static void let_go(struct http_exchange *ex)
{
    exchange_let_go_first(ex);
    strbuf_fini(&ex->held);
    ex->held_pos = 0;
    ex->dropped = true;
}

/* The first bytes of a large body stay where they were read: no copy. Whether they do. */
static bool keep_in_place(struct http_exchange *ex, struct slice chunk)
{
    if (chunk.len < IN_PLACE_MIN || ex->bytes_in > chunk.len) {
        return false;
    }
    ex->block = http_shared_keep(ex->out.shared, chunk);
    ex->first = ex->block != NULL ? chunk : SLICE_EMPTY;
    return ex->block != NULL;
}

/* They are to be delivered once more: copied in front of what is held. */
static void copy_first(struct http_exchange *ex)
{
    struct strbuf all;
    if (ex->block == NULL) {
        return;
    }
    strbuf_init(&all, ex->held.max);
    strbuf_append_slice(&all, ex->first);
    strbuf_append_slice(&all, strbuf_slice(&ex->held));
    REQUIRE(strbuf_ok(&all)); /* max has room for hold and two reads */
    strbuf_fini(&ex->held);
    ex->held = all;
    exchange_let_go_first(ex);
}

static void deliver(struct http_exchange *ex, struct slice chunk)
{
    if (ex->events != NULL && ex->events->on_body != NULL) {
        ex->batch = true;
        ex->events->on_body(ex, chunk, ex->arg);
    }
}

void exchange_got_body(struct http_exchange *ex, struct slice chunk)
{
    ex->bytes_in += chunk.len;
    if (ex->ended && !ex->conn->tunnel) {
        return;
    }
    bool direct = ex->resumed && ex->held_pos == ex->held.len;
    bool store = !direct || (ex->keep && !ex->dropped);
    size_t hold = ex->conn->server->options.limits.hold_body_bytes;
    if (direct && store && keep_in_place(ex, chunk)) {
        deliver(ex, chunk);
        return;
    }
    bool too_much = ex->first.len + ex->held.len + chunk.len > hold;
    if (direct && store && too_much) {
        let_go(ex);
        store = false;
    }
    if (!direct && ex->first.len + ex->held_pos > 0 && too_much) {
        exchange_let_go_first(ex);
        strbuf_consume(&ex->held, ex->held_pos); /* no room to keep what was delivered */
        ex->held_pos = 0;
        ex->dropped = true;
    }
    if (store && strbuf_append_slice(&ex->held, chunk) < 0) {
        abort_exchange(ex); /* cannot be: reading stops before */
        return;
    }
    if (!direct) {
        return;
    }
    if (store) {
        ex->held_pos = ex->held.len;
    } else {
        ex->dropped = true;
    }
    deliver(ex, chunk);
}

static void deliver_end(struct http_exchange *ex)
{
    if (ex->complete && ex->resumed && !ex->end_delivered && ex->held_pos == ex->held.len) {
        ex->end_delivered = true;
        ex->batch = true;
        if (ex->events != NULL && ex->events->on_end != NULL) {
            ex->events->on_end(ex, ex->arg);
        }
    }
}

void exchange_got_end(struct http_exchange *ex)
{
    ex->complete = true;
    if (ex->msg.trailers != NULL && ex->msg.trailers->head.n_headers > 0) {
        ex->trailers = &ex->msg.trailers->head;
    }
    deliver_end(ex);
}

void exchange_flush_batch(struct http_exchange *ex)
{
    if (ex->batch) {
        ex->batch = false;
        if (ex->events != NULL && ex->events->on_flush != NULL) {
            ex->events->on_flush(ex, ex->arg);
        }
    }
}

static void send_continue(struct http_exchange *ex)
{
    ex->continue_due = false;
    if (ex->started || ex->bytes_in > 0 || ex->complete) {
        return;
    }
    if (ex->h2 != NULL) {
        h2_exchange_inform(ex, &(struct http_head){.status = 100});
    } else {
        strbuf_append_str(http_out_gather(&ex->out), "HTTP/1.1 100 Continue\r\n\r\n");
        http_out_flush(&ex->out);
    }
}

void http_exchange_resume(struct http_exchange *ex)
{
    struct sconn *conn = ex->conn;
    if (conn->closing || ex->resumed) {
        return;
    }
    bool was_in_feed = conn->in_feed;
    conn->in_feed = true; /* nothing that a callback does may end the exchange under us */
    ex->resumed = true;
    ex->batch = true; /* a head is to be passed on though its body is still to come */
    if (ex->continue_due) {
        send_continue(ex);
    }
    if (ex->held_pos < ex->held.len) {
        struct slice chunk = slice_sub(strbuf_slice(&ex->held), ex->held_pos, ex->held.len);
        ex->held_pos = ex->held.len;
        deliver(ex, chunk);
        if (!ex->keep || ex->dropped) {
            let_go(ex);
        }
    }
    deliver_end(ex);
    conn->in_feed = was_in_feed;
    if (conn->closing) {
        return;
    }
    if (ex->h2 != NULL) { /* others may be resumed inside; none ends before all have returned */
        exchange_flush_batch(ex);
        settle(ex);
    } else if (!was_in_feed) {
        conn->in_feed = true;
        exchange_flush_batch(ex);
        conn->in_feed = false;
        settle(ex);
    }
}

void http_exchange_pause(struct http_exchange *ex)
{
    ex->resumed = false;
    settle(ex);
}

void http_exchange_keep(struct http_exchange *ex, bool on)
{
    ex->keep = on;
    if (!on && ex->first.len + ex->held_pos > 0 && ex->held_pos == ex->held.len) {
        ex->dropped = true;
        exchange_let_go_first(ex);
        strbuf_clear(&ex->held);
        ex->held_pos = 0;
    }
}

size_t http_exchange_hold(const struct http_exchange *ex)
{
    return ex->conn->server->options.limits.hold_body_bytes;
}

int http_exchange_rewind(struct http_exchange *ex)
{
    ex->resumed = false;
    if (ex->dropped) {
        return ERR_TOO_BIG;
    }
    copy_first(ex);
    ex->held_pos = 0;
    ex->end_delivered = false;
    return 0;
}

/* ---- answer ---- */

static bool dead(const struct http_exchange *ex)
{
    return ex->conn->closing || (ex->h2 != NULL && h2_exchange_dead(ex));
}

static uint64_t body_left(const struct http_exchange *ex)
{
    const struct http_head *rq = &ex->msg.head;
    if (ex->complete || rq->body == HTTP_BODY_NONE) {
        return 0;
    }
    return rq->body == HTTP_BODY_LENGTH ? rq->content_length - ex->bytes_in : UINT64_MAX;
}

static bool must_close(const struct http_exchange *ex)
{
    const struct http_server *server = ex->conn->server;
    uint32_t max = server->options.limits.max_requests;
    if (!ex->keep_alive || server->draining || (max > 0 && ex->conn->requests >= max)) {
        return true;
    }
    return !ex->complete && (ex->continue_due || (!ex->resumed && body_left(ex) > READ_AWAY_MAX));
}

/* Sets how the body of this answer is framed; returns what Connection says. */
static enum h1_connection frame(struct http_exchange *ex, struct http_head *head)
{
    ex->no_body =
        ex->msg.head.method_id == HTTP_METHOD_HEAD || head->status == 204 || head->status == 304;
    if (head->status == 101 && ex->h2 == NULL) {
        ex->conn->tunnel = true;
        ex->close_after = true;
        return H1_UPGRADE;
    }
    if (!ex->no_body && head->body == HTTP_BODY_NONE && ex->h2 == NULL) {
        head->body = HTTP_BODY_LENGTH;
        head->content_length = 0;
    }
    if (!ex->no_body && head->body == HTTP_BODY_LENGTH) {
        ex->sized = true;
        ex->to_write = head->content_length;
    }
    if (!ex->no_body && head->body == HTTP_BODY_STREAM) {
        head->has_length = false;
        ex->out.chunked = ex->msg.head.version >= 11;
        ex->until_close = !ex->out.chunked;
    }
    ex->close_after = ex->until_close || must_close(ex);
    if (ex->close_after) {
        return H1_CLOSE;
    }
    return ex->msg.head.version < 11 ? H1_KEEP_SAY : H1_KEEP;
}

enum http_flow http_exchange_start(struct http_exchange *ex, const struct http_head *given)
{
    if (dead(ex) || ex->started) {
        return HTTP_GO;
    }
    ex->started = true;
    ex->status = (uint16_t)given->status;
    struct http_head head = *given;
    enum h1_connection conn = frame(ex, &head);
    if (ex->h2 != NULL) {
        h2_exchange_start(ex, &head);
        return HTTP_GO;
    }
    struct slice date = http_head_find_id(&head, HTTP_H_DATE) == NULL
                            ? http_shared_date(ex->out.shared)
                            : (struct slice){0};
    bool chunked = ex->out.chunked;
    if (!h1_write_response(http_out_gather(&ex->out), &head, conn, chunked, date)) {
        sconn_abort(ex->conn);
        return HTTP_GO;
    }
    if (ex->conn->tunnel) {
        http_out_flush(&ex->out);
        struct sconn *c = ex->conn;
        ex->complete = false;
        ex->resumed = false;
        ex->end_delivered = false;
        if (c->pending_len > 0) { /* sent before it saw the 101 */
            strbuf_append(&ex->held, c->pending, c->pending_len);
            free(c->pending);
            c->pending = NULL;
            c->pending_len = 0;
        }
    }
    return HTTP_GO;
}

void http_exchange_inform(struct http_exchange *ex, const struct http_head *head)
{
    if (dead(ex) || ex->started || ex->msg.head.version < 11) {
        return;
    }
    if (ex->h2 != NULL) {
        h2_exchange_inform(ex, head);
        return;
    }
    struct strbuf *gather = http_out_gather(&ex->out);
    if (h1_write_response(gather, head, H1_SAY_NOTHING, false, (struct slice){0})) {
        http_out_flush(&ex->out);
    }
}

/* After something was handed to the stream. */
static enum http_flow wrote(struct http_exchange *ex)
{
    struct sconn *conn = ex->conn;
    if (ex->out.failed && stream_is_open(&conn->stream)) {
        sconn_abort(conn);
        return HTTP_GO;
    }
    if (stream_queued_bytes(&conn->stream) > 0) {
        sconn_arm(conn, false);
    }
    if (http_out_flow(&ex->out) == HTTP_FULL) {
        ex->full = true;
        return HTTP_FULL;
    }
    return HTTP_GO;
}

enum http_flow http_exchange_write(struct http_exchange *ex, struct slice chunk)
{
    if (dead(ex) || !ex->started || ex->ended || ex->no_body) {
        return HTTP_GO;
    }
    if (ex->sized) {
        if (chunk.len > ex->to_write) {
            abort_exchange(ex);
            return HTTP_GO;
        }
        ex->to_write -= chunk.len;
    }
    if (ex->h2 != NULL) {
        return h2_exchange_write(ex, chunk);
    }
    http_out_write(&ex->out, chunk);
    return wrote(ex);
}

enum http_flow http_exchange_flush(struct http_exchange *ex)
{
    if (dead(ex)) {
        return HTTP_GO;
    }
    if (ex->h2 != NULL) {
        return h2_exchange_flush(ex);
    }
    http_out_flush(&ex->out);
    return wrote(ex);
}

void http_exchange_cork(struct http_exchange *ex)
{
    ex->out.corked = true;
}

void http_exchange_uncork(struct http_exchange *ex)
{
    ex->out.corked = false;
    http_exchange_flush(ex);
}

void http_exchange_trailers(struct http_exchange *ex, const struct http_head *trailers)
{
    if (dead(ex) || !ex->started || ex->ended) {
        return;
    }
    if (ex->h2 != NULL) {
        h2_stream_trailers(ex->h2, trailers);
    } else {
        http_out_trailers(&ex->out, trailers);
    }
}

void http_exchange_end(struct http_exchange *ex)
{
    struct sconn *conn = ex->conn;
    if (dead(ex) || ex->ended || !ex->started) {
        return;
    }
    if (ex->sized && ex->to_write > 0) {
        abort_exchange(ex);
        return;
    }
    ex->ended = true;
    ex->out.corked = false;
    if (ex->h2 != NULL) {
        h2_exchange_end(ex);
        return;
    }
    if (ex->out.chunked) {
        http_out_last_chunk(&ex->out);
    }
    http_out_flush(&ex->out);
    wrote(ex);
    if (conn->closing) {
        return;
    }
    if (conn->tunnel && stream_shutdown(&conn->stream, NULL, NULL) < 0) {
        sconn_close(conn);
        return;
    }
    if (!ex->complete && body_left(ex) > READ_AWAY_MAX) {
        ex->close_after = true;
    }
    sconn_settle(conn);
}

void http_exchange_respond_head(struct http_exchange *ex, const struct http_head *given,
                                struct slice body)
{
    struct http_head head = *given;
    bool may_have =
        head.status != 204 && head.status != 304; /* RFC 9110, 8.6: and no length then */
    head.body = may_have ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
    head.has_length = may_have;
    head.content_length = body.len;
    ex->out.corked = true;
    http_exchange_start(ex, &head);
    http_exchange_write(ex, body);
    http_exchange_end(ex);
}

void http_exchange_respond(struct http_exchange *ex, int status, const char *content_type,
                           struct slice body)
{
    struct http_header room[1];
    struct http_head head;
    http_head_init(&head, room, ARRAY_LEN(room));
    head.status = status;
    if (content_type != NULL &&
        http_head_add(&head, SLICE_LIT("Content-Type"), slice_str(content_type)) < 0) {
        return;
    }
    http_exchange_respond_head(ex, &head, body);
}

void http_exchange_cut(struct http_exchange *ex, struct slice text)
{
    if (dead(ex) || ex->ended) {
        return;
    }
    if (!ex->started || ex->conn->tunnel || ex->h2 != NULL || (ex->sized && ex->to_write > 0)) {
        abort_exchange(ex);
        return;
    }
    if (!ex->sized) {
        http_exchange_write(ex, text);
    }
    ex->close_after = true;
    http_exchange_end(ex);
}

bool http_exchange_started(const struct http_exchange *ex)
{
    return ex->started;
}

void http_exchange_abort(struct http_exchange *ex)
{
    abort_exchange(ex);
}

void exchange_drained(struct http_exchange *ex)
{
    if (ex->full && !ex->ended) {
        ex->full = false;
        if (ex->events != NULL && ex->events->on_writable != NULL) {
            ex->events->on_writable(ex, ex->arg);
        }
    }
}
