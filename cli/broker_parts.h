// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The parts of `lull up` that only events need: a redis-server of our own (not with --redis) and
 * lull-broker. Nothing of them is there before the controller or the activator asks; what became of
 * that is written into run/broker.json, which the controller reads: {"state": "starting", "ready"
 * or "failed", "url", "message"}. Owns: that file. The two parts are the supervisor's.
 */

#include "cli/events_store.h"
#include "cli/part.h"

struct broker_parts {
    const char *home;
    const char *redis;         /* URL; "": a redis-server of our own */
    struct events_store store; /* our own one */
    int64_t port;              /* of the ingress; -1: 8085 if that is free */
    unsigned local_port, api_port;
    struct part *redis_part, *broker_part; /* initialised, never started; started by this */
    unsigned chosen;                       /* private: the ingress' port; 0: not chosen yet */
    char trouble[ERROR_MSG_MAX];           /* private: what was logged last */
};

/* The fields are set; before any other part starts. */
void broker_parts_init(struct broker_parts *b);
/* Starts what does not run yet. kept: asynchronous calls ask, and of those only Redis knows: from
 * now on each `lull up` starts it. */
void broker_parts_want(struct broker_parts *b, bool kept);
/* Whether an earlier `lull up` was told `kept`. */
bool broker_parts_kept(const struct broker_parts *b);
/* Of one of the two. */
void broker_parts_event(struct broker_parts *b, const struct part *part, enum part_event event);
