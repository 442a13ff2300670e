// SPDX-License-Identifier: Apache-2.0
//
// The quick reader beside jansson: what it takes, jansson takes too, and both make the same of it.
#include <stdlib.h>
#include <string.h>

#include "json/jread.h"
#include "test.h"

#define DEPTH 64

static const char *const TAKEN[] = {
    "{}",
    "[]",
    "null",
    "true",
    " [ 1 , -2 , 0 ] ",
    "\"\"",
    "\"a\\n\\\"b\\\\\\/\"",
    "123456789012345678",
    "{\"a\":{\"b\":[{\"c\":\"d\"},\"\xc3\xa4\xe2\x80\xa6\",false]},\"e\":\"\"}",
    "{\"metadata\":{\"name\":\"x\",\"labels\":{\"a/b\":\"c\"}},\"spec\":{\"n\":1}}",
};
static const char *const LEFT[] = {
    "",
    "{",
    "[1,]",
    "{\"a\":1,}",
    "{a:1}",
    "01",
    "-",
    "-0",
    "+1",
    "1.5",
    "1e3",
    "\"\\u0041\"",
    "\"a",
    "\"\n\"",
    "nul",
    "truex",
    "[1 2]",
    "{} {}",
    "\"\xc3\"",
    "\"\xff\"",
    "{\"\xc3\xa4\":1}",
    "1234567890123456789",
    "'a'",
    "[1]]",
    "\"\\x\"",
    "{\"a\" 1}",
    "{\"a\":}",
    "\x01",
};

static void test_what_is_taken(void **state)
{
    for (size_t i = 0; i < sizeof TAKEN / sizeof *TAKEN; i++) {
        json_t *got = jread(slice_str(TAKEN[i]), true, DEPTH);
        json_t *want = json_loads(TAKEN[i], JSON_DECODE_ANY, NULL);
        assert_non_null(got);
        assert_true(json_equal(got, want));
        json_decref(got);
        json_decref(want);
    }
    for (size_t i = 0; i < sizeof LEFT / sizeof *LEFT; i++) {
        assert_null(jread(slice_str(LEFT[i]), false, DEPTH));
    }
}

static void test_names_that_stand_twice(void **state)
{
    static const char text[] = "{\"a\":1,\"b\":2,\"a\":3}";
    assert_null(jread(slice_str(text), true, DEPTH));
    json_t *got = jread(slice_str(text), false, DEPTH);
    assert_int_equal(json_integer_value(json_object_get(got, "a")), 3);
    json_decref(got);
}

static void test_depth(void **state)
{
    char text[2 * DEPTH + 3];
    for (int levels = DEPTH; levels <= DEPTH + 1; levels++) {
        memset(text, '[', (size_t)levels);
        memset(text + levels, ']', (size_t)levels);
        json_t *got = jread(slice_of(text, 2 * (size_t)levels), true, DEPTH);
        assert_true((got != NULL) == (levels == DEPTH));
        json_decref(got);
    }
}

static void test_one_member(void **state)
{
    static const char *const WITHOUT[] = {
        "{\"a\":1}", "{\"m\":1,\"m\":2}", "{\"m\":1,\"b\":}",     "{\"m\":1",
        "[]",        "{\"m\":1}x",        "{\"b\":[1,],\"m\":1}", "{}"};
    json_t *got = jread_member(SLICE_LIT("{\"b\":[1,{\"m\":2}],\"m\":{\"x\":[]} , \"c\":\"\\n\"}"),
                               "m", DEPTH);
    assert_true(json_is_array(json_object_get(got, "x")));
    json_decref(got);
    for (size_t i = 0; i < sizeof WITHOUT / sizeof *WITHOUT; i++) {
        assert_null(jread_member(slice_str(WITHOUT[i]), "m", DEPTH));
    }
}

/* A small generator of our own: the same texts on every machine. */
static unsigned next(unsigned *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void test_mutations_agree(void **state)
{
    static const char bytes[] = "{}[]\",:\\ntrue0-1.eEu\x01\xc3 ab";
    unsigned seed = 5, taken = 0;
    for (unsigned round = 0; round < 200000; round++) {
        char text[256];
        const char *from = TAKEN[next(&seed) % (sizeof TAKEN / sizeof *TAKEN)];
        size_t len = strlen(from);
        memcpy(text, from, len);
        for (unsigned n = next(&seed) % 3; n > 0 && len > 0; n--) {
            text[next(&seed) % len] = bytes[next(&seed) % (sizeof bytes - 1)];
        }
        char *exact = malloc(len ? len : 1); /* so that a sanitizer sees one byte too far */
        memcpy(exact, text, len);
        json_t *got = jread(slice_of(exact, len), true, DEPTH);
        json_t *member = jread_member(slice_of(exact, len), "metadata", DEPTH);
        json_t *want = json_loadb(exact, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
        json_t *loose = json_loadb(exact, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_true(got == NULL || json_equal(got, want));
        assert_true(member == NULL || json_equal(member, json_object_get(loose, "metadata")));
        taken += got != NULL;
        json_decref(got);
        json_decref(member);
        json_decref(want);
        json_decref(loose);
        free(exact);
    }
    assert_true(taken > 50000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_taken),   cmocka_unit_test(test_names_that_stand_twice),
        cmocka_unit_test(test_depth),           cmocka_unit_test(test_one_member),
        cmocka_unit_test(test_mutations_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
