// SPDX-License-Identifier: Apache-2.0
/* Which certificate a client is shown. */
#include "base/mem.h"
#include "activator/certificates.h"
#include "test.h"

static void release(void *identity)
{
    free(identity);
}

static void put(struct certificates *t, const char *id, const char *host, unsigned rank,
                const char *name_a, const char *name_b)
{
    struct slice names[2] = {slice_str(name_a == NULL ? "" : name_a),
                             slice_str(name_b == NULL ? "" : name_b)};
    struct certificate_spec spec = {.id = slice_str(id),
                                    .host = slice_str(host),
                                    .names = names,
                                    .n_names = name_a == NULL   ? 0
                                               : name_b == NULL ? 1
                                                                : 2,
                                    .rank = rank,
                                    .identity = xstrdup(id)};
    certificates_put(t, &spec);
}

static const char *chosen(const struct certificates *t, const char *name)
{
    const struct certificate_row *row = certificates_choose(t, slice_str(name));
    return row == NULL ? "none" : row->identity;
}

static void test_exact_then_wildcard_then_first(void **state)
{
    struct certificates t;
    certificates_init(&t, release);
    assert_string_equal(chosen(&t, "a.example.com"), "none");
    assert_string_equal(chosen(&t, ""), "none");
    put(&t, "shop", "Shop.Example.com", 0, NULL, NULL);
    assert_string_equal(chosen(&t, "shop.example.com"), "shop");
    assert_string_equal(chosen(&t, "SHOP.example.COM."), "shop");
    assert_string_equal(chosen(&t, "other.example.com"), "none");
    put(&t, "second", "", 1, "*.example.com", "*.apps.example.com");
    put(&t, "first", "", 0, "example.org", "*.Example.org");
    put(&t, "exact", "", 7, "www.example.com", NULL);
    static const struct {
        const char *name;
        const char *want;
        bool covered;
    } rows[] = {
        {"shop.example.com", "shop", true},       /* a domain before a wildcard */
        {"www.example.com", "exact", true},       /* a name before a wildcard, whatever its rank */
        {"any.example.com", "second", true},      /* a wildcard */
        {"a.apps.example.com", "second", true},   /* its other one */
        {"a.b.apps.example.com", "first", false}, /* one label only */
        {"example.org", "first", true},
        {"x.EXAMPLE.org", "first", true},
        {".example.org", "first", false},
        {"example.com", "first", false},
        {"", "first", false}, /* names no host */
        {"nobody", "first", false},
        {"*.example.com", "second", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_string_equal(chosen(&t, rows[i].name), rows[i].want);
        assert_int_equal(certificates_cover(&t, slice_str(rows[i].name)), rows[i].covered);
    }
    char longest[400];
    memset(longest, 'a', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    assert_string_equal(chosen(&t, longest), "first");
    certificates_fini(&t);
}

static void test_changes(void **state)
{
    struct certificates t;
    certificates_init(&t, release);
    put(&t, "one", "a.example.com", 0, NULL, NULL);
    put(&t, "one", "b.example.com", 0, NULL, NULL); /* the same Secret, another host */
    assert_string_equal(chosen(&t, "a.example.com"), "none");
    assert_string_equal(chosen(&t, "b.example.com"), "one");
    put(&t, "two", "b.example.com", 0, NULL, NULL); /* another Secret for that host */
    assert_string_equal(chosen(&t, "b.example.com"), "two");
    certificates_remove(&t, SLICE_LIT("one"));
    assert_string_equal(chosen(&t, "b.example.com"), "two");
    put(&t, "two", "", 3, "b.example.com", NULL); /* listed from now on */
    assert_string_equal(chosen(&t, "b.example.com"), "two");
    assert_string_equal(chosen(&t, ""), "two");
    put(&t, "zero", "", 2, "z.example.com", NULL);
    assert_string_equal(chosen(&t, ""), "zero");
    put(&t, "zero", "", 4, "z.example.com", NULL);
    assert_string_equal(chosen(&t, ""), "two");
    assert_int_equal(certificates_len(&t), 2);
    certificates_remove(&t, SLICE_LIT("two"));
    certificates_remove(&t, SLICE_LIT("two"));
    certificates_remove(&t, SLICE_LIT("zero"));
    assert_string_equal(chosen(&t, "b.example.com"), "none");
    assert_int_equal(certificates_len(&t), 0);
    certificates_fini(&t);
    certificates_fini(&(struct certificates){.release = NULL});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_then_wildcard_then_first),
        cmocka_unit_test(test_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
