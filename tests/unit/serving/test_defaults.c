// SPDX-License-Identifier: Apache-2.0
/* Defaulting, validation and traffic: tables of objects and what becomes of them. */
#include "json/jedit.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/defaults.h"
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

static void fills_in(void **state)
{
    (void)state;
    static const struct {
        enum kind_id kind;
        const char *text;
        const char *want;
    } rows[] = {
        {KIND_SERVICE, SERVICE("{\"template\":{\"spec\":{\"containers\":[{\"image\":\"i\"}]}}}"),
         SERVICE("{\"template\":{\"spec\":{\"containers\":[{\"image\":\"i\",\"name\":\"user-"
                 "container\","
                 "\"resources\":{},\"readinessProbe\":{\"tcpSocket\":{\"port\":0},"
                 "\"successThreshold\":1}}],\"timeoutSeconds\":300,\"containerConcurrency\":0,"
                 "\"enableServiceLinks\":false}},\"traffic\":[{\"latestRevision\":true,"
                 "\"percent\":100}]}")},
        {KIND_ROUTE, "{\"spec\":{\"traffic\":[{\"revisionName\":\"a\",\"percent\":100}]}}",
         "{\"spec\":{\"traffic\":[{\"revisionName\":\"a\",\"percent\":100,\"latestRevision\":false}"
         "]}}"},
        {KIND_REVISION,
         "{\"spec\":{\"containers\":[{\"image\":\"a\",\"ports\":[{}],\"readinessProbe\":{"
         "\"httpGet\":{},"
         "\"periodSeconds\":2}},{\"image\":\"b\",\"name\":\"side\"}],\"timeoutSeconds\":5,"
         "\"containerConcurrency\":3,\"enableServiceLinks\":true}}",
         "{\"spec\":{\"containers\":[{\"image\":\"a\",\"ports\":[{}],\"readinessProbe\":{"
         "\"httpGet\":{},"
         "\"periodSeconds\":2,\"successThreshold\":1,\"failureThreshold\":3,\"timeoutSeconds\":1},"
         "\"name\":\"user-container-0\",\"resources\":{}},{\"image\":\"b\",\"name\":\"side\","
         "\"resources\":{}}],\"timeoutSeconds\":5,\"containerConcurrency\":3,"
         "\"enableServiceLinks\":true}}"},
        {KIND_CONFIGMAP, "{\"data\":{}}", "{\"data\":{}}"},
    };
    struct serving_config config;
    serving_config_init(&config);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        CLEANUP(jfree) json_t *object = parse(rows[i].text);
        CLEANUP(jfree) json_t *want = parse(rows[i].want);
        ASSERT_OK(serving_default(&config, kind_row(rows[i].kind), object, NULL, &err));
        if (!jequal(object, want)) {
            fail_msg("row %zu: got %s", i, jdump_str(object));
        }
        ASSERT_OK(serving_default(&config, kind_row(rows[i].kind), object, NULL, &err));
        assert_true(jequal(object, want)); /* a second time changes nothing */
    }
}

#define POD(container) SERVICE("{\"template\":{\"spec\":{\"containers\":[" container "]}}}")

static void refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *msg; /* NULL: fine */
    } rows[] = {
        {POD("{\"image\":\"i\"}"), NULL},
        {POD("{\"image\":\"i\",\"ports\":[{\"containerPort\":8080,\"name\":\"h2c\"}]}"), NULL},
        {"{\"metadata\":{\"name\":\"Hello\"},\"spec\":{}}", "metadata.name"},
        {"{\"metadata\":{},\"spec\":{}}", "name or generateName"},
        {SERVICE("{}"), "missing field(s): spec.template"},
        {SERVICE("{\"template\":{\"spec\":{}}}"),
         "missing field(s): spec.template.spec.containers"},
        {POD(""), "missing field(s): spec.template.spec.containers"},
        {POD("{}"), "missing field(s): spec.template.spec.containers[0].image"},
        {POD("{\"image\":\"i\",\"name\":\"queue-proxy\"}"), "reserved container name"},
        {POD("{\"image\":\"i\",\"tty\":true}"), "must not set the field(s)"},
        {POD("{\"image\":\"i\",\"ports\":[{},{}]}"), "more than one container port"},
        {POD("{\"image\":\"i\"},{\"image\":\"j\"}"), "containers.ports"},
        {POD("{\"image\":\"i\",\"ports\":[{\"containerPort\":8012}]}"), "reserved port"},
        {POD("{\"image\":\"i\",\"ports\":[{\"containerPort\":80,\"name\":\"x\"}]}"), "not allowed"},
        {POD("{\"image\":\"i\",\"env\":[{\"name\":\"PORT\",\"value\":\"1\"}]}"), "reserved env"},
        {SERVICE("{\"template\":{\"spec\":{\"timeoutSeconds\":601,\"containers\":[{\"image\":\"i\"}"
                 "]}}}"),
         "expected 0 <= 601 <= 600: spec.template.spec.timeoutSeconds"},
        {SERVICE("{\"template\":{\"spec\":{\"containerConcurrency\":-1,\"containers\":[{\"image\":"
                 "\"i\"}]}}}"),
         "expected 0 <= -1 <= 1000"},
        {SERVICE(
             "{\"template\":{\"metadata\":{\"name\":\"x-1\"},\"spec\":{\"containers\":[{\"image\":"
             "\"i\"}]}}}"),
         "must have prefix \"hello-\""},
        {SERVICE(
             "{\"template\":{\"metadata\":{\"annotations\":{\"autoscaling.knative.dev/min-scale\":"
             "\"5\",\"autoscaling.knative.dev/max-scale\":\"2\"}},\"spec\":{\"containers\":[{"
             "\"image\":\"i\"}]}}}"),
         "max-scale=2 is less than min-scale=5"},
        {"{\"metadata\":{\"name\":\"a\",\"annotations\":{\"autoscaling.knative.dev/"
         "target\":\"1\"}},"
         "\"spec\":{}}",
         "invalid key name \"autoscaling.knative.dev/target\""},
        {SERVICE("{\"template\":{\"spec\":{\"containers\":[{\"image\":\"i\"}]}},\"traffic\":[{"
                 "\"percent\":"
                 "90}]}"),
         "Traffic targets sum to 90, want 100: spec.traffic"},
    };
    struct serving_config config;
    serving_config_init(&config);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        const struct kind *kind = kind_row(KIND_SERVICE);
        CLEANUP(jfree) json_t *object = parse(rows[i].text);
        ASSERT_OK(serving_default(&config, kind, object, NULL, &err));
        int rc = serving_validate(&config, kind, object, NULL, &err);
        if (rows[i].msg == NULL) {
            assert_int_equal(rc, 0);
        } else if (rc != ERR_INVALID || strstr(err.msg, rows[i].msg) == NULL) {
            fail_msg("row %zu: %s: %s", i, error_name(rc), err.msg);
        }
    }
}

static void traffic_rules(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *msg;
    } rows[] = {
        {"[{\"percent\":100,\"latestRevision\":true}]", NULL},
        {"[{\"percent\":60,\"revisionName\":\"a\",\"tag\":\"x\"},{\"percent\":40,\"tag\":\"y\"}]",
         NULL},
        {"[]", "missing field(s): t"},
        {"[{\"percent\":101}]", "expected 0 <= 101 <= 100: t[0].percent"},
        {"[{\"percent\":100,\"revisionName\":\"a\",\"configurationName\":\"b\"}]", "got both"},
        {"[{\"percent\":100,\"revisionName\":\"a\",\"latestRevision\":true}]", "latestRevision"},
        {"[{\"percent\":50,\"tag\":\"x\"},{\"percent\":50,\"tag\":\"x\"}]", "Multiple definitions"},
        {"[{\"percent\":100,\"tag\":\"X\"}]", "t[0].tag"},
        {"[{\"percent\":100,\"url\":\"http://x\"}]", "must not set"},
        {"[1]", "must be an object"},
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
    ASSERT_OK(network_config_read(&config, network, domain, &err));
    strbuf_clear(&out);
    traffic_url(&config, "ns", "a", "t", &out);
    strbuf_append_char(&out, ' ');
    traffic_address(&config, "ns", "a", &out);
    assert_string_equal(out.ptr, "http://t-a.ns.localhost:8080 http://127.0.0.1:8081/_lull/ns/a");
    CLEANUP(jfree) json_t *bad = parse("{\"external-port\":\"0\"}");
    ASSERT_ERR(ERR_INVALID, network_config_read(&config, bad, NULL, &err));
    ASSERT_MSG("external-port");
    assert_int_equal(config.external_port, 8080);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_in),
        cmocka_unit_test(refuses),
        cmocka_unit_test(traffic_rules),
        cmocka_unit_test(addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
