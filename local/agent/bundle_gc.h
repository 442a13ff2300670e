// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Removes bundles that nothing refers to any more: no Service, Configuration, Revision, Deployment
 * or Pod names their digest, and nobody deployed them for a while. Owns: the folders
 * $LULL_HOME/bundles/.gc-HEX and .gone-HEX. May not: block the loop, or trust a list that is older
 * than the removal.
 */

#include "base/error.h"
#include "loop/loop.h"
#include "local/store.h"

struct bundle_gc;

struct bundle_gc_options {
    struct loop *loop;
    struct store *store; /* outlives it */
    const char *home;    /* $LULL_HOME */
    uint64_t grace_ms;   /* a bundle stays so long after it was deployed last */
};

/* Never fails; looks for the first time when a part of the grace has gone by. */
struct bundle_gc *bundle_gc_start(const struct bundle_gc_options *options);
typedef void (*bundle_gc_close_cb)(void *arg);
/* Idempotent; cb comes later. What is being removed then goes at the next start. */
void bundle_gc_close(struct bundle_gc *gc, bundle_gc_close_cb cb, void *arg);
