// SPDX-License-Identifier: Apache-2.0
/* The controller on a real store, with made-up numbers of what Pods use: scale, Events, conditions.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "loop/timer.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "local/hpa/controller.h"
#include "test.h"
#include "test_loop.h"

#define HPAS        "horizontalpodautoscalers.autoscaling"
#define DEPLOYMENTS "deployments.apps"
#define MILLI       INT64_C(1000000) /* billionths of a core */

static const struct store_kind kinds[] = {
    {.resource = "pods", .api_version = "v1", .kind = "Pod", .namespaced = true, .status = true},
    {.resource = DEPLOYMENTS, .api_version = "apps/v1", .kind = "Deployment", .namespaced = true},
    {.resource = HPAS,
     .api_version = "autoscaling/v2",
     .kind = "HorizontalPodAutoscaler",
     .namespaced = true,
     .status = true,
     .generation = true},
    {.resource = "namespaces", .api_version = "v1", .kind = "Namespace"},
    {.resource = "events", .api_version = "v1", .kind = "Event", .namespaced = true},
};

struct world {
    struct loop *loop;
    struct store *store;
    struct hpa_controller *hpa;
    struct usage_provider usage;
    struct timer timer; /* answers who asks */
    void (*cb)(void *arg);
    void *arg;
    unsigned asked;
    bool known;
    int64_t milli; /* what each Pod uses */
    bool closed;
};

/* --- what is used -------------------------------------------------------------------------- */

static void on_timer(struct timer *timer)
{
    struct world *w = timer->data;
    void (*cb)(void *) = w->cb;
    w->cb = NULL;
    if (cb != NULL) {
        cb(w->arg);
    }
}

static bool usage_ask(void *self, uint64_t max_age_ms, void (*cb)(void *arg), void *arg)
{
    struct world *w = self;
    w->cb = cb;
    w->arg = arg;
    w->asked++;
    timer_start(&w->timer, 0);
    return true;
}

static void usage_forget(void *self, void *arg)
{
    ((struct world *)self)->cb = NULL;
}

static bool usage_get(void *self, const char *ns, const char *pod, struct usage *out)
{
    const struct world *w = self;
    *out = (struct usage){.at_ns = INT64_C(2000000000) * 1000000000, .window_ns = 1000000000};
    out->parts[USAGE_FUNCTION].known = true;
    out->parts[USAGE_FUNCTION].cpu_nano = w->milli * MILLI;
    return w->known;
}

/* --- the store ----------------------------------------------------------------------------- */

static void on_done(int rc, struct object *object, const struct error *err, void *arg)
{
    assert_int_equal(rc, 0);
    *(bool *)arg = true;
}

/* With ' for ". */
static json_t *tree(const char *text)
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

static void create(struct world *w, const char *resource, const char *text)
{
    bool done = false;
    struct error err;
    json_t *body = tree(text);
    const char *ns = strcmp(resource, "namespaces") == 0 ? "" : "default";
    ASSERT_OK(store_create(w->store, resource, ns, body, STORE_USER, on_done, &done, &err));
    json_decref(body);
    LOOP_UNTIL(w->loop, done);
}

static void patch(struct world *w, const char *resource, const char *name, const char *text)
{
    bool done = false;
    struct error err;
    json_t *body = tree(text);
    ASSERT_OK(store_patch(w->store, resource, "default", name, STORE_SUB_NONE, body, STORE_USER,
                          on_done, &done, &err));
    json_decref(body);
    LOOP_UNTIL(w->loop, done);
}

static int64_t scale(struct world *w)
{
    json_t *d = object_tree(store_get(w->store, DEPLOYMENTS, "default", "d"));
    int64_t replicas = jpeek_i64(d, "spec.replicas");
    json_decref(d);
    return replicas;
}

/* "True ValidMetricFound the HPA was …", or "". */
static bool says(struct world *w, const char *name, const char *type, const char *wanted)
{
    struct object *object = store_get(w->store, HPAS, "default", name);
    json_t *one, *hpa = object_tree(object);
    bool found = false;
    size_t i;
    json_array_foreach(jpeek_arr(hpa, "status.conditions"), i, one)
    {
        if (strcmp(jpeek_cstr(one, "type"), type) == 0) {
            CLEANUP(cleanup_free)
            char *text = xasprintf("%s %s %s", jpeek_cstr(one, "status"), jpeek_cstr(one, "reason"),
                                   jpeek_cstr(one, "message"));
            found = strncmp(text, wanted, strlen(wanted)) == 0;
        }
    }
    json_decref(hpa);
    return found;
}

#define UNTIL_SAYS(w, name, type, text) LOOP_UNTIL((w)->loop, says(w, name, type, text))

static bool on_event(struct object *object, void *arg)
{
    json_t *event = object_tree(object);
    struct strbuf *out = arg;
    (void)strbuf_appendf(out, "%s: %s;", jpeek_cstr(event, "reason"), jpeek_cstr(event, "message"));
    json_decref(event);
    return true;
}

static bool told(struct world *w, const char *text)
{
    CLEANUP(strbuf_fini) struct strbuf all;
    struct error err;
    strbuf_init(&all, 1u << 20);
    ASSERT_OK(
        store_list(w->store, &(struct store_selector){.resource = "events"}, on_event, &all, &err));
    return all.len > 0 && strstr(all.ptr, text) != NULL;
}

/* --- a world of one Deployment with two Pods ------------------------------------------------ */

#define POD(name)                                                                                \
    "{'metadata':{'name':'" name "','labels':{'app':'d'}},'spec':{'containers':[{'name':'f',"    \
    "'resources':{'requests':{'cpu':'100m'}}}]},'status':{'phase':'Running','startTime':"        \
    "'2001-01-01T00:00:00Z','conditions':[{'type':'Ready','status':'True','lastTransitionTime':" \
    "'2001-01-01T00:00:05Z'}]}}"
#define TARGET          "'scaleTargetRef':{'apiVersion':'apps/v1','kind':'Deployment','name':'d'}"
#define CPU_50          "{'type':'Resource','resource':{'name':'cpu','target':{'averageUtilization':50}}}"
#define HPA(name, spec) "{'metadata':{'name':'" name "'},'spec':{" spec "}}"

static void begin(struct world *w, struct loop *loop, int64_t milli)
{
    struct store_options options = {.kinds = kinds, .kinds_count = ARRAY_LEN(kinds)};
    struct error err;
    *w = (struct world){.loop = loop, .known = true, .milli = milli};
    w->usage = (struct usage_provider){usage_ask, usage_forget, usage_get, w};
    ASSERT_OK(store_open(&w->store, loop, &options, &err));
    timer_init(&w->timer, loop, on_timer, w);
    create(w, "namespaces", "{'metadata':{'name':'default'}}");
    create(
        w, DEPLOYMENTS,
        "{'metadata':{'name':'d'},'spec':{'replicas':2,'selector':{'matchLabels':{'app':'d'}}}}");
    create(w, "pods", POD("a"));
    create(w, "pods", POD("b"));
    w->hpa = hpa_controller_start(
        &(struct hpa_options){.loop = loop,
                              .store = w->store,
                              .usage = &w->usage,
                              .sync_ms = 5,
                              .settings = {.tolerance = 0.1, .downscale_window_s = 300}});
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void on_timer_closed(struct timer *timer)
{
    ((struct world *)timer->data)->closed = true;
}

static void end(struct world *w)
{
    bool hpa = false, store = false;
    hpa_controller_close(w->hpa, on_closed, &hpa);
    LOOP_UNTIL(w->loop, hpa);
    timer_close(&w->timer, on_timer_closed);
    store_close(w->store, on_closed, &store);
    LOOP_UNTIL(w->loop, store && w->closed);
}

/* --- tests --------------------------------------------------------------------------------- */

static void it_scales_up_and_tells(void **state)
{
    struct world w;
    begin(&w, *state, 100);       /* 100 % of 50 %: twice as many */
    assert_int_equal(w.asked, 0); /* nothing is measured for nobody */
    create(&w, HPAS, HPA("h", TARGET ",'maxReplicas':5,'metrics':[" CPU_50 "]"));
    LOOP_UNTIL(w.loop, scale(&w) == 4);
    UNTIL_SAYS(&w, "h", "ScalingActive", "True ValidMetricFound");
    LOOP_UNTIL(w.loop, told(&w, "SuccessfulRescale: New size: 4; reason: cpu resource utilization "
                                "(percentage of request) above target"));
    UNTIL_SAYS(&w, "h", "ScalingLimited", "False DesiredWithinRange");
    w.milli = 0; /* all of the sudden nothing: what was asked for a moment ago holds */
    UNTIL_SAYS(&w, "h", "AbleToScale", "True ScaleDownStabilized");
    assert_int_equal(scale(&w), 4);
    patch(&w, HPAS, "h", "{'spec':{'maxReplicas':3}}");
    LOOP_UNTIL(w.loop, scale(&w) == 3);
    LOOP_UNTIL(w.loop, told(&w, "Current number of replicas above Spec.MaxReplicas"));
    patch(&w, HPAS, "h", "{'spec':{'minReplicas':5,'maxReplicas':6}}");
    LOOP_UNTIL(w.loop, scale(&w) == 5);
    LOOP_UNTIL(w.loop, told(&w, "Current number of replicas below Spec.MinReplicas"));
    end(&w);
}

static void the_bound_limits(void **state)
{
    struct world w;
    begin(&w, *state, 100);
    create(&w, HPAS, HPA("h", TARGET ",'maxReplicas':3,'metrics':[" CPU_50 "]"));
    LOOP_UNTIL(w.loop, scale(&w) == 3);
    UNTIL_SAYS(&w, "h", "ScalingLimited", "True TooManyReplicas");
    end(&w);
}

/* Of several metrics the one that asks for most counts; one without numbers only stops the way
 * down. */
static void the_largest_proposal_counts(void **state)
{
    struct world w;
    begin(&w, *state, 60);
    create(&w, HPAS,
           HPA("h", TARGET ",'maxReplicas':9,'metrics':[" CPU_50
                           ",{'type':'Resource','resource':{'name':'cpu','target':"
                           "{'averageValue':'15m'}}},"
                           "{'type':'Pods','pods':{'metric':{'name':'queue'}}}]"));
    LOOP_UNTIL(w.loop, scale(&w) == 4); /* 60 of 15 asks for 8, at most doubled … to 4 in a step */
    LOOP_UNTIL(w.loop, scale(&w) == 8);
    w.milli = 0;
    UNTIL_SAYS(&w, "h", "ScalingActive",
               "False FailedGetPodsMetric the HPA was unable to compute the replica count: unable "
               "to get metric queue");
    assert_int_equal(scale(&w), 8);
    end(&w);
}

static void what_cannot_be_said_has_a_condition(void **state)
{
    struct world w;
    begin(&w, *state, 50);
    w.known = false;
    create(&w, HPAS, HPA("h", TARGET ",'maxReplicas':5,'metrics':[" CPU_50 "]"));
    UNTIL_SAYS(&w, "h", "ScalingActive",
               "False FailedGetResourceMetric the HPA was unable to compute the replica count: "
               "failed to get cpu utilization: unable to get metrics for resource cpu: no metrics "
               "returned from resource metrics API");
    w.known = true;
    UNTIL_SAYS(&w, "h", "ScalingActive", "True ValidMetricFound");
    patch(&w, DEPLOYMENTS, "d", "{'spec':{'replicas':0}}");
    UNTIL_SAYS(&w, "h", "ScalingActive", "False ScalingDisabled");
    assert_int_equal(scale(&w), 0);
    patch(&w, DEPLOYMENTS, "d", "{'spec':{'replicas':2,'selector':null}}");
    UNTIL_SAYS(&w, "h", "ScalingActive",
               "False InvalidSelector the HPA target's scale is missing a selector");
    patch(&w, HPAS, "h", "{'spec':{'scaleTargetRef':{'name':'none'}}}");
    UNTIL_SAYS(&w, "h", "AbleToScale",
               "False FailedGetScale the HPA controller was unable to get the target's current "
               "scale: Deployment \"none\" not found");
    json_t *hpa = object_tree(store_get(w.store, HPAS, "default", "h"));
    assert_int_equal(jpeek_i64(hpa, "status.currentReplicas"), 2); /* as it was seen last */
    json_decref(hpa);
    end(&w);
}

/* A long name is cut in the middle of a letter: the condition is text all the same. */
static void names_are_cut(void **state)
{
    struct world w;
    begin(&w, *state, 50);
    create(&w, HPAS,
           HPA("h", TARGET ",'maxReplicas':5,'metrics':[{'type':'Pods','pods':{'metric':{'name':'x"
                           "ééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé"
                           "'}}}]"));
    UNTIL_SAYS(&w, "h", "ScalingActive", "False FailedGetPodsMetric");
    end(&w);
}

static void two_of_one_target_do_nothing(void **state)
{
    struct world w;
    begin(&w, *state, 50);
    create(&w, HPAS, HPA("h", TARGET ",'maxReplicas':5,'metrics':[" CPU_50 "]"));
    create(&w, HPAS, HPA("i", TARGET ",'maxReplicas':5,'metrics':[" CPU_50 "]"));
    UNTIL_SAYS(&w, "h", "ScalingActive",
               "False AmbiguousSelector pods of Deployment d are controlled by multiple HPAs: "
               "[default/h default/i]");
    UNTIL_SAYS(&w, "i", "ScalingActive", "False AmbiguousSelector");
    w.milli = 100;
    unsigned rounds = w.asked;
    LOOP_UNTIL(w.loop, w.asked >= rounds + 3);
    assert_int_equal(scale(&w), 2);
    bool gone = false;
    struct error err;
    ASSERT_OK(store_delete(w.store, HPAS, "default", "i", &(struct store_delete_options){0},
                           STORE_USER, on_done, &gone, &err));
    LOOP_UNTIL(w.loop, gone);
    LOOP_UNTIL(w.loop, scale(&w) == 4);
    end(&w);
}

/* Closed at each turn of the loop: what is on its way ends, nothing is leaked. */
static void it_may_end_at_any_time(void **state)
{
    for (int turns = 0; turns < 12; turns++) {
        struct world w;
        struct test_wait wait;
        begin(&w, *state, 100);
        create(&w, HPAS, HPA("h", TARGET ",'maxReplicas':5,'metrics':[" CPU_50 "]"));
        test_wait_begin(&wait);
        for (int i = 0; i < turns; i++) {
            test_wait_turn(&wait, w.loop, "a turn", __FILE__, __LINE__);
        }
        end(&w);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, test_loop_setup, test_loop_teardown)
    const struct CMUnitTest tests[] = {
        TEST(it_scales_up_and_tells),
        TEST(the_bound_limits),
        TEST(the_largest_proposal_counts),
        TEST(what_cannot_be_said_has_a_condition),
        TEST(names_are_cut),
        TEST(two_of_one_target_do_nothing),
        TEST(it_may_end_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
