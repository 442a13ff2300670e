// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "test.h"

static void sets_code_and_sentence(void **state)
{
    struct error err;
    ASSERT_ERR(ERR_TOO_BIG, error_set(&err, ERR_TOO_BIG, "%d bytes", 7));
    assert_string_equal(err.msg, "7 bytes");
    assert_int_equal(error_set(NULL, ERR_IO, "x"), ERR_IO);
}

static void prefixes_going_up(void **state)
{
    struct error err;
    int rc = error_set(&err, ERR_NOT_FOUND, "no such key");
    assert_int_equal(error_prefix(&err, rc, "config of %s", "a"), ERR_NOT_FOUND);
    assert_string_equal(err.msg, "config of a: no such key");
}

static void cuts_long_sentences(void **state)
{
    struct error err;
    char longer[2 * ERROR_MSG_MAX];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    error_set(&err, ERR_IO, "%s", longer);
    assert_int_equal(strlen(err.msg), ERROR_MSG_MAX - 1);
    error_prefix(&err, ERR_IO, "%s", longer);
    assert_int_equal(strlen(err.msg), ERROR_MSG_MAX - 1);
    error_prefix(&err, ERR_IO, "near");
    assert_memory_equal(err.msg, "near: xxx", 9);
}

static void a_sentence_may_quote_itself(void **state)
{
    struct error err;
    error_set(&err, ERR_IO, "first");
    error_set(&err, ERR_IO, "second after %s", err.msg);
    assert_string_equal(err.msg, "second after first");
}

static void maps_errno(void **state)
{
    struct error err;
    ASSERT_ERR(ERR_NOT_FOUND, error_from_errno(&err, ENOENT, "open %s", "/x"));
    assert_string_equal(err.msg, "open /x: No such file or directory");
    assert_int_equal(error_code_of_errno(0), 0);
    assert_int_equal(error_code_of_errno(ECONNREFUSED), ERR_REFUSED);
    assert_int_equal(error_code_of_errno(12345), ERR_IO);
    assert_true(error_from_errno(NULL, 0, "never success") < 0);
}

static void every_row_has_its_columns(void **state)
{
#define ROW(code, number, status, retry, text)         \
    assert_true((number) <= -1000);                    \
    assert_string_equal(error_name(code), #code);      \
    assert_string_equal(error_text(code), text);       \
    assert_int_equal(error_http_status(code), status); \
    assert_int_equal(error_retryable(code), retry);
    ERR_MAP(ROW)
#undef ROW
    assert_string_equal(error_name(0), "ERR_OK");
    assert_int_equal(error_http_status(0), 200);
    assert_string_equal(error_name(-5), "ERR_INTERNAL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_code_and_sentence),
        cmocka_unit_test(prefixes_going_up),
        cmocka_unit_test(cuts_long_sentences),
        cmocka_unit_test(a_sentence_may_quote_itself),
        cmocka_unit_test(maps_errno),
        cmocka_unit_test(every_row_has_its_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
