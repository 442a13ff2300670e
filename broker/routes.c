// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Of a Route its targets are kept, each with its tag, its Revision and whether it has a share
 * of the traffic. A name is looked up when it is asked for: as a Route's, then with each part
 * before a dash as a tag. Failure modes: the watch is behind or away: what was known last counts;
 * none: names are unknown, and the Service as a whole counts (capacity.c).
 */
#include "broker/routes.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "kube/cache.h"
#include "broker/model.h"

#define NAME_MAX_BYTES 256
#define TARGETS_MAX    128

struct routes {
    struct kube_cache *cache;
};

struct routes_target {
    char *tag; /* "": none */
    char *revision;
    bool has_share;
};

struct view {
    struct routes_target *targets;
    size_t n;
};

static const struct kube_kind kind = {"serving.knative.dev", "v1", "routes"};
static const char *const without[] = {"metadata.managedFields", "metadata.ownerReferences", "spec",
                                      "status.conditions", NULL};

static int project(void *arg, const json_t *object, void *value, struct error *err)
{
    struct view *v = value;
    const json_t *traffic = jpeek_arr(object, "status.traffic");
    size_t n = json_array_size(traffic);
    n = n < TARGETS_MAX ? n : TARGETS_MAX;
    if (n == 0) {
        return 1;
    }
    v->targets = xcalloc(n, sizeof(*v->targets));
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(traffic, i);
        struct slice revision = jpeek_str(item, "revisionName");
        if (!slice_empty(revision)) {
            v->targets[v->n++] =
                (struct routes_target){.tag = slice_dup(jpeek_str(item, "tag")),
                                       .revision = slice_dup(revision),
                                       .has_share = jpeek_i64(item, "percent") > 0};
        }
    }
    return 0;
}

static void release(void *arg, void *value)
{
    struct view *v = value;
    for (size_t i = 0; i < v->n; i++) {
        free(v->targets[i].tag);
        free(v->targets[i].revision);
    }
    free(v->targets);
}

int routes_start(struct worker *w, struct error *err)
{
    struct kube_cache_options options = {
        .kind = kind,
        .without = without,
        .value_size = sizeof(struct view),
        .optional = true,
        .project = project,
        .release = release,
        .arg = w,
    };
    w->routes = NEW(struct routes);
    return kube_cache_start(w->client, &options, &w->routes->cache, err);
}

void routes_close(struct worker *w)
{
    if (w->routes != NULL && w->routes->cache != NULL) {
        kube_cache_close(w->routes->cache, NULL, NULL);
        w->routes->cache = NULL;
    }
}

void routes_free(struct worker *w)
{
    free(w->routes);
    w->routes = NULL;
}

bool routes_synced(const struct worker *w)
{
    return w->routes == NULL || w->routes->cache == NULL || kube_cache_synced(w->routes->cache);
}

static bool add(struct routes_lead *lead, const char *revision)
{
    for (size_t i = 0; i < lead->n; i++) {
        if (strcmp(lead->revisions[i], revision) == 0) {
            return true;
        }
    }
    if (lead->n < ROUTES_REVISIONS_MAX) {
        lead->revisions[lead->n++] = revision;
    }
    return lead->n < ROUTES_REVISIONS_MAX;
}

/* tag empty: the Route's own name, which all shares of the traffic answer. */
static bool lead_of(const struct routes *r, const char *ns, struct slice name, struct slice tag,
                    struct routes_lead *out)
{
    char route[NAME_MAX_BYTES];
    if (slice_empty(name) || !slice_copy(name, route, sizeof(route))) {
        return false;
    }
    const struct view *v = kube_cache_value(r->cache, ns, route);
    if (v == NULL) {
        return false;
    }
    out->n = 0;
    for (size_t i = 0; i < v->n; i++) {
        const struct routes_target *t = &v->targets[i];
        bool meant = slice_empty(tag) ? t->has_share : slice_eq_str(tag, t->tag);
        if (meant && !add(out, t->revision)) {
            break;
        }
    }
    return out->n > 0;
}

bool routes_find(const struct worker *w, struct slice ns, struct slice label,
                 struct routes_lead *out)
{
    const struct routes *r = w->routes;
    char space[NAME_MAX_BYTES];
    if (r == NULL || r->cache == NULL || !slice_copy(ns, space, sizeof(space))) {
        return false;
    }
    if (lead_of(r, space, label, SLICE_EMPTY, out)) {
        return true;
    }
    for (size_t i = 1; i + 1 < label.len; i++) {
        if (label.ptr[i] == '-' &&
            lead_of(r, space, slice_sub(label, i + 1, label.len), slice_sub(label, 0, i), out)) {
            return true;
        }
    }
    return false;
}
