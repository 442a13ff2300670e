// SPDX-License-Identifier: Apache-2.0
#include "link/proto.h"
#include "test.h"

#define SECRET SLICE_LIT("0123456789abcdef0123456789abcdef")

struct pair {
    struct link_session client;
    struct link_session server;
};

static void begin(struct pair *p, const struct link_nonces *nonces)
{
    struct error err;
    *p = (struct pair){.client = {.sent = 0}};
    ASSERT_OK(link_session_begin(&p->client, SECRET, false, nonces, &err));
    ASSERT_OK(link_session_begin(&p->server, SECRET, true, nonces, &err));
}

static void end(struct pair *p)
{
    link_session_fini(&p->client);
    link_session_fini(&p->server);
}

static void plain_frames_have_the_documented_bytes(void **state)
{
    struct error err;
    struct link_session s = {.sent = 0};
    struct link_frame frame;
    size_t used = 0;
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 100);
    ASSERT_OK(link_encode(&s, 2, SLICE_LIT("abc"), &out, &err));
    assert_int_equal(out.len, 11);
    assert_memory_equal(out.ptr, "\0\0\0\7\1\2\0\0abc", 11);
    for (size_t n = 0; n < out.len; n++) {
        assert_int_equal(link_decode(&s, slice_of(out.ptr, n), &frame, &used, &err), 0);
    }
    assert_int_equal(link_decode(&s, strbuf_slice(&out), &frame, &used, &err), 1);
    assert_int_equal(used, 11);
    assert_int_equal(frame.type, 2);
    ASSERT_SLICE(frame.payload, "abc");
}

static void broken_heads_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        int code;
    } rows[] = {
        {"\0\0\0\3\1\2\0\0", 8, ERR_PROTOCOL},  /* shorter than its own head */
        {"\0\x10\0\1\1\2\0\0", 8, ERR_TOO_BIG}, /* more than 1 MiB */
        {"\xff\xff\xff\xff", 4, ERR_TOO_BIG},
        {"\0\0\0\7\2\2\0\0abc", 11, ERR_PROTOCOL}, /* version 2 */
        {"\0\0\0\7\1\2\1\0abc", 11, ERR_PROTOCOL},
        {"GET / HTTP/1.1\r\n", 16, ERR_TOO_BIG},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err;
        struct link_session s = {.sent = 0};
        struct link_frame frame;
        size_t used;
        ASSERT_ERR(rows[i].code,
                   link_decode(&s, slice_of(rows[i].bytes, rows[i].len), &frame, &used, &err));
    }
}

static void coded_frames_pass_in_order_only(void **state)
{
    struct error err;
    struct pair p;
    struct link_nonces nonces = {.server = "s", .client = "c"};
    struct link_frame frame;
    size_t used = 0;
    struct strbuf one;
    struct strbuf two;
    strbuf_init(&one, 100);
    strbuf_init(&two, 100);
    begin(&p, &nonces);
    ASSERT_OK(link_encode(&p.client, 3, SLICE_LIT("first"), &one, &err));
    ASSERT_OK(link_encode(&p.client, 3, SLICE_LIT("first"), &two, &err));
    assert_int_equal(one.len, 8 + 5 + 16);
    assert_memory_not_equal(one.ptr + 13, two.ptr + 13, 16); /* the counter is in the code */
    ASSERT_ERR(ERR_DENIED, link_decode(&p.server, strbuf_slice(&two), &frame, &used, &err));
    assert_int_equal(link_decode(&p.server, strbuf_slice(&one), &frame, &used, &err), 1);
    ASSERT_SLICE(frame.payload, "first");
    ASSERT_ERR(ERR_DENIED, link_decode(&p.server, strbuf_slice(&one), &frame, &used, &err));
    assert_int_equal(link_decode(&p.server, strbuf_slice(&two), &frame, &used, &err), 1);
    /* The other direction has a key of its own. */
    ASSERT_ERR(ERR_DENIED, link_decode(&p.client, strbuf_slice(&one), &frame, &used, &err));
    strbuf_fini(&one);
    strbuf_fini(&two);
    end(&p);
}

static void every_changed_bit_is_seen(void **state)
{
    struct error err;
    struct link_nonces nonces = {.server = "s", .client = "c"};
    struct pair p;
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 100);
    begin(&p, &nonces);
    ASSERT_OK(link_encode(&p.client, 3, SLICE_LIT("payload"), &out, &err));
    for (size_t bit = 0; bit < out.len * 8; bit++) {
        struct link_frame frame;
        size_t used;
        char mask = (char)(1 << (bit % 8));
        out.ptr[bit / 8] ^= mask;
        int rc = link_decode(&p.server, strbuf_slice(&out), &frame, &used, &err);
        assert_true(rc < 0 || (rc == 0 && bit < 32)); /* a longer length waits for more */
        out.ptr[bit / 8] ^= mask;
    }
    end(&p);
}

static void another_connection_has_other_keys(void **state)
{
    struct error err;
    struct pair a;
    struct pair b;
    struct link_nonces first = {.server = "s", .client = "c"};
    struct link_nonces second = {.server = "t", .client = "c"};
    struct link_frame frame;
    size_t used;
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 100);
    begin(&a, &first);
    begin(&b, &second);
    ASSERT_OK(link_encode(&a.client, 3, SLICE_LIT("x"), &out, &err));
    ASSERT_ERR(ERR_DENIED, link_decode(&b.server, strbuf_slice(&out), &frame, &used, &err));
    end(&a);
    end(&b);
}

static void proofs_differ_by_role_nonce_and_secret(void **state)
{
    struct link_nonces nonces = {.server = "s", .client = "c"};
    unsigned char a[LINK_PROOF_BYTES];
    unsigned char b[LINK_PROOF_BYTES];
    link_proof(SECRET, false, &nonces, a);
    link_proof(SECRET, false, &nonces, b);
    assert_true(link_proof_ok(a, b));
    link_proof(SECRET, true, &nonces, b);
    assert_false(link_proof_ok(a, b));
    link_proof(SLICE_LIT("another secret 0123456789"), false, &nonces, b);
    assert_false(link_proof_ok(a, b));
    nonces.client[31] = 1;
    link_proof(SECRET, false, &nonces, b);
    assert_false(link_proof_ok(a, b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_frames_have_the_documented_bytes),
        cmocka_unit_test(broken_heads_are_refused),
        cmocka_unit_test(coded_frames_pass_in_order_only),
        cmocka_unit_test(every_changed_bit_is_seen),
        cmocka_unit_test(another_connection_has_other_keys),
        cmocka_unit_test(proofs_differ_by_role_nonce_and_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
