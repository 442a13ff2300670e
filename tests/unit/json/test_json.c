// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "json/jbuild.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "json/jtext.h"
#include "test.h"

static json_t *parse(const char *text)
{
    struct error err;
    json_t *value = NULL;
    ASSERT_OK(jparse(slice_str(text), 1 << 20, &value, &err));
    return value;
}

static const char sample[] = "{\"spec\":{\"replicas\":3,\"ratio\":0.5,\"on\":true,\"none\":null,"
                             "\"name\":\"x\",\"list\":[{\"image\":\"a\"},{\"image\":\"b\"}]},"
                             "\"metadata\":{\"annotations\":{\"a.b/c\":\"7\"}}}";

static void reads_by_path(void **state)
{
    struct error err;
    CLEANUP(jfree) json_t *root = parse(sample);
    struct slice s;
    int64_t n = 0;
    double x = 0;
    bool on = false;
    json_t *sub = NULL;
    ASSERT_OK(jget_str(root, "spec.list[1].image", &s, &err));
    ASSERT_SLICE(s, "b");
    ASSERT_OK(jget_str(root, "spec.list[-1].image", &s, &err));
    ASSERT_SLICE(s, "b");
    ASSERT_OK(jget_str(root, "metadata.annotations.`a.b/c`", &s, &err));
    ASSERT_SLICE(s, "7");
    ASSERT_OK(jget_i64(root, "spec.replicas", &n, &err));
    assert_int_equal(n, 3);
    ASSERT_OK(jget_double(root, "spec.ratio", &x, &err));
    assert_true(x == 0.5);
    ASSERT_OK(jget_double(root, "spec.replicas", &x, &err));
    assert_true(x == 3);
    ASSERT_OK(jget_bool(root, "spec.on", &on, &err));
    assert_true(on);
    ASSERT_OK(jget_obj(root, "spec", &sub, &err));
    ASSERT_OK(jget_arr(sub, "list", &sub, &err));
    assert_int_equal(json_array_size(sub), 2);
}

static void reading_says_what_is_wrong(void **state)
{
    struct error err;
    CLEANUP(jfree) json_t *root = parse(sample);
    struct slice s = SLICE_LIT("before");
    int64_t n = 9;
    ASSERT_ERR(ERR_NOT_FOUND, jget_str(root, "spec.absent", &s, &err));
    assert_string_equal(err.msg, "spec.absent: missing");
    ASSERT_SLICE(s, "before");
    ASSERT_ERR(ERR_NOT_FOUND, jget_str(root, "spec.none", &s, &err));
    ASSERT_ERR(ERR_NOT_FOUND, jget_str(root, "spec.name.deeper", &s, &err));
    ASSERT_ERR(ERR_NOT_FOUND, jget_str(root, "spec.list[2].image", &s, &err));
    ASSERT_ERR(ERR_INVALID, jget_i64(root, "spec.name", &n, &err));
    assert_string_equal(err.msg, "spec.name: must be a whole number, is a string");
    ASSERT_ERR(ERR_INVALID, jget_i64_or(root, "spec.name", 5, &n, &err));
    assert_int_equal(n, 9);
    ASSERT_OK(jget_i64_or(root, "spec.absent", 5, &n, &err));
    assert_int_equal(n, 5);
    assert_string_equal(jpeek_cstr(root, "spec.name"), "x");
    assert_string_equal(jpeek_cstr(root, "spec.list"), "");
    assert_string_equal(jpeek_cstr(NULL, "spec.list"), "");
    assert_int_equal(jpeek_i64(root, "spec.replicas"), 3);
    assert_true(jpeek_bool(root, "spec.on"));
    assert_null(jpeek_obj(root, "spec.list"));
    assert_non_null(jpeek_arr(root, "spec.list"));
}

static void parsing_is_strict(void **state)
{
    static const struct {
        const char *text;
        int code;
        const char *says;
    } rows[] = {
        {"", ERR_INVALID, "empty"},
        {"{\"a\":1,\"a\":2}", ERR_INVALID, "duplicate"},
        {"{\"a\":1}x", ERR_INVALID, "line 1, column 8"},
        {"{\n \"a\": tru }", ERR_INVALID, "line 2"},
        {"[1,]", ERR_INVALID, "line 1"},
        {"\"\xff\"", ERR_INVALID, "0xff"},
        {"{\"a\":\"\\u0000\"}", ERR_INVALID, "\\u0000"},
        {"[9223372036854775808]", ERR_INVALID, "too big"},
        {"[\"0123456789012345678901234567890123456789\"]", ERR_TOO_BIG, "at most 40"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err;
        json_t *value = NULL;
        ASSERT_ERR(rows[i].code, jparse(slice_str(rows[i].text), 40, &value, &err));
        ASSERT_MSG(rows[i].says);
        assert_null(value);
    }
    struct error err;
    json_t *value = NULL;
    ASSERT_ERR(ERR_INVALID, jparse_object(SLICE_LIT("[1]"), 40, &value, &err));
    ASSERT_OK(jparse(SLICE_LIT(" 7 "), 40, &value, &err));
    json_decref(value);
}

static void parsing_bounds_depth(void **state)
{
    struct error err;
    json_t *value = NULL;
    char text[4 * JPARSE_DEPTH_MAX];
    int n = 0;
    for (int i = 0; i < JPARSE_DEPTH_MAX; i++) {
        text[n++] = '[';
    }
    memcpy(text + n, "\"[[[\\\"[[\"", 9); /* brackets in a string do not count */
    n += 9;
    for (int i = 0; i < JPARSE_DEPTH_MAX; i++) {
        text[n++] = ']';
    }
    ASSERT_OK(jparse(slice_of(text, (size_t)n), 1000, &value, &err));
    json_decref(value);
    memmove(text + 1, text, (size_t)n);
    text[n + 1] = ']';
    ASSERT_ERR(ERR_TOO_BIG, jparse(slice_of(text, (size_t)n + 2), 1000, &value, &err));
    ASSERT_MSG("deeper than 64");
}

static void dumps(void **state)
{
    struct error err;
    CLEANUP(jfree)
    json_t *root = parse("{\"b\":[1,2.5,0.1,1.0,true,null,{}],\"a\":\"\\u00fc\\n\"}");
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 100);
    ASSERT_OK(jdump(root, &out, &err));
    assert_string_equal(out.ptr, "{\"b\":[1,2.5,0.1,1.0,true,null,{}],\"a\":\"\xc3\xbc\\n\"}");
    strbuf_clear(&out);
    ASSERT_OK(jdump_canonical(root, &out, &err));
    assert_string_equal(out.ptr, "{\"a\":\"\xc3\xbc\\n\",\"b\":[1,2.5,0.1,1.0,true,null,{}]}");
    strbuf_clear(&out);
    CLEANUP(jfree) json_t *again = parse("{\"a\":[1],\"e\":{}}");
    ASSERT_OK(jdump_pretty(again, &out, &err));
    assert_string_equal(out.ptr, "{\n  \"a\": [\n    1\n  ],\n  \"e\": {}\n}");
    struct strbuf tiny;
    strbuf_init(&tiny, 10);
    ASSERT_ERR(ERR_TOO_BIG, jdump(root, &tiny, &err));
    strbuf_fini(&tiny);
    CLEANUP(cleanup_free) char *text = jdump_str(again);
    assert_string_equal(text, "{\"a\":[1],\"e\":{}}");
}

static void builds(void **state)
{
    struct error err;
    struct jbuild b;
    json_t *root = NULL;
    jbuild_init(&b);
    jbuild_str(&b, "metadata.name", "x");
    jbuild_strf(&b, "metadata.annotations.`a.b/c`", "%d", 7);
    jbuild_i64(&b, "spec.replicas", 1);
    jbuild_str(&b, "spec.containers[+].name", "one");
    jbuild_str(&b, "spec.containers[-1].image", "i");
    jbuild_str(&b, "spec.containers[+].name", "two");
    jbuild_bool(&b, "spec.containers[0].on", true);
    jbuild_arr(&b, "spec.list");
    jbuild_json(&b, "spec.list[+]", json_pack("{s:i}", "k", 1));
    jbuild_obj(&b, "spec.list[0]"); /* is there already: kept */
    jbuild_double(&b, "spec.x", 0.25);
    ASSERT_OK(jbuild_take(&b, &root, &err));
    CLEANUP(cleanup_free) char *text = jdump_str(root);
    assert_string_equal(text,
                        "{\"metadata\":{\"name\":\"x\",\"annotations\":{\"a.b/c\":\"7\"}},"
                        "\"spec\":{\"replicas\":1,\"containers\":[{\"name\":\"one\",\"image\":"
                        "\"i\",\"on\":true},{\"name\":\"two\"}],\"list\":[{\"k\":1}],\"x\":0.25}}");
    json_decref(root);
}

static void building_fails_as_a_whole(void **state)
{
    struct error err;
    struct jbuild b;
    json_t *root = NULL;
    jbuild_init(&b);
    jbuild_str(&b, "a.good", "x");
    jbuild_str(&b, "a.bad", "\xff");
    jbuild_str(&b, "a.later", "y");
    jbuild_double(&b, "a.nan", 0.0 / 0.0);
    ASSERT_ERR(ERR_INVALID, jbuild_take(&b, &root, &err));
    ASSERT_MSG("a.bad: not valid UTF-8");
    assert_null(root);
    jbuild_init(&b);
    jbuild_str(&b, "a", "text");
    jbuild_str(&b, "a.b", "below a text");
    ASSERT_ERR(ERR_INVALID, jbuild_take(&b, &root, &err));
    jbuild_fini(&b);
    jbuild_from(&b, NULL);
    ASSERT_ERR(ERR_INVALID, jbuild_take(&b, &root, &err));
}

/* The examples of RFC 7386, appendix A. */
static void merge_patches(void **state)
{
    static const char *const rows[][3] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
        {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
        {"{\"a\":\"foo\"}", "null", "null"},
        {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
        {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
        {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(jfree) json_t *target = parse(rows[i][0]);
        CLEANUP(jfree) json_t *before = json_deep_copy(target);
        CLEANUP(jfree) json_t *patch = parse(rows[i][1]);
        CLEANUP(jfree) json_t *want = parse(rows[i][2]);
        CLEANUP(jfree) json_t *got = jmerge_patch(target, patch);
        assert_true(jequal(got, want));
        CLEANUP(jfree) json_t *shared = jmerge_patch_shared(target, patch);
        assert_true(jequal(shared, want));
        assert_true(jequal(target, before));
    }
    CLEANUP(jfree) json_t *patch = parse("{\"a\":{\"b\":null}}");
    CLEANUP(jfree) json_t *got = jmerge_patch(NULL, patch);
    CLEANUP(jfree) json_t *want = parse("{\"a\":{}}");
    assert_true(jequal(got, want));
    CLEANUP(jfree) json_t *shared = jmerge_patch_shared(NULL, patch);
    assert_true(jequal(shared, want));
    CLEANUP(jfree) json_t *target = parse("{\"a\":{\"b\":1},\"c\":[1]}");
    CLEANUP(jfree) json_t *changed = jmerge_patch_shared(target, patch);
    assert_ptr_equal(json_object_get(changed, "c"), json_object_get(target, "c"));
    assert_ptr_not_equal(json_object_get(changed, "a"), json_object_get(target, "a"));
}

static void diff_is_the_smallest_patch(void **state)
{
    static const char *const rows[][3] = {
        {"{\"a\":1}", "{\"a\":1}", "{}"},
        {"{\"a\":1,\"b\":2}", "{\"a\":1}", "{\"b\":null}"},
        {"{\"a\":{\"x\":1,\"y\":2}}", "{\"a\":{\"x\":1,\"y\":3}}", "{\"a\":{\"y\":3}}"},
        {"{\"a\":[1]}", "{\"a\":[1,2],\"c\":{}}", "{\"a\":[1,2],\"c\":{}}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(jfree) json_t *from = parse(rows[i][0]);
        CLEANUP(jfree) json_t *to = parse(rows[i][1]);
        CLEANUP(jfree) json_t *want = parse(rows[i][2]);
        CLEANUP(jfree) json_t *got = jmerge_diff(from, to);
        assert_true(jequal(got, want));
        CLEANUP(jfree) json_t *back = jmerge_patch(from, got);
        assert_true(jequal(back, to));
    }
}

static void rows(void **state)
{
    CLEANUP(jfree)
    json_t *root = parse(
        "{\"c\":[1,{\"n\":7},{\"n\":\"b\",\"v\":1},{\"n\":\"a\",\"v\":2},{\"n\":\"a\",\"v\":3}]}");
    assert_int_equal(jpeek_i64(jpeek_row(root, "c", "n", SLICE_LIT("a")), "v"), 2);
    assert_null(jpeek_row(root, "c", "n", SLICE_LIT("7")));
    assert_null(jpeek_row(root, "d", "n", SLICE_LIT("a")));
    assert_null(jpeek_row(NULL, "c", "n", SLICE_LIT("a")));
}

static void pointers(void **state)
{
    struct error err;
    CLEANUP(jfree) json_t *root = parse("{\"a/b\":{\"m~n\":[10,20]},\"\":5}");
    assert_ptr_equal(jpointer_get(root, SLICE_EMPTY), root);
    assert_int_equal(json_integer_value(jpointer_get(root, SLICE_LIT("/a~1b/m~0n/1"))), 20);
    assert_int_equal(json_integer_value(jpointer_get(root, SLICE_LIT("/"))), 5);
    assert_null(jpointer_get(root, SLICE_LIT("/a~1b/m~0n/2")));
    assert_null(jpointer_get(root, SLICE_LIT("/a~1b/m~0n/01")));
    assert_null(jpointer_get(root, SLICE_LIT("/a~2b")));
    assert_null(jpointer_get(root, SLICE_LIT("a")));
    ASSERT_OK(jpointer_set(root, SLICE_LIT("/a~1b/m~0n/-"), json_integer(30), &err));
    ASSERT_OK(jpointer_set(root, SLICE_LIT("/a~1b/m~0n/0"), json_integer(11), &err));
    ASSERT_OK(jpointer_set(root, SLICE_LIT("/new"), json_true(), &err));
    ASSERT_ERR(ERR_INVALID, jpointer_set(root, SLICE_LIT("/a~1b/m~0n/9"), json_true(), &err));
    ASSERT_ERR(ERR_NOT_FOUND, jpointer_set(root, SLICE_LIT("/no/x"), json_true(), &err));
    ASSERT_OK(jpointer_remove(root, SLICE_LIT("/a~1b/m~0n/1"), &err));
    ASSERT_OK(jpointer_remove(root, SLICE_LIT("/"), &err));
    ASSERT_ERR(ERR_NOT_FOUND, jpointer_remove(root, SLICE_LIT("/gone"), &err));
    CLEANUP(jfree) json_t *want = parse("{\"a/b\":{\"m~n\":[11,30]},\"new\":true}");
    assert_true(jequal(root, want));
}

static void names_stand_in_order_and_scalars_are_short(void **state)
{
    (void)state;
    CLEANUP(jfree)
    json_t *value =
        json_pack("{s:f,s:[f,f,I,b,b,n,s]}", "b", 1.0, "a", 1.0, 0.1, (json_int_t)-7, 1, 0, "x");
    CLEANUP(cleanup_free) const char **names = jtext_names(value);
    CLEANUP(cleanup_free) const char **none = jtext_names(NULL);
    assert_string_equal(names[0], "a");
    assert_string_equal(names[1], "b");
    assert_null(names[2]);
    assert_null(none[0]);
    CLEANUP(strbuf_fini) struct strbuf out;
    size_t i;
    json_t *item;
    strbuf_init(&out, 256);
    json_array_foreach(json_object_get(value, "a"), i, item)
    {
        jtext_scalar(&out, item);
        strbuf_append_char(&out, ' ');
    }
    assert_string_equal(out.ptr, "1 0.1 -7 true false null x ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_by_path),
        cmocka_unit_test(reading_says_what_is_wrong),
        cmocka_unit_test(parsing_is_strict),
        cmocka_unit_test(parsing_bounds_depth),
        cmocka_unit_test(dumps),
        cmocka_unit_test(builds),
        cmocka_unit_test(building_fails_as_a_whole),
        cmocka_unit_test(merge_patches),
        cmocka_unit_test(diff_is_the_smallest_patch),
        cmocka_unit_test(rows),
        cmocka_unit_test(pointers),
        cmocka_unit_test(names_stand_in_order_and_scalars_are_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
