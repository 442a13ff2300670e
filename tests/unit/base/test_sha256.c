// SPDX-License-Identifier: Apache-2.0
#include "base/sha256.h"
#include "base/strbuf.h"
#include "test.h"

/* Vectors of FIPS 180-4 (NIST's examples) and of RFC 4231. */
static void check(const char *text, const char *want)
{
    unsigned char digest[SHA256_BYTES];
    char hex[SHA256_HEX + 1];
    struct slice part = slice_str(text);
    sha256(&part, 1, digest);
    assert_string_equal(sha256_hex(digest, hex), want);
}

static void digests(void **state)
{
    check("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    check("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqr"
          "lmnopqrsmnopqrstnopqrstu",
          "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
}

static void a_million(void **state)
{
    static char block[1000];
    struct slice parts[1000];
    unsigned char digest[SHA256_BYTES];
    char hex[SHA256_HEX + 1];
    memset(block, 'a', sizeof(block));
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        parts[i] = slice_of(block, sizeof(block));
    }
    sha256(parts, ARRAY_LEN(parts), digest);
    assert_string_equal(sha256_hex(digest, hex),
                        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* How a text is cut into parts does not matter, at no length around a block. */
static void parts_do_not_matter(void **state)
{
    char text[200];
    memset(text, 'x', sizeof(text));
    for (size_t len = 0; len <= sizeof(text); len++) {
        unsigned char whole[SHA256_BYTES];
        unsigned char cut[SHA256_BYTES];
        struct slice all = slice_of(text, len);
        struct slice parts[] = {slice_sub(all, 0, len / 3), SLICE_EMPTY,
                                slice_sub(all, len / 3, len)};
        sha256(&all, 1, whole);
        sha256(parts, ARRAY_LEN(parts), cut);
        assert_memory_equal(whole, cut, SHA256_BYTES);
    }
}

static void codes(void **state)
{
    static const struct {
        char key;
        size_t key_len;
        const char *data; /* NULL: 50 bytes 0xdd */
        const char *want;
    } rows[] = {
        {0x0b, 20, "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {(char)0xaa, 20, NULL, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
        {(char)0xaa, 131, "Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
    };
    char dd[50];
    memset(dd, 0xdd, sizeof(dd));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char key[131];
        unsigned char digest[SHA256_BYTES];
        char hex[SHA256_HEX + 1];
        memset(key, rows[i].key, sizeof(key));
        struct slice data =
            rows[i].data == NULL ? slice_of(dd, sizeof(dd)) : slice_str(rows[i].data);
        hmac_sha256(slice_of(key, rows[i].key_len), &data, 1, digest);
        assert_string_equal(sha256_hex(digest, hex), rows[i].want);
    }
    unsigned char digest[SHA256_BYTES];
    char hex[SHA256_HEX + 1];
    const struct slice parts[] = {SLICE_LIT("what do ya want "), SLICE_LIT("for nothing?")};
    hmac_sha256(SLICE_LIT("Jefe"), parts, 2, digest);
    assert_string_equal(sha256_hex(digest, hex),
                        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

static void secrets_compare(void **state)
{
    assert_true(secret_eq(SLICE_LIT("abc"), SLICE_LIT("abc")));
    assert_false(secret_eq(SLICE_LIT("abc"), SLICE_LIT("abd")));
    assert_false(secret_eq(SLICE_LIT("abc"), SLICE_LIT("bbc")));
    assert_false(secret_eq(SLICE_LIT("abc"), SLICE_LIT("abcd")));
    assert_true(secret_eq(SLICE_EMPTY, SLICE_EMPTY));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests),
        cmocka_unit_test(a_million),
        cmocka_unit_test(parts_do_not_matter),
        cmocka_unit_test(codes),
        cmocka_unit_test(secrets_compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
