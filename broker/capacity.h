// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How many events a function is to have at once: what its ready replicas can run, so that it works
 * at its limits and what is more waits in Redis, where waiting costs nothing, and not in front of
 * it, where it would run into time-outs. Owns a watch of the PodAutoscalers. May not: hold
 * deliveries back that go anywhere else than to a function. What a name means is the Route's
 * matter: the Revisions with a share of the traffic, or for TAG-NAME those of the tag.
 *
 * A replica can run containerConcurrency requests, or, unlimited, its target of concurrency. A
 * function without a ready replica gets what one could run: that wakes it. Where concurrency
 * decides on replicas, not the backlog, as much again is sent: it waits in front of the function
 * and says that more replicas are wanted. Several Triggers of one function, and asynchronous calls,
 * share what it can take, and so do the workers; each may have one at least.
 *
 * Triggers share the worker, too: see capacity_fair.
 */

#include <limits.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"
#include "broker/routes.h"

struct worker;
struct trigger;
struct target;
struct capacity;

#define CAPACITY_UNLIMITED UINT_MAX

/* Of one Revision that has traffic. */
struct capacity_facts {
    int64_t concurrency; /* containerConcurrency; 0: no limit */
    double target;       /* autoscaling.knative.dev/target with metric concurrency; else 0 */
    int32_t ready;
    bool backlog; /* its metric */
};

/* What all Revisions of a function together are to have at once. */
unsigned capacity_of(const struct capacity_facts *facts, size_t n);

MUST_CHECK int capacity_start(struct worker *w, struct error *err);
void capacity_close(struct worker *w);
/* After the close, when no trigger is left. */
void capacity_free(struct worker *w);

/* The function's name in a target's host: a Service's, or TAG-NAME, as everywhere below. False: it
 * is none of the cluster. */
bool capacity_service(const struct target *target, struct slice *ns, struct slice *name);
/* What it may have at once from each Trigger, or from asynchronous calls, of this worker;
 * CAPACITY_UNLIMITED: it is no function. */
unsigned capacity_limit(const struct worker *w, struct slice ns, struct slice name);
/* Its replicas follow the events that wait. */
bool capacity_by_backlog(const struct worker *w, struct slice ns, struct slice name);

/* Its part of what its function may have at once; CAPACITY_UNLIMITED: as above. */
unsigned capacity_share(const struct trigger *t);
/* Deliveries that may be sent now beside those that are. */
unsigned capacity_room(const struct trigger *t);
/* Deliveries that are worth to be read from Redis at once, at most `most`. */
unsigned capacity_ahead(const struct trigger *t, unsigned most);

/* As many of `most` as are fair: the worker's memory and connections are for all Triggers that have
 * something to deliver, so one whose sink hangs leaves the others theirs. At least one. */
unsigned capacity_fair(const struct trigger *t, unsigned most);

/* Triggers are counted anew, then each that has something to deliver. */
void capacity_count_begin(struct worker *w);
void capacity_count(struct worker *w, const struct trigger *t);
/* There are asynchronous calls for this name. */
void capacity_count_calls(struct worker *w, struct slice ns, struct slice name);

struct capacity_revision {
    struct slice service; /* "NS/SERVICE" */
    const char *name;
};

/* The Revisions that this name leads to, of which replicas are known; borrowed until the loop's
 * next turn. 0: that is not known. */
size_t capacity_routed(const struct worker *w, struct slice ns, struct slice name,
                       struct capacity_revision out[ROUTES_REVISIONS_MAX]);
