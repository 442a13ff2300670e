// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Order needs one reader. Of the workers that share a Redis one owns each broker that has a trigger
 * with order: it alone dispatches that broker's events and delivers to its triggers with order; all
 * else is shared as always. Ownership is a key in Redis that ends by itself when its worker does
 * not renew it. Who gets it takes over what the one before held and looks through it first.
 */

#include "broker/model.h"

/* Whether this worker dispatches the broker's events now. */
bool owner_may_dispatch(struct broker *b);
/* Whether it delivers to this trigger now. */
bool owner_may_deliver(struct trigger *t);
/* Four times a second: asks for ownership, renews it, notes that it is over. */
void owner_tick(struct broker *b);
/* The worker stops and has nothing under way: another may go on at once. True: Redis is being told.
 */
bool owner_release(struct worker *w);
