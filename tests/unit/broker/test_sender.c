// SPDX-License-Identifier: Apache-2.0
/* A sink whose name begins to mean an address that may not be called, while a call is under way. */
#include "base/mem.h"
#include "loop/listener.h"
#include "loop/stream.h"
#include "broker/sender.h"
#include "test.h"
#include "test_loop.h"

#define MINUTE_NS 60000000000ull

/* Time passes when a test says so. */
static uint64_t ahead_ns;
uint64_t __real_loop_now_fresh_ns(struct loop *loop);
uint64_t __wrap_loop_now_fresh_ns(struct loop *loop);
uint64_t __wrap_loop_now_fresh_ns(struct loop *loop)
{
    loop->now_ns = __real_loop_now_fresh_ns(loop) + ahead_ns;
    return loop->now_ns;
}

static void pass(struct loop *loop, uint64_t ns)
{
    ahead_ns += ns;
    loop->now_ns = 0;
}

/* Answers the first request of a connection; the others wait. */
struct sink {
    struct listener listener;
    struct stream peer;
    char buffer[4096];
    unsigned requests;
    bool open;
    bool listener_closed;
};

static void on_peer_closed(struct stream *s)
{
    ((struct sink *)s->data)->open = false;
}

static struct stream_buffer on_buffer(struct stream *s)
{
    struct sink *k = s->data;
    return (struct stream_buffer){k->buffer, sizeof(k->buffer)};
}

static void on_read(struct stream *s, char *bytes, size_t n)
{
    static const char answer[] = "HTTP/1.1 204 No Content\r\n\r\n";
    struct sink *k = s->data;
    struct error err = {0};
    if (n >= 4 && memcmp(bytes, "POST", 4) == 0 && k->requests++ == 0) {
        ASSERT_OK(stream_write_bytes(s, answer, sizeof(answer) - 1, &err));
    }
}

static void on_end(struct stream *s)
{
    stream_close(s, on_peer_closed);
}

static void on_error(struct stream *s, const struct error *err)
{
    stream_close(s, on_peer_closed);
}

static const struct stream_events events = {
    .on_buffer = on_buffer, .on_read = on_read, .on_end = on_end, .on_error = on_error};

static void on_connection(struct listener *l)
{
    struct sink *k = l->data;
    struct error err = {0};
    ASSERT_OK(listener_accept(l, &k->peer, &events, k, &err));
    k->open = true;
    stream_read_start(&k->peer);
}

static void on_listener_closed(struct listener *l)
{
    ((struct sink *)l->data)->listener_closed = true;
}

struct call {
    struct send send;
    bool over;
    int status;
};

static void on_answer(struct send *s, const struct send_answer *answer)
{
    struct call *call = CONTAINER_OF(s, struct call, send);
    call->over = true;
    call->status = answer->status;
}

static void call_sink(struct sender *s, struct call *call, const char *url, const struct event *ev)
{
    struct error err = {0};
    struct send_message message = {.ns = "default", .event = ev};
    ASSERT_OK(target_parse(slice_str(url), &message.target, &err));
    ASSERT_OK(send_start(s, &call->send, &message, on_answer, &err));
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void an_address_that_may_not_be_called_any_more(void **state)
{
    struct loop *loop = *state;
    struct sink sink = {.requests = 0};
    struct call first = {0}, held = {0};
    struct sender sender;
    struct event ev;
    struct addr addr;
    struct error err = {0};
    char url[64];
    bool closed = false;
    ahead_ns = 0;
    event_init(&ev);
    ASSERT_OK(event_set(&ev, SLICE_LIT("id"), SLICE_LIT("1"), &err));
    ASSERT_OK(addr_parse(SLICE_LIT("127.0.0.1:0"), &addr, &err));
    ASSERT_OK(listener_start(&sink.listener, loop, &addr, NULL, on_connection, &sink, &err));
    snprintf(url, sizeof(url), "http://localhost:%u/", addr_port(listener_addr(&sink.listener)));
    sender_init(
        &sender, loop,
        &(struct sender_options){
            .gateway = "", .rules = TARGET_LOOPBACK_OK, .reply_max = 1000, .event_max = 1000});
    call_sink(&sender, &first, url, &ev);
    LOOP_UNTIL(loop, first.over);
    assert_int_equal(first.status, 204);

    /* The next call finds that the address is old: it goes there, and the name is looked up. */
    sender.options.rules = 0;
    pass(loop, MINUTE_NS);
    call_sink(&sender, &held, url, &ev);
    LOOP_UNTIL(loop, sink.requests == 2 && sender.refused == 1);
    assert_false(held.over);

    /* Nobody calls that sink for a long time: it is not forgotten while a call names it. */
    pass(loop, 10 * MINUTE_NS);
    sender_tidy(&sender);
    assert_int_equal(map_len(&sender.peers), 1);
    stream_close(&sink.peer,
                 on_peer_closed); /* a kept connection ends: it has no pool to try again in */
    LOOP_UNTIL(loop, held.over);
    assert_int_equal(held.status, 0);

    pass(loop, 10 * MINUTE_NS);
    sender_tidy(&sender);
    assert_int_equal(map_len(&sender.peers), 0);
    send_fini(&first.send);
    send_fini(&held.send);
    event_fini(&ev);
    listener_close(&sink.listener, on_listener_closed);
    sender_close(&sender, on_closed, &closed);
    LOOP_UNTIL(loop, closed && sink.listener_closed && !sink.open);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_address_that_may_not_be_called_any_more, test_loop_setup,
                                        test_loop_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
