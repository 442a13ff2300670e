// SPDX-License-Identifier: Apache-2.0
#include "serving/announce.h"
#include "test.h"

/* Made with another implementation of HMAC. */
#define KEY_WANTED   "27de90adb2f7c7ec19f2422581b969a1217a7cf56410ea031d6e8fe48bd2d27f"
#define CODE_WANTED  "48b1278f82688a9d3ae0a0b9c0838664ed358f97c3eb58fc50b7239c548dc51a"
#define PROOF_WANTED "4bc890c07e4864bdf682298e143fe86cca34a177440e872a51dae8831b99d382"

#define SECRET SLICE_LIT("sixteen bytes or more of secret")

static const struct announcement good = {
    .ns = SLICE_LIT("default"),
    .revision = SLICE_LIT("hello-00001"),
    .revision_uid = SLICE_LIT("6a0f0c4e-7b3c-4b7e-9a51-8f0a5a1f2b3c"),
    .pod = SLICE_LIT("hello-00001-deployment-5f8d-abcde"),
    .pod_uid = SLICE_LIT("e1a7c1de-0000-4000-8000-000000000001"),
    .address = SLICE_LIT("10.244.0.7"),
    .nonce = SLICE_LIT("00112233445566778899aabbccddeeff"),
    .time_ms = 1763880000123,
};

static void key_of(struct slice uid, char out[static SHA256_HEX + 1])
{
    announce_key(SECRET, uid, out);
}

static void written(const struct announcement *a, struct strbuf *out)
{
    char key[SHA256_HEX + 1];
    key_of(a->revision_uid, key);
    strbuf_init(out, ANNOUNCE_MAX);
    assert_int_equal(announcement_write(a, slice_str(key), out, NULL), 0);
}

static void there_and_back(void **state)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    struct announcement got;
    struct error err;
    char key[SHA256_HEX + 1];
    written(&good, &text);
    assert_int_equal(announcement_read(strbuf_slice(&text), &got, &err), 0);
    assert_true(slice_eq(got.ns, good.ns));
    assert_true(slice_eq(got.revision, good.revision));
    assert_true(slice_eq(got.revision_uid, good.revision_uid));
    assert_true(slice_eq(got.pod, good.pod));
    assert_true(slice_eq(got.pod_uid, good.pod_uid));
    assert_true(slice_eq(got.address, good.address));
    assert_true(slice_eq(got.nonce, good.nonce));
    assert_int_equal(got.time_ms, good.time_ms);
    key_of(good.revision_uid, key);
    assert_true(announcement_is_signed(&got, slice_str(key)));
    key_of(SLICE_LIT("another"), key);
    assert_false(announcement_is_signed(&got, slice_str(key)));
}

/* The bytes are a seam between releases: they do not change. */
static void the_bytes(void **state)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    char key[SHA256_HEX + 1];
    char proof[SHA256_HEX + 1];
    written(&good, &text);
    ASSERT_SLICE(slice_sub(strbuf_slice(&text), 0, text.len - 65),
                 "lull announcement 1\nnamespace default\nrevision hello-00001\n"
                 "revision-uid 6a0f0c4e-7b3c-4b7e-9a51-8f0a5a1f2b3c\n"
                 "pod hello-00001-deployment-5f8d-abcde\n"
                 "pod-uid e1a7c1de-0000-4000-8000-000000000001\naddress 10.244.0.7\n"
                 "time 1763880000123\nnonce 00112233445566778899aabbccddeeff\ncode ");
    key_of(good.revision_uid, key);
    assert_string_equal(key, KEY_WANTED);
    ASSERT_SLICE(slice_sub(strbuf_slice(&text), text.len - 65, 64), CODE_WANTED);
    announce_proof(slice_str(key), good.nonce, good.pod_uid, good.address, proof);
    assert_string_equal(proof, PROOF_WANTED);
}

/* No byte of what was signed may change, and none of the code. */
static void every_byte_counts(void **state)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    char key[SHA256_HEX + 1];
    key_of(good.revision_uid, key);
    written(&good, &text);
    for (size_t i = 0; i < text.len; i++) {
        struct announcement got;
        char was = text.ptr[i];
        text.ptr[i] = was == '1' ? '2' : '1';
        bool ok = announcement_read(strbuf_slice(&text), &got, NULL) == 0 &&
                  announcement_is_signed(&got, slice_str(key));
        assert_false(ok);
        text.ptr[i] = was;
    }
    for (size_t len = 0; len < text.len; len++) {
        struct announcement got;
        assert_int_equal(announcement_read(slice_of(text.ptr, len), &got, NULL), ERR_INVALID);
    }
}

static void bad_ones(void **state)
{
    static const struct {
        const char *from;
        const char *to;
        const char *says;
    } rows[] = {
        {"announcement 1", "announcement 2", "not an announcement of version 1"},
        {"namespace default", "namespace ", "\"namespace\""},
        {"namespace default", "namespace Default", "\"namespace\""},
        {"revision hello", "revision ../hello", "\"revision\""},
        {"revision-uid", "revision_uid", "\"revision-uid\""},
        {"address 10.", "address ::1 10.", "\"address\""},
        {"time 1", "time -1", "\"time\""},
        {"time 1", "time 99999999999999999991", "\"time\""},
        {"nonce 00", "nonce 0", "\"nonce\""},
        {"nonce 00", "nonce GG", "\"nonce\""},
        {"code ", "code 0", "\"code\""},
        {"\ncode", "\n\ncode", "\"code\""},
    };
    CLEANUP(strbuf_fini) struct strbuf text;
    written(&good, &text);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(strbuf_fini) struct strbuf changed;
        struct announcement got;
        struct error err;
        const char *at = strstr(text.ptr, rows[i].from);
        assert_non_null(at);
        strbuf_init(&changed, 4096);
        strbuf_append(&changed, text.ptr, (size_t)(at - text.ptr));
        strbuf_append_str(&changed, rows[i].to);
        strbuf_append_str(&changed, at + strlen(rows[i].from));
        assert_int_equal(announcement_read(strbuf_slice(&changed), &got, &err), ERR_INVALID);
        assert_non_null(strstr(err.msg, rows[i].says));
    }
    strbuf_append_str(&text, "more");
    struct announcement got;
    assert_int_equal(announcement_read(strbuf_slice(&text), &got, NULL), ERR_INVALID);
}

/* What cannot be said is not written. */
static void unsayable(void **state)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    struct announcement a = good;
    struct error err;
    strbuf_init(&text, ANNOUNCE_MAX);
    a.address = SLICE_EMPTY;
    assert_int_equal(announcement_write(&a, SLICE_LIT("k"), &text, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "address"));
    a = good;
    a.pod = SLICE_LIT("x\ncode 0");
    strbuf_clear(&text);
    assert_int_equal(announcement_write(&a, SLICE_LIT("k"), &text, &err), ERR_INVALID);
}

static void proofs_differ(void **state)
{
    char a[SHA256_HEX + 1];
    char b[SHA256_HEX + 1];
    announce_proof(SLICE_LIT("key"), good.nonce, good.pod_uid, good.address, a);
    announce_proof(SLICE_LIT("key"), good.nonce, good.pod_uid, SLICE_LIT("10.244.0.8"), b);
    assert_string_not_equal(a, b);
    announce_proof(SLICE_LIT("key"), good.nonce, SLICE_LIT("another"), good.address, b);
    assert_string_not_equal(a, b);
    announce_proof(SLICE_LIT("kez"), good.nonce, good.pod_uid, good.address, b);
    assert_string_not_equal(a, b);
    assert_true(announce_challenge_valid(good.nonce));
    assert_false(announce_challenge_valid(SLICE_LIT("0011")));
    assert_false(announce_challenge_valid(SLICE_EMPTY));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),    cmocka_unit_test(the_bytes),
        cmocka_unit_test(every_byte_counts), cmocka_unit_test(bad_ones),
        cmocka_unit_test(unsayable),         cmocka_unit_test(proofs_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
