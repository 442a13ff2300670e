// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The links between shards. Each shard listens and dials every other: what we borrow goes over the
 * link that we dialled, what we lend over those that were dialled to us. Owns the links and says to
 * `sharing` who is there.
 *
 * Workers of one activator meet at abstract unix sockets "BASE.INDEX"; workers of different
 * activators over TCP with the install secret, worker i at the peer port + i. Frames (lib/link):
 *   HELLO    dialler   its id
 *   WELCOME  listener  u8 number of workers of its activator | its id
 *   OPS      both      slot_ops.h
 *   NEWS     listener  an announcement that it has proven (serving/announce.h)
 *   PING     dialler   every second; PONG comes back. Silence for 6 s ends the link
 *
 * Failure modes: a link breaks, or is silent: what was lent over it is taken back at both ends, and
 * the revisions of that shard get another owner until it is back.
 */

#include "loop/closer.h"
#include "loop/timer.h"
#include "activator/config.h"
#include "activator/sharing.h"
#include "activator/worker.h"
#include "link/link.h"

struct mesh {
    struct loop *loop; /* private, like the rest */
    const struct config *config;
    struct handler *handler;
    struct sharing sharing;
    struct strbuf secret;
    struct list dials;
    struct link_server *servers[2]; /* for our own workers, for other activators */
    struct addr listen[2];
    bool listens[2]; /* is wanted */
    struct loop_task flush;
    struct timer timer;
    struct closer closer;
    unsigned workers; /* of this activator */
    unsigned index;
    uint64_t resets; /* links that were silent */
    /* Set after mesh_start: another shard has proven this announcement of a replica. */
    void (*announced)(void *arg, struct slice text);
    void *announced_arg;
    bool leaving;
    bool up;
};

/* id NULL: alone, and without --peers nothing is done. After an error mesh_close is still due. */
MUST_CHECK int mesh_start(struct mesh *m, struct loop *loop, const struct config *config,
                          const struct worker_id *id, const char *instance, struct handler *handler,
                          struct error *err);
/* We drain: others own from now on; what we borrow goes on. */
void mesh_leave(struct mesh *m);
/* Another activator at this address ("IP:PORT" of its first worker), or it is gone. */
void mesh_add(struct mesh *m, const char *address);
void mesh_remove(struct mesh *m, const char *address);
/* A replica has announced itself and was proven: all other shards hear of it, before they are lent
 * any slot of it. */
void mesh_tell(struct mesh *m, struct slice announcement);
/* The handler has no request any more. cb comes later; fine when not started. */
void mesh_close(struct mesh *m, void (*cb)(void *arg), void *arg);
