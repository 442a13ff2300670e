// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Leads, or waits until it may: one Lease, renewed while we lead, watched always, so that a lease
 * that is given back is taken in the same moment. Owns: a watch, a timer. May not: decide (that is
 * kube/lease.h), or stop what the leader does: its owner does that in on_change.
 */

#include "kube/client.h"
#include "kube/lease.h"

struct elector;

struct elector_options {
    struct kube_client *client;
    const char *ns;       /* copied, all texts */
    const char *name;     /* of the Lease */
    const char *identity; /* unlike any other's; NULL or "": made of host name and process id, so
                           * that a container that is started again is its own successor */
    uint64_t duration_ms; /* at least 1 s; the API keeps whole seconds */
    /* Not inside elector_start. After leads = false nothing that only a leader may do is started.
     */
    void (*on_change)(void *arg, bool leads);
    void *arg;
};

MUST_CHECK int elector_start(const struct elector_options *options, struct elector **out,
                             struct error *err);
bool elector_leads(const struct elector *e);
/* Who leads, as far as we know; "" nobody. Borrowed until the next turn. */
const char *elector_leader(const struct elector *e);
/*
 * Gives the lease back if it is ours (a bounded time is spent on it), then cb; no on_change comes.
 * NULL is fine (cb at once). The client is closed after cb.
 */
void elector_close(struct elector *e, void (*cb)(void *arg), void *arg);
