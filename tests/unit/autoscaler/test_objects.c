// SPDX-License-Identifier: Apache-2.0
/* Projections: what is taken of the API's objects. */
#include "json/jparse.h"
#include "autoscaler/objects.h"
#include "test.h"

static json_t *parse(const char *text)
{
    struct error err = {0};
    json_t *json = NULL;
    ASSERT_OK(jparse(slice_str(text), 1 << 20, &json, &err));
    return json;
}

static void a_pod_autoscaler(void **state)
{
    struct error err = {0};
    CLEANUP(jfree)
    json_t *json =
        parse("{\"metadata\":{\"generation\":3,\"annotations\":{"
              "\"autoscaling.knative.dev/min-scale\":\"2\",\"other\":\"x\","
              "\"serving.knative.dev/progress-deadline\":\"2m\"}},"
              "\"spec\":{\"containerConcurrency\":5,\"reachability\":\"Reachable\","
              "\"scaleTargetRef\":{\"name\":\"hello-00001-deployment\"}},"
              "\"status\":{\"desiredScale\":1,\"actualScale\":0,\"conditions\":["
              "{\"type\":\"Active\",\"status\":\"False\",\"reason\":\"NoTraffic\","
              "\"lastTransitionTime\":\"2026-01-02T03:04:05Z\"},"
              "{\"type\":\"ScaleTargetInitialized\",\"status\":\"True\"}],"
              "\"lullDecisions\":[{\"time\":\"2026-01-02T03:04:05.678Z\",\"from\":1,\"to\":0,"
              "\"rule\":\"stable-window\",\"inputs\":{\"stable\":0,\"target\":70.0}},"
              "{\"time\":\"yesterday\",\"rule\":\"stable-window\",\"to\":1},"
              "{\"time\":\"2026-01-02T03:04:05Z\",\"rule\":\"magic\",\"to\":1}]}}");
    struct pa_object pa = {0};
    ASSERT_OK(pa_object_project(NULL, json, &pa, &err));
    assert_string_equal(pa.deployment, "hello-00001-deployment");
    assert_int_equal(pa.container_concurrency, 5);
    assert_int_equal(pa.annotation_count, 1);
    ASSERT_SLICE(pa.annotations[0].key, "autoscaling.knative.dev/min-scale");
    assert_int_equal(pa.progress_deadline_ms, 120000);
    assert_true(pa.reachable && pa.initialized && pa.has_active);
    assert_int_equal(pa.active, PLAN_INACTIVE);
    assert_int_equal(pa.active_wall_ns, 1767323045000000000);
    assert_int_equal(pa.desired_scale, 1);
    assert_int_equal(pa.history.count, 1);
    assert_int_equal(pa.history.changes[0].from, 1);
    assert_string_equal(change_rule(&pa.history.changes[0]), "stable-window");
    pa_object_release(NULL, &pa);
}

static void a_new_pod_autoscaler(void **state)
{
    struct error err = {0};
    CLEANUP(jfree)
    json_t *json = parse("{\"spec\":{\"reachability\":\"Unreachable\","
                         "\"scaleTargetRef\":{\"name\":\"d\"}}}");
    struct pa_object pa = {0};
    ASSERT_OK(pa_object_project(NULL, json, &pa, &err));
    assert_false(pa.reachable || pa.has_active || pa.initialized);
    assert_int_equal(pa.active, PLAN_ACTIVATING);
    assert_int_equal(pa.desired_scale, -1);
    assert_int_equal(pa.history.count, 0);
    pa_object_release(NULL, &pa);

    CLEANUP(jfree) json_t *empty = parse("{}");
    struct pa_object none = {0};
    ASSERT_ERR(ERR_NOT_FOUND, pa_object_project(NULL, empty, &none, &err));
}

static void a_deployment(void **state)
{
    struct error err = {0};
    struct deployment_object d = {0};
    CLEANUP(jfree)
    json_t *json = parse("{\"metadata\":{\"labels\":{\"serving.knative.dev/revision\":\"r\"}},"
                         "\"spec\":{\"replicas\":0}}");
    ASSERT_OK(deployment_object_project(NULL, json, &d, &err));
    assert_string_equal(d.revision, "r");
    assert_int_equal(d.replicas, 0);
    deployment_object_release(NULL, &d);
    CLEANUP(jfree) json_t *foreign = parse("{\"spec\":{\"replicas\":1}}");
    assert_int_equal(deployment_object_project(NULL, foreign, &d, &err), 1);
}

#define POD(rest) "{\"metadata\":{\"labels\":{\"serving.knative.dev/revision\":\"r\"}" rest "}"

static void pods(void **state)
{
    static const struct {
        const char *name;
        const char *json;
        enum pod_address kind;
        const char *address; /* NULL: none */
        bool ready, terminating, failing;
        const char *trouble; /* NULL: none */
    } rows[] = {
        {"ready",
         POD("},\"status\":{\"podIP\":\"10.0.0.7\",\"conditions\":[{\"type\":\"Ready\","
             "\"status\":\"True\"}]}"),
         POD_ADDRESS_IP, "10.0.0.7:9090", .ready = true},
        {"of IPv6", POD("},\"status\":{\"podIP\":\"fd00::7\"}"), POD_ADDRESS_IP, "[fd00::7]:9090"},
        {"on one machine",
         POD(",\"annotations\":{\"lull.dev/admin-address\":\"unix:/run/a\"}},"
             "\"status\":{\"podIP\":\"127.0.0.1\"}"),
         POD_ADDRESS_UNIX, "unix:/run/a"},
        {"being deleted",
         POD(",\"deletionTimestamp\":\"2026-01-02T03:04:05Z\"},\"status\":{"
             "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}"),
         POD_ADDRESS_IP, NULL, .terminating = true},
        {"crashing",
         POD("},\"status\":{\"containerStatuses\":[{\"name\":\"user-container\",\"state\":{"
             "\"waiting\":{\"reason\":\"CrashLoopBackOff\",\"message\":\"back-off\"}},"
             "\"lastState\":{\"terminated\":{\"message\":\"no such file\"}}}]}"),
         POD_ADDRESS_IP, NULL, .failing = true,
         .trouble = "user-container: CrashLoopBackOff: no such file"},
        {"only starting",
         POD("},\"status\":{\"containerStatuses\":[{\"name\":\"user-container\",\"state\":{"
             "\"waiting\":{\"reason\":\"ContainerCreating\"}}}]}"),
         POD_ADDRESS_IP, NULL},
        {"without a place",
         POD("},\"status\":{\"conditions\":[{\"type\":\"PodScheduled\","
             "\"status\":\"False\",\"reason\":\"Unschedulable\","
             "\"message\":\"64 of 64 replicas run\"}]}"),
         POD_ADDRESS_IP, NULL,
         .trouble = "no place for a replica: Unschedulable: 64 of 64 replicas run"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        CLEANUP(jfree) json_t *json = parse(rows[i].json);
        struct pod_object pod = {0};
        enum pod_address kind = rows[i].kind;
        ASSERT_OK(pod_object_project(&kind, json, &pod, &err));
        bool address = rows[i].address == NULL
                           ? pod.address == NULL
                           : pod.address != NULL && strcmp(pod.address, rows[i].address) == 0;
        bool trouble = rows[i].trouble == NULL
                           ? pod.trouble == NULL
                           : pod.trouble != NULL && strcmp(pod.trouble, rows[i].trouble) == 0;
        if (!address || !trouble || pod.ready != rows[i].ready || pod.failing != rows[i].failing ||
            pod.terminating != rows[i].terminating) {
            fail_msg("a pod %s: address %s, trouble %s", rows[i].name, pod.address, pod.trouble);
        }
        pod_object_release(&kind, &pod);
    }
}

static void the_config(void **state)
{
    struct error err = {0};
    struct config_object config = {0};
    CLEANUP(jfree)
    json_t *good = parse("{\"data\":{\"stable-window\":\"30s\",\"_example\":\"x: y\"}}");
    ASSERT_OK(config_object_project(NULL, good, &config, &err));
    assert_true(config.valid);
    assert_int_equal(config.config.stable_window_ms, 30000);
    CLEANUP(jfree) json_t *bad = parse("{\"data\":{\"stable-window\":\"1s\"}}");
    config = (struct config_object){0};
    ASSERT_OK(config_object_project(NULL, bad, &config, &err));
    assert_false(config.valid);
    assert_non_null(strstr(config.err.msg, "stable-window = 1s"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pod_autoscaler), cmocka_unit_test(a_new_pod_autoscaler),
        cmocka_unit_test(a_deployment),     cmocka_unit_test(pods),
        cmocka_unit_test(the_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
