// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Whether lull-broker is there, and when Brokers are to say so. What is seen may change by the
 * second (a Redis that starts again, a process that ends and comes back); what is told to every
 * Broker, Trigger and source costs a write each, so a short absence is not told. Pure; owns
 * nothing.
 */

#include <jansson.h>

#include "base/error.h"

enum broker_phase {
    BROKER_UNKNOWN,  /* nothing was seen yet */
    BROKER_STARTING, /* nothing works yet, and nothing is known to be wrong */
    BROKER_UP,
    BROKER_AWAY,
};

struct broker_seen {
    enum broker_phase phase;
    char message[ERROR_MSG_MAX]; /* not UP: what is the matter */
};

/* For so long is an absence not told. */
#define BROKER_HOLD_MS 10000
/* On a cluster, so long must one that was told to be away be there again. */
#define BROKER_STEADY_MS 3000

struct broker_sight {
    struct broker_seen told;
    bool up, down;                 /* private: since when it is there; since when it is not, */
    uint64_t up_since, down_since; /* shorter presences than steady_ms left out */
};

/* What a Deployment of lull-broker says; NULL: there is none. Its message changes only with what is
 * the matter, not with every Pod. */
void broker_deployment_read(const json_t *deployment, const char *ns, const char *name,
                            struct broker_seen *out);
/*
 * Takes in what is seen now; true: what is told has changed. Told at once: the first thing seen,
 * and all that follows STARTING. UP ends after BROKER_HOLD_MS without it; AWAY ends with UP for
 * steady_ms, or with a new start.
 */
bool broker_sight_step(struct broker_sight *sight, const struct broker_seen *seen,
                       uint64_t steady_ms, uint64_t now_ms);
