// SPDX-License-Identifier: Apache-2.0
/*
 * Knative's rule: of the Revisions that are not active, in the order of their last activity, those
 * go that are older than both ages, as long as the minimum stays; then the oldest of the rest, as
 * long as there are more than the maximum.
 * Failure modes: none; a Revision whose times cannot be read counts as just made.
 */
#include "controller/gc.h"

#include <stdlib.h>

#include "base/mem.h"
#include "json/jget.h"
#include "controller/meta.h"

enum {
    DELETES_MAX = 8,       /* of one run; the next one goes on */
    LOOK_MAX_MS = 3600000, /* the wall clock may be set meanwhile */
    ROOM_STEP = 32,
};

static bool is_active(const struct revision_facts *r, const char *latest_ready)
{
    return !r->reserve || r->keep || r->routed || strcmp(r->name, latest_ready) == 0;
}

/* When both ages are reached; INT64_MAX: never. */
static int64_t stale_at(const struct gc_config *config, const struct revision_facts *r)
{
    int64_t at = INT64_MIN;
    if (config->since_create_ns == GC_DISABLED && config->since_active_ns == GC_DISABLED) {
        return INT64_MAX;
    }
    if (config->since_create_ns != GC_DISABLED &&
        __builtin_add_overflow(r->created_ns, config->since_create_ns, &at)) {
        return INT64_MAX;
    }
    int64_t idle = INT64_MIN;
    if (config->since_active_ns != GC_DISABLED &&
        __builtin_add_overflow(r->active_ns, config->since_active_ns, &idle)) {
        return INT64_MAX;
    }
    return idle > at ? idle : at;
}

static int by_activity(const void *a, const void *b)
{
    const struct revision_facts *x = a;
    const struct revision_facts *y = b;
    if (x->active_ns != y->active_ns) {
        return x->active_ns < y->active_ns ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

static void swap(struct revision_facts *a, struct revision_facts *b)
{
    struct revision_facts t = *a;
    *a = *b;
    *b = t;
}

/* Those that are not active to the front, in order. */
static size_t sort_inactive(const struct gc_input *in)
{
    size_t n = 0;
    for (size_t i = 0; i < in->count; i++) {
        if (!is_active(&in->revisions[i], in->latest_ready)) {
            swap(&in->revisions[i], &in->revisions[n++]);
        }
    }
    if (n > 0) {
        qsort(in->revisions, n, sizeof(*in->revisions), by_activity);
    }
    return n;
}

/* The stale ones to the front, both parts still in order; at most so many. */
static size_t take_stale(const struct gc_input *in, size_t n, size_t most)
{
    size_t stale = 0;
    for (size_t i = 0; i < n; i++) {
        if (stale < most && stale_at(in->config, &in->revisions[i]) <= in->now_ns) {
            struct revision_facts r = in->revisions[i];
            memmove(in->revisions + stale + 1, in->revisions + stale,
                    (i - stale) * sizeof(*in->revisions));
            in->revisions[stale++] = r;
        }
    }
    return stale;
}

size_t gc_decide(const struct gc_input *in, uint64_t *out_next_ms)
{
    const struct gc_config *config = in->config;
    int64_t next = INT64_MAX;
    *out_next_ms = 0;
    if ((int64_t)in->count <= config->min_non_active) {
        return 0;
    }
    size_t n = sort_inactive(in);
    if ((int64_t)n <= config->min_non_active) {
        return 0;
    }
    size_t most = n - (size_t)config->min_non_active;
    size_t gone = take_stale(in, n, most);
    if (config->max_non_active != GC_DISABLED && (int64_t)(n - gone) > config->max_non_active) {
        gone = n - (size_t)config->max_non_active;
    }
    for (size_t i = gone; gone < most && i < n; i++) {
        int64_t at = stale_at(config, &in->revisions[i]);
        next = at < next ? at : next;
    }
    if (next != INT64_MAX) {
        uint64_t ms = next > in->now_ns ? (uint64_t)(next - in->now_ns) / 1000000 + 1 : 1;
        *out_next_ms = ms > LOOK_MAX_MS ? LOOK_MAX_MS : ms;
    }
    return gone;
}

/* --- the reconciler ------------------------------------------------------------------------- */

struct list {
    struct revision_facts *items; /* names are borrowed from the caches */
    size_t count;
    size_t room;
};

static void add(void *arg, const struct revision_facts *facts)
{
    struct list *list = arg;
    if (list->count == list->room) {
        list->room += ROOM_STEP + list->room;
        list->items = xreallocarray(list->items, list->room, sizeof(*list->items));
    }
    list->items[list->count++] = *facts;
}

void reconcile_gc(const struct reconcile_env *env, const json_t *configuration, struct plan *plan)
{
    uint64_t next_ms;
    struct list list = {.count = 0};
    if (meta_deleting(configuration)) {
        return;
    }
    env->revisions_of(env->arg, meta_ns(configuration), meta_name(configuration), add, &list);
    struct gc_input in = {.config = &env->settings->gc,
                          .latest_ready =
                              jpeek_cstr(configuration, "status.latestReadyRevisionName"),
                          .now_ns = env->now_ns,
                          .revisions = list.items,
                          .count = list.count};
    size_t gone = gc_decide(&in, &next_ms);
    for (size_t i = 0; i < gone && i < DELETES_MAX; i++) {
        plan_delete(plan, KIND_REVISION, list.items[i].name, list.items[i].uid);
    }
    if (gone > 0) {
        size_t now = gone < DELETES_MAX ? gone : DELETES_MAX;
        plan_event(plan, false, "RevisionsCollected",
                   "Deleted %zu Revision%s that no Route uses any more, first \"%s\" (config-gc)",
                   now, now == 1 ? "" : "s", list.items[0].name);
    }
    if (gone > DELETES_MAX) {
        plan_again(plan, 1);
    } else if (next_ms > 0) {
        plan_again(plan, next_ms);
    }
    free(list.items);
}
