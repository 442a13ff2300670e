// SPDX-License-Identifier: Apache-2.0
/* The codec: every message is fed whole, cut in two at every byte, and byte by byte. */
#include "http/h1.h"
#include "test.h"

struct seen {
    struct h1_message msg;
    struct strbuf body;
    int heads;
    enum h1_go go;
};

static enum h1_go on_head(struct h1_parser *p, void *owner)
{
    struct seen *s = owner;
    s->heads++;
    return s->go;
}

static bool on_body(struct h1_parser *p, struct slice chunk, void *owner)
{
    struct seen *s = owner;
    strbuf_append_slice(&s->body, chunk);
    return true;
}

static const struct h1_events events = {.on_head = on_head, .on_body = on_body};

struct want {
    const char *text;
    enum h1_result result;
    int status;         /* of H1_BAD */
    const char *target; /* of a request */
    const char *host;   /* of a request */
    const char *body;
    size_t left; /* bytes behind the message */
};

static struct http_limits small_limits(void)
{
    struct http_limits l = http_limits_default();
    l.max_head_bytes = 400;
    l.max_target_bytes = 100;
    l.max_headers = 8;
    return l;
}

/* Feeds text in pieces that end at cut, and at every step bytes afterwards. */
static void run(const struct want *w, enum llhttp_type type, enum h1_go go, size_t cut, size_t step)
{
    struct seen seen = {.go = go};
    struct http_limits limits = small_limits();
    struct h1_parser p;
    size_t len = strlen(w->text);
    size_t at = 0;
    enum h1_result result = H1_MORE;
    h1_message_init(&seen.msg);
    strbuf_init(&seen.body, 4096);
    h1_parser_init(&p, type, &limits, &events, &seen);
    p.msg = &seen.msg;
    while (at < len && result == H1_MORE) {
        size_t n = at < cut ? cut - at : step;
        size_t used = 0;
        n = n < len - at ? n : len - at;
        result = h1_feed(&p, w->text + at, n, &used);
        at += used;
        assert_true(result != H1_MORE || used == n);
    }
    if (result == H1_MORE) {
        enum h1_result at_end = h1_finish(&p);
        result = at_end == H1_BAD ? H1_MORE : at_end; /* a table row says whether more was due */
    }
    if (result != w->result) {
        fail_msg("\"%s\" (cut %zu): got %d, want %d; %s", w->text, cut, result, w->result,
                 p.bad_text == NULL ? "" : p.bad_text);
    }
    if (result == H1_BAD) {
        if (p.bad_status != w->status) {
            fail_msg("\"%s\": got %d (%s), want %d", w->text, p.bad_status, p.bad_text, w->status);
        }
        assert_non_null(p.bad_text);
    }
    if (result == H1_DONE) {
        assert_int_equal(len - at, w->left);
        assert_int_equal(seen.heads, 1);
        ASSERT_SLICE(strbuf_slice(&seen.body), w->body == NULL ? "" : w->body);
        if (w->target != NULL) {
            ASSERT_SLICE(seen.msg.head.target, w->target);
            ASSERT_SLICE(seen.msg.head.authority, w->host);
        }
    }
    h1_message_fini(&seen.msg);
    strbuf_fini(&seen.body);
}

static void run_all(const struct want *rows, size_t n, enum llhttp_type type, enum h1_go go)
{
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(rows[i].text);
        run(&rows[i], type, go, len, len);
        run(&rows[i], type, go, 0, 1);
        for (size_t cut = 1; cut < len; cut++) {
            run(&rows[i], type, go, cut, len);
        }
    }
}

#define RQ "GET / HTTP/1.1\r\nHost: a\r\n"
#define LONG \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LONG5 LONG LONG LONG LONG LONG

static void reads_requests(void **state)
{
    static const struct want rows[] = {
        {RQ "\r\n", H1_DONE, 0, "/", "a", NULL, 0},
        {RQ "\r\nGET", H1_DONE, 0, "/", "a", NULL, 3},
        {"\r\n\r\n" RQ "\r\n", H1_DONE, 0, "/", "a", NULL, 0},
        {"GET /x HTTP/1.0\r\n\r\n", H1_DONE, 0, "/x", "", NULL, 0},
        {RQ "Content-Length: 3\r\n\r\nabcGET", H1_DONE, 0, "/", "a", "abc", 3},
        {RQ "Transfer-Encoding: Chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n1\r\nd\r\n0\r\nT: 1\r\n\r\nG",
         H1_DONE, 0, "/", "a", "abcd", 1},
        {"GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", H1_DONE, 0, "/x", "b", NULL, 0},
        {"GET http://b:8?x HTTP/1.1\r\nHost: a\r\n\r\n", H1_DONE, 0, "/?x", "b:8", NULL, 0},
        {"GET HTTP://b HTTP/1.1\r\nHost: a\r\n\r\n", H1_DONE, 0, "/", "b", NULL, 0},
        {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", H1_DONE, 0, "*", "a", NULL, 0},
        {RQ "Upgrade: websocket\r\nConnection: upgrade\r\n\r\nxyz", H1_DONE, 0, "/", "a", NULL, 3},
        {RQ, H1_MORE},
        {RQ "Content-Length: 3\r\n\r\nab", H1_MORE},
    };
    run_all(rows, ARRAY_LEN(rows), HTTP_REQUEST, H1_GO);
}

static void refuses_requests(void **state)
{
    static const struct want rows[] = {
        {"GET / HTTP/1.1\r\n\r\n", H1_BAD, 400},
        {RQ "Host: a\r\n\r\n", H1_BAD, 400},
        {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", H1_BAD, 400},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", H1_BAD, 505},
        {"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", H1_BAD, 405},
        {"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", H1_BAD, 400},
        {"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", H1_BAD, 400},
        {"GET http://a@b/ HTTP/1.1\r\nHost: a\r\n\r\n", H1_BAD, 400},
        {RQ "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", H1_BAD, 400},
        {RQ "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", H1_BAD, 400},
        {RQ "Transfer-Encoding: gzip, chunked\r\n\r\n", H1_BAD, 501},
        {"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", H1_BAD, 400},
        {RQ "Expect: x\r\n\r\n", H1_BAD, 417},
        {RQ "X: 1\r\n 2\r\n\r\n", H1_BAD, 400},
        {RQ "X : 1\r\n\r\n", H1_BAD, 400},
        {"GET / HTTP/1.1\nHost: a\n\n", H1_BAD, 400},
        {RQ "Transfer-Encoding: chunked\r\n\r\n-1\r\n", H1_BAD, 400},
        {RQ "Transfer-Encoding: chunked\r\n\r\n1\r\nabc", H1_BAD, 400},
        {"GET /" LONG LONG " HTTP/1.1\r\nHost: a\r\n\r\n", H1_BAD, 414},
        {RQ "X: " LONG5 "\r\n\r\n", H1_BAD, 431},
        {RQ LONG5 ": 1\r\n\r\n", H1_BAD, 431},
        {RQ "A:1\r\nB:1\r\nC:1\r\nD:1\r\nE:1\r\nF:1\r\nG:1\r\nH:1\r\n\r\n", H1_BAD, 431},
        {RQ "Transfer-Encoding: chunked\r\n\r\n0\r\nX: " LONG5 "\r\n\r\n", H1_BAD, 431},
        {"\n" RQ "\r\n", H1_BAD, 400},
        {"\r\r\n" RQ "\r\n", H1_BAD, 400},
        {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", H1_BAD, 400},
        {"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", H1_BAD, 400},
        {RQ "Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n", H1_BAD, 400},
        {RQ "Content-Length: 9223372036854775808\r\n\r\n", H1_BAD, 400},
        {RQ "Expect: 100-continue\r\nExpect: x\r\n\r\n", H1_BAD, 417},
        {RQ "Transfer-Encoding: chunked\r\n\r\n1;=b\r\na\r\n0\r\n\r\n", H1_BAD, 400},
        {RQ "Transfer-Encoding: chunked\r\n\r\n1;a=\r\na\r\n0\r\n\r\n", H1_BAD, 400},
        {RQ "Transfer-Encoding: chunked\r\n\r\n1;a=\"b\177\"\r\na\r\n0\r\n\r\n", H1_BAD, 400},
        {RQ "Transfer-Encoding: chunked\r\n\r\n1;a=b\"c\"\r\na\r\n0\r\n\r\n", H1_BAD, 400},
    };
    run_all(rows, ARRAY_LEN(rows), HTTP_REQUEST, H1_GO);
}

static void reads_answers(void **state)
{
    static const struct want rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokX", H1_DONE, 0, NULL, NULL, "ok", 1},
        {"HTTP/1.1 204\r\nContent-Length: 2\r\n\r\nok", H1_DONE, 0, NULL, NULL, "", 2},
        {"HTTP/1.1 304 x\r\n\r\n", H1_DONE, 0, NULL, NULL, "", 0},
        {"HTTP/1.0 200 OK\r\n\r\nuntil close", H1_DONE, 0, NULL, NULL, "until close", 0},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nX", H1_DONE, 0,
         NULL, NULL, "ok", 1},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", H1_MORE},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", H1_BAD, 502},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n", H1_BAD, 502},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", H1_BAD, 502},
        {"HTTP/1.1 200 OK\r\nX: " LONG5 "\r\n\r\n", H1_BAD, 502},
        {"HTTP/2.0 200 OK\r\n\r\n", H1_BAD, 502},
        {"hello\r\n", H1_BAD, 502},
    };
    static const struct want heads[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nHT", H1_DONE, 0, NULL, NULL, "", 2},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nHT", H1_DONE, 0, NULL, NULL, "", 2},
        {"HTTP/1.1 200 OK\r\n\r\nHT", H1_DONE, 0, NULL, NULL, "", 2},
    };
    run_all(rows, ARRAY_LEN(rows), HTTP_RESPONSE, H1_GO);
    run_all(heads, ARRAY_LEN(heads), HTTP_RESPONSE, H1_NO_BODY);
}

static void stops_when_told(void **state)
{
    static const struct want rows[] = {{RQ "\r\n", H1_STOPPED}};
    static const struct want tunnel[] = {
        {"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw", H1_DONE, 0, NULL, NULL,
         "", 3},
    };
    run_all(rows, ARRAY_LEN(rows), HTTP_REQUEST, H1_STOP);
    run_all(tunnel, ARRAY_LEN(tunnel), HTTP_RESPONSE, H1_TUNNEL);
}

static void writes_heads(void **state)
{
    struct http_header room[4];
    struct http_head h;
    struct strbuf out;
    strbuf_init(&out, 4096);
    http_head_init(&h, room, ARRAY_LEN(room));
    h.method = SLICE_LIT("POST");
    h.target = SLICE_LIT("/x?y");
    h.authority = SLICE_LIT("a:1");
    h.body = HTTP_BODY_LENGTH;
    h.content_length = UINT64_MAX;
    assert_int_equal(http_head_add(&h, SLICE_LIT("A"), SLICE_LIT("b")), 0);
    assert_true(h1_write_request(&out, &h, H1_CLOSE));
    assert_string_equal(out.ptr, "POST /x?y HTTP/1.1\r\nHost: a:1\r\nA: b\r\nContent-Length: "
                                 "18446744073709551615\r\nConnection: close\r\n\r\n");
    strbuf_clear(&out);
    h.status = 299;
    assert_true(h1_write_response(&out, &h, H1_KEEP, true, SLICE_LIT("now")));
    assert_string_equal(out.ptr, "HTTP/1.1 299 Unknown\r\nA: b\r\nDate: now\r\n"
                                 "Transfer-Encoding: chunked\r\n\r\n");
    strbuf_fini(&out);
    strbuf_init(&out, 10);
    assert_false(h1_write_request(&out, &h, H1_KEEP));
    strbuf_fini(&out);
    char buf[H1_CHUNK_HEAD_MAX];
    assert_int_equal(h1_chunk_head(buf, 0x1a), 4);
    assert_memory_equal(buf, "1a\r\n", 4);
    assert_int_equal(h1_chunk_head(buf, SIZE_MAX), 18);
    assert_memory_equal(buf, "ffffffffffffffff\r\n", 18);
    assert_int_equal(h1_chunk_head(buf, 16), 4);
    assert_memory_equal(buf, "10\r\n", 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_requests), cmocka_unit_test(refuses_requests),
        cmocka_unit_test(reads_answers),  cmocka_unit_test(stops_when_told),
        cmocka_unit_test(writes_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
