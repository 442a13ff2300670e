// SPDX-License-Identifier: Apache-2.0
/* The structures: lookups, what is pruned, names that stand twice, types and their words. */
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "json/jparse.h"
#include "serving/schema.h"
#include "serving/schema_check.h"
#include "serving/schema_prune.h"
#include "test.h"

static json_t *parse(const char *text)
{
    json_t *out = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(out);
    return out;
}

static void same_text(const json_t *value, const char *want)
{
    CLEANUP(cleanup_free) char *text = jdump_str(value);
    assert_string_equal(text, want);
}

static void rows_are_sound(void **state)
{
    (void)state;
    for (int id = SCHEMA_NONE + 1; id < SCHEMA_COUNT; id++) {
        const struct schema *s = schema_row((enum schema_id)id);
        assert_non_null(s->package);
        assert_true(s->name[0] != '\0' && s->n_fields > 0);
        size_t at = 0;
        const struct schema_field *f;
        while ((f = schema_next(s, false, &at)) != NULL) {
            assert_ptr_equal(schema_field(s, slice_str(f->name), false), f); /* no name twice */
            assert_true(f->type != SCHEMA_TYPE_OBJECT || f->ref != SCHEMA_NONE);
            assert_true(f->keys == NULL || f->shape == SCHEMA_LIST);
        }
    }
    for (int id = 0; id < KIND_COUNT; id++) {
        const struct kind *kind = kind_row((enum kind_id)id);
        assert_string_equal(schema_of(kind)->name, kind->kind);
    }
}

static void check_prune(enum kind_id id, const char *before, const char *after, const char *names)
{
    json_t *object = parse(before), *unknown = json_array();
    schema_prune(kind_row(id), object, unknown);
    same_text(object, after);
    same_text(unknown, names);
    json_decref(object);
    json_decref(unknown);
}

static void unknown_fields_go(void **state)
{
    (void)state;
    check_prune(
        KIND_SERVICE,
        "{\"metadata\":{\"name\":\"a\",\"zone\":1},\"spec\":{\"b\":1,\"template\":{\"metadata\":"
        "{\"any\":{\"x\":1}},\"spec\":{\"timeoutSeconds\":null,\"containers\":[{\"image\":"
        "\"i\",\"lifecycle\":{},\"ports\":[{\"containerPort\":1}]}],\"affinity\":{\"x\":1},"
        "\"hostname\":\"h\"}}},\"a\":{}}",
        "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"template\":{\"metadata\":{\"any\":{\"x\":"
        "1}},\"spec\":{\"containers\":[{\"image\":\"i\",\"ports\":[{\"containerPort\":1,"
        "\"protocol\":\"TCP\"}]}],\"affinity\":{\"x\":1}}}}}",
        "[\"a\",\"metadata.zone\",\"spec.b\",\"spec.template.spec.containers[0].lifecycle\","
        "\"spec.template.spec.hostname\"]");
    check_prune(
        KIND_POD,
        "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"hostname\":\"h\",\"containers\":[{\"name\":"
        "\"c\",\"foo\":1,\"ports\":[{\"containerPort\":1}]}]},\"status\":{\"x\":null}}",
        "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"hostname\":\"h\",\"containers\":[{\"name\":"
        "\"c\",\"ports\":[{\"containerPort\":1}]}]},\"status\":{}}",
        "[\"spec.containers[0].foo\",\"status.x\"]");
    /* what has the wrong type stays */
    check_prune(KIND_ROUTE, "{\"spec\":{\"traffic\":{\"x\":1}},\"status\":7}",
                "{\"spec\":{\"traffic\":{\"x\":1}},\"status\":7}", "[]");
}

static void names_twice(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"{}", "[]"},
        {"{\"a\":1,\"b\":{\"a\":1}}", "[]"},
        {"{\"a\":1,\"a\":2}", "[\"a\"]"},
        {"{\"a\":{\"x\":1},\"b\":[{\"x\":1},{\"x\":[1,2],\"y\":\"{\\\"\",\"x\":3}]}",
         "[\"b[1].x\"]"},
        {"{\"a\":{\"b\":{\"c\":1,\"c\":2}},\"a\":{\"b\":{\"c\":1}}}", "[\"a.b.c\",\"a\"]"},
        {"[1,2,{\"\\u0061\":1,\"a\":2}]", "[\"[2].a\"]"},
        {"{\"a\":\"b\\\\\",\"c\":\"d\"}", "[]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *got = schema_duplicates(slice_str(cases[i].text));
        same_text(got, cases[i].want);
        json_decref(got);
    }
}

static void check_causes(enum kind_id id, const char *object, const char *want)
{
    json_t *tree = parse(object);
    json_t *causes = schema_check(kind_row(id), tree);
    struct strbuf out;
    strbuf_init(&out, 1 << 16);
    schema_causes_text(causes, &out);
    assert_string_equal(causes == NULL ? "" : out.ptr, want);
    strbuf_fini(&out);
    json_decref(causes);
    json_decref(tree);
}

static void types_of_custom_kinds(void **state)
{
    (void)state;
    check_causes(KIND_SERVICE, "{\"spec\":{\"template\":{\"spec\":{\"containers\":[]}}}}", "");
    check_causes(KIND_SERVICE, "{\"spec\":{\"template\":{\"spec\":{}}}}",
                 "spec.template.spec.containers: Required value");
    check_causes(KIND_ROUTE, "{\"spec\":{\"traffic\":[{\"percent\":\"x\"},{\"percent\":2.0}]}}",
                 "spec.traffic[0].percent: Invalid value: \"string\": spec.traffic[0].percent in "
                 "body must be of type integer: \"string\"");
    check_causes(KIND_ROUTE, "{\"spec\":{\"traffic\":\"x\"}}",
                 "spec.traffic: Invalid value: \"string\": spec.traffic in body must be of type "
                 "array: \"string\"");
    check_causes(KIND_DOMAINMAPPING, "{\"spec\":{\"ref\":{}}}",
                 "[spec.ref.kind: Required value, spec.ref.name: Required value]");
    check_causes(KIND_REVISION,
                 "{\"spec\":{\"containers\":[{\"env\":[{\"name\":\"A\"},{\"name\":\"A\"}],"
                 "\"resources\":{\"limits\":{\"cpu\":1,\"memory\":\"1Gi\"}}}]}}",
                 "spec.containers[0].env[1]: Duplicate value: {\"name\":\"A\"}");
}

static void quantities(void **state)
{
    (void)state;
    static const char *const good[] = {"1", "1.", ".5", "+1.5Gi", "-2m", "1e3", "1E-3", "5n", "1E"};
    static const char *const bad[] = {"", ".", "1 ", "Gi", "1gi", "1Gix", "e3", "1e", "--1", "1mm"};
    for (size_t i = 0; i < ARRAY_LEN(good) + ARRAY_LEN(bad); i++) {
        bool is_good = i < ARRAY_LEN(good);
        json_t *tree = json_pack("{s:{s:[{s:{s:{s:s}}}]}}", "spec", "containers", "resources",
                                 "limits", "cpu", is_good ? good[i] : bad[i - ARRAY_LEN(good)]);
        json_t *causes = schema_check(kind_row(KIND_REVISION), tree);
        assert_true((causes == NULL) == is_good);
        json_decref(causes);
        json_decref(tree);
    }
}

static void types_of_kubernetes_kinds(void **state)
{
    (void)state;
    static const struct {
        enum kind_id id;
        const char *object, *want;
    } cases[] = {
        {KIND_CONFIGMAP, "{\"data\":{\"a\":\"b\"}}", ""},
        {KIND_CONFIGMAP, "{\"data\":{\"a\":1}}",
         "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"},
        {KIND_CONFIGMAP, "{\"data\":[]}",
         "json: cannot unmarshal array into Go struct field ConfigMap.data of type "
         "map[string]string"},
        {KIND_SECRET, "{\"data\":{\"a\":\"YQ==\"}}", ""},
        {KIND_SECRET, "{\"data\":{\"a\":\"Y!\"}}", "illegal base64 data at input byte 1"},
        {KIND_DEPLOYMENT, "{\"spec\":{\"replicas\":\"3\"}}",
         "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type "
         "int32"},
        {KIND_SERVICE, "{\"metadata\":{\"labels\":{\"a\":1}},\"spec\":7}",
         "json: cannot unmarshal number into Go struct field ObjectMeta.labels of type "
         "string"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *tree = parse(cases[i].object);
        struct strbuf out;
        strbuf_init(&out, 1 << 12);
        (void)strbuf_append_str(&out, "");
        bool good = schema_decodes(kind_row(cases[i].id), tree, &out);
        assert_int_equal(good, cases[i].want[0] == '\0');
        assert_string_equal(good ? "" : out.ptr, cases[i].want);
        strbuf_fini(&out);
        json_decref(tree);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_sound), cmocka_unit_test(unknown_fields_go),
        cmocka_unit_test(names_twice),    cmocka_unit_test(types_of_custom_kinds),
        cmocka_unit_test(quantities),     cmocka_unit_test(types_of_kubernetes_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
