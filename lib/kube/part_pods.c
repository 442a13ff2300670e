// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: a Pod that runs and has an address is told of until it is gone or has another address. One
 * that is being deleted is left in: it still works, and says by itself when it stops.
 */
#include "kube/part_pods.h"

#include <stdlib.h>

#include "base/mem.h"
#include "json/jget.h"

#define LABEL_APP "app"

struct part_pod {
    char address[ADDR_TEXT_MAX]; /* "" : not to be dialled */
};

static int project(void *arg, const json_t *object, void *value, struct error *err)
{
    const struct part_pods *p = arg;
    struct part_pod *pod = value;
    struct addr addr;
    if (!slice_eq_str(jpeek_str(object, "metadata.namespace"), p->ns) ||
        !slice_eq_str(jpeek_str(object, "metadata.labels." LABEL_APP), p->options.app)) {
        return 1;
    }
    if (slice_eq_str(jpeek_str(object, "status.phase"), "Running") &&
        addr_from_ip(jpeek_str(object, "status.podIP"), p->options.port, &addr, NULL) == 0) {
        addr_format(&addr, pod->address, sizeof(pod->address));
    }
    return 0;
}

static void on_add(void *arg, const struct kube_entry *entry)
{
    const struct part_pods *p = arg;
    const struct part_pod *pod = entry->value;
    if (pod->address[0] != '\0') {
        p->options.on_add(p->options.arg, pod->address);
    }
}

static void gone(const struct part_pods *p, const struct part_pod *pod)
{
    if (pod->address[0] != '\0') {
        p->options.on_remove(p->options.arg, pod->address);
    }
}

static void on_update(void *arg, const struct kube_entry *entry, const void *old)
{
    const struct part_pod *pod = entry->value;
    const struct part_pod *before = old;
    if (strcmp(pod->address, before->address) != 0) {
        gone(arg, before);
        on_add(arg, entry);
    }
}

static void on_delete(void *arg, const struct kube_entry *entry)
{
    gone(arg, entry->value);
}

int part_pods_start(struct part_pods *p, struct kube_client *client,
                    const struct part_pods_options *options, struct error *err)
{
    *p = (struct part_pods){.options = *options, .ns = xstrdup(options->ns)};
    CLEANUP(cleanup_free) char *selector = xasprintf(LABEL_APP "=%s", options->app);
    struct kube_cache_options o = {.kind = {"", "v1", "pods"},
                                   .ns = p->ns,
                                   .label_selector = selector,
                                   .value_size = sizeof(struct part_pod),
                                   .project = project,
                                   .on_add = on_add,
                                   .on_update = on_update,
                                   .on_delete = on_delete,
                                   .arg = p};
    return kube_cache_start(client, &o, &p->cache, err);
}

void part_pods_close(struct part_pods *p, void (*cb)(void *arg), void *arg)
{
    free(p->ns);
    p->ns = NULL;
    if (p->cache == NULL) {
        cb(arg);
        return;
    }
    kube_cache_close(p->cache, cb, arg);
    p->cache = NULL;
}
