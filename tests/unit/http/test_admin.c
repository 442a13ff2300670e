// SPDX-License-Identifier: Apache-2.0
#include "http/admin.h"
#include "http/client.h"
#include "test.h"
#include "test_loop.h"

struct fixture {
    struct loop *loop;
    struct http_admin admin;
    char addr[ADDR_TEXT_MAX];
    bool is_ready;
    int status;
    char body[512];
    unsigned answers;
    bool closed;
};

static bool ready(void *arg, struct strbuf *why)
{
    struct fixture *f = arg;
    strbuf_append_str(why, "still loading");
    return f->is_ready;
}

static int numbers(void *arg, struct strbuf *out, struct error *err)
{
    strbuf_append_str(out, "x 1\n");
    return 0;
}

static int broken(void *arg, struct strbuf *out, struct error *err)
{
    return error_set(err, ERR_INVALID, "no numbers today");
}

static int endless(void *arg, struct strbuf *out, struct error *err)
{
    static const char block[4096] = {'x'};
    while (strbuf_append(out, block, sizeof(block)) == 0) {
    }
    return 0;
}

static void own(struct http_simple_request *rq, void *arg)
{
    http_simple_respondf(rq, 202, "%.*s", SLICE_FMT(rq->query));
}

static const struct http_admin_page pages[] = {
    {.path = "/readyz", .ready = ready},   {.path = "/metrics", .type = "a/b", .write = numbers},
    {.path = "/broken", .write = broken},  {.path = "/endless", .write = endless},
    {.path = "/debug/own", .answer = own},
};

static void on_answer(int rc, const struct http_client_answer *answer, const struct error *err,
                      void *arg)
{
    struct fixture *f = arg;
    f->answers++;
    assert_int_equal(rc, 0);
    f->status = answer->head->status;
    assert_true(slice_copy(answer->body, f->body, sizeof(f->body)));
}

static void ask(struct fixture *f, const char *method, const char *target)
{
    struct error err;
    unsigned before = f->answers;
    struct http_client_request rq = {
        .addr = f->addr, .method = method, .target = target, .timeout_ms = 5000, .max_body = 500};
    ASSERT_OK(http_client_start(f->loop, &rq, on_answer, f, NULL, &err));
    LOOP_UNTIL(f->loop, f->answers > before);
}

static void on_closed(void *arg)
{
    ((struct fixture *)arg)->closed = true;
}

static void pages_are_answered(void **state)
{
    struct fixture f = {.loop = *state};
    struct error err;
    http_admin_init(&f.admin, pages, ARRAY_LEN(pages), &f);
    ASSERT_OK(http_admin_start(&f.admin, f.loop, "127.0.0.1:0, 127.0.0.1:0", &err));
    (void)snprintf(f.addr, sizeof(f.addr), "127.0.0.1:%u",
                   http_server_port(http_simple_server(f.admin.simple)));
    ask(&f, "GET", "/healthz");
    assert_int_equal(f.status, 200);
    ask(&f, "GET", "/readyz");
    assert_int_equal(f.status, 503);
    assert_string_equal(f.body, "still loading\n");
    f.is_ready = true;
    ask(&f, "GET", "/readyz?verbose");
    assert_int_equal(f.status, 200);
    assert_string_equal(f.body, "ok\n");
    ask(&f, "GET", "/metrics");
    assert_string_equal(f.body, "x 1\n");
    ask(&f, "GET", "/debug/own?a=b");
    assert_int_equal(f.status, 202);
    assert_string_equal(f.body, "a=b");
    ask(&f, "GET", "/broken");
    assert_int_equal(f.status, 500);
    assert_string_equal(f.body, "no numbers today\n");
    ask(&f, "GET", "/endless");
    assert_int_equal(f.status, 500);
    ask(&f, "GET", "/nope");
    assert_int_equal(f.status, 404);
    assert_non_null(strstr(f.body, "/healthz, /readyz, /metrics"));
    assert_non_null(strstr(f.body, " and /debug/own"));
    ask(&f, "POST", "/metrics");
    assert_int_equal(f.status, 405);
    http_admin_close(&f.admin, on_closed, &f);
    LOOP_UNTIL(f.loop, f.closed);
}

static void a_bad_address_names_itself(void **state)
{
    struct fixture f = {.loop = *state};
    struct error err;
    http_admin_init(&f.admin, pages, ARRAY_LEN(pages), &f);
    assert_int_equal(http_admin_start(&f.admin, f.loop, "127.0.0.1:0,nowhere", &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "nowhere"));
    http_admin_close(&f.admin, on_closed, &f);
    LOOP_UNTIL(f.loop, f.closed);
}

static void a_page_is_written_without_a_port(void **state)
{
    struct fixture f = {.is_ready = false};
    struct http_admin admin;
    const char *type;
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 100);
    http_admin_init(&admin, pages, ARRAY_LEN(pages), &f);
    assert_int_equal(http_admin_page(&admin, SLICE_LIT("/metrics"), &type, &out), 200);
    assert_string_equal(type, "a/b");
    assert_string_equal(out.ptr, "x 1\n");
    strbuf_clear(&out);
    assert_int_equal(http_admin_page(&admin, SLICE_LIT("/readyz"), &type, &out), 503);
    assert_string_equal(out.ptr, "still loading\n");
    strbuf_clear(&out);
    assert_int_equal(http_admin_page(&admin, SLICE_LIT("/endless"), &type, &out), 500);
    assert_non_null(strstr(out.ptr, "larger than 100 bytes"));
    strbuf_clear(&out);
    assert_int_equal(http_admin_page(&admin, SLICE_LIT("/debug/own"), &type, &out), 404);
}

static void one_that_was_not_started_may_be_closed(void **state)
{
    struct http_admin admin = {0};
    http_admin_close(&admin, NULL, NULL);
    assert_null(admin.simple);
}

#define T(name) cmocka_unit_test_setup_teardown(name, test_loop_setup, test_loop_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(pages_are_answered),
        T(a_bad_address_names_itself),
        cmocka_unit_test(a_page_is_written_without_a_port),
        cmocka_unit_test(one_that_was_not_started_may_be_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
