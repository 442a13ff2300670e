// SPDX-License-Identifier: Apache-2.0
/* Rules of a revision's own settings and of the template around them. */
#include "base/mem.h"
#include "json/jget.h"
#include "serving/gotext.h"
#include "serving/names.h"
#include "serving/rules.h"

void rules_concurrency(struct rules *r, int64_t concurrency)
{
    int64_t min = r->config->allow_concurrency_zero ? 0 : 1;
    if (concurrency < min || concurrency > r->config->max_concurrency) {
        problem_bounds(r->p, "containerConcurrency", concurrency, min, r->config->max_concurrency);
    }
}

void rules_revision_spec(struct rules *r, const json_t *spec)
{
    int64_t timeout_s = rule_int(spec, "timeoutSeconds");
    rules_pod_spec(r, spec);
    if (timeout_s < 0 || timeout_s > r->config->max_timeout_s) {
        problem_bounds(r->p, "timeoutSeconds", timeout_s, 0, r->config->max_timeout_s);
    }
    if (rule_member(spec, "containerConcurrency") != NULL) {
        rules_concurrency(r, rule_int(spec, "containerConcurrency"));
    }
}

/* A name for the revision that the user chose. */
static void check_chosen_name(struct rules *r, struct slice name)
{
    struct slice parent = rule_text(r->metadata, "name");
    CLEANUP(strbuf_fini) struct strbuf words;
    CLEANUP(cleanup_free)
    char *prefix = xasprintf("%.*s-", (int)(parent.len > 300 ? 300 : parent.len), parent.ptr);
    strbuf_init(&words, WORDS_MAX);
    if (words_dns1035_label(name, " ", &words) > 0) {
        problem_add(r->p, "name", "invalid value: not a DNS 1035 label: [%s]", words.ptr);
    } else if (parent.len == 0 && rule_text(r->metadata, "generateName").len > 0) {
        problem_disallowed(r->p, "name");
    } else if (!slice_starts_with(name, slice_str(prefix))) {
        CLEANUP(cleanup_free) char *quoted = go_quoted(name);
        CLEANUP(cleanup_free) char *quoted_prefix = go_quoted(slice_str(prefix));
        problem_add(r->p, "name", "invalid value: %s must have prefix %s", quoted, quoted_prefix);
    }
}

static void check_template_name(struct rules *r, const json_t *metadata)
{
    struct slice name = rule_text(metadata, "name");
    struct slice generate = rule_text(metadata, "generateName");
    CLEANUP(strbuf_fini) struct strbuf words;
    strbuf_init(&words, WORDS_MAX);
    if (generate.len > 0 && words_dns1035_prefix(generate, " ", &words) > 0) {
        problem_add(r->p, "generateName", "invalid value: not a DNS 1035 label prefix: [%s]",
                    words.ptr);
    } else if (name.len > 0) {
        check_chosen_name(r, name);
    }
}

void rules_template(struct rules *r, const json_t *revision_template)
{
    const json_t *metadata = rule_member(revision_template, "metadata");
    const json_t *annotations = rule_member(metadata, "annotations");
    size_t mark = problems_mark(r->p);
    rules_revision_spec(r, rule_member(revision_template, "spec"));
    problems_via(r->p, mark, "spec");
    mark = problems_mark(r->p);
    rules_scaling(r, annotations);
    rules_networking_annotations(r, annotations);
    rules_queue_annotations(r, annotations);
    rules_duration_annotation(r, annotations, ANNOTATION_PROGRESS_DEADLINE, NULL,
                              "progress-deadline");
    problems_via(r->p, mark, "annotations");
    check_template_name(r, metadata);
    problems_via(r->p, mark, "metadata");
}

void rules_name_change(struct rules *r, const json_t *revision_template, const json_t *old)
{
    struct slice name = rule_text(rule_member(revision_template, "metadata"), "name");
    struct slice before = rule_text(rule_member(old, "metadata"), "name");
    CLEANUP(strbuf_fini) struct strbuf diff;
    strbuf_init(&diff, PROBLEM_TEXT_MAX);
    if (name.len == 0 || !slice_eq(name, before)) {
        return;
    }
    if (!type_equal(old, revision_template, TYPE_RevisionTemplateSpec)) {
        type_diff(old, revision_template, TYPE_RevisionTemplateSpec, "{*v1.RevisionTemplateSpec}",
                  &diff);
        problem_add(r->p, "metadata.name",
                    "Saw the following changes without a name change (-old +new)");
        problem_details(r->p, "%s", diff.ptr);
    }
}
