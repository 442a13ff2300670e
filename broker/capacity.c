// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. A record per Service with its Revisions, each as its PodAutoscaler has it. A name of the
 * cluster means those Revisions that its Route leads to (routes.h), or, while that is not known,
 * all of the Service. Failure modes: the watch is behind or away: what was known last counts. A
 * status that is a second old lets too few or too many go; too many wait in front of the function.
 */
#include "broker/capacity.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/num.h"
#include "json/jget.h"
#include "serving/autoscaler_config.h"
#include "serving/kinds.h"
#include "serving/names.h"
#include "broker/model.h"

/* Requests at a time that a replica without a limit is meant to have, as Knative's default is. */
#define CONCURRENCY_DEFAULT 100
#define LIMIT_MAX           1000000.0
#define AHEAD_MIN           16
#define FIRST_LIST_MS       5000
#define DELIVERIES_MAX      3600 /* of one worker, as far as each may have one: sockets are bounded */
#define FAIR_STEP           4
#define KEY_MAX             256
#define LOCAL_SUFFIX        ".svc.cluster.local"

struct served {
    char *key;        /* "NS/SERVICE" */
    struct list revs; /* struct rev */
};

struct rev {
    struct list link;
    const struct served *service;
    char *name;
    struct capacity_facts facts;
    unsigned callers; /* triggers, and asynchronous calls, that have something for it */
};

/* What a name means; n 0: no function. */
struct group {
    bool routed;                            /* by its Route; else all Revisions of its Service */
    struct rev *revs[ROUTES_REVISIONS_MAX]; /* of more than that most have no traffic */
    size_t n;
};

struct capacity {
    struct map services; /* key -> struct served */
    struct kube_cache *cache;
    uint64_t begun_ms;
    unsigned busy; /* triggers that have something to deliver */
};

/* What is kept of a PodAutoscaler. */
struct view {
    char *service;
    struct capacity_facts facts;
    bool reachable;
};

/* --- what it can take ---------------------------------------------------------------------- */

unsigned capacity_of(const struct capacity_facts *facts, size_t n)
{
    double sum = 0;
    double most = 1;
    for (size_t i = 0; i < n; i++) {
        const struct capacity_facts *f = &facts[i];
        double each = f->concurrency > 0 ? (double)f->concurrency
                      : f->target > 0    ? ceil(f->target)
                                         : CONCURRENCY_DEFAULT;
        each *= f->backlog ? 1 : 2;
        sum += each * f->ready;
        most = each > most ? each : most;
    }
    return (unsigned)fmin(fmax(sum, most), LIMIT_MAX);
}

/* --- the watch ----------------------------------------------------------------------------- */

static const struct kube_kind podautoscalers = {"autoscaling.internal.knative.dev", "v1alpha1",
                                                "podautoscalers"};
static const char *const without[] = {"metadata.managedFields", "metadata.ownerReferences",
                                      "status.conditions",      "status.lullDecisions",
                                      "status.lullIdle",        NULL};

static int project(void *arg, const json_t *object, void *value, struct error *err)
{
    struct view *v = value;
    struct slice service = jpeek_str(object, "metadata.labels.`" LABEL_SERVICE "`");
    if (slice_empty(service)) {
        return 1;
    }
    struct slice metric = jpeek_str(object, "metadata.annotations.`" ANNOTATION_METRIC "`");
    struct slice target = jpeek_str(object, "metadata.annotations.`" ANNOTATION_TARGET "`");
    v->service = slice_dup(service);
    v->reachable = strcmp(jpeek_cstr(object, "spec.reachability"), "Unreachable") != 0;
    v->facts.concurrency = jpeek_i64(object, "spec.containerConcurrency");
    v->facts.backlog = slice_eq_str(metric, scaling_metric_text(SCALING_BACKLOG));
    int64_t ready = jpeek_i64(object, "status.actualScale");
    v->facts.ready = ready > 0 && ready <= INT32_MAX ? (int32_t)ready : 0;
    bool of_requests =
        slice_empty(metric) || slice_eq_str(metric, scaling_metric_text(SCALING_CONCURRENCY));
    if (!of_requests || num_parse_double(target, 0, LIMIT_MAX, &v->facts.target, NULL) < 0) {
        v->facts.target = 0;
    }
    return 0;
}

static void release(void *arg, void *value)
{
    free(((struct view *)value)->service);
}

static struct slice make_key(struct slice ns, struct slice name, char buf[KEY_MAX])
{
    int n = snprintf(buf, KEY_MAX, "%.*s/%.*s", SLICE_FMT(ns), SLICE_FMT(name));
    return slice_of(buf, n > 0 && n < KEY_MAX ? (size_t)n : 0);
}

static struct served *find(const struct worker *w, struct slice ns, struct slice name)
{
    char buf[KEY_MAX];
    struct slice key = make_key(ns, name, buf);
    return w->capacity == NULL || slice_empty(key) ? NULL : map_get(&w->capacity->services, key);
}

static struct rev *find_rev(const struct served *s, const char *name)
{
    list_foreach (node, &s->revs) {
        struct rev *rev = LIST_ENTRY(node, struct rev, link);
        if (strcmp(rev->name, name) == 0) {
            return rev;
        }
    }
    return NULL;
}

static void rev_free(struct rev *rev)
{
    list_remove(&rev->link);
    free(rev->name);
    free(rev);
}

static void served_free(struct capacity *c, struct served *s)
{
    map_remove(&c->services, slice_str(s->key));
    list_foreach_safe (node, &s->revs) {
        rev_free(LIST_ENTRY(node, struct rev, link));
    }
    free(s->key);
    free(s);
}

static void put(struct worker *w, const struct kube_entry *entry)
{
    const struct view *v = entry->value;
    char buf[KEY_MAX];
    struct slice key = make_key(slice_str(entry->ns), slice_str(v->service), buf);
    struct served *s = map_get(&w->capacity->services, key);
    if (slice_empty(key)) {
        return;
    }
    if (s == NULL) {
        s = NEW(struct served);
        s->key = slice_dup(key);
        list_init(&s->revs);
        map_set(&w->capacity->services, slice_str(s->key), s);
    }
    struct rev *rev = find_rev(s, entry->name);
    if (rev == NULL) {
        rev = NEW(struct rev);
        rev->service = s;
        rev->name = xstrdup(entry->name);
        list_push_back(&s->revs, &rev->link);
    }
    rev->facts = v->facts;
}

static void drop(struct worker *w, const struct kube_entry *entry, const struct view *v)
{
    struct served *s = find(w, slice_str(entry->ns), slice_str(v->service));
    struct rev *rev = s == NULL ? NULL : find_rev(s, entry->name);
    if (rev == NULL) {
        return;
    }
    rev_free(rev);
    if (list_empty(&s->revs)) {
        served_free(w->capacity, s);
    }
}

static void on_add(void *arg, const struct kube_entry *entry)
{
    const struct view *v = entry->value;
    if (v->reachable) {
        put(arg, entry);
    } else {
        drop(arg, entry, v);
    }
}

static void on_update(void *arg, const struct kube_entry *entry, const void *old)
{
    on_add(arg, entry);
}

static void on_delete(void *arg, const struct kube_entry *entry)
{
    drop(arg, entry, entry->value);
}

int capacity_start(struct worker *w, struct error *err)
{
    struct kube_cache_options options = {
        .kind = podautoscalers,
        .without = without,
        .value_size = sizeof(struct view),
        .optional = true, /* events also go where no functions are */
        .project = project,
        .release = release,
        .on_add = on_add,
        .on_update = on_update,
        .on_delete = on_delete,
        .arg = w,
    };
    w->capacity = NEW(struct capacity);
    w->capacity->begun_ms = loop_now_ms(w->loop);
    map_init(&w->capacity->services, MAP_BORROW_KEYS);
    return kube_cache_start(w->client, &options, &w->capacity->cache, err);
}

void capacity_close(struct worker *w)
{
    if (w->capacity != NULL && w->capacity->cache != NULL) {
        kube_cache_close(w->capacity->cache, NULL, NULL);
        w->capacity->cache = NULL;
    }
}

void capacity_free(struct worker *w)
{
    if (w->capacity == NULL) {
        return;
    }
    map_foreach (it, &w->capacity->services) {
        served_free(w->capacity, it.value);
    }
    map_fini(&w->capacity->services);
    free(w->capacity);
    w->capacity = NULL;
}

/* --- questions ----------------------------------------------------------------------------- */

bool capacity_service(const struct target *target, struct slice *ns, struct slice *name)
{
    if (!target->local) {
        return false;
    }
    struct slice rest = slice_sub(target->host, 0, target->host.len - strlen(LOCAL_SUFFIX));
    ptrdiff_t dot = slice_find(rest, '.');
    if (dot <= 0) {
        return false;
    }
    *name = slice_sub(rest, 0, (size_t)dot);
    *ns = slice_sub(rest, (size_t)dot + 1, rest.len);
    return !slice_empty(*ns) && slice_find(*ns, '.') < 0;
}

/* The Revisions that the Route of this name leads to, as far as they may have replicas. */
static void add_routed(const struct worker *w, struct slice ns, struct slice name,
                       struct group *out)
{
    struct routes_lead lead;
    char space[KEY_MAX];
    if (w->capacity->cache == NULL || !slice_copy(ns, space, sizeof(space)) ||
        !routes_find(w, ns, name, &lead)) {
        return;
    }
    for (size_t i = 0; i < lead.n; i++) {
        const struct view *v = kube_cache_value(w->capacity->cache, space, lead.revisions[i]);
        const struct served *s = v == NULL ? NULL : find(w, ns, slice_str(v->service));
        struct rev *rev = s == NULL ? NULL : find_rev(s, lead.revisions[i]);
        if (rev != NULL) {
            out->revs[out->n++] = rev;
        }
    }
    out->routed = out->n > 0;
}

static struct group find_group(const struct worker *w, struct slice ns, struct slice name)
{
    struct group g = {0};
    if (w->capacity == NULL) {
        return g;
    }
    add_routed(w, ns, name, &g);
    const struct served *s = g.routed ? NULL : find(w, ns, name);
    if (s == NULL) {
        return g;
    }
    list_foreach (node, &s->revs) {
        if (g.n < ARRAY_LEN(g.revs)) {
            g.revs[g.n++] = LIST_ENTRY(node, struct rev, link);
        }
    }
    return g;
}

unsigned capacity_limit(const struct worker *w, struct slice ns, struct slice name)
{
    struct capacity_facts facts[ROUTES_REVISIONS_MAX];
    struct group g = find_group(w, ns, name);
    unsigned callers = 1;
    for (size_t i = 0; i < g.n; i++) {
        facts[i] = g.revs[i]->facts;
        callers = g.revs[i]->callers > callers ? g.revs[i]->callers : callers;
    }
    if (g.n == 0) {
        return CAPACITY_UNLIMITED;
    }
    unsigned limit = capacity_of(facts, g.n);
    unsigned shares = callers * (w->workers > 1 ? w->workers : 1);
    return limit > shares ? (limit + shares - 1) / shares : 1;
}

bool capacity_by_backlog(const struct worker *w, struct slice ns, struct slice name)
{
    struct group g = find_group(w, ns, name);
    for (size_t i = 0; i < g.n; i++) {
        if (g.revs[i]->facts.backlog) {
            return true;
        }
    }
    return false;
}

/* What functions can take is about to be known: they had better not get too much before. */
static bool is_about_to_know(const struct worker *w)
{
    const struct capacity *c = w->capacity;
    return c != NULL && c->cache != NULL && !(kube_cache_synced(c->cache) && routes_synced(w)) &&
           loop_now_ms(w->loop) < c->begun_ms + FIRST_LIST_MS;
}

unsigned capacity_share(const struct trigger *t)
{
    struct slice ns;
    struct slice name;
    return t->ready && capacity_service(&t->target, &ns, &name)
               ? capacity_limit(t->worker, ns, name)
               : CAPACITY_UNLIMITED;
}

unsigned capacity_room(const struct trigger *t)
{
    unsigned limit = capacity_share(t);
    unsigned sent = 0;
    if (t->target.local && is_about_to_know(t->worker)) {
        return 0;
    }
    if (limit == CAPACITY_UNLIMITED) {
        return limit;
    }
    list_foreach (node, &t->deliveries) {
        sent += LIST_ENTRY(node, struct delivery, link)->state == DELIVERY_SENDING ? 1 : 0;
    }
    return sent < limit ? limit - sent : 0;
}

unsigned capacity_ahead(const struct trigger *t, unsigned most)
{
    unsigned limit = capacity_share(t);
    if (limit >= most) {
        return most;
    }
    unsigned ahead = limit + (limit > AHEAD_MIN ? limit : AHEAD_MIN);
    return ahead < most ? ahead : most;
}

static size_t bytes_of(const struct trigger *t)
{
    size_t bytes = 0;
    list_foreach (node, &t->deliveries) {
        const struct delivery *d = LIST_ENTRY(node, struct delivery, link);
        bytes += d->payload == NULL ? 0 : d->payload->bytes;
    }
    return bytes;
}

unsigned capacity_fair(const struct trigger *t, unsigned most)
{
    const struct worker *w = t->worker;
    unsigned busy = w->capacity != NULL && w->capacity->busy > 0 ? w->capacity->busy : 1;
    unsigned part = DELIVERIES_MAX / busy;
    most = most < part ? most : part > 0 ? part : 1;
    if (w->payloads.used_bytes <= w->config->memory_bytes_max) {
        return most;
    }
    /* Memory is full: who has less than a fair part of it goes on in small steps. */
    if (bytes_of(t) >= w->config->memory_bytes_max / busy) {
        return 1;
    }
    return most < t->n_deliveries + FAIR_STEP ? most : t->n_deliveries + FAIR_STEP;
}

void capacity_count_begin(struct worker *w)
{
    if (w->capacity != NULL) {
        w->capacity->busy = 0;
        map_foreach (it, &w->capacity->services) {
            const struct served *s = it.value;
            list_foreach (node, &s->revs) {
                LIST_ENTRY(node, struct rev, link)->callers = 0;
            }
        }
    }
}

void capacity_count(struct worker *w, const struct trigger *t)
{
    struct slice ns;
    struct slice name;
    if (w->capacity != NULL) {
        w->capacity->busy++;
    }
    if (capacity_service(&t->target, &ns, &name)) {
        capacity_count_calls(w, ns, name);
    }
}

void capacity_count_calls(struct worker *w, struct slice ns, struct slice name)
{
    struct group g = find_group(w, ns, name);
    for (size_t i = 0; i < g.n; i++) {
        g.revs[i]->callers++;
    }
}

size_t capacity_routed(const struct worker *w, struct slice ns, struct slice name,
                       struct capacity_revision out[ROUTES_REVISIONS_MAX])
{
    struct group g = find_group(w, ns, name);
    for (size_t i = 0; g.routed && i < g.n; i++) {
        out[i] = (struct capacity_revision){slice_str(g.revs[i]->service->key), g.revs[i]->name};
    }
    return g.routed ? g.n : 0;
}
