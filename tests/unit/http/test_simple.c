// SPDX-License-Identifier: Apache-2.0
#include "http/client.h"
#include "http/simple.h"
#include "test.h"
#include "test_loop.h"

struct fixture {
    struct loop *loop;
    struct http_simple *simple;
    struct http_simple_request *held;
    char addr[ADDR_TEXT_MAX];
    int rc;
    int status;
    char body[256];
    char message[ERROR_MSG_MAX];
    unsigned answers;
    unsigned held_closes;
    bool closed;
};

static void on_held_close(struct http_simple_request *rq, void *data)
{
    struct fixture *f = data;
    f->held_closes++;
    f->held = NULL;
}

static void handle(struct http_simple_request *rq, void *arg)
{
    struct fixture *f = arg;
    if (slice_eq_str(rq->path, "/echo")) {
        http_simple_respond(rq, 201, "text/plain", rq->body);
    } else if (slice_eq_str(rq->path, "/stream")) {
        http_simple_stream(rq, 200, "text/plain");
        http_simple_write(rq, SLICE_LIT("one "));
        http_simple_write(rq, SLICE_LIT("two"));
        http_simple_end(rq);
    } else if (slice_eq_str(rq->path, "/hold")) {
        f->held = rq;
        rq->data = f;
        rq->on_close = on_held_close;
    } else if (slice_eq_str(rq->path, "/cut")) {
        http_simple_stream(rq, 200, "text/plain");
        http_simple_write(rq, SLICE_LIT("half"));
        http_simple_abort(rq);
    } else {
        http_simple_respondf(rq, 404, "no %.*s", SLICE_FMT(rq->path));
    }
}

static void start(struct fixture *f, struct loop *loop)
{
    *f = (struct fixture){.loop = loop};
    struct http_simple_options options = http_simple_options_default(handle, f);
    options.limits.max_body_bytes = 100;
    f->simple = http_simple_new(loop, &options);
    struct error err;
    ASSERT_OK(http_server_listen_text(http_simple_server(f->simple), "127.0.0.1:0", NULL, &err));
    snprintf(f->addr, sizeof(f->addr), "127.0.0.1:%u",
             http_server_port(http_simple_server(f->simple)));
}

static void on_closed(void *arg)
{
    struct fixture *f = arg;
    f->closed = true;
}

static void stop(struct fixture *f)
{
    http_simple_close(f->simple, on_closed, f);
    LOOP_UNTIL(f->loop, f->closed);
}

static void on_answer(int rc, const struct http_client_answer *answer, const struct error *err,
                      void *arg)
{
    struct fixture *f = arg;
    f->answers++;
    f->rc = rc;
    f->status = 0;
    if (rc == 0) {
        f->status = answer->head->status;
        slice_copy(answer->body, f->body, sizeof(f->body));
    } else {
        snprintf(f->message, sizeof(f->message), "%s", err->msg);
    }
}

static void ask(struct fixture *f, const char *target, struct slice body, size_t max)
{
    struct error err;
    unsigned before = f->answers;
    ASSERT_OK(http_client_start(f->loop,
                                &(struct http_client_request){
                                    .addr = f->addr,
                                    .method = body.len > 0 ? "POST" : "GET",
                                    .target = target,
                                    .body = body,
                                    .timeout_ms = 5000,
                                    .max_body = max,
                                },
                                on_answer, f, NULL, &err));
    assert_int_equal(f->answers, before); /* never from inside */
    LOOP_UNTIL(f->loop, f->answers > before);
}

static void answers(void **state)
{
    struct fixture f;
    char big[200];
    memset(big, 'x', sizeof(big));
    start(&f, *state);
    ask(&f, "/echo", SLICE_LIT("hello"), 100);
    assert_int_equal(f.status, 201);
    assert_string_equal(f.body, "hello");
    ask(&f, "/nope?x", SLICE_EMPTY, 100);
    assert_int_equal(f.status, 404);
    assert_string_equal(f.body, "no /nope");
    ask(&f, "/stream", SLICE_EMPTY, 100);
    assert_string_equal(f.body, "one two");
    ask(&f, "/echo", slice_of(big, sizeof(big)), 100);
    assert_int_equal(f.status, 413);
    ask(&f, "/echo", SLICE_LIT("hello"), 4);
    assert_int_equal(f.rc, ERR_TOO_BIG);
    ask(&f, "/cut", SLICE_EMPTY, 100);
    assert_true(f.rc < 0);
    stop(&f);
}

static void waits_and_gives_up(void **state)
{
    struct fixture f;
    struct error err;
    struct http_client *client = NULL;
    struct http_client_request rq = {.target = "/hold", .timeout_ms = 50, .max_body = 10};
    start(&f, *state);
    rq.addr = f.addr;
    ASSERT_OK(http_client_start(f.loop, &rq, on_answer, &f, NULL, &err));
    LOOP_UNTIL(f.loop, f.answers == 1 && f.held_closes == 1);
    assert_int_equal(f.rc, ERR_TIMEOUT);
    rq.timeout_ms = 5000;
    ASSERT_OK(http_client_start(f.loop, &rq, on_answer, &f, NULL, &err));
    LOOP_UNTIL(f.loop, f.held != NULL);
    http_simple_respondf(f.held, 200, "late");
    LOOP_UNTIL(f.loop, f.answers == 2 && f.held_closes == 2);
    assert_string_equal(f.body, "late");
    ASSERT_OK(http_client_start(f.loop, &rq, on_answer, &f, &client, &err));
    LOOP_UNTIL(f.loop, f.held != NULL);
    http_client_cancel(client);
    LOOP_UNTIL(f.loop, f.held_closes == 3);
    assert_int_equal(f.answers, 2);
    stop(&f);
    ASSERT_OK(http_client_start(f.loop, &rq, on_answer, &f, NULL, &err));
    LOOP_UNTIL(f.loop, f.answers == 3);
    assert_int_equal(f.rc, ERR_REFUSED);
    rq.addr = "nowhere";
    ASSERT_ERR(ERR_INVALID, http_client_start(f.loop, &rq, on_answer, &f, NULL, &err));
}

static void decodes(void **state)
{
    struct strbuf out;
    strbuf_init(&out, 20);
    assert_true(http_query_get(SLICE_LIT("a=1&b=x%20y+z&c"), "b", &out));
    assert_string_equal(out.ptr, "x y z");
    assert_true(http_query_get(SLICE_LIT("a=1&b=x%20y+z&c"), "c", &out));
    assert_string_equal(out.ptr, "");
    assert_false(http_query_get(SLICE_LIT("a=1"), "b", &out));
    assert_false(http_query_get(SLICE_LIT("b=%2"), "b", &out));
    assert_false(http_query_get(SLICE_LIT("b=%zz"), "b", &out));
    assert_false(http_query_get(SLICE_LIT("b=%00"), "b", &out));
    assert_true(http_query_get(SLICE_LIT("b=%41"), "b", &out));
    assert_string_equal(out.ptr, "A");
    assert_true(http_path_decode(SLICE_LIT("a+b%2Fc"), &out));
    assert_string_equal(out.ptr, "a+b/c");
    assert_false(http_path_decode(SLICE_LIT("aaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), &out));
    strbuf_fini(&out);
}

#define T(name) cmocka_unit_test_setup_teardown(name, test_loop_setup, test_loop_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(answers),
        T(waits_and_gives_up),
        cmocka_unit_test(decodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
