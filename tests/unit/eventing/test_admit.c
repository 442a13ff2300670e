// SPDX-License-Identifier: Apache-2.0
/* Broker and Trigger: what they get by default, what is refused and in which words. */
#include "json/jedit.h"
#include "json/jparse.h"
#include "eventing/admit.h"
#include "test.h"

static json_t *parsed(const char *text)
{
    json_t *object = NULL;
    struct error err = {0};
    if (text != NULL && jparse(slice_str(text), 1 << 20, &object, &err) < 0) {
        fail_msg("%s: %s", err.msg, text);
    }
    return object;
}

static void check_admit(enum kind_id kind, const char *text, const char *old_text, const char *want)
{
    json_t *object = parsed(text), *old = parsed(old_text);
    struct serving_request request = {.kind = kind_row(kind), .old = old};
    struct serving_report report;
    serving_report_init(&report);
    int rc = eventing_admit(&request, object, &report);
    assert_string_equal(report.errors.len == 0 ? "" : report.errors.ptr, want);
    assert_int_equal(rc, want[0] == '\0' ? 0 : ERR_INVALID);
    serving_report_fini(&report);
    json_decref(object);
    json_decref(old);
}

static void check_default(enum kind_id kind, const char *text, const char *want_text)
{
    json_t *object = parsed(text), *want = parsed(want_text);
    eventing_default(kind_row(kind), object);
    if (!jequal(object, want)) {
        fail_msg("%s\nbecame %s", text, json_dumps(object, JSON_SORT_KEYS));
    }
    eventing_default(kind_row(kind), object);
    assert_true(jequal(object, want));
    json_decref(object);
    json_decref(want);
}

#define META          "\"metadata\":{\"name\":\"x\",\"namespace\":\"ns\"}"
#define TO            "\"subscriber\":{\"uri\":\"http://there\"}"
#define TRIGGER(more) "{" META ",\"spec\":{\"broker\":\"b\"," TO more "}}"
#define BROKER(spec)  "{" META ",\"spec\":{" spec "}}"

static void defaults(void **state)
{
    (void)state;
    check_default(KIND_BROKER, "{" META "}",
                  "{\"metadata\":{\"name\":\"x\",\"namespace\":\"ns\",\"annotations\":{\"eventing."
                  "knative.dev/broker.class\":\"Lull\"}},\"spec\":{\"delivery\":{\"retry\":10,"
                  "\"backoffPolicy\":\"exponential\",\"backoffDelay\":\"PT0.2S\"}}}");
    check_default(KIND_BROKER,
                  "{\"metadata\":{\"annotations\":{\"eventing.knative.dev/broker.class\":\"Kafka\"}"
                  "},\"spec\":{}}",
                  "{\"metadata\":{\"annotations\":{\"eventing.knative.dev/broker.class\":\"Kafka\"}"
                  "},\"spec\":{}}");
    check_default(KIND_TRIGGER,
                  "{" META ",\"spec\":{\"broker\":\"b\",\"subscriber\":{\"ref\":{\"kind\":\"Service"
                  "\"}},\"delivery\":{\"deadLetterSink\":{\"ref\":{\"name\":\"d\",\"namespace\":"
                  "\"other\"}}}}}",
                  "{\"metadata\":{\"name\":\"x\",\"namespace\":\"ns\",\"labels\":{\"eventing."
                  "knative.dev/broker\":\"b\"}},\"spec\":{\"broker\":\"b\",\"filter\":{},"
                  "\"subscriber\":{\"ref\":{\"kind\":\"Service\",\"namespace\":\"ns\"}},"
                  "\"delivery\":{\"deadLetterSink\":{\"ref\":{\"name\":\"d\",\"namespace\":"
                  "\"other\"}}}}}");
    /* what has a wrong type is left for the schema to refuse */
    check_default(KIND_TRIGGER, "[]", "[]");
    check_default(KIND_BROKER, "7", "7");
    check_default(KIND_TRIGGER, "{\"metadata\":7,\"spec\":[]}", "{\"metadata\":7,\"spec\":[]}");
}

static void brokers(void **state)
{
    (void)state;
    check_admit(KIND_BROKER, BROKER(""), NULL, "");
    check_admit(KIND_BROKER,
                BROKER("\"delivery\":{\"retry\":-1,\"backoffDelay\":\"1s\",\"backoffPolicy\":"
                       "\"quadratic\",\"timeout\":\"PT0S\",\"format\":\"xml\",\"retryAfterMax\":"
                       "\"-PT1S\"}"),
                NULL,
                "invalid value: -1: spec.delivery.retry\n"
                "invalid value: -PT1S: spec.delivery.retryAfterMax\n"
                "invalid value: 1s: spec.delivery.backoffDelay\n"
                "invalid value: PT0S: spec.delivery.timeout\n"
                "invalid value: quadratic: spec.delivery.backoffPolicy\n"
                "invalid value: xml: spec.delivery.format");
    check_admit(KIND_BROKER,
                BROKER("\"config\":{\"group\":\"g\"},\"delivery\":{\"deadLetterSink\":{}}"), NULL,
                "expected at least one, got none: spec.delivery.deadLetterSink.ref, "
                "spec.delivery.deadLetterSink.uri\n"
                "missing field(s): spec.config.apiVersion, spec.config.kind, spec.config.name\n"
                "must not set the field(s): spec.config.group");
    check_admit(KIND_BROKER,
                BROKER("\"config\":{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"b\"}"),
                BROKER("\"config\":{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"a\","
                       "\"namespace\":\"ns\"}"),
                "Immutable fields changed (-old +new): spec\n"
                "{v1.BrokerSpec}.Config.Name:\n\t-: \"a\"\n\t+: \"b\"\n");
    check_admit(
        KIND_BROKER, BROKER(""),
        "{\"metadata\":{\"annotations\":{\"eventing.knative.dev/broker.class\":\"Kafka\"}}}",
        "Immutable annotations changed (-old +new): annotations\n"
        "{string}:\n\t-: \"Kafka\"\n\t+: \"Lull\"\n");
}

static void subscribers(void **state)
{
    (void)state;
    check_admit(KIND_TRIGGER, TRIGGER(""), NULL, "");
    check_admit(KIND_TRIGGER, "{" META ",\"spec\":{}}", NULL,
                "expected at least one, got none: spec.subscriber.ref, spec.subscriber.uri\n"
                "missing field(s): spec.broker");
    check_admit(KIND_TRIGGER, "{" META "}", NULL,
                "expected at least one, got none: spec.subscriber.ref, spec.subscriber.uri\n"
                "missing field(s): spec.broker");
    check_admit(
        KIND_TRIGGER, "{" META ",\"spec\":{\"broker\":\"b\",\"subscriber\":{\"uri\":\"/a\"}}}",
        NULL,
        "invalid value: Relative URI is not allowed when Ref and [apiVersion, kind, name] is "
        "absent: spec.subscriber.uri");
    check_admit(
        KIND_TRIGGER,
        "{" META ",\"spec\":{\"broker\":\"b\",\"subscriber\":{\"uri\":\"http:///a\"}}}", NULL,
        "invalid value: Relative URI is not allowed when Ref and [apiVersion, kind, name] is "
        "absent: spec.subscriber.uri");
    check_admit(KIND_TRIGGER,
                "{" META
                ",\"spec\":{\"broker\":\"b\",\"subscriber\":{\"uri\":\"http://a\",\"ref\":{"
                "\"name\":\"f\"}}}}",
                NULL,
                "Absolute URI is not allowed when Ref or [apiVersion, kind, name] is present: "
                "spec.subscriber.ref, spec.subscriber.uri, spec.subscriber[apiVersion, kind, "
                "name]");
    check_admit(KIND_TRIGGER,
                "{" META ",\"spec\":{\"broker\":\"b\",\"subscriber\":{\"ref\":{\"name\":\"f\"}}}}",
                NULL, "missing field(s): spec.subscriber.ref.apiVersion, spec.subscriber.ref.kind");
    check_admit(KIND_TRIGGER,
                "{" META
                ",\"spec\":{\"broker\":\"b\",\"subscriber\":{\"uri\":\"/p\",\"ref\":{\"name\":"
                "\"f\",\"kind\":\"Service\",\"apiVersion\":\"v1\"}}}}",
                NULL, "");
    check_admit(KIND_TRIGGER,
                "{" META
                ",\"spec\":{\"broker\":\"b\",\"subscriber\":{\"uri\":\"http://a\",\"CACerts\":"
                "\"none\"}}}",
                NULL, "invalid value: CA Cert provided is invalid: spec.subscriber.caCert");
}

static void triggers(void **state)
{
    (void)state;
    check_admit(KIND_TRIGGER, "{" META ",\"spec\":{\"brokerRef\":{\"name\":\"b\"}," TO "}}", NULL,
                "must not set the field(s): spec.brokerRef\na Trigger takes the events of a Broker "
                "in its own namespace: name it in broker");
    check_admit(KIND_TRIGGER, TRIGGER(",\"brokerRef\":{\"name\":\"b\"}"), NULL,
                "expected exactly one, got both: spec.broker, spec.brokerRef");
    check_admit(KIND_TRIGGER, TRIGGER(""), "{\"spec\":{\"broker\":\"a\"}}",
                "Immutable fields changed (-old +new): broker, spec\n"
                "{string}:\n\t-: \"a\"\n\t+: \"b\"\n");
    check_admit(
        KIND_TRIGGER,
        "{\"metadata\":{\"namespace\":\"ns\",\"annotations\":{\"knative.dev/dependency\":"
        "\"{\\\"namespace\\\":\\\"o\\\",\\\"kind\\\":\\\"K\\\"}\",\"eventing.knative.dev/"
        "injection\":\"enabled\"}},\"spec\":{\"broker\":\"b\"," TO "}}",
        NULL,
        "Namespace must be empty or equal to the trigger namespace \"ns\": "
        "metadata.annotations[knative.dev/dependency].namespace\n"
        "The provided injection annotation is only used for default broker, but non-default "
        "broker specified here: \"b\": "
        "metadata.annotations[eventing.knative.dev/injection]\n"
        "missing field(s): metadata.annotations[knative.dev/dependency].apiVersion, "
        "metadata.annotations[knative.dev/dependency].name");
}

static void filters(void **state)
{
    (void)state;
    check_admit(KIND_TRIGGER, TRIGGER(",\"filter\":{\"attributes\":{\"type\":\"a\",\"x1\":\"\"}}"),
                NULL, "");
    check_admit(
        KIND_TRIGGER, TRIGGER(",\"filter\":{\"attributes\":{\"my-type\":\"a\"}}"), NULL,
        "invalid key name \"my-type\": spec.filter.attributes[my-type]\nAttribute name must "
        "start with a letter and can only contain lowercase alphanumeric");
    check_admit(KIND_TRIGGER,
                TRIGGER(",\"filters\":[{\"exact\":{\"type\":\"a\"}},{\"not\":{\"any\":[{\"prefix\":"
                        "{\"type\":\"x\"}},{\"cesql\":\"true\"}]}}]"),
                NULL, "");
    check_admit(KIND_TRIGGER,
                TRIGGER(",\"filters\":[{\"exact\":{\"a\":\"1\"},\"prefix\":{\"a\":\"1\"}}]"), NULL,
                "multiple dialects found, filters can have only one dialect set: ");
    check_admit(
        KIND_TRIGGER, TRIGGER(",\"filters\":[{},{\"all\":[{\"suffix\":{\"A\":\"1\"}}]}]"), NULL,
        "invalid key name \"A\": spec.filters[1].all[0].suffix[A]\nAttribute name must start "
        "with a letter and can only contain lowercase alphanumeric");
    check_admit(
        KIND_TRIGGER,
        TRIGGER(",\"filters\":[{\"any\":[{\"exact\":{\"a\":1}},7,{\"sql\":\"x\"},{\"not\":[]},"
                "{\"cesql\":5}]}]"),
        NULL,
        "invalid value: must be a string, is a whole number: spec.filters[0].any[0].exact[a], "
        "spec.filters[0].any[4].cesql\n"
        "invalid value: must be an object, is a whole number: spec.filters[0].any[1]\n"
        "invalid value: must be an object, is an array: spec.filters[0].any[3].not\n"
        "unknown dialect: it is exact, prefix, suffix, all, any, not or cesql: "
        "spec.filters[0].any[2]");
}

static void expressions_are_read(void **state)
{
    (void)state;
    check_admit(KIND_TRIGGER, TRIGGER(",\"filters\":[{}]"), NULL, "");
    check_admit(KIND_TRIGGER, TRIGGER(",\"filters\":[{\"cesql\":\"type = 'a' AND n > 3\"}]"), NULL,
                "");
    check_admit(KIND_TRIGGER, TRIGGER(",\"filters\":[{\"not\":{\"cesql\":\"type = \"}}]"), NULL,
                "invalid value: type = : spec.filters[0].not.cesql\ncolumn 8: it ends too early");
}

static void filters_have_a_bottom(void **state)
{
    (void)state;
    char text[1024];
    size_t n =
        (size_t)snprintf(text, sizeof(text), "{\"spec\":{\"broker\":\"b\"," TO ",\"filters\":[");
    for (int i = 0; i < 18; i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "{\"not\":");
    }
    n += (size_t)snprintf(text + n, sizeof(text) - n, "{}");
    for (int i = 0; i < 18; i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "}");
    }
    snprintf(text + n, sizeof(text) - n, "]}}");
    check_admit(
        KIND_TRIGGER, text, NULL,
        "filters are nested more than 16 deep: "
        "spec.filters[0].not.not.not.not.not.not.not.not.not.not.not.not.not.not.not.not.not");
}

static void classes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool want;
    } rows[] = {
        {"{}", true},
        {"{\"metadata\":{\"annotations\":{\"eventing.knative.dev/broker.class\":\"Lull\"}}}", true},
        {"{\"metadata\":{\"annotations\":{\"eventing.knative.dev/broker.class\":"
         "\"MTChannelBasedBroker\"}}}",
         false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_t *broker = parsed(rows[i].text);
        assert_int_equal(broker_is_ours(broker), rows[i].want);
        json_decref(broker);
    }
}

#define PING(spec)    "{" META ",\"spec\":{" spec "}}"
#define SINK          "\"sink\":{\"uri\":\"http://there\"}"
#define BINDING(spec) "{" META ",\"spec\":{" spec "}}"
#define SUBJECT                                                                             \
    "\"subject\":{\"apiVersion\":\"serving.knative.dev/v1\",\"kind\":\"Service\",\"name\":" \
    "\"s\"}"

static void ping_sources(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {PING(SINK), ""},
        {PING(SINK ",\"schedule\":\"CRON_TZ=UTC 0 3 * * *\""), ""},
        {PING(SINK ",\"schedule\":\"61 * * * *\""),
         "invalid value: end of range (61) above maximum (59): 61: spec.schedule"},
        {PING(SINK ",\"schedule\":\"@every 1s\""),
         "invalid value: unsupported descriptor @every: spec.schedule"},
        {PING(SINK ",\"data\":\"a\",\"dataBase64\":\"YQ==\""),
         "expected exactly one, got both: spec.data, spec.dataBase64"},
        {PING("\"data\":\"a\""), "expected at least one, got none: spec.sink.ref, spec.sink.uri"},
        {PING(SINK ",\"ceOverrides\":{\"extensions\":{\"a-b\":\"c\"}}"),
         "invalid key name \"a-b\": spec.ceOverrides.extensions\nkeys are expected to be "
         "alphanumeric"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_admit(KIND_PINGSOURCE, rows[i][0], NULL, rows[i][1]);
    }
    check_default(KIND_PINGSOURCE, PING(SINK), PING(SINK ",\"schedule\":\"* * * * *\""));
}

#define BY_LABELS(operator, values)                                      \
    "\"subject\":{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\","         \
    "\"selector\":{\"matchExpressions\":[{\"key\":\"k\",\"operator\":\"" \
    operator"\"" values "}]}}"

static void sink_bindings(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {BINDING(SINK "," SUBJECT), ""},
        {BINDING(SINK), "expected exactly one, got neither: spec.subject.name, "
                        "spec.subject.selector\nmissing field(s): spec.subject.apiVersion, "
                        "spec.subject.kind, spec.subject.namespace"},
        {BINDING(SINK ",\"subject\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"p\","
                      "\"namespace\":\"other\"}"),
         "invalid value: other: spec.subject.namespace"},
        {BINDING(SINK "," BY_LABELS("In", ",\"values\":[\"a\"]")), ""},
        {BINDING(SINK "," BY_LABELS("Exists", "")), ""},
        {BINDING(SINK "," BY_LABELS("NotIn", "")),
         "invalid value: NotIn needs values: spec.subject.selector"},
        {BINDING(SINK "," BY_LABELS("DoesNotExist", ",\"values\":[\"a\"]")),
         "invalid value: DoesNotExist has no values: spec.subject.selector"},
        {BINDING(SINK "," BY_LABELS("Like", "")),
         "invalid value: \"Like\" is not a valid label selector operator: spec.subject.selector"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_admit(KIND_SINKBINDING, rows[i][0], NULL, rows[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ping_sources),
        cmocka_unit_test(sink_bindings),
        cmocka_unit_test(defaults),
        cmocka_unit_test(brokers),
        cmocka_unit_test(subscribers),
        cmocka_unit_test(triggers),
        cmocka_unit_test(filters),
        cmocka_unit_test(filters_have_a_bottom),
        cmocka_unit_test(expressions_are_read),
        cmocka_unit_test(classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
