// SPDX-License-Identifier: Apache-2.0
/*
 * Rules of filters. Happy path: each has one dialect, and names that an event can have. Failure
 * modes: filters inside filters are not looked at by the schema of the kind, so their types are
 * looked at here; what lull-broker could not make a program of (too deep, too large) is refused.
 */
#include "base/mem.h"
#include "json/jget.h"
#include "serving/gotext.h"
#include "eventing/rules.h"
#include "events/cesql.h"
#include "events/filter.h"

static void check_filter(struct problems *p, const json_t *filter, int depth);

static bool is_attribute_name(const char *name)
{
    if (name[0] < 'a' || name[0] > 'z') {
        return false;
    }
    return name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789")] == '\0';
}

void rules_attributes(struct problems *p, json_t *attributes)
{
    const char *name;
    json_t *value;
    json_object_foreach(attributes, name, value)
    {
        size_t mark = problems_mark(p);
        CLEANUP(cleanup_free) char *quoted = go_quoted(slice_str(name));
        if (!is_attribute_name(name)) {
            problem_add(p, "", "invalid key name %s", quoted);
            problem_details(p, "Attribute name must start with a letter and can only contain "
                               "lowercase alphanumeric");
        } else if (!json_is_string(value)) {
            problem_add(p, "", "invalid value: must be a string, is %s", jtype_name(value));
        }
        problems_via_key(p, mark, name);
    }
}

/* A member that is not empty counts as set. */
static bool is_set(const json_t *filter, const char *dialect)
{
    const json_t *value = jget(filter, dialect);
    return strcmp(dialect, "not") == 0 ? value != NULL
           : json_is_string(value)     ? json_string_length(value) > 0
           : json_is_array(value)      ? json_array_size(value) > 0
           : json_is_object(value)     ? json_object_size(value) > 0
                                       : value != NULL;
}

static void check_type(struct problems *p, const json_t *filter, const char *dialect,
                       json_type type, const char *expected)
{
    const json_t *value = jget(filter, dialect);
    if (value != NULL && json_typeof(value) != type) {
        problem_add(p, dialect, "invalid value: must be %s, is %s", expected, jtype_name(value));
    }
}

static void check_cesql(struct problems *p, struct slice text)
{
    struct cesql *compiled = NULL;
    struct error err;
    if (text.len > 0 && cesql_compile(text, &compiled, &err) < 0) {
        problem_invalid(p, "cesql", text);
        problem_details(p, "%s", err.msg);
    }
    cesql_free(compiled);
}

static void check_list(struct problems *p, const json_t *list, int depth)
{
    size_t i;
    const json_t *filter;
    json_array_foreach(list, i, filter)
    {
        size_t mark = problems_mark(p);
        check_filter(p, filter, depth);
        problems_via_index(p, mark, i);
    }
}

static void check_dialects(struct problems *p, const json_t *filter, int depth)
{
    static const char *const maps[] = {"exact", "prefix", "suffix"};
    static const char *const lists[] = {"all", "any"};
    for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
        size_t mark = problems_mark(p);
        rules_attributes(p, jpeek_obj(filter, maps[i]));
        problems_via(p, mark, maps[i]);
        check_type(p, filter, maps[i], JSON_OBJECT, "an object");
    }
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        size_t mark = problems_mark(p);
        check_list(p, jpeek_arr(filter, lists[i]), depth + 1);
        problems_via(p, mark, lists[i]);
        check_type(p, filter, lists[i], JSON_ARRAY, "an array");
    }
    check_type(p, filter, "cesql", JSON_STRING, "a string");
    check_cesql(p, jpeek_str(filter, "cesql"));
    if (jget(filter, "not") != NULL) {
        size_t mark = problems_mark(p);
        check_filter(p, jget(filter, "not"), depth + 1);
        problems_via(p, mark, "not");
    }
}

static void check_filter(struct problems *p, const json_t *filter, int depth)
{
    static const char *const dialects[] = {"exact", "prefix", "suffix", "all",
                                           "any",   "not",    "cesql"};
    size_t known = 0, set = 0;
    if (!json_is_object(filter)) {
        problem_add(p, "", "invalid value: must be an object, is %s", jtype_name(filter));
        return;
    }
    if (depth > FILTER_DEPTH_MAX) {
        problem_add(p, "", "filters are nested more than %d deep", FILTER_DEPTH_MAX);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(dialects); i++) {
        known += json_object_get(filter, dialects[i]) != NULL;
        set += is_set(filter, dialects[i]);
    }
    if (set > 1) {
        problem_add(p, NULL, "multiple dialects found, filters can have only one dialect set");
    }
    if (known < json_object_size(filter)) { /* the schema has dropped them at the top level */
        problem_add(p, "", "unknown dialect: it is exact, prefix, suffix, all, any, not or cesql");
    }
    check_dialects(p, filter, depth);
}

void rules_filters(struct problems *p, const json_t *spec)
{
    struct filter *compiled = NULL;
    struct error err;
    size_t mark = problems_mark(p);
    check_list(p, jpeek_arr(spec, "filters"), 0);
    problems_via(p, mark, "filters");
    if (problems_mark(p) == mark && filter_compile(spec, &compiled, &err) < 0) {
        problem_add(p, jget(spec, "filters") == NULL ? "filter" : "filters", "invalid value: %s",
                    err.msg);
    }
    filter_free(compiled);
}
