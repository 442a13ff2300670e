// SPDX-License-Identifier: Apache-2.0
/*
 * Happy path: the review is parsed and checked, the object defaulted or judged, the verdict wrapped
 * into a review with the same uid. Failure modes: what is no review is an error of the caller's (a
 * 400); what the rules refuse is a verdict, in the words that Knative's webhooks have.
 */
#include "controller/review.h"

#include "base/base64.h"
#include "json/jbuild.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "json/jpatch.h"
#include "http/log_template.h"
#include "serving/config_check.h"
#include "serving/names.h"
#include "eventing/admit.h"

#define REVIEW_API_VERSION "admission.k8s.io/v1"

enum { UID_MAX = 128, API_VERSION_MAX = 300, BAD_REQUEST = 400 };

struct review {
    const json_t *request;
    struct slice uid;
    const json_t *object;
    const json_t *old; /* NULL: a create */
    const struct kind *kind;
};

/* What is to be answered. */
struct verdict {
    json_t *patch; /* NULL: none */
    const char *prefix;
    struct strbuf refusal; /* empty: allowed */
    struct serving_report report;
};

/* --- reading the review -------------------------------------------------------------------- */

static int read_kind(const json_t *request, const struct kind **out, struct error *err)
{
    char api_version[API_VERSION_MAX];
    struct slice group, version, kind;
    int rc = jget_str_or(request, "kind.group", SLICE_EMPTY, &group, err);
    rc = rc < 0 ? rc : jget_str(request, "kind.version", &version, err);
    rc = rc < 0 ? rc : jget_str(request, "kind.kind", &kind, err);
    if (rc < 0) {
        return rc;
    }
    int n = snprintf(api_version, sizeof(api_version), "%.*s%s%.*s", SLICE_FMT(group),
                     group.len == 0 ? "" : "/", SLICE_FMT(version));
    *out = n < 0 || (size_t)n >= sizeof(api_version) ? NULL : kind_by_object(api_version, kind.ptr);
    return 0;
}

/* An object or null; NULL for both none. */
static int read_object(const json_t *request, const char *key, const json_t **out,
                       struct error *err)
{
    const json_t *value = json_object_get(request, key);
    if (value != NULL && !json_is_null(value) && !json_is_object(value)) {
        return error_set(err, ERR_INVALID, "%s: must be an object, is %s", key, jtype_name(value));
    }
    *out = json_is_object(value) ? value : NULL;
    return 0;
}

static int read_review(const json_t *root, struct review *out, struct error *err)
{
    json_t *request = NULL;
    if (!slice_eq_str(jpeek_str(root, "apiVersion"), REVIEW_API_VERSION) ||
        !slice_eq_str(jpeek_str(root, "kind"), "AdmissionReview")) {
        return error_set(err, ERR_INVALID, "expected an AdmissionReview of " REVIEW_API_VERSION);
    }
    int rc = jget_obj(root, "request", &request, err);
    if (rc < 0) {
        return rc;
    }
    out->request = request;
    rc = jget_str(request, "uid", &out->uid, err);
    if (rc == 0 && (out->uid.len == 0 || out->uid.len > UID_MAX)) {
        rc = error_set(err, ERR_INVALID, "uid: must have 1 to %d characters", UID_MAX);
    }
    rc = rc < 0 ? rc : read_kind(request, &out->kind, err);
    rc = rc < 0 ? rc : read_object(request, "object", &out->object, err);
    rc = rc < 0 ? rc : read_object(request, "oldObject", &out->old, err);
    return rc < 0 ? error_prefix(err, rc, "request") : 0;
}

/* Whether there is an object to look at, and *create or update* is what is done to it. */
static int is_for_us(const struct review *review, bool *out, struct error *err)
{
    struct slice operation = jpeek_str(review->request, "operation");
    bool create = slice_eq_str(operation, "CREATE");
    bool writes = create || slice_eq_str(operation, "UPDATE");
    bool whole = jpeek_str(review->request, "subResource").len == 0;
    if (operation.len == 0) {
        return error_set(err, ERR_INVALID, "request.operation: missing");
    }
    *out = writes && whole && review->kind != NULL;
    if (!*out) {
        return 0;
    }
    if (review->object == NULL) {
        return error_set(err, ERR_INVALID, "request.object: missing");
    }
    if (!create && review->old == NULL) {
        return error_set(err, ERR_INVALID, "request.oldObject: missing");
    }
    *out = jpeek_str(review->object, "metadata.deletionTimestamp").len == 0;
    return 0;
}

/* --- judging ------------------------------------------------------------------------------- */

static void set_defaults(const struct review_env *env, const struct review *review,
                         const struct serving_request *request, struct verdict *verdict)
{
    struct error err = {0};
    CLEANUP(jfree) json_t *object = json_deep_copy(review->object);
    verdict->prefix = "mutation failed: ";
    if (eventing_knows(request->kind)) {
        eventing_default(request->kind, object);
    } else if (serving_default_request(env->config, request, object, &err) < 0) {
        (void)strbuf_append_str(&verdict->refusal, err.msg);
        return;
    }
    verdict->patch = jpatch_diff(review->object, object);
    if (verdict->patch == NULL) {
        (void)strbuf_append_str(&verdict->refusal, "the object has names that are too long");
    }
}

static void validate(const struct review_env *env, const struct serving_request *request,
                     const json_t *object, struct verdict *verdict)
{
    verdict->prefix = "validation failed: ";
    int rc = eventing_knows(request->kind)
                 ? eventing_validate(request, object, &verdict->report)
                 : serving_validate_request(env->config, request, object, &verdict->report);
    if (rc < 0) {
        (void)strbuf_append_slice(&verdict->refusal, strbuf_slice(&verdict->report.errors));
    }
}

/* A ConfigMap that the parts of the system could not read. */
static void check_config(const struct review_env *env, const json_t *object,
                         struct verdict *verdict)
{
    struct error err = {0};
    const char *name = jpeek_cstr(object, "metadata.name");
    const json_t *data = jpeek_obj(object, "data");
    verdict->prefix = "validation failed: ";
    if (!slice_eq_str(jpeek_str(object, "metadata.namespace"), env->system_namespace)) {
        return;
    }
    int rc = config_check(name, data, &err);
    if (rc == 0 && strcmp(name, CONFIG_OBSERVABILITY) == 0) {
        struct log_template *compiled = NULL;
        rc = log_template_new(jpeek_str(data, "`logging.request-log-template`"), &compiled, &err);
        rc = rc < 0 ? error_prefix(&err, rc, "logging.request-log-template") : 0;
        log_template_free(compiled);
    }
    if (rc < 0) {
        (void)strbuf_append_str(&verdict->refusal, err.msg);
    }
}

static void judge(const struct review_env *env, enum review_door door, const struct review *review,
                  struct verdict *verdict)
{
    bool create = slice_eq_str(jpeek_str(review->request, "operation"), "CREATE");
    struct serving_request request = {
        .kind = review->kind,
        .old = create ? NULL : review->old,
        .user = jpeek_cstr(review->request, "userInfo.username"),
    };
    switch (door) {
    case REVIEW_DEFAULTING:
        set_defaults(env, review, &request, verdict);
        break;
    case REVIEW_VALIDATION:
        validate(env, &request, review->object, verdict);
        break;
    case REVIEW_CONFIG:
        if (review->kind->id == KIND_CONFIGMAP) {
            check_config(env, review->object, verdict);
        }
        break;
    }
}

/* --- answering ----------------------------------------------------------------------------- */

static int add_patch(struct jbuild *b, const json_t *patch, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf text, coded;
    strbuf_init(&text, REVIEW_BODY_MAX);
    strbuf_init(&coded, REVIEW_ANSWER_MAX);
    if (json_array_size(patch) == 0) {
        return 0;
    }
    int rc = jdump(patch, &text, err);
    if (rc < 0) {
        return rc;
    }
    base64_append(&coded, strbuf_slice(&text));
    jbuild_str(b, "response.patchType", "JSONPatch");
    jbuild_slice(b, "response.patch", strbuf_slice(&coded));
    return 0;
}

static void add_refusal(struct jbuild *b, const struct verdict *verdict)
{
    CLEANUP(strbuf_fini) struct strbuf message;
    strbuf_init(&message, REVIEW_BODY_MAX);
    (void)strbuf_append_str(&message, verdict->prefix);
    (void)strbuf_append_slice(&message, strbuf_slice(&verdict->refusal));
    jbuild_str(b, "response.status.status", "Failure");
    jbuild_json(b, "response.status.message", jstring_lossy(strbuf_slice(&message)));
    jbuild_str(b, "response.status.reason", "BadRequest");
    jbuild_i64(b, "response.status.code", BAD_REQUEST);
}

static void add_warnings(struct jbuild *b, struct slice lines)
{
    struct slice line;
    while (slice_split(&lines, '\n', &line)) {
        if (line.len > 0) {
            jbuild_json(b, "response.warnings[+]", jstring_lossy(line));
        }
    }
}

static int write_answer(const struct review *review, const struct verdict *verdict,
                        struct strbuf *out, struct error *err)
{
    struct jbuild b;
    bool allowed = verdict->refusal.len == 0;
    jbuild_init(&b);
    jbuild_str(&b, "apiVersion", REVIEW_API_VERSION);
    jbuild_str(&b, "kind", "AdmissionReview");
    jbuild_slice(&b, "response.uid", review->uid);
    jbuild_bool(&b, "response.allowed", allowed);
    int rc = 0;
    if (allowed) {
        rc = add_patch(&b, verdict->patch, err);
    } else {
        add_refusal(&b, verdict);
    }
    add_warnings(&b, strbuf_slice(&verdict->report.warnings));
    json_t *answer = NULL;
    rc = rc < 0 ? rc : jbuild_take(&b, &answer, err);
    rc = rc < 0 ? rc : jdump(answer, out, err);
    json_decref(answer);
    jbuild_fini(&b);
    return rc;
}

int review_answer(const struct review_env *env, enum review_door door, struct slice body,
                  struct strbuf *out, bool *out_allowed, struct error *err)
{
    CLEANUP(jfree) json_t *root = NULL;
    struct review review = {0};
    bool ours = false;
    int rc = jparse_object(body, REVIEW_BODY_MAX, &root, err);
    rc = rc < 0 ? rc : read_review(root, &review, err);
    rc = rc < 0 ? rc : is_for_us(&review, &ours, err);
    if (rc < 0) {
        return rc;
    }
    struct verdict verdict = {.prefix = ""};
    strbuf_init(&verdict.refusal, REVIEW_BODY_MAX);
    serving_report_init(&verdict.report);
    if (ours) {
        judge(env, door, &review, &verdict);
    }
    rc = write_answer(&review, &verdict, out, err);
    *out_allowed = verdict.refusal.len == 0;
    serving_report_fini(&verdict.report);
    strbuf_fini(&verdict.refusal);
    json_decref(verdict.patch);
    return rc;
}
