// SPDX-License-Identifier: Apache-2.0
//
// The quick reader beside jansson: what it takes, jansson takes too, and both make the same of it.
#include <stdlib.h>
#include <string.h>

#include "json/jlist.h"
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

static const char *const PATHS[] = {"metadata", "m.n", "m.o.p", "spec.replicas"};
#define PATHS_COUNT (sizeof PATHS / sizeof *PATHS)

static json_t *at_path(json_t *root, const char *path)
{
    char name[32];
    while (root != NULL && *path != '\0') {
        size_t len = strcspn(path, ".");
        memcpy(name, path, len);
        name[len] = '\0';
        root = json_object_get(root, name);
        path += len + (path[len] == '.');
    }
    return root;
}

static void test_some_members(void **state)
{
    static const struct {
        const char *text;
        const char *want; /* NULL: not taken */
    } CASES[] = {
        {"{\"b\":[1,{\"m\":2}],\"metadata\":{\"x\":[]} , \"c\":\"\\n\"}",
         "{\"metadata\":{\"x\":[]}}"},
        {"{\"m\":{\"a\":1,\"n\":[2],\"o\":{\"p\":3,\"q\":4}}}",
         "{\"m\":{\"n\":[2],\"o\":{\"p\":3}}}"},
        {"{\"m\":{\"o\":[],\"nn\":1}}", "{\"m\":{\"o\":[]}}"},
        {"{\"m\":1,\"spec\":null}", "{\"m\":1,\"spec\":null}"},
        {"{}", "{}"},
        {"{\"a\":1,\"a\":2}", "{}"},
        {"{\"m\":{},\"m\":1}", NULL},
        {"{\"metadata\":1,\"metadata\":1}", NULL},
        {"{\"m\":{\"n\":1,\"n\":2}}", NULL},
        {"{\"metadata\":1,\"b\":}", NULL},
        {"{\"metadata\":1", NULL},
        {"[]", NULL},
        {"{\"metadata\":1}x", NULL},
        {"{\"b\":[1,],\"metadata\":1}", NULL},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        json_t *got = jread_only(slice_str(CASES[i].text), PATHS, PATHS_COUNT, DEPTH);
        json_t *want = CASES[i].want == NULL ? NULL : json_loads(CASES[i].want, 0, NULL);
        if (CASES[i].want == NULL ? got != NULL : !json_equal(got, want)) {
            fail_msg("%s", CASES[i].text);
        }
        json_decref(got);
        json_decref(want);
    }
}

static void check_front(const char *text, const char *const *without, const char *want,
                        const char *rest)
{
    struct slice at = slice_str(text);
    json_t *got = jread_front(&at, without, DEPTH);
    assert_true(slice_eq_str(at, rest));
    if (want == NULL) {
        assert_null(got);
        return;
    }
    json_t *wanted = json_loads(want, JSON_DECODE_ANY, NULL);
    assert_true(json_equal(got, wanted));
    json_decref(got);
    json_decref(wanted);
}

static void test_without_some_members(void **state)
{
    static const char *const paths[] = {"m.f", "s", "t.u.v", NULL};
    check_front(" {\"a\":1} ,2", NULL, "{\"a\":1}", " ,2");
    check_front("{\"m\":{\"f\":[{\"x\":1}],\"g\":{\"f\":2}},\"s\":\"y\",\"st\":3}]", paths,
                "{\"m\":{\"g\":{\"f\":2}},\"st\":3}", "]");
    check_front("{\"t\":[{\"u\":{\"v\":1,\"w\":2}},{\"v\":3}],\"f\":4}", paths,
                "{\"t\":[{\"u\":{\"w\":2}},{\"v\":3}],\"f\":4}", "");
    check_front("{\"m\":4,\"u\":{\"v\":1}}", paths, "{\"m\":4,\"u\":{\"v\":1}}", "");
    check_front("{\"s\":[1,]}", paths, NULL, "{\"s\":[1,]}"); /* checked all the same */
    check_front("{\"s\":\"\xff\"}", paths, NULL, "{\"s\":\"\xff\"}");
}

struct items {
    char text[256];
    size_t wanted;
};

static bool on_item(void *arg, const json_t *item)
{
    struct items *items = arg;
    char *one = json_dumps(item, JSON_COMPACT);
    size_t len = strlen(items->text);
    snprintf(items->text + len, sizeof items->text - len, "%s", one);
    free(one);
    return --items->wanted > 0;
}

static int read_list(const char *text, size_t wanted, struct items *items, char rest[static 64])
{
    static const char *const paths[] = {"b", NULL};
    struct error err = {0};
    json_t *out = NULL;
    *items = (struct items){.wanted = wanted};
    int rc = jlist_read(slice_str(text), paths, on_item, items, &out, &err);
    rest[0] = '\0';
    if (rc == 0) {
        assert_true(json_dumpb(out, rest, 63, JSON_COMPACT) < 63);
        rest[json_dumpb(out, NULL, 0, JSON_COMPACT)] = '\0';
        json_decref(out);
    }
    return rc;
}

static void test_a_list_item_by_item(void **state)
{
    static const char *const BROKEN[] = {
        "",
        "[]",
        "{\"items\":[{}}",
        "{\"items\":[1]}",
        "{\"items\":[{},]}",
        "{} x",
        "{\"items\"}",
        "{\"items\":[{\"a\":}]}",
        "{\"a\":1,}",
        "{\"items\":[{} {}]}",
        "{\"a\":1",
        "{1:2}",
    };
    struct items items;
    char rest[64];
    assert_int_equal(read_list(" { \"k\" : [1, {}] , \"items\" : [ {\"a\":1,\"b\":2} , {} ], "
                               "\"metadata\":{\"v\":\"3\"} } ",
                               9, &items, rest),
                     0);
    assert_string_equal(items.text, "{\"a\":1}{}");
    assert_string_equal(rest, "{\"k\":[1,{}],\"metadata\":{\"v\":\"3\"}}");
    /* What the quick reader does not take is read all the same. */
    assert_int_equal(
        read_list("{\"r\":1.5,\"items\":[{\"a\":\"\\u003c]}\"},{\"b\":1.5},{\"c\":0}]}", 9, &items,
                  rest),
        0);
    assert_string_equal(items.text, "{\"a\":\"<]}\"}{\"b\":1.5}{\"c\":0}");
    assert_string_equal(rest, "{\"r\":1.5}");
    assert_int_equal(read_list("{\"items\":[]}", 9, &items, rest), 0);
    assert_int_equal(read_list("{\"items\":null}", 9, &items, rest), 0);
    assert_int_equal(read_list("{}", 9, &items, rest), 0);
    assert_int_equal(read_list("{\"items\":[{\"a\":1},{\"a\":2},{\"a\":3}]}", 2, &items, rest),
                     ERR_CANCELED);
    assert_string_equal(items.text, "{\"a\":1}{\"a\":2}");
    for (size_t i = 0; i < sizeof BROKEN / sizeof *BROKEN; i++) {
        assert_int_equal(read_list(BROKEN[i], 9, &items, rest), ERR_INVALID);
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
    static const char *const paths[] = {"metadata.labels", "a.b", NULL};
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
        json_t *some = jread_only(slice_of(exact, len), PATHS, PATHS_COUNT, DEPTH);
        struct slice front = slice_of(exact, len);
        json_t *begun = jread_front(&front, paths, DEPTH);
        json_t *want = json_loadb(exact, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
        json_t *loose = json_loadb(exact, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_true(got == NULL || json_equal(got, want));
        for (size_t i = 0; some != NULL && i < PATHS_COUNT; i++) {
            json_t *is = at_path(some, PATHS[i]), *was = at_path(loose, PATHS[i]);
            assert_true(is == was || json_equal(is, was));
        }
        assert_null(json_object_get(json_object_get(begun, "metadata"), "labels"));
        taken += got != NULL;
        json_decref(begun);
        json_decref(got);
        json_decref(some);
        json_decref(want);
        json_decref(loose);
        free(exact);
    }
    assert_true(taken > 50000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_taken),
        cmocka_unit_test(test_names_that_stand_twice),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_some_members),
        cmocka_unit_test(test_mutations_agree),
        cmocka_unit_test(test_without_some_members),
        cmocka_unit_test(test_a_list_item_by_item),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
