// SPDX-License-Identifier: Apache-2.0
//
// The walker beside jansson: both take the same texts, and a string is the same in both.
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/mem.h"
#include "json/jscan.h"
#include "test.h"

static const char *const TEXTS[] = {
    "{}", "[]", "null", "true", "false", " [ 1 , -2 , 0 ] ", "\"\"", "\"a\\n\\\"b\\\\\\/\"", "1.5",
    "-0", "1e3", "1E+30", "0.5e-7",
    "{\"a\":{\"b\":[{\"c\":\"d\"},\"\xc3\xa4\xe2\x80\xa6\",false]},\"e\":\"\"}",
    "\"\\u0041\\u20ac\\ud83d\\ude00\"", "[[[[]]],{}]", "{\"a\":[]}", "[{\"a\":1},{\"b\":2}]",
    "[\"\",\"]\",\"}\"]",
    /* none of these */
    "", " ", "{", "[", "[1,]", "{\"a\":1,}", "{a:1}", "01", "-", "+1", "1.", ".5", "1e", "1e+",
    "\"a", "\"\n\"", "nul", "truex", "[1 2]", "{} {}", "\"\xc3\"", "\"\xff\"", "'a'", "[1]]",
    "\"\\x\"", "{\"a\" 1}", "{\"a\":}", "\x01", "\"\\ud800\"", "\"\\ude00\"", "\"\\ud83d\\u0041\"",
    "\"\\u12g4\"", "\"\\u12\"", "[,]", "{,}", "[}", "{]", "{\"a\":[}", "{\"a\":1]", "\"\\", "NaN",
    "Infinity", "[1,,2]", "{\"a\":1 \"b\":2}", "\"\xed\xa0\x80\"", "{1:2}", "{\"a\"}", "/**/1",
    "0x1", "-a", "[\"a\":1]", "{\"a\",1}"};

static void test_beside_jansson(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++) {
        json_t *want = json_loads(TEXTS[i], JSON_DECODE_ANY, NULL);
        bool got = jscan_valid(slice_str(TEXTS[i]));
        if (got != (want != NULL)) {
            fail_msg("%s: %d", TEXTS[i], got);
        }
        json_decref(want);
    }
}

/* Every text cut at every place, and with every byte changed: no reading beyond the end. */
static void test_cut_and_changed(void **state)
{
    static const char bytes[] = "\"\\{}[]:,u0e-.\x80\xc3 \n";
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++) {
        size_t len = strlen(TEXTS[i]);
        for (size_t n = 0; n <= len; n++) {
            char *cut = xmalloc(n == 0 ? 1 : n);
            memcpy(cut, TEXTS[i], n);
            json_t *want = json_loadb(cut, n, JSON_DECODE_ANY, NULL);
            assert_int_equal(jscan_valid(slice_of(cut, n)), want != NULL);
            json_decref(want);
            for (size_t k = 0; n > 0 && k < sizeof(bytes) - 1; k++) {
                cut[n - 1] = bytes[k];
                want = json_loadb(cut, n, JSON_DECODE_ANY, NULL);
                assert_int_equal(jscan_valid(slice_of(cut, n)), want != NULL);
                json_decref(want);
            }
            free(cut);
        }
    }
}

static void test_strings(void **state)
{
    static const char *const rows[] = {"\"\"", "\"abc\"", "\"a\\n\\\"b\\\\\\/\\b\\f\\r\\t\"",
                                       "\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00x\"",
                                       "\"\xe2\x82\xac\\u0000y\""};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[64];
        struct jscan s = jscan_of(slice_str(rows[i]));
        struct jscan_value value;
        assert_true(jscan_value(&s, &value) && jscan_end(&s));
        assert_int_equal(value.kind, JSCAN_STRING);
        assert_int_equal(value.string.escaped, strchr(rows[i], '\\') != NULL);
        size_t len = jscan_unescape(value.string, out);
        json_t *want = json_loads(rows[i], JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_int_equal(len, json_string_length(want));
        assert_memory_equal(out, json_string_value(want), len);
        json_decref(want);
    }
}

static void test_walk(void **state)
{
    struct error err;
    struct jscan s = jscan_of(SLICE_LIT("{ \"a\" : 1.0 , \"b\": [ {} , 2 ],\n \"c\" : ?"));
    struct jscan_string name;
    struct jscan_value value;
    assert_true(jscan_open(&s, '{'));
    assert_true(jscan_more(&s, '}') && jscan_name(&s, &name) && jscan_value(&s, &value));
    ASSERT_SLICE(name.text, "a");
    ASSERT_SLICE(value.raw, "1.0");
    assert_true(jscan_more(&s, '}') && jscan_name(&s, &name) && jscan_value(&s, &value));
    ASSERT_SLICE(value.raw, "[ {} , 2 ]");
    assert_int_equal(value.kind, JSCAN_ARRAY);
    assert_true(jscan_more(&s, '}') && jscan_name(&s, &name));
    assert_false(jscan_value(&s, &value));
    assert_false(jscan_more(&s, '}'));
    assert_true(jscan_failed(&s));
    assert_false(jscan_end(&s));
    ASSERT_ERR(ERR_INVALID, jscan_error(&s, &err));
    ASSERT_MSG("line 2, column 8: a value is expected");
}

static void test_depth(void **state)
{
    char text[2 * JSCAN_DEPTH_MAX + 2];
    for (int deep = JSCAN_DEPTH_MAX; deep <= JSCAN_DEPTH_MAX + 1; deep++) {
        memset(text, '[', (size_t)deep);
        memset(text + deep, ']', (size_t)deep);
        assert_int_equal(jscan_valid(slice_of(text, (size_t)deep * 2)), deep == JSCAN_DEPTH_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_beside_jansson), cmocka_unit_test(test_cut_and_changed),
        cmocka_unit_test(test_strings),        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
