// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Finds the Pods of a part on Kubernetes: those of the system namespace with the label app=PART, at
 * their address and one port. Activators find each other and, as lull-broker does, the autoscalers
 * by it. Owns its watch; tells its owner. Our own Pod may be among them.
 */

#include "loop/addr.h"
#include "kube/cache.h"

struct part_pods_options {
    const char *app; /* value of the label; outlives the watch */
    const char *ns;  /* copied */
    uint16_t port;
    /* A Pod that runs came, or went or has another address now. */
    void (*on_add)(void *arg, const char *address);
    void (*on_remove)(void *arg, const char *address);
    void *arg;
};

struct part_pods {
    struct part_pods_options options; /* private, like the rest */
    struct kube_cache *cache;
    char *ns;
};

/* The client outlives it. */
MUST_CHECK int part_pods_start(struct part_pods *p, struct kube_client *client,
                               const struct part_pods_options *options, struct error *err);
/* cb comes later; without a start that went well at once. */
void part_pods_close(struct part_pods *p, void (*cb)(void *arg), void *arg);
