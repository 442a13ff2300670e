// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What would happen to a revision without any further traffic, and what keeps it from happening
 * sooner. Pure: both are found by running the live decisions on a copy, in virtual time: reports
 * keep coming every second and name nobody, ticks come when the revision's are due, replicas follow
 * at once.
 */

#include "autoscaler/revision.h"

/* The next change that would come without any further traffic. */
struct forecast {
    bool changes;     /* false: nothing would change within two hours */
    int32_t to;       /* the scale after it */
    uint64_t in_ms;   /* from now */
    bool zero;        /* it would reach zero … */
    uint64_t zero_ms; /* … after this time from now */
};

/*
 * X(enum, text): what can hold replicas up. Each is something that can be taken away on the copy;
 * it holds when things would then go down further or sooner. When several hold equally, so that
 * none makes a difference alone, each that would hold alone is meant. Requests in flight and events
 * that wait hold what would go down once they have ended; without them is what is foreseen.
 */
#define HOLD_MAP(X)                                                                                \
    X(HOLD_IN_FLIGHT, "in-flight-requests") /* they run: what is foreseen begins with their end */ \
    X(HOLD_TRAFFIC, "traffic")              /* requests in the windows */                          \
    X(HOLD_WAITING, "held-requests")        /* an activator said that they wait */                 \
    X(HOLD_EVENTS, "waiting-events") /* they wait: what is foreseen begins with their end */       \
    X(HOLD_BACKLOG, "backlog-hold")  /* they waited within the stable window */                    \
    X(HOLD_BACKLOG_UNKNOWN, "backlog-unknown")                                                     \
    X(HOLD_PANIC, "panic-hold")                                                                    \
    X(HOLD_DELAY, "scale-down-delay")                                                              \
    X(HOLD_RATE, "max-scale-down-rate")                                                            \
    X(HOLD_ACTIVATION, "activation-scale")                                                         \
    X(HOLD_MIN, "min-scale")                                                                       \
    X(HOLD_INITIAL, "initial-scale")                                                               \
    X(HOLD_NO_ZERO, "scale-to-zero-disabled")                                                      \
    X(HOLD_RECENT, "recently-active")                                                              \
    X(HOLD_RETENTION, "retention")                                                                 \
    X(HOLD_GRACE, "grace")                                                                         \
    X(HOLD_HISTOGRAM, "histogram")                                                                 \
    X(HOLD_ANNOUNCED, "warm-at")                                                                   \
    X(HOLD_STARTING, "activating")                                                                 \
    X(HOLD_REPORTS, "reports-incomplete")

#define HOLD_ENUM(id, text) id,
enum hold { HOLD_MAP(HOLD_ENUM) HOLD_N };
#undef HOLD_ENUM

const char *hold_text(enum hold hold);

/* One that holds now. */
struct holding {
    enum hold hold;
    uint64_t until_ms;       /* monotonic; 0: as long as the setting or the state is as it is */
    struct forecast without; /* what would happen if it were not there */
};

/*
 * Requires that the revision has a PodAutoscaler and was started. Nothing is foreseen while reports
 * are missing, and with no replica there is nothing to go down.
 */
struct forecast forecast_run(const struct revision *rev, const struct reports *reports,
                             uint64_t now_ms);

/* Fills out, which has room for HOLD_N, with all that hold; returns their number. */
size_t forecast_holds(const struct revision *rev, const struct reports *reports, uint64_t now_ms,
                      struct holding *out);

/* When the revision's next regular decision is due, and the one after t. */
uint64_t forecast_next_tick(const struct revision *rev, uint64_t t_ms);
