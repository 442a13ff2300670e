// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. A Broker or Trigger that is deleted takes its keys in Redis with it. What was deleted while
 * nobody looked is found when the connection comes up: what Redis has and we do not know is asked
 * of the API, and goes when that has it not either. What we know may be old: a watch that is cut,
 * or slower than another worker's, does not tell of what that worker already takes events for.
 *
 * A Broker's keys bear its name, which the next one may have: with them stands which Broker they
 * are of, and the deletion of another one removes nothing.
 *
 * Failure: the API does not answer: asked again after a while.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "json/jget.h"
#include "broker/model.h"

#define AGAIN_MS 30000

static void unlink_key(struct worker *w, const char *key)
{
    const struct slice args[] = {SLICE_LIT("UNLINK"), slice_str(key)};
    (void)worker_ask(w, args, ARRAY_LEN(args), NULL, NULL);
}

static void drop_trigger_keys(struct worker *w, const char *ns, const char *broker, const char *uid)
{
    for (size_t i = 0; stream_trigger_parts[i] != NULL; i++) {
        CLEANUP(cleanup_free)
        char *key = stream_trigger_key(ns, broker, uid, stream_trigger_parts[i]);
        unlink_key(w, key);
    }
    CLEANUP(cleanup_free) char *set = stream_key(ns, broker, "triggers");
    const struct slice args[] = {SLICE_LIT("SREM"), slice_str(set), slice_str(uid)};
    (void)worker_ask(w, args, ARRAY_LEN(args), NULL, NULL);
}

void leftover_drop_trigger(struct trigger *t)
{
    drop_trigger_keys(t->worker, t->broker->ns, t->broker->name, t->uid);
}

/* --- a broker ------------------------------------------------------------------------------ */

struct dropping {
    struct worker *w;
    char *path;
};

/* What sources have beside their outlet, of whatever kind it was. */
static void drop_source_keys(struct worker *w, const char *path)
{
    static const char *const parts[] = {"once", "runs", "wake", "reader"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        CLEANUP(cleanup_free) char *key = xasprintf("lull:{%s}:%s", path, parts[i]);
        unlink_key(w, key);
    }
}

static void on_dropped(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct dropping *d = arg;
    bool gone = err == NULL && redis_reply_int(reply, 0) == 1;
    if (gone && !d->w->stopping && worker_broker(d->w, slice_str(d->path)) == NULL) {
        const struct slice args[] = {SLICE_LIT("SREM"), SLICE_LIT(STREAM_BROKERS),
                                     slice_str(d->path)};
        (void)worker_ask(d->w, args, ARRAY_LEN(args), NULL, NULL);
        drop_source_keys(d->w, d->path);
    }
    free(d->path);
    free(d);
}

static void drop_broker_keys(struct worker *w, const char *ns, const char *name, const char *born)
{
    CLEANUP(cleanup_free) char *born_key = stream_key(ns, name, "born");
    CLEANUP(cleanup_free) char *events = stream_key(ns, name, "events");
    CLEANUP(cleanup_free) char *triggers = stream_key(ns, name, "triggers");
    CLEANUP(cleanup_free) char *prefix = stream_trigger_key(ns, name, "", "");
    const struct slice args[] = {
        SLICE_LIT("EVAL"), slice_str(stream_script_drop), SLICE_LIT("3"),  slice_str(born_key),
        slice_str(events), slice_str(triggers),           slice_str(born), slice_str(prefix),
    };
    struct dropping *d = NEW(struct dropping);
    *d = (struct dropping){.w = w, .path = xasprintf("%s/%s", ns, name)};
    if (worker_ask(w, args, ARRAY_LEN(args), on_dropped, d) < 0) {
        free(d->path);
        free(d);
    }
}

void leftover_drop_broker(struct broker *b)
{
    list_foreach (node, &b->triggers) {
        LIST_ENTRY(node, struct trigger, link)->reading.made = false;
    }
    b->reading.made = false;
    b->length = 0;
    drop_broker_keys(b->worker, b->ns, b->name, b->born);
}

/* --- what was deleted while nobody looked --------------------------------------------------- */

/* Where the API has what a path stands for. */
struct origin {
    const char *before; /* the namespace: of an outlet (outlet.h); "": a Broker's */
    struct kube_kind broker;
    struct kube_kind trigger;
};

#define PINGS                                      \
    {                                              \
        "sources.knative.dev", "v1", "pingsources" \
    }
#define OURS(plural)                           \
    {                                          \
        "sources.lull.dev", "v1alpha1", plural \
    }
static const struct origin origins[] = {
    {"source/ping/", PINGS, PINGS},
    {"source/webhook/", OURS("webhooksources"), OURS("webhooksources")},
    {"source/redis/", OURS("redissources"), OURS("redissources")},
    {"source/file/", OURS("filesources"), OURS("filesources")},
    {"", {"eventing.knative.dev", "v1", "brokers"}, {"eventing.knative.dev", "v1", "triggers"}},
};

/* A broker of which we do not know all that Redis has. */
struct look {
    struct worker *w;
    const struct origin *origin;
    char *ns;
    char *name;
    char *born;
    bool whole;  /* we do not know the broker */
    char **uids; /* triggers that we do not know; NULL: the API does */
    size_t n;
};

static void look_free(struct look *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->uids[i]);
    }
    free(l->uids);
    free(l->ns);
    free(l->name);
    free(l->born);
    free(l);
}

static void look_later(struct look *l)
{
    l->w->leftover_ms = loop_now_ms(l->w->loop) + AGAIN_MS;
    look_free(l);
}

static void on_broker_item(void *arg, const json_t *item)
{
    struct look *l = arg;
    struct broker_object object = {0};
    if (strcmp(jpeek_cstr(item, "metadata.name"), l->name) == 0 &&
        broker_object_project(NULL, item, &object, NULL) == 0) {
        l->whole = false;
    }
    broker_object_release(NULL, &object);
}

static void on_trigger_item(void *arg, const json_t *item)
{
    struct look *l = arg;
    const char *uid = jpeek_cstr(item, "metadata.uid");
    for (size_t i = 0; i < l->n; i++) {
        if (l->uids[i] != NULL && strcmp(l->uids[i], uid) == 0) {
            free(l->uids[i]);
            l->uids[i] = NULL;
        }
    }
}

static bool failed(struct look *l, const struct error *err)
{
    if (l->w->stopping) {
        look_free(l);
    } else if (err != NULL) {
        look_later(l);
    } else {
        return false;
    }
    return true;
}

static void on_triggers(void *arg, json_t *list, const struct error *err)
{
    struct look *l = arg;
    if (failed(l, err)) {
        return;
    }
    for (size_t i = 0; i < l->n; i++) {
        if (l->uids[i] != NULL) {
            drop_trigger_keys(l->w, l->ns, l->name, l->uids[i]);
        }
    }
    look_free(l);
}

static int ask_api(struct look *l, const struct kube_kind *kind,
                   void (*on_item)(void *, const json_t *), kube_cb cb)
{
    static const char *const without[] = {"metadata.managedFields", "metadata.ownerReferences",
                                          "spec", "status", NULL};
    struct error err;
    const struct kube_call call = {.kind = *kind,
                                   .ns = l->ns + strlen(l->origin->before),
                                   .on_item = on_item,
                                   .without = without,
                                   .cb = cb,
                                   .arg = l};
    return kube_list(l->w->client, &call, NULL, &err);
}

static void ask_triggers(struct look *l)
{
    if (l->n == 0) {
        look_free(l);
    } else if (ask_api(l, &l->origin->trigger, on_trigger_item, on_triggers) < 0) {
        look_later(l);
    }
}

static void on_brokers(void *arg, json_t *list, const struct error *err)
{
    struct look *l = arg;
    if (failed(l, err)) {
        return;
    }
    if (l->whole) {
        LOG_INFO("a broker was deleted while nobody looked, and its events with it",
                 LOG_STR("namespace", l->ns), LOG_STR("broker", l->name));
        drop_broker_keys(l->w, l->ns, l->name, l->born);
        look_free(l);
        return;
    }
    ask_triggers(l);
}

static bool uid_is_known(const struct worker *w, struct slice uid)
{
    map_foreach (it, &w->triggers) {
        if (slice_eq_str(uid, ((struct trigger *)it.value)->uid)) {
            return true;
        }
    }
    return false;
}

static void on_known(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct look *l = arg;
    struct worker *w = l->w;
    const struct redisReply *uids = redis_reply_at(reply, 1);
    CLEANUP(cleanup_free) char *path = xasprintf("%s/%s", l->ns, l->name);
    if (failed(l, err)) {
        return;
    }
    l->born = slice_dup(redis_reply_text(redis_reply_at(reply, 0)));
    l->uids = xcalloc(redis_reply_len(uids) + 1, sizeof(*l->uids));
    for (size_t i = 0; i < redis_reply_len(uids); i++) {
        struct slice uid = redis_reply_text(redis_reply_at(uids, i));
        if (!uid_is_known(w, uid)) {
            l->uids[l->n++] = slice_dup(uid);
        }
    }
    l->whole = worker_broker(w, slice_str(path)) == NULL;
    if (!l->whole) {
        ask_triggers(l);
    } else if (ask_api(l, &l->origin->broker, on_broker_item, on_brokers) < 0) {
        look_later(l);
    }
}

static void look_at(struct worker *w, struct slice path)
{
    ptrdiff_t slash = slice_rfind(path, '/');
    const struct origin *origin = origins;
    while (!slice_starts_with(path, slice_str(origin->before))) {
        origin++;
    }
    if (slash <= (ptrdiff_t)strlen(origin->before) || (size_t)slash + 1 == path.len) {
        return;
    }
    struct look *l = NEW(struct look);
    *l = (struct look){.w = w,
                       .origin = origin,
                       .ns = slice_dup(slice_sub(path, 0, (size_t)slash)),
                       .name = slice_dup(slice_sub(path, (size_t)slash + 1, path.len))};
    CLEANUP(cleanup_free) char *born = stream_key(l->ns, l->name, "born");
    CLEANUP(cleanup_free) char *set = stream_key(l->ns, l->name, "triggers");
    const struct slice args[] = {SLICE_LIT("EVAL"), slice_str(stream_script_known), SLICE_LIT("2"),
                                 slice_str(born), slice_str(set)};
    if (worker_ask(w, args, ARRAY_LEN(args), on_known, l) < 0) {
        look_free(l);
    }
}

static void on_members(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct worker *w = arg;
    for (size_t i = 0; !w->stopping && i < redis_reply_len(reply); i++) {
        look_at(w, redis_reply_text(redis_reply_at(reply, i)));
    }
}

void leftover_look(struct worker *w)
{
    const struct slice args[] = {SLICE_LIT("SMEMBERS"), SLICE_LIT(STREAM_BROKERS)};
    w->leftover_ms = 0;
    (void)worker_ask(w, args, ARRAY_LEN(args), on_members, w);
}
