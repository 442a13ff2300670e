// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "queue-proxy/grpc_health.h"
#include "queue-proxy/probe_spec.h"
#include "test.h"

static void reads_what_knative_writes(void **state)
{
    struct probe_spec p;
    struct error err;
    ASSERT_OK(probe_spec_parse(SLICE_LIT(""), &p, &err));
    assert_false(p.http);
    assert_int_equal(p.success_threshold, 1);
    assert_int_equal(p.failure_threshold, 3);
    ASSERT_OK(probe_spec_parse(
        SLICE_LIT("{\"tcpSocket\":{\"port\":8080,\"host\":\"127.0.0.1\"},\"successThreshold\":2}"),
        &p, &err));
    assert_false(p.http);
    assert_int_equal(p.success_threshold, 2);
    ASSERT_OK(probe_spec_parse(
        SLICE_LIT(
            " { \"httpGet\" : {\"path\":\"/h?a=1\\u0026b\",\"port\":8080,\"host\":\"127.0.0.1\","
            "\"scheme\":\"HTTP\",\"httpHeaders\":[{\"name\":\"Host\",\"value\":\"x.y\"},"
            "{\"value\":\"v\\\"w\",\"name\":\"X-A\"}]},\"timeoutSeconds\":3,"
            "\"periodSeconds\":7,\"failureThreshold\":9,\"x\":[1,{\"y\":[]},null,true]} "),
        &p, &err));
    assert_true(p.http);
    ASSERT_SLICE(p.path, "/h?a=1&b");
    ASSERT_SLICE(p.host, "x.y");
    assert_int_equal(p.n_headers, 1);
    ASSERT_SLICE(p.headers[0].name, "X-A");
    ASSERT_SLICE(p.headers[0].value, "v\"w");
    assert_int_equal(p.timeout_s, 3);
    assert_int_equal(p.period_s, 7);
    assert_int_equal(p.failure_threshold, 9);
    ASSERT_OK(
        probe_spec_parse(SLICE_LIT("{\"httpGet\":null,\"exec\":{\"command\":[\"x\"]}}"), &p, &err));
    assert_false(p.http);
    ASSERT_OK(
        probe_spec_parse(SLICE_LIT("{\"grpc\":{\"port\":8080,\"service\":\"a.B\"}}"), &p, &err));
    assert_true(p.grpc && !p.http);
    ASSERT_SLICE(p.service, "a.B");
    ASSERT_OK(probe_spec_parse(SLICE_LIT("{\"grpc\":{\"service\":null}}"), &p, &err));
    assert_true(p.grpc && p.service.len == 0);
}

static void asks_as_grpc_does(void **state)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 1024);
    assert_true(grpc_health_request(SLICE_LIT(""), &out));
    assert_int_equal(out.len, 5);
    assert_memory_equal(out.ptr, "\0\0\0\0\0", 5);
    strbuf_clear(&out);
    assert_true(grpc_health_request(SLICE_LIT("a.B"), &out));
    assert_int_equal(out.len, 10);
    assert_memory_equal(out.ptr, "\0\0\0\0\5\x0a\3a.B", 10);
    char name[300];
    memset(name, 'x', sizeof(name));
    strbuf_clear(&out);
    assert_true(grpc_health_request(slice_of(name, sizeof(name)), &out));
    assert_memory_equal(out.ptr, "\0\0\0\1\x2f\x0a\xac\2xx", 10);
}

static void knows_who_serves(void **state)
{
    static const struct {
        struct slice body;
        bool serving;
    } rows[] = {
        {SLICE_LIT("\0\0\0\0\2\x08\1"), true},
        {SLICE_LIT("\0\0\0\0\5\x12\1z\x08\1"), true}, /* an unknown field before it */
        {SLICE_LIT("\0\0\0\0\4\x08\2\x08\1"), true},  /* the last one counts */
        {SLICE_LIT("\0\0\0\0\2\x08\2"), false},       /* NOT_SERVING */
        {SLICE_LIT("\0\0\0\0\2\x08\3"), false},       /* SERVICE_UNKNOWN */
        {SLICE_LIT("\0\0\0\0\0"), false},             /* UNKNOWN */
        {SLICE_LIT("\1\0\0\0\2\x08\1"), false},       /* compressed */
        {SLICE_LIT("\0\0\0\0\3\x08\1"), false},       /* cut off */
        {SLICE_LIT("\0\0\0\0\1\x08"), false},         /* no value */
        {SLICE_LIT("\0\0\0\0\3\x12\x7f\x01"), false}, /* longer than there is */
        {SLICE_LIT("\0\0\0\0\3\x0b\x08\1"), false},   /* a group */
        {SLICE_LIT("\0\0\0\0\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), false},
        {SLICE_LIT("\0\0\0"), false},
        {SLICE_LIT(""), false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (grpc_health_serving(rows[i].body) != rows[i].serving) {
            fail_msg("row %zu", i);
        }
    }
}

static void refuses(void **state)
{
    static const char *const bad[] = {
        "{",
        "[]",
        "{\"httpGet\":{\"path\":\"x\"}}",
        "{\"httpGet\":{\"path\":\"/a b\"}}",
        "{\"httpGet\":{\"path\":\"/\\r\\nX: 1\"}}",
        "{\"successThreshold\":-1}",
        "{\"successThreshold\":1.5}",
        "{\"successThreshold\":\"1\"}",
        "{\"a\":}",
        "{\"a\" 1}",
        "{} x",
        "{\"a\":1,}",
        "{\"a\":\"\\u1234\"}",
        "{\"a\":\"",
        "{\"a\":[1 2]}",
        "{\"a\":[[[[[[[[[[1]]]]]]]]]]}",
        "{\"httpGet\":{\"httpHeaders\":[{\"name\":\"a b\",\"value\":\"x\"}]}}",
        "{\"httpGet\":{\"httpHeaders\":[{\"name\":\"a\",\"value\":\"x\\n\"}]}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct probe_spec p;
        struct error err = {0};
        if (probe_spec_parse(slice_str(bad[i]), &p, &err) != ERR_INVALID) {
            fail_msg("accepted: %s", bad[i]);
        }
        assert_true(err.msg[0] != 0);
    }
    /* every cut of a good one */
    struct slice whole = SLICE_LIT("{\"httpGet\":{\"path\":\"/h\",\"httpHeaders\":[{\"name\":\"A\","
                                   "\"value\":\"b\"}]},\"periodSeconds\":1}");
    for (size_t n = 1; n < whole.len; n++) {
        struct probe_spec p;
        assert_int_equal(probe_spec_parse(slice_of(whole.ptr, n), &p, NULL), ERR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_knative_writes),
        cmocka_unit_test(asks_as_grpc_does),
        cmocka_unit_test(knows_who_serves),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
