// SPDX-License-Identifier: Apache-2.0
/*
 * Upstream pool: connections to one address, kept alive between calls, last used first.
 *
 * Happy path: http_call_start takes an idle connection (or opens one and gathers bytes until it is
 * there), the answer's parser drives the call's events, and the connection goes back to the idle
 * list when request and answer are both complete and both sides allow it.
 *
 * Failure: the call learns the stage. A connection is never reused after anything odd: bytes behind
 * the answer, an answer before the request was sent, a cancelled call.
 */

#include "http/upstream.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "loop/deadline.h"
#include "http/h1.h"
#include "http/h2_upstream.h"
#include "http/shared.h"

#define INFORM_MAX    32  /* interim answers (1xx) to one request */
#define PROBE_IDLE_MS 100 /* a connection that was idle longer is looked at before it is used */

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

static void fail(struct http_conn *conn, const struct error *err);

static void on_closed(struct stream *s)
{
    struct http_conn *conn = s->data;
    if (conn->call != NULL) { /* the pool closes, or the producer did not heed HTTP_FULL */
        struct error err;
        error_set(&err, conn->pool->closing ? ERR_CANCELED : ERR_OVERLOAD,
                  conn->pool->closing ? "the connections to %s are being closed"
                                      : "%s does not take the request's bytes",
                  conn->pool->text);
        fail(conn, &err);
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

static void close_conn(struct http_conn *conn)
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
static void fail(struct http_conn *conn, const struct error *err)
{
    struct http_call *call = conn->call;
    enum http_stage stage = stage_of(conn);
    conn->call = NULL;
    close_conn(conn);
    if (call != NULL) {
        call->conn = NULL;
        call->events->on_fail(call, stage, err, call->arg);
    }
}

static void to_idle(struct http_conn *conn)
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
        close_conn(LIST_ENTRY(list_last(&pool->idle), struct http_conn, link));
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
        to_idle(conn);
    } else {
        close_conn(conn);
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

static const struct h1_events parser_events = {.on_head = on_head, .on_body = on_body};

static void bad_answer(struct http_conn *conn)
{
    struct error err;
    error_set(&err, ERR_PROTOCOL, "%s sent a bad answer: %s", conn->pool->text,
              conn->parser.bad_text);
    fail(conn, &err);
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
    return (struct stream_buffer){conn->pool->shared->read_buf, HTTP_READ_SIZE};
}

static void on_read(struct stream *s, char *bytes, size_t n)
{
    struct http_conn *conn = s->data;
    if (conn->call == NULL) {
        close_conn(conn); /* nobody asked for these bytes */
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
        close_conn(conn);
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
    fail(conn, &err);
}

static void on_drain(struct stream *s)
{
    struct http_conn *conn = s->data;
    struct http_call *call = conn->call;
    if (call != NULL && conn->full) {
        conn->full = false;
        if (call->events->on_writable != NULL) {
            call->events->on_writable(call, call->arg);
        }
    }
}

/*
 * The connection broke while we were still writing: the peer may have answered before it closed.
 * Takes what the kernel still has of an answer; true: the call is over.
 */
static bool take_early_answer(struct http_conn *conn)
{
    bool retried = false;
    while (conn->call != NULL && conn->connected && !conn->tunnel && !conn->closing) {
        char *buf = conn->pool->shared->read_buf;
        ssize_t n = recv(stream_fd(&conn->stream), buf, HTTP_READ_SIZE, MSG_DONTWAIT);
        if (n > 0) {
            input(conn, buf, (size_t)n);
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
    fail(conn, &err);
}

static const struct stream_events conn_events = {
    .on_buffer = on_buffer,
    .on_read = on_read,
    .on_end = on_end,
    .on_drain = on_drain,
    .on_error = on_error,
};

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
        fail(conn, &err);
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
        on_drain(s);
    }
}

static void on_connect_late(struct deadline *deadline, void *data)
{
    struct http_conn *conn = CONTAINER_OF(deadline, struct http_conn, deadline);
    struct error err;
    error_set(&err, ERR_TIMEOUT, "%s: no connection within %u ms", conn->pool->text,
              conn->pool->options.connect_ms);
    fail(conn, &err);
}

static void on_idle_late(struct deadline *deadline, void *data)
{
    close_conn(CONTAINER_OF(deadline, struct http_conn, deadline));
}

static struct http_conn *open_conn(struct http_pool *pool, struct error *err)
{
    const struct http_limits *limits = &pool->options.limits;
    struct http_conn *conn = NEW(struct http_conn);
    conn->pool = pool;
    stream_init(&conn->stream, pool->loop, &conn_events, conn);
    deadline_init(&conn->deadline);
    list_init(&conn->link);
    h1_message_init(&conn->msg);
    h1_parser_init(&conn->parser, HTTP_RESPONSE, limits, &parser_events, conn);
    conn->parser.msg = &conn->msg;
    strbuf_init(&conn->early, (size_t)limits->out_high_bytes + 1024 * 1024);
    pool->open_handles++;
    int rc = stream_connect(&conn->stream, &pool->addr, on_connect, err);
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

static struct http_conn *take_idle(struct http_pool *pool)
{
    struct list *node;
    while ((node = list_first(&pool->idle)) != NULL) {
        struct http_conn *conn = LIST_ENTRY(node, struct http_conn, link);
        if (!stream_is_open(&conn->stream) || is_stale(conn)) {
            close_conn(conn);
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
    struct http_conn *conn = take_idle(pool);
    if (conn == NULL && o->max_connections > 0 && pool->n_busy >= o->max_connections) {
        return error_set(err, ERR_OVERLOAD, "%zu connections to %s are all in use", pool->n_busy,
                         pool->text);
    }
    if (conn == NULL && (conn = open_conn(pool, err)) == NULL) {
        return err == NULL || err->code == 0 ? ERR_IO : (int)err->code;
    }
    conn->upgrading = head->upgrade.len > 0;
    conn->head_method = head->method_id == HTTP_METHOD_HEAD;
    conn->out.chunked = head->body == HTTP_BODY_STREAM;
    conn->out.corked = true; /* until flush, so that head and body start go together */
    enum h1_connection say = conn->upgrading ? H1_UPGRADE : o->max_idle == 0 ? H1_CLOSE : H1_KEEP;
    if (!h1_write_request(http_out_gather(&conn->out), head, say)) {
        close_conn(conn);
        return error_set(err, ERR_TOO_BIG, "the request head for %s is too large", pool->text);
    }
    conn->call = call;
    *call = (struct http_call){.conn = conn, .events = events, .arg = arg};
    return 0;
}

static enum http_flow wrote(struct http_conn *conn)
{
    if (conn->out.failed && (!conn->connected || stream_is_open(&conn->stream))) {
        close_conn(conn); /* on_closed tells the call */
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
        close_conn(conn);
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
        close_conn(LIST_ENTRY(node, struct http_conn, link));
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
        close_conn(LIST_ENTRY(node, struct http_conn, link));
    }
}
