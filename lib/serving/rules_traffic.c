// SPDX-License-Identifier: Apache-2.0
/*
 * Rules of traffic. Failure modes: a target that says too much or too little, percents that do not
 * add up, a tag twice. Paths begin with the index of a target; "" is the list.
 */
#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"
#include "json/jparse.h"
#include "serving/gotext.h"
#include "serving/rules.h"
#include "serving/traffic.h"

static void check_latest(struct rules *r, const json_t *target)
{
    const json_t *latest = rule_member(target, "latestRevision");
    struct slice revision = rule_text(target, "revisionName");
    if (latest != NULL && (revision.len > 0) == json_is_true(latest)) {
        CLEANUP(cleanup_free) char *quoted = go_quoted(revision);
        problem_add(r->p, "latestRevision", "may not set revisionName %s when latestRevision is %s",
                    quoted, json_is_true(latest) ? "true" : "false");
    }
}

static void check_reference(struct rules *r, const json_t *target, const char *field)
{
    struct slice name = rule_text(target, field);
    CLEANUP(strbuf_fini) struct strbuf words;
    strbuf_init(&words, WORDS_MAX);
    if (words_qualified_name(name, ", ", &words) > 0) {
        CLEANUP(cleanup_free) char *quoted = go_quoted(name);
        problem_add(r->p, field, "invalid key name %s", quoted);
        problem_details(r->p, "%s", words.ptr);
    }
}

static void check_references(struct rules *r, const json_t *target, bool in_service)
{
    bool revision = rule_text(target, "revisionName").len > 0;
    bool configuration = rule_text(target, "configurationName").len > 0;
    if (in_service && configuration) {
        problem_disallowed(r->p, "configurationName");
    } else if (revision && configuration) {
        problem_add(r->p, "revisionName", "expected exactly one, got both");
        problem_path(r->p, "configurationName");
    } else if (revision) {
        check_reference(r, target, "revisionName");
    } else if (configuration) {
        check_reference(r, target, "configurationName");
    } else if (!in_service) {
        problem_add(r->p, "revisionName", "expected exactly one, got neither");
        problem_path(r->p, "configurationName");
    }
}

static void check_tag(struct rules *r, struct map *tags, struct slice tag, size_t i)
{
    CLEANUP(strbuf_fini) struct strbuf words;
    strbuf_init(&words, WORDS_MAX);
    if (words_dns1035_label(tag, " ", &words) > 0) {
        char path[32];
        snprintf(path, sizeof(path), "tag[%zu]", i);
        problem_add(r->p, path, "invalid value: not a DNS 1035 label: [%s]", words.ptr);
    }
    const size_t *first = map_get(tags, tag);
    if (first != NULL) {
        CLEANUP(cleanup_free) char *quoted = go_quoted(tag);
        char paths[2][32];
        snprintf(paths[0], sizeof(paths[0]), "[%zu].tag", i);
        snprintf(paths[1], sizeof(paths[1]), "[%zu].tag", *first - 1);
        problem_add(r->p, paths[0], "Multiple definitions for %s", quoted);
        problem_path(r->p, paths[1]);
    }
}

static void check_target(struct rules *r, const json_t *target, bool in_service)
{
    int64_t percent = rule_int(target, "percent");
    check_latest(r, target);
    check_references(r, target, in_service);
    if (percent < 0 || percent > 100) {
        problem_bounds(r->p, "percent", percent, 0, 100);
    }
    if (rule_text(target, "url").len > 0) {
        problem_disallowed(r->p, "url");
    }
}

void rules_traffic(struct rules *r, const json_t *traffic, bool in_service)
{
    size_t count = json_array_size(traffic);
    size_t *places = xcalloc(count + 1, sizeof(*places)); /* index + 1 of a tag */
    struct map tags;
    uint64_t sum = 0; /* wraps as the reference's does */
    map_init(&tags, MAP_BORROW_KEYS);
    for (size_t i = 0; i < count; i++) {
        const json_t *target = json_array_get(traffic, i);
        struct slice tag = rule_text(target, "tag");
        size_t mark = problems_mark(r->p);
        check_target(r, target, in_service);
        problems_via_index(r->p, mark, i);
        sum += (uint64_t)rule_int(target, "percent");
        if (tag.len > 0) {
            check_tag(r, &tags, tag, i);
            if (map_get(&tags, tag) == NULL) {
                places[i] = i + 1;
                (void)map_set(&tags, tag, &places[i]);
            }
        }
    }
    if (sum != 100) {
        problem_add(r->p, "", "Traffic targets sum to %lld, want 100", (long long)(int64_t)sum);
    }
    map_fini(&tags);
    free(places);
}

int traffic_validate(const json_t *traffic, const char *path, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    CLEANUP(jfree) json_t *spec = json_pack("{s:O?}", "traffic", traffic);
    struct problems p;
    struct rules r = {.p = &p};
    strbuf_init(&text, PROBLEMS_PRINTED_MAX);
    struct slice parent =
        slice_sub(slice_str(path), 0, (size_t)(slice_rfind(slice_str(path), '.') + 1));
    CLEANUP(cleanup_free)
    char *above = slice_dup(slice_sub(parent, 0, parent.len > 0 ? parent.len - 1 : 0));
    int rc = type_check(spec, TYPE_RouteSpec, above, err);
    if (rc < 0) {
        return rc;
    }
    problems_init(&p);
    rules_traffic(&r, traffic, false);
    problems_via(&p, 0, path);
    if (problems_print(&p, PROBLEM_ERROR, &text) > 0) {
        rc = error_set(err, ERR_INVALID, "%s", text.ptr);
    }
    problems_fini(&p);
    return rc;
}
