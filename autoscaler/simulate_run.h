// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One function under one setting in virtual time: requests come in, the live decisions
 * (autoscaler/revision.h) are made at the same moments as live, replicas take a fixed time to
 * start. Reports come every second, ticks every two; requests that find no free place wait in order
 * and are said to the autoscaler at once, as activators do. Ticks that cannot change anything are
 * skipped: the result is the same, to the byte.
 * Pure but for memory. Owns its revision. Times are microseconds from the simulation's begin.
 */

#include "metric/histogram.h"
#include "autoscaler/revision.h"

#define SIM_SECOND_US       1000000ull
#define SIM_DURATION_MAX_US (3600 * SIM_SECOND_US) /* longer requests count as so long */
#define SIM_QUEUE_MAX       10000u                 /* requests that wait; more are refused */
#define SIM_WAIT_MAX_US     (300 * SIM_SECOND_US)  /* one that waits longer is refused */

/* What is compared. */
struct sim_setting {
    char name[64];
    struct autoscaler_config config;
    struct pa_object pa; /* annotations and limit; borrowed memory */
    uint64_t start_us;   /* from the decision until a replica is ready */
};

struct sim_result {
    uint64_t invocations;
    uint64_t cold;          /* found no ready replica */
    uint64_t refused;       /* queue full, or waited too long */
    uint64_t at_once;       /* did not wait */
    uint64_t starts;        /* replicas started */
    uint64_t wait_us;       /* sum of all waits */
    uint64_t replica_us;    /* sum over replicas, from the decision to start them on */
    uint64_t used_us;       /* of that, what requests kept busy */
    uint64_t ticks;         /* decisions made */
    struct histogram waits; /* microseconds, of those that waited */
};

struct sim; /* private */

struct sim *sim_new(const struct sim_setting *setting, bool every_tick);
void sim_free(struct sim *sim);

/* A new function begins; results go on adding up. */
void sim_begin(struct sim *sim);
/* A request at at_us, not before the one before it, that runs for duration_us. */
void sim_arrive(struct sim *sim, uint64_t at_us, uint64_t duration_us);
/* Time goes on until end_us; what still runs or waits then is left. */
void sim_end(struct sim *sim, uint64_t end_us);

const struct sim_result *sim_result(const struct sim *sim);
