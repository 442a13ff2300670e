// SPDX-License-Identifier: Apache-2.0
/* What reaches a replica of the headers that a client sent. */
#include <string.h>

#include "activator/headers.h"
#include "test.h"

#define ROOM 40

static void build(struct http_head *head, struct http_header *room, const char *const *pairs)
{
    http_head_init(head, room, ROOM);
    for (; pairs[0] != NULL; pairs += 2) {
        assert_int_equal(http_head_add(head, slice_str(pairs[0]), slice_str(pairs[1])), 0);
    }
}

static void edit(struct http_head *head, const struct headers_context *ctx, struct strbuf *scratch)
{
    struct error err;
    ASSERT_OK(headers_to_replica(head, ctx, scratch, &err));
}

#define GET(head, name) http_head_get((head), SLICE_LIT(name))

static void test_public(void **state)
{
    static const char *const pairs[] = {"Accept",
                                        "*/*",
                                        "K-Proxy-Request",
                                        "activator",
                                        "K-Original-Host",
                                        "evil",
                                        "X-Forwarded-For",
                                        "6.6.6.6",
                                        "X-Forwarded-Host",
                                        "evil",
                                        "Forwarded",
                                        "for=6.6.6.6",
                                        "Knative-Serving-Revision",
                                        "other",
                                        "k-lull-anything",
                                        "1",
                                        "K-Network-Probe",
                                        "queue",
                                        "X-Forwarded-Prefix",
                                        "/evil",
                                        "X-Mine",
                                        "kept",
                                        NULL};
    struct http_header room[ROOM];
    struct http_head head;
    CLEANUP(strbuf_fini) struct strbuf scratch;
    strbuf_init(&scratch, 4096);
    build(&head, room, pairs);
    struct headers_context ctx = {
        .peer = SLICE_LIT("10.0.0.9"), .host = SLICE_LIT("hello.x"), .path_name = SLICE_EMPTY};
    edit(&head, &ctx, &scratch);
    ASSERT_SLICE(GET(&head, "Accept"), "*/*");
    ASSERT_SLICE(GET(&head, "X-Mine"), "kept");
    ASSERT_SLICE(GET(&head, "K-Proxy-Request"), "activator");
    ASSERT_SLICE(GET(&head, "K-Original-Host"), "hello.x");
    ASSERT_SLICE(GET(&head, "X-Forwarded-For"), "10.0.0.9");
    ASSERT_SLICE(GET(&head, "X-Forwarded-Host"), "hello.x");
    ASSERT_SLICE(GET(&head, "X-Forwarded-Proto"), "http");
    ASSERT_SLICE(GET(&head, "Lull-Hops"), "1");
    ASSERT_SLICE(GET(&head, "Forwarded"), "");
    ASSERT_SLICE(GET(&head, "Knative-Serving-Revision"), "");
    ASSERT_SLICE(GET(&head, "K-Lull-Anything"), "");
    ASSERT_SLICE(GET(&head, "K-Network-Probe"), "");
    ASSERT_SLICE(GET(&head, "X-Forwarded-Prefix"), "");
    assert_int_equal(head.n_headers, 2 + 6);
}

static void test_trusted(void **state)
{
    static const char *const pairs[] = {"X-Forwarded-For",
                                        "1.1.1.1",
                                        "X-Forwarded-For",
                                        "2.2.2.2",
                                        "X-Forwarded-Host",
                                        "front",
                                        "X-Forwarded-Proto",
                                        "https",
                                        "Forwarded",
                                        "for=1.1.1.1",
                                        "K-Lull-Revision",
                                        "default/other",
                                        NULL};
    struct http_header room[ROOM];
    struct http_head head;
    CLEANUP(strbuf_fini) struct strbuf scratch;
    strbuf_init(&scratch, 4096);
    build(&head, room, pairs);
    struct headers_context ctx = {.peer = SLICE_LIT("10.0.0.9"),
                                  .host = SLICE_LIT("hello.x"),
                                  .trust_forwarded = true,
                                  .hops = 4,
                                  .revision = SLICE_LIT("default/hello-00001"),
                                  .path_name = SLICE_LIT("/_lull/default/hello")};
    edit(&head, &ctx, &scratch);
    ASSERT_SLICE(GET(&head, "X-Forwarded-For"), "1.1.1.1, 2.2.2.2, 10.0.0.9");
    ASSERT_SLICE(GET(&head, "X-Forwarded-Host"), "front");
    ASSERT_SLICE(GET(&head, "X-Forwarded-Proto"), "https");
    ASSERT_SLICE(GET(&head, "Forwarded"), "for=1.1.1.1");
    ASSERT_SLICE(GET(&head, "X-Forwarded-Prefix"), "/_lull/default/hello");
    ASSERT_SLICE(GET(&head, "Lull-Hops"), "5");
    ASSERT_SLICE(GET(&head, "K-Lull-Revision"), "default/hello-00001");
}

static void test_unix_peer(void **state)
{
    static const char *const pairs[] = {"A", "b", NULL};
    struct http_header room[ROOM];
    struct http_head head;
    CLEANUP(strbuf_fini) struct strbuf scratch;
    strbuf_init(&scratch, 4096);
    build(&head, room, pairs);
    struct headers_context ctx = {
        .peer = SLICE_LIT("unix"), .tls = true, .host = SLICE_LIT("h"), .path_name = SLICE_EMPTY};
    edit(&head, &ctx, &scratch);
    assert_null(http_head_find(&head, SLICE_LIT("X-Forwarded-For")));
    ASSERT_SLICE(GET(&head, "X-Forwarded-Proto"), "https");
}

static void test_no_room(void **state)
{
    struct http_header room[3];
    struct http_head head;
    struct error err;
    CLEANUP(strbuf_fini) struct strbuf scratch;
    strbuf_init(&scratch, 4096);
    http_head_init(&head, room, 3);
    struct headers_context ctx = {
        .peer = SLICE_LIT("unix"), .host = SLICE_LIT("h"), .path_name = SLICE_EMPTY};
    ASSERT_ERR(ERR_TOO_BIG, headers_to_replica(&head, &ctx, &scratch, &err));
}

static void test_hops(void **state)
{
    static const struct {
        const char *value;
        unsigned want;
    } rows[] = {{NULL, 0},
                {"0", 0},
                {"7", 7},
                {"32", 32},
                {"33", HEADER_HOPS_MAX},
                {"-1", HEADER_HOPS_MAX},
                {"x", HEADER_HOPS_MAX},
                {"", HEADER_HOPS_MAX}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *const pairs[] = {rows[i].value == NULL ? "x" : "lull-HOPS",
                                     rows[i].value == NULL ? "y" : rows[i].value, NULL};
        struct http_header room[ROOM];
        struct http_head head;
        build(&head, room, pairs);
        assert_int_equal(headers_hops(&head), rows[i].want);
    }
}

static void test_answer(void **state)
{
    static const char *const pairs[] = {
        "K-Lull-Refused", "full", "K-Lull-X", "1", "X-Y", "2", NULL};
    struct http_header room[ROOM];
    struct http_head head;
    build(&head, room, pairs);
    headers_to_client(&head);
    assert_int_equal(head.n_headers, 1);
    ASSERT_SLICE(GET(&head, "X-Y"), "2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_public),    cmocka_unit_test(test_trusted),
        cmocka_unit_test(test_unix_peer), cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_hops),      cmocka_unit_test(test_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
