// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The Deployment of lull-broker, on a cluster: watched, so that Brokers can say whether anybody is
 * there. Owns: the cache of that one object. May not: write anything.
 */

#include "kube/client.h"
#include "controller/broker_sight.h"

struct broker_watch;

struct broker_watch_options {
    struct kube_client *client; /* outlives it */
    const char *ns;             /* both copied */
    const char *name;
    /* It has changed; also when it is known for the first time. */
    void (*on_change)(void *arg);
    void *arg;
};

MUST_CHECK int broker_watch_new(const struct broker_watch_options *options,
                                struct broker_watch **out, struct error *err);
/* What it says; BROKER_UNKNOWN before the first answer, with the trouble. */
void broker_watch_ask(const struct broker_watch *watch, struct broker_seen *out);
/* NULL is fine; then cb. */
void broker_watch_close(struct broker_watch *watch, void (*cb)(void *arg), void *arg);
