// SPDX-License-Identifier: Apache-2.0
/*
 * What sources of events get by default, and what is asked of them: PingSource, SinkBinding.
 * Failure mode: problems in Knative's words, where it has some of its own.
 */
#include <ctype.h>

#include "base/base64.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/gotext.h"
#include "serving/names.h"
#include "eventing/cron.h"
#include "eventing/names.h"
#include "eventing/rules.h"

enum { DATA_MAX = 4 << 20 };

/* --- defaults ------------------------------------------------------------------------------ */

void source_default_ping(json_t *spec, struct slice ns)
{
    (void)ns;
    if (jpeek_str(spec, "schedule").len == 0 && !json_is_string(jget(spec, "schedule"))) {
        if (jget(spec, "schedule") != NULL) {
            return; /* of a wrong type */
        }
    }
    if (jpeek_str(spec, "schedule").len == 0) {
        jset_text(spec, "schedule", DEFAULT_SCHEDULE);
    }
}

void source_default_binding(json_t *spec, struct slice ns)
{
    json_t *subject = jpeek_obj(spec, "subject");
    json_t *ref = jpeek_obj(spec, "sink.ref");
    if (subject != NULL && jget(subject, "namespace") == NULL && ns.len > 0) {
        jset_text(subject, "namespace", ns.ptr);
    }
    if (ref != NULL && jget(ref, "namespace") == NULL && ns.len > 0) {
        jset_text(ref, "namespace", ns.ptr);
    }
}

/* --- what all sources have ----------------------------------------------------------------- */

static const char *key_trouble(const char *key)
{
    if (key[0] == '\0') {
        return "keys MUST NOT be empty";
    }
    for (; *key != '\0'; key++) {
        if (!isalnum((unsigned char)*key)) {
            return "keys are expected to be alphanumeric";
        }
    }
    return NULL;
}

void rules_source(struct problems *p, const json_t *spec)
{
    const char *key;
    json_t *value;
    size_t mark = problems_mark(p);
    rules_destination(p, jget(spec, "sink"));
    problems_via(p, mark, "sink");
    mark = problems_mark(p);
    json_object_foreach(jpeek_obj(spec, "ceOverrides.extensions"), key, value)
    {
        const char *trouble = key_trouble(key);
        if (trouble != NULL) {
            CLEANUP(cleanup_free) char *quoted = go_quoted(slice_str(key));
            problem_add(p, "", "invalid key name %s", quoted);
            problem_details(p, "%s", trouble);
            break;
        }
    }
    problems_via(p, mark, "ceOverrides.extensions");
}

/* --- PingSource ---------------------------------------------------------------------------- */

static void check_schedule(struct problems *p, const json_t *spec)
{
    struct slice text = jpeek_str(spec, "schedule");
    struct slice zone = jpeek_str(spec, "timezone");
    struct cron cron;
    struct zone loaded = {0};
    struct error err = {0};
    bool named = zone.len > 0;
    CLEANUP(cleanup_free) char *name = slice_dup(named ? zone : cron_take_zone(&text));
    if (strstr(jpeek_cstr(spec, "schedule"), "@every") != NULL) {
        problem_invalid(p, "schedule", SLICE_LIT("unsupported descriptor @every"));
        return;
    }
    if (zone_files_there() && zone_load(name, &loaded, &err) < 0) {
        problem_add(p, "timezone", "invalid value: provided bad location %.100s: %s", name,
                    err.msg);
    } else if (cron_parse(text, &cron, &err) < 0) {
        problem_add(p, "schedule", "invalid value: %s", err.msg);
    }
    zone_fini(&loaded);
}

static void check_json(struct problems *p, const char *field, struct slice text, bool is_json)
{
    CLEANUP(jfree) json_t *value = NULL;
    struct error err = {0};
    if (is_json && jparse_object(text, DATA_MAX, &value, &err) < 0) {
        problem_add(p, field, "invalid value: %s", err.msg);
    }
}

static void check_ping(struct problems *p, const json_t *spec)
{
    struct slice data = jpeek_str(spec, "data"), base64 = jpeek_str(spec, "dataBase64");
    bool is_json = slice_eq_str(jpeek_str(spec, "contentType"), "application/json");
    check_schedule(p, spec);
    if (data.len > 0 && base64.len > 0) {
        problem_add(p, "data", "expected exactly one, got both");
        problem_path(p, "dataBase64");
    } else if (data.len > 0) {
        check_json(p, "data", data, is_json);
    } else if (base64.len > 0) {
        CLEANUP(strbuf_fini) struct strbuf bytes;
        struct error err = {0};
        strbuf_init(&bytes, DATA_MAX);
        if (base64_decode(base64, &bytes, &err) < 0) {
            problem_add(p, "dataBase64", "invalid value: %s", err.msg);
        } else {
            check_json(p, "dataBase64", strbuf_slice(&bytes), is_json);
        }
    }
    rules_source(p, spec);
}

void source_check_ping(struct problems *p, const json_t *object)
{
    size_t mark = problems_mark(p);
    check_ping(p, jpeek_obj(object, "spec"));
    problems_via(p, mark, "spec");
}

/* --- SinkBinding --------------------------------------------------------------------------- */

static void check_selector(struct problems *p, const json_t *selector)
{
    static const char *const operators[] = {"In", "NotIn", "Exists", "DoesNotExist"};
    size_t i;
    const json_t *expression;
    json_array_foreach(jpeek_arr(selector, "matchExpressions"), i, expression)
    {
        const char *operator= jpeek_cstr(expression, "operator");
        size_t values = json_array_size(jpeek_arr(expression, "values"));
        size_t at = 0;
        while (at < ARRAY_LEN(operators) && strcmp(operators[at], operator) != 0) {
            at++;
        }
        if (at == ARRAY_LEN(operators)) {
            problem_add(p, "selector",
                        "invalid value: \"%.60s\" is not a valid label selector "
                        "operator",
                        operator);
        } else if (at < 2 && values == 0) {
            problem_add(p, "selector", "invalid value: %s needs values", operator);
        } else if (at >= 2 && values > 0) {
            problem_add(p, "selector", "invalid value: %s has no values", operator);
        }
    }
}

static void check_subject(struct problems *p, const json_t *subject)
{
    static const char *const needed[] = {"apiVersion", "kind", "namespace"};
    bool by_name = jpeek_str(subject, "name").len > 0;
    bool by_labels = jpeek_obj(subject, "selector") != NULL;
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        if (jpeek_str(subject, needed[i]).len == 0) {
            problem_missing(p, needed[i]);
        }
    }
    if (by_name == by_labels) {
        problem_add(p, "name", "expected exactly one, got %s", by_name ? "both" : "neither");
        problem_path(p, "selector");
    }
    check_selector(p, jpeek_obj(subject, "selector"));
}

void source_check_binding(struct problems *p, const json_t *object)
{
    struct slice ns = jpeek_str(object, "spec.subject.namespace");
    size_t mark = problems_mark(p);
    check_subject(p, jpeek_obj(object, "spec.subject"));
    problems_via(p, mark, "spec.subject");
    mark = problems_mark(p);
    rules_source(p, jpeek_obj(object, "spec"));
    problems_via(p, mark, "spec");
    if (ns.len > 0 && !slice_eq(ns, jpeek_str(object, "metadata.namespace"))) {
        problem_invalid(p, "spec.subject.namespace", ns);
    }
}
