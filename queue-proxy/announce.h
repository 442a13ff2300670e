// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Says to an activator that this replica can take requests, the moment its function listens for the
 * first time: the platform tells of it up to a second later. Where the settings name no activator
 * nothing is done. Bounded: a few attempts with growing pauses, each with a time limit; over as
 * soon as an activator took it, refused it for good, or sent a request.
 *
 * Owns its timer and the request under way. serving/announce.h has the bytes.
 */

#include "loop/timer.h"
#include "http/client.h"
#include "queue-proxy/proxy.h"

struct announcer {
    struct loop *loop; /* private, like the rest */
    const struct config *config;
    const struct proxy *proxy;
    struct timer timer;
    struct http_client *request;
    uint64_t pause_ms;
    unsigned attempts;
    bool begun;
    bool closing;
};

/* config and proxy outlive it. */
void announcer_init(struct announcer *a, struct loop *loop, const struct config *config,
                    const struct proxy *proxy);
/* The function listens. Only the first time counts. */
void announcer_begin(struct announcer *a);
/* Idempotent; its memory is the owner's when the loop has run empty. */
void announcer_close(struct announcer *a);
