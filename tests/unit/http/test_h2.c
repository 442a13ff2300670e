// SPDX-License-Identifier: Apache-2.0
/*
 * HTTP/2: our server against our pool, and our server against a client that sends frames byte by
 * byte or hostile ones. What is known of a handler's side: every exchange that was listened to is
 * closed exactly once, every call ends exactly once, and nothing is left.
 */
#include <nghttp2/nghttp2.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "http/server.h"
#include "http/upstream.h"
#include "test.h"
#include "test_loop.h"

#define FINE(call) assert_int_equal((call), 0)
#define PREFACE    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define FRAMES_MAX (1024 * 1024)

struct fixture {
    struct loop *loop;
    struct http_server *server;
    struct http_pool *pool;
    char addr[ADDR_TEXT_MAX];
    /* server */
    struct http_exchange *held; /* of /hold */
    struct http_exchange *wake; /* of /wake */
    unsigned requests;
    unsigned listened;
    unsigned closes;
    unsigned closed_how[3];
    unsigned writables;
    size_t taken; /* request body bytes that the handler got */
    size_t to_send;
    bool server_closed;
    bool pool_closed;
    /* client: one call of ours */
    struct http_call call;
    struct strbuf body;
    int status;
    int informs;
    unsigned ends;
    unsigned fails;
    unsigned call_writables;
    enum http_stage stage;
    char trailer[64];
    char header[64];
    uint64_t length;
    bool has_length;
    /* client: raw */
    struct stream raw;
    char buf[65536];
    struct strbuf got;
    bool raw_open;
    bool raw_ended;
};

/* ---- the handler ---- */

static void send_more(struct http_exchange *ex, struct fixture *f)
{
    static const char piece[4096] = "x";
    while (f->to_send > 0) {
        size_t n = f->to_send < sizeof(piece) ? f->to_send : sizeof(piece);
        f->to_send -= n;
        if (http_exchange_write(ex, slice_of(piece, n)) == HTTP_FULL) {
            return;
        }
    }
    http_exchange_end(ex);
}

static void on_body(struct http_exchange *ex, struct slice chunk, void *arg)
{
    struct fixture *f = arg;
    f->taken += chunk.len;
    if (http_exchange_started(ex)) {
        http_exchange_write(ex, chunk);
    }
}

static void on_end(struct http_exchange *ex, void *arg)
{
    struct fixture *f = arg;
    const struct http_head *trailers = http_exchange_request_trailers(ex);
    if (f->held != NULL && slice_eq(http_exchange_request(ex)->target, SLICE_LIT("/wake"))) {
        http_exchange_resume(f->held);
    }
    if (!http_exchange_started(ex)) {
        http_exchange_respond(ex, 200, "text/plain", SLICE_LIT("done"));
        return;
    }
    if (trailers != NULL) {
        http_exchange_trailers(ex, trailers);
    }
    http_exchange_end(ex);
}

static void on_writable(struct http_exchange *ex, void *arg)
{
    struct fixture *f = arg;
    f->writables++;
    send_more(ex, f);
}

static void on_close(struct http_exchange *ex, enum http_close how, void *arg)
{
    struct fixture *f = arg;
    f->closes++;
    f->closed_how[how]++;
    if (f->held == ex) {
        f->held = NULL;
    }
}

static const struct http_exchange_events exchange_events = {
    .on_body = on_body, .on_end = on_end, .on_writable = on_writable, .on_close = on_close};

static void on_request(struct http_exchange *ex, void *arg)
{
    struct fixture *f = arg;
    const struct http_head *rq = http_exchange_request(ex);
    struct http_header room[2];
    struct http_head head;
    f->requests++;
    http_head_init(&head, room, ARRAY_LEN(room));
    head.status = 200;
    head.body = HTTP_BODY_STREAM;
    if (slice_eq(rq->target, SLICE_LIT("/now"))) {
        http_exchange_respond(ex, 404, "text/plain", SLICE_LIT("no"));
        return;
    }
    f->listened++;
    http_exchange_listen(ex, &exchange_events, f);
    if (slice_eq(rq->target, SLICE_LIT("/hold"))) {
        f->held = ex;
    } else if (slice_eq(rq->target, SLICE_LIT("/wake"))) {
        f->wake = ex;
    } else if (slice_eq(rq->target, SLICE_LIT("/big"))) {
        http_exchange_start(ex, &head);
        send_more(ex, f);
    } else if (slice_eq(rq->target, SLICE_LIT("/abort"))) {
        http_exchange_start(ex, &head);
        http_exchange_write(ex, SLICE_LIT("half"));
        http_exchange_abort(ex);
    } else if (slice_eq(rq->target, SLICE_LIT("/echo"))) {
        head.status = 103;
        http_exchange_inform(ex, &head);
        head.status = 200;
        FINE(http_head_add(&head, SLICE_LIT("X-Was"), rq->authority));
        http_exchange_start(ex, &head);
        http_exchange_resume(ex);
    } else {
        http_exchange_resume(ex);
    }
}

/* ---- our own client ---- */

static void on_inform(struct http_call *call, const struct http_head *head, void *arg)
{
    struct fixture *f = arg;
    f->informs++;
}

static void on_head(struct http_call *call, const struct http_head *head, void *arg)
{
    struct fixture *f = arg;
    f->status = head->status;
    f->length = head->content_length;
    f->has_length = head->has_length;
    slice_copy(http_head_get(head, SLICE_LIT("x-was")), f->header, sizeof(f->header));
}

static void on_answer(struct http_call *call, struct slice chunk, void *arg)
{
    struct fixture *f = arg;
    FINE(strbuf_append_slice(&f->body, chunk));
}

static void on_trailers(struct http_call *call, const struct http_head *trailers, void *arg)
{
    struct fixture *f = arg;
    slice_copy(http_head_get(trailers, SLICE_LIT("grpc-status")), f->trailer, sizeof(f->trailer));
}

static void on_room(struct http_call *call, void *arg)
{
    struct fixture *f = arg;
    f->call_writables++;
}

static void on_answer_end(struct http_call *call, void *arg)
{
    struct fixture *f = arg;
    f->ends++;
}

static void on_fail(struct http_call *call, enum http_stage stage, const struct error *err,
                    void *arg)
{
    struct fixture *f = arg;
    f->fails++;
    f->stage = stage;
}

static const struct http_call_events call_events = {
    .on_inform = on_inform,
    .on_head = on_head,
    .on_body = on_answer,
    .on_trailers = on_trailers,
    .on_writable = on_room,
    .on_end = on_answer_end,
    .on_fail = on_fail,
};

static void start(struct fixture *f, struct loop *loop, struct http_limits limits)
{
    struct http_pool_options options = http_pool_options_default();
    *f = (struct fixture){.loop = loop};
    strbuf_init(&f->body, 16 * FRAMES_MAX);
    strbuf_init(&f->got, 16 * FRAMES_MAX);
    f->server = http_server_new(
        loop, &(struct http_server_options){
                  .limits = limits, .h2c = true, .on_request = on_request, .arg = f});
    FINE(http_server_listen_text(f->server, "127.0.0.1:0", NULL, NULL));
    snprintf(f->addr, sizeof(f->addr), "127.0.0.1:%u", http_server_port(f->server));
    options.h2c = true;
    FINE(http_pool_new(loop, f->addr, &options, &f->pool, NULL));
}

static void on_server_closed(void *arg)
{
    struct fixture *f = arg;
    f->server_closed = true;
}

static void on_pool_closed(void *arg)
{
    struct fixture *f = arg;
    f->pool_closed = true;
}

static void on_raw_closed(struct stream *s)
{
    struct fixture *f = s->data;
    f->raw_open = false;
}

static void stop(struct fixture *f)
{
    if (f->raw_open) {
        stream_close(&f->raw, on_raw_closed);
        LOOP_UNTIL(f->loop, !f->raw_open);
    }
    http_server_close(f->server, on_server_closed, f);
    http_pool_close(f->pool, on_pool_closed, f);
    LOOP_UNTIL(f->loop, f->server_closed && f->pool_closed);
    assert_int_equal(f->listened, f->closes);
    strbuf_fini(&f->body);
    strbuf_fini(&f->got);
}

/* A call with this head; trailers when asked for. */
static void ask(struct fixture *f, const char *method, const char *target, enum http_body_kind body)
{
    struct http_header room[4];
    struct http_head head;
    http_head_init(&head, room, ARRAY_LEN(room));
    head.method = slice_str(method);
    head.method_id = http_method_id(head.method);
    head.target = slice_str(target);
    head.authority = SLICE_LIT("a.example");
    head.body = body;
    head.takes_trailers = true;
    FINE(http_head_add(&head, SLICE_LIT("X-Ask"), SLICE_LIT("1")));
    FINE(http_call_start(f->pool, &f->call, &head, &call_events, f, NULL));
}

static void a_call_goes_round(void **state)
{
    struct fixture f;
    struct http_header room[2];
    struct http_head trailers;
    start(&f, *state, http_limits_default());
    ask(&f, "POST", "/echo", HTTP_BODY_STREAM);
    assert_int_equal(http_call_write(&f.call, SLICE_LIT("hello ")), HTTP_GO);
    http_call_flush(&f.call);
    LOOP_UNTIL(f.loop, f.body.len == 6);
    http_call_write(&f.call, SLICE_LIT("world"));
    http_head_init(&trailers, room, ARRAY_LEN(room));
    FINE(http_head_add(&trailers, SLICE_LIT("Grpc-Status"), SLICE_LIT("7")));
    FINE(http_head_add(&trailers, SLICE_LIT("Content-Length"), SLICE_LIT("7")));
    http_call_trailers(&f.call, &trailers);
    http_call_end(&f.call);
    LOOP_UNTIL(f.loop, f.ends + f.fails > 0);
    assert_int_equal(f.ends, 1);
    assert_int_equal(f.status, 200);
    assert_int_equal(f.informs, 1);
    assert_string_equal(f.body.ptr, "hello world");
    assert_string_equal(f.trailer, "7");
    assert_string_equal(f.header, "a.example");
    LOOP_UNTIL(f.loop, f.closes == 1);
    assert_int_equal(f.closed_how[HTTP_CLOSE_DONE], 1);

    ask(&f, "HEAD", "/end", HTTP_BODY_NONE); /* on the same connection */
    http_call_end(&f.call);
    LOOP_UNTIL(f.loop, f.ends == 2);
    assert_true(f.has_length && f.length == 4);
    assert_int_equal(http_server_connections(f.server), 1);
    stop(&f);
}

static void a_body_waits_for_who_takes_it(void **state)
{
    struct fixture f;
    static const char piece[8192] = "y";
    size_t sent = 0;
    start(&f, *state, http_limits_default());
    ask(&f, "POST", "/hold", HTTP_BODY_STREAM);
    while (http_call_write(&f.call, slice_of(piece, sizeof(piece))) == HTTP_GO) {
        sent += sizeof(piece);
        http_call_flush(&f.call);
        loop_turn(f.loop, false);
        assert_true(sent < FRAMES_MAX); /* else nobody stops it */
    }
    sent += sizeof(piece);
    LOOP_UNTIL(f.loop, f.held != NULL);
    assert_int_equal(f.taken, 0);
    http_exchange_resume(f.held);
    LOOP_UNTIL(f.loop, f.call_writables > 0);
    http_call_end(&f.call);
    LOOP_UNTIL(f.loop, f.ends == 1);
    assert_int_equal(f.taken, sent);

    f.to_send = 4 * FRAMES_MAX; /* and the other way: a client that does not read on */
    strbuf_clear(&f.body);
    ask(&f, "GET", "/big", HTTP_BODY_NONE);
    http_call_end(&f.call);
    http_call_pause(&f.call);
    for (int i = 0; i < 200; i++) {
        loop_turn(f.loop, false);
    }
    assert_int_equal(f.body.len, 0);
    assert_true(f.to_send > 3 * FRAMES_MAX);
    http_call_resume(&f.call);
    LOOP_UNTIL(f.loop, f.ends == 2);
    assert_int_equal(f.body.len, 4 * FRAMES_MAX);
    assert_true(f.writables > 0);
    stop(&f);
}

/* A place becomes free in the callback of one stream, for another one on the same connection. */
static void one_stream_may_wake_another(void **state)
{
    struct fixture f;
    struct http_call wake;
    static const char piece[8192] = "y";
    size_t sent = 0;
    struct http_head head = {.method = SLICE_LIT("GET"),
                             .method_id = HTTP_METHOD_GET,
                             .target = SLICE_LIT("/wake"),
                             .authority = SLICE_LIT("a")};
    start(&f, *state, http_limits_default());
    ask(&f, "POST", "/hold", HTTP_BODY_STREAM);
    while (http_call_write(&f.call, slice_of(piece, sizeof(piece))) == HTTP_GO) {
        sent += sizeof(piece);
        http_call_flush(&f.call);
        loop_turn(f.loop, false);
        assert_true(sent < FRAMES_MAX);
    }
    sent += sizeof(piece);
    http_call_end(&f.call);
    LOOP_UNTIL(f.loop, f.held != NULL);
    FINE(http_call_start(f.pool, &wake, &head, &call_events, &f, NULL));
    http_call_end(&wake);
    LOOP_UNTIL(f.loop, f.wake != NULL && http_exchange_request_complete(f.wake));
    http_exchange_resume(f.wake);
    LOOP_UNTIL(f.loop, f.ends == 2);
    assert_int_equal(f.taken, sent);
    assert_int_equal(http_server_connections(f.server), 1);
    stop(&f);
}

static void many_calls_share_a_connection(void **state)
{
    enum { CALLS = 250 };
    struct fixture f;
    struct http_call calls[CALLS];
    start(&f, *state, http_limits_default());
    for (int i = 0; i < CALLS; i++) {
        struct http_head head = {.method = SLICE_LIT("GET"),
                                 .method_id = HTTP_METHOD_GET,
                                 .target = SLICE_LIT("/end"),
                                 .authority = SLICE_LIT("a")};
        FINE(http_call_start(f.pool, &calls[i], &head, &call_events, &f, NULL));
        http_call_end(&calls[i]);
    }
    LOOP_UNTIL(f.loop, f.ends == CALLS);
    assert_int_equal(f.fails, 0);
    assert_true(http_server_connections(f.server) <= 4);
    stop(&f);
}

static void failures_say_how_far_it_came(void **state)
{
    struct fixture f;
    struct http_head upgrade = {.method = SLICE_LIT("GET"),
                                .target = SLICE_LIT("/"),
                                .authority = SLICE_LIT("a"),
                                .upgrade = SLICE_LIT("websocket")};
    struct error err;
    start(&f, *state, http_limits_default());
    ask(&f, "GET", "/abort", HTTP_BODY_NONE);
    http_call_end(&f.call);
    LOOP_UNTIL(f.loop, f.fails == 1);
    assert_true(f.stage == HTTP_STAGE_ANSWERED || f.stage == HTTP_STAGE_SENT);
    LOOP_UNTIL(f.loop, f.closes == 1);
    assert_int_equal(f.closed_how[HTTP_CLOSE_ABORTED], 1);

    assert_int_equal(http_call_start(f.pool, &f.call, &upgrade, &call_events, &f, &err),
                     ERR_UNSUPPORTED);

    ask(&f, "POST", "/hold", HTTP_BODY_STREAM); /* the client goes */
    http_call_flush(&f.call);
    LOOP_UNTIL(f.loop, f.held != NULL);
    http_call_cancel(&f.call);
    LOOP_UNTIL(f.loop, f.closes == 2);
    assert_int_equal(f.closed_how[HTTP_CLOSE_GONE], 1);

    ask(&f, "GET", "/hold", HTTP_BODY_NONE); /* drain: what runs comes to its end */
    http_call_end(&f.call);
    LOOP_UNTIL(f.loop, f.held != NULL);
    http_server_drain(f.server, NULL, NULL);
    for (int i = 0; i < 20; i++) {
        loop_turn(f.loop, false);
    }
    http_exchange_respond(f.held, 200, NULL, SLICE_LIT("late"));
    LOOP_UNTIL(f.loop, f.ends == 1);
    LOOP_UNTIL(f.loop, http_server_connections(f.server) == 0);
    ask(&f, "GET", "/end", HTTP_BODY_NONE); /* nobody listens any more */
    http_call_end(&f.call);
    LOOP_UNTIL(f.loop, f.fails == 2);
    assert_int_equal(f.stage, HTTP_STAGE_NOT_SENT);
    stop(&f);
}

/* Breaks one call off in turn n, in one of five ways; whatever it is, everything ends once. */
static bool break_at(struct loop *loop, int n, int how)
{
    struct fixture f;
    int turn = 0;
    start(&f, loop, http_limits_default());
    ask(&f, "POST", "/echo", HTTP_BODY_STREAM);
    http_call_write(&f.call, SLICE_LIT("some bytes"));
    http_call_flush(&f.call);
    bool cancelled = false;
    for (; turn < n && f.ends + f.fails == 0; turn++) {
        loop_turn(loop, false);
        if (turn == 3) {
            http_call_end(&f.call);
        }
    }
    bool reached = turn == n;
    bool over = f.ends + f.fails > 0;
    if (!over) {
        switch (how) {
        case 0:
            http_call_cancel(&f.call);
            cancelled = true;
            break;
        case 1:
            http_server_close(f.server, on_server_closed, &f);
            break;
        case 2:
            http_pool_close(f.pool, on_pool_closed, &f);
            break;
        default:
            http_call_cancel(&f.call);
            cancelled = true;
            ask(&f, "GET", "/end", HTTP_BODY_NONE);
            http_call_end(&f.call);
            LOOP_UNTIL(loop, f.ends + f.fails > 0);
            assert_int_equal(f.ends, 1);
            break;
        }
    }
    if (how != 1 || over) {
        http_server_close(f.server, on_server_closed, &f);
    }
    if (how != 2 || over) {
        http_pool_close(f.pool, on_pool_closed, &f);
    }
    LOOP_UNTIL(loop, f.server_closed && f.pool_closed);
    assert_int_equal(f.listened, f.closes);
    assert_int_equal(f.ends + f.fails, cancelled && how == 0 ? 0 : 1); /* each once */
    strbuf_fini(&f.body);
    strbuf_fini(&f.got);
    return reached;
}

static void it_may_end_at_every_step(void **state)
{
    for (int how = 0; how < 4; how++) {
        int n = 0;
        while (n < 60 && break_at(*state, n, how)) {
            n++;
        }
        assert_true(n > 4);
    }
}

/* ---- a client of raw frames ---- */

static struct stream_buffer raw_buffer(struct stream *s)
{
    struct fixture *f = s->data;
    return (struct stream_buffer){f->buf, sizeof(f->buf)};
}

static void raw_read(struct stream *s, char *bytes, size_t n)
{
    struct fixture *f = s->data;
    FINE(strbuf_append(&f->got, bytes, n));
}

static void raw_end(struct stream *s)
{
    struct fixture *f = s->data;
    f->raw_ended = true;
}

static void raw_error(struct stream *s, const struct error *err)
{
    struct fixture *f = s->data;
    f->raw_ended = true;
}

static const struct stream_events raw_events = {
    .on_buffer = raw_buffer, .on_read = raw_read, .on_end = raw_end, .on_error = raw_error};

static void on_raw_connect(struct stream *s, const struct error *err)
{
    struct fixture *f = s->data;
    assert_null(err);
    f->raw_open = true;
    stream_read_start(s);
}

static void raw_connect(struct fixture *f)
{
    struct addr addr;
    if (f->raw_open) {
        stream_close(&f->raw, on_raw_closed);
        LOOP_UNTIL(f->loop, !f->raw_open);
    }
    strbuf_clear(&f->got);
    f->raw_ended = false;
    FINE(addr_parse(slice_str(f->addr), &addr, NULL));
    stream_init(&f->raw, f->loop, &raw_events, f);
    stream_set_queue_max(&f->raw, 16 * FRAMES_MAX);
    FINE(stream_connect(&f->raw, &addr, on_raw_connect, NULL));
    LOOP_UNTIL(f->loop, f->raw_open);
}

static void frame(struct strbuf *out, uint8_t type, uint8_t flags, uint32_t id, struct slice body)
{
    uint8_t head[9] = {
        (uint8_t)(body.len >> 16), (uint8_t)(body.len >> 8), (uint8_t)body.len,  type,       flags,
        (uint8_t)(id >> 24),       (uint8_t)(id >> 16),      (uint8_t)(id >> 8), (uint8_t)id};
    FINE(strbuf_append(out, head, sizeof(head)));
    FINE(strbuf_append_slice(out, body));
}

/* A field as a literal that no table remembers. */
static void field(struct strbuf *out, const char *name, const char *value)
{
    size_t n = strlen(name);
    size_t v = strlen(value);
    assert_true(n < 127 && v < 16000);
    strbuf_append_char(out, 0);
    strbuf_append_char(out, (char)n);
    strbuf_append(out, name, n);
    if (v < 127) {
        strbuf_append_char(out, (char)v);
    } else {
        strbuf_append_char(out, 127);
        v -= 127;
        while (v >= 128) {
            strbuf_append_char(out, (char)(v % 128 + 128));
            v /= 128;
        }
        strbuf_append_char(out, (char)v);
    }
    strbuf_append_str(out, value);
}

static void head_begin(struct strbuf *block, const char *method, const char *path,
                       const char *authority)
{
    strbuf_init(block, FRAMES_MAX);
    field(block, ":method", method);
    field(block, ":scheme", "http");
    field(block, ":path", path);
    if (authority != NULL) {
        field(block, ":authority", authority);
    }
}

static void head_frame(struct strbuf *out, struct strbuf *block, uint8_t flags, uint32_t id)
{
    frame(out, NGHTTP2_HEADERS, flags | NGHTTP2_FLAG_END_HEADERS, id, strbuf_slice(block));
    strbuf_fini(block);
}

static void get(struct strbuf *out, uint32_t id, const char *path)
{
    struct strbuf block;
    head_begin(&block, "GET", path, "a.example");
    head_frame(out, &block, NGHTTP2_FLAG_END_STREAM, id);
}

static void preface(struct strbuf *out)
{
    strbuf_init(out, 16 * FRAMES_MAX);
    strbuf_append_str(out, PREFACE);
    frame(out, NGHTTP2_SETTINGS, 0, 0, SLICE_EMPTY);
}

/* Sends it and forgets it. */
static void raw_send(struct fixture *f, struct strbuf *out)
{
    (void)!stream_write_bytes(&f->raw, out->ptr, out->len, NULL);
    strbuf_fini(out);
}

/* The number of frames of this type (on this stream, unless UINT32_MAX) that came; *last is where
 * the last one's payload starts. */
static unsigned frames(const struct fixture *f, uint8_t type, uint32_t id, const uint8_t **last)
{
    const uint8_t *p = (const uint8_t *)f->got.ptr;
    const uint8_t *end = p + f->got.len;
    unsigned n = 0;
    while (end - p >= 9) {
        size_t len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
        uint32_t of = (uint32_t)p[5] << 24 | (uint32_t)p[6] << 16 | (uint32_t)p[7] << 8 | p[8];
        if ((size_t)(end - p) < 9 + len) {
            break;
        }
        if (p[3] == type && (id == UINT32_MAX || id == of)) {
            n++;
            if (last != NULL) {
                *last = p + 9;
            }
        }
        p += 9 + len;
    }
    return n;
}

/* The code of a GOAWAY that came, -1 without. */
static int64_t goaway(const struct fixture *f)
{
    const uint8_t *p;
    return frames(f, NGHTTP2_GOAWAY, 0, &p) == 0
               ? -1
               : (int64_t)((uint32_t)p[4] << 24 | (uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 |
                           p[7]);
}

/* Decodes the status of the answer on a stream; 0: none yet. */
static int status_on(const struct fixture *f, uint32_t id)
{
    nghttp2_hd_inflater *inflater;
    int status = 0;
    assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
    const uint8_t *p = (const uint8_t *)f->got.ptr;
    const uint8_t *end = p + f->got.len;
    while (end - p >= 9) {
        size_t len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
        uint32_t of = (uint32_t)p[7] << 8 | p[8];
        if ((size_t)(end - p) < 9 + len) {
            break;
        }
        const uint8_t *in = p + 9;
        size_t left = p[3] == NGHTTP2_HEADERS ? len : 0;
        while (left > 0) {
            nghttp2_nv nv;
            int flags = 0;
            ssize_t used = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, in, left, 1);
            assert_true(used >= 0);
            in += used;
            left -= (size_t)used;
            if ((flags & NGHTTP2_HD_INFLATE_EMIT) && nv.namelen == 7 && of == id &&
                memcmp(nv.name, ":status", 7) == 0 && status == 0) {
                status = (nv.value[0] - '0') * 100 + (nv.value[1] - '0') * 10 + (nv.value[2] - '0');
            }
            if (flags & NGHTTP2_HD_INFLATE_FINAL) {
                nghttp2_hd_inflate_end_headers(inflater);
                break;
            }
        }
        p += 9 + len;
    }
    nghttp2_hd_inflate_del(inflater);
    return status;
}

static void bytes_may_come_one_by_one(void **state)
{
    struct fixture f;
    struct strbuf out;
    struct strbuf block;
    start(&f, *state, http_limits_default());
    raw_connect(&f);
    preface(&out);
    get(&out, 1, "/now");
    head_begin(&block, "POST", "/end", "a.example");
    head_frame(&out, &block, 0, 3);
    frame(&out, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 3, SLICE_LIT("body"));
    for (size_t i = 0; i < out.len; i++) {
        FINE(stream_write_bytes(&f.raw, out.ptr + i, 1, NULL));
        loop_turn(f.loop, false);
        loop_turn(f.loop, false);
    }
    strbuf_fini(&out);
    LOOP_UNTIL(f.loop, status_on(&f, 1) != 0 && status_on(&f, 3) != 0);
    assert_int_equal(status_on(&f, 1), 404);
    assert_int_equal(status_on(&f, 3), 200);
    assert_int_equal(f.taken, 4);

    raw_connect(&f); /* begins as the preface does, and is none */
    FINE(stream_write_bytes(&f.raw, "P", 1, NULL));
    for (int i = 0; i < 10; i++) {
        loop_turn(f.loop, false);
    }
    static const char rest[] = "ROPFIND /now HTTP/1.1\r\nHost: a\r\n\r\n";
    FINE(stream_write_bytes(&f.raw, rest, sizeof(rest) - 1, NULL));
    LOOP_UNTIL(f.loop, strstr(f.got.ptr, "\r\n\r\nno") != NULL);
    assert_memory_equal(f.got.ptr, "HTTP/1.1 404 ", 13);
    stop(&f);
}

static void bad_heads_are_answered(void **state)
{
    static const struct {
        const char *method, *path, *authority, *name, *value;
        int status; /* 0: the stream is reset */
    } table[] = {
        {"GET", "/now", "a.example", "x-fine", "1", 404},
        {"GET", "/now", "a.example", "host", "a.example", 404},
        {"GET", "/now", "a.example", "host", "b.example", 400},
        {"GET", "/now", "a@b", "x-fine", "1", 400},
        {"GET", "/now", NULL, "x-fine", "1", 0},
        {"GET", "/now#x", "a.example", "x-fine", "1", 400},
        {"GET", "/no w", "a.example", "x-fine", "1", 0},
        {"GET", "now", "a.example", "x-fine", "1", 0},
        {"GET", "/now", "a.example", "connection", "close", 0},
        {"GET", "/now", "a.example", "transfer-encoding", "chunked", 0},
        {"GET", "/now", "a.example", "te", "gzip", 0},
        {"GET", "/now", "a.example", "te", "trailers", 404},
        {"GET", "/now", "a.example", "X-Upper", "1", 0},
        {"GET", "/now", "a.example", ":path", "/twice", 0},
        {"GET", "/now", "a.example", "x-line", "a\r\nb", 0},
        {"GET", "/now", "a.example", "content-length", "3", 0}, /* and no body */
        {"GET", "/now", "a.example", "expect", "wonders", 417},
    };
    struct fixture f;
    struct strbuf out;
    struct strbuf block;
    start(&f, *state, http_limits_default());
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        raw_connect(&f);
        preface(&out);
        head_begin(&block, table[i].method, table[i].path, table[i].authority);
        field(&block, table[i].name, table[i].value);
        head_frame(&out, &block, NGHTTP2_FLAG_END_STREAM, 1);
        get(&out, 3, "/now");
        raw_send(&f, &out);
        LOOP_UNTIL(f.loop, status_on(&f, 3) != 0); /* the other stream is not touched by it */
        if (status_on(&f, 1) != table[i].status) {
            fail_msg("row %zu: %d", i, status_on(&f, 1));
        }
        assert_int_equal(frames(&f, NGHTTP2_RST_STREAM, 1, NULL) > 0, table[i].status == 0);
    }
    raw_connect(&f);
    preface(&out);
    strbuf_init(&block, FRAMES_MAX);
    field(&block, ":method", "CONNECT");
    field(&block, ":authority", "a:1");
    head_frame(&out, &block, 0, 1);
    raw_send(&f, &out);
    LOOP_UNTIL(f.loop, status_on(&f, 1) != 0);
    assert_int_equal(status_on(&f, 1), 405);
    stop(&f);
}

static void heads_are_bounded(void **state)
{
    struct fixture f;
    struct strbuf out;
    struct strbuf block;
    char name[16];
    char value[8001];
    struct http_limits limits = http_limits_default();
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    start(&f, *state, limits);
    raw_connect(&f);
    preface(&out);
    head_begin(&block, "GET", "/now", "a"); /* too many fields */
    for (int i = 0; i < 101; i++) {
        snprintf(name, sizeof(name), "x-%d", i);
        field(&block, name, "1");
    }
    head_frame(&out, &block, NGHTTP2_FLAG_END_STREAM, 1);
    head_begin(&block, "GET", "/now", "a"); /* too large, over several frames */
    struct slice whole;
    for (int i = 0; i < 5; i++) {
        field(&block, "x-large", value);
    }
    whole = strbuf_slice(&block);
    frame(&out, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 3, slice_sub(whole, 0, 16000));
    frame(&out, NGHTTP2_CONTINUATION, 0, 3, slice_sub(whole, 16000, 16000));
    frame(&out, NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 3,
          slice_sub(whole, 32000, whole.len));
    strbuf_fini(&block);
    get(&out, 5, "/now");
    raw_send(&f, &out);
    LOOP_UNTIL(f.loop, status_on(&f, 5) != 0);
    assert_int_equal(status_on(&f, 1), 431);
    assert_int_equal(status_on(&f, 3), 431);
    assert_int_equal(status_on(&f, 5), 404);
    assert_int_equal(goaway(&f), -1);
    stop(&f);
}

/* ---- floods ---- */

static void more_settings(struct strbuf *out, uint32_t i)
{
    frame(out, NGHTTP2_SETTINGS, 0, 0, SLICE_LIT("\0\3\0\0\0\144"));
}

static void more_pings(struct strbuf *out, uint32_t i)
{
    frame(out, NGHTTP2_PING, 0, 0, SLICE_LIT("12345678"));
}

static void more_resets(struct strbuf *out, uint32_t i)
{
    get(out, 2 * i + 1, "/hold");
    frame(out, NGHTTP2_RST_STREAM, 0, 2 * i + 1, SLICE_LIT("\0\0\0\10"));
}

/* The client breaks a rule, so that it is us who reset. */
static void more_made_resets(struct strbuf *out, uint32_t i)
{
    get(out, 2 * i + 1, "/hold");
    frame(out, NGHTTP2_WINDOW_UPDATE, 0, 2 * i + 1, SLICE_LIT("\177\377\377\377"));
}

static void more_empty_data(struct strbuf *out, uint32_t i)
{
    struct strbuf block;
    if (i == 0) {
        head_begin(&block, "POST", "/hold", "a");
        head_frame(out, &block, 0, 1);
    }
    frame(out, NGHTTP2_DATA, 0, 1, SLICE_EMPTY);
}

static void more_windows(struct strbuf *out, uint32_t i)
{
    frame(out, NGHTTP2_WINDOW_UPDATE, 0, 0, SLICE_LIT("\0\0\0\1"));
}

static void more_priorities(struct strbuf *out, uint32_t i)
{
    frame(out, NGHTTP2_PRIORITY, 0, 2 * i + 1, SLICE_LIT("\0\0\0\0\20"));
}

static void more_continuations(struct strbuf *out, uint32_t i)
{
    struct strbuf block;
    if (i == 0) {
        head_begin(&block, "GET", "/hold", "a");
        frame(out, NGHTTP2_HEADERS, 0, 1, strbuf_slice(&block));
        strbuf_fini(&block);
        return;
    }
    frame(out, NGHTTP2_CONTINUATION, 0, 1, i % 2 == 0 ? SLICE_EMPTY : SLICE_LIT("\0\1a\1b"));
}

static void floods_end_the_connection(void **state)
{
    static void (*const floods[])(struct strbuf *, uint32_t) = {
        more_settings,   more_pings,   more_resets,     more_made_resets,
        more_empty_data, more_windows, more_priorities, more_continuations,
    };
    struct fixture f;
    struct strbuf out;
    start(&f, *state, http_limits_default());
    for (size_t k = 0; k < ARRAY_LEN(floods); k++) {
        raw_connect(&f);
        unsigned before = f.requests;
        preface(&out);
        for (uint32_t i = 0; i < 5000; i++) {
            floods[k](&out, i);
        }
        raw_send(&f, &out);
        LOOP_UNTIL(f.loop, f.raw_ended || goaway(&f) >= 0);
        if (goaway(&f) != NGHTTP2_ENHANCE_YOUR_CALM) {
            fail_msg("flood %zu: GOAWAY %lld", k, (long long)goaway(&f));
        }
        assert_true(f.requests - before < 1500);
        LOOP_UNTIL(f.loop, f.raw_ended);
        LOOP_UNTIL(f.loop, f.listened == f.closes);
        assert_int_equal(http_server_active(f.server), 0);
    }
    raw_connect(&f); /* others are served as before */
    preface(&out);
    get(&out, 1, "/now");
    raw_send(&f, &out);
    LOOP_UNTIL(f.loop, status_on(&f, 1) == 404);
    stop(&f);
}

static void streams_are_bounded(void **state)
{
    struct fixture f;
    struct strbuf out;
    start(&f, *state, http_limits_default());
    raw_connect(&f);
    preface(&out);
    for (uint32_t i = 0; i < 150; i++) {
        get(&out, 2 * i + 1, "/hold");
    }
    raw_send(&f, &out);
    LOOP_UNTIL(f.loop, frames(&f, NGHTTP2_RST_STREAM, UINT32_MAX, NULL) == 50 || f.raw_ended);
    assert_int_equal(f.requests, 100);
    stop(&f);
}

static void slow_streams_are_given_up(void **state)
{
    struct fixture f;
    struct strbuf out;
    struct strbuf block;
    struct http_limits limits = http_limits_default();
    limits.body_ms = 50;
    limits.write_ms = 50;
    start(&f, *state, limits);
    raw_connect(&f);
    preface(&out);
    head_begin(&block, "POST", "/end", "a"); /* a body that does not come */
    head_frame(&out, &block, 0, 1);
    f.to_send = FRAMES_MAX;
    get(&out, 3, "/big"); /* an answer that is not taken: the windows are never opened */
    raw_send(&f, &out);
    LOOP_UNTIL(f.loop, status_on(&f, 1) == 408 && frames(&f, NGHTTP2_RST_STREAM, 3, NULL) == 1);
    LOOP_UNTIL(f.loop, f.closes == 2);
    assert_int_equal(f.closed_how[HTTP_CLOSE_ABORTED], 2);
    stop(&f);
}

int main(void)
{
#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, test_loop_setup, test_loop_teardown)
    const struct CMUnitTest tests[] = {
        LOOP_TEST(a_call_goes_round),
        LOOP_TEST(a_body_waits_for_who_takes_it),
        LOOP_TEST(one_stream_may_wake_another),
        LOOP_TEST(many_calls_share_a_connection),
        LOOP_TEST(failures_say_how_far_it_came),
        LOOP_TEST(it_may_end_at_every_step),
        LOOP_TEST(bytes_may_come_one_by_one),
        LOOP_TEST(bad_heads_are_answered),
        LOOP_TEST(heads_are_bounded),
        LOOP_TEST(floods_end_the_connection),
        LOOP_TEST(streams_are_bounded),
        LOOP_TEST(slow_streams_are_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
