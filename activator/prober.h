// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Asks queue-proxies whether they are ready, without waiting for the platform to say so:
 * GET / with K-Network-Probe: queue, wants 200 and the body "queue". Used for Pods that have an
 * address but are not Ready in the API yet.
 *
 * Owns one small record per Pod that is wanted and the probes under way; each probe and each pause
 * is bounded.
 */

#include "base/map.h"
#include "loop/timer.h"
#include "http/client.h"

/* The Pod's queue-proxy answered: from now on prober_want() says true for it. */
typedef void (*prober_ready_cb)(void *arg, const char *ns, const char *pod);

struct prober {
    struct loop *loop; /* private, like the rest */
    struct map targets;
    prober_ready_cb ready;
    void *arg;
    bool closing;
};

struct prober_target {
    const char *ns;
    const char *pod;
    const char *uid;
    const char *address;
};

/* One probe: what is asked of a queue-proxy at this address (borrowed), and whether it is well. */
struct http_client_request prober_request(const char *address);
bool prober_is_good(int rc, const struct http_client_answer *answer);

void prober_init(struct prober *p, struct loop *loop, prober_ready_cb ready, void *arg);
/* Starts probing the Pod unless that is under way; returns whether it has answered already. */
bool prober_want(struct prober *p, const struct prober_target *target);
/* Stops; fine for one that was never wanted. */
void prober_forget(struct prober *p, const char *uid);
/* Stops all. What is left on the loop frees itself. */
void prober_close(struct prober *p);
