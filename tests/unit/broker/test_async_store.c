// SPDX-License-Identifier: Apache-2.0
/* Ids, names and packed headers of asynchronous calls. The scripts are tried with a real Redis. */
#include "broker/async_store.h"
#include "test.h"

static void callees_are_private_names(void **state)
{
    static const struct {
        const char *text;
        const char *name; /* NULL: refused */
        const char *ns;
    } rows[] = {
        {"hello.default.svc.cluster.local", "hello", "default"},
        {"v1-hello.my-ns.svc.corp", "v1-hello", "my-ns"},
        {"", NULL, NULL},
        {"hello.default.svc", NULL, NULL},
        {"hello.default.svc.", NULL, NULL},
        {"hello.default.localhost.x", NULL, NULL},
        {".default.svc.cluster.local", NULL, NULL},
        {"hello..svc.cluster.local", NULL, NULL},
        {"hello.default.svc.cluster.local:80", NULL, NULL},
        {"hello/x.default.svc.cluster.local", NULL, NULL},
        {"Hello.default.svc.cluster.local", NULL, NULL},
        {"a@b.default.svc.cluster.local", NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct slice name = SLICE_EMPTY;
        struct slice ns = SLICE_EMPTY;
        struct error err;
        int rc = async_callee(slice_str(rows[i].text), &name, &ns, &err);
        if (rows[i].name == NULL) {
            assert_int_equal(rc, ERR_INVALID);
            continue;
        }
        assert_int_equal(rc, 0);
        assert_true(slice_eq_str(name, rows[i].name) && slice_eq_str(ns, rows[i].ns));
    }
}

static void ids_begin_with_their_function(void **state)
{
    char tag[ASYNC_TAG_LEN + 1];
    char other[ASYNC_TAG_LEN + 1];
    char id[ASYNC_ID_LEN + 1];
    char again[ASYNC_ID_LEN + 1];
    char key[ASYNC_KEY_MAX];
    async_tag(SLICE_LIT("default"), SLICE_LIT("hello"), tag);
    async_tag(SLICE_LIT("default"), SLICE_LIT("other"), other);
    assert_string_not_equal(tag, other);
    async_id_make(tag, 1700000000, id);
    async_id_make(tag, 1700000000, again);
    assert_string_not_equal(id, again);
    assert_int_equal(strlen(id), ASYNC_ID_LEN);
    assert_memory_equal(id, tag, ASYNC_TAG_LEN);
    assert_true(async_id_valid(slice_str(id)));
    assert_int_equal(async_id_time(slice_str(id)), 1700000000);
    assert_true(strlen(async_call_key(slice_str(id), key)) < ASYNC_KEY_MAX - 1);
    assert_non_null(strstr(key, tag));
    assert_non_null(strstr(key, id));
    assert_true(strlen(async_idem_key(slice_str(tag), SLICE_LIT("a"), SLICE_LIT("b"), key)) <
                ASYNC_KEY_MAX - 1);
}

static void what_is_no_id_is_not_taken(void **state)
{
    char id[ASYNC_ID_LEN + 1];
    async_id_make("01234567", 1, id);
    assert_false(async_id_valid(slice_of(id, ASYNC_ID_LEN - 1)));
    assert_false(async_id_valid(SLICE_EMPTY));
    id[ASYNC_ID_LEN - 1] = 'G';
    assert_false(async_id_valid(slice_str(id)));
    id[ASYNC_ID_LEN - 1] = '}';
    assert_false(async_id_valid(slice_str(id)));
}

static void headers_come_back_as_they_were(void **state)
{
    struct strbuf out;
    struct slice name, value;
    strbuf_init(&out, 4096);
    async_headers_add(&out, SLICE_LIT("X-A"), SLICE_LIT("1, 2"));
    async_headers_add(&out, SLICE_LIT("X-Empty"), SLICE_EMPTY);
    struct slice rest = strbuf_slice(&out);
    assert_true(async_headers_next(&rest, &name, &value));
    assert_true(slice_eq_str(name, "X-A") && slice_eq_str(value, "1, 2"));
    assert_true(async_headers_next(&rest, &name, &value));
    assert_true(slice_eq_str(name, "X-Empty") && slice_empty(value));
    assert_false(async_headers_next(&rest, &name, &value));
    rest = SLICE_EMPTY;
    assert_false(async_headers_next(&rest, &name, &value));
    rest = SLICE_LIT("broken");
    assert_false(async_headers_next(&rest, &name, &value));
    strbuf_fini(&out);
}

static void what_is_kept_and_tried_again(void **state)
{
    assert_true(async_keeps_header(SLICE_LIT("Content-Type")));
    assert_true(async_keeps_header(SLICE_LIT("X-Mine")));
    assert_false(async_keeps_header(SLICE_LIT("content-length")));
    assert_false(async_keeps_header(SLICE_LIT("Transfer-Encoding")));
    static const int again[] = {0, 408, 429, 500, 502, 503, 504};
    static const int final[] = {200, 204, 301, 400, 404, 409, 501};
    for (size_t i = 0; i < ARRAY_LEN(again); i++) {
        assert_true(async_retry_wanted(again[i]));
        assert_false(async_retry_wanted(final[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(callees_are_private_names),
        cmocka_unit_test(ids_begin_with_their_function),
        cmocka_unit_test(what_is_no_id_is_not_taken),
        cmocka_unit_test(headers_come_back_as_they_were),
        cmocka_unit_test(what_is_kept_and_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
