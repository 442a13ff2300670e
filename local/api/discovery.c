// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: walk the kinds table once per document and append. The rows of a group or version stand
 * together or not, so "first of its group" is asked for each; its version is the preferred one.
 */

#include "local/api/discovery.h"

#include <stdio.h>
#include <string.h>

#include "local/api/metrics.h"
#include "local/api/review.h"

#define VERBS \
    "[\"create\",\"delete\",\"deletecollection\",\"get\",\"list\",\"patch\",\"update\",\"watch\"]"
#define SUB_VERBS "[\"get\",\"patch\",\"update\"]"

static bool first_of_group(enum kind_id id)
{
    for (int i = 0; i < (int)id; i++) {
        if (strcmp(kind_row((enum kind_id)i)->group, kind_row(id)->group) == 0) {
            return false;
        }
    }
    return true;
}

static bool first_of_version(enum kind_id id)
{
    for (int i = 0; i < (int)id; i++) {
        if (strcmp(kind_api_version(kind_row((enum kind_id)i)), kind_api_version(kind_row(id))) ==
            0) {
            return false;
        }
    }
    return true;
}

/* The next first row of a version of this group, from id on; NULL: there is none. */
static const struct kind *next_version(const char *group, int id)
{
    for (; id < KIND_COUNT; id++) {
        const struct kind *kind = kind_row((enum kind_id)id);
        if (strcmp(kind->group, group) == 0 && first_of_version(kind->id)) {
            return kind;
        }
    }
    return NULL;
}

static void append_words(struct strbuf *out, const char *key, const char *words)
{
    if (words[0] == '\0') {
        return;
    }
    (void)strbuf_appendf(out, ",\"%s\":[", key);
    struct slice rest = slice_str(words);
    for (bool first = true; rest.len > 0; first = false) {
        ptrdiff_t comma = slice_find(rest, ',');
        struct slice word = comma < 0 ? rest : slice_sub(rest, 0, (size_t)comma);
        rest = comma < 0 ? SLICE_EMPTY : slice_sub(rest, (size_t)comma + 1, rest.len);
        (void)strbuf_appendf(out, "%s\"%.*s\"", first ? "" : ",", SLICE_FMT(word));
    }
    (void)strbuf_append_char(out, ']');
}

/* --- the plain documents ------------------------------------------------------------------- */

static void append_group(struct strbuf *out, const struct kind *kind, bool document)
{
    (void)strbuf_appendf(out, "{%s\"name\":\"%s\",\"versions\":[",
                         document ? "\"kind\":\"APIGroup\",\"apiVersion\":\"v1\"," : "",
                         kind->group);
    for (const struct kind *v = kind; v != NULL; v = next_version(kind->group, (int)v->id + 1)) {
        (void)strbuf_appendf(out, "%s{\"groupVersion\":\"%s\",\"version\":\"%s\"}",
                             v == kind ? "" : ",", kind_api_version(v), v->version);
    }
    (void)strbuf_appendf(out,
                         "],\"preferredVersion\":{\"groupVersion\":\"%s\",\"version\":\"%s\"}}",
                         kind_api_version(kind), kind->version);
}

static void append_groups(struct strbuf *out)
{
    (void)strbuf_append_str(out, "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[");
    bool first = true;
    for (int i = 0; i < KIND_COUNT; i++) {
        const struct kind *kind = kind_row((enum kind_id)i);
        if (kind->group[0] != '\0' && first_of_group(kind->id)) {
            (void)strbuf_append_str(out, first ? "" : ",");
            append_group(out, kind, false);
            first = false;
        }
    }
    review_append_groups(out, first);
    metrics_append_group(out, false);
    (void)strbuf_append_str(out, "]}");
}

static void append_resource(struct strbuf *out, const struct kind *kind)
{
    (void)strbuf_appendf(out,
                         "{\"name\":\"%s\",\"singularName\":\"%s\",\"namespaced\":%s,"
                         "\"kind\":\"%s\",\"verbs\":" VERBS,
                         kind->plural, kind->singular, kind->namespaced ? "true" : "false",
                         kind->kind);
    append_words(out, "shortNames", kind->short_names);
    append_words(out, "categories", kind->categories);
    (void)strbuf_append_char(out, '}');
    static const struct {
        unsigned flag;
        const char *name, *extra;
    } subs[] = {
        {KIND_SUB_STATUS, "status", ""},
        {KIND_SUB_SCALE, "scale", "\"group\":\"autoscaling\",\"version\":\"v1\","},
        {KIND_SUB_LOG, "log", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(subs); i++) {
        if ((kind->subresources & subs[i].flag) != 0) {
            (void)strbuf_appendf(out,
                                 ",{\"name\":\"%s/%s\",\"singularName\":\"\",\"namespaced\":%s,"
                                 "%s\"kind\":\"%s\",\"verbs\":%s}",
                                 kind->plural, subs[i].name, kind->namespaced ? "true" : "false",
                                 subs[i].extra,
                                 subs[i].flag == KIND_SUB_SCALE ? "Scale" : kind->kind,
                                 subs[i].flag == KIND_SUB_LOG ? "[\"get\"]" : SUB_VERBS);
        }
    }
}

static bool append_resources(struct strbuf *out, const char *group, const char *version)
{
    bool any = false;
    (void)strbuf_appendf(out,
                         "{\"kind\":\"APIResourceList\",\"apiVersion\":\"v1\","
                         "\"groupVersion\":\"%.200s%s%.60s\",\"resources\":[",
                         group, group[0] == '\0' ? "" : "/", version);
    for (int i = 0; i < KIND_COUNT; i++) {
        const struct kind *kind = kind_row((enum kind_id)i);
        if (strcmp(kind->group, group) == 0 && strcmp(kind->version, version) == 0) {
            (void)strbuf_append_str(out, any ? "," : "");
            append_resource(out, kind);
            any = true;
        }
    }
    any = review_append_resources(out, group, version) || any; /* groups of their own */
    any = metrics_append_resources(out, group, version) || any;
    (void)strbuf_append_str(out, "]}");
    return any;
}

bool discovery_write(const struct route *route, bool apis, struct strbuf *out)
{
    if (route->version[0] != '\0') {
        return append_resources(out, route->group, route->version);
    }
    if (!apis) {
        (void)strbuf_append_str(
            out,
            "{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],\"serverAddressByClientCIDRs\":[]}");
        return true;
    }
    if (route->group[0] == '\0') {
        append_groups(out);
        return true;
    }
    for (int i = 0; i < KIND_COUNT; i++) {
        const struct kind *kind = kind_row((enum kind_id)i);
        if (strcmp(kind->group, route->group) == 0) {
            append_group(out, kind, true);
            return true;
        }
    }
    return review_append_group(out, route->group) || metrics_append_own_group(out, route->group);
}

/* --- aggregated ---------------------------------------------------------------------------- */

static void append_sub(struct strbuf *out, const char *sub, const char *group, const char *version,
                       const char *kind_name, const char *verbs, bool first)
{
    (void)strbuf_appendf(out,
                         "%s{\"subresource\":\"%s\",\"responseKind\":{\"group\":\"%s\","
                         "\"version\":\"%s\",\"kind\":\"%s\"},\"verbs\":%s}",
                         first ? "" : ",", sub, group, version, kind_name, verbs);
}

static void append_discovered(struct strbuf *out, const struct kind *kind)
{
    (void)strbuf_appendf(out,
                         "{\"resource\":\"%s\",\"responseKind\":{\"group\":\"%s\",\"version\":"
                         "\"%s\",\"kind\":\"%s\"},\"scope\":\"%s\",\"singularResource\":\"%s\","
                         "\"verbs\":" VERBS,
                         kind->plural, kind->group, kind->version, kind->kind,
                         kind->namespaced ? "Namespaced" : "Cluster", kind->singular);
    append_words(out, "shortNames", kind->short_names);
    append_words(out, "categories", kind->categories);
    if (kind->subresources != 0) {
        (void)strbuf_append_str(out, ",\"subresources\":[");
        bool first = true;
        if ((kind->subresources & KIND_SUB_STATUS) != 0) {
            append_sub(out, "status", kind->group, kind->version, kind->kind, SUB_VERBS, first);
            first = false;
        }
        if ((kind->subresources & KIND_SUB_SCALE) != 0) {
            append_sub(out, "scale", "autoscaling", "v1", "Scale", SUB_VERBS, first);
            first = false;
        }
        if ((kind->subresources & KIND_SUB_LOG) != 0) {
            append_sub(out, "log", kind->group, kind->version, kind->kind, "[\"get\"]", first);
        }
        (void)strbuf_append_char(out, ']');
    }
    (void)strbuf_append_char(out, '}');
}

static void append_version(struct strbuf *out, const struct kind *head)
{
    (void)strbuf_appendf(out, "{\"version\":\"%s\",\"resources\":[", head->version);
    bool first = true;
    for (int i = 0; i < KIND_COUNT; i++) {
        const struct kind *kind = kind_row((enum kind_id)i);
        if (strcmp(kind_api_version(kind), kind_api_version(head)) == 0) {
            (void)strbuf_append_str(out, first ? "" : ",");
            append_discovered(out, kind);
            first = false;
        }
    }
    (void)strbuf_append_str(out, "],\"freshness\":\"Current\"}");
}

void discovery_aggregated(bool core, struct strbuf *out)
{
    (void)strbuf_append_str(out, "{\"kind\":\"APIGroupDiscoveryList\",\"apiVersion\":"
                                 "\"apidiscovery.k8s.io/v2\",\"metadata\":{},\"items\":[");
    bool first = true;
    for (int i = 0; i < KIND_COUNT; i++) {
        const struct kind *head = kind_row((enum kind_id)i);
        if ((head->group[0] == '\0') != core || !first_of_group(head->id)) {
            continue;
        }
        (void)strbuf_appendf(out, "%s{\"metadata\":{", first ? "" : ",");
        if (!core) {
            (void)strbuf_appendf(out, "\"name\":\"%s\"", head->group);
        }
        (void)strbuf_append_str(out, "},\"versions\":[");
        first = false;
        for (const struct kind *v = head; v != NULL; v = next_version(v->group, (int)v->id + 1)) {
            (void)strbuf_append_str(out, v == head ? "" : ",");
            append_version(out, v);
        }
        (void)strbuf_append_str(out, "]}");
    }
    if (!core) {
        review_append_discovered(out, first);
        metrics_append_discovered(out, false);
    }
    (void)strbuf_append_str(out, "]}");
}

void discovery_version(struct strbuf *out)
{
    (void)strbuf_append_str(
        out, "{\"major\":\"1\",\"minor\":\"34\",\"gitVersion\":\"v1.34.0+lull-" LULL_VERSION
             "\",\"gitCommit\":\"\",\"gitTreeState\":\"clean\",\"buildDate\":\"\","
             "\"goVersion\":\"\",\"compiler\":\"\",\"platform\":\"linux\"}");
}
