// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: one cache and one map per kind; each event of a cache is one call into the file of the
 * kind, which takes over what the cache's struct owns. What was deleted and made again is a new
 * one.
 */
#include "broker/sources.h"

#include <stdlib.h>

#include "base/mem.h"
#include "json/jbuild.h"
#include "http/simple.h"
#include "broker/cron.h"
#include "broker/ingress.h"
#include "broker/source_file.h"
#include "broker/source_redis.h"
#include "broker/source_webhook.h"

enum source_kind { SOURCE_PING, SOURCE_WEBHOOK, SOURCE_REDIS, SOURCE_FILE, SOURCE_KINDS };

struct kind_arg {
    struct sources *sources;
    enum source_kind kind;
};

struct sources {
    struct worker *worker;
    struct kube_cache *caches[SOURCE_KINDS];
    struct kind_arg args[SOURCE_KINDS];
    struct map running[SOURCE_KINDS]; /* "NS/NAME" → what its kind has */
    void (*on_list)(void *arg);
    void *on_list_arg;
};

/* What a kind does; one: what create made. */
struct kind_row {
    struct kube_kind kind;
    size_t value_size;
    int (*project)(void *arg, const json_t *object, void *value, struct error *err);
    void (*release)(void *arg, void *value);
    void *(*create)(struct worker *w, const char *ns, const char *name);
    void (*use)(void *one, const char *uid, void *value);
    void (*drop)(void *one); /* it was deleted */
    void (*free)(void *one);
    void (*tick)(void *one, uint64_t now_ms, size_t crowd);
    json_t *(*state)(const void *one);
};

#define OURS(plural)                           \
    {                                          \
        "sources.lull.dev", "v1alpha1", plural \
    }

static const struct kind_row rows[SOURCE_KINDS] = {
    [SOURCE_PING] = {{"sources.knative.dev", "v1", "pingsources"},
                     sizeof(struct ping_object),
                     ping_object_project,
                     ping_object_release,
                     ping_new,
                     ping_use,
                     ping_drop,
                     ping_free,
                     ping_tick,
                     ping_state},
    [SOURCE_WEBHOOK] = {OURS("webhooksources"), sizeof(struct webhook_object),
                        webhook_object_project, webhook_object_release, hook_new, hook_use,
                        hook_drop, hook_free, hook_tick, hook_state},
    [SOURCE_REDIS] = {OURS("redissources"), sizeof(struct redis_object), redis_object_project,
                      redis_object_release, redis_source_new, redis_source_use, redis_source_drop,
                      redis_source_free, redis_source_tick, redis_source_state},
    [SOURCE_FILE] = {OURS("filesources"), sizeof(struct file_object), file_object_project,
                     file_object_release, file_source_new, file_source_use, file_source_drop,
                     file_source_free, file_source_tick, file_source_state},
};

static const char *const without[] = {"metadata.managedFields", "metadata.ownerReferences",
                                      "status.conditions", NULL};

/* --- the API's news ------------------------------------------------------------------------ */

static void *find(struct sources *s, enum source_kind kind, const char *ns, const char *name)
{
    CLEANUP(cleanup_free) char *path = xasprintf("%s/%s", ns, name);
    return map_get(&s->running[kind], slice_str(path));
}

static void on_put(void *arg, const struct kube_entry *entry)
{
    const struct kind_arg *ka = arg;
    struct sources *s = ka->sources;
    const struct kind_row *row = &rows[ka->kind];
    CLEANUP(cleanup_free) char *path = xasprintf("%s/%s", entry->ns, entry->name);
    void *one = map_get(&s->running[ka->kind], slice_str(path));
    if (one == NULL) {
        LOG_INFO("source", LOG_STR("kind", row->kind.plural), LOG_STR("source", path));
        one = row->create(s->worker, entry->ns, entry->name);
        map_set(&s->running[ka->kind], slice_str(path), one);
    }
    row->use(one, entry->uid, entry->value);
}

static void on_update(void *arg, const struct kube_entry *entry, const void *old)
{
    on_put(arg, entry);
}

static void on_delete(void *arg, const struct kube_entry *entry)
{
    const struct kind_arg *ka = arg;
    struct sources *s = ka->sources;
    void *one = find(s, ka->kind, entry->ns, entry->name);
    if (one != NULL) {
        CLEANUP(cleanup_free) char *path = xasprintf("%s/%s", entry->ns, entry->name);
        LOG_INFO("source is deleted", LOG_STR("kind", rows[ka->kind].kind.plural),
                 LOG_STR("source", path));
        map_remove(&s->running[ka->kind], slice_str(path));
        rows[ka->kind].drop(one);
        rows[ka->kind].free(one);
    }
}

static void on_synced(void *arg)
{
    struct sources *s = ((struct kind_arg *)arg)->sources;
    s->on_list(s->on_list_arg);
}

/* --- life ---------------------------------------------------------------------------------- */

int sources_start(struct worker *w, void (*on_list)(void *arg), void *arg, struct error *err)
{
    struct sources *s = NEW(struct sources);
    int rc = 0;
    s->worker = w;
    s->on_list = on_list;
    s->on_list_arg = arg;
    w->sources = s;
    for (unsigned i = 0; i < SOURCE_KINDS; i++) {
        map_init(&s->running[i], MAP_COPY_KEYS);
        s->args[i] = (struct kind_arg){s, (enum source_kind)i};
    }
    for (unsigned i = 0; rc == 0 && i < SOURCE_KINDS; i++) {
        struct kube_cache_options options = {
            .kind = rows[i].kind,
            .optional = true,
            .without = without,
            .value_size = rows[i].value_size,
            .project = rows[i].project,
            .release = rows[i].release,
            .on_add = on_put,
            .on_update = on_update,
            .on_delete = on_delete,
            .on_synced = on_synced,
            .arg = &s->args[i],
        };
        rc = kube_cache_start(w->client, &options, &s->caches[i], err);
    }
    return rc;
}

bool sources_synced(const struct sources *s)
{
    for (unsigned i = 0; i < SOURCE_KINDS; i++) {
        if (s->caches[i] == NULL || !kube_cache_synced(s->caches[i])) {
            return false;
        }
    }
    return true;
}

const char *sources_trouble(const struct sources *s)
{
    for (unsigned i = 0; s != NULL && i < SOURCE_KINDS; i++) {
        if (s->caches[i] != NULL && !kube_cache_synced(s->caches[i])) {
            return kube_cache_trouble(s->caches[i]);
        }
    }
    return "";
}

void sources_close(struct sources *s)
{
    for (unsigned i = 0; s != NULL && i < SOURCE_KINDS; i++) {
        if (s->caches[i] != NULL) {
            kube_cache_close(s->caches[i], NULL, NULL);
            s->caches[i] = NULL;
        }
    }
}

void sources_free(struct sources *s)
{
    if (s == NULL) {
        return;
    }
    for (unsigned i = 0; i < SOURCE_KINDS; i++) {
        map_foreach (it, &s->running[i]) {
            rows[i].free(it.value);
        }
        map_fini(&s->running[i]);
    }
    s->worker->sources = NULL;
    free(s);
}

void sources_tick(struct sources *s)
{
    for (unsigned i = 0; s != NULL && i < SOURCE_KINDS; i++) {
        uint64_t now_ms = loop_now_ms(s->worker->loop);
        map_foreach (it, &s->running[i]) {
            rows[i].tick(it.value, now_ms, map_len(&s->running[i]));
        }
    }
}

json_t *sources_state(const struct sources *s)
{
    json_t *all = json_array();
    for (unsigned i = 0; s != NULL && i < SOURCE_KINDS; i++) {
        map_foreach (it, &s->running[i]) {
            json_t *one = rows[i].state(it.value);
            json_object_set_new(one, "kind", json_string(rows[i].kind.plural));
            json_array_append_new(all, one);
        }
    }
    return all;
}

void sources_hook(struct worker *w, struct http_simple_request *rq)
{
    struct slice rest = slice_sub(rq->path, sizeof(SOURCES_HOOKS) - 1, rq->path.len);
    struct error err = {0};
    struct hook *hook = NULL;
    if (rq->head->method_id != HTTP_METHOD_POST) {
        ingress_refuse_method(w, rq, "POST");
        return;
    }
    if (!w->synced || w->stopping) {
        error_set(&err, ERR_UNAVAILABLE,
                  w->stopping ? "shutting down" : "the list of sources is not loaded yet");
    } else {
        hook = map_get(&w->sources->running[SOURCE_WEBHOOK], rest);
        error_set(&err, ERR_NOT_FOUND, "there is no web hook %.*s",
                  SLICE_FMT(slice_sub(rest, 0, 512)));
    }
    if (hook != NULL) {
        hook_handle(hook, rq);
    } else {
        ingress_refuse(w, rq, &err);
    }
}
