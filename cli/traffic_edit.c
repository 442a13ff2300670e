// SPDX-License-Identifier: Apache-2.0
//
// The new list is built from the old one: first tags are taken off, then shares are given, then
// tags are put on; entries that have neither share nor tag are left out at the end.
#include "cli/traffic_edit.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/names.h"
#include "serving/traffic.h"

static bool is_latest(const json_t *target)
{
    return !jpeek_cstr(target, "revisionName")[0];
}

static json_t *by_tag(const json_t *list, const char *tag, size_t *out_index)
{
    size_t i;
    json_t *t;
    json_array_foreach(list, i, t)
    {
        if (tag[0] && strcmp(jpeek_cstr(t, "tag"), tag) == 0) {
            *out_index = i;
            return t;
        }
    }
    return NULL;
}

static json_t *target_new(const char *which)
{
    return strcmp(which, TRAFFIC_LATEST) == 0
               ? json_pack("{s:b}", "latestRevision", 1)
               : json_pack("{s:s, s:b}", "revisionName", which, "latestRevision", 0);
}

// The entry for WHICH: by its tag, else one without a tag of that revision, else a new one.
static json_t *entry_of(json_t *list, const char *which, bool bare)
{
    size_t i;
    json_t *t = by_tag(list, which, &i);
    bool latest = strcmp(which, TRAFFIC_LATEST) == 0;

    if (t) {
        return t;
    }
    json_array_foreach(list, i, t)
    {
        bool same = latest ? is_latest(t) : strcmp(jpeek_cstr(t, "revisionName"), which) == 0;
        if (same && !(bare && jpeek_cstr(t, "tag")[0])) {
            return t;
        }
    }
    t = target_new(which);
    (void)json_array_append_new(list, t);
    return t;
}

// The list to edit: the spec's, or what an empty spec means.
static json_t *list_of(json_t *service)
{
    json_t *list = jpeek_arr(service, "spec.traffic");
    size_t i;
    json_t *t;

    list = list ? json_deep_copy(list) : json_array();
    if (json_array_size(list) == 0) {
        (void)json_array_append_new(list,
                                    json_pack("{s:b, s:i}", "latestRevision", 1, "percent", 100));
    }
    json_array_foreach(list, i, t)
    {
        if (!json_object_get(t, "latestRevision")) {
            json_object_set_new(t, "latestRevision", json_boolean(is_latest(t)));
        }
    }
    return list;
}

// "WHICH=REST" in place; the last '='.
static int cut(char *word, const char *flag, char **out_rest, struct error *err)
{
    char *eq = strrchr(word, '=');

    if (!eq || eq == word || !eq[1]) {
        return error_set(err, ERR_INVALID, "--%s %.80s: must be REVISION=%s, or @latest=…", flag,
                         word, strcmp(flag, "to") == 0 ? "PERCENT" : "TAG");
    }
    *eq = '\0';
    *out_rest = eq + 1;
    return 0;
}

static int shares(json_t *list, const char *const *words, struct error *err)
{
    uint64_t percent = 0, sum = 0;
    size_t i;
    json_t *t;
    char *rest = NULL;

    if (!words || !words[0]) {
        return 0;
    }
    json_array_foreach(list, i, t)
    {
        (void)json_object_del(t, "percent");
    }
    for (; *words; words++) {
        CLEANUP(cleanup_free) char *word = xstrdup(*words);
        int rc = cut(word, "to", &rest, err);
        if (rc < 0) {
            return rc;
        }
        struct slice text = slice_str(rest);
        text.len -= text.ptr[text.len - 1] == '%';
        if (num_parse_u64(text, 0, 100, &percent, NULL) < 0) {
            return error_set(err, ERR_INVALID, "--to %.80s: the percentage must be 0 to 100",
                             *words);
        }
        t = entry_of(list, word, false);
        if (json_object_get(t, "percent")) {
            return error_set(err, ERR_INVALID, "--to: %.80s is there twice", word);
        }
        json_object_set_new(t, "percent", json_integer((json_int_t)percent));
        sum += percent;
    }
    return sum == 100 ? 0
                      : error_set(err, ERR_INVALID,
                                  "--to: the percentages add up to %llu, they must be 100; @latest "
                                  "stands for the newest ready revision",
                                  (unsigned long long)sum);
}

static int tag_on(json_t *list, const char *text, struct error *err)
{
    CLEANUP(cleanup_free) char *word = xstrdup(text);
    char *tag = NULL;
    size_t i;

    int rc = cut(word, "tag", &tag, err);
    if (rc < 0) {
        return rc;
    }
    json_t *has = by_tag(list, tag, &i);
    json_t *t = entry_of(list, word, true);
    if (has && has == t) {
        return 0;
    }
    if (has) {
        return error_set(
            err, ERR_INVALID,
            "--tag %.80s: \"%.60s\" is the tag of %.60s; take it off with --untag %.60s", text, tag,
            is_latest(has) ? TRAFFIC_LATEST : jpeek_cstr(has, "revisionName"), tag);
    }
    if (jpeek_cstr(t, "tag")[0]) { // WHICH was itself a tag: a second name for its revision
        const char *revision = is_latest(t) ? TRAFFIC_LATEST : jpeek_cstr(t, "revisionName");
        t = target_new(revision);
        (void)json_array_append_new(list, t);
    }
    return json_object_set_new(t, "tag", json_string(tag)) == 0
               ? 0
               : error_set(err, ERR_INVALID, "--tag: is not UTF-8");
}

static int tags_off(json_t *list, const char *const *tags, struct error *err)
{
    for (; tags && *tags; tags++) {
        size_t i;
        json_t *t = by_tag(list, *tags, &i);
        if (!t) {
            return error_set(err, ERR_INVALID, "--untag %.80s: there is no such tag", *tags);
        }
        (void)json_object_del(t, "tag");
    }
    return 0;
}

// Without entries that say nothing, and shares of the same revision without a tag as one.
static json_t *tidy(const json_t *list)
{
    json_t *kept = json_array(), *t;
    size_t i;

    json_array_foreach(list, i, t)
    {
        bool says = jpeek_i64(t, "percent") > 0 || jpeek_cstr(t, "tag")[0];
        json_t *same = NULL, *k;
        size_t j;
        json_array_foreach(kept, j, k)
        {
            bool equal = strcmp(jpeek_cstr(k, "revisionName"), jpeek_cstr(t, "revisionName")) == 0;
            same = equal && !jpeek_cstr(k, "tag")[0] && !jpeek_cstr(t, "tag")[0] ? k : same;
        }
        if (same && says) {
            json_int_t sum = jpeek_i64(same, "percent") + jpeek_i64(t, "percent");
            json_object_set_new(same, "percent", json_integer(sum));
        } else if (says) {
            (void)json_array_append(kept, t);
        }
    }
    return kept;
}

// The rules are those of a Route, where the newest revision has a Configuration that it is of.
static int check(const json_t *list, struct error *err)
{
    CLEANUP(jfree) json_t *copy = json_deep_copy(list);
    size_t i;
    json_t *t;

    json_array_foreach(copy, i, t)
    {
        if (is_latest(t)) {
            json_object_set_new(t, "configurationName", json_string("own"));
        }
    }
    return traffic_validate(copy, "spec.traffic", err);
}

static int put_back(json_t *service, json_t *list, int rc, struct error *err)
{
    CLEANUP(jfree) json_t *kept = rc == 0 ? tidy(list) : NULL;

    json_decref(list);
    rc = rc ? rc : check(kept, err);
    if (rc == 0) {
        json_object_set(jpeek_obj(service, "spec"), "traffic", kept);
    }
    return rc;
}

int traffic_edit(json_t *service, const struct traffic_changes *changes, struct error *err)
{
    json_t *list = list_of(service);

    int rc = tags_off(list, changes->untag, err);
    rc = rc ? rc : shares(list, changes->to, err);
    for (size_t i = 0; rc == 0 && changes->tag && changes->tag[i]; i++) {
        rc = tag_on(list, changes->tag[i], err);
    }
    return put_back(service, list, rc, err);
}

int traffic_pin(json_t *service, const char *revision, struct error *err)
{
    json_t *list = list_of(service);
    size_t i;
    json_t *t;

    json_array_foreach(list, i, t)
    {
        (void)json_object_del(t, "percent");
    }
    json_object_set_new(entry_of(list, revision, true), "percent", json_integer(100));
    return put_back(service, list, 0, err);
}

static int64_t generation_of(const json_t *revision)
{
    return strtoll(jpeek_cstr(revision, "metadata.labels.`" LABEL_CONFIGURATION_GENERATION "`"),
                   NULL, 10);
}

static bool is_ready(const json_t *revision)
{
    size_t i;
    json_t *c;
    json_array_foreach(jpeek_arr(revision, "status.conditions"), i, c)
    {
        if (strcmp(jpeek_cstr(c, "type"), "Ready") == 0) {
            return strcmp(jpeek_cstr(c, "status"), "True") == 0;
        }
    }
    return false;
}

static bool has_share(const json_t *service, const char *revision)
{
    size_t i;
    json_t *t;
    json_array_foreach(jpeek_arr(service, "status.traffic"), i, t)
    {
        if (strcmp(jpeek_cstr(t, "revisionName"), revision) == 0 && jpeek_i64(t, "percent") > 0) {
            return true;
        }
    }
    return false;
}

const char *traffic_previous(const json_t *service, const json_t *revisions, struct error *err)
{
    const json_t *items = jpeek_arr(revisions, "items");
    int64_t serving = 0, best = 0;
    const char *found = NULL;
    size_t i;
    json_t *r;

    json_array_foreach(items, i, r)
    {
        if (has_share(service, jpeek_cstr(r, "metadata.name")) && generation_of(r) > serving) {
            serving = generation_of(r);
        }
    }
    json_array_foreach(items, i, r)
    {
        int64_t generation = generation_of(r);
        if (generation < serving && generation > best && is_ready(r)) {
            best = generation;
            found = jpeek_cstr(r, "metadata.name");
        }
    }
    if (!found) {
        (void)!error_set(err, ERR_NOT_FOUND,
                         "there is no ready revision older than the one that has the traffic");
    }
    return found;
}
