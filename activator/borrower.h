// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The borrower's side of shared slots: our held requests of a revision that another shard owns ask
 * it for slots, one each, and report how each ended. Pure: bytes in, bytes out.
 *
 * Owns the loans (what was asked for, waiting or lent). Decides which revisions are borrowed: those
 * with a limit whose owner is another shard that is up. While an owner says that it is none, the
 * revision's requests go by themselves for a moment; the queue-proxies then hold the limit.
 *
 * borrower_done, _back and _cancel come right before the throttler's own call for the ticket, and
 * do nothing for a ticket that was not asked for.
 */

#include "base/map.h"
#include "activator/shards.h"
#include "activator/throttler.h"

struct borrower {
    struct throttler *throttler;
    struct shards *shards;
    struct map loans;    /* private: id -> struct loan, owned */
    struct map alone;    /* private: revision -> until when it goes without an owner */
    struct list ready;   /* private: loans whose request may be forwarded */
    struct list refused; /* private: loans whose request the owner has no room for */
    struct list parked;  /* private: granted on a replica that we do not know yet, or to ask anew */
    bool tell;           /* some that run may be unknown to their owner: borrower_tell() them */
    bool moved; /* slots may wait here for what we own no more: lender_moved(), and clear it */
    struct list spare;    /* private */
    uint32_t spare_count; /* private */
};

void borrower_init(struct borrower *b, struct throttler *t, struct shards *shards);
void borrower_fini(struct borrower *b);

/* Says where slots of r come from; before a request of it is admitted, and when it has changed. */
void borrower_place(struct borrower *b, struct revision *r, uint64_t now_ns);
/* Asks for every request that has not asked yet. */
void borrower_ask(struct borrower *b, uint64_t now_ns);
/* A frame from the owner. ERR_PROTOCOL: drop the link. Then take what is ready and refused. */
MUST_CHECK int borrower_input(struct borrower *b, struct shard *owner, struct slice frame,
                              uint64_t now_ns, struct error *err);
/* The next request that got its slot: forward it. NULL: none. */
struct ticket *borrower_next(struct borrower *b);
/* Nothing is ready, refused, to be told or moved. */
bool borrower_idle(const struct borrower *b);
/* The next request whose queue is full; still held: cancel it and answer. NULL: none. */
struct ticket *borrower_next_refused(struct borrower *b);

void borrower_done(struct borrower *b, struct ticket *tk, enum slot_end how);
void borrower_back(struct borrower *b, struct ticket *tk, enum give_back why);
void borrower_cancel(struct borrower *b, struct ticket *tk);

/*
 * A shard came, went (its `up` has changed), or we are leaving: everything finds its owner anew.
 * Nothing may be ready or refused. Then tell of what runs, and ask.
 */
void borrower_moved(struct borrower *b, uint64_t now_ns);
/* A granted ticket that was not lent: its revision's owner hears of it, if that is another. */
void borrower_tell(struct borrower *b, struct ticket *tk);
/* Tries again what is parked, and asks again who owns what went alone. Then pump. Returns when to
 * look again; UINT64_MAX: nothing is. */
uint64_t borrower_tick(struct borrower *b, uint64_t now_ns);
