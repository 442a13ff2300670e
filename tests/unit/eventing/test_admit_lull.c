// SPDX-License-Identifier: Apache-2.0
/* WebhookSource, RedisSource, FileSource: what is refused and in which words. */
#include "base/mem.h"
#include "json/jparse.h"
#include "eventing/admit.h"
#include "test.h"

struct row {
    enum kind_id kind;
    const char *spec; /* ' stands for ", beside a sink */
    const char *want; /* stands in the report; "": it is taken */
};

#define HOOK(rest)  KIND_WEBHOOKSOURCE, "'signature':{" rest "}"
#define KEY         "{'secretKeyRef':{'name':'n','key':'k'}}"
#define REDIS(rest) KIND_REDISSOURCE, "'url':'redis://h:1'," rest
#define FILES(rest) KIND_FILESOURCE, rest

static const struct row rows[] = {
    {HOOK("'scheme':'github','secrets':[" KEY "," KEY "]"), ""},
    {HOOK("'scheme':'none'"), ""},
    {HOOK("'scheme':'generic','header':'X-Sign','prefix':'v=','encoding':'base64','secrets':[" KEY
          "]"),
     ""},
    {HOOK("'scheme':'github'"), "missing field(s): spec.signature.secrets"},
    {HOOK("'scheme':'none','secrets':[" KEY "]"),
     "must not set the field(s): spec.signature.secrets"},
    {HOOK("'scheme':'gitlab','secrets':[" KEY "]"), "invalid value: gitlab: spec.signature.scheme"},
    {HOOK("'secrets':[" KEY "]"), "missing field(s): spec.signature.scheme"},
    {HOOK("'scheme':'generic','secrets':[" KEY "]"), "missing field(s): spec.signature.header"},
    {HOOK("'scheme':'generic','header':'a b','secrets':[" KEY "]"), "spec.signature.header"},
    {HOOK("'scheme':'stripe','secrets':[{'secretKeyRef':{'name':'n'}}]"),
     "missing field(s): spec.signature.secrets[0].secretKeyRef.key"},
    {HOOK("'scheme':'stripe','secrets':[{}]"), "spec.signature.secrets[0].secretKeyRef"},
    {HOOK("'scheme':'stripe','toleranceSeconds':0,'secrets':[" KEY "]"),
     "spec.signature.toleranceSeconds"},
    {HOOK("'scheme':'none'},'event':{'idField':'a..b'"), "spec.event.idField"},
    {HOOK("'scheme':'none'},'event':{'typeHeader':'X:'"), "spec.event.typeHeader"},
    {HOOK("'scheme':'none'},'deduplicate':'soon','x':{"), "invalid value: soon: spec.deduplicate"},
    {HOOK("'scheme':'none'},'delivery':{'retry':-1"), "spec.delivery.retry"},
    {KIND_WEBHOOKSOURCE, "'x':1", "missing field(s): spec.signature"},
    {REDIS("'stream':{'key':'k','from':'first'}"), ""},
    {REDIS("'list':{'key':'k','end':'left'}"), ""},
    {KIND_REDISSOURCE, "'urlFrom':" KEY ",'list':{'key':'k'}", ""},
    {REDIS("'parallelism':1"), "expected exactly one, got neither: spec.list, spec.stream"},
    {REDIS("'stream':{'key':'k'},'list':{'key':'k'}"),
     "expected exactly one, got both: spec.list, spec.stream"},
    {REDIS("'stream':{}"), "missing field(s): spec.stream.key"},
    {REDIS("'stream':{'key':'k','from':'then'}"), "spec.stream.from"},
    {REDIS("'list':{'key':'k','processing':'k'}"),
     "must be another list than key: spec.list.processing"},
    {REDIS("'list':{'key':'k'},'parallelism':1001"), "spec.parallelism"},
    {KIND_REDISSOURCE, "'list':{'key':'k'}",
     "expected exactly one, got neither: spec.url, spec.urlFrom"},
    {KIND_REDISSOURCE, "'url':'http://h','list':{'key':'k'}", "must begin with redis://"},
    {KIND_REDISSOURCE, "'url':'redis://:pw@h','list':{'key':'k'}",
     "name a Secret in urlFrom: spec.url"},
    {FILES("'path':'/srv/in','pattern':'*.csv','mode':'reference','after':'keep','settle':'PT5S'"),
     ""},
    {FILES("'mode':'data'"), "missing field(s): spec.path"},
    {FILES("'path':'in'"), "invalid value: in: spec.path"},
    {FILES("'path':'/'"), "spec.path"},
    {FILES("'path':'/a/../b'"), "spec.path"},
    {FILES("'path':'/a','pattern':'b/*'"), "spec.pattern"},
    {FILES("'path':'/a','mode':'link'"), "invalid value: link: spec.mode"},
    {FILES("'path':'/a','after':'delete'"), "invalid value: delete: spec.after"},
    {FILES("'path':'/a','settle':'-PT1S'"), "spec.settle"},
    {FILES("'path':'/a','maxDataBytes':-1"), "spec.maxDataBytes"},
    {FILES("'path':'/a','ceOverrides':{'extensions':{'a b':'c'}}"), "spec.ceOverrides.extensions"},
};

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

static void refusals(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct serving_request request = {.kind = kind_row(rows[i].kind)};
        struct serving_report report;
        CLEANUP(cleanup_free)
        char *text = xasprintf(
            "{'metadata':{'name':'x','namespace':'ns'},'spec':{'sink':{'uri':'http://s'},%s}}",
            rows[i].spec);
        CLEANUP(jfree) json_t *object = parse(text);
        serving_report_init(&report);
        int rc = eventing_admit(&request, object, &report);
        const char *said = report.errors.len == 0 ? "" : report.errors.ptr;
        if (rows[i].want[0] == '\0' ? said[0] != '\0' : strstr(said, rows[i].want) == NULL) {
            fail_msg("%s: \"%s\", not \"%s\"", text, said, rows[i].want);
        }
        assert_int_equal(rc, rows[i].want[0] == '\0' ? 0 : ERR_INVALID);
        serving_report_fini(&report);
    }
}

static void a_sink_is_needed_and_its_namespace_is_filled_in(void **state)
{
    static const enum kind_id kinds[] = {KIND_WEBHOOKSOURCE, KIND_REDISSOURCE, KIND_FILESOURCE};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct serving_request request = {.kind = kind_row(kinds[i])};
        struct serving_report report;
        CLEANUP(jfree) json_t *bare = parse("{'metadata':{'namespace':'ns'},'spec':{}}");
        serving_report_init(&report);
        assert_int_equal(eventing_admit(&request, bare, &report), ERR_INVALID);
        assert_non_null(strstr(report.errors.ptr,
                               "expected at least one, got none: spec.sink.ref, spec.sink.uri"));
        serving_report_fini(&report);
        CLEANUP(jfree)
        json_t *object = parse("{'metadata':{'namespace':'ns'},'spec':{'sink':{'ref':{'kind':'"
                               "Service','name':'f'}}}}");
        CLEANUP(jfree)
        json_t *want =
            parse("{'metadata':{'namespace':'ns'},'spec':{'sink':{'ref':{'kind':'Service',"
                  "'name':'f','namespace':'ns'}}}}");
        eventing_default(kind_row(kinds[i]), object);
        assert_true(json_equal(object, want));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals),
        cmocka_unit_test(a_sink_is_needed_and_its_namespace_is_filled_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
