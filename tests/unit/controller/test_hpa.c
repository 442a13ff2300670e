// SPDX-License-Identifier: Apache-2.0
/* Class hpa: the HorizontalPodAutoscaler that the annotations ask for, what becomes of it, and the
 * PodAutoscaler's status that follows from it. */
#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/build.h"
#include "controller/hpa.h"
#include "fake_world.h"
#include "test.h"

enum { OBJECTS_OF_A_FUNCTION = 7 };

/* ' stands for ". */
static json_t *parse(const char *text)
{
    struct error err = {0};
    json_t *value = NULL;
    CLEANUP(cleanup_free) char *copy = xstrdup(text);
    for (char *c = copy; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    ASSERT_OK(jparse(slice_str(copy), 1 << 20, &value, &err));
    return value;
}

#define HPA "'autoscaling.knative.dev/class':'hpa.autoscaling.knative.dev'"
#define A   "'autoscaling.knative.dev/"

static void the_spec(void **state)
{
    static const struct {
        const char *annotations;
        const char *want; /* of the spec, without scaleTargetRef */
    } rows[] = {
        {HPA, "{'minReplicas':1,'maxReplicas':2147483647}"},
        {HPA "," A "target':'70.2'," A "min-scale':'2'," A "max-scale':'5'",
         "{'minReplicas':2,'maxReplicas':5,'metrics':[{'type':'Resource','resource':{'name':'cpu',"
         "'target':{'type':'Utilization','averageUtilization':71}}}]}"},
        {HPA "," A "metric':'memory'," A "target':'200.9'," A "maxScale':'3'",
         "{'minReplicas':1,'maxReplicas':3,'metrics':[{'type':'Resource','resource':{'name':"
         "'memory','target':{'type':'AverageValue','averageValue':'200Mi'}}}]}"},
        {HPA "," A "metric':'queue_length'," A "target':'1000'," A "window':'90s'",
         "{'minReplicas':1,'maxReplicas':2147483647,'metrics':[{'type':'Pods','pods':{'metric':{"
         "'name':'queue_length'},'target':{'type':'AverageValue','averageValue':'1k'}}}],"
         "'behavior':{'scaleDown':{'stabilizationWindowSeconds':90},"
         "'scaleUp':{'stabilizationWindowSeconds':90}}}"},
    };
    struct settings settings;
    settings_init(&settings, "q:1", "lull-system");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(cleanup_free)
        char *text = xasprintf("{'metadata':{'name':'r','namespace':'n','uid':'u','labels':{'a':"
                               "'b'},'annotations':{%s}},'spec':{'containers':[{}]}}",
                               rows[i].annotations);
        CLEANUP(jfree) json_t *revision = parse(text);
        CLEANUP(jfree) json_t *pa = parse("{'metadata':{'name':'r','uid':'pa'}}");
        CLEANUP(jfree) json_t *want = parse(rows[i].want);
        CLEANUP(jfree) json_t *hpa = hpa_build(&settings, revision, pa);
        assert_true(hpa_class(&settings, revision));
        assert_string_equal(jpeek_cstr(hpa, "apiVersion"), "autoscaling/v2");
        assert_string_equal(jpeek_cstr(hpa, "kind"), "HorizontalPodAutoscaler");
        assert_string_equal(jpeek_cstr(hpa, "metadata.name"), "r");
        assert_string_equal(jpeek_cstr(hpa, "metadata.labels.a"), "b");
        assert_string_equal(jpeek_cstr(hpa, "metadata.ownerReferences[0].kind"), "PodAutoscaler");
        assert_string_equal(jpeek_cstr(hpa, "metadata.ownerReferences[0].uid"), "pa");
        json_t *spec = jpeek_obj(hpa, "spec");
        assert_string_equal(jpeek_cstr(spec, "scaleTargetRef.name"), "r-deployment");
        json_object_del(spec, "scaleTargetRef");
        if (!json_equal(spec, want)) {
            CLEANUP(cleanup_free) char *got = jdump_str(spec);
            fail_msg("row %zu: %s", i, got);
        }
    }
    settings_fini(&settings);
}

static void none_is_not_where_it_begins(void **state)
{
    struct settings settings;
    struct error err = {0};
    settings_init(&settings, "q:1", "lull-system");
    CLEANUP(jfree) json_t *config = parse("{'allow-zero-initial-scale':'true'}");
    ASSERT_OK(settings_read(&settings, "config-autoscaler", config, &err));
    CLEANUP(jfree)
    json_t *zero = parse("{'metadata':{'annotations':{" A "initial-scale':'0'}},'spec':{}}");
    assert_int_equal(build_initial_scale(&settings, zero), 0);
    CLEANUP(jfree)
    json_t *hpa = parse("{'metadata':{'annotations':{" HPA "," A "initial-scale':'0'}},'spec':{}}");
    assert_int_equal(build_initial_scale(&settings, hpa), 1);
    settings_fini(&settings);
}

static void begin(struct world *w, const char *annotations)
{
    world_init(w);
    snprintf(w->settings.sidecar_image, sizeof(w->settings.sidecar_image), "q:1");
    CLEANUP(cleanup_free)
    char *text = xasprintf(
        "{'apiVersion':'serving.knative.dev/v1','kind':'Service','metadata':{'name':'one',"
        "'namespace':'default'},'spec':{'template':{'metadata':{'annotations':{%s}},'spec':{"
        "'containers':[{'name':'user-container','image':'dev.local/x'}]}},"
        "'traffic':[{'latestRevision':true,'percent':100}]}}",
        annotations);
    world_put(w, KIND_SERVICE, parse(text));
}

static void it_is_made_and_followed(void **state)
{
    struct world w;
    begin(&w, HPA "," A "min-scale':'2'," A "max-scale':'4'");
    world_settle(&w);
    json_t *hpa = world_get(&w, KIND_HPA, "one-00001");
    assert_non_null(hpa);
    assert_int_equal(jpeek_i64(hpa, "spec.minReplicas"), 2);
    assert_true(w.count <= 1 + OBJECTS_OF_A_FUNCTION); /* the user's own, and ours */
    assert_string_equal(world_condition(&w, KIND_PODAUTOSCALER, "one-00001", "Active"), "True");
    assert_string_equal(world_condition(&w, KIND_PODAUTOSCALER, "one-00001", "Ready"), "Unknown");
    assert_string_equal(world_condition(&w, KIND_PODAUTOSCALER, "one-00001", "ScalingActive"),
                        "Unknown");
    w.replicas.ready = 2;
    /* What Kubernetes fills in changes nothing; what somebody else sets is set back. */
    world_patch(&w, KIND_HPA, "one-00001",
                "{'spec':{'behavior':{'scaleUp':{'selectPolicy':'Max'}}},'status':{"
                "'currentReplicas':2,'desiredReplicas':3,'conditions':[{'type':'ScalingActive',"
                "'status':'False','reason':'FailedGetResourceMetric','message':'no metrics'}]}}");
    world_settle(&w);
    json_t *pa = world_get(&w, KIND_PODAUTOSCALER, "one-00001");
    assert_string_equal(world_condition(&w, KIND_PODAUTOSCALER, "one-00001", "Ready"), "True");
    assert_string_equal(world_condition(&w, KIND_PODAUTOSCALER, "one-00001", "ScalingActive"),
                        "False");
    assert_int_equal(jpeek_i64(pa, "status.desiredScale"), 3);
    assert_int_equal(jpeek_i64(pa, "status.actualScale"), 2);
    assert_string_equal(world_condition(&w, KIND_SERVICE, "one", "Ready"), "True");
    assert_string_equal(
        jpeek_cstr(world_get(&w, KIND_HPA, "one-00001"), "spec.behavior.scaleUp.selectPolicy"),
        "Max");
    world_patch(&w, KIND_HPA, "one-00001", "{'spec':{'maxReplicas':9}}");
    world_settle(&w);
    hpa = world_get(&w, KIND_HPA, "one-00001");
    assert_int_equal(jpeek_i64(hpa, "spec.maxReplicas"), 4);
    world_fini(&w);
}

static void anothers_is_left_alone(void **state)
{
    struct world w;
    begin(&w, HPA);
    world_put(&w, KIND_HPA, parse("{'metadata':{'name':'one-00001'},'spec':{'maxReplicas':9}}"));
    w.replicas.ready = 1;
    world_settle(&w);
    assert_int_equal(jpeek_i64(world_get(&w, KIND_HPA, "one-00001"), "spec.maxReplicas"), 9);
    assert_string_equal(world_condition(&w, KIND_PODAUTOSCALER, "one-00001", "Active"), "False");
    world_fini(&w);
}

/* The class of those that name none is config-autoscaler's, and may change. */
static void it_goes_with_the_class(void **state)
{
    struct world w;
    begin(&w, "");
    snprintf(w.settings.autoscaler.pod_autoscaler_class,
             sizeof(w.settings.autoscaler.pod_autoscaler_class), "hpa.autoscaling.knative.dev");
    world_settle(&w);
    assert_non_null(world_get(&w, KIND_HPA, "one-00001"));
    snprintf(w.settings.autoscaler.pod_autoscaler_class,
             sizeof(w.settings.autoscaler.pod_autoscaler_class), "kpa.autoscaling.knative.dev");
    world_settle(&w);
    assert_null(world_get(&w, KIND_HPA, "one-00001"));
    world_fini(&w);
}

static void one_machine_has_one_too(void **state)
{
    struct world w;
    begin(&w, HPA);
    w.settings.sidecar_image[0] = '\0';
    world_settle(&w);
    assert_non_null(world_get(&w, KIND_HPA, "one-00001"));
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_spec),
        cmocka_unit_test(none_is_not_where_it_begins),
        cmocka_unit_test(it_is_made_and_followed),
        cmocka_unit_test(anothers_is_left_alone),
        cmocka_unit_test(it_goes_with_the_class),
        cmocka_unit_test(one_machine_has_one_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
