// SPDX-License-Identifier: Apache-2.0
/* A Redis that says what a test tells it to, also what no Redis should. */
#include <unistd.h>

#include "base/mem.h"
#include "loop/listener.h"
#include "loop/timer.h"
#include "redis/conn.h"
#include "test.h"
#include "test_loop.h"

struct world {
    struct loop *loop;
    struct listener listener;
    struct stream peer;
    bool peer_open;
    char buffer[4096];
    const char *greeting; /* to the first bytes of a connection */
    const char *answer;   /* to all later ones; NULL: silence */
    bool greeted;
    unsigned reads;
    unsigned connections;
    unsigned asked, allowed; /* may_call */
    struct redis_conn *conn;
    unsigned ups, downs;
    int down_code;
    unsigned answers;
    int codes[8];
    int64_t numbers[8];
    bool closed;
    bool listener_closed;
};

static void on_peer_closed(struct stream *s)
{
    ((struct world *)s->data)->peer_open = false;
}

static struct stream_buffer on_buffer(struct stream *s)
{
    struct world *w = s->data;
    return (struct stream_buffer){w->buffer, sizeof(w->buffer)};
}

static void on_read(struct stream *s, char *bytes, size_t n)
{
    struct world *w = s->data;
    struct error err = {0};
    const char *text = w->greeted ? w->answer : w->greeting;
    w->greeted = true;
    w->reads++;
    if (text != NULL) {
        ASSERT_OK(stream_write_bytes(s, text, strlen(text), &err));
    }
}

static void on_gone(struct stream *s)
{
    stream_close(s, on_peer_closed);
}

static void on_error(struct stream *s, const struct error *err)
{
    stream_close(s, on_peer_closed);
}

static const struct stream_events peer_events = {
    .on_buffer = on_buffer, .on_read = on_read, .on_end = on_gone, .on_error = on_error};

static void on_connection(struct listener *l)
{
    struct world *w = l->data;
    struct error err = {0};
    if (w->peer_open) {
        return; /* taken when the old one is closed */
    }
    w->connections++;
    w->greeted = false;
    w->peer_open = true;
    ASSERT_OK(listener_accept(l, &w->peer, &peer_events, w, &err));
    stream_read_start(&w->peer);
}

static void on_up(void *arg)
{
    ((struct world *)arg)->ups++;
}

static void on_down(void *arg, const struct error *err)
{
    struct world *w = arg;
    w->downs++;
    w->down_code = (int)err->code;
}

static void begin_waiting(struct world *w, struct loop *loop, const char *greeting,
                          const char *answer, uint64_t timeout_ms, unsigned wait)
{
    struct addr addr;
    struct error err = {0};
    char text[64];
    *w = (struct world){.loop = loop, .greeting = greeting, .answer = answer};
    ASSERT_OK(addr_parse(SLICE_LIT("127.0.0.1:0"), &addr, &err));
    ASSERT_OK(listener_start(&w->listener, loop, &addr, NULL, on_connection, w, &err));
    snprintf(text, sizeof(text), "redis://127.0.0.1:%u", addr_port(listener_addr(&w->listener)));
    ASSERT_OK(redis_conn_new(loop,
                             &(struct redis_conn_options){.address = text,
                                                          .wait_replicas = wait,
                                                          .wait_ms = 50,
                                                          .timeout_ms = timeout_ms,
                                                          .max_commands = 4,
                                                          .max_answer = 1 << 20,
                                                          .on_up = on_up,
                                                          .on_down = on_down,
                                                          .arg = w},
                             &w->conn, &err));
}

static void begin(struct world *w, struct loop *loop, const char *greeting, const char *answer,
                  uint64_t timeout_ms)
{
    begin_waiting(w, loop, greeting, answer, timeout_ms, 0);
}

static void on_closed(void *arg)
{
    ((struct world *)arg)->closed = true;
}

static void on_listener_closed(struct listener *l)
{
    ((struct world *)l->data)->listener_closed = true;
}

static void finish(struct world *w)
{
    redis_conn_close(w->conn, on_closed, w);
    LOOP_UNTIL(w->loop, w->closed);
    if (w->peer_open) {
        stream_close(&w->peer, on_peer_closed);
    }
    listener_close(&w->listener, on_listener_closed);
    LOOP_UNTIL(w->loop, !w->peer_open && w->listener_closed);
}

static void on_answer(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct world *w = arg;
    w->codes[w->answers % 8] = err == NULL ? 0 : (int)err->code;
    w->numbers[w->answers % 8] = redis_reply_int(reply, -1);
    w->answers++;
}

static int ask(struct world *w, struct error *err)
{
    return redis_conn_send(w->conn, (struct slice[]){SLICE_LIT("XLEN"), SLICE_LIT("k")}, 2,
                           on_answer, w, err);
}

static void answers_come_in_order(void **state)
{
    struct world w;
    struct error err = {0};
    begin(&w, *state, "+PONG\r\n", ":1\r\n-NOGROUP no\r\n:3\r\n", 10000);
    ASSERT_ERR(ERR_UNAVAILABLE, ask(&w, &err));
    LOOP_UNTIL(w.loop, w.ups == 1);
    assert_string_equal(redis_conn_trouble(w.conn), "");
    for (int i = 0; i < 3; i++) {
        ASSERT_OK(ask(&w, &err));
    }
    assert_int_equal(redis_conn_pending(w.conn), 3);
    LOOP_UNTIL(w.loop, w.answers == 3);
    assert_true(w.codes[0] == 0 && w.numbers[0] == 1);
    assert_true(w.codes[1] == ERR_NOT_FOUND && w.codes[2] == 0 && w.numbers[2] == 3);
    assert_true(redis_conn_is_up(w.conn));
    finish(&w);
}

static void too_many_commands_are_refused(void **state)
{
    struct world w;
    struct error err = {0};
    begin(&w, *state, "+PONG\r\n", NULL, 10000);
    LOOP_UNTIL(w.loop, w.ups == 1);
    for (int i = 0; i < 4; i++) {
        ASSERT_OK(ask(&w, &err));
    }
    ASSERT_ERR(ERR_OVERLOAD, ask(&w, &err));
    finish(&w); /* each is told */
    assert_int_equal(w.answers, 4);
    assert_int_equal(w.codes[3], ERR_CANCELED);
}

static void silence_ends_the_connection(void **state)
{
    struct world w;
    struct error err = {0};
    begin(&w, *state, "+PONG\r\n", NULL, 100);
    LOOP_UNTIL(w.loop, w.ups == 1);
    ASSERT_OK(ask(&w, &err));
    LOOP_UNTIL(w.loop, w.answers == 1);
    assert_int_equal(w.codes[0], ERR_TIMEOUT);
    w.answer = ":5\r\n";
    LOOP_UNTIL(w.loop, w.ups == 2); /* it comes back by itself */
    ASSERT_OK(ask(&w, &err));
    LOOP_UNTIL(w.loop, w.answers == 2);
    assert_int_equal(w.numbers[1], 5);
    finish(&w);
}

static void a_redis_that_loads_is_not_there_yet(void **state)
{
    struct world w;
    begin(&w, *state, "-LOADING Redis is loading the dataset in memory\r\n", NULL, 10000);
    LOOP_UNTIL(w.loop, w.downs >= 2);
    assert_int_equal(w.ups, 0);
    assert_int_equal(w.down_code, ERR_UNAVAILABLE);
    w.greeting = "+PONG\r\n";
    LOOP_UNTIL(w.loop, w.ups == 1);
    finish(&w);
}

static void a_wrong_password_is_said(void **state)
{
    struct world w;
    begin(&w, *state, "-NOAUTH Authentication required.\r\n", NULL, 10000);
    LOOP_UNTIL(w.loop, w.downs >= 1);
    assert_int_equal(w.down_code, ERR_DENIED);
    assert_non_null(strstr(redis_conn_trouble(w.conn), "NOAUTH"));
    finish(&w);
}

/* Family G: what a Redis, or something that says it is one, may answer. */
static void hostile_answers_end_the_connection(void **state)
{
    static const char *const answers[] = {
        "*2000000000\r\n",                               /* an array that fits nowhere */
        "*-5\r\n",                                       /* a count that is none */
        "$99999999999\r\n",                              /* a text likewise */
        "$-7\r\nx\r\n",                                  /* a length that is none */
        ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n", /* a push frame nobody asked for */
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "$100\r\nabc",  /* cut off */
        ":1\r\n:2\r\n", /* one answer too many */
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
        "-READONLY You can't write against a read only replica.\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct world w;
        struct error err = {0};
        begin(&w, *state, "+PONG\r\n", answers[i], 300);
        LOOP_UNTIL(w.loop, w.ups == 1);
        ASSERT_OK(ask(&w, &err));
        LOOP_UNTIL(w.loop, w.answers == 1 && w.downs >= 1);
        LOOP_UNTIL(w.loop, w.ups == 2);
        finish(&w);
    }
}

/* An answer that grows without end is cut at its bound, not at the memory's. */
static void an_endless_answer_is_bounded(void **state)
{
    struct world w;
    struct error err = {0};
    size_t size = 3u << 20;
    char *text = xmalloc(size + 1);
    memset(text, 'x', size);
    memcpy(text, "$400000000\r\n", 12);
    text[size] = '\0';
    begin(&w, *state, "+PONG\r\n", text, 10000);
    LOOP_UNTIL(w.loop, w.ups == 1);
    stream_set_queue_max(&w.peer, 8u << 20);
    ASSERT_OK(ask(&w, &err));
    LOOP_UNTIL(w.loop, w.answers == 1);
    assert_int_equal(w.codes[0], ERR_PROTOCOL);
    finish(&w);
    free(text);
}

/* What replicas do not have is not told as done, and an error stays the one it was. */
static void answers_wait_for_replicas(void **state)
{
    struct world w;
    struct error err = {0};
    begin_waiting(&w, *state, "+PONG\r\n", ":1\r\n-NOGROUP no\r\n", 10000, 2);
    LOOP_UNTIL(w.loop, w.ups == 1);
    ASSERT_OK(ask(&w, &err));
    ASSERT_OK(ask(&w, &err));
    LOOP_UNTIL(w.loop, w.reads == 2); /* the greeting, then both with their WAIT */
    assert_int_equal(redis_conn_pending(w.conn), 3);
    assert_int_equal(w.answers, 0);
    ASSERT_OK(stream_write_bytes(&w.peer, ":1\r\n", 4, &err));
    LOOP_UNTIL(w.loop, w.answers == 2);
    assert_true(w.codes[0] == ERR_UNAVAILABLE && w.codes[1] == ERR_NOT_FOUND);
    w.answer = ":7\r\n:2\r\n";
    ASSERT_OK(ask(&w, &err));
    LOOP_UNTIL(w.loop, w.answers == 3);
    assert_true(w.codes[2] == 0 && w.numbers[2] == 7);
    w.answer = ":8\r\n"; /* held when the connection is closed */
    ASSERT_OK(ask(&w, &err));
    finish(&w);
    assert_true(w.answers == 4 && w.codes[3] == ERR_CANCELED);
}

static void nobody_there(void **state)
{
    struct world w = {.loop = *state};
    struct error err = {0};
    ASSERT_ERR(
        ERR_INVALID,
        redis_conn_new(w.loop, &(struct redis_conn_options){.address = "redis://"}, &w.conn, &err));
    ASSERT_OK(redis_conn_new(w.loop,
                             &(struct redis_conn_options){.address = "unix:/nonexistent/r.sock",
                                                          .on_down = on_down,
                                                          .arg = &w},
                             &w.conn, &err));
    LOOP_UNTIL(w.loop, w.downs >= 3);
    redis_conn_close(w.conn, on_closed, &w);
    LOOP_UNTIL(w.loop, w.closed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_loop_setup, test_loop_teardown)

static int count_calls(void *arg, const struct addr *addr, struct error *err)
{
    struct world *w = arg;
    w->asked++;
    return w->asked <= w->allowed ? 0 : error_set(err, ERR_DENIED, "not this one");
}

/* Sentinels are called first: their addresses are somebody's wish as well. */
static void sentinels_are_called_only_where_it_is_allowed(void **state)
{
    for (unsigned allowed = 0; allowed < 2; allowed++) {
        struct loop *loop = *state;
        struct world w = {.loop = loop,
                          .greeting = "+OK\r\n",
                          .answer = "*2\r\n$9\r\n127.0.0.1\r\n$1\r\n1\r\n",
                          .allowed = allowed};
        struct addr addr;
        struct error err = {0};
        char text[64];
        ASSERT_OK(addr_parse(SLICE_LIT("127.0.0.1:0"), &addr, &err));
        ASSERT_OK(listener_start(&w.listener, loop, &addr, NULL, on_connection, &w, &err));
        snprintf(text, sizeof(text), "redis+sentinel://127.0.0.1:%u/m",
                 addr_port(listener_addr(&w.listener)));
        ASSERT_OK(redis_conn_new(
            loop,
            &(struct redis_conn_options){
                .address = text, .may_call = count_calls, .on_down = on_down, .arg = &w},
            &w.conn, &err));
        LOOP_UNTIL(loop, w.downs > 0);
        assert_int_equal(w.down_code, ERR_DENIED);
        assert_int_equal(w.asked, allowed + 1); /* allowed: the master that it names is not */
        assert_int_equal(w.connections, allowed);
        finish(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answers_come_in_order),        TEST(too_many_commands_are_refused),
        TEST(silence_ends_the_connection),  TEST(a_redis_that_loads_is_not_there_yet),
        TEST(a_wrong_password_is_said),     TEST(hostile_answers_end_the_connection),
        TEST(an_endless_answer_is_bounded), TEST(nobody_there),
        TEST(answers_wait_for_replicas),    TEST(sentinels_are_called_only_where_it_is_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
