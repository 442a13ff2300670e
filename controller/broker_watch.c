// SPDX-License-Identifier: Apache-2.0
/* Plan: a cache of one object, which keeps what broker_sight.h reads of it. */
#include "controller/broker_watch.h"

#include <stdlib.h>

#include "base/mem.h"
#include "kube/cache.h"
#include "serving/kinds.h"

struct broker_watch {
    struct broker_watch_options options;
    char *ns, *name;
    struct kube_cache *cache;
    void (*close_cb)(void *arg);
    void *close_arg;
};

static int project(void *arg, const json_t *deployment, void *value, struct error *err)
{
    const struct broker_watch *w = arg;
    (void)err;
    broker_deployment_read(deployment, w->ns, w->name, value);
    return 0;
}

static void changed(const struct broker_watch *w)
{
    if (kube_cache_synced(w->cache)) {
        w->options.on_change(w->options.arg);
    }
}

static void on_entry(void *arg, const struct kube_entry *entry)
{
    (void)entry;
    changed(arg);
}

static void on_update(void *arg, const struct kube_entry *entry, const void *old)
{
    (void)entry;
    (void)old;
    changed(arg);
}

static void on_synced(void *arg)
{
    const struct broker_watch *w = arg;
    w->options.on_change(w->options.arg);
}

int broker_watch_new(const struct broker_watch_options *options, struct broker_watch **out,
                     struct error *err)
{
    static const char *const without[] = {"spec.template", "metadata.managedFields", NULL};
    struct broker_watch *w = NEW(struct broker_watch);
    w->options = *options;
    w->ns = xstrdup(options->ns);
    w->name = xstrdup(options->name);
    CLEANUP(cleanup_free) char *selector = xasprintf("metadata.name=%s", options->name);
    struct kube_cache_options cache = {
        .kind = KUBE_KIND(kind_row(KIND_DEPLOYMENT)),
        .ns = options->ns,
        .field_selector = selector,
        .without = without,
        .value_size = sizeof(struct broker_seen),
        .project = project,
        .on_add = on_entry,
        .on_update = on_update,
        .on_delete = on_entry,
        .on_synced = on_synced,
        .arg = w,
    };
    int rc = kube_cache_start(options->client, &cache, &w->cache, err);
    if (rc < 0) {
        free(w->ns);
        free(w->name);
        free(w);
        return rc;
    }
    *out = w;
    return 0;
}

void broker_watch_ask(const struct broker_watch *w, struct broker_seen *out)
{
    const struct broker_seen *known = kube_cache_value(w->cache, w->ns, w->name);
    if (known != NULL) {
        *out = *known;
    } else if (kube_cache_synced(w->cache)) {
        broker_deployment_read(NULL, w->ns, w->name, out);
    } else {
        *out = (struct broker_seen){.phase = BROKER_UNKNOWN};
        (void)slice_copy(slice_str(kube_cache_trouble(w->cache)), out->message,
                         sizeof(out->message));
    }
}

static void on_closed(void *arg)
{
    struct broker_watch *w = arg;
    void (*cb)(void *) = w->close_cb;
    void *cb_arg = w->close_arg;
    free(w->ns);
    free(w->name);
    free(w);
    cb(cb_arg);
}

void broker_watch_close(struct broker_watch *w, void (*cb)(void *arg), void *arg)
{
    if (w == NULL) {
        cb(arg);
        return;
    }
    w->close_cb = cb;
    w->close_arg = arg;
    kube_cache_close(w->cache, on_closed, w);
}
