// SPDX-License-Identifier: Apache-2.0
/* Rules of PodAutoscaler and DomainMapping. */
#include "base/mem.h"
#include "serving/domain_mapping.h"
#include "serving/gotext.h"
#include "serving/rules.h"

typedef size_t (*words_cb)(struct slice text, const char *sep, struct strbuf *out);

static void check_word(struct rules *r, const json_t *object, const char *field, words_cb words)
{
    struct slice text = rule_text(object, field);
    CLEANUP(strbuf_fini) struct strbuf why;
    strbuf_init(&why, WORDS_MAX);
    if (text.len == 0) {
        problem_missing(r->p, field);
    } else if (words(text, ", ", &why) > 0) {
        problem_invalid(r->p, field, strbuf_slice(&why));
    }
}

void rules_pod_autoscaler(struct rules *r, const json_t *spec)
{
    static const char *const allowed[] = {"apiVersion", "kind", "name", NULL};
    const json_t *target = rule_member(spec, "scaleTargetRef");
    struct slice protocol = rule_text(spec, "protocolType");
    if (type_is_zero(spec, TYPE_PodAutoscalerSpec)) {
        problem_missing(r->p, "");
        return;
    }
    size_t mark = problems_mark(r->p);
    rule_only(r, target, TYPE_ObjectReference, allowed);
    check_word(r, target, "apiVersion", words_qualified_name);
    check_word(r, target, "kind", words_c_identifier);
    check_word(r, target, "name", words_dns1123_label);
    problems_via(r->p, mark, "scaleTargetRef");
    rules_concurrency(r, rule_int(spec, "containerConcurrency"));
    if (protocol.len == 0) {
        problem_missing(r->p, "protocolType");
    } else if (!slice_eq_str(protocol, "http1") && !slice_eq_str(protocol, "h2c")) {
        problem_invalid(r->p, "protocolType", protocol);
    }
}

void rules_domain_mapping(struct rules *r, const json_t *spec)
{
    const json_t *ref = rule_member(spec, "ref");
    struct slice ns = rule_text(ref, "namespace");
    struct slice parent = rule_text(r->metadata, "namespace");
    size_t mark = problems_mark(r->p);
    static const char *const needed[] = {"name", "apiVersion", "kind"};
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        if (rule_text(ref, needed[i]).len == 0) {
            problem_missing(r->p, needed[i]);
        }
    }
    if (rule_text(ref, "group").len > 0) {
        problem_disallowed(r->p, "group");
    }
    if (ns.len > 0 && parent.len > 0 && !slice_eq(ns, parent)) {
        CLEANUP(cleanup_free) char *quoted = go_quoted(parent);
        CLEANUP(cleanup_free) char *quoted_ref = go_quoted(ns);
        problem_add(r->p, "namespace", "mismatched namespaces");
        problem_details(r->p, "parent namespace: %s does not match ref: %s", quoted, quoted_ref);
    }
    problems_via(r->p, mark, "ref");
}

/* A fully qualified domain name: the first thing that is wrong with it, in out. */
static bool domain_wrong(struct slice name, struct strbuf *out)
{
    CLEANUP(strbuf_fini) struct strbuf words;
    strbuf_init(&words, WORDS_MAX);
    struct slice shown = name;
    if (name.len == 0) {
        strbuf_append_str(out, "name: Required value");
        return true;
    }
    if (name.ptr[name.len - 1] == '.') {
        name = slice_sub(name, 0, name.len - 1);
        shown = name;
    }
    if (words_dns1123_subdomain(name, ",", &words) == 0) {
        struct slice rest = name;
        struct slice label;
        if (slice_find(name, '.') < 0) {
            strbuf_append_str(&words,
                              "should be a domain with at least two segments separated by dots");
        }
        while (words.len == 0 && slice_split(&rest, '.', &label)) {
            shown = label;
            (void)words_dns1123_label(label, ",", &words);
        }
    }
    if (words.len == 0) {
        return false;
    }
    strbuf_append_str(out, "name: Invalid value: ");
    go_quote(shown, out);
    strbuf_appendf(out, ": %s", words.ptr);
    return true;
}

void rules_domain_name(struct rules *r, struct slice name)
{
    CLEANUP(strbuf_fini) struct strbuf why;
    CLEANUP(cleanup_free) char *quoted = go_quoted(name);
    strbuf_init(&why, PROBLEM_TEXT_MAX);
    if (domain_wrong(name, &why)) {
        problem_add(r->p, "name", "invalid name %s: %s", quoted, why.ptr);
    }
    if (slice_ends_with(name, SLICE_LIT(".cluster.local"))) {
        problem_add(r->p, "name",
                    "invalid name %s: must not be a subdomain of cluster local domain "
                    "\"cluster.local\"",
                    quoted);
    }
}

int domain_name_validate(const char *name, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    struct problems p;
    struct rules r = {.p = &p};
    int rc = 0;
    strbuf_init(&text, PROBLEMS_PRINTED_MAX);
    problems_init(&p);
    rules_domain_name(&r, slice_str(name));
    problems_via(&p, 0, "metadata");
    if (problems_print(&p, PROBLEM_ERROR, &text) > 0) {
        rc = error_set(err, ERR_INVALID, "%s", text.ptr);
    }
    problems_fini(&p);
    return rc;
}
