// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: a Pod that runs and has an address is dialled until it is gone or has another address. One
 * that is being deleted is left in: it still has requests, and says by itself when it stops owning.
 */
#include "activator/mesh_pods.h"

#include <stdlib.h>

#include "base/mem.h"
#include "json/jget.h"
#include "serving/kinds.h"

#define LABEL_APP     "app"
#define APP_ACTIVATOR "lull-activator"

struct peer_pod {
    char address[ADDR_TEXT_MAX]; /* "" : not to be dialled */
};

static int project(void *arg, const json_t *object, void *value, struct error *err)
{
    const struct mesh_pods *p = arg;
    struct peer_pod *pod = value;
    struct addr addr;
    if (!slice_eq_str(jpeek_str(object, "metadata.namespace"), p->ns) ||
        !slice_eq_str(jpeek_str(object, "metadata.labels." LABEL_APP), APP_ACTIVATOR)) {
        return 1;
    }
    if (slice_eq_str(jpeek_str(object, "status.phase"), "Running") &&
        addr_from_ip(jpeek_str(object, "status.podIP"), (uint16_t)p->port, &addr, NULL) == 0) {
        addr_format(&addr, pod->address, sizeof(pod->address));
    }
    return 0;
}

static void on_add(void *arg, const struct kube_entry *entry)
{
    const struct mesh_pods *p = arg;
    const struct peer_pod *pod = entry->value;
    if (pod->address[0] != '\0') {
        mesh_add(p->mesh, pod->address);
    }
}

static void gone(const struct mesh_pods *p, const struct peer_pod *pod)
{
    if (pod->address[0] != '\0') {
        mesh_remove(p->mesh, pod->address);
    }
}

static void on_update(void *arg, const struct kube_entry *entry, const void *old)
{
    const struct peer_pod *pod = entry->value;
    const struct peer_pod *before = old;
    if (strcmp(pod->address, before->address) != 0) {
        gone(arg, before);
        on_add(arg, entry);
    }
}

static void on_delete(void *arg, const struct kube_entry *entry)
{
    gone(arg, entry->value);
}

int mesh_pods_start(struct mesh_pods *p, struct mesh *mesh, struct kube_client *client,
                    const struct config *config, struct error *err)
{
    struct addr own;
    int rc = addr_parse(slice_str(config->peer_listen), &own, err);
    if (rc < 0) {
        return rc;
    }
    *p = (struct mesh_pods){
        .mesh = mesh, .ns = xstrdup(config->system_namespace), .port = addr_port(&own)};
    struct kube_cache_options o = {.kind = KUBE_KIND(kind_row(KIND_POD)),
                                   .ns = p->ns,
                                   .label_selector = LABEL_APP "=" APP_ACTIVATOR,
                                   .value_size = sizeof(struct peer_pod),
                                   .project = project,
                                   .on_add = on_add,
                                   .on_update = on_update,
                                   .on_delete = on_delete,
                                   .arg = p};
    rc = kube_cache_start(client, &o, &p->cache, err);
    if (rc < 0) {
        free(p->ns);
        p->ns = NULL;
    }
    return rc;
}

void mesh_pods_close(struct mesh_pods *p, void (*cb)(void *arg), void *arg)
{
    kube_cache_close(p->cache, cb, arg);
    p->cache = NULL;
    free(p->ns);
    p->ns = NULL;
}
