// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A host name to an address, on the pool (getaddrinfo). Owns nothing but the question. What is
 * numeric is answered without asking anybody. May not: cache, or say how long an answer holds.
 */

#include "loop/addr.h"
#include "loop/loop.h"

struct resolve;

/* addr is NULL on an error (ERR_NOT_FOUND: no such name). The question is over and freed after it.
 */
typedef void (*resolve_cb)(void *arg, const struct addr *addr, const struct error *err);

/*
 * Zero: exactly one cb, never inside this call. The first address that the system prefers counts.
 * *out (may be NULL) serves to cancel.
 */
MUST_CHECK int resolve_start(struct loop *loop, struct slice host, uint16_t port, resolve_cb cb,
                             void *arg, struct resolve **out, struct error *err);
/* No callback will come; the loop runs until the pool has let go of the question. */
void resolve_cancel(struct resolve *r);
