// SPDX-License-Identifier: Apache-2.0
//
// The three-way merge of apply, and the text that kubectl would keep in its annotation.
#include "base/mem.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "cli/apply_patch.h"
#include "test.h"

static json_t *parsed(const char *text)
{
    json_t *root = NULL;
    struct error err;
    ASSERT_OK(jparse_object(slice_str(text), 1u << 20, &root, &err));
    return root;
}

static void written(const char *value, const char *want)
{
    json_t *json = parsed(value);
    CLEANUP(cleanup_free) char *got = apply_text(json);
    assert_string_equal(got, want);
    json_decref(json);
}

static void test_text(void **state)
{
    (void)state;
    written("{\"b\":[1,1.5,true,null,{}],\"a\":\"x\"}", "{\"a\":\"x\",\"b\":[1,1.5,true,null,{}]}");
    written("{\"a\":\"<&>\\u2028\\u001b\\n\\t\\\"\\\\\\u007f\"}",
            "{\"a\":\"\\u003c\\u0026\\u003e\\u2028\\u001b\\n\\t\\\"\\\\\x7f\"}");
}

// live was made from `before`; now `wanted` is applied: the patch without the annotation.
static void merges(const char *before, const char *wanted, const char *live, const char *want)
{
    struct error err;
    bool first = true;
    json_t *old = parsed(before), *new = parsed(wanted), *there = parsed(live),
           *expect = parsed(want);
    ASSERT_OK(apply_annotate(old, &err));
    ASSERT_OK(apply_annotate(new, &err));
    json_t *annotation = jget(old, "metadata.annotations");
    if (!jpeek_obj(there, "metadata.annotations")) {
        json_object_set_new(jpeek_obj(there, "metadata"), "annotations", json_object());
    }
    json_object_update(jpeek_obj(there, "metadata.annotations"), annotation);

    json_t *patch = apply_patch(new, there, &first);
    assert_false(first);
    json_t *left = jpeek_obj(patch, "metadata.annotations");
    if (left) {
        (void)json_object_del(left, "kubectl.kubernetes.io/last-applied-configuration");
        if (json_object_size(left) == 0) {
            (void)json_object_del(jpeek_obj(patch, "metadata"), "annotations");
        }
    }
    if (jpeek_obj(patch, "metadata") && json_object_size(jpeek_obj(patch, "metadata")) == 0) {
        (void)json_object_del(patch, "metadata");
    }
    CLEANUP(cleanup_free) char *got = jdump_str(patch);
    if (!jequal(patch, expect)) {
        fail_msg("got %s, want %s", got, want);
    }
    json_decref(patch);
    json_decref(old);
    json_decref(new);
    json_decref(there);
    json_decref(expect);
}

static void test_merge(void **state)
{
    (void)state;
    // The same again: nothing. What others put there stays.
    merges("{\"metadata\":{\"name\":\"x\"},\"data\":{\"a\":\"1\"}}",
           "{\"metadata\":{\"name\":\"x\"},\"data\":{\"a\":\"1\"}}",
           "{\"metadata\":{\"name\":\"x\",\"uid\":\"u\"},\"data\":{\"a\":\"1\",\"b\":\"2\"}}",
           "{}");
    // Changed, added, and removed because it was applied before.
    merges("{\"metadata\":{\"name\":\"x\"},\"data\":{\"a\":\"1\",\"c\":\"3\"}}",
           "{\"metadata\":{\"name\":\"x\"},\"data\":{\"a\":\"2\",\"d\":\"4\"}}",
           "{\"metadata\":{\"name\":\"x\"},\"data\":{\"a\":\"1\",\"b\":\"2\",\"c\":\"9\"}}",
           "{\"data\":{\"a\":\"2\",\"c\":null,\"d\":\"4\"}}");
    // Removed by somebody else already: nothing to do.
    merges("{\"metadata\":{\"name\":\"x\",\"labels\":{\"l\":\"1\"}}}",
           "{\"metadata\":{\"name\":\"x\"}}", "{\"metadata\":{\"name\":\"x\"}}", "{}");
    merges("{\"metadata\":{\"name\":\"x\",\"labels\":{\"l\":\"1\"}}}",
           "{\"metadata\":{\"name\":\"x\"}}",
           "{\"metadata\":{\"name\":\"x\",\"labels\":{\"l\":\"1\",\"m\":\"2\"}}}",
           "{\"metadata\":{\"labels\":null}}");
    // A list is one value; an empty object is an addition.
    merges("{\"metadata\":{},\"l\":[1,2]}", "{\"metadata\":{},\"l\":[1],\"e\":{}}",
           "{\"metadata\":{},\"l\":[1,2]}", "{\"l\":[1],\"e\":{}}");
}

static void test_first_and_large(void **state)
{
    (void)state;
    struct error err;
    bool first = false;
    json_t *wanted = parsed("{\"metadata\":{\"name\":\"x\"},\"data\":{\"a\":\"1\"}}");
    json_t *live = parsed("{\"metadata\":{\"name\":\"x\"},\"data\":{\"b\":\"2\"}}");
    ASSERT_OK(apply_annotate(wanted, &err));
    assert_string_equal(
        jpeek_cstr(wanted,
                   "metadata.annotations.`kubectl.kubernetes.io/last-applied-configuration`"),
        "{\"data\":{\"a\":\"1\"},\"metadata\":{\"annotations\":{},\"name\":\"x\"}}\n");
    json_t *patch = apply_patch(wanted, live, &first);
    assert_true(first);
    assert_null(jget(patch, "data.b"));
    assert_false(json_object_get(jpeek_obj(patch, "data"), "b"));
    json_decref(patch);

    char *large = xcalloc(300001, 1);
    memset(large, 'x', 300000);
    json_object_set_new(wanted, "large", json_string(large));
    ASSERT_ERR(ERR_TOO_BIG, apply_annotate(wanted, &err));
    free(large);
    json_decref(wanted);
    json_decref(live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_text), cmocka_unit_test(test_merge),
                                       cmocka_unit_test(test_first_and_large)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
