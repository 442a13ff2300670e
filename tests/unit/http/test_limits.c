// SPDX-License-Identifier: Apache-2.0
/* Every limit of a server connection and the answer when it is reached. Raw bytes in, raw bytes
 * out. */
#include "base/mem.h"
#include "base/strbuf.h"
#include "http/server.h"
#include "test.h"
#include "test_loop.h"

struct peer {
    struct stream stream;
    struct strbuf got;
    const char *text;
    char buf[4096];
    bool lazy; /* does not read */
    bool ended;
    bool closed;
};

struct fixture {
    struct loop *loop;
    struct http_server *server;
    struct http_exchange *held;
    unsigned requests;
    unsigned aborted;
    bool closed;
};

/* ---- server: /hold waits, /read takes the body and answers, /big sends for ever ---- */

static void on_body(struct http_exchange *ex, struct slice chunk, void *arg)
{
}

static void on_end(struct http_exchange *ex, void *arg)
{
    http_exchange_respond(ex, 200, NULL, SLICE_LIT("done"));
}

static void on_close(struct http_exchange *ex, enum http_close how, void *arg)
{
    struct fixture *f = arg;
    f->aborted += how == HTTP_CLOSE_ABORTED;
    if (f->held == ex) {
        f->held = NULL;
    }
}

static void fill(struct http_exchange *ex, void *arg)
{
    static const char zeros[8192];
    while (http_exchange_write(ex, slice_of(zeros, sizeof(zeros))) == HTTP_GO) {
    }
}

static const struct http_exchange_events events = {
    .on_body = on_body, .on_end = on_end, .on_writable = fill, .on_close = on_close};

static void on_request(struct http_exchange *ex, void *arg)
{
    struct fixture *f = arg;
    struct slice path = http_exchange_request(ex)->target;
    f->requests++;
    if (slice_eq_str(path, "/now")) { /* nobody listens: it is over before the turn is */
        http_exchange_respond(ex, 200, NULL, SLICE_LIT("ok"));
        return;
    }
    http_exchange_listen(ex, &events, f);
    if (slice_eq_str(path, "/read")) {
        http_exchange_resume(ex);
    } else if (slice_eq_str(path, "/hold")) {
        f->held = ex;
    } else if (slice_eq_str(path, "/big")) {
        struct http_head head;
        http_head_init(&head, NULL, 0);
        head.status = 200;
        head.body = HTTP_BODY_STREAM;
        http_exchange_start(ex, &head);
        fill(ex, f);
    } else {
        http_exchange_respond(ex, 200, NULL, SLICE_LIT("ok"));
    }
}

static void start(struct fixture *f, struct loop *loop, const struct http_limits *limits)
{
    struct error err;
    *f = (struct fixture){.loop = loop};
    f->server = http_server_new(
        loop, &(struct http_server_options){.limits = *limits, .on_request = on_request, .arg = f});
    ASSERT_OK(http_server_listen_text(f->server, "127.0.0.1:0", NULL, &err));
}

static void on_server_closed(void *arg)
{
    struct fixture *f = arg;
    f->closed = true;
}

static void stop(struct fixture *f)
{
    http_server_close(f->server, on_server_closed, f);
    LOOP_UNTIL(f->loop, f->closed);
}

/* ---- peer ---- */

static struct stream_buffer peer_buffer(struct stream *s)
{
    struct peer *p = s->data;
    return (struct stream_buffer){p->buf, sizeof(p->buf)};
}

static void peer_read(struct stream *s, char *bytes, size_t n)
{
    struct peer *p = s->data;
    strbuf_append(&p->got, bytes, n);
}

static void peer_end(struct stream *s)
{
    struct peer *p = s->data;
    p->ended = true;
}

static void peer_error(struct stream *s, const struct error *err)
{
    struct peer *p = s->data;
    p->ended = true;
}

static const struct stream_events peer_events = {
    .on_buffer = peer_buffer, .on_read = peer_read, .on_end = peer_end, .on_error = peer_error};

static void peer_connected(struct stream *s, const struct error *err)
{
    struct peer *p = s->data;
    assert_null(err);
    if (!p->lazy) {
        stream_read_start(s);
    }
    if (p->text[0] != '\0') {
        assert_int_equal(stream_write_bytes(s, p->text, strlen(p->text), NULL), 0);
    }
}

static void peer_start(struct peer *p, struct fixture *f, const char *text, bool lazy)
{
    struct addr addr;
    struct error err;
    *p = (struct peer){.text = text, .lazy = lazy};
    strbuf_init(&p->got, 1 << 20);
    stream_init(&p->stream, f->loop, &peer_events, p);
    ASSERT_OK(addr_from_ip(SLICE_LIT("127.0.0.1"), http_server_port(f->server), &addr, &err));
    ASSERT_OK(stream_connect(&p->stream, &addr, peer_connected, &err));
}

static void peer_closed(struct stream *s)
{
    struct peer *p = s->data;
    p->closed = true;
}

static void peer_stop(struct peer *p, struct fixture *f)
{
    stream_close(&p->stream, peer_closed);
    LOOP_UNTIL(f->loop, p->closed);
    strbuf_fini(&p->got);
}

/* Sends text; the server must end the connection after an answer that begins with `want`. */
static void expect_end(struct fixture *f, const char *text, const char *want)
{
    struct peer p;
    peer_start(&p, f, text, false);
    LOOP_UNTIL(f->loop, p.ended);
    if (want[0] == '\0') {
        assert_int_equal(p.got.len, 0);
    } else if (!slice_starts_with(strbuf_slice(&p.got), slice_str(want))) {
        fail_msg("got \"%s\", want \"%s\"", p.got.ptr, want);
    }
    peer_stop(&p, f);
    LOOP_UNTIL(f->loop, http_server_connections(f->server) == 0);
    assert_int_equal(http_server_active(f->server), 0);
}

/* ---- tests ---- */

#define HEAD " HTTP/1.1\r\nHost: a\r\n"

static void times(void **state)
{
    struct fixture f;
    struct http_limits l = http_limits_default();
    l.idle_ms = 20;
    l.head_ms = 20;
    l.body_ms = 20;
    start(&f, *state, &l);
    expect_end(&f, "", "");
    expect_end(&f, "GET / HT", "HTTP/1.1 408 ");
    expect_end(&f, "GET /" HEAD "\r\n", "HTTP/1.1 200 ");
    assert_int_equal(f.aborted, 0);
    expect_end(&f, "POST /read" HEAD "Content-Length: 5\r\n\r\nab", "HTTP/1.1 408 ");
    assert_int_equal(f.aborted, 1); /* the handler was told */
    expect_end(&f, "POST /read" HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
               "HTTP/1.1 408 ");
    stop(&f);
}

static void idle_begins_anew_with_each_answer(void **state)
{
    enum { IDLE_MS = 2000, EACH_MS = 300, FOR_MS = 2600 };
    static const char request[] = "GET /now" HEAD "\r\n";
    struct fixture f;
    struct peer p;
    struct http_limits l = http_limits_default();
    l.idle_ms = IDLE_MS;
    start(&f, *state, &l);
    peer_start(&p, &f, request, false);
    LOOP_UNTIL(f.loop, f.requests == 1);
    uint64_t end_ms = loop_now_ms(f.loop) + FOR_MS;
    while (loop_now_ms(f.loop) < end_ms) {
        uint64_t next_ms = loop_now_ms(f.loop) + EACH_MS;
        unsigned before = f.requests;
        LOOP_UNTIL(f.loop, loop_now_fresh_ns(f.loop) / 1000000 >= next_ms);
        assert_false(p.ended);
        assert_int_equal(stream_write_bytes(&p.stream, request, sizeof(request) - 1, NULL), 0);
        LOOP_UNTIL(f.loop, f.requests == before + 1);
    }
    peer_stop(&p, &f);
    stop(&f);
}

static void a_held_request_has_no_deadline(void **state)
{
    struct fixture f;
    struct peer p;
    struct http_limits l = http_limits_default();
    l.idle_ms = 10;
    l.head_ms = 10;
    l.body_ms = 10;
    start(&f, *state, &l);
    peer_start(&p, &f, "POST /hold" HEAD "Content-Length: 5\r\n\r\nab", false);
    LOOP_UNTIL(f.loop, f.held != NULL);
    uint64_t until = loop_now_ms(f.loop) + 60;
    LOOP_UNTIL(f.loop, loop_now_fresh_ns(f.loop) / 1000000 > until);
    assert_non_null(f.held);
    peer_stop(&p, &f);
    LOOP_UNTIL(f.loop, f.held == NULL); /* and the client's leaving is seen */
    stop(&f);
}

static void a_reader_that_stops(void **state)
{
    struct fixture f;
    struct peer p;
    struct http_limits l = http_limits_default();
    l.write_ms = 50;
    start(&f, *state, &l);
    peer_start(&p, &f, "GET /big" HEAD "\r\n", true);
    LOOP_UNTIL(f.loop, f.aborted == 1);
    peer_stop(&p, &f);
    stop(&f);
}

static void sizes(void **state)
{
    struct fixture f;
    struct http_limits l = http_limits_default();
    l.max_body_bytes = 4;
    l.max_requests = 2;
    start(&f, *state, &l);
    expect_end(&f, "POST /read" HEAD "Content-Length: 5\r\n\r\n", "HTTP/1.1 413 ");
    assert_int_equal(f.requests, 0);
    expect_end(&f, "POST /read" HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n",
               "HTTP/1.1 413 ");
    assert_int_equal(f.aborted, 1);
    expect_end(&f,
               "GET /" HEAD "\r\n"
               "GET /" HEAD "\r\n"
               "GET /" HEAD "\r\n",
               "HTTP/1.1 200 ");
    assert_int_equal(f.requests, 3); /* one of the 413s, two of the three */
    stop(&f);
}

static void connections(void **state)
{
    struct fixture f;
    struct peer p[2];
    struct http_limits l = http_limits_default();
    l.max_connections = 2;
    start(&f, *state, &l);
    for (size_t i = 0; i < ARRAY_LEN(p); i++) {
        peer_start(&p[i], &f, "", false);
    }
    LOOP_UNTIL(f.loop, http_server_connections(f.server) == 2);
    struct peer third;
    peer_start(&third, &f, "GET /" HEAD "\r\n", false);
    LOOP_UNTIL(f.loop, third.ended);
    assert_true(slice_starts_with(strbuf_slice(&third.got), SLICE_LIT("HTTP/1.1 503 ")));
    peer_stop(&third, &f);
    assert_int_equal(f.requests, 0);
    peer_stop(&p[0], &f);
    peer_stop(&p[1], &f);
    stop(&f);
}

/* What is held of a body nobody reads is bounded: the sender is held back. */
static void holds_a_bounded_body(void **state)
{
    struct fixture f;
    struct peer p;
    struct strbuf text;
    struct http_limits l = http_limits_default();
    strbuf_init(&text, 64 << 20);
    strbuf_appendf(&text, "POST /hold" HEAD "Content-Length: %d\r\n\r\n", 48 << 20);
    char *body = strbuf_reserve(&text, 48 << 20);
    assert_non_null(body);
    memset(body, 'x', 48 << 20);
    strbuf_commit(&text, 48 << 20);
    start(&f, *state, &l);
    peer_start(&p, &f, text.ptr, false);
    stream_set_queue_max(&p.stream, 64 << 20);
    LOOP_UNTIL(f.loop, f.held != NULL && http_exchange_bytes_in(f.held) >= l.hold_body_bytes);
    for (int i = 0; i < 50; i++) {
        loop_turn(f.loop, false);
    }
    assert_true(http_exchange_bytes_in(f.held) <= l.hold_body_bytes + 64 * 1024);
    http_exchange_resume(f.held);
    LOOP_UNTIL(f.loop, p.got.len > 0);
    assert_true(slice_starts_with(strbuf_slice(&p.got), SLICE_LIT("HTTP/1.1 200 ")));
    peer_stop(&p, &f);
    stop(&f);
    strbuf_fini(&text);
}

static void on_drained(void *arg)
{
    bool *drained = arg;
    *drained = true;
}

static void drains(void **state)
{
    struct fixture f;
    struct peer busy;
    struct peer idle;
    bool drained = false;
    struct http_limits l = http_limits_default();
    start(&f, *state, &l);
    peer_start(&busy, &f, "GET /hold" HEAD "\r\n", false);
    peer_start(&idle, &f, "GET /" HEAD "\r\n", false);
    LOOP_UNTIL(f.loop, f.held != NULL && idle.got.len > 0);
    http_server_drain(f.server, on_drained, &drained);
    LOOP_UNTIL(f.loop, idle.ended);
    assert_false(drained);
    http_exchange_respond(f.held, 200, NULL, SLICE_LIT("late"));
    LOOP_UNTIL(f.loop, busy.ended && drained);
    assert_non_null(strstr(busy.got.ptr, "Connection: close"));
    peer_stop(&busy, &f);
    peer_stop(&idle, &f);
    stop(&f);
}

/* What a client sends on a connection that was open before the drain began is still answered. */
static void a_drain_answers_what_was_on_its_way(void **state)
{
    static const char rq[] = "GET /" HEAD "\r\n";
    struct fixture f;
    struct peer fresh;
    struct peer kept;
    bool drained = false;
    struct http_limits l = http_limits_default();
    start(&f, *state, &l);
    peer_start(&fresh, &f, "", false);
    peer_start(&kept, &f, rq, false);
    LOOP_UNTIL(f.loop, kept.got.len > 0 && http_server_connections(f.server) == 2);
    strbuf_clear(&kept.got);
    http_server_drain(f.server, on_drained, &drained);
    assert_int_equal(stream_write_bytes(&fresh.stream, rq, strlen(rq), NULL), 0);
    assert_int_equal(stream_write_bytes(&kept.stream, rq, strlen(rq), NULL), 0);
    LOOP_UNTIL(f.loop, fresh.ended && kept.ended && drained);
    assert_int_equal(f.requests, 3);
    assert_non_null(strstr(fresh.got.ptr, "Connection: close"));
    assert_non_null(strstr(kept.got.ptr, "HTTP/1.1 200 "));
    peer_stop(&fresh, &f);
    peer_stop(&kept, &f);
    stop(&f);
}

#define T(name) cmocka_unit_test_setup_teardown(name, test_loop_setup, test_loop_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(times),
        T(idle_begins_anew_with_each_answer),
        T(a_held_request_has_no_deadline),
        T(a_reader_that_stops),
        T(sizes),
        T(connections),
        T(holds_a_bounded_body),
        T(drains),
        T(a_drain_answers_what_was_on_its_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
