// SPDX-License-Identifier: Apache-2.0
/* HorizontalPodAutoscalers and Pods as the formula reads them, and the status that comes of it. */
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "local/hpa/object.h"
#include "test.h"

#define S INT64_C(1000000000)

static const struct hpa_settings SETTINGS = {.tolerance = 0.1, .downscale_window_s = 300};

/* With ' for ". */
static json_t *parse(const char *text)
{
    CLEANUP(cleanup_free) char *copy = xstrdup(text);
    json_t *root = NULL;
    struct error err;
    for (char *p = copy; *p != '\0'; p++) {
        *p = *p == '\'' ? '"' : *p;
    }
    ASSERT_OK(jparse_object(slice_str(copy), 1u << 20, &root, &err));
    return root;
}

static void what_is_not_said_has_defaults(void **state)
{
    json_t *hpa = parse("{'spec':{'maxReplicas':7,'scaleTargetRef':{'kind':'Deployment',"
                        "'name':'d','apiVersion':'apps/v1'}}}");
    struct hpa_spec spec;
    hpa_spec_read(hpa, &SETTINGS, &spec);
    assert_int_equal(spec.bounds.min, 1);
    assert_int_equal(spec.bounds.max, 7);
    assert_false(spec.bounds.behavior);
    assert_int_equal(spec.bounds.down.window_s, 300);
    assert_int_equal(spec.count, 1);
    assert_true(spec.metrics[0].resource && spec.metrics[0].measure.utilization);
    assert_int_equal(spec.metrics[0].measure.target, 80);
    assert_string_equal(spec.target_name, "d");
    json_decref(hpa);
}

static void behavior_and_metrics_are_read(void **state)
{
    json_t *hpa = parse(
        "{'spec':{'minReplicas':2,'maxReplicas':7,'behavior':{'scaleUp':{"
        "'stabilizationWindowSeconds':30,'selectPolicy':'Min','policies':[{'type':'Percent',"
        "'value':50,'periodSeconds':60}]},'scaleDown':{'selectPolicy':'Disabled'}},'metrics':["
        "{'type':'Resource','resource':{'name':'memory','target':{'type':'AverageValue',"
        "'averageValue':'200Mi'}}},"
        "{'type':'Resource','resource':{'name':'cpu','target':{'type':'AverageValue',"
        "'averageValue':'1500m'}}},"
        "{'type':'Resource','resource':{'name':'disk','target':{'averageUtilization':5}}},"
        "{'type':'Pods','pods':{'metric':{'name':'queue'},'target':{'averageValue':'1'}}}]}}");
    struct hpa_spec spec;
    hpa_spec_read(hpa, &SETTINGS, &spec);
    assert_true(spec.bounds.behavior);
    assert_int_equal(spec.bounds.up.window_s, 30);
    assert_int_equal(spec.bounds.up.select, HPA_SELECT_MIN);
    assert_int_equal(spec.bounds.up.count, 1);
    assert_true(spec.bounds.up.policies[0].percent);
    assert_int_equal(spec.bounds.down.select, HPA_SELECT_DISABLED);
    assert_int_equal(spec.bounds.down.window_s, 300); /* of the settings */
    assert_int_equal(spec.bounds.down.count, 1);      /* the default policy */
    assert_int_equal(spec.count, 4);
    assert_int_equal(spec.metrics[0].measure.target, 200 << 20);
    assert_false(spec.metrics[0].measure.utilization);
    assert_int_equal(spec.metrics[1].measure.target, 1500);
    assert_true(spec.metrics[1].measure.cpu);
    assert_false(spec.metrics[2].resource); /* no numbers of disks here */
    assert_false(spec.metrics[3].resource);
    assert_string_equal(spec.metrics[3].name, "queue");
    json_decref(hpa);
}

#define POD_STATUS                                                                          \
    "'status':{'phase':'Running','startTime':'1970-01-01T00:01:00Z','conditions':[{'type':" \
    "'Ready','status':'True','lastTransitionTime':'1970-01-01T00:01:05Z'}]}"

static void pods_are_read(void **state)
{
    json_t *pod =
        parse("{'metadata':{'name':'p'},'spec':{'containers':[{'name':'user-container',"
              "'resources':{'requests':{'cpu':'100m'},'limits':{'memory':'64Mi'}}},"
              "{'name':'queue-proxy','resources':{'requests':{'cpu':'25m'}}}]}," POD_STATUS "}");
    const struct usage usage = {
        .at_ns = 90 * S,
        .window_ns = 15 * S,
        .parts = {{true, 50000001, 1000}, {true, 9000000, 24}},
    };
    struct hpa_pod got;
    hpa_pod_read(pod, &usage, true, &got);
    assert_string_equal(got.name, "p");
    assert_true(got.has_ready && !got.unready && got.measured && !got.pending && !got.ignored);
    assert_int_equal(got.started_ns, 60 * S);
    assert_int_equal(got.ready_changed_ns, 65 * S);
    assert_int_equal(got.request, 125);
    assert_null(got.unrequested);
    assert_int_equal(got.usage, 51 + 9); /* rounded up */
    hpa_pod_read(pod, &usage, false, &got);
    assert_int_equal(got.request, 64 << 20); /* a limit stands for a request */
    assert_string_equal(got.unrequested, "queue-proxy");
    assert_int_equal(got.usage, 1024);
    hpa_pod_read(pod, NULL, true, &got);
    assert_false(got.measured);
    json_decref(pod);
    pod = parse("{'metadata':{'name':'p','deletionTimestamp':'1970-01-01T00:01:00Z'},"
                "'status':{'phase':'Pending'}}");
    hpa_pod_read(pod, NULL, true, &got);
    assert_true(got.ignored && got.pending && !got.has_ready);
    json_decref(pod);
}

static void a_status_is_written_once(void **state)
{
    json_t *hpa =
        parse("{'metadata':{'generation':3},'status':{'lastScaleTime':"
              "'1970-01-01T00:00:01Z','conditions':[{'type':'AbleToScale','status':"
              "'True','lastTransitionTime':'1970-01-01T00:00:02Z','reason':'Old',"
              "'message':''},{'type':'ScalingLimited','status':'False',"
              "'lastTransitionTime':'1970-01-01T00:00:03Z','reason':'R','message':'m'}]}}");
    const struct hpa_condition conditions[] = {
        {"AbleToScale", "True", "New", "said"},
        {"ScalingActive", "False", "Why", "because"},
        {"ScalingLimited", NULL, NULL, ""},
    };
    const struct hpa_metric metric = {
        .type = "Resource", .name = "cpu", .resource = true, .measure = {"cpu", true, true, 80}};
    const struct hpa_proposal proposal = {.average = 150, .utilization = 75};
    json_t *metrics = json_pack("[o]", hpa_metric_status(&metric, &proposal));
    json_t *patch = hpa_status(hpa, 2, 4, false, json_incref(metrics), conditions, 3, 100 * S);
    assert_non_null(patch);
    assert_int_equal(jpeek_i64(patch, "status.desiredReplicas"), 4);
    assert_int_equal(jpeek_i64(patch, "status.observedGeneration"), 3);
    assert_string_equal(jpeek_cstr(patch, "status.lastScaleTime"), "1970-01-01T00:00:01Z");
    assert_string_equal(jpeek_cstr(patch, "status.conditions[0].lastTransitionTime"),
                        "1970-01-01T00:00:02Z"); /* still True */
    assert_string_equal(jpeek_cstr(patch, "status.conditions[0].reason"), "New");
    assert_string_equal(jpeek_cstr(patch, "status.conditions[1].lastTransitionTime"),
                        "1970-01-01T00:01:40Z");
    assert_string_equal(jpeek_cstr(patch, "status.conditions[2].message"), "m"); /* stands */
    assert_string_equal(jpeek_cstr(patch, "status.currentMetrics[0].resource.current.averageValue"),
                        "150m");
    assert_int_equal(
        jpeek_i64(patch, "status.currentMetrics[0].resource.current.averageUtilization"), 75);
    (void)json_object_set(hpa, "status", json_object_get(patch, "status"));
    json_decref(patch);
    assert_null(hpa_status(hpa, 2, 4, false, json_incref(metrics), conditions, 3, 200 * S));
    patch = hpa_status(hpa, 2, 4, true, metrics, conditions, 3, 200 * S);
    assert_string_equal(jpeek_cstr(patch, "status.lastScaleTime"), "1970-01-01T00:03:20Z");
    json_decref(patch);
    json_decref(hpa);
}

static void selectors_are_texts(void **state)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, 256);
    json_t *d = parse("{'spec':{'selector':{'matchLabels':{'a/b':'c','d':'e'}}}}");
    assert_true(hpa_selector(d, &text));
    assert_string_equal(text.ptr, "a/b=c,d=e");
    json_decref(d);
    d = parse("{'spec':{}}");
    assert_false(hpa_selector(d, &text)); /* none would be every Pod */
    json_decref(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_said_has_defaults),
        cmocka_unit_test(behavior_and_metrics_are_read),
        cmocka_unit_test(pods_are_read),
        cmocka_unit_test(a_status_is_written_once),
        cmocka_unit_test(selectors_are_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
