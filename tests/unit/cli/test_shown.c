// SPDX-License-Identifier: Apache-2.0
//
// What is shown: differences, tables, and nothing that a terminal would obey.
#include "base/mem.h"
#include "json/jparse.h"
#include "cli/diff_text.h"
#include "cli/table.h"
#include "cli/term.h"
#include "test.h"

static void differs(const char *before, const char *after, const char *want)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 1 << 20);
    assert_true(diff_text(slice_str(before), slice_str(after), &out));
    assert_string_equal(out.ptr, want);
}

static void test_diff(void **state)
{
    (void)state;
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 100);
    assert_false(diff_text(slice_str("a\n"), slice_str("a\n"), &out));
    differs("", "a\n", "@@ -0,0 +1,1 @@\n+a\n");
    differs("a\n", "", "@@ -1,1 +0,0 @@\n-a\n");
    differs("a\nb\nc\n", "a\nx\nc\n", "@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n");
    differs(
        "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n", "1\nx\n3\n4\n5\n6\n7\n8\n9\n10\ny\n12\n",
        "@@ -1,5 +1,5 @@\n 1\n-2\n+x\n 3\n 4\n 5\n@@ -8,5 +8,5 @@\n 8\n 9\n 10\n-11\n+y\n 12\n");
    differs("a\n\nb\n", "a\nb\n", "@@ -1,3 +1,2 @@\n a\n-\n b\n");
}

static void shown(const char *text, const char *want)
{
    // In one piece, and byte by byte.
    for (int piece = 0; piece < 2; piece++) {
        struct term_filter filter = {0};
        CLEANUP(strbuf_fini) struct strbuf out;
        strbuf_init(&out, 1000);
        for (size_t i = 0, len = strlen(text); i < len; i += piece ? 1 : len) {
            term_harmless(&filter, slice_of(text + i, piece ? 1 : len), &out);
        }
        term_end(&filter, &out);
        assert_string_equal(out.ptr, want);
    }
}

static void test_terminal(void **state)
{
    (void)state;
    shown("plain\ttext\n", "plain\ttext\n");
    shown("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07");
    shown("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
          "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
    shown("\xc2\x9b"
          "31m",
          "\\xc2\\x9b"
          "31m");             // CSI in one character
    shown("a\rb", "a\\x0db"); // would overwrite
    shown("a\r\nb\r", "a\nb\\x0d");
    shown("\xff\xc3(\xe2\x82", "\\xff\\xc3(\\xe2\\x82");        // no UTF-8, and cut
    shown("\xe2\x80\xae", "\\xe2\\x80\\xae");                   // turns the direction
    shown("\xc0\x9b\xe0\x82\x9b", "\\xc0\\x9b\\xe0\\x82\\x9b"); // overlong
    shown("\x7f", "\\x7f");
}

static void test_table(void **state)
{
    (void)state;
    json_t *table = NULL;
    struct error err;
    struct table_style style = {0};
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 10000);
    ASSERT_OK(jparse_object(
        SLICE_LIT(
            "{\"columnDefinitions\":[{\"name\":\"Name\"},{\"name\":\"N\",\"priority\":1},"
            "{\"name\":\"Reason\"}],\"rows\":["
            "{\"cells\":[\"gr\\u00fcn\",1,null],\"object\":{\"metadata\":{\"namespace\":\"ns\"}}},"
            "{\"cells\":[\"longer\",2,\"two\\nlines\"],\"object\":{\"metadata\":{\"namespace\":"
            "\"n\"}}}]}"),
        10000, &table, &err));
    table_put(table, &style, true, &out);
    assert_string_equal(out.ptr, "NAME     REASON\ngr\xc3\xbcn     <none>\nlonger   two lines\n");
    strbuf_clear(&out);
    style = (struct table_style){.wide = true, .namespaces = true, .prefix = "k/"};
    table_put(table, &style, false, &out);
    assert_string_equal(out.ptr,
                        "ns   k/gr\xc3\xbcn     1   <none>\nn    k/longer   2   two lines\n");
    json_decref(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_diff), cmocka_unit_test(test_terminal),
                                       cmocka_unit_test(test_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
