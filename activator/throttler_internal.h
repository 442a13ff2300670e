// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What revision.c and throttler.c share; for nobody else. Owns nothing. */

#include "base/clock.h"
#include "activator/throttler.h"

/* The replica that takes the next request, or NULL. paced: keep to the revision's window. */
struct replica *revision_pick(struct throttler *t, struct revision *r, bool paced, uint64_t now_ns);
/* When a replica that is set aside or full is to be tried again; UINT64_MAX: no such time. */
uint64_t revision_next_try_ns(const struct revision *r, uint64_t now_ns);
/* Held requests of it may have somewhere to go now. */
void revision_wake(struct throttler *t, struct revision *r);
/* Frees it when the object is gone and nothing is left of it. */
void revision_drop_if_empty(struct throttler *t, struct revision *r);
/* One request fewer on it; frees it when its Pod is gone and this was the last. */
void replica_unref(struct throttler *t, struct replica *p);
/* It answered: forget its failures. */
void replica_good(struct replica *p);
/* It could not take a request: leave it alone for a while, longer each time. */
void replica_bad(struct replica *p, enum give_back why, uint64_t now_ns);
