// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The whole activator in one object: starts the parts in order, and ends them in order.
 *
 * It binds its two ports first (a busy port is an error at once; connections queue up in the
 * kernel), reads Routes, Revisions and Pods, and accepts when it knows them. Then READY=1.
 * One worker of several gets its bound sockets from its parent, and tells it instead.
 */

#include "loop/lifeline.h"
#include "loop/signals.h"
#include "kube/client.h"
#include "kube/part_pods.h"
#include "activator/admin.h"
#include "activator/announce.h"
#include "activator/front.h"
#include "activator/handler.h"
#include "activator/mesh.h"
#include "activator/reporter.h"
#include "activator/watch.h"
#include "activator/worker.h"

struct activator {
    struct loop *loop; /* private, like the rest */
    const struct config *config;
    struct handler handler;
    struct watch watch;
    struct announce announce;
    struct reporter reporter;
    struct front front;
    struct admin admin;
    const struct worker_id *worker_id; /* NULL: alone, not one of several */
    struct worker worker;
    struct mesh mesh;
    struct part_pods peer_pods;       /* other activators; without a cache: not looked for */
    struct part_pods autoscaler_pods; /* likewise */
    bool worker_up;
    bool mesh_up;
    struct kube_client *client;
    struct signals signals;
    struct lifeline lifeline;
    struct timer drain_timer;
    int bound[PORT_COUNT]; /* bound sockets, -1 once handed over */
    unsigned syncs_due;    /* first lists that are still to come */
    bool handler_up;
    bool watch_up;
    bool announce_up;
    bool front_up;
    bool reporter_up;
    bool admin_up;
    bool listening;
    bool stopping;
    bool closing;
    struct closer closer;
};

/* config and id (NULL: alone) outlive it. After an error call activator_stop() and run the loop all
 * the same. */
MUST_CHECK int activator_start(struct activator *a, struct loop *loop, const struct config *config,
                               const struct worker_id *id, struct error *err);
/* Drains (bounded), then closes everything; the loop runs empty then. Twice: at once. */
void activator_stop(struct activator *a);
