// SPDX-License-Identifier: Apache-2.0
/* Names and kinds: the shortening rule, name syntax, look-ups in the table. */
#include "serving/kinds.h"
#include "serving/md5.h"
#include "serving/names.h"
#include "test.h"

static void md5_known_values(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *want;
    } rows[] = {
        {"", "d41d8cd98f00b204e9800998ecf8427e"},
        {"abc", "900150983cd24fb0d6963f7d28e17f72"},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
         "d174ab98d277d9f5a5611c2c9f419d9f"},
        {"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
         "57edf4a22be3c955ac49da2e2107b67a"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char got[33];
        md5_hex(rows[i].text, strlen(rows[i].text), got);
        assert_string_equal(got, rows[i].want);
    }
}

static void child_fits(void **state)
{
    (void)state;
    char name[NAME_BUF];
    name_revision(name, "hello", 1);
    assert_string_equal(name, "hello-00001");
    name_revision(name, "hello", 123456);
    assert_string_equal(name, "hello-123456");
    name_deployment(name, "hello-00001");
    assert_string_equal(name, "hello-00001-deployment");
}

static void child_is_shortened(void **state)
{
    (void)state;
    char name[NAME_BUF];
    char parent[NAME_BUF];
    memset(parent, 'a', NAME_MAX_LEN);
    parent[NAME_MAX_LEN] = '\0';
    name_child(name, parent, "-deployment");
    /* 20 of the parent, the MD5 of the parent, the suffix: 63. */
    char want[NAME_BUF];
    char hash[33];
    md5_hex(parent, NAME_MAX_LEN, hash);
    snprintf(want, sizeof(want), "%.20s%s-deployment", parent, hash);
    assert_string_equal(name, want);
    assert_int_equal(strlen(name), NAME_MAX_LEN);

    /* A long suffix: both are hashed behind the parent's head. */
    name_child(name, "asdf", parent);
    char both[2 * NAME_BUF];
    snprintf(both, sizeof(both), "asdf%s", parent);
    md5_hex(both, strlen(both), hash);
    snprintf(want, sizeof(want), "asdf%s%.27s", hash, parent);
    assert_string_equal(name, want);
}

static void syntax(void **state)
{
    (void)state;
    assert_true(name_is_dns1035("a"));
    assert_true(name_is_dns1035("hello-1"));
    assert_false(name_is_dns1035(""));
    assert_false(name_is_dns1035("1a"));
    assert_false(name_is_dns1035("a-"));
    assert_false(name_is_dns1035("A"));
    assert_false(name_is_dns1035("a.b"));
    assert_true(name_is_dns1123_subdomain("1a.b-c.d"));
    assert_false(name_is_dns1123_subdomain("a..b"));
    assert_false(name_is_dns1123_subdomain("-a"));
    assert_false(name_is_dns1123_subdomain("a-.b"));
    assert_false(name_is_dns1123_subdomain("a.-b"));
    assert_false(name_is_dns1123_subdomain("a."));
}

static void kinds_are_found(void **state)
{
    (void)state;
    assert_ptr_equal(kind_by_word("ksvc"), kind_row(KIND_SERVICE));
    assert_ptr_equal(kind_by_word("Services"), kind_row(KIND_SERVICE));
    assert_ptr_equal(kind_by_word("services.serving.knative.dev"), kind_row(KIND_SERVICE));
    assert_ptr_equal(kind_by_word("svc"), kind_row(KIND_CORE_SERVICE));
    assert_ptr_equal(kind_by_word("po"), kind_row(KIND_POD));
    assert_null(kind_by_word("k"));
    assert_null(kind_by_word(""));
    assert_ptr_equal(kind_by_object("v1", "Service"), kind_row(KIND_CORE_SERVICE));
    assert_ptr_equal(kind_by_object("serving.knative.dev/v1", "Service"), kind_row(KIND_SERVICE));
    assert_null(kind_by_object("serving.knative.dev/v2", "Service"));
    assert_ptr_equal(kind_by_plural("apps", "v1", "deployments"), kind_row(KIND_DEPLOYMENT));
    assert_ptr_equal(kind_by_plural("", "v1", "pods"), kind_row(KIND_POD));
    for (int id = 0; id < KIND_COUNT; id++) {
        const struct kind *k = kind_row((enum kind_id)id);
        assert_int_equal(k->id, id);
        assert_ptr_equal(kind_by_object(kind_api_version(k), k->kind), k);
        assert_true(k->n_columns > 0);
        for (size_t i = 0; i < k->n_columns; i++) {
            assert_true(k->columns[i].name[0] != '\0' && k->columns[i].description[0] != '\0');
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(md5_known_values),   cmocka_unit_test(child_fits),
        cmocka_unit_test(child_is_shortened), cmocka_unit_test(syntax),
        cmocka_unit_test(kinds_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
