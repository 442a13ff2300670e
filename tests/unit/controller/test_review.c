// SPDX-License-Identifier: Apache-2.0
/* Admission reviews and their answers, and the JSON patches between. */
#include "base/base64.h"
#include "base/mem.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/review.h"
#include "test.h"

#define SERVICE_KIND "{\"group\":\"serving.knative.dev\",\"version\":\"v1\",\"kind\":\"Service\"}"
#define REVIEW(request) \
    "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"request\":" request "}"
#define SERVICE(name, image)                                                        \
    "{\"apiVersion\":\"serving.knative.dev/v1\",\"kind\":\"Service\",\"metadata\":" \
    "{\"name\":\"" name "\",\"namespace\":\"default\"},\"spec\":{\"traffic\":[{"    \
    "\"latestRevision\":true,\"percent\":100}],\"template\":{\"spec\":{"            \
    "\"containers\":[{\"image\":\"" image "\"}]}}}}"
#define REQUEST(operation, object, old)                                            \
    REVIEW("{\"uid\":\"u-1\",\"kind\":" SERVICE_KIND ",\"operation\":\"" operation \
           "\",\"userInfo\":{\"username\":\"ann\"},\"object\":" object ",\"oldObject\":" old "}")

/* The answer as a tree; NULL with the error filled when there is none. */
static json_t *ask(enum review_door door, const char *body, struct error *out_err)
{
    struct error err = {0};
    struct serving_config config;
    struct review_env env = {&config, "lull-system"};
    struct strbuf out;
    json_t *answer = NULL;
    bool allowed = false;
    serving_config_init(&config);
    strbuf_init(&out, REVIEW_ANSWER_MAX);
    if (review_answer(&env, door, slice_str(body), &out, &allowed, out_err) == 0) {
        ASSERT_OK(jparse(strbuf_slice(&out), REVIEW_ANSWER_MAX, &answer, &err));
        assert_int_equal(jpeek_bool(answer, "response.allowed"), allowed);
        assert_string_equal(jpeek_cstr(answer, "response.uid"), "u-1");
        assert_string_equal(jpeek_cstr(answer, "kind"), "AdmissionReview");
    }
    strbuf_fini(&out);
    return answer;
}

/* The operations of the answer's patch; NULL without one. */
static json_t *patch_of(const json_t *answer)
{
    struct error err;
    CLEANUP(strbuf_fini) struct strbuf text;
    json_t *patch = NULL;
    strbuf_init(&text, REVIEW_BODY_MAX);
    struct slice coded = jpeek_str(answer, "response.patch");
    if (coded.len == 0) {
        return NULL;
    }
    assert_string_equal(jpeek_cstr(answer, "response.patchType"), "JSONPatch");
    ASSERT_OK(base64_decode(coded, &text, &err));
    ASSERT_OK(jparse(strbuf_slice(&text), REVIEW_BODY_MAX, &patch, &err));
    return patch;
}

static void apply(json_t *object, const json_t *patch)
{
    struct error err;
    size_t i;
    json_t *op;
    json_array_foreach(patch, i, op)
    {
        struct slice path = jpeek_str(op, "path");
        if (slice_eq_str(jpeek_str(op, "op"), "remove")) {
            ASSERT_OK(jpointer_remove(object, path, &err));
        } else {
            ASSERT_OK(jpointer_set(object, path, json_incref(json_object_get(op, "value")), &err));
        }
    }
}

static void defaults_are_a_patch(void **state)
{
    struct error err = {0};
    CLEANUP(jfree)
    json_t *answer = ask(REVIEW_DEFAULTING,
                         REQUEST("CREATE", SERVICE("hello", "example.com/hello"), "null"), &err);
    CLEANUP(jfree) json_t *patch = patch_of(answer);
    CLEANUP(jfree) json_t *object = NULL;
    assert_true(jpeek_bool(answer, "response.allowed"));
    ASSERT_OK(jparse(slice_str(SERVICE("hello", "example.com/hello")), 1 << 20, &object, &err));
    apply(object, patch);
    assert_int_equal(jpeek_i64(object, "spec.template.spec.timeoutSeconds"), 300);
    assert_int_equal(jpeek_i64(object, "spec.traffic[0].percent"), 100);
    assert_string_equal(jpeek_cstr(object, "metadata.annotations.`serving.knative.dev/creator`"),
                        "ann");
    assert_string_equal(
        jpeek_cstr(object, "metadata.annotations.`serving.knative.dev/lastModifier`"), "ann");
    /* What has its defaults already gets no patch, and is valid. */
    CLEANUP(cleanup_free) char *text = jdump_str(object);
    CLEANUP(cleanup_free)
    char *again =
        xasprintf(REVIEW("{\"uid\":\"u-1\",\"kind\":" SERVICE_KIND ",\"operation\":\"UPDATE\","
                         "\"userInfo\":{\"username\":\"bob\"},\"object\":%s,\"oldObject\":%s}"),
                  text, text);
    CLEANUP(jfree) json_t *second = ask(REVIEW_DEFAULTING, again, &err);
    assert_true(jpeek_bool(second, "response.allowed"));
    assert_null(json_object_get(json_object_get(second, "response"), "patch"));
    CLEANUP(jfree) json_t *third = ask(REVIEW_VALIDATION, again, &err);
    assert_true(jpeek_bool(third, "response.allowed"));
}

static void rules_refuse(void **state)
{
    static const struct {
        enum review_door door;
        const char *body;
        const char *message; /* NULL: allowed */
    } rows[] = {
        {REVIEW_VALIDATION, REQUEST("CREATE", SERVICE("hello", "example.com/hello"), "null"), NULL},
        {REVIEW_VALIDATION, REQUEST("CREATE", SERVICE("9lives", "example.com/hello"), "null"),
         "validation failed: not a DNS 1035 label"},
        {REVIEW_VALIDATION, REQUEST("CREATE", SERVICE("hello", ""), "null"),
         "validation failed: missing field(s): spec.template.spec.containers[0]"},
        {REVIEW_DEFAULTING,
         REQUEST("CREATE", "{\"metadata\":{},\"spec\":{\"template\":[]}}", "null"),
         "mutation failed: "},
        {REVIEW_VALIDATION, REQUEST("DELETE", "null", SERVICE("9lives", "example.com/hello")),
         NULL},
        /* Goes anyway: a finalizer must be able to leave it. */
        {REVIEW_VALIDATION,
         REQUEST("UPDATE",
                 "{\"metadata\":{\"name\":\"9\",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"}}",
                 SERVICE("9lives", "example.com/hello")),
         NULL},
        {REVIEW_VALIDATION,
         REVIEW("{\"uid\":\"u-1\",\"kind\":" SERVICE_KIND ",\"operation\":\"UPDATE\","
                "\"subResource\":\"status\",\"object\":{},\"oldObject\":{}}"),
         NULL},
        {REVIEW_VALIDATION,
         REVIEW("{\"uid\":\"u-1\",\"kind\":{\"group\":\"x.org\",\"version\":\"v1\",\"kind\":"
                "\"Any\"},\"operation\":\"CREATE\",\"object\":{}}"),
         NULL},
        {REVIEW_CONFIG,
         REVIEW("{\"uid\":\"u-1\",\"kind\":{\"group\":\"\",\"version\":\"v1\",\"kind\":"
                "\"ConfigMap\"},\"operation\":\"CREATE\",\"object\":{\"metadata\":{\"name\":"
                "\"config-gc\",\"namespace\":\"lull-system\"},\"data\":{\"min-non-active-"
                "revisions\":\"many\"}}}"),
         "validation failed: "},
        {REVIEW_CONFIG,
         REVIEW("{\"uid\":\"u-1\",\"kind\":{\"group\":\"\",\"version\":\"v1\",\"kind\":"
                "\"ConfigMap\"},\"operation\":\"CREATE\",\"object\":{\"metadata\":{\"name\":"
                "\"config-gc\",\"namespace\":\"other\"},\"data\":{\"min-non-active-"
                "revisions\":\"many\"}}}"),
         NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        CLEANUP(jfree) json_t *answer = ask(rows[i].door, rows[i].body, &err);
        if (answer == NULL) {
            fail_msg("row %zu: %s", i, err.msg);
        }
        const char *message = jpeek_cstr(answer, "response.status.message");
        if (jpeek_bool(answer, "response.allowed") != (rows[i].message == NULL) ||
            (rows[i].message != NULL && strstr(message, rows[i].message) != message)) {
            fail_msg("row %zu: \"%s\"", i, message);
        }
        if (rows[i].message != NULL) {
            assert_int_equal(jpeek_i64(answer, "response.status.code"), 400);
            assert_string_equal(jpeek_cstr(answer, "response.status.reason"), "BadRequest");
        }
    }
}

static void no_review_is_an_error(void **state)
{
    static const struct {
        const char *body, *message;
    } rows[] = {
        {"", "empty"},
        {"[]", "object"},
        {"{}", "expected an AdmissionReview of admission.k8s.io/v1"},
        {"{\"apiVersion\":\"admission.k8s.io/v1beta1\",\"kind\":\"AdmissionReview\"}", "expected"},
        {"{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\"}",
         "request: missing"},
        {REVIEW("{}"), "request: uid: missing"},
        {REVIEW("{\"uid\":\"\"}"), "uid: must have"},
        {REVIEW("{\"uid\":\"u\"}"), "request: kind.version: missing"},
        {REVIEW("{\"uid\":\"u\",\"kind\":" SERVICE_KIND "}"), "request.operation: missing"},
        {REVIEW("{\"uid\":\"u\",\"kind\":" SERVICE_KIND ",\"operation\":\"CREATE\"}"),
         "request.object: missing"},
        {REVIEW("{\"uid\":\"u\",\"kind\":" SERVICE_KIND ",\"operation\":\"UPDATE\",\"object\":{}}"),
         "request.oldObject: missing"},
        {REVIEW("{\"uid\":\"u\",\"kind\":" SERVICE_KIND ",\"operation\":\"UPDATE\",\"object\":[]}"),
         "request: object: must be an object"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        assert_null(ask(REVIEW_VALIDATION, rows[i].body, &err));
        ASSERT_MSG(rows[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_a_patch),
        cmocka_unit_test(rules_refuse),
        cmocka_unit_test(no_review_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
