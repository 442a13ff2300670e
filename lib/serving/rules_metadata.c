// SPDX-License-Identifier: Apache-2.0
/*
 * Rules of metadata: names, labels that owners must bear out, annotations. Failure mode: problems
 * with paths below the metadata or the annotations that were given.
 */
#include "base/mem.h"
#include "base/num.h"
#include "serving/gotext.h"
#include "serving/names.h"
#include "serving/rules.h"

#define NETWORKING_PREFIX "networking.knative.dev"
#define QUEUE_PREFIX      "queue.sidecar.serving.knative.dev/"

const json_t *rule_annotation(const json_t *annotations, const char *key, const char *old,
                              const char **out_key)
{
    const json_t *value = json_object_get(annotations, key);
    *out_key = key;
    if (value == NULL && old != NULL) {
        value = json_object_get(annotations, old);
        *out_key = value == NULL ? key : old;
    }
    return value;
}

/* --- names --------------------------------------------------------------------------------- */

static void check_name(struct rules *r, const json_t *metadata)
{
    struct slice name = rule_text(metadata, "name");
    struct slice generate = rule_text(metadata, "generateName");
    CLEANUP(strbuf_fini) struct strbuf words;
    strbuf_init(&words, WORDS_MAX);
    if (generate.len > 0 && words_dns1035_prefix(generate, " ", &words) > 0) {
        problem_add(r->p, "generateName", "not a DNS 1035 label prefix: [%s]", words.ptr);
    } else if (name.len > 0 && words_dns1035_label(name, " ", &words) > 0) {
        problem_add(r->p, "name", "not a DNS 1035 label: [%s]", words.ptr);
    } else if (name.len == 0 && generate.len == 0) {
        problem_add(r->p, "name", "name or generateName is required");
    }
}

static void refuse_scaling(struct rules *r, const json_t *annotations)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)annotations, key, value)
    {
        if (strncmp(key, AUTOSCALING_PREFIX, strlen(AUTOSCALING_PREFIX) - 1) == 0) {
            CLEANUP(cleanup_free) char *quoted = go_quoted(slice_str(key));
            problem_add(r->p, "", "invalid key name %s", quoted);
            problem_details(r->p, "autoscaling annotations must be put under "
                                  "\"spec.template.metadata.annotations\" to work");
        }
    }
}

void rules_object_metadata(struct rules *r, const json_t *metadata, bool scaling)
{
    const json_t *annotations = rule_member(metadata, "annotations");
    check_name(r, metadata);
    size_t mark = problems_mark(r->p);
    if (scaling) {
        rules_scaling(r, annotations);
    } else {
        refuse_scaling(r, annotations);
    }
    problems_via(r->p, mark, "annotations");
}

void rules_owner_label(struct rules *r, const json_t *metadata, const char *label, const char *kind)
{
    const json_t *labels = rule_member(metadata, "labels");
    size_t i;
    const json_t *owner;
    if (json_object_get(labels, label) == NULL) {
        return;
    }
    struct slice name = rule_text(labels, label);
    json_array_foreach(json_object_get(metadata, "ownerReferences"), i, owner)
    {
        if (slice_eq_str(rule_text(owner, "kind"), kind) &&
            slice_eq(rule_text(owner, "name"), name)) {
            return;
        }
    }
    size_t mark = problems_mark(r->p);
    problem_missing(r->p, label);
    problems_via(r->p, mark, "labels");
}

void rules_creator(struct rules *r, const json_t *metadata, const json_t *old_metadata,
                   bool same_spec)
{
    const json_t *fresh = rule_member(metadata, "annotations");
    const json_t *old = rule_member(old_metadata, "annotations");
    struct slice modifier = rule_text(fresh, ANNOTATION_LAST_MODIFIER);
    if (!slice_eq(rule_text(old, ANNOTATION_CREATOR), rule_text(fresh, ANNOTATION_CREATOR))) {
        problem_add(r->p, ANNOTATION_CREATOR, "annotation value is immutable");
    }
    if (same_spec && !slice_eq(rule_text(old, ANNOTATION_LAST_MODIFIER), modifier)) {
        problem_invalid(r->p, ANNOTATION_LAST_MODIFIER, modifier);
    }
}

/* --- annotations --------------------------------------------------------------------------- */

void rules_duration_annotation(struct rules *r, const json_t *annotations, const char *key,
                               const char *old, const char *what)
{
    const char *found;
    (void)rule_annotation(annotations, key, old, &found);
    struct slice value = rule_text(annotations, found);
    int64_t ns;
    if (value.len == 0) {
        return;
    }
    if (num_parse_duration_ns(value, &ns, NULL) < 0) {
        problem_invalid(r->p, found, value);
    } else if (ns % 1000000000 != 0) {
        problem_add(r->p, found, "%s=%.*s is not at second precision", what, SLICE_FMT(value));
    } else if (ns < 0) {
        problem_add(r->p, found, "%s=%.*s must be positive", what, SLICE_FMT(value));
    }
}

void rules_async_annotation(struct rules *r, const json_t *annotations, const json_t *old)
{
    const json_t *value = json_object_get(annotations, ANNOTATION_ASYNC);
    struct slice text = rule_text(annotations, ANNOTATION_ASYNC);
    if (value != NULL && !slice_eq_str(text, "off") && !slice_eq_str(text, "on") &&
        !json_equal(value, json_object_get(old, ANNOTATION_ASYNC))) {
        problem_invalid(r->p, ANNOTATION_ASYNC, text);
        problem_details(r->p, "\"off\": requests with \"Prefer: respond-async\" are the "
                              "function's own; \"on\", as without the annotation: they are "
                              "answered 202 and made later");
    }
}

void rules_networking_annotations(struct rules *r, const json_t *annotations)
{
    static const char *const allowed[] = {
        "ingress.class",     "ingress-class",  "certificate.class",
        "certificate-class", "disableAutoTLS", "disable-auto-tls",
        "httpOption",        "http-protocol",  "disable-external-domain-tls",
    };
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)annotations, key, value)
    {
        const char *rest = key + strlen(NETWORKING_PREFIX);
        bool known = false;
        if (strncmp(key, NETWORKING_PREFIX, strlen(NETWORKING_PREFIX)) != 0) {
            continue;
        }
        for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
            known = known || (rest[0] == '/' && strcmp(rest + 1, allowed[i]) == 0);
        }
        if (!known) {
            CLEANUP(cleanup_free) char *quoted = go_quoted(slice_str(key));
            problem_add(r->p, "", "invalid key name %s", quoted);
        }
    }
}

static void queue_percentage(struct rules *r, const json_t *annotations)
{
    const char *key;
    const json_t *found = rule_annotation(annotations, QUEUE_PREFIX "resource-percentage",
                                          QUEUE_PREFIX "resourcePercentage", &key);
    if (found == NULL) {
        return;
    }
    struct slice text = rule_text(annotations, key);
    size_t mark = problems_mark(r->p);
    double value;
    /* The reference's warning about it names no path. */
    problem_add(r->p, NULL,
                "Queue proxy resource percentage annotation is deprecated. Please use the "
                "available annotations to explicitly set resource values per service");
    problem_warns(r->p);
    if (!go_parse_float(text, &value) || value != value) {
        problem_invalid(r->p, "", text);
    } else if (value < 0.1 || value > 100) {
        char number[GO_FLOAT_TEXT];
        problem_add(r->p, "", "expected 0.1 <= %s <= 100", go_float(value, number));
    }
    problems_via_key(r->p, mark, key);
}

void rules_queue_annotations(struct rules *r, const json_t *annotations)
{
    static const char *const keys[] = {
        QUEUE_PREFIX "cpu-resource-request",
        QUEUE_PREFIX "cpu-resource-limit",
        QUEUE_PREFIX "memory-resource-request",
        QUEUE_PREFIX "memory-resource-limit",
        QUEUE_PREFIX "ephemeral-storage-resource-request",
        QUEUE_PREFIX "ephemeral-storage-resource-limit",
    };
    queue_percentage(r, annotations);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct quantity q;
        struct slice text = rule_text(annotations, keys[i]);
        if (json_object_get(annotations, keys[i]) != NULL && !quantity_parse(text, &q)) {
            size_t mark = problems_mark(r->p);
            problem_invalid(r->p, "", text);
            problems_via_key(r->p, mark, keys[i]);
        }
    }
}
