// SPDX-License-Identifier: Apache-2.0
//
// What YAML means here, what is refused and with which words, and that what is written reads back.
#include "base/mem.h"
#include "json/jedit.h"
#include "json/jparse.h"
#include "test.h"
#include "yaml/ydump.h"
#include "yaml/yparse.h"

static char *as_json(const char *text)
{
    struct yaml_docs docs = {0};
    struct error err;
    ASSERT_OK(yparse(slice_str(text), &docs, &err));
    assert_int_equal(docs.count, 1);
    char *json = jdump_str(docs.items[0].value);
    yaml_docs_fini(&docs);
    return json;
}

static void means(const char *text, const char *json)
{
    CLEANUP(cleanup_free) char *got = as_json(text);
    assert_string_equal(got, json);
}

static void refused(struct slice text, int code, const char *words)
{
    struct yaml_docs docs = {0};
    struct error err;
    ASSERT_ERR(code, yparse(text, &docs, &err));
    ASSERT_MSG(words);
    assert_int_equal(docs.count, 0);
}

static void test_plain_words(void **state)
{
    (void)state;
    means("[yes, No, on, true, y, ~, null, ]", "[true,false,true,true,true,null,null]");
    means("[1, -7, 0x1F, 0o17, 017, 08, 0b11, 1_000, +5]", "[1,-7,31,15,15,8,3,1000,5]");
    means("[1.5, .5, 1., 1e3, -0.0, 1.0, 9223372036854775807]",
          "[1.5,0.5,1,1000,0,1,9223372036854775807]");
    means("[12:30:45, 2026-01-01, 1.2.3, v1, 0x, '1', \"yes\", -, +]",
          "[\"12:30:45\",\"2026-01-01\",\"1.2.3\",\"v1\",\"0x\",\"1\",\"yes\",\"-\",\"+\"]");
    means("{1: a, yes: b, 1.5: c, k: !!str 12, m: !!int 12}",
          "{\"1\":\"a\",\"true\":\"b\",\"1.5\":\"c\",\"k\":\"12\",\"m\":12}");
    means("a: [.]", "{\"a\":[\".\"]}");
}

static void test_forms(void **state)
{
    (void)state;
    means("a: |\n  x\n   y\nb: >-\n  x\n  y\n", "{\"a\":\"x\\n y\\n\",\"b\":\"x y\"}");
    means("{\"a\": \"\\ud83d\\ude00\\/\", \"b\": 1.0}", "{\"a\":\"\xf0\x9f\x98\x80/\",\"b\":1}");
    means("{a: 1,\tb: 2}", "{\"a\":1,\"b\":2}");
    means("\xef\xbb\xbf"
          "a: 1\r\n",
          "{\"a\":1}");
    means("base: &b {x: 1, z: 2}\nuse:\n  <<: *b\n  z: 3\n",
          "{\"base\":{\"x\":1,\"z\":2},\"use\":{\"z\":3,\"x\":1}}");
    means("a: &t text\nb: *t\n", "{\"a\":\"text\",\"b\":\"text\"}");
}

static void test_documents(void **state)
{
    (void)state;
    struct yaml_docs docs = {0};
    struct error err;
    ASSERT_OK(yparse(SLICE_LIT("# nothing\n---\na: 1\n---\n---\n\nb: 2\n...\n"), &docs, &err));
    assert_int_equal(docs.count, 2);
    assert_int_equal(docs.items[0].line, 2);
    assert_int_equal(docs.items[1].line, 5);
    yaml_docs_fini(&docs);
    ASSERT_OK(yparse(SLICE_LIT(""), &docs, &err));
    assert_int_equal(docs.count, 0);
    yaml_docs_fini(&docs);
}

static void test_refused(void **state)
{
    (void)state;
    refused(SLICE_LIT("a: 1\nb:\n\tc: 2\n"), ERR_INVALID, "line 3, column 1: a tab cannot indent");
    refused(SLICE_LIT("a: 1\nb: 2\na: 3\n"), ERR_INVALID, "line 3, column 1: the key \"a\"");
    refused(SLICE_LIT("{\"a\": 1, \"a\": 2}"), ERR_INVALID, "line 1");
    refused(SLICE_LIT("a: 1\nb: \xff\xfe\n"), ERR_INVALID, "line 2: invalid");
    refused(SLICE_LIT("a: 1\nb: \xc0\xaf\n"), ERR_INVALID, "line 2");
    refused(SLICE_LIT("\xff\xfe"
                      "a\0:\0 \0b\0"),
            ERR_INVALID, "line 1");
    refused(SLICE_LIT("a: \"\\0\"\n"), ERR_INVALID, "NUL");
    refused(SLICE_LIT("a: \x01\n"), ERR_INVALID, "line 1");
    refused(SLICE_LIT("a: .inf\n"), ERR_INVALID, "no place in JSON");
    refused(SLICE_LIT("a: !!binary aGk=\n"), ERR_INVALID, "tag");
    refused(SLICE_LIT("a: !!int x\n"), ERR_INVALID, "tag");
    refused(SLICE_LIT("a: !own {}\n"), ERR_INVALID, "tag");
    refused(SLICE_LIT("? [a]\n: b\n"), ERR_INVALID, "a key must be text");
    refused(SLICE_LIT("~: b\n"), ERR_INVALID, "a key must be text");
    refused(SLICE_LIT("a: *b\n"), ERR_INVALID, "stands for nothing");
    refused(SLICE_LIT("a: &a\n  b: *a\n"), ERR_INVALID, "would contain itself");
    refused(SLICE_LIT("a: {\n"), ERR_INVALID, "line 2");
    refused(SLICE_LIT("{\"a\": }}"), ERR_INVALID, "line 1");
    refused(SLICE_LIT("<<: 1\n"), ERR_INVALID, "must bring a map");
}

static void test_bounds(void **state)
{
    (void)state;
    char bomb[4096] = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
    for (int i = 1; i < 12; i++) {
        size_t at = strlen(bomb);
        snprintf(bomb + at, sizeof bomb - at,
                 "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1, i - 1, i - 1,
                 i - 1, i - 1, i - 1, i - 1, i - 1);
    }
    refused(slice_str(bomb), ERR_TOO_BIG, "what aliases copy");

    char deep[400];
    memset(deep, '[', sizeof deep);
    refused(slice_of(deep, sizeof deep), ERR_TOO_BIG, "nested deeper");
    CLEANUP(strbuf_fini) struct strbuf block;
    strbuf_init(&block, 1 << 20);
    for (int i = 0; i < 100; i++) {
        strbuf_appendf(&block, "%*sa:\n", i, "");
    }
    refused(strbuf_slice(&block), ERR_TOO_BIG, "line 65");
    strbuf_clear(&block);
    for (int i = 0; i <= YPARSE_DOCS_MAX; i++) {
        strbuf_append_str(&block, "--- 1\n");
    }
    refused(strbuf_slice(&block), ERR_TOO_BIG, "documents");
    static const char byte[] = "";
    refused(slice_of(byte, YPARSE_BYTES_MAX + 1), ERR_TOO_BIG, "at most");
}

static void written(const char *json, const char *want)
{
    json_t *value = NULL;
    struct yaml_docs docs = {0};
    struct error err;
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, 1 << 20);
    ASSERT_OK(jparse(slice_str(json), 1 << 20, &value, &err));
    ASSERT_OK(ydump(value, &text, &err));
    if (want) {
        assert_string_equal(text.ptr, want);
    }
    ASSERT_OK(yparse(strbuf_slice(&text), &docs, &err));
    assert_true(jequal(docs.items[0].value, value));
    yaml_docs_fini(&docs);
    json_decref(value);
}

static void test_writing(void **state)
{
    (void)state;
    written("{\"b\":[{\"z\":1,\"x\":[]},\"t\"],\"a\":{\"k\":{}}}",
            "a:\n  k: {}\nb:\n- x: []\n  z: 1\n- t\n");
    written("[\"yes\",\"1\",\"\",\"a: b\",\"a:b\",\"# x\",\"- x\",\"2026-01-01T00:00:00Z\",\" x\"]",
            "- \"yes\"\n- \"1\"\n- \"\"\n- \"a: b\"\n- a:b\n- \"# x\"\n- \"- x\"\n"
            "- \"2026-01-01T00:00:00Z\"\n- \" x\"\n");
    written(
        "{\"a\":\"x\\n  y\\n\",\"b\":\"x\\ny\",\"c\":\"x\\n\\n\",\"d\":\"\\n\",\"e\":\"x \\ny\"}",
        "a: |\n  x\n    y\nb: |-\n  x\n  y\nc: |+\n  x\n\nd: \"\\n\"\ne: \"x \\ny\"\n");
    written("{\"a\":\"\\u001b[31m\\u2028\\u0085\\\"\\\\\",\"\\t\":null,\"n\":1.5}", NULL);
    written("{\"a\":[[1,[2,{\"b\":[3]}]],\"x\\ny\"]}", NULL);
    char longer[2100];
    snprintf(longer, sizeof longer, "{\"%0*d\":{\"a\":1},\"b\":2}", 2000, 1);
    written(longer, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_words), cmocka_unit_test(test_forms),
        cmocka_unit_test(test_documents),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bounds),      cmocka_unit_test(test_writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
