// SPDX-License-Identifier: Apache-2.0
#include "http/head.h"
#include "test.h"

#define ROOM 32

static void finds_every_id(void **state)
{
#define ROW(id, text)                                      \
    assert_int_equal(http_header_id(SLICE_LIT(text)), id); \
    assert_int_equal(http_header_id(slice_of(text "x", sizeof(text))), HTTP_H_OTHER);
    HTTP_HEADER_MAP(ROW)
#undef ROW
    assert_int_equal(http_header_id(SLICE_LIT("CoNtEnT-LeNgTh")), HTTP_H_CONTENT_LENGTH);
    assert_int_equal(http_header_id(SLICE_LIT("")), HTTP_H_OTHER);
    assert_int_equal(http_header_id(SLICE_LIT("x-a-very-long-name-of-a-header")), HTTP_H_OTHER);
}

static void add(struct http_head *h, const char *name, const char *value)
{
    assert_int_equal(http_head_add(h, slice_str(name), slice_str(value)), 0);
}

static void copies_without_hop_by_hop(void **state)
{
    struct http_header in_room[ROOM];
    struct http_header out_room[ROOM];
    struct http_head in;
    struct http_head out;
    http_head_init(&in, in_room, ROOM);
    add(&in, "Host", "a");
    add(&in, "connection", "keep-alive, X-Gone,x-other, Authorization, K-Proxy-Request");
    add(&in, "Connection", "close ,X-Third");
    add(&in, "X-Gone", "1");
    add(&in, "X-OTHER", "1");
    add(&in, "x-third", "1");
    add(&in, "Authorization", "secret");
    add(&in, "K-Proxy-Request", "activator");
    add(&in, "Transfer-Encoding", "chunked");
    add(&in, "TE", "trailers");
    add(&in, "Trailer", "x");
    add(&in, "Upgrade", "websocket");
    add(&in, "X-Kept", "1");
    http_head_init(&out, out_room, ROOM);
    assert_int_equal(http_head_copy(&in, &out), 0);
    assert_int_equal(out.n_headers, 3);
    ASSERT_SLICE(out.headers[0].name, "Authorization");
    ASSERT_SLICE(out.headers[1].name, "K-Proxy-Request");
    ASSERT_SLICE(out.headers[2].name, "X-Kept");
    http_head_init(&out, out_room, 2);
    assert_int_equal(http_head_copy(&in, &out), ERR_TOO_BIG);
}

static void copies_with_many_names_in_connection(void **state)
{
    struct http_header in_room[64];
    struct http_header out_room[64];
    char names[40][8];
    struct http_head in;
    struct http_head out;
    http_head_init(&in, in_room, ARRAY_LEN(in_room));
    add(&in, "Connection", "Cache-Control, Ce-Id, Content-Encoding");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(names[i], sizeof(names[i]), "x-%zu", i);
        add(&in, "Connection", names[i]);
    }
    add(&in, "X-39", "1");
    add(&in, "x-0", "1");
    add(&in, "Cache-Control", "no-store");
    add(&in, "ce-id", "1");
    add(&in, "Content-Encoding", "gzip");
    http_head_init(&out, out_room, ARRAY_LEN(out_room));
    assert_int_equal(http_head_copy(&in, &out), 0);
    assert_int_equal(out.n_headers, 3);
    ASSERT_SLICE(out.headers[0].name, "Cache-Control");
}

static void knows_what_may_be_a_trailer(void **state)
{
    static const char *const good[] = {"X-Sum", "grpc-status", "Server-Timing", "Digest", "ETag"};
    static const char *const bad[] = {
        "Content-Length",  "transfer-encoding", "HOST",          "Trailer",    "TE",
        "Content-Type",    "Authorization",     "Set-Cookie",    "K-Foo",      "Forwarded",
        "X-Forwarded-For", "Lull-Hops",         "Cache-Control", "Connection", "Upgrade",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct slice name = slice_str(good[i]);
        assert_true(
            http_trailer_allowed(&(struct http_header){.name = name, .id = http_header_id(name)}));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct slice name = slice_str(bad[i]);
        assert_false(
            http_trailer_allowed(&(struct http_header){.name = name, .id = http_header_id(name)}));
    }
}

static void finds_and_removes(void **state)
{
    struct http_header room[4];
    struct http_head h;
    http_head_init(&h, room, ARRAY_LEN(room));
    add(&h, "X-A", "1");
    add(&h, "Accept", "text/plain, application/json");
    add(&h, "x-a", "2");
    add(&h, "B", "");
    assert_int_equal(http_head_add(&h, SLICE_LIT("C"), SLICE_LIT("3")), ERR_TOO_BIG);
    ASSERT_SLICE(http_head_get(&h, SLICE_LIT("x-A")), "1");
    ASSERT_SLICE(http_head_get(&h, SLICE_LIT("nope")), "");
    assert_true(
        http_list_has(http_head_get(&h, SLICE_LIT("accept")), SLICE_LIT("APPLICATION/json")));
    assert_int_equal(http_head_remove(&h, SLICE_LIT("x-a")), 2);
    assert_int_equal(h.n_headers, 2);
    assert_null(http_head_find(&h, SLICE_LIT("X-A")));
}

static void splits_targets(void **state)
{
    struct http_head h = {.target = SLICE_LIT("/a/b?c=d?e")};
    ASSERT_SLICE(http_head_path(&h), "/a/b");
    ASSERT_SLICE(http_head_query(&h), "c=d?e");
    h.target = SLICE_LIT("/a");
    ASSERT_SLICE(http_head_path(&h), "/a");
    ASSERT_SLICE(http_head_query(&h), "");
}

static void checks_names_and_values(void **state)
{
    assert_true(http_name_valid(SLICE_LIT("X-a_9!")));
    assert_false(http_name_valid(SLICE_LIT("")));
    assert_false(http_name_valid(SLICE_LIT("a b")));
    assert_false(http_name_valid(SLICE_LIT("a:")));
    assert_false(http_name_valid(slice_of("a\0b", 3)));
    assert_true(http_value_valid(SLICE_LIT("a\tb \xe9")));
    assert_false(http_value_valid(SLICE_LIT("a\r\nb")));
    assert_false(http_value_valid(slice_of("a\0b", 3)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_every_id),
        cmocka_unit_test(copies_without_hop_by_hop),
        cmocka_unit_test(copies_with_many_names_in_connection),
        cmocka_unit_test(knows_what_may_be_a_trailer),
        cmocka_unit_test(finds_and_removes),
        cmocka_unit_test(splits_targets),
        cmocka_unit_test(checks_names_and_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
