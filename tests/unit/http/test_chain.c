// SPDX-License-Identifier: Apache-2.0
/* Client → server → forwarder → pool → server: whole, with a fault at every call, closed at every
 * turn; at once, held for a while, and in a drain. */
#include "base/mem.h"
#include "chain.h"
#include "fault.h"
#include "test.h"
#include "test_loop.h"

#define BODY (3u << 20)

/* A request with a body of n bytes, chunked, that closes the connection. */
static char *big_request(size_t n, size_t *out_len)
{
    struct strbuf s;
    strbuf_init(&s, n + 4096);
    strbuf_appendf(&s,
                   "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n%zx\r\n",
                   n);
    char *body = strbuf_reserve(&s, n);
    assert_non_null(body);
    for (size_t i = 0; i < n; i++) {
        body[i] = (char)('a' + i % 26);
    }
    strbuf_commit(&s, n);
    strbuf_append_str(&s, "\r\n0\r\n\r\n");
    return strbuf_take(&s, out_len);
}

static void finish(struct chain *c)
{
    chain_close(c);
    LOOP_UNTIL(c->loop, chain_closed(c));
    assert_int_equal(c->forwards, c->dones);
    chain_fini(c);
}

/* The body bytes of a chunked answer. */
static size_t body_size(struct slice text)
{
    size_t total = 0;
    struct slice head_end = SLICE_LIT("\r\n\r\n");
    const char *p = memmem(text.ptr, text.len, head_end.ptr, head_end.len);
    assert_non_null(p);
    p += 4;
    for (;;) {
        char *end;
        unsigned long n = strtoul(p, &end, 16);
        if (n == 0) {
            return total;
        }
        total += n;
        p = end + 2 + n + 2;
        assert_true(p < text.ptr + text.len);
    }
}

static void whole(void **state)
{
    struct chain c;
    size_t len;
    CLEANUP(cleanup_free) char *text = big_request(BODY, &len);
    assert_true(chain_start(&c, *state, slice_of(text, len)));
    LOOP_UNTIL(c.loop, c.client_done);
    assert_true(slice_starts_with(strbuf_slice(&c.answer), SLICE_LIT("HTTP/1.1 200 OK\r\n")));
    assert_int_equal(body_size(strbuf_slice(&c.answer)), BODY);
    assert_int_equal(c.requests, 1);
    finish(&c);
}

static void pipelined(void **state)
{
    struct chain c;
    struct strbuf s;
    strbuf_init(&s, 1 << 20);
    for (int i = 0; i < 500; i++) {
        strbuf_appendf(&s, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n%s\r\nabc",
                       i == 499 ? "Connection: close\r\n" : "");
    }
    assert_true(chain_start(&c, *state, strbuf_slice(&s)));
    LOOP_UNTIL(c.loop, c.client_done);
    assert_int_equal(c.requests, 500);
    assert_int_equal(c.dones, 500);
    finish(&c);
    strbuf_fini(&s);
}

static void leave(struct chain *c)
{
    stream_reset(&c->client, NULL);
    c->client_open = false;
    c->open--;
}

/* How a request is treated while it is broken. */
enum how { AT_ONCE, HELD, DRAINING };

static bool start(struct chain *c, struct loop *loop, struct slice text, enum how how)
{
    bool started = chain_start(c, loop, text);
    c->hold = how == HELD;
    return started;
}

/* Between two turns. Whether the client has all that it will get. */
static bool over(struct chain *c, enum how how)
{
    chain_release(c);
    if (how == DRAINING && c->forwards > 0) {
        chain_drain(c);
    }
    return c->client_done;
}

/* The same, and nothing is held any longer: what comes next may be waited for. */
static bool over_soon(struct chain *c, enum how how)
{
    while (c->held != NULL) {
        chain_release(c);
    }
    return over(c, how);
}

/* Whatever call fails: it ends, on_done comes once per forward, nothing stays open. */
static void fault_at_every_call(struct loop *loop, enum how how)
{
    static const int codes[] = {UV_ECONNRESET, UV_ENOBUFS};
    size_t len;
    CLEANUP(cleanup_free) char *text = big_request(200000, &len);
    for (size_t k = 0; k < ARRAY_LEN(codes); k++) {
        bool fired = true;
        for (unsigned n = 1; fired; n++) {
            struct chain c;
            fault_arm(n, codes[k]);
            if (start(&c, loop, slice_of(text, len), how)) {
                LOOP_UNTIL(c.loop, over_soon(&c, how));
                leave(&c); /* else a refused one is let talk for two seconds */
                LOOP_UNTIL(c.loop, !c.draining || c.drained);
            }
            fired = fault_disarm();
            if (!fired) {
                assert_int_equal(body_size(strbuf_slice(&c.answer)), 200000);
            }
            finish(&c);
        }
    }
}

static void close_at_every_turn(struct loop *loop, enum how how)
{
    size_t len;
    bool done = false;
    CLEANUP(cleanup_free) char *text = big_request(200000, &len);
    for (unsigned n = 0; !done; n++) {
        struct chain c;
        assert_true(start(&c, loop, slice_of(text, len), how));
        for (unsigned i = 0; i < n && !over(&c, how); i++) {
            loop_turn(c.loop, c.held == NULL);
        }
        done = c.client_done;
        finish(&c);
    }
}

/* The client leaves at every turn; the servers stay and take the next one, or have drained. */
static void client_leaves_at_every_turn(struct loop *loop, enum how how)
{
    size_t len;
    bool done = false;
    CLEANUP(cleanup_free) char *text = big_request(200000, &len);
    for (unsigned n = 0; !done; n++) {
        struct chain c;
        assert_true(start(&c, loop, slice_of(text, len), how));
        for (unsigned i = 0; i < n && !over(&c, how); i++) {
            loop_turn(c.loop, c.held == NULL);
        }
        done = c.client_done;
        leave(&c);
        LOOP_UNTIL(c.loop, http_server_connections(c.front) == 0 && c.forwards == c.dones);
        LOOP_UNTIL(c.loop, http_server_active(c.front) == 0 && (!c.draining || c.drained));
        assert_null(c.held);
        finish(&c);
        while (loop_turn(c.loop, false)) {
        }
    }
}

/* Whenever the drain begins: a client that has connected gets its whole answer. */
static void drains_at_every_turn(struct loop *loop, enum how how)
{
    size_t len;
    bool done = false;
    CLEANUP(cleanup_free) char *text = big_request(200000, &len);
    for (unsigned n = 0; !done; n++) {
        struct chain c;
        assert_true(start(&c, loop, slice_of(text, len), how));
        for (unsigned i = 0; i < n && !over(&c, how); i++) {
            loop_turn(c.loop, c.held == NULL);
        }
        done = c.client_done;
        chain_drain(&c);
        LOOP_UNTIL(c.loop, over_soon(&c, how) && c.drained);
        assert_int_equal(body_size(strbuf_slice(&c.answer)), 200000);
        assert_int_equal(c.requests, 1);
        finish(&c);
    }
}

#define ROW(scenario, how)                     \
    static void scenario##_##how(void **state) \
    {                                          \
        scenario(*state, how);                 \
    }
ROW(fault_at_every_call, AT_ONCE)
ROW(fault_at_every_call, HELD)
ROW(fault_at_every_call, DRAINING)
ROW(close_at_every_turn, AT_ONCE)
ROW(close_at_every_turn, HELD)
ROW(close_at_every_turn, DRAINING)
ROW(client_leaves_at_every_turn, AT_ONCE)
ROW(client_leaves_at_every_turn, HELD)
ROW(client_leaves_at_every_turn, DRAINING)
ROW(drains_at_every_turn, AT_ONCE)
ROW(drains_at_every_turn, HELD)

#define T(name) cmocka_unit_test_setup_teardown(name, test_loop_setup, test_loop_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(whole),
        T(pipelined),
        T(fault_at_every_call_AT_ONCE),
        T(fault_at_every_call_HELD),
        T(fault_at_every_call_DRAINING),
        T(close_at_every_turn_AT_ONCE),
        T(close_at_every_turn_HELD),
        T(close_at_every_turn_DRAINING),
        T(client_leaves_at_every_turn_AT_ONCE),
        T(client_leaves_at_every_turn_HELD),
        T(client_leaves_at_every_turn_DRAINING),
        T(drains_at_every_turn_AT_ONCE),
        T(drains_at_every_turn_HELD),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
