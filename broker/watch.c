// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: two caches; each event is one call into the model, which takes over what the cache's struct
 * owns, so that nothing is kept twice.
 */
#include "broker/watch.h"

#include "broker/sources.h"

static const char *const broker_without[] = {"metadata.managedFields", "metadata.ownerReferences",
                                             "status.conditions", NULL};
static const char *const trigger_without[] = {"metadata.managedFields", "metadata.ownerReferences",
                                              "status.conditions", NULL};

static const struct kube_kind brokers = {"eventing.knative.dev", "v1", "brokers"};
static const struct kube_kind triggers = {"eventing.knative.dev", "v1", "triggers"};

static void on_broker(void *arg, const struct kube_entry *entry)
{
    worker_put_broker(arg, entry->ns, entry->name, entry->value);
}

static void on_broker_update(void *arg, const struct kube_entry *entry, const void *old)
{
    on_broker(arg, entry);
}

static void on_broker_delete(void *arg, const struct kube_entry *entry)
{
    worker_remove_broker(arg, entry->ns, entry->name);
}

static void on_trigger(void *arg, const struct kube_entry *entry)
{
    worker_put_trigger(arg, entry->ns, entry->name, entry->uid, entry->value);
}

static void on_trigger_update(void *arg, const struct kube_entry *entry, const void *old)
{
    on_trigger(arg, entry);
}

static void on_trigger_delete(void *arg, const struct kube_entry *entry)
{
    worker_remove_trigger(arg, entry->ns, entry->name);
}

static void on_list(void *arg)
{
    struct worker *w = arg;
    if (!w->synced && kube_cache_synced(w->broker_cache) && kube_cache_synced(w->trigger_cache) &&
        sources_synced(w->sources)) {
        w->synced = true;
        w->on_synced(w->on_synced_arg);
    }
}

int watch_start(struct worker *w, void (*on_synced)(void *arg), void *arg, struct error *err)
{
    w->on_synced = on_synced;
    w->on_synced_arg = arg;
    struct kube_cache_options broker_options = {
        .kind = brokers,
        .without = broker_without,
        .value_size = sizeof(struct broker_object),
        .project = broker_object_project,
        .release = broker_object_release,
        .on_add = on_broker,
        .on_update = on_broker_update,
        .on_delete = on_broker_delete,
        .on_synced = on_list,
        .arg = w,
    };
    struct kube_cache_options trigger_options = {
        .kind = triggers,
        .without = trigger_without,
        .value_size = sizeof(struct trigger_object),
        .project = trigger_object_project,
        .release = trigger_object_release,
        .on_add = on_trigger,
        .on_update = on_trigger_update,
        .on_delete = on_trigger_delete,
        .on_synced = on_list,
        .arg = w,
    };
    int rc = kube_cache_start(w->client, &broker_options, &w->broker_cache, err);
    rc = rc < 0 ? rc : kube_cache_start(w->client, &trigger_options, &w->trigger_cache, err);
    return rc < 0 ? rc : sources_start(w, on_list, w, err);
}

void watch_close(struct worker *w)
{
    if (w->broker_cache != NULL) {
        kube_cache_close(w->broker_cache, NULL, NULL);
    }
    if (w->trigger_cache != NULL) {
        kube_cache_close(w->trigger_cache, NULL, NULL);
    }
    w->broker_cache = w->trigger_cache = NULL;
    sources_close(w->sources);
}

const char *watch_trouble(const struct worker *w)
{
    const struct kube_cache *caches[] = {w->broker_cache, w->trigger_cache};
    for (size_t i = 0; i < ARRAY_LEN(caches); i++) {
        if (caches[i] != NULL && !kube_cache_synced(caches[i])) {
            return kube_cache_trouble(caches[i]);
        }
    }
    return sources_trouble(w->sources);
}
