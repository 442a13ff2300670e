// SPDX-License-Identifier: Apache-2.0
/* Defaulting, validation and traffic: what the cases of tests/reference do not say. */
#include <stdlib.h>

#include "base/mem.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/defaults.h"
#include "serving/gotext.h"
#include "serving/problems.h"
#include "serving/traffic.h"
#include "test.h"

static json_t *parse(const char *text)
{
    struct error err = {0};
    json_t *value = NULL;
    ASSERT_OK(jparse(slice_str(text), 1 << 20, &value, &err));
    return value;
}

#define SERVICE(spec) "{\"metadata\":{\"name\":\"hello\"},\"spec\":" spec "}"

#define SERVICE(spec)  "{\"metadata\":{\"name\":\"hello\"},\"spec\":" spec "}"
#define POD(container) SERVICE("{\"template\":{\"spec\":{\"containers\":[" container "]}}}")

/* What the reference answers is compared in tests/reference; here is what only we can say. */
static void twice_is_once(void **state)
{
    (void)state;
    static const char *const rows[] = {
        POD("{\"image\":\"img\",\"resources\":{\"limits\":{\"cpu\":\"1500m\",\"x\":\"0.1n\"}}}"),
        POD("{\"image\":\"img\",\"ports\":[{}]},{\"image\":\"two\",\"readinessProbe\":{}}"),
        SERVICE("{\"template\":{\"spec\":{\"containers\":null,\"volumes\":[]}}}"),
        SERVICE("null"),
    };
    struct serving_config config;
    serving_config_init(&config);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        CLEANUP(jfree) json_t *object = parse(rows[i]);
        ASSERT_OK(serving_default(&config, kind_row(KIND_SERVICE), object, NULL, &err));
        CLEANUP(jfree) json_t *once = json_deep_copy(object);
        ASSERT_OK(serving_default(&config, kind_row(KIND_SERVICE), object, NULL, &err));
        if (!jequal(object, once)) {
            fail_msg("row %zu: got %s", i, jdump_str(object));
        }
    }
}

static void other_kinds_pass(void **state)
{
    (void)state;
    struct serving_config config;
    struct error err = {0};
    serving_config_init(&config);
    CLEANUP(jfree) json_t *map = parse("{\"data\":{\"a\":1},\"spec\":[]}");
    CLEANUP(jfree) json_t *before = json_deep_copy(map);
    ASSERT_OK(serving_default(&config, kind_row(KIND_CONFIGMAP), map, NULL, &err));
    ASSERT_OK(serving_validate(&config, kind_row(KIND_CONFIGMAP), map, NULL, &err));
    assert_true(jequal(map, before));
    CLEANUP(jfree) json_t *claim = parse("{\"metadata\":{\"name\":\"a.b\"},\"spec\":{}}");
    ASSERT_ERR(ERR_INVALID,
               serving_validate(&config, kind_row(KIND_CLUSTERDOMAINCLAIM), claim, NULL, &err));
    assert_string_equal(err.msg, "missing field(s): spec.namespace");
}

/* A wrong type anywhere is said with its place, and nothing is changed. */
static void wrong_types(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *msg;
    } rows[] = {
        {"[]", "must be an object, is an array"},
        {"{\"metadata\":[],\"spec\":{}}", "metadata: must be an object, is an array"},
        {POD("1"), "spec.template.spec.containers[0]: must be an object, is 1"},
        {POD("null"), "spec.template.spec.containers[0]: must be an object, is null"},
        {POD("{\"image\":1e400}"), NULL}, /* not JSON: the parser says so */
        {POD("{\"ports\":[{\"containerPort\":4294967296}]}"),
         "spec.template.spec.containers[0].ports[0].containerPort: must be an integer of 32 bits, "
         "is 4294967296"},
        {POD("{\"resources\":{\"limits\":{\"cpu\":\"99999999999999999999999999999999999999\"}}}"),
         "must be a quantity"},
    };
    struct serving_config config;
    serving_config_init(&config);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        json_t *object = NULL;
        if (jparse(slice_str(rows[i].text), 1 << 20, &object, NULL) < 0) {
            assert_null(rows[i].msg);
            continue;
        }
        CLEANUP(jfree) json_t *before = json_deep_copy(object);
        const struct kind *kind = kind_row(KIND_SERVICE);
        ASSERT_ERR(ERR_INVALID, serving_default(&config, kind, object, NULL, &err));
        ASSERT_MSG(rows[i].msg);
        ASSERT_ERR(ERR_INVALID, serving_validate(&config, kind, object, NULL, &err));
        ASSERT_MSG(rows[i].msg);
        assert_true(jequal(object, before));
        json_decref(object);
    }
}

/* Very many problems are bounded, and so is a very long text; all are counted. */
static void many_problems(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    struct serving_config config;
    struct serving_report report;
    struct serving_request request = {.kind = kind_row(KIND_SERVICE), .user = "ann"};
    serving_config_init(&config);
    serving_report_init(&report);
    CLEANUP(jfree) json_t *object = parse(POD("{\"image\":\"img\"}"));
    json_t *annotations = json_object();
    for (int i = 0; i < COUNT; i++) {
        char key[64];
        snprintf(key, sizeof(key), "autoscaling.knative.dev/x%d", i);
        json_object_set_new(annotations, key, json_string("x"));
    }
    json_object_set_new(json_object_get(object, "metadata"), "annotations", annotations);
    char *name = xmalloc(COUNT + 1);
    memset(name, 'A', COUNT);
    name[COUNT] = '\0';
    json_object_set_new(jget(object, "spec.template.spec.containers[0]"), "image",
                        json_string(name));
    free(name);
    assert_int_equal(serving_admit(&config, &request, object, &report), ERR_INVALID);
    assert_true(report.errors.len < 1 << 20);
    assert_non_null(strstr(report.errors.ptr, "more problems"));
    serving_report_fini(&report);
}

static void updates(void **state)
{
    (void)state;
    struct serving_config config;
    struct error err = {0};
    serving_config_init(&config);
    const struct kind *kind = kind_row(KIND_REVISION);
    CLEANUP(jfree)
    json_t *old =
        parse("{\"metadata\":{\"name\":\"a\"},\"spec\":{\"containers\":[{\"image\":\"a/b\","
              "\"args\":[\"1\"]}],\"timeoutSeconds\":5}}");
    ASSERT_OK(serving_default(&config, kind, old, NULL, &err));
    CLEANUP(jfree) json_t *fresh = json_deep_copy(old);
    ASSERT_OK(serving_validate(&config, kind, fresh, old, &err));
    json_object_set_new(json_object_get(fresh, "spec"), "timeoutSeconds", json_integer(6));
    ASSERT_ERR(ERR_INVALID, serving_validate(&config, kind, fresh, old, &err));
    assert_string_equal(err.msg, "Immutable fields changed (-old +new): spec\n"
                                 "*{v1.RevisionSpec}.TimeoutSeconds:\n\t-: \"5\"\n\t+: \"6\"\n");
}

static void prints_paths(void **state)
{
    (void)state;
    struct problems p;
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 4096);
    problems_init(&p);
    problem_missing(&p, "");
    problems_via_index(&p, 0, 3);
    problems_via(&p, 0, "list");
    problem_missing(&p, "b");
    problem_missing(&p, "a");
    problem_missing(&p, "b");
    problems_via(&p, 0, "spec");
    problem_add(&p, NULL, "about nothing");
    problem_add(&p, "x.y/z", "bad %d", 1);
    problem_details(&p, "because");
    problems_via_key(&p, 5, "k.v");
    problem_add(&p, "w", "a warning");
    problem_warns(&p);
    assert_int_equal(problems_print(&p, PROBLEM_ERROR, &out), 3);
    assert_string_equal(out.ptr, "about nothing: \nbad 1: [k.v].x.y/z\nbecause\n"
                                 "missing field(s): spec.a, spec.b, spec.list[3]");
    strbuf_clear(&out);
    assert_int_equal(problems_print(&p, PROBLEM_WARNING, &out), 1);
    assert_string_equal(out.ptr, "a warning: w");
    problems_fini(&p);
}

static void go_texts(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const char *clean;
    } paths[] = {{"", "."},
                 {"/", "/"},
                 {"/a/../b/", "/b"},
                 {"a//b/./c", "a/b/c"},
                 {"../../a", "../../a"},
                 {"/..", "/"},
                 {"a/..", "."},
                 {"a/../..", ".."}};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        CLEANUP(cleanup_free) char *clean = go_clean_path(slice_str(paths[i].path));
        assert_string_equal(clean, paths[i].clean);
    }
    CLEANUP(cleanup_free) char *quoted = go_quoted(slice_of("a\"\\\n\x01é\xff", 8));
    assert_string_equal(quoted, "\"a\\\"\\\\\\n\\x01é\\xff\"");
    char text[GO_FLOAT_TEXT];
    assert_string_equal(go_float(0.05, text), "0.05");
    assert_string_equal(go_float(1e20, text), "100000000000000000000");
    assert_string_equal(go_float(1e21, text), "1e+21");
    double value;
    assert_false(go_parse_float(slice_str("1__0"), &value));
    assert_false(go_parse_float(slice_str("0x"), &value));
    assert_true(go_parse_float(slice_str("-Inf"), &value) && value < 0);
}

static void traffic_rules(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *msg;
    } rows[] = {
        {"[{\"percent\":100,\"configurationName\":\"c\",\"latestRevision\":true}]", NULL},
        {"[{\"percent\":60,\"revisionName\":\"a\",\"tag\":\"x\"},{\"percent\":40,\"tag\":\"y\","
         "\"configurationName\":\"c\"}]",
         NULL},
        {"[{\"percent\":100}]", "got neither: t[0].configurationName, t[0].revisionName"},
        {"[]", "Traffic targets sum to 0, want 100: t"},
        {"\"all\"", "must be a list"},
        {"[{\"percent\":101}]", "expected 0 <= 101 <= 100: t[0].percent"},
        {"[{\"percent\":100,\"revisionName\":\"a\",\"configurationName\":\"b\"}]", "got both"},
        {"[{\"percent\":100,\"revisionName\":\"a\",\"latestRevision\":true}]", "latestRevision"},
        {"[{\"percent\":50,\"tag\":\"x\"},{\"percent\":50,\"tag\":\"x\"}]", "Multiple definitions"},
        {"[{\"percent\":100,\"tag\":\"X\",\"revisionName\":\"r\"}]", "not a DNS 1035 label"},
        {"[{\"percent\":100,\"url\":\"http://x\"}]", "must not set"},
        {"[1]", "must be an object, is 1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        CLEANUP(jfree) json_t *list = parse(rows[i].text);
        int rc = traffic_validate(list, "t", &err);
        if (rows[i].msg == NULL ? rc != 0 : rc != ERR_INVALID || !strstr(err.msg, rows[i].msg)) {
            fail_msg("row %zu: %s: %s", i, error_name(rc), err.msg);
        }
    }
}

static void addresses(void **state)
{
    (void)state;
    struct network_config config;
    struct error err = {0};
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 1024);
    network_config_init(&config);
    traffic_url(&config, "ns", "a", NULL, &out);
    strbuf_append_char(&out, ' ');
    traffic_address(&config, "ns", "a", &out);
    assert_string_equal(out.ptr, "http://a.ns.svc.cluster.local http://a.ns.svc.cluster.local");
    CLEANUP(jfree)
    json_t *network =
        parse("{\"external-port\":\"8080\",\"address-template\":\"http://127.0.0.1:8081/_lull/"
              "{{.Namespace}}/{{.Name}}\"}");
    CLEANUP(jfree)
    json_t *domain = parse("{\"_example\":\"\",\"localhost\":\"\",\"z.org\":\"selector: {a: b}\"}");
    ASSERT_OK(network_config_read(&config, network, &err));
    ASSERT_OK(domain_config_read(&config, domain, &err));
    strbuf_clear(&out);
    traffic_url(&config, "ns", "a", "t", &out);
    strbuf_append_char(&out, ' ');
    traffic_address(&config, "ns", "a", &out);
    assert_string_equal(out.ptr, "http://t-a.ns.localhost:8080 http://127.0.0.1:8081/_lull/ns/a");
    CLEANUP(jfree) json_t *bad = parse("{\"external-port\":\"0\"}");
    ASSERT_ERR(ERR_INVALID, network_config_read(&config, bad, &err));
    ASSERT_MSG("external-port");
    assert_int_equal(config.external_port, 8080);
    network_config_fini(&config);
}

static json_t *parse_annotated(enum kind_id kind, const char *value)
{
    CLEANUP(cleanup_free)
    char *text = xasprintf(
        "{\"metadata\":{\"name\":\"hello\",\"annotations\":{\"lull.dev/async\":%s}},"
        "\"spec\":%s}",
        value,
        kind == KIND_ROUTE ? "{\"traffic\":[{\"revisionName\":\"a\",\"percent\":100}]}"
                           : "{\"traffic\":[{\"latestRevision\":true,\"percent\":100}],"
                             "\"template\":{\"spec\":{\"containers\":[{\"image\":\"img\"}]}}}");
    return parse(text);
}

/* An annotation of ours: only values that mean something, but what was stored before may stay. */
static void who_answers_respond_async(void **state)
{
    (void)state;
    static const struct {
        const char *value; /* JSON */
        const char *old;
        bool fine;
    } rows[] = {
        {"\"off\"", "\"on\"", true},    {"\"on\"", NULL, true}, {"\"false\"", NULL, false},
        {"\"Off\"", "\"off\"", false},  {"\"\"", NULL, false},  {"\"false\"", "\"false\"", true},
        {"\"false\"", "\"no\"", false},
    };
    static const enum kind_id kinds[] = {KIND_SERVICE, KIND_ROUTE};
    struct serving_config config;
    serving_config_init(&config);
    for (size_t i = 0; i < ARRAY_LEN(rows) * ARRAY_LEN(kinds); i++) {
        size_t row = i / ARRAY_LEN(kinds);
        struct error err = {0};
        CLEANUP(jfree) json_t *object = parse_annotated(kinds[i % 2], rows[row].value);
        CLEANUP(jfree)
        json_t *old = rows[row].old == NULL ? NULL : parse_annotated(kinds[i % 2], rows[row].old);
        int rc = serving_validate(&config, kind_row(kinds[i % 2]), object, old, &err);
        bool said = strstr(err.msg, "metadata.annotations.lull.dev/async") != NULL &&
                    strstr(err.msg, "\"off\":") != NULL;
        if ((rc == 0) != rows[row].fine || (rc < 0 && !said)) {
            fail_msg("%s: %s", rows[row].value, err.msg);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(twice_is_once), cmocka_unit_test(other_kinds_pass),
        cmocka_unit_test(wrong_types),   cmocka_unit_test(many_problems),
        cmocka_unit_test(updates),       cmocka_unit_test(prints_paths),
        cmocka_unit_test(go_texts),      cmocka_unit_test(traffic_rules),
        cmocka_unit_test(addresses),     cmocka_unit_test(who_answers_respond_async),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
