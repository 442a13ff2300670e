// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The activator's end of the stat link: HELLO after each connect, STATS every second, POKE at once,
 * to every autoscaler that there is: the leader decides, the standbys know the same. Each has a
 * link of its own, which connects again by itself, with a bounded queue of its own: one that is
 * slow or gone delays no other. Owns the links; reads the throttler.
 *
 * A report that cannot be sent is lost, which that autoscaler sees as "no data"; nothing is made up
 * afterwards. A poke that cannot be sent now goes out first thing after the next connect, as long
 * as its revision still waits: the throttler pokes again.
 */

#include "base/list.h"
#include "base/log.h"
#include "loop/closer.h"
#include "loop/timer.h"
#include "activator/config.h"
#include "activator/throttler.h"
#include "link/group.h"

struct reporter {
    struct loop *loop; /* private, like the rest */
    struct throttler *throttler;
    struct link_group links;
    struct timer timer;
    struct closer closer;
    struct log_limit trouble;
    char *name;
    char boot[17];
    uint64_t seq;
    uint64_t started_ns;
    uint64_t sent; /* frames */
    uint64_t lost; /* frames that one of them did not get */
};

/*
 * Tells about this throttler from now on, under this name, whoever config->autoscaler names, and
 * who is added later. ERR_INVALID: an address or the secret is no good.
 */
MUST_CHECK int reporter_start(struct reporter *r, struct loop *loop, const struct config *config,
                              const char *name, struct throttler *throttler, struct error *err);
/* One more autoscaler; one that is there already counts once. ERR_OVERLOAD: too many. */
MUST_CHECK int reporter_add(struct reporter *r, const char *address, struct error *err);
/* It is gone. Fine for an unknown one. */
void reporter_remove(struct reporter *r, const char *address);
/* To one of them at least. Fine for a zeroed reporter (false). */
bool reporter_connected(const struct reporter *r);
/* This revision has its first request waiting and nothing that could answer it. */
void reporter_poke(struct reporter *r, const struct revision *revision);
/* cb comes later; also after a start that failed. */
void reporter_close(struct reporter *r, void (*cb)(void *arg), void *arg);
