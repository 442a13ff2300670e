// SPDX-License-Identifier: Apache-2.0
/* config-network, config-domain, config-deployment, config-observability: what they may say. */
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/config_check.h"
#include "serving/config_deployment.h"
#include "serving/config_network.h"
#include "serving/config_observability.h"
#include "serving/host_template.h"
#include "serving/traffic.h"
#include "test.h"

static json_t *parse(const char *text)
{
    json_t *out = NULL;
    struct error err = {0};
    if (jparse(slice_str(text), 1 << 20, &out, &err) < 0) {
        fail_msg("%s: %s", text, err.msg);
    }
    return out;
}

static void templates(void **state)
{
    static const struct {
        const char *text;
        const char *want; /* or a part of the error after '!' */
    } rows[] = {
        {"{{.Name}}.{{.Namespace}}.{{.Domain}}", "foo.bar.baz.com"},
        {"{{ .Name }}-{{.Namespace}}.{{.Domain}}", "foo-bar.baz.com"},
        {"{{.Name}}.{{index .Labels \"team\"}}.{{.Domain}}", "foo.red.baz.com"},
        {"{{.Name}}.{{index .Labels `app.kubernetes.io/name`}}.{{.Domain}}", "foo.shop.baz.com"},
        {"{{.Annotations.sub}}.{{.Domain}}", "deep.baz.com"},
        {"{{.Labels.team}}{{index .Annotations \"sub\"}}", "reddeep"},
        {"{{index .Labels \"none\"}}x{{.Labels.none}}", "x<no value>"},
        {"a {{- .Name -}} b{{/* said */}}c", "afoobc"},
        {"plain", "plain"},
        {"", ""},
        {"{{.Name}", "!unclosed action"},
        {"{{}}", "!missing value for command"},
        {"{{.Nome}}", "!must be .Name"},
        {"{{.Tag}}", "!must be .Name"},
        {"{{index .Labels}}", "!index takes"},
        {"{{index .Labels team}}", "!index takes"},
        {"{{index .Name \"x\"}}", "!index takes"},
        {"{{index .Labels \"te}}", "!unterminated"},
        {"{{index .Labels \"a\\\"b\"}}", "!escape"},
        {"{{.Name .Domain}}", "!unexpected operand"},
        {"{{index .Labels \"a\" \"b\"}}", "!unexpected operand"},
        {"{{if .Name}}x{{end}}", "!unexpected operand"},
        {"{{.Labels.a-b}}", "!must be .Name"},
        {"{{.Labels}}", "!must be .Name"},
    };
    CLEANUP(jfree) json_t *labels = parse("{\"team\":\"red\",\"app.kubernetes.io/name\":\"shop\"}");
    CLEANUP(jfree) json_t *annotations = parse("{\"sub\":\"deep\",\"odd\":3}");
    const struct host_values values = {"foo", "bar", "baz.com", NULL, true, labels, annotations};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(strbuf_fini) struct strbuf out;
        struct error err = {0};
        strbuf_init(&out, 100);
        int rc = host_template_print(slice_str(rows[i].text), &values, &out, &err);
        bool as_wanted = rows[i].want[0] == '!'
                             ? rc == ERR_INVALID && strstr(err.msg, rows[i].want + 1) != NULL
                             : rc == 0 && strcmp(out.ptr, rows[i].want) == 0;
        if (!as_wanted) {
            fail_msg("%s: %d, \"%s\", %s", rows[i].text, rc, out.ptr, err.msg);
        }
    }
    CLEANUP(strbuf_fini) struct strbuf small;
    struct error err;
    strbuf_init(&small, 5);
    assert_int_equal(host_template_print(SLICE_LIT("{{.Name}}{{.Name}}"), &values, &small, &err),
                     ERR_TOO_BIG);
}

static void url_of(const struct network_config *config, const char *metadata, const char *tag,
                   const char *want)
{
    CLEANUP(jfree) json_t *meta = parse(metadata);
    CLEANUP(strbuf_fini) struct strbuf out;
    struct network_config network = network_of(config, meta);
    strbuf_init(&out, 1024);
    traffic_url(&network, "ns", "a", tag, &out);
    assert_string_equal(out.ptr, want);
}

/* The most specific selector, of equals the first in order; labels that do not fit: the default. */
static void domains(void **state)
{
    struct network_config config;
    struct error err = {0};
    network_config_init(&config);
    CLEANUP(jfree)
    json_t *data = parse("{\"z.example.org\":\"\",\"b.example.org\":\"selector:\\n  app: shop\\n\","
                         "\"a.example.org\":\"{\\\"selector\\\":{\\\"app\\\":\\\"shop\\\"}}\","
                         "\"c.example.org\":\"selector:\\n  app: shop\\n  env: prod\\n\","
                         "\"y.example.org\":\"type: wildcard\",\"_example\":\"no: [yaml\"}");
    ASSERT_OK(domain_config_read(&config, data, &err));
    url_of(&config, "{}", NULL, "http://a.ns.y.example.org");
    url_of(&config, "{\"labels\":{\"app\":\"shop\"}}", NULL, "http://a.ns.a.example.org");
    url_of(&config, "{\"labels\":{\"app\":\"shop\",\"env\":\"prod\"}}", "t",
           "http://t-a.ns.c.example.org");
    url_of(&config, "{\"labels\":{\"app\":\"other\",\"env\":\"prod\"}}", NULL,
           "http://a.ns.y.example.org");
    /* Without a default what fits nothing is only inside. */
    CLEANUP(jfree) json_t *none = parse("{\"b.example.org\":\"selector: {app: shop}\"}");
    ASSERT_OK(domain_config_read(&config, none, &err));
    url_of(&config, "{}", NULL, "http://a.ns.svc.cluster.local");
    struct network_config outside = network_of(&config, NULL);
    assert_true(network_is_local(&outside));
    CLEANUP(jfree) json_t *shop = parse("{\"labels\":{\"app\":\"shop\"}}");
    struct network_config inside = network_of(&config, shop);
    assert_false(network_is_local(&inside));
    ASSERT_OK(domain_config_read(&config, NULL, &err));
    url_of(&config, "{\"labels\":{\"app\":\"shop\"}}", NULL, "http://a.ns.svc.cluster.local");
    network_config_fini(&config);
}

static void network_templates(void **state)
{
    struct network_config config;
    struct error err = {0};
    network_config_init(&config);
    CLEANUP(jfree) json_t *domain = parse("{\"x.example.org\":\"\"}");
    CLEANUP(jfree)
    json_t *data = parse("{\"domain-template\":\"{{.Name}}-{{.Namespace}}.{{index .Labels "
                         "\\\"team\\\"}}.{{.Domain}}\",\"tag-template\":\"{{.Name}}-{{.Tag}}\","
                         "\"defaultExternalScheme\":\"https\",\"rollout-duration\":\"90\","
                         "\"http-protocol\":\"Redirected\",\"system-internal-tls\":\"Disabled\"}");
    ASSERT_OK(domain_config_read(&config, domain, &err));
    ASSERT_OK(network_config_read(&config, data, &err));
    assert_int_equal(config.rollout_duration_s, 90);
    url_of(&config, "{\"labels\":{\"team\":\"red\"}}", NULL, "https://a-ns.red.x.example.org");
    url_of(&config, "{\"labels\":{\"team\":\"red\"}}", "t", "https://a-t-ns.red.x.example.org");
    ASSERT_OK(network_config_read(&config, NULL, &err));
    url_of(&config, "{}", "t", "http://t-a.ns.x.example.org");
    network_config_fini(&config);
}

static void refused(void **state)
{
    static const struct {
        const char *name;
        const char *data;
        const char *words;
    } rows[] = {
        {"config-network", "{\"domain-template\":\"{{.Name}\"}", "domain-template: "},
        {"config-network", "{\"domain-template\":\"\"}", "domain-template: empty hostname"},
        {"config-network", "{\"domain-template\":\"{{.Name}}/x\"}",
         "domain template has url path: /x"},
        {"config-network", "{\"domain-template\":\"{{.Name}} x\"}", "cannot stand in a host name"},
        {"config-network", "{\"domain-template\":3}", "must be a text"},
        {"config-network", "{\"tag-template\":\"{{.Namespace}}\"}", "tag-template: "},
        {"config-network", "{\"default-external-scheme\":\"ftp\"}", "default-external-scheme"},
        {"config-network", "{\"rollout-duration\":\"-1\"}",
         "rollout-duration must be a positive integer, but was -1"},
        {"config-network", "{\"rolloutDuration\":\"soon\"}", "failed to parse \"rolloutDuration\""},
        {"config-network", "{\"autocreate-cluster-domain-claims\":\"perhaps\"}",
         "failed to parse \"autocreate-cluster-domain-claims\""},
        {"config-network", "{\"http-protocol\":\"gopher\"}",
         "httpProtocol gopher in config-network ConfigMap is not supported"},
        {"config-network", "{\"system-internal-tls\":\"some\"}",
         "system-internal-tls with value: \"some\" in config-network ConfigMap is not supported"},
        {"config-domain", "{\"No_Domain\":\"\"}", "No_Domain: is no domain name"},
        {"config-domain", "{\"a.example.org\":\"selector: [\"}", "a.example.org: line "},
        {"config-domain", "{\"a.example.org\":\"- a\"}",
         "a.example.org: must be empty or have a selector"},
        {"config-domain", "{\"a.example.org\":\"selector: x\"}", "must be a map of labels"},
        {"config-domain", "{\"a.example.org\":\"selector: {a: 3}\"}", "selector.a: must be a text"},
        {"config-domain", "{\"a.example.org\":\"a: b\\n---\\nc: d\"}", "one YAML document"},
        {"config-domain", "{\"a.example.org\":3}", "must be a text"},
        {"config-deployment", "{\"progress-deadline\":\"0s\"}",
         "progress-deadline cannot be a non-positive duration, was 0s"},
        {"config-deployment", "{\"progress-deadline\":\"1500ms\"}",
         "progress-deadline must be rounded to a whole second, was: 1.5s"},
        {"config-deployment", "{\"queue-sidecar-memory-limit\":\"much\"}",
         "failed to parse \"queue-sidecar-memory-limit\""},
        {"config-deployment", "{\"queueSidecarCPURequest\":\"-1\"}",
         "failed to parse \"queueSidecarCPURequest\""},
        {"config-deployment", "{\"digest-resolution-timeout\":\"-1s\"}",
         "digest-resolution-timeout cannot be"},
        {"config-observability", "{\"logging.enable-request-log\":\"2\"}",
         "failed to parse \"logging.enable-request-log\""},
        {"config-gc", "{\"min-non-active-revisions\":\"-1\"}", "must be non-negative"},
        {"config-autoscaler", "{\"stable-window\":\"1s\"}", "stable-window"},
        {"config-defaults", "{\"revision-timeout-seconds\":\"x\"}", "revision-timeout-seconds"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        CLEANUP(jfree) json_t *data = parse(rows[i].data);
        int rc = config_check(rows[i].name, data, &err);
        if (rc != ERR_INVALID || strstr(err.msg, rows[i].words) == NULL) {
            fail_msg("%s %s: %d %s", rows[i].name, rows[i].data, rc, err.msg);
        }
    }
    struct error err;
    CLEANUP(jfree) json_t *any = parse("{\"x\":\"y\",\"_example\":\"{{\"}");
    static const char *const names[] = {"config-network",       "config-deployment", "config-gc",
                                        "config-observability", "config-features",   "mine"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        ASSERT_OK(config_check(names[i], any, &err)); /* keys that nobody knows */
        ASSERT_OK(config_check(names[i], NULL, &err));
    }
}

static void deployment(void **state)
{
    struct deployment_config config;
    struct error err = {0};
    deployment_config_init(&config);
    CLEANUP(jfree)
    json_t *data = parse("{\"progressDeadline\":\"2m\",\"queue-sidecar-cpu-request\":\"50m\","
                         "\"queue-sidecar-memory-limit\":\"200Mi\"}");
    ASSERT_OK(deployment_config_read(&config, data, &err));
    assert_int_equal(config.progress_deadline_s, 120);
    assert_string_equal(config.requests[SIDECAR_CPU], "50m");
    assert_string_equal(config.limits[SIDECAR_MEMORY], "200Mi");
    assert_string_equal(config.requests[SIDECAR_STORAGE], "");
    ASSERT_OK(deployment_config_read(&config, NULL, &err));
    assert_int_equal(config.progress_deadline_s, 600);
    assert_string_equal(config.requests[SIDECAR_CPU], "25m");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates),         cmocka_unit_test(domains),
        cmocka_unit_test(network_templates), cmocka_unit_test(refused),
        cmocka_unit_test(deployment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
