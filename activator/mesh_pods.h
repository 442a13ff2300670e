// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Finds the other activators on Kubernetes: Pods of the system namespace with the label
 * app=lull-activator, at their address and our own peer port. Owns its watch; tells the mesh.
 * Our own Pod is among them; the mesh notices.
 */

#include "kube/cache.h"
#include "activator/mesh.h"

struct mesh_pods {
    struct mesh *mesh; /* private, like the rest */
    struct kube_cache *cache;
    char *ns;
    unsigned port;
};

/* peer_listen is "IP:PORT". The client and the mesh outlive it. */
MUST_CHECK int mesh_pods_start(struct mesh_pods *p, struct mesh *mesh, struct kube_client *client,
                               const struct config *config, struct error *err);
/* cb comes later. Requires that the start went well. */
void mesh_pods_close(struct mesh_pods *p, void (*cb)(void *arg), void *arg);
