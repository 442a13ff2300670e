// SPDX-License-Identifier: Apache-2.0
/* The HTTP client against a scripted server: answers, reuse, streams, and every way to fail. */
#include "base/mem.h"
#include "fetch/fetch.h"
#include "fake_api.h"
#include "test.h"

struct world {
    struct loop loop;
    struct fake_api api;
    struct fetch *fetch;
    bool closed;
};

struct got {
    int done;
    int status;
    int head;
    enum err_code code;
    char text[256]; /* body, or streamed data */
    struct fetch_request *cancel_on_data;
    struct fetch *close_on_data;
    struct error err;
};

static void on_done(void *arg, const struct fetch_result *result, const struct error *err)
{
    struct got *got = arg;
    got->done++;
    got->status = result->status;
    if (err != NULL) {
        got->err = *err;
        got->code = err->code;
    }
    if (result->body.len > 0) {
        snprintf(got->text, sizeof(got->text), "%.*s", SLICE_FMT(result->body));
    }
}

static void on_head(void *arg, int status)
{
    struct got *got = arg;
    got->head = status;
}

static void on_data(void *arg, struct slice data)
{
    struct got *got = arg;
    size_t len = strlen(got->text);
    snprintf(got->text + len, sizeof(got->text) - len, "%.*s", SLICE_FMT(data));
    if (got->cancel_on_data != NULL) {
        fetch_cancel(got->cancel_on_data);
    }
    if (got->close_on_data != NULL) {
        fetch_close(got->close_on_data, NULL, NULL);
    }
}

static void on_closed(void *arg)
{
    struct world *w = arg;
    w->closed = true;
}

static void world_start(struct world *w, const struct fake_step *steps, size_t n)
{
    struct error err = {0};
    *w = (struct world){0};
    ASSERT_OK(loop_init(&w->loop, &err));
    fake_api_start(&w->api, &w->loop, steps, n);
    ASSERT_OK(fetch_new(&w->loop, &(struct fetch_options){.max_connections = 4}, &w->fetch, &err));
}

static void world_end(struct world *w)
{
    struct error err = {0};
    fetch_close(w->fetch, on_closed, w);
    RUN_UNTIL(&w->loop, w->closed);
    fake_api_close(&w->api);
    loop_run(&w->loop);
    ASSERT_OK(loop_fini(&w->loop, &err));
    assert_false(w->api.unexpected);
    fake_api_free(&w->api);
}

static struct fetch_request *ask(struct world *w, const char *method, const char *path,
                                 const char *body, uint64_t timeout_ms, bool stream,
                                 struct got *got)
{
    struct error err = {0};
    struct fetch_request *req = NULL;
    char url[256];
    snprintf(url, sizeof(url), "%s%s", w->api.url, path);
    const char *const headers[] = {"X-Test: yes", NULL};
    struct fetch_spec spec = {
        .method = method,
        .url = url,
        .headers = headers,
        .body = slice_str(body),
        .timeout_ms = timeout_ms,
        .max_body = 100,
        .on_head = stream ? on_head : NULL,
        .on_data = stream ? on_data : NULL,
        .on_done = on_done,
        .arg = got,
    };
    ASSERT_OK(fetch_start(w->fetch, &spec, &req, &err));
    assert_int_equal(got->done, 0);
    return req;
}

static void answers_and_keeps_the_connection(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {{"GET /a", 200, "one"}, {"POST /b", 404, "two"}};
    struct world w;
    struct got one = {0}, two = {0};
    world_start(&w, steps, 2);
    ask(&w, "GET", "/a", NULL, 5000, false, &one);
    RUN_UNTIL(&w.loop, one.done);
    assert_int_equal(one.status, 200);
    assert_string_equal(one.text, "one");
    ask(&w, "POST", "/b", "hello", 5000, false, &two);
    RUN_UNTIL(&w.loop, two.done);
    assert_int_equal(two.status, 404);
    assert_int_equal(two.code, ERR_OK);
    assert_string_equal(w.api.bodies[1], "hello");
    assert_non_null(strstr(w.api.heads[1], "X-Test: yes"));
    assert_int_equal(w.api.n_accepted, 1);
    world_end(&w);
}

static void streams_as_it_comes(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {{"GET /s", 200, NULL, .stream = true}};
    struct world w;
    struct got got = {0};
    world_start(&w, steps, 1);
    ask(&w, "GET", "/s", NULL, 0, true, &got);
    RUN_UNTIL(&w.loop, got.head == 200);
    assert_string_equal(got.text, "");
    fake_api_send(&w.api, "ab");
    RUN_UNTIL(&w.loop, strcmp(got.text, "ab") == 0);
    fake_api_send(&w.api, "cd");
    RUN_UNTIL(&w.loop, strcmp(got.text, "abcd") == 0);
    assert_int_equal(got.done, 0);
    fake_api_end(&w.api);
    RUN_UNTIL(&w.loop, got.done);
    assert_int_equal(got.code, ERR_OK);
    world_end(&w);
}

static void fails_as_it_should(void **state)
{
    (void)state;
    static const char big[] =
        "0123456789012345678901234567890123456789012345678901234567890123456789"
        "0123456789012345678901234567890123456789";
    static const struct fake_step steps[] = {{"GET /hang", .hang = true},
                                             {"GET /cut", 200, NULL, .stream = true},
                                             {"GET /big", 200, big}};
    struct world w;
    struct got hang = {0}, cut = {0}, too_big = {0}, refused = {0};
    world_start(&w, steps, 3);
    ask(&w, "GET", "/hang", NULL, 30, false, &hang);
    RUN_UNTIL(&w.loop, hang.done);
    assert_int_equal(hang.code, ERR_TIMEOUT);
    ask(&w, "GET", "/cut", NULL, 5000, true, &cut);
    RUN_UNTIL(&w.loop, cut.head == 200);
    fake_api_cut(&w.api);
    RUN_UNTIL(&w.loop, cut.done);
    assert_int_equal(cut.code, ERR_CLOSED);
    ask(&w, "GET", "/big", NULL, 5000, false, &too_big);
    RUN_UNTIL(&w.loop, too_big.done);
    assert_int_equal(too_big.code, ERR_TOO_BIG);

    struct error err = {0};
    struct fetch_spec spec = {.method = "GET",
                              .url = "http://127.0.0.1:1/",
                              .timeout_ms = 5000,
                              .on_done = on_done,
                              .arg = &refused};
    ASSERT_OK(fetch_start(w.fetch, &spec, NULL, &err));
    RUN_UNTIL(&w.loop, refused.done);
    assert_int_equal(refused.code, ERR_REFUSED);
    world_end(&w);
}

static void idle_stream_ends(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {{"GET /s", 200, NULL, .stream = true}};
    struct world w;
    struct got got = {0};
    struct error err = {0};
    char url[128];
    world_start(&w, steps, 1);
    snprintf(url, sizeof(url), "%s/s", w.api.url);
    struct fetch_spec spec = {.method = "GET",
                              .url = url,
                              .idle_ms = 30,
                              .on_head = on_head,
                              .on_data = on_data,
                              .on_done = on_done,
                              .arg = &got};
    ASSERT_OK(fetch_start(w.fetch, &spec, NULL, &err));
    RUN_UNTIL(&w.loop, got.done);
    assert_int_equal(got.code, ERR_TIMEOUT);
    assert_int_equal(got.head, 200);
    world_end(&w);
}

static void cancel_completes_once(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {{"GET /h", .hang = true},
                                             {"GET /s", 200, "x", .stream = true}};
    struct world w;
    struct got got = {0}, inside = {0};
    world_start(&w, steps, 2);
    struct fetch_request *req = ask(&w, "GET", "/h", NULL, 5000, false, &got);
    RUN_UNTIL(&w.loop, w.api.n_requests == 1);
    fetch_cancel(req);
    fetch_cancel(req);
    assert_int_equal(got.done, 0);
    RUN_UNTIL(&w.loop, got.done);
    assert_int_equal(got.code, ERR_CANCELED);

    inside.cancel_on_data = ask(&w, "GET", "/s", NULL, 0, true, &inside);
    RUN_UNTIL(&w.loop, inside.done);
    assert_int_equal(inside.code, ERR_CANCELED);
    assert_int_equal(got.done, 1);
    world_end(&w);
}

static void close_cancels_all(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {{"GET /h", .hang = true},
                                             {"GET /s", 200, "x", .stream = true}};
    struct world w;
    struct got hang = {0}, inside = {0};
    world_start(&w, steps, 2);
    ask(&w, "GET", "/h", NULL, 5000, false, &hang);
    RUN_UNTIL(&w.loop, w.api.n_requests == 1);
    inside.close_on_data = w.fetch; /* close inside of a callback */
    ask(&w, "GET", "/s", NULL, 0, true, &inside);
    RUN_UNTIL(&w.loop, inside.done && hang.done);
    assert_int_equal(hang.code, ERR_CANCELED);
    assert_int_equal(inside.code, ERR_CANCELED);
    fake_api_close(&w.api);
    loop_run(&w.loop);
    struct error err = {0};
    ASSERT_OK(loop_fini(&w.loop, &err));
    fake_api_free(&w.api);
}

/* Close at every turn of the loop of a request's life. */
static void close_at_any_turn(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {{"GET /a", 200, "one"}};
    for (int turns = 0; turns < 12; turns++) {
        struct world w;
        struct got got = {0};
        world_start(&w, steps, 1);
        ask(&w, "GET", "/a", NULL, 5000, false, &got);
        for (int i = 0; i < turns && !got.done; i++) {
            loop_turn(&w.loop, false);
        }
        world_end(&w);
        assert_int_equal(got.done, 1);
    }
}

static void a_bad_url_is_an_error(void **state)
{
    (void)state;
    struct world w;
    struct got got = {0};
    struct error err = {0};
    world_start(&w, NULL, 0);
    struct fetch_spec spec = {.method = "GET",
                              .url = "ftp://127.0.0.1/",
                              .timeout_ms = 1000,
                              .on_done = on_done,
                              .arg = &got};
    ASSERT_OK(fetch_start(w.fetch, &spec, NULL, &err));
    RUN_UNTIL(&w.loop, got.done);
    assert_int_equal(got.code, ERR_INVALID);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_and_keeps_the_connection),
        cmocka_unit_test(streams_as_it_comes),
        cmocka_unit_test(fails_as_it_should),
        cmocka_unit_test(idle_stream_ends),
        cmocka_unit_test(cancel_completes_once),
        cmocka_unit_test(close_cancels_all),
        cmocka_unit_test(close_at_any_turn),
        cmocka_unit_test(a_bad_url_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
