// SPDX-License-Identifier: Apache-2.0
/*
 * What the kinds for events get by default, and what is asked of them; of sources in
 * admit_source.c. Happy path: 0. Failure mode: ERR_INVALID with every problem in the report, in
 * Knative's words.
 */
#include "eventing/admit.h"

#include "base/mem.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/gotext.h"
#include "eventing/names.h"
#include "eventing/rules.h"

#define METADATA_ANNOTATIONS "metadata.annotations"

enum { DEPENDENCY_TEXT_MAX = 64 << 10 };

bool broker_is_ours(const json_t *broker)
{
    struct slice class = jpeek_str(broker, METADATA_ANNOTATIONS ".`" ANNOTATION_BROKER_CLASS "`");
    return class.len == 0 || slice_eq_str(class, BROKER_CLASS);
}

/* --- defaults ------------------------------------------------------------------------------ */

/* The object at key, made when nothing is there; NULL: something else is. */
static json_t *open_object(json_t *parent, const char *key)
{
    const json_t *value = json_object_get(parent, key);
    bool fits =
        json_is_object(parent) && (value == NULL || json_is_null(value) || json_is_object(value));
    return fits ? jobject_at(parent, key) : NULL;
}

static void default_namespace(json_t *ref, struct slice ns)
{
    if (ref != NULL && ns.len > 0 && jget(ref, "namespace") == NULL) {
        jset_text(ref, "namespace", ns.ptr);
    }
}

static void default_broker(json_t *object, struct slice ns)
{
    json_t *spec = open_object(object, "spec");
    if (broker_is_ours(object)) {
        json_t *annotations = open_object(open_object(object, "metadata"), "annotations");
        if (annotations != NULL) {
            jset_text(annotations, ANNOTATION_BROKER_CLASS, BROKER_CLASS);
        }
        if (spec != NULL && jget(spec, "delivery") == NULL) {
            json_object_set_new(spec, "delivery",
                                json_pack("{s:i,s:s,s:s}", "retry", DEFAULT_RETRY, "backoffPolicy",
                                          BACKOFF_EXPONENTIAL, "backoffDelay",
                                          DEFAULT_BACKOFF_DELAY));
        }
    }
    default_namespace(jpeek_obj(spec, "config"), ns);
    default_namespace(jpeek_obj(spec, "delivery.deadLetterSink.ref"), ns);
}

static void default_trigger(json_t *object, struct slice ns)
{
    json_t *spec = open_object(object, "spec");
    if (spec == NULL) {
        return;
    }
    if (jget(spec, "filter") == NULL) {
        json_object_set_new(spec, "filter", json_object());
    }
    default_namespace(jpeek_obj(spec, "subscriber.ref"), ns);
    default_namespace(jpeek_obj(spec, "delivery.deadLetterSink.ref"), ns);
    const char *broker = jpeek_cstr(spec, "broker");
    if (broker[0] != '\0') {
        json_t *labels = open_object(open_object(object, "metadata"), "labels");
        if (labels != NULL) {
            jset_text(labels, LABEL_BROKER, broker);
        }
    }
}

static void default_ping(json_t *object, struct slice ns)
{
    json_t *spec = open_object(object, "spec");
    if (spec != NULL) {
        source_default_ping(spec, ns);
    }
}

static void default_binding(json_t *object, struct slice ns)
{
    json_t *spec = open_object(object, "spec");
    if (spec != NULL) {
        source_default_binding(spec, ns);
    }
}

/* --- what may not change ------------------------------------------------------------------- */

/* Details as Knative shows a changed text; what names it. */
static void add_change(struct problems *p, const char *what, const char *before, const char *now)
{
    problem_details(p, "%s:\n\t-: \"%s\"\n\t+: \"%s\"\n", what, before, now);
}

static void check_broker_change(struct problems *p, const json_t *object, const json_t *old)
{
    static const struct {
        const char *member;
        const char *shown;
    } fields[] = {
        {"kind", "Kind"},   {"namespace", "Namespace"},
        {"name", "Name"},   {"apiVersion", "APIVersion"},
        {"group", "Group"}, {"address", "Address"},
    };
    CLEANUP(strbuf_fini) struct strbuf diff;
    const json_t *now = jpeek_obj(object, "spec.config");
    const json_t *before = jpeek_obj(old, "spec.config");
    strbuf_init(&diff, PROBLEM_TEXT_MAX);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        const char *a = jpeek_cstr(before, fields[i].member);
        const char *b = jpeek_cstr(now, fields[i].member);
        if (strcmp(a, b) != 0) {
            (void)strbuf_appendf(&diff, "{v1.BrokerSpec}.Config.%s:\n\t-: \"%s\"\n\t+: \"%s\"\n",
                                 fields[i].shown, a, b);
        }
    }
    if (diff.len > 0) {
        problem_add(p, "spec", "Immutable fields changed (-old +new)");
        problem_details(p, "%s", diff.ptr);
        return;
    }
    const char *class = jpeek_cstr(object, METADATA_ANNOTATIONS ".`" ANNOTATION_BROKER_CLASS "`");
    const char *old_class = jpeek_cstr(old, METADATA_ANNOTATIONS ".`" ANNOTATION_BROKER_CLASS "`");
    if (strcmp(class, old_class) != 0) {
        problem_add(p, "annotations", "Immutable annotations changed (-old +new)");
        add_change(p, "{string}", old_class, class);
    }
}

static void check_trigger_change(struct problems *p, const json_t *object, const json_t *old)
{
    const char *before = jpeek_cstr(old, "spec.broker"), *now = jpeek_cstr(object, "spec.broker");
    if (strcmp(before, now) != 0) {
        problem_add(p, "spec", "Immutable fields changed (-old +new)");
        problem_path(p, "broker");
        add_change(p, "{string}", before, now);
    }
}

/* --- rules --------------------------------------------------------------------------------- */

static void check_broker(struct problems *p, const json_t *object)
{
    const json_t *config = jpeek_obj(object, "spec.config");
    if (jpeek_str(object, METADATA_ANNOTATIONS ".`" ANNOTATION_BROKER_CLASS "`").len == 0) {
        problem_missing(p, ANNOTATION_BROKER_CLASS);
    }
    if (config != NULL) {
        size_t mark = problems_mark(p);
        rules_reference(p, config);
        problems_via(p, mark, "spec.config");
    }
    size_t mark = problems_mark(p);
    rules_delivery(p, jpeek_obj(object, "spec.delivery"));
    problems_via(p, mark, "spec.delivery");
}

static void check_trigger_spec(struct problems *p, const json_t *spec)
{
    bool by_ref = jget(spec, "brokerRef") != NULL;
    bool by_name = jpeek_str(spec, "broker").len > 0;
    if (!by_ref && !by_name) {
        problem_missing(p, "broker");
    } else if (by_ref && by_name) {
        problem_add(p, "broker", "expected exactly one, got both");
        problem_path(p, "brokerRef");
    } else if (by_ref) {
        problem_disallowed(p, "brokerRef");
        problem_details(p,
                        "a Trigger takes the events of a Broker in its own namespace: name it in "
                        "broker");
    }
    size_t mark = problems_mark(p);
    rules_attributes(p, jpeek_obj(spec, "filter.attributes"));
    problems_via(p, mark, "filter.attributes");
    if (problems_mark(p) == mark) {
        rules_filters(p, spec);
    }
    mark = problems_mark(p);
    rules_destination(p, jget(spec, "subscriber"));
    problems_via(p, mark, "subscriber");
    mark = problems_mark(p);
    rules_delivery(p, jpeek_obj(spec, "delivery"));
    problems_via(p, mark, "delivery");
}

static void check_dependency(struct problems *p, const char *text, const char *ns)
{
    static const char *const needed[] = {"kind", "name", "apiVersion"};
    CLEANUP(jfree) json_t *ref = NULL;
    struct error err;
    CLEANUP(cleanup_free) char *quoted = go_quoted(slice_str(text));
    if (jparse_object(slice_str(text), DEPENDENCY_TEXT_MAX, &ref, &err) < 0) {
        problem_add(p, "", "The provided annotation was not a corev1.ObjectReference: %s", quoted);
        problem_details(p, "%s", err.msg);
        return;
    }
    struct slice ref_ns = jpeek_str(ref, "namespace");
    if (ref_ns.len > 0 && !slice_eq_str(ref_ns, ns)) {
        CLEANUP(cleanup_free) char *quoted_ns = go_quoted(slice_str(ns));
        problem_add(p, "namespace", "Namespace must be empty or equal to the trigger namespace %s",
                    quoted_ns);
    }
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        if (jpeek_str(ref, needed[i]).len == 0) {
            problem_missing(p, needed[i]);
        }
    }
}

static void check_injection(struct problems *p, const char *text, const char *broker)
{
    if (strcmp(text, "enabled") != 0 && strcmp(text, "disabled") != 0) {
        CLEANUP(cleanup_free) char *quoted = go_quoted(slice_str(text));
        problem_add(p, "",
                    "The provided injection annotation value can only be \"enabled\" or "
                    "\"disabled\", not %s",
                    quoted);
    } else if (strcmp(broker, "default") != 0) {
        CLEANUP(cleanup_free) char *quoted = go_quoted(slice_str(broker));
        problem_add(p, "",
                    "The provided injection annotation is only used for default broker, but "
                    "non-default broker specified here: %s",
                    quoted);
    }
}

static void check_trigger(struct problems *p, const json_t *object)
{
    const json_t *annotations = jpeek_obj(object, METADATA_ANNOTATIONS);
    const char *dependency = json_string_value(json_object_get(annotations, ANNOTATION_DEPENDENCY));
    const char *injection = json_string_value(json_object_get(annotations, ANNOTATION_INJECTION));
    size_t mark = problems_mark(p);
    check_trigger_spec(p, jpeek_obj(object, "spec"));
    problems_via(p, mark, "spec");
    mark = problems_mark(p);
    if (dependency != NULL) {
        check_dependency(p, dependency, jpeek_cstr(object, "metadata.namespace"));
        problems_via(p, mark, METADATA_ANNOTATIONS "[" ANNOTATION_DEPENDENCY "]");
    }
    mark = problems_mark(p);
    if (injection != NULL) {
        check_injection(p, injection, jpeek_cstr(object, "spec.broker"));
        problems_via(p, mark, METADATA_ANNOTATIONS "[" ANNOTATION_INJECTION "]");
    }
}

static void default_ours(json_t *object, struct slice ns)
{
    json_t *spec = open_object(object, "spec");
    if (spec != NULL) {
        source_default_ours(spec, ns);
    }
}

/* --- by kind ------------------------------------------------------------------------------- */

static const struct {
    enum kind_id kind;
    void (*fill)(json_t *object, struct slice ns);
    void (*check)(struct problems *p, const json_t *object);
    void (*check_change)(struct problems *p, const json_t *object, const json_t *old);
} rows[] = {
    {KIND_BROKER, default_broker, check_broker, check_broker_change},
    {KIND_TRIGGER, default_trigger, check_trigger, check_trigger_change},
    {KIND_PINGSOURCE, default_ping, source_check_ping, NULL},
    {KIND_SINKBINDING, default_binding, source_check_binding, NULL},
    {KIND_WEBHOOKSOURCE, default_ours, source_check_webhook, NULL},
    {KIND_REDISSOURCE, default_ours, source_check_redis, NULL},
    {KIND_FILESOURCE, default_ours, source_check_file, NULL},
};

static size_t row_of(const struct kind *kind)
{
    size_t i = 0;
    while (i < ARRAY_LEN(rows) && rows[i].kind != kind->id) {
        i++;
    }
    return i;
}

bool eventing_knows(const struct kind *kind)
{
    return row_of(kind) < ARRAY_LEN(rows);
}

void eventing_default(const struct kind *kind, json_t *object)
{
    CLEANUP(cleanup_free) char *ns = slice_dup(jpeek_str(object, "metadata.namespace"));
    if (eventing_knows(kind)) {
        rows[row_of(kind)].fill(object, slice_str(ns));
    }
}

int eventing_validate(const struct serving_request *request, const json_t *object,
                      struct serving_report *report)
{
    struct problems p;
    size_t row = row_of(request->kind);
    if (row == ARRAY_LEN(rows)) {
        return 0;
    }
    problems_init(&p);
    rows[row].check(&p, object);
    if (request->old != NULL && rows[row].check_change != NULL) {
        rows[row].check_change(&p, object, request->old);
    }
    size_t errors = problems_print(&p, PROBLEM_ERROR, &report->errors);
    (void)problems_print(&p, PROBLEM_WARNING, &report->warnings);
    problems_fini(&p);
    return errors == 0 ? 0 : ERR_INVALID;
}

int eventing_admit(const struct serving_request *request, json_t *object,
                   struct serving_report *report)
{
    eventing_default(request->kind, object);
    return eventing_validate(request, object, report);
}
