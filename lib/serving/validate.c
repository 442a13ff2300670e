// SPDX-License-Identifier: Apache-2.0
/*
 * Which rules hold for which kind. Happy path: 0. Failure mode: ERR_INVALID with every problem in
 * the report, in Knative's words; a value of a wrong type is the only problem then. No rule reads
 * anything but the objects at hand.
 */
#include "base/mem.h"
#include "serving/defaults.h"
#include "serving/names.h"
#include "serving/object_types.h"
#include "serving/rules.h"

#define ANNOTATION_ROLLOUT_DURATION_OLD "serving.knative.dev/rolloutDuration"

void serving_report_init(struct serving_report *report)
{
    strbuf_init(&report->errors, PROBLEMS_PRINTED_MAX);
    strbuf_init(&report->warnings, PROBLEMS_PRINTED_MAX);
}

void serving_report_fini(struct serving_report *report)
{
    strbuf_fini(&report->errors);
    strbuf_fini(&report->warnings);
}

/* --- metadata ------------------------------------------------------------------------------ */

static void check_metadata(struct rules *r, enum object_type type, const json_t *old)
{
    const json_t *annotations = rule_member(r->metadata, "annotations");
    size_t mark = problems_mark(r->p);
    if (type == OBJECT_DOMAIN_MAPPING) {
        if (rule_text(r->metadata, "generateName").len > 0) {
            problem_disallowed(r->p, "generateName");
        }
        rules_domain_name(r, rule_text(r->metadata, "name"));
    } else {
        rules_object_metadata(r, r->metadata,
                              type == OBJECT_REVISION || type == OBJECT_POD_AUTOSCALER);
    }
    if (type == OBJECT_CONFIGURATION || type == OBJECT_ROUTE) {
        rules_owner_label(r, r->metadata, LABEL_SERVICE, "Service");
    } else if (type == OBJECT_REVISION) {
        rules_owner_label(r, r->metadata, LABEL_CONFIGURATION, "Configuration");
    }
    if (type == OBJECT_SERVICE || type == OBJECT_ROUTE) {
        size_t from = problems_mark(r->p);
        rules_duration_annotation(r, annotations, ANNOTATION_ROLLOUT_DURATION,
                                  ANNOTATION_ROLLOUT_DURATION_OLD, "rollout-duration");
        rules_async_annotation(r, annotations,
                               rule_member(rule_member(old, "metadata"), "annotations"));
        problems_via(r->p, from, "annotations");
    }
    problems_via(r->p, mark, "metadata");
}

/* --- spec ---------------------------------------------------------------------------------- */

static void check_template(struct rules *r, const json_t *spec)
{
    size_t mark = problems_mark(r->p);
    rules_template(r, rule_member(spec, "template"));
    problems_via(r->p, mark, "template");
}

static void check_traffic(struct rules *r, const json_t *spec, bool in_service)
{
    size_t mark = problems_mark(r->p);
    rules_traffic(r, rule_member(spec, "traffic"), in_service);
    problems_via(r->p, mark, "traffic");
}

static void check_spec(struct rules *r, enum object_type type, const json_t *spec)
{
    size_t mark = problems_mark(r->p);
    switch (type) {
    case OBJECT_SERVICE:
        check_template(r, spec);
        check_traffic(r, spec, true);
        break;
    case OBJECT_CONFIGURATION:
        check_template(r, spec);
        break;
    case OBJECT_REVISION:
        rules_revision_spec(r, spec);
        break;
    case OBJECT_ROUTE:
        check_traffic(r, spec, false);
        break;
    case OBJECT_POD_AUTOSCALER:
        rules_pod_autoscaler(r, spec);
        break;
    case OBJECT_DOMAIN_MAPPING:
        rules_domain_mapping(r, spec);
        break;
    case OBJECT_OTHER:
        break;
    }
    problems_via(r->p, mark, "spec");
}

/* --- updates ------------------------------------------------------------------------------- */

/* A revision never changes. True: it did, and nothing else counts. */
static bool check_unchanged(struct rules *r, const json_t *spec, const json_t *old)
{
    CLEANUP(strbuf_fini) struct strbuf diff;
    strbuf_init(&diff, PROBLEM_TEXT_MAX);
    if (type_equal(old, spec, TYPE_RevisionSpec)) {
        return false;
    }
    type_diff(old, spec, TYPE_RevisionSpec, "{v1.RevisionSpec}", &diff);
    problems_drop(r->p, 0);
    problem_add(r->p, "spec", "Immutable fields changed (-old +new)");
    problem_details(r->p, "%s", diff.ptr);
    return true;
}

static void check_update(struct rules *r, enum object_type type, const json_t *spec,
                         const json_t *old)
{
    const json_t *old_spec = rule_member(old, "spec");
    bool owned = json_array_size(json_object_get(r->metadata, "ownerReferences")) > 0;
    bool noted = type == OBJECT_SERVICE || type == OBJECT_DOMAIN_MAPPING ||
                 ((type == OBJECT_CONFIGURATION || type == OBJECT_ROUTE) && !owned);
    size_t mark = problems_mark(r->p);
    if (noted) {
        rules_creator(r, r->metadata, rule_member(old, "metadata"),
                      type_equal(old_spec, spec, object_spec_type(type)));
        problems_via(r->p, mark, "metadata.annotations");
    }
    if (type == OBJECT_SERVICE || type == OBJECT_CONFIGURATION) {
        mark = problems_mark(r->p);
        rules_name_change(r, rule_member(spec, "template"), rule_member(old_spec, "template"));
        problems_via(r->p, mark, "spec.template");
    }
}

/* --- entry points -------------------------------------------------------------------------- */

static void check_object(struct rules *r, enum object_type type,
                         const struct serving_request *request, const json_t *object)
{
    const json_t *spec = rule_member(object, "spec");
    const json_t *old = request->old;
    bool only_status =
        request->status_update && (type == OBJECT_SERVICE || type == OBJECT_CONFIGURATION);
    if (old != NULL && object_check_types(type, old, NULL) < 0) {
        old = NULL; /* what is stored is beyond reading: nothing to compare with */
    }
    if (!only_status) {
        check_metadata(r, type, old);
    }
    if (type == OBJECT_REVISION && request->old != NULL) {
        if (old != NULL) {
            (void)check_unchanged(r, spec, rule_member(old, "spec"));
        }
        return;
    }
    if (!only_status) {
        check_spec(r, type, spec);
    }
    if (old != NULL) {
        check_update(r, type, spec, old);
    }
}

/* A claim says one thing: for which namespace. */
static int check_claim(const json_t *object, struct serving_report *report)
{
    if (rule_text(rule_member(object, "spec"), "namespace").len > 0) {
        return 0;
    }
    strbuf_append_str(&report->errors, "missing field(s): spec.namespace");
    return ERR_INVALID;
}

int serving_validate_request(const struct serving_config *config,
                             const struct serving_request *request, const json_t *object,
                             struct serving_report *report)
{
    enum object_type type = object_type(request->kind);
    struct error err;
    if (request->kind->id == KIND_CLUSTERDOMAINCLAIM) {
        return check_claim(object, report);
    }
    if (type == OBJECT_OTHER) {
        return 0;
    }
    if (object_check_types(type, object, &err) < 0) {
        strbuf_append_str(&report->errors, err.msg);
        return ERR_INVALID;
    }
    struct problems p;
    struct rules r = {.config = config, .p = &p, .metadata = rule_member(object, "metadata")};
    problems_init(&p);
    check_object(&r, type, request, object);
    size_t errors = problems_print(&p, PROBLEM_ERROR, &report->errors);
    (void)problems_print(&p, PROBLEM_WARNING, &report->warnings);
    problems_fini(&p);
    return errors == 0 ? 0 : ERR_INVALID;
}

int serving_admit(const struct serving_config *config, const struct serving_request *request,
                  json_t *object, struct serving_report *report)
{
    struct error err;
    int rc = serving_default_request(config, request, object, &err);
    if (rc < 0) {
        strbuf_append_str(&report->errors, err.msg);
        return rc;
    }
    return serving_validate_request(config, request, object, report);
}

/* The report as one error, cut where it must be. */
static int as_error(struct error *err, int rc, const struct strbuf *text)
{
    return rc < 0 ? error_set(err, (enum err_code)rc, "%s", text->ptr) : 0;
}

int serving_validate(const struct serving_config *config, const struct kind *kind,
                     const json_t *object, const json_t *old, struct error *err)
{
    struct serving_request request = {.kind = kind, .old = old};
    struct serving_report report;
    serving_report_init(&report);
    int rc =
        as_error(err, serving_validate_request(config, &request, object, &report), &report.errors);
    serving_report_fini(&report);
    return rc;
}
