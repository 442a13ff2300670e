// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Limits and order over several shards, as the handler sees them: every slot that a request takes
 * or gives back goes through here, so that its owner hears of it. Joins shards, lender and borrower
 * with the throttler; pure but for `flush`, which says that there is something to send.
 *
 * Alone (a NULL handler.sharing) the slot_ functions are the throttler's.
 */

#include "activator/borrower.h"
#include "activator/handler.h"
#include "activator/lender.h"

struct sharing {
    struct shards shards;
    struct lender lender;
    struct borrower borrower;
    struct handler *handler; /* private */
    void (*flush)(void *arg);
    void *flush_arg;
};

/* self: our id among the shards, copied. From now on the handler shares. */
void sharing_init(struct sharing *s, struct handler *h, const char *self, void (*flush)(void *arg),
                  void *arg);
/* The handler has no request any more. */
void sharing_fini(struct sharing *s);
/* A shard's `up`, or `leaving`, has changed. */
void sharing_moved(struct sharing *s);
/* Forwards what was lent, answers what was refused, asks for what waits. */
void sharing_pump(struct sharing *s, uint64_t now_ns);
/* There is nothing to pump but what is held. A request that was lent its slot is held no more. */
bool sharing_idle(const struct sharing *s);

/* As throttler_done and so on, and the owner of the slot hears of it. */
void slot_done(struct handler *h, struct ticket *tk, bool ok);
void slot_broken(struct handler *h, struct ticket *tk);
void slot_give_back(struct handler *h, struct ticket *tk, enum give_back why);
void slot_cancel(struct handler *h, struct ticket *tk);
