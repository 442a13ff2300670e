// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The shards (workers, of this activator and of others) that share revisions with a limit, and
 * which of them owns a revision: rendezvous hash of shard and revision, so that a shard that comes
 * or goes moves only its own. Pure. Owns the shards; the caller's link hangs on each.
 *
 * A shard counts while it is up. We count too unless we are leaving and somebody else is there.
 */

#include "base/list.h"
#include "activator/slot_ops.h"

struct shard {
    struct list link; /* private: in shards.all */
    char *id;         /* owned */
    uint64_t hash;    /* private */
    bool up;          /* its link works: it can be asked */
    struct ops_out out;
    struct list loans; /* the borrower's: what was asked of it */
    void *user;        /* the caller's */
};

struct shards {
    struct list all; /* the others */
    char *self;      /* owned */
    uint64_t self_hash;
    bool leaving; /* own nothing any more */
};

void shards_init(struct shards *s, const char *self);
/* Frees the shards too. A zeroed one is fine. */
void shards_fini(struct shards *s);
/* Finds or adds. NULL: that is ourselves. */
struct shard *shards_put(struct shards *s, struct slice id);
/* Who owns the revision "ns/name"; NULL: we do. */
struct shard *shards_owner(const struct shards *s, struct slice revision);
/* Others that are up. */
unsigned shards_up(const struct shards *s);
