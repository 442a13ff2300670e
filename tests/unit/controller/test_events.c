// SPDX-License-Identifier: Apache-2.0
/* Brokers and Triggers: conditions, addresses, resolved destinations, as things come and go. */
#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/destination.h"
#include "fake_world.h"
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
    CLEANUP(cleanup_free) char *text = xasprintf("{'metadata':{'name':'%s'}%s}", name, rest);
    world_put(w, kind, parse(text));
}

static void begin(struct world *w)
{
    world_init(w);
    w->broker = (struct broker_ingress){.ready = true, .url = "http://in:8085", .reason = ""};
}

#define TO_F \
    "'subscriber':{'ref':{'apiVersion':'serving.knative.dev/v1','kind':'Service','name':'f'"

static void all_is_well(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    put(&w, KIND_BROKER, "b", "");
    put(&w, KIND_TRIGGER, "t", ",'spec':{'broker':'b'," TO_F "}}}");
    put(&w, KIND_TRIGGER, "u",
        ",'spec':{'broker':'b','subscriber':{'uri':'https://x/y'},'delivery':{'deadLetterSink':{"
        "'ref':{'apiVersion':'v1','kind':'Service','name':'s','namespace':'default'},'uri':'/"
        "d'}}}");
    put(&w, KIND_CORE_SERVICE, "s", "");
    world_settle(&w);
    const json_t *b = world_get(&w, KIND_BROKER, "b");
    assert_string_equal(jpeek_cstr(b, "status.address.url"), "http://in:8085/default/b");
    assert_string_equal(world_condition(&w, KIND_BROKER, "b", "Ready"), "True");
    assert_string_equal(world_condition(&w, KIND_BROKER, "b", "Addressable"), "True");
    assert_int_equal(jpeek_i64(b, "status.observedGeneration"), 1);

    /* the function is not there yet */
    assert_string_equal(world_condition(&w, KIND_TRIGGER, "t", "BrokerReady"), "True");
    assert_string_equal(world_condition(&w, KIND_TRIGGER, "t", "SubscriberResolved"), "False");
    const json_t *t = world_get(&w, KIND_TRIGGER, "t");
    assert_string_equal(
        jpeek_cstr(jpeek_row(t, "status.conditions", "type", SLICE_LIT("Ready")), "message"),
        "failed to get object default/f: services.serving.knative.dev \"f\" not "
        "found");
    const json_t *u = world_get(&w, KIND_TRIGGER, "u");
    assert_string_equal(world_condition(&w, KIND_TRIGGER, "u", "Ready"), "True");
    assert_string_equal(jpeek_cstr(u, "status.subscriberUri"), "https://x/y");
    assert_string_equal(jpeek_cstr(u, "status.deadLetterSinkUri"),
                        "http://s.default.svc.cluster.local/d");
    world_fini(&w);
}

static const char *message_of(struct world *w, const char *trigger)
{
    return jpeek_cstr(jpeek_row(world_get(w, KIND_TRIGGER, trigger), "status.conditions", "type",
                                SLICE_LIT("SubscriberResolved")),
                      "message");
}

static void subscribers_come_and_go(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    put(&w, KIND_BROKER, "b", "");
    put(&w, KIND_TRIGGER, "t",
        ",'spec':{'broker':'b','subscriber':{'ref':{'apiVersion':'v1','kind':'Service','name':'s'},"
        "'uri':'in?x=1'}}");
    put(&w, KIND_TRIGGER, "u", ",'spec':{'broker':'b'," TO_F "}}}");
    put(&w, KIND_TRIGGER, "v",
        ",'spec':{'broker':'b','subscriber':{'ref':{'apiVersion':'v1','kind':'Pod','name':'p'}}}");
    put(&w, KIND_SERVICE, "f",
        ",'spec':{'template':{'spec':{'containers':[{'image':'i'}]}}}"); /* no address yet */
    world_settle(&w);
    assert_string_equal(message_of(&w, "t"),
                        "failed to get object default/s: services \"s\" not found");
    assert_string_equal(message_of(&w, "u"),
                        "address not set for Kind = Service, Namespace = default, Name = f, "
                        "APIVersion = serving.knative.dev/v1, Group = , Address = ");
    assert_non_null(strstr(message_of(&w, "v"), "v1 Pod has no address"));
    put(&w, KIND_CORE_SERVICE, "s", "");
    world_settle(&w);
    assert_string_equal(jpeek_cstr(world_get(&w, KIND_TRIGGER, "t"), "status.subscriberUri"),
                        "http://s.default.svc.cluster.local/in?x=1");
    assert_string_equal(world_condition(&w, KIND_TRIGGER, "t", "Ready"), "True");
    world_delete(&w, KIND_CORE_SERVICE, "s");
    world_settle(&w);
    /* What comes for it fails and is kept, instead of matching nothing. */
    assert_string_equal(jpeek_cstr(world_get(&w, KIND_TRIGGER, "t"), "status.subscriberUri"),
                        "http://s.default.svc.cluster.local/in?x=1");
    assert_string_equal(world_condition(&w, KIND_TRIGGER, "t", "Ready"), "False");
    world_patch(&w, KIND_TRIGGER, "t", "{'spec':{'subscriber':{'ref':{'name':'other'}}}}");
    world_settle(&w);
    assert_null(jget(world_get(&w, KIND_TRIGGER, "t"), "status.subscriberUri"));
    world_fini(&w);
}

static void brokers_wait_and_fail(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    w.broker = (struct broker_ingress){.url = "http://in", .reason = "", .unknown = true};
    put(&w, KIND_BROKER, "early", "");
    put(&w, KIND_PINGSOURCE, "early", ",'spec':{'schedule':'* * * * *','sink':{'uri':'http://x'}}");
    world_settle(&w);
    assert_null(jget(world_get(&w, KIND_BROKER, "early"), "status"));
    assert_null(jget(world_get(&w, KIND_PINGSOURCE, "early"), "status"));
    w.broker =
        (struct broker_ingress){.reason = "BrokerStarting", .message = "soon", .again_ms = 100};
    put(&w, KIND_BROKER, "b", "");
    put(&w, KIND_TRIGGER, "t", ",'spec':{'broker':'b','subscriber':{'uri':'http://x'}}");
    put(&w, KIND_TRIGGER, "lost", ",'spec':{'broker':'none','subscriber':{'uri':'ftp://x'}}");
    world_settle(&w);
    assert_string_equal(world_condition(&w, KIND_BROKER, "b", "Ready"), "Unknown");
    assert_string_equal(world_condition(&w, KIND_TRIGGER, "t", "Ready"), "Unknown");
    assert_int_equal(w.again_ms, 100);
    assert_null(jpeek_obj(world_get(&w, KIND_BROKER, "b"), "status.address"));
    const json_t *lost = world_get(&w, KIND_TRIGGER, "lost");
    const json_t *ready = jpeek_row(lost, "status.conditions", "type", SLICE_LIT("Ready"));
    assert_string_equal(jpeek_cstr(ready, "reason"), "BrokerDoesNotExist");
    assert_string_equal(jpeek_cstr(ready, "message"), "Broker \"none\" does not exist");
    assert_string_equal(world_condition(&w, KIND_TRIGGER, "lost", "SubscriberResolved"), "False");

    w.broker = (struct broker_ingress){
        .reason = "BrokerNotAvailable", .message = "redis-server is not there", .again_ms = 3000};
    world_settle(&w);
    ready = jpeek_row(world_get(&w, KIND_TRIGGER, "t"), "status.conditions", "type",
                      SLICE_LIT("Ready"));
    assert_string_equal(jpeek_cstr(ready, "status"), "False");
    assert_string_equal(jpeek_cstr(ready, "message"), "redis-server is not there");
    /* One that was there keeps its address, so that what names it need not change. */
    w.broker = (struct broker_ingress){
        .url = "http://in", .reason = "BrokerNotAvailable", .message = "no Pod is ready"};
    world_settle(&w);
    assert_string_equal(world_condition(&w, KIND_BROKER, "b", "IngressReady"), "False");
    assert_string_equal(world_condition(&w, KIND_BROKER, "b", "Addressable"), "True");
    assert_string_equal(jpeek_cstr(world_get(&w, KIND_BROKER, "b"), "status.address.url"),
                        "http://in/default/b");
    assert_int_equal(w.again_ms, 0);

    w.broker = (struct broker_ingress){.ready = true, .url = "http://in", .reason = ""};
    world_settle(&w);
    assert_string_equal(world_condition(&w, KIND_TRIGGER, "t", "Ready"), "True");
    assert_int_equal(w.again_ms, 0);
    world_delete(&w, KIND_BROKER, "b");
    world_settle(&w);
    assert_string_equal(world_condition(&w, KIND_TRIGGER, "t", "Ready"), "False");
    world_fini(&w);
}

static void sinks_are_inherited(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    put(&w, KIND_BROKER, "dead", "");
    put(&w, KIND_BROKER, "b",
        ",'spec':{'delivery':{'deadLetterSink':{'ref':{'apiVersion':'eventing.knative.dev/v1',"
        "'kind':'Broker','name':'dead'}}}}");
    put(&w, KIND_TRIGGER, "t", ",'spec':{'broker':'b','subscriber':{'uri':'http://x'}}");
    world_settle(&w);
    assert_string_equal(jpeek_cstr(world_get(&w, KIND_BROKER, "b"), "status.deadLetterSinkUri"),
                        "http://in:8085/default/dead");
    assert_string_equal(jpeek_cstr(world_get(&w, KIND_TRIGGER, "t"), "status.deadLetterSinkUri"),
                        "http://in:8085/default/dead");
    world_delete(&w, KIND_BROKER, "dead");
    world_settle(&w);
    assert_string_equal(world_condition(&w, KIND_BROKER, "b", "DeadLetterSinkResolved"), "False");
    assert_null(jget(world_get(&w, KIND_TRIGGER, "t"), "status.deadLetterSinkUri"));
    assert_string_equal(world_condition(&w, KIND_TRIGGER, "t", "DeadLetterSinkResolved"), "False");
    world_fini(&w);
}

static void others_are_left_alone(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    world_put(&w, KIND_BROKER,
              parse("{'metadata':{'name':'b','annotations':{'eventing.knative.dev/broker.class':"
                    "'MTChannelBasedBroker'}}}"));
    put(&w, KIND_TRIGGER, "t", ",'spec':{'broker':'b','subscriber':{'uri':'http://x'}}");
    assert_int_equal(world_pass(&w), 0);
    world_fini(&w);
}

static void dependencies(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    put(&w, KIND_BROKER, "b", "");
    world_put(&w, KIND_TRIGGER,
              parse("{'metadata':{'name':'t','annotations':{'knative.dev/dependency':"
                    "'{\\'kind\\':\\'Broker\\',\\'name\\':\\'other\\',\\'apiVersion\\':"
                    "\\'eventing.knative.dev/v1\\'}'}},'spec':{'broker':'b','subscriber':{'uri':"
                    "'http://x'}}}"));
    world_settle(&w);
    assert_string_equal(world_condition(&w, KIND_TRIGGER, "t", "DependencyReady"), "False");
    put(&w, KIND_BROKER, "other", "");
    world_settle(&w);
    assert_string_equal(world_condition(&w, KIND_TRIGGER, "t", "DependencyReady"), "True");
    assert_string_equal(world_condition(&w, KIND_TRIGGER, "t", "Ready"), "True");
    world_fini(&w);
}

static json_t *a_broker(void *arg, enum kind_id kind, const char *ns, const char *name)
{
    (void)arg;
    (void)ns;
    return kind == KIND_BROKER ? parse(strcmp(name, "bare") == 0
                                           ? "{'status':{'address':{'url':'http://h:1'}}}"
                                           : "{'status':{'address':{'url':'http://h:1/n/b'}}}")
                               : NULL;
}

static void relative_urls(void **state)
{
    (void)state;
    static const struct {
        const char *name, *uri, *want;
    } rows[] = {
        {"b", "", "http://h:1/n/b"},    {"b", "/x", "http://h:1/x"},
        {"b", "x", "http://h:1/n/x"},   {"b", "?q=1", "http://h:1/n/b?q=1"},
        {"bare", "x", "http://h:1/x"},  {"bare", "/x/y?z", "http://h:1/x/y?z"},
        {"bare", "?q", "http://h:1?q"},
    };
    struct settings settings;
    settings_init(&settings, "", "lull-system");
    struct reconcile_env env = {.settings = &settings, .get = a_broker};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char message[ERROR_MSG_MAX];
        CLEANUP(strbuf_fini) struct strbuf url;
        CLEANUP(cleanup_free)
        char *text = xasprintf("{'ref':{'apiVersion':'eventing.knative.dev/v1','kind':'Broker',"
                               "'name':'%s'},'uri':'%s'}",
                               rows[i].name, rows[i].uri);
        CLEANUP(jfree) json_t *destination = parse(text);
        strbuf_init(&url, DESTINATION_URL_MAX);
        assert_true(destination_resolve(&env, destination, "n", &url, message));
        assert_string_equal(url.ptr, rows[i].want);
    }
    settings_fini(&settings);
}

#define SINK(name) "'sink':{'ref':{'apiVersion':'v1','kind':'Service','name':'" name "'}}"

static void sources_of_ours(void **state)
{
    struct world w;
    begin(&w);
    put(&w, KIND_CORE_SERVICE, "s", "");
    put(&w, KIND_WEBHOOKSOURCE, "h",
        ",'spec':{" SINK("s") ",'delivery':{'deadLetterSink':{'uri':'http://dead'}}}");
    put(&w, KIND_REDISSOURCE, "r", ",'spec':{" SINK("gone") "}");
    put(&w, KIND_FILESOURCE, "f", ",'spec':{" SINK("s") "}");
    world_settle(&w);
    const json_t *h = world_get(&w, KIND_WEBHOOKSOURCE, "h");
    assert_string_equal(world_condition(&w, KIND_WEBHOOKSOURCE, "h", "Ready"), "True");
    assert_string_equal(jpeek_cstr(h, "status.sinkUri"), "http://s.default.svc.cluster.local");
    assert_string_equal(jpeek_cstr(h, "status.deadLetterSinkUri"), "http://dead");
    assert_true(slice_ends_with(jpeek_str(h, "status.url"), SLICE_LIT("/_lull/hooks/default/h")));
    assert_string_equal(world_condition(&w, KIND_REDISSOURCE, "r", "SinkProvided"), "False");
    assert_null(jget(world_get(&w, KIND_REDISSOURCE, "r"), "status.sinkUri"));
    assert_string_equal(world_condition(&w, KIND_FILESOURCE, "f", "Ready"), "True");
    put(&w, KIND_CORE_SERVICE, "gone", "");
    world_settle(&w);
    assert_string_equal(world_condition(&w, KIND_REDISSOURCE, "r", "Ready"), "True");

    /* On a cluster there is no folder. */
    snprintf(w.settings.sidecar_image, sizeof(w.settings.sidecar_image), "image");
    put(&w, KIND_FILESOURCE, "g", ",'spec':{" SINK("s") "}");
    world_settle(&w);
    assert_string_equal(world_condition(&w, KIND_FILESOURCE, "g", "Deployed"), "False");
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_well),           cmocka_unit_test(subscribers_come_and_go),
        cmocka_unit_test(brokers_wait_and_fail), cmocka_unit_test(sinks_are_inherited),
        cmocka_unit_test(others_are_left_alone), cmocka_unit_test(dependencies),
        cmocka_unit_test(relative_urls),         cmocka_unit_test(sources_of_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
