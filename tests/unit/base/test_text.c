// SPDX-License-Identifier: Apache-2.0
#include "base/list.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "test.h"

static void slices_compare(void **state)
{
    assert_true(slice_eq(SLICE_LIT("ab"), slice_str("ab")));
    assert_false(slice_eq(SLICE_LIT("ab"), SLICE_LIT("aB")));
    assert_true(slice_eq_nocase(SLICE_LIT("Content-Length"), SLICE_LIT("content-length")));
    assert_false(slice_eq_nocase(SLICE_LIT("a["), SLICE_LIT("a{")));
    assert_true(slice_eq(slice_of(NULL, 0), SLICE_EMPTY));
    assert_true(slice_cmp(SLICE_LIT("a"), SLICE_LIT("ab")) < 0);
    assert_true(slice_cmp(SLICE_LIT("b"), SLICE_LIT("ab")) > 0);
    assert_int_equal(slice_cmp(SLICE_LIT("x"), SLICE_LIT("x")), 0);
    assert_true(slice_starts_with(SLICE_LIT("unix:/a"), SLICE_LIT("unix:")));
    assert_false(slice_starts_with(SLICE_LIT("un"), SLICE_LIT("unix:")));
    assert_true(slice_ends_with(SLICE_LIT("a.sock"), SLICE_LIT(".sock")));
    assert_false(slice_ends_with(SLICE_LIT("k"), SLICE_LIT(".sock")));
}

static void slices_cut(void **state)
{
    ASSERT_SLICE(slice_sub(SLICE_LIT("hello"), 1, 3), "ell");
    ASSERT_SLICE(slice_sub(SLICE_LIT("hello"), 4, 30), "o");
    ASSERT_SLICE(slice_sub(SLICE_LIT("hello"), 9, 1), "");
    ASSERT_SLICE(slice_trim(SLICE_LIT(" \t a b ")), "a b");
    ASSERT_SLICE(slice_trim(SLICE_LIT("  ")), "");
    assert_int_equal(slice_find(SLICE_LIT("a:b:c"), ':'), 1);
    assert_int_equal(slice_rfind(SLICE_LIT("a:b:c"), ':'), 3);
    assert_int_equal(slice_find(SLICE_EMPTY, ':'), -1);
    char small[4];
    assert_true(slice_copy(SLICE_LIT("abc"), small, sizeof(small)));
    assert_string_equal(small, "abc");
    assert_false(slice_copy(SLICE_LIT("abcd"), small, sizeof(small)));
    assert_string_equal(small, "");
}

static void slices_split(void **state)
{
    static const struct {
        const char *text;
        const char *parts[4];
    } rows[] = {
        {"a,,b", {"a", "", "b"}}, {"a,", {"a", ""}}, {"", {""}}, {",", {"", ""}}, {"one", {"one"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct slice rest = slice_str(rows[i].text);
        struct slice part;
        size_t n = 0;
        while (slice_split(&rest, ',', &part)) {
            assert_non_null(rows[i].parts[n]);
            ASSERT_SLICE(part, rows[i].parts[n]);
            n++;
        }
        assert_null(rows[i].parts[n]);
    }
}

static void buffer_grows_to_its_maximum(void **state)
{
    CLEANUP(strbuf_fini) struct strbuf b;
    strbuf_init(&b, 1000);
    assert_string_equal(b.ptr, "");
    for (int i = 0; i < 100; i++) {
        assert_int_equal(strbuf_append_str(&b, "0123456789"), 0);
    }
    assert_int_equal(b.len, 1000);
    assert_int_equal(b.ptr[1000], '\0');
    assert_int_equal(strbuf_append_char(&b, 'x'), ERR_TOO_BIG);
    assert_int_equal(b.len, 1000);
    assert_false(strbuf_ok(&b));
    strbuf_consume(&b, 990);
    assert_string_equal(b.ptr, "0123456789");
    assert_int_equal(strbuf_append_char(&b, 'x'), ERR_TOO_BIG); /* a failure sticks */
    strbuf_clear(&b);
    assert_true(strbuf_ok(&b));
    assert_int_equal(strbuf_append_char(&b, 'x'), 0);
    assert_string_equal(b.ptr, "x");
}

static void buffer_formats(void **state)
{
    CLEANUP(strbuf_fini) struct strbuf b;
    strbuf_init(&b, 2000);
    assert_int_equal(strbuf_appendf(&b, "%s-%d", "a", 7), 0);
    assert_int_equal(strbuf_appendf(&b, "%1500d", 1), 0); /* longer than the small path */
    assert_int_equal(b.len, 1503);
    assert_int_equal(strbuf_appendf(&b, "%1500d", 1), ERR_TOO_BIG);
    assert_int_equal(b.len, 1503);
    size_t len = 0;
    CLEANUP(cleanup_free) char *text = strbuf_take(&b, &len);
    assert_int_equal(len, 1503);
    assert_memory_equal(text, "a-7 ", 4);
    assert_string_equal(b.ptr, "");
    CLEANUP(cleanup_free) char *none = strbuf_take(&b, NULL);
    assert_string_equal(none, "");
}

static void buffer_reserves(void **state)
{
    CLEANUP(strbuf_fini) struct strbuf b;
    strbuf_init(&b, 10);
    char *place = strbuf_reserve(&b, 10);
    assert_non_null(place);
    memcpy(place, "hello", 5);
    strbuf_commit(&b, 5);
    assert_string_equal(b.ptr, "hello");
    assert_null(strbuf_reserve(&b, 6));
}

static void json_text_is_escaped(void **state)
{
    static const struct {
        const char *text;
        const char *want;
    } rows[] = {
        {"plain", "\"plain\""},
        {"a\"b\\c\nd\te", "\"a\\\"b\\\\c\\nd\\u0009e\""},
        {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x99\x82",
         "\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x99\x82\""},
        {"\xff", "\"\\ufffd\""},
        {"\xc0\x80", "\"\\ufffd\\ufffd\""},            /* overlong */
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""}, /* surrogate */
        {"x\xe2\x82", "\"x\\ufffd\\ufffd\""},          /* cut */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(strbuf_fini) struct strbuf b;
        strbuf_init(&b, 100);
        assert_int_equal(strbuf_append_json(&b, slice_str(rows[i].text)), 0);
        assert_string_equal(b.ptr, rows[i].want);
    }
}

struct item {
    int n;
    struct list link;
};

static void lists_link_and_unlink(void **state)
{
    struct list head;
    struct list other;
    struct item items[4] = {{1}, {2}, {3}, {4}};
    list_init(&head);
    list_init(&other);
    assert_null(list_first(&head));
    for (size_t i = 0; i < 3; i++) {
        list_init(&items[i].link);
        assert_false(list_linked(&items[i].link));
        list_push_back(&head, &items[i].link);
        assert_true(list_linked(&items[i].link));
    }
    list_push_front(&other, &items[3].link);
    list_splice_back(&head, &other);
    assert_true(list_empty(&other));
    int sum = 0;
    list_foreach (node, &head) {
        sum = sum * 10 + LIST_ENTRY(node, struct item, link)->n;
    }
    assert_int_equal(sum, 1234);
    list_foreach_safe (node, &head) {
        if (LIST_ENTRY(node, struct item, link)->n % 2 == 0) {
            list_remove(node);
            list_remove(node);
        }
    }
    assert_ptr_equal(list_pop_front(&head), &items[0].link);
    assert_ptr_equal(list_last(&head), &items[2].link);
    assert_ptr_equal(list_pop_front(&head), &items[2].link);
    assert_null(list_pop_front(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_compare),       cmocka_unit_test(slices_cut),
        cmocka_unit_test(slices_split),         cmocka_unit_test(buffer_grows_to_its_maximum),
        cmocka_unit_test(buffer_formats),       cmocka_unit_test(buffer_reserves),
        cmocka_unit_test(json_text_is_escaped), cmocka_unit_test(lists_link_and_unlink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
