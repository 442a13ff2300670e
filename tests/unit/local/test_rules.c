// SPDX-License-Identifier: Apache-2.0
/* What the store does to every object: tables of bodies and what becomes of them. */
#include <string.h>

#include "json/jget.h"
#include "local/store/rules.h"
#include "test.h"

static const struct store_kind kind = {.resource = "services.serving.knative.dev",
                                       .api_version = "serving.knative.dev/v1",
                                       .kind = "Service",
                                       .namespaced = true,
                                       .status = true,
                                       .generation = true};

static json_t *tree(const char *text)
{
    json_t *t = json_loads(text, 0, NULL);
    assert_non_null(t);
    return t;
}

static void bodies_that_are_refused(void **state)
{
    static const struct {
        const char *body;
        int code;
        const char *says;
    } cases[] = {
        {"[]", ERR_PROTOCOL, "must be a JSON object"},
        {"{\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\"}}", ERR_PROTOCOL,
         "does not match the expected API version"},
        {"{\"kind\":\"Route\",\"metadata\":{\"name\":\"a\"}}", ERR_PROTOCOL, "expected kind"},
        {"{\"metadata\":[]}", ERR_PROTOCOL, "metadata: must be an object"},
        {"{}", ERR_INVALID,
         "Service.serving.knative.dev \"\" is invalid: metadata.name: Required value"},
        {"{\"metadata\":{\"name\":\"A\"}}", ERR_INVALID, "RFC 1123"},
        {"{\"metadata\":{\"name\":\"a/b\"}}", ERR_INVALID, "RFC 1123"},
        {"{\"metadata\":{\"name\":\"a.-b\"}}", ERR_INVALID, "RFC 1123"},
        {"{\"metadata\":{\"name\":\"a\",\"namespace\":\"x\"}}", ERR_PROTOCOL, "namespace"},
        {"{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"}}", ERR_PROTOCOL,
         "resourceVersion should not be set"},
        {"{\"metadata\":{\"name\":\"a\",\"labels\":[]}}", ERR_PROTOCOL, "metadata.labels"},
        {"{\"metadata\":{\"name\":\"a\",\"labels\":{\"k\":1}}}", ERR_PROTOCOL, "metadata.labels.k"},
        {"{\"metadata\":{\"name\":\"a\",\"labels\":{\"k\":\"a b\"}}}", ERR_INVALID, "a b"},
        {"{\"metadata\":{\"name\":\"a\",\"labels\":{\"a/b/c\":\"\"}}}", ERR_INVALID, "a/b/c"},
        {"{\"metadata\":{\"name\":\"a\",\"finalizers\":[\"\"]}}", ERR_INVALID, "finalizers[0]"},
        {"{\"metadata\":{\"name\":\"a\",\"ownerReferences\":[{\"uid\":\"u\"}]}}", ERR_INVALID,
         "ownerReferences[0]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error err;
        json_t *body = tree(cases[i].body), *out;
        ASSERT_ERR(cases[i].code, rules_create(&kind, "default", body, 0, &out, &err));
        ASSERT_MSG(cases[i].says);
        json_decref(body);
    }
}

static json_t *create(const char *text)
{
    struct error err;
    json_t *body = tree(text), *out;
    ASSERT_OK(rules_create(&kind, "default", body, 1700000000000000000, &out, &err));
    json_decref(body);
    rules_set_version(out, 7);
    return out;
}

static void metadata_is_ours_and_in_order(void **state)
{
    json_t *o = create("{\"spec\":{\"resourceVersion\":\"x\"},\"metadata\":{\"uid\":\"mine\","
                       "\"generation\":9,\"deletionTimestamp\":\"x\",\"finalizers\":[],"
                       "\"labels\":{\"a\":\"b\"},\"selfLink\":\"x\",\"name\":\"a\"}}");
    char *text = json_dumps(o, JSON_COMPACT);
    static const char head[] =
        "{\"apiVersion\":\"serving.knative.dev/v1\",\"kind\":\"Service\",\"metadata\":{\"name\":"
        "\"a\",\"namespace\":\"default\",\"uid\":\"";
    assert_memory_equal(text, head, sizeof(head) - 1);
    static const char tail[] =
        "\",\"resourceVersion\":\"7\",\"generation\":1,\"creationTimestamp\":"
        "\"2023-11-14T22:13:20Z\",\"labels\":{\"a\":\"b\"}},\"spec\":{\"resourceVersion\":\"x\"}}";
    assert_string_equal(text + sizeof(head) - 1 + 36, tail);
    free(text);
    json_decref(o);
}

static void generated_names_fit(void **state)
{
    char long_prefix[400];
    memset(long_prefix, 'a', 300);
    long_prefix[300] = '\0';
    json_t *body = json_pack("{s:{s:s}}", "metadata", "generateName", long_prefix), *out;
    struct error err;
    ASSERT_OK(rules_create(&kind, "default", body, 0, &out, &err));
    assert_int_equal(jpeek_str(out, "metadata.name").len, 63);
    json_decref(body);
    json_decref(out);
}

static void updates_keep_what_is_not_theirs(void **state)
{
    static const struct {
        enum store_sub sub;
        const char *body;
        int code; /* 0 and changed, 1 and unchanged, or an error */
        int generation;
    } cases[] = {
        {STORE_SUB_NONE, "{\"spec\":{\"a\":1}}", 1, 1},
        {STORE_SUB_NONE, "{\"spec\":{\"a\":1},\"status\":{\"x\":1}}", 1, 1},
        {STORE_SUB_NONE, "{\"spec\":{\"a\":2}}", 0, 2},
        {STORE_SUB_NONE, "{}", 0, 2},
        {STORE_SUB_NONE, "{\"spec\":{\"a\":1.0}}", 0, 2},
        {STORE_SUB_NONE, "{\"spec\":{\"a\":1},\"metadata\":{\"labels\":{\"x\":\"y\"}}}", 0, 1},
        {STORE_SUB_NONE, "{\"spec\":{\"a\":1},\"metadata\":{\"generation\":8}}", 1, 1},
        {STORE_SUB_NONE, "{\"spec\":{\"a\":2},\"metadata\":{\"resourceVersion\":\"7\"}}", 0, 2},
        {STORE_SUB_NONE, "{\"spec\":{\"a\":2},\"metadata\":{\"resourceVersion\":\"6\"}}",
         ERR_CONFLICT, 0},
        {STORE_SUB_NONE, "{\"spec\":{\"a\":2},\"metadata\":{\"uid\":\"other\"}}", ERR_CONFLICT, 0},
        {STORE_SUB_NONE, "{\"metadata\":{\"name\":\"b\"}}", ERR_PROTOCOL, 0},
        {STORE_SUB_STATUS, "{\"spec\":{\"a\":2},\"status\":{\"x\":1}}", 0, 1},
        {STORE_SUB_STATUS, "{\"spec\":{\"a\":2}}", 1, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *old = create("{\"metadata\":{\"name\":\"a\"},\"spec\":{\"a\":1}}");
        json_t *body = tree(cases[i].body), *out = NULL;
        struct error err;
        bool changed = true;
        int rc = rules_update(&kind, old, cases[i].sub, body, &out, &changed, &err);
        if (cases[i].code < 0) {
            assert_int_equal(rc, cases[i].code);
        } else {
            assert_int_equal(rc, 0);
            assert_int_equal(changed, cases[i].code == 0);
        }
        if (rc == 0 && changed) {
            assert_int_equal(jpeek_i64(out, "metadata.generation"), cases[i].generation);
            assert_true(slice_eq(jpeek_str(out, "metadata.uid"), jpeek_str(old, "metadata.uid")));
        }
        json_decref(out);
        json_decref(body);
        json_decref(old);
    }
}

static void marks_for_deletion(void **state)
{
    json_t *o = create("{\"metadata\":{\"name\":\"a\",\"finalizers\":[\"example.com/x\"]}}"),
           *marked, *again;
    bool changed;
    assert_false(rules_is_finished(o));
    rules_mark(o, 0, 30, &marked, &changed);
    assert_true(changed);
    assert_string_equal(jpeek_cstr(marked, "metadata.deletionTimestamp"), "1970-01-01T00:00:30Z");
    assert_int_equal(jpeek_i64(marked, "metadata.generation"), 2);
    rules_mark(marked, 0, 30, &again, &changed);
    assert_false(changed);
    rules_mark(marked, 0, 0, &again, &changed);
    assert_true(changed);
    assert_false(rules_is_finished(again));

    struct error err;
    json_t *out;
    json_t *body = tree("{\"metadata\":{\"finalizers\":[\"example.com/x\",\"example.com/y\"]}}");
    ASSERT_ERR(ERR_INVALID, rules_update(&kind, again, STORE_SUB_NONE, body, &out, &changed, &err));
    ASSERT_MSG("no new finalizers can be added");
    json_decref(body);
    body = tree("{}");
    ASSERT_OK(rules_update(&kind, again, STORE_SUB_NONE, body, &out, &changed, &err));
    assert_true(rules_is_finished(out));
    json_decref(body);
    json_decref(out);
    json_decref(o);
    json_decref(marked);
    json_decref(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_that_are_refused),
        cmocka_unit_test(metadata_is_ours_and_in_order),
        cmocka_unit_test(generated_names_fit),
        cmocka_unit_test(updates_keep_what_is_not_theirs),
        cmocka_unit_test(marks_for_deletion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
