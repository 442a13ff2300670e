// SPDX-License-Identifier: Apache-2.0
/* SinkBindings: which objects are meant, what is put into them and taken out, what is told. */
#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/conditions.h"
#include "controller/subject.h"
#include "eventing/names.h"
#include "fake_world.h"
#include "local/api/strategic.h"
#include "test.h"

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

static void put(struct world *w, enum kind_id kind, const char *name, const char *rest)
{
    CLEANUP(cleanup_free) char *text = xasprintf("{'metadata':{'name':'%s'%s", name, rest);
    world_put(w, kind, parse(text));
}

/* All our workloads have a Deployment's template. */
static json_t *patch_lists(const json_t *object, const json_t *patch)
{
    struct error err = {0};
    json_t *out = NULL;
    ASSERT_OK(strategic_merge(strategic_type_of(KIND_DEPLOYMENT), object, patch, &out, &err));
    return out;
}

static void begin(struct world *w)
{
    world_init(w);
    w->patch_lists = patch_lists;
    w->broker = (struct broker_ingress){.ready = true, .url = "http://in:8085", .reason = ""};
}

#define SINK "'sink':{'uri':'http://there/x'}"
#define TWO                                                                                     \
    "},'spec':{'replicas':2,'template':{'spec':{'containers':[{'name':'a','image':'i','env':[{" \
    "'name':'OWN','value':'1'}]},{'name':'b','image':'j'}],'initContainers':[{'name':'c'}],"    \
    "'volumes':[]}}}}"
#define SUBJECT(api, kind, rest) \
    "},'spec':{" SINK ",'subject':{'apiVersion':'" api "','kind':'" kind "'," rest "}}}"
#define SHOP SUBJECT("apps/v1", "Deployment", "'name':'shop'")

/* "NAME=VALUE …" of a container of the object. */
static const char *env_of(struct world *w, enum kind_id kind, const char *name, const char *list,
                          size_t n, char out[static 256])
{
    size_t i;
    const json_t *variable;
    const json_t *pod = jpeek_obj(world_get(w, kind, name), "spec.template.spec");
    const json_t *container = json_array_get(jpeek_arr(pod, list), n);
    out[0] = '\0';
    assert_non_null(container);
    json_array_foreach(jpeek_arr(container, "env"), i, variable)
    {
        size_t len = strlen(out);
        snprintf(out + len, 256 - len, "%s%s=%s", len > 0 ? " " : "", jpeek_cstr(variable, "name"),
                 jpeek_cstr(variable, "value"));
    }
    return out;
}

/* "STATUS REASON" of SinkBindingAvailable. */
static const char *told(struct world *w, const char *name, char out[static 256])
{
    struct condition c =
        condition_get(world_get(w, KIND_SINKBINDING, name), "SinkBindingAvailable");
    snprintf(out, 256, "%s%s%s", c.status, c.reason[0] == '\0' ? "" : " ", c.reason);
    return out;
}

static const char *message(struct world *w, const char *name)
{
    return condition_get(world_get(w, KIND_SINKBINDING, name), "SinkBindingAvailable").message;
}

static void a_workload_by_name(void **state)
{
    static const enum kind_id kinds[] = {KIND_WORKLOAD, KIND_STATEFULSET, KIND_DAEMONSET};
    char text[256];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct world w;
        const struct kind *row = kind_row(kinds[i]);
        begin(&w);
        put(&w, kinds[i], "shop", TWO);
        json_t *before = json_deep_copy(world_get(&w, kinds[i], "shop"));
        CLEANUP(cleanup_free)
        char *binding = xasprintf("},'spec':{" SINK ",'ceOverrides':{'extensions':{'t':'b'}},"
                                  "'subject':{'apiVersion':'%s','kind':'%s','name':'shop'}}}",
                                  kind_api_version(row), row->kind);
        put(&w, KIND_SINKBINDING, "b", binding);
        world_settle(&w);
        assert_string_equal(env_of(&w, kinds[i], "shop", "containers", 0, text),
                            "K_SINK=http://there/x "
                            "K_CE_OVERRIDES={\"extensions\":{\"t\":\"b\"}} OWN=1");
        assert_string_equal(env_of(&w, kinds[i], "shop", "containers", 1, text),
                            "K_SINK=http://there/x K_CE_OVERRIDES={\"extensions\":{\"t\":\"b\"}}");
        assert_string_equal(env_of(&w, kinds[i], "shop", "initContainers", 0, text),
                            "K_SINK=http://there/x K_CE_OVERRIDES={\"extensions\":{\"t\":\"b\"}}");
        const json_t *now = world_get(&w, kinds[i], "shop");
        assert_string_equal(
            jpeek_cstr(jpeek_row(now, "spec.template.spec.containers", "name", SLICE_LIT("a")),
                       "image"),
            "i");
        assert_string_equal(told(&w, "b", text), "True");
        assert_string_equal(world_condition(&w, KIND_SINKBINDING, "b", "Ready"), "True");
        assert_string_equal(jpeek_cstr(world_get(&w, KIND_SINKBINDING, "b"), "status.sinkUri"),
                            "http://there/x");
        world_delete(&w, KIND_SINKBINDING, "b");
        world_settle(&w);
        assert_string_equal(env_of(&w, kinds[i], "shop", "containers", 0, text), "OWN=1");
        assert_string_equal(env_of(&w, kinds[i], "shop", "containers", 1, text), "");
        json_t *after = world_get(&w, kinds[i], "shop");
        assert_int_equal(json_object_size(jpeek_obj(after, "metadata.labels")), 0);
        assert_int_equal(json_object_size(jpeek_obj(after, "metadata.annotations")), 0);
        json_decref(before);
        world_fini(&w);
    }
}

static void it_comes_back_and_follows_the_sink(void **state)
{
    struct world w;
    char text[256];
    (void)state;
    begin(&w);
    put(&w, KIND_WORKLOAD, "shop", TWO);
    put(&w, KIND_SINKBINDING, "b", SHOP);
    world_settle(&w);
    assert_string_equal(env_of(&w, KIND_WORKLOAD, "shop", "containers", 1, text),
                        "K_SINK=http://there/x K_CE_OVERRIDES=");
    world_patch(&w, KIND_WORKLOAD, "shop",
                "{'spec':{'template':{'spec':{'containers':[{'name':'a','env':[{'name':'K_SINK',"
                "'valueFrom':{'fieldRef':{'fieldPath':'x'}}},{'name':'K_CA_CERTS','value':'old'}]},"
                "{'name':'d'}]}}}}");
    world_settle(&w);
    assert_string_equal(env_of(&w, KIND_WORKLOAD, "shop", "containers", 0, text),
                        "K_SINK=http://there/x K_CE_OVERRIDES=");
    assert_null(jget(world_get(&w, KIND_WORKLOAD, "shop"),
                     "spec.template.spec.containers[0].env[0].valueFrom.fieldRef"));
    assert_string_equal(env_of(&w, KIND_WORKLOAD, "shop", "containers", 1, text),
                        "K_SINK=http://there/x K_CE_OVERRIDES=");
    world_patch(&w, KIND_SINKBINDING, "b", "{'spec':{'sink':{'uri':'http://new/'}}}");
    world_settle(&w);
    assert_string_equal(env_of(&w, KIND_WORKLOAD, "shop", "containers", 1, text),
                        "K_SINK=http://new/ K_CE_OVERRIDES=");
    /* A sink that is not there (any more): nothing is changed. */
    world_patch(&w, KIND_SINKBINDING, "b",
                "{'spec':{'sink':{'uri':null,'ref':{'apiVersion':'v1','kind':'Service','name':'s'}}"
                "}}");
    world_settle(&w);
    assert_string_equal(world_condition(&w, KIND_SINKBINDING, "b", "SinkProvided"), "False");
    assert_string_equal(env_of(&w, KIND_WORKLOAD, "shop", "containers", 1, text),
                        "K_SINK=http://new/ K_CE_OVERRIDES=");
    /* Another subject: the first one is freed. */
    put(&w, KIND_WORKLOAD, "other", TWO);
    world_patch(&w, KIND_SINKBINDING, "b",
                "{'spec':{'sink':{'uri':'http://y/','ref':null},'subject':{'name':'other'}}}");
    world_settle(&w);
    assert_string_equal(env_of(&w, KIND_WORKLOAD, "shop", "containers", 1, text), "");
    assert_string_equal(env_of(&w, KIND_WORKLOAD, "other", "containers", 1, text),
                        "K_SINK=http://y/ K_CE_OVERRIDES=");
    world_fini(&w);
}

static void by_labels(void **state)
{
    struct world w;
    char text[256];
    (void)state;
    begin(&w);
    put(&w, KIND_SINKBINDING, "b",
        SUBJECT("apps/v1", "Deployment",
                "'selector':{'matchLabels':{'app':'x'},'matchExpressions':[{'key':'tier','operator'"
                ":'NotIn','values':['dev']}]}"));
    world_settle(&w);
    assert_string_equal(told(&w, "b", text), "True"); /* as in Knative: nobody is left out */
    put(&w, KIND_WORKLOAD, "one", ",'labels':{'app':'x'}" TWO);
    put(&w, KIND_WORKLOAD, "two", ",'labels':{'app':'x','tier':'prod'}" TWO);
    put(&w, KIND_WORKLOAD, "dev", ",'labels':{'app':'x','tier':'dev'}" TWO);
    put(&w, KIND_WORKLOAD, "none", TWO);
    put(&w, KIND_STATEFULSET, "one", ",'labels':{'app':'x'}" TWO);
    world_settle(&w);
    assert_non_null(strstr(env_of(&w, KIND_WORKLOAD, "one", "containers", 1, text), "K_SINK"));
    assert_non_null(strstr(env_of(&w, KIND_WORKLOAD, "two", "containers", 1, text), "K_SINK"));
    assert_string_equal(env_of(&w, KIND_WORKLOAD, "dev", "containers", 1, text), "");
    assert_string_equal(env_of(&w, KIND_WORKLOAD, "none", "containers", 1, text), "");
    assert_string_equal(env_of(&w, KIND_STATEFULSET, "one", "containers", 1, text), "");
    world_patch(&w, KIND_WORKLOAD, "two", "{'metadata':{'labels':{'tier':'dev'}}}");
    world_settle(&w);
    assert_string_equal(env_of(&w, KIND_WORKLOAD, "two", "containers", 1, text), "");
    world_fini(&w);
}

static void selectors(void **state)
{
    static const struct {
        const char *selector;
        bool meant;
    } rows[] = {
        {"{}", true},
        {"{'matchLabels':{'a':'1'}}", true},
        {"{'matchLabels':{'a':'1','b':'2'}}", false},
        {"{'matchExpressions':[{'key':'a','operator':'In','values':['0','1']}]}", true},
        {"{'matchExpressions':[{'key':'a','operator':'In','values':['0']}]}", false},
        {"{'matchExpressions':[{'key':'b','operator':'In','values':['0']}]}", false},
        {"{'matchExpressions':[{'key':'a','operator':'NotIn','values':['1']}]}", false},
        {"{'matchExpressions':[{'key':'b','operator':'NotIn','values':['1']}]}", true},
        {"{'matchExpressions':[{'key':'a','operator':'Exists'}]}", true},
        {"{'matchExpressions':[{'key':'b','operator':'Exists'}]}", false},
        {"{'matchExpressions':[{'key':'b','operator':'DoesNotExist'}]}", true},
        {"{'matchExpressions':[{'key':'a','operator':'DoesNotExist'}]}", false},
        {"{'matchExpressions':[{'key':'a','operator':'Like'}]}", false},
        {"{'matchLabels':{'a':'1'},'matchExpressions':[{'key':'b','operator':'Exists'}]}", false},
    };
    (void)state;
    CLEANUP(jfree) json_t *object = parse("{'metadata':{'name':'n','labels':{'a':'1'}}}");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(cleanup_free)
        char *text =
            xasprintf("{'apiVersion':'batch/v1','kind':'Job','selector':%s}", rows[i].selector);
        CLEANUP(jfree) json_t *subject = parse(text);
        if (subject_meant(subject, KIND_JOB, object) != rows[i].meant) {
            fail_msg("%s", rows[i].selector);
        }
        assert_false(subject_meant(subject, KIND_CRONJOB, object));
    }
}

static void functions(void **state)
{
    struct world w;
    char text[256];
    (void)state;
    begin(&w);
    put(&w, KIND_SINKBINDING, "b",
        SUBJECT("serving.knative.dev/v1", "Service", "'selector':{'matchLabels':{'app':'x'}}"));
    put(&w, KIND_SINKBINDING, "c",
        SUBJECT("serving.knative.dev/v1", "Configuration", "'name':'h'"));
    put(&w, KIND_SINKBINDING, "d",
        SUBJECT("serving.knative.dev/v1", "Configuration", "'name':'g'"));
    put(&w, KIND_SERVICE, "f",
        ",'labels':{'app':'x'}},'spec':{'template':{'spec':{'containers':[{'image':'i'}]}}}}");
    put(&w, KIND_CONFIGURATION, "g",
        "},'spec':{'template':{'spec':{'containers':[{'image':'i'}]}}}}");
    put(&w, KIND_CONFIGURATION, "h",
        ",'ownerReferences':[{'apiVersion':'serving.knative.dev/v1','kind':'Service','name':'h',"
        "'uid':'u','controller':true}]},'spec':{'template':{'spec':{'containers':[{'image':'i'}]}}}"
        "}");
    world_settle(&w);
    assert_string_equal(env_of(&w, KIND_SERVICE, "f", "containers", 0, text),
                        "K_SINK=http://there/x K_CE_OVERRIDES=");
    assert_string_equal(told(&w, "b", text), "True");
    assert_string_equal(told(&w, "c", text), "False SubjectNotSupported");
    assert_string_equal(message(&w, "c"), "Configuration h belongs to Service h: bind that");
    assert_string_equal(env_of(&w, KIND_CONFIGURATION, "g", "containers", 0, text),
                        "K_SINK=http://there/x K_CE_OVERRIDES=");
    world_delete(&w, KIND_SINKBINDING, "b");
    world_delete(&w, KIND_SINKBINDING, "d");
    world_settle(&w);
    assert_string_equal(env_of(&w, KIND_SERVICE, "f", "containers", 0, text), "");
    assert_string_equal(env_of(&w, KIND_CONFIGURATION, "g", "containers", 0, text), "");
    world_fini(&w);
}

static void one_binding_for_each(void **state)
{
    struct world w;
    char text[256];
    (void)state;
    begin(&w);
    put(&w, KIND_WORKLOAD, "shop", TWO);
    put(&w, KIND_SINKBINDING, "b", SHOP);
    world_settle(&w);
    put(&w, KIND_SINKBINDING, "c", SHOP);
    world_patch(&w, KIND_SINKBINDING, "c", "{'spec':{'sink':{'uri':'http://c/'}}}");
    world_settle(&w);
    assert_string_equal(told(&w, "b", text), "True");
    assert_string_equal(told(&w, "c", text), "False SubjectBound");
    assert_string_equal(message(&w, "c"), "Deployment shop is bound by SinkBinding b");
    world_delete(&w, KIND_SINKBINDING, "b");
    world_settle(&w);
    assert_string_equal(told(&w, "c", text), "True");
    assert_string_equal(env_of(&w, KIND_WORKLOAD, "shop", "containers", 1, text),
                        "K_SINK=http://c/ K_CE_OVERRIDES=");
    world_delete(&w, KIND_WORKLOAD, "shop");
    world_settle(&w);
    assert_string_equal(told(&w, "c", text), "False SubjectMissing");
    assert_string_equal(message(&w, "c"), "deployments.apps \"shop\" not found");
    world_fini(&w);
}

static void kinds_that_are_not_there(void **state)
{
    struct world w;
    char text[256];
    (void)state;
    begin(&w);
    put(&w, KIND_SINKBINDING, "b", SHOP);
    put(&w, KIND_SINKBINDING, "p", SUBJECT("v1", "Pod", "'name':'p'"));
    w.known = KNOWN_LATER; /* it is being read: nothing is told that is not known */
    world_settle(&w);
    assert_string_equal(told(&w, "b", text), "");
    assert_string_equal(told(&w, "p", text), "False SubjectNotSupported");
    w.trouble = "forbidden";
    world_settle(&w);
    assert_string_equal(told(&w, "b", text), "False SubjectUnavailable");
    assert_string_equal(message(&w, "b"), "deployments of apps/v1 cannot be read: forbidden");
    assert_true(w.again_ms > 0);
    w.known = KNOWN_NEVER;
    world_settle(&w);
    assert_string_equal(told(&w, "b", text), "False SubjectNotSupported");
    world_fini(&w);
}

/* More than fit into one plan: the rest in the runs after it. */
static void many(void **state)
{
    enum { MANY = PLAN_OPS_MAX + 5 };
    struct world w;
    char text[256], name[16];
    (void)state;
    begin(&w);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "w%d", i);
        put(&w, KIND_WORKLOAD, name, TWO);
    }
    put(&w, KIND_SINKBINDING, "b", SUBJECT("apps/v1", "Deployment", "'selector':{}"));
    (void)world_pass(&w);
    assert_string_equal(told(&w, "b", text), "Unknown Binding");
    assert_true(w.again_ms > 0);
    world_settle(&w);
    assert_string_equal(told(&w, "b", text), "True");
    assert_string_equal(env_of(&w, KIND_WORKLOAD, name, "containers", 1, text),
                        "K_SINK=http://there/x K_CE_OVERRIDES=");
    world_fini(&w);
}

static void jobs(void **state)
{
    struct world w;
    char text[256];
    (void)state;
    begin(&w);
    put(&w, KIND_JOB, "j", TWO);
    put(&w, KIND_SINKBINDING, "b", SUBJECT("batch/v1", "Job", "'name':'j'"));
    world_settle(&w);
    assert_string_equal(told(&w, "b", text), "False SubjectNotSupported");
    assert_non_null(strstr(message(&w, "b"), "bind the CronJob that makes them, or write K_SINK"));
    assert_string_equal(jpeek_cstr(world_get(&w, KIND_SINKBINDING, "b"), "status.sinkUri"),
                        "http://there/x");
    assert_string_equal(env_of(&w, KIND_JOB, "j", "containers", 1, text), "");
    world_fini(&w);
}

static void cron_jobs(void **state)
{
    static const struct subject_vars vars = {"http://s/", ""};
    (void)state;
    CLEANUP(jfree)
    json_t *whole = parse("{'metadata':{'name':'n'},'spec':{'jobTemplate':{'spec':{'template':{"
                          "'spec':{'containers':[{'name':'a','image':'i'}]}}}}}}");
    CLEANUP(jfree) json_t *slim = subject_slim(KIND_CRONJOB, whole);
    CLEANUP(jfree) json_t *patch = subject_patch(KIND_CRONJOB, slim, "b", &vars, "7");
    CLEANUP(jfree)
    json_t *want = parse(
        "{'metadata':{'resourceVersion':'7','annotations':{'" ANNOTATION_SINK_BINDING
        "':'b'},'labels':{'" LABEL_SINK_BOUND
        "':'true'}},'spec':{'jobTemplate':{'spec':{'template':{'spec':{'containers':[{'name':'a',"
        "'env':[{'name':'K_SINK','value':'http://s/'},{'name':'K_CE_OVERRIDES','value':''}]}]}}}}}"
        "}");
    assert_true(json_equal(patch, want));
}

static void pings(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    put(&w, KIND_PINGSOURCE, "p", "},'spec':{'schedule':'* * * * *'," SINK "}}");
    put(&w, KIND_PINGSOURCE, "q",
        "},'spec':{'schedule':'* * * * *','timezone':'Mars/Olympus','sink':{'ref':{'apiVersion':"
        "'v1','kind':'Service','name':'s'}}}}");
    w.broker = (struct broker_ingress){
        .reason = "BrokerStarting", .message = "it is being started", .again_ms = 700};
    world_settle(&w);
    assert_string_equal(world_condition(&w, KIND_PINGSOURCE, "p", "Deployed"), "Unknown");
    assert_int_equal(w.again_ms, 700);
    w.broker = (struct broker_ingress){.reason = "BrokerFailed", .message = "no Redis"};
    world_settle(&w);
    struct condition ready = condition_get(world_get(&w, KIND_PINGSOURCE, "p"), "Ready");
    assert_string_equal(ready.status, "False");
    assert_string_equal(ready.reason, "BrokerFailed");
    w.broker = (struct broker_ingress){.ready = true, .url = "http://in", .reason = ""};
    world_settle(&w);
    const json_t *p = world_get(&w, KIND_PINGSOURCE, "p");
    assert_string_equal(world_condition(&w, KIND_PINGSOURCE, "p", "Ready"), "True");
    assert_string_equal(jpeek_cstr(p, "status.sinkUri"), "http://there/x");
    const json_t *attributes = json_array_get(jpeek_arr(p, "status.ceAttributes"), 0);
    assert_string_equal(jpeek_cstr(attributes, "type"), PING_EVENT_TYPE);
    assert_string_equal(jpeek_cstr(attributes, "source"),
                        "/apis/v1/namespaces/default/pingsources/p");
    assert_string_equal(world_condition(&w, KIND_PINGSOURCE, "q", "SinkProvided"), "False");
    assert_null(jget(world_get(&w, KIND_PINGSOURCE, "q"), "status.sinkUri"));
    if (strcmp(world_condition(&w, KIND_PINGSOURCE, "q", "Deployed"), "True") != 0) {
        /* Where there is a database of zones this one is not in it. */
        assert_string_equal(condition_get(world_get(&w, KIND_PINGSOURCE, "q"), "Deployed").reason,
                            "TimeZoneUnknown");
        assert_true(w.again_ms > 0);
    }
    world_patch(&w, KIND_PINGSOURCE, "q", "{'spec':{'timezone':null}}");
    put(&w, KIND_CORE_SERVICE, "s", "}}");
    world_settle(&w);
    assert_string_equal(world_condition(&w, KIND_PINGSOURCE, "q", "Ready"), "True");
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_workload_by_name),
        cmocka_unit_test(it_comes_back_and_follows_the_sink),
        cmocka_unit_test(by_labels),
        cmocka_unit_test(selectors),
        cmocka_unit_test(functions),
        cmocka_unit_test(one_binding_for_each),
        cmocka_unit_test(kinds_that_are_not_there),
        cmocka_unit_test(many),
        cmocka_unit_test(jobs),
        cmocka_unit_test(cron_jobs),
        cmocka_unit_test(pings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
