// SPDX-License-Identifier: Apache-2.0
/* The reconcilers on objects in memory: what they bring about, and that they always get there. */
#include "base/mem.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/build.h"
#include "controller/conditions.h"
#include "controller/meta.h"
#include "controller/pods.h"
#include "fake_world.h"
#include "test.h"

static json_t *parse(const char *text)
{
    struct error err = {0};
    json_t *value = NULL;
    ASSERT_OK(jparse(slice_str(text), 1 << 20, &value, &err));
    return value;
}

static void put_service(struct world *w, const char *image)
{
    json_t *service =
        json_pack("{s:{s:s,s:{s:s},s:{s:s,s:s}},s:{s:{s:{s:{s:s}},s:{s:[{s:s+,s:[{s:i}]}],s:i}}}}",
                  "metadata", "name", "hello", "labels", "team", "a", "annotations", "note", "b",
                  ANNOTATION_LAST_APPLIED, "{}", "spec", "template", "metadata", "annotations",
                  ANNOTATION_TARGET, "5", "spec", "containers", "image", "test/", image, "ports",
                  "containerPort", 7000, "containerConcurrency", 3);
    assert_non_null(service);
    world_put(w, KIND_SERVICE, service);
}

static void set_image(struct world *w, const char *image)
{
    json_t *service = world_get(w, KIND_SERVICE, "hello");
    json_t *container = jget(service, "spec.template.spec.containers[0]");
    json_object_set_new(container, "image", json_sprintf("test/%s", image));
    json_int_t generation = jpeek_i64(service, "metadata.generation") + 1;
    json_object_set_new(json_object_get(service, "metadata"), "generation",
                        json_integer(generation));
}

#define IS(kind, name, type, want) assert_string_equal(world_condition(&w, kind, name, type), want)

static void service_becomes_ready(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    put_service(&w, "i");
    world_settle(&w);
    IS(KIND_SERVICE, "hello", "Ready", "Unknown");
    IS(KIND_REVISION, "hello-00001", "Ready", "Unknown");
    assert_string_equal(jpeek_cstr(world_get(&w, KIND_REVISION, "hello-00001"),
                                   "metadata.annotations."
                                   "`autoscaling.knative.dev/target`"),
                        "5");
    assert_true(slice_eq_str(
        jpeek_str(world_get(&w, KIND_CONFIGURATION, "hello"), "metadata.annotations.note"), "b"));
    assert_int_equal(jpeek_str(world_get(&w, KIND_CONFIGURATION, "hello"),
                               "metadata.annotations.`" ANNOTATION_LAST_APPLIED "`")
                         .len,
                     0);
    w.replicas.ready = 1;
    world_settle(&w);
    IS(KIND_SERVICE, "hello", "Ready", "True");
    IS(KIND_SERVICE, "hello", "ConfigurationsReady", "True");
    IS(KIND_SERVICE, "hello", "RoutesReady", "True");
    const json_t *service = world_get(&w, KIND_SERVICE, "hello");
    assert_true(object_is_ready(service));
    assert_string_equal(jpeek_cstr(service, "status.latestReadyRevisionName"), "hello-00001");
    assert_string_equal(jpeek_cstr(world_get(&w, KIND_CORE_SERVICE, "hello"), "spec.externalName"),
                        "lull-activator-local.lull-system.svc.cluster.local");
    assert_int_equal(jpeek_i64(world_get(&w, KIND_REVISION, "hello-00001"), "spec.timeoutSeconds"),
                     300);
    assert_string_equal(jpeek_cstr(service, "status.traffic[0].revisionName"), "hello-00001");
    const json_t *scaler = world_get(&w, KIND_PODAUTOSCALER, "hello-00001");
    assert_string_equal(jpeek_cstr(scaler, "spec.reachability"), "Reachable");
    assert_int_equal(jpeek_i64(scaler, "spec.containerConcurrency"), 3);
    /* All replicas gone: still ready. */
    w.replicas.ready = 0;
    world_settle(&w);
    IS(KIND_SERVICE, "hello", "Ready", "True");
    world_fini(&w);
}

/* What HTTP/2 does not do yet is told, and stands in nobody's way. */
static void a_port_named_h2c_is_told(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    put_service(&w, "i");
    world_settle(&w);
    IS(KIND_SERVICE, "hello", "HTTP2Limited", "");
    json_t *service = world_get(&w, KIND_SERVICE, "hello");
    json_object_set_new(jget(service, "spec.template.spec.containers[0].ports[0]"), "name",
                        json_string("h2c"));
    json_object_set_new(json_object_get(service, "metadata"), "generation",
                        json_integer(jpeek_i64(service, "metadata.generation") + 1));
    world_settle(&w);
    w.replicas.ready = 1;
    world_settle(&w);
    service = world_get(&w, KIND_SERVICE, "hello");
    IS(KIND_SERVICE, "hello", "HTTP2Limited", "True");
    IS(KIND_SERVICE, "hello", "Ready", "True");
    assert_non_null(strstr(condition_get(service, "HTTP2Limited").message, "--h2c"));
    assert_string_equal(jpeek_cstr(service, "status.conditions[1].severity"), "Info");
    world_fini(&w);
}

/* Killed after its n-th write, for every n: the next run brings everything to the same end. */
static void killed_after_any_write(void **state)
{
    (void)state;
    struct world whole;
    world_init(&whole);
    put_service(&whole, "i");
    whole.replicas.ready = 1;
    world_settle(&whole);
    assert_true(whole.writes > 8);
    for (size_t n = 0; n < whole.writes; n++) {
        struct world w;
        world_init(&w);
        put_service(&w, "i");
        w.replicas.ready = 1;
        w.max_writes = n;
        for (int pass = 0; pass < 10; pass++) {
            world_pass(&w);
        }
        w.max_writes = SIZE_MAX;
        world_settle(&w);
        assert_int_equal(w.count, whole.count);
        IS(KIND_SERVICE, "hello", "Ready", "True");
        IS(KIND_ROUTE, "hello", "Ready", "True");
        assert_string_equal(
            meta_label(world_get(&w, KIND_REVISION, "hello-00001"), LABEL_ROUTING_STATE), "active");
        world_fini(&w);
    }
    world_fini(&whole);
}

static void update_keeps_the_old_until_the_new_is_ready(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    put_service(&w, "i");
    w.replicas.ready = 1;
    world_settle(&w);
    w.broken = "hello-00002";
    set_image(&w, "j");
    world_settle(&w);
    const json_t *service = world_get(&w, KIND_SERVICE, "hello");
    IS(KIND_SERVICE, "hello", "Ready", "Unknown");
    assert_string_equal(jpeek_cstr(service, "status.latestCreatedRevisionName"), "hello-00002");
    assert_string_equal(jpeek_cstr(service, "status.traffic[0].revisionName"), "hello-00001");
    /* It fails: told, and the old one goes on serving. */
    w.broken_replicas = (struct replicas){.trouble = TROUBLE_EXITED, .exit_code = 7};
    snprintf(w.broken_replicas.message, sizeof(w.broken_replicas.message), "no such table");
    world_settle(&w);
    service = world_get(&w, KIND_SERVICE, "hello");
    struct condition ready = condition_get(service, "Ready");
    assert_string_equal(ready.status, "False");
    assert_string_equal(ready.reason, "RevisionFailed");
    assert_string_equal(ready.message, "Revision \"hello-00002\" failed with message: Container "
                                       "failed with: no such table.");
    assert_string_equal(jpeek_cstr(service, "status.traffic[0].revisionName"), "hello-00001");
    assert_string_equal(
        condition_get(world_get(&w, KIND_REVISION, "hello-00002"), "ContainerHealthy").reason,
        "ExitCode7");
    /* It comes up after all. */
    w.broken = NULL;
    world_settle(&w);
    service = world_get(&w, KIND_SERVICE, "hello");
    assert_true(object_is_ready(service));
    assert_string_equal(jpeek_cstr(service, "status.traffic[0].revisionName"), "hello-00002");
    assert_string_equal(
        meta_label(world_get(&w, KIND_REVISION, "hello-00001"), LABEL_ROUTING_STATE), "reserve");
    assert_string_equal(
        jpeek_cstr(world_get(&w, KIND_PODAUTOSCALER, "hello-00001"), "spec.reachability"),
        "Unreachable");
    world_fini(&w);
}

/* A quota, or a webhook of the cluster's, does not let the Revision in. */
static void a_revision_that_the_api_refuses_is_told(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    put_service(&w, "i");
    w.replicas.ready = 1;
    world_settle(&w);
    w.refused = "hello-00002";
    set_image(&w, "j");
    world_settle(&w);
    const json_t *service = world_get(&w, KIND_SERVICE, "hello");
    struct condition failed = condition_get(service, "ConfigurationsReady");
    assert_string_equal(failed.status, "False");
    assert_string_equal(failed.reason, "RevisionFailed");
    assert_string_equal(failed.message, "Revision creation failed with message: quota: no more.");
    IS(KIND_CONFIGURATION, "hello", "Ready", "False");
    IS(KIND_SERVICE, "hello", "Ready", "False");
    assert_string_equal(jpeek_cstr(service, "status.latestCreatedRevisionName"), "hello-00001");
    assert_string_equal(jpeek_cstr(service, "status.traffic[0].revisionName"), "hello-00001");
    /* It is tried again, and one day taken. */
    w.refused = NULL;
    world_settle(&w);
    service = world_get(&w, KIND_SERVICE, "hello");
    assert_true(object_is_ready(service));
    assert_string_equal(jpeek_cstr(service, "status.latestCreatedRevisionName"), "hello-00002");
    world_fini(&w);

    world_init(&w); /* the first one */
    put_service(&w, "i");
    w.refused = "hello-00001";
    world_settle(&w);
    IS(KIND_SERVICE, "hello", "Ready", "False");
    assert_null(jget(world_get(&w, KIND_SERVICE, "hello"), "status.latestCreatedRevisionName"));
    world_fini(&w);
}

/* A newer generation fails; an older one that became ready meanwhile is the latest ready. */
static void latest_ready_never_goes_back(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    put_service(&w, "a");
    world_settle(&w); /* 1: nothing ready */
    set_image(&w, "b");
    world_settle(&w);
    w.broken = "hello-00003";
    w.broken_replicas = (struct replicas){.trouble = TROUBLE_WAITING, .reason = "ErrImagePull"};
    set_image(&w, "c");
    world_settle(&w);
    assert_string_equal(
        jpeek_cstr(world_get(&w, KIND_SERVICE, "hello"), "status.latestReadyRevisionName"), "");
    w.replicas.ready = 1; /* 1 and 2 come up */
    world_settle(&w);
    assert_string_equal(
        jpeek_cstr(world_get(&w, KIND_SERVICE, "hello"), "status.latestReadyRevisionName"),
        "hello-00002");
    assert_string_equal(condition_get(world_get(&w, KIND_REVISION, "hello-00003"), "Ready").reason,
                        "ContainerMissing");
    world_fini(&w);
}

static void traffic_targets(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    put_service(&w, "i");
    w.replicas.ready = 1;
    world_settle(&w);
    json_t *spec = jget(world_get(&w, KIND_SERVICE, "hello"), "spec");
    json_object_set_new(spec, "traffic",
                        parse("[{\"revisionName\":\"hello-00009\",\"percent\":10,\"tag\":\"x\"},"
                              "{\"latestRevision\":true,\"percent\":90}]"));
    json_object_set_new(json_object_get(world_get(&w, KIND_SERVICE, "hello"), "metadata"),
                        "generation", json_integer(2));
    world_settle(&w);
    struct condition c = condition_get(world_get(&w, KIND_ROUTE, "hello"), "AllTrafficAssigned");
    assert_string_equal(c.status, "False");
    assert_string_equal(c.reason, "RevisionMissing");
    assert_string_equal(c.message, "Revision \"hello-00009\" referenced in traffic not found.");
    IS(KIND_SERVICE, "hello", "RoutesReady", "False");
    /* What was there goes on. */
    assert_int_equal(
        json_array_size(jpeek_arr(world_get(&w, KIND_ROUTE, "hello"), "status.traffic")), 1);
    world_fini(&w);
}

static void a_foreign_placeholder_is_told(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.replicas.ready = 1;
    world_put(&w, KIND_CORE_SERVICE, parse("{\"metadata\":{\"name\":\"hello\"}}"));
    put_service(&w, "i");
    world_settle(&w);
    struct condition c = condition_get(world_get(&w, KIND_SERVICE, "hello"), "Ready");
    assert_string_equal(c.status, "False");
    assert_string_equal(c.reason, "NotOwned");
    world_delete(&w, KIND_CORE_SERVICE, "hello");
    world_settle(&w);
    IS(KIND_SERVICE, "hello", "Ready", "True");
    world_fini(&w);
}

static void a_bad_spec_is_told(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_put(&w, KIND_SERVICE,
              parse("{\"metadata\":{\"name\":\"hello\"},\"spec\":{\"template\":{\"spec\":{}}}}"));
    world_settle(&w);
    assert_int_equal(w.count, 1);
    struct condition c = condition_get(world_get(&w, KIND_SERVICE, "hello"), "Ready");
    assert_string_equal(c.status, "False");
    assert_string_equal(c.message, "missing field(s): spec.template.spec.containers");
    world_put(
        &w, KIND_CONFIGURATION,
        parse(
            "{\"metadata\":{\"name\":\"alone\"},\"spec\":{\"template\":{\"spec\":{\"containers\":[{"
            "\"name\":\"x\"}]}}}}"));
    world_settle(&w);
    assert_int_equal(w.count, 2);
    c = condition_get(world_get(&w, KIND_CONFIGURATION, "alone"), "Ready");
    assert_string_equal(c.reason, "InvalidSpec");
    assert_non_null(strstr(c.message, "containers[0].image"));
    world_put(&w, KIND_REVISION, parse("{\"metadata\":{\"name\":\"by-hand\"},\"spec\":{}}"));
    world_put(&w, KIND_ROUTE,
              parse("{\"metadata\":{\"name\":\"way\"},\"spec\":{\"traffic\":\"all\"}}"));
    world_settle(&w);
    assert_null(world_get(&w, KIND_DEPLOYMENT, "by-hand-deployment"));
    c = condition_get(world_get(&w, KIND_REVISION, "by-hand"), "Ready");
    assert_string_equal(c.message, "missing field(s): spec.containers");
    c = condition_get(world_get(&w, KIND_ROUTE, "way"), "AllTrafficAssigned");
    assert_string_equal(c.message, "spec.traffic: must be a list, is \"all\"");
    world_fini(&w);
}

static void deployment_shape(void **state)
{
    (void)state;
    struct settings settings;
    settings_init(&settings, "queue:1", "lull-system");
    CLEANUP(jfree)
    json_t *revision = parse(
        "{\"metadata\":{\"name\":\"r\",\"namespace\":\"n\",\"uid\":\"u\",\"labels\":{"
        "\"serving.knative.dev/service\":\"s\",\"serving.knative.dev/configuration\":\"c\","
        "\"serving.knative.dev/routingState\":\"active\"},\"annotations\":{"
        "\"autoscaling.knative.dev/initialScale\":\"3\"}},\"spec\":{\"timeoutSeconds\":20,"
        "\"containerConcurrency\":2,\"serviceAccountName\":\"acc\",\"containers\":[{\"image\":"
        "\"side\",\"name\":\"side\"},{\"name\":\"user-container\",\"image\":\"i\",\"ports\":[{"
        "\"containerPort\":9999,\"name\":\"h2c\"}],\"readinessProbe\":{\"httpGet\":{\"path\":"
        "\"/ok\"},\"periodSeconds\":4},\"livenessProbe\":{\"tcpSocket\":{\"port\":0}},\"env\":["
        "{\"name\":\"A\",\"value\":\"1\"}]}]}}");
    CLEANUP(jfree) json_t *d = build_deployment(&settings, revision);
    assert_non_null(d);
    assert_int_equal(jpeek_i64(d, "spec.replicas"), 3);
    assert_string_equal(jpeek_cstr(d, "metadata.name"), "r-deployment");
    assert_string_equal(jpeek_cstr(d, "spec.selector.matchLabels.`" LABEL_REVISION_UID "`"), "u");
    assert_string_equal(meta_label(d, LABEL_ROUTING_STATE), "");
    assert_string_equal(meta_label(d, "app"), "r");
    const json_t *pod = jget(d, "spec.template.spec");
    assert_int_equal(json_array_size(jget(pod, "containers")), 3);
    assert_int_equal(jpeek_i64(pod, "terminationGracePeriodSeconds"), 20);
    assert_string_equal(jpeek_cstr(pod, "serviceAccountName"), "acc");
    assert_null(jget(pod, "timeoutSeconds"));
    const json_t *user = jget(pod, "containers[1]");
    assert_null(jget(user, "readinessProbe"));
    assert_int_equal(jpeek_i64(user, "livenessProbe.tcpSocket.port"), 9999);
    assert_string_equal(jpeek_cstr(user, "env[0].name"), "A");
    assert_string_equal(jpeek_cstr(user, "env[1].value"), "9999");
    assert_string_equal(jpeek_cstr(user, "ports[0].name"), "user-port");
    const json_t *queue = jget(pod, "containers[2]");
    assert_string_equal(jpeek_cstr(queue, "name"), "queue-proxy");
    assert_string_equal(jpeek_cstr(queue, "image"), "queue:1");
    assert_int_equal(jpeek_i64(queue, "readinessProbe.httpGet.port"), 8013);
    size_t i;
    const json_t *env;
    const char *probe = "";
    json_array_foreach(jget(queue, "env"), i, env)
    {
        if (slice_eq_str(jpeek_str(env, "name"), "SERVING_READINESS_PROBE")) {
            probe = jpeek_cstr(env, "value");
        }
    }
    assert_string_equal(probe,
                        "{\"httpGet\":{\"path\":\"/ok\",\"port\":9999,\"host\":\"127.0.0.1\"},"
                        "\"periodSeconds\":4}");
    CLEANUP(jfree) json_t *scaler = build_pod_autoscaler(revision);
    assert_string_equal(jpeek_cstr(scaler, "spec.protocolType"), "h2c");
    assert_string_equal(jpeek_cstr(scaler, "spec.scaleTargetRef.name"), "r-deployment");
}

/* --- objects of any shape ------------------------------------------------------------------------
 */

static json_t *odd_value(int which)
{
    switch (which) {
    case 0:
        return json_null();
    case 1:
        return json_integer(-1);
    case 2:
        return json_string("");
    case 3:
        return json_array();
    case 4:
        return json_object();
    case 5:
        return json_pack("[[], {}, n, i]", 7);
    default:
        return json_true();
    }
}

enum { ODD_VALUES = 7 };

static void look(struct world *w)
{
    for (size_t i = 0; i < w->count; i++) {
        struct error err = {0};
        struct pod_view pod;
        CLEANUP(jfree) json_t *copy = json_deep_copy(w->objects[i]);
        const struct kind *kind = kind_row(w->kinds[i]);
        (void)!serving_default(&w->settings.defaults, kind, copy, NULL, &err);
        (void)!serving_validate(&w->settings.defaults, kind, copy, w->objects[i], &err);
        (void)pod_read(w->objects[i], &pod);
    }
    world_dry_pass(w);
}

/* Puts odd values in the place of every value below `at`, one after the other. */
static void bend(struct world *w, json_t *at, size_t *bent)
{
    if (json_is_object(at)) {
        const char *key;
        void *next;
        json_t *value;
        json_object_foreach_safe(at, next, key, value)
        {
            json_t *keep = json_incref(value);
            CLEANUP(cleanup_free) char *name = xstrdup(key);
            for (int i = 0; i < ODD_VALUES; i++, ++*bent) {
                json_object_set_new(at, name, odd_value(i));
                look(w);
            }
            json_object_set_new(at, name, keep);
            bend(w, keep, bent);
        }
    } else if (json_is_array(at)) {
        for (size_t n = 0; n < json_array_size(at); n++) {
            json_t *keep = json_incref(json_array_get(at, n));
            for (int i = 0; i < ODD_VALUES; i++, ++*bent) {
                json_array_set_new(at, n, odd_value(i));
                look(w);
            }
            json_array_set_new(at, n, keep);
            bend(w, keep, bent);
        }
    }
}

/* No shape of an object may end the process: users and other programs write them. */
static void odd_shapes_are_survived(void **state)
{
    (void)state;
    struct world w;
    size_t bent = 0;
    world_init(&w);
    put_service(&w, "i");
    w.replicas.ready = 1;
    world_settle(&w);
    for (size_t i = 0; i < w.count; i++) {
        bend(&w, w.objects[i], &bent);
    }
    assert_true(bent > 1000);
    world_settle(&w); /* all is as before */
    IS(KIND_SERVICE, "hello", "Ready", "True");
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(service_becomes_ready),
        cmocka_unit_test(a_port_named_h2c_is_told),
        cmocka_unit_test(killed_after_any_write),
        cmocka_unit_test(update_keeps_the_old_until_the_new_is_ready),
        cmocka_unit_test(a_revision_that_the_api_refuses_is_told),
        cmocka_unit_test(latest_ready_never_goes_back),
        cmocka_unit_test(traffic_targets),
        cmocka_unit_test(a_foreign_placeholder_is_told),
        cmocka_unit_test(a_bad_spec_is_told),
        cmocka_unit_test(deployment_shape),
        cmocka_unit_test(odd_shapes_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
