// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The owner's side of shared slots: requests of other shards stand in our throttler's queues as
 * tickets of kind TICKET_SLOT, in order with our own. Pure: bytes in, bytes out.
 *
 * Owns the slots. A borrower's slots end with its link: lender_gone().
 */

#include "base/map.h"
#include "activator/slot_ops.h"
#include "activator/throttler.h"

struct lender {
    struct throttler *throttler;
    struct list borrowers; /* private */
    uint32_t waiting;      /* slots that are waited for */
    uint32_t lent;         /* slots that other shards have */
};

/* One shard that borrows from us; the caller's memory. */
struct borrower_peer {
    struct list link; /* private: in lender.borrowers */
    struct map slots; /* private: id -> struct slot, owned */
    struct ops_out out;
    void *user; /* the caller's */
};

struct slot {
    struct ticket ticket;
    struct borrower_peer *peer;
    uint64_t id;
    char key[8]; /* private: id, as the map's key */
};

void lender_init(struct lender *l, struct throttler *t);
void lender_came(struct lender *l, struct borrower_peer *peer, void *user);
/* All that it had and waited for is free again. */
void lender_gone(struct lender *l, struct borrower_peer *peer, uint64_t now_ns);
/* A frame of it. ERR_PROTOCOL: drop the link. Then pump the throttler. */
MUST_CHECK int lender_input(struct lender *l, struct borrower_peer *peer, struct slice frame,
                            uint64_t now_ns, struct error *err);
/* The throttler granted, or gave up, a ticket of kind TICKET_SLOT. Returns who is to hear of it. */
struct borrower_peer *lender_granted(struct lender *l, struct ticket *tk);
struct borrower_peer *lender_expired(struct lender *l, struct ticket *tk);
/* Revisions that are borrowed now are no longer ours to lend: whoever waits is told. */
void lender_moved(struct lender *l, uint64_t now_ns);
