// SPDX-License-Identifier: Apache-2.0
/* JSON of the API → what the activator wants to know. */
#include "json/jparse.h"
#include "activator/objects.h"
#include "test.h"

static json_t *parse(const char *text)
{
    struct error err;
    json_t *j = NULL;
    ASSERT_OK(jparse(slice_str(text), 1 << 20, &j, &err));
    return j;
}

static void test_route(void **state)
{
    CLEANUP(jfree)
    json_t *j = parse("{\"metadata\":{\"name\":\"hello\",\"namespace\":\"ns\"},\"status\":{"
                      "\"url\":\"http://hello.ns.localhost:8080\",\"traffic\":["
                      "{\"revisionName\":\"hello-00001\",\"percent\":60,\"latestRevision\":true},"
                      "{\"revisionName\":\"hello-00002\",\"percent\":40,\"tag\":\"blue\","
                      "\"url\":\"https://blue-hello.ns.localhost:8443/\"},"
                      "{\"configurationName\":\"no revision\",\"percent\":400}]}}");
    struct route_object o = {0};
    assert_int_equal(object_route(j, &o), 0);
    ASSERT_SLICE(o.spec->ns, "ns");
    ASSERT_SLICE(o.spec->name, "hello");
    ASSERT_SLICE(o.spec->host, "hello.ns.localhost");
    assert_false(o.spec->cluster_local);
    assert_int_equal(o.spec->count, 2);
    ASSERT_SLICE(o.spec->targets[0].revision, "hello-00001");
    assert_int_equal(o.spec->targets[0].percent, 60);
    ASSERT_SLICE(o.spec->targets[1].tag, "blue");
    ASSERT_SLICE(o.spec->targets[1].host, "blue-hello.ns.localhost");
    route_object_fini(&o);
}

static void test_route_cluster_local_and_empty(void **state)
{
    CLEANUP(jfree)
    json_t *j = parse("{\"metadata\":{\"name\":\"a\",\"namespace\":\"b\",\"labels\":"
                      "{\"networking.knative.dev/visibility\":\"cluster-local\"}}}");
    struct route_object o = {0};
    assert_int_equal(object_route(j, &o), 0);
    assert_true(o.spec->cluster_local);
    assert_int_equal(o.spec->count, 0);
    assert_int_equal(o.spec->host.len, 0);
    route_object_fini(&o);
}

/* The URLs say what is for inside only. */
static void test_route_with_inner_names(void **state)
{
    CLEANUP(jfree)
    json_t *j =
        parse("{\"metadata\":{\"name\":\"a\",\"namespace\":\"b\"},\"status\":{"
              "\"url\":\"http://a.b.example.com\",\"traffic\":["
              "{\"revisionName\":\"r\",\"tag\":\"x\",\"url\":\"http://x-a.b.svc.cl.local\"},"
              "{\"revisionName\":\"r\",\"tag\":\"y\",\"url\":\"http://y-a.b.example.com\"}]}}");
    struct route_object o = {0};
    assert_int_equal(object_route(j, &o), 0);
    assert_false(o.spec->cluster_local);
    assert_true(o.spec->targets[0].cluster_local);
    assert_false(o.spec->targets[1].cluster_local);
    route_object_fini(&o);
    CLEANUP(jfree)
    json_t *k = parse("{\"metadata\":{\"name\":\"a\",\"namespace\":\"b\"},\"status\":{"
                      "\"url\":\"http://a.b.svc.cl.local\"}}");
    assert_int_equal(object_route(k, &o), 0);
    assert_true(o.spec->cluster_local);
    route_object_fini(&o);
    (void)state;
}

static void test_revision(void **state)
{
    CLEANUP(jfree)
    json_t *j = parse(
        "{\"spec\":{\"containerConcurrency\":3,\"timeoutSeconds\":20},\"status\":{\"conditions\":["
        "{\"type\":\"Active\",\"status\":\"False\",\"reason\":\"NoTraffic\"},"
        "{\"type\":\"Ready\",\"status\":\"False\",\"reason\":\"ExitCode1\","
        "\"message\":\"Container failed\"}]}}");
    struct revision_object o = {0};
    assert_int_equal(object_revision(j, &o), 0);
    assert_int_equal(o.concurrency, 3);
    assert_int_equal(o.timeout_s, 20);
    assert_string_equal(o.reason, "ExitCode1");
    assert_string_equal(o.message, "Container failed");
    revision_object_fini(&o);
    CLEANUP(jfree)
    json_t *unknown =
        parse("{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"Unknown\"}]}}");
    assert_int_equal(object_revision(unknown, &o), 0);
    assert_null(o.reason);
    revision_object_fini(&o);
}

static void test_pod(void **state)
{
    static const struct {
        const char *name;
        enum pod_address how;
        const char *json;
        int rc;
        const char *address, *blocked;
        bool ready, terminating, finished, probe;
    } rows[] = {
        {"ready on one machine", POD_ADDRESS_UNIX,
         "{\"metadata\":{\"labels\":{\"serving.knative.dev/revision\":\"r\"},\"annotations\":"
         "{\"lull.dev/queue-address\":\"unix:/x.q\"}},\"status\":{\"phase\":\"Running\",\"podIP\":"
         "\"127.0.0.1\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}",
         0, "unix:/x.q", NULL, true, false, false, false},
        {"by address, ours to probe", POD_ADDRESS_IP,
         "{\"metadata\":{\"labels\":{\"serving.knative.dev/revision\":\"r\"}},\"status\":{"
         "\"phase\":\"Running\",\"podIP\":\"10.1.2.3\",\"conditions\":[{\"type\":\"Ready\","
         "\"status\":\"False\"}]}}",
         0, "10.1.2.3:8012", NULL, false, false, false, true},
        {"six", POD_ADDRESS_IP,
         "{\"metadata\":{\"labels\":{\"serving.knative.dev/revision\":\"r\"}},\"status\":{"
         "\"phase\":\"Running\",\"podIP\":\"fd00::1\"}}",
         0, "[fd00::1]:8012", NULL, false, false, false, true},
        {"exec readiness is the kubelet's", POD_ADDRESS_IP,
         "{\"metadata\":{\"labels\":{\"serving.knative.dev/revision\":\"r\"}},\"spec\":{"
         "\"containers\":[{\"readinessProbe\":{\"exec\":{\"command\":[\"x\"]}}}]},\"status\":{"
         "\"phase\":\"Running\",\"podIP\":\"10.1.2.3\"}}",
         0, "10.1.2.3:8012", NULL, false, false, false, false},
        {"no node", POD_ADDRESS_IP,
         "{\"metadata\":{\"labels\":{\"serving.knative.dev/revision\":\"r\"}},\"status\":{"
         "\"phase\":\"Pending\",\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\","
         "\"reason\":\"Unschedulable\",\"message\":\"0/1 nodes\"}]}}",
         0, NULL, "0/1 nodes", false, false, false, false},
        {"going", POD_ADDRESS_IP,
         "{\"metadata\":{\"labels\":{\"serving.knative.dev/revision\":\"r\"},"
         "\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"},\"status\":{\"phase\":\"Failed\"}}",
         0, NULL, NULL, false, true, true, false},
        {"not of a revision", POD_ADDRESS_IP, "{\"metadata\":{\"name\":\"x\"}}", 1, NULL, NULL,
         false, false, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(jfree) json_t *j = parse(rows[i].json);
        struct pod_object o = {0};
        int rc = object_pod(j, rows[i].how, &o);
        if (rc != rows[i].rc || o.ready != rows[i].ready || o.terminating != rows[i].terminating ||
            o.finished != rows[i].finished || (o.ours && o.running) != rows[i].probe ||
            !slice_eq(slice_str(o.address), slice_str(rows[i].address)) ||
            !slice_eq(slice_str(o.blocked), slice_str(rows[i].blocked))) {
            fail_msg("%s: rc %d address %s blocked %s", rows[i].name, rc, o.address, o.blocked);
        }
        pod_object_fini(&o);
    }
}

static void test_names_that_cannot_be(void **state)
{
    CLEANUP(strbuf_fini) struct strbuf s;
    strbuf_init(&s, 4096);
    strbuf_append_str(&s, "{\"metadata\":{\"namespace\":\"ns\",\"labels\":"
                          "{\"serving.knative.dev/revision\":\"r\"},\"name\":\"");
    for (int i = 0; i < 300; i++) {
        strbuf_append_char(&s, 'x');
    }
    strbuf_append_str(&s, "\"}}");
    CLEANUP(jfree) json_t *j = parse(s.ptr);
    struct route_object route = {0};
    struct revision_object revision = {0};
    struct pod_object pod = {0};
    assert_int_equal(object_route(j, &route), 1);
    assert_int_equal(object_revision(j, &revision), 1);
    assert_int_equal(object_pod(j, POD_ADDRESS_IP, &pod), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_route),
        cmocka_unit_test(test_route_cluster_local_and_empty),
        cmocka_unit_test(test_route_with_inner_names),
        cmocka_unit_test(test_revision),
        cmocka_unit_test(test_pod),
        cmocka_unit_test(test_names_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
