// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How many replicas the traffic asks for: Knative's KPA as a pure function of time, averages,
 * settings and a small state. No clock, no I/O. Bounds and scale-to-zero come after it
 * (autoscaler/plan.h).
 */

#include "serving/autoscaler_config.h"
#include "serving/window.h"

/* The time between two regular decisions, and the step of the scale-down delay. */
#define DECIDER_TICK_MS 2000u

/* X(enum, text): which clause gave the number. The texts stand in recorded decisions. */
#define DECIDER_RULE_MAP(X)                                                                 \
    X(DECIDER_NO_DATA, "no-data")              /* nothing to decide on */                   \
    X(DECIDER_STABLE, "stable-window")         /* the average of the stable window */       \
    X(DECIDER_PANIC, "panic-window")           /* panic: the average of the short window */ \
    X(DECIDER_PANIC_HOLD, "panic-hold")        /* panic: the most of it so far */           \
    X(DECIDER_MAX_UP, "max-scale-up-rate")     /* cut to the rate upwards */                \
    X(DECIDER_MAX_DOWN, "max-scale-down-rate") /* held by the rate downwards */             \
    X(DECIDER_ACTIVATION, "activation-scale")  /* raised: first traffic wants several */    \
    X(DECIDER_DELAY, "scale-down-delay")       /* held by the delay */                      \
    X(DECIDER_BACKLOG, "backlog")              /* events wait */                            \
    X(DECIDER_BACKLOG_HOLD, "backlog-hold")    /* held by what waited in the window */      \
    X(DECIDER_HELD_REQUEST, "held-request")    /* requests wait and nothing is there */

#define DECIDER_RULE_ENUM(id, text) id,
enum decider_rule { DECIDER_RULE_MAP(DECIDER_RULE_ENUM) DECIDER_RULE_N };
#undef DECIDER_RULE_ENUM

const char *decider_rule_text(enum decider_rule rule);

/* Kept between decisions. */
struct decider {
    bool panicking;
    uint64_t panic_ms;         /* when it last was over the threshold */
    int32_t panic_most;        /* largest result of this panic */
    struct window_max delay;   /* results within the scale-down delay */
    struct window_max backlog; /* metric backlog: what it asked for within the stable window */
};

struct decider_input {
    uint64_t now_ms; /* monotonic, any origin */
    bool has_data;   /* the two averages mean something */
    double stable;   /* average over the stable window: requests in flight or per second */
    double panic;    /* average over the panic window */
    int32_t ready;   /* ready replicas */
    bool reachable;  /* a route leads here, or may */
    double held;     /* requests that an activator said wait or run, just now: 0, or at least 1 */
    double backlog;  /* metric backlog: events that wait now; negative: not known */
};

struct decision {
    bool valid; /* false: there was no data; the rest is then 0 */
    int32_t desired;
    enum decider_rule rule;
    int32_t stable_pods; /* what the stable window alone asks for */
    int32_t panic_pods;  /* what the panic window alone asks for */
    int32_t max_up;      /* bounds of this one step */
    int32_t max_down;
    bool panicking;
    int32_t excess_burst; /* spare capacity beyond target-burst-capacity; -1 when unlimited */
    double stable;        /* the inputs again, for the record */
    double panic;
    int32_t ready;
    bool reachable;
    double held;
    int32_t panic_before; /* the most of this panic before this decision */
    double backlog;
    int32_t backlog_most; /* what the backlog asked for at most within the stable window, when that
                             is more than now; else 0 */
    int32_t delay_most; /* largest result that the delay still holds, when above this one; else 0 */
    uint64_t until_ms;  /* with PANIC_HOLD, BACKLOG_HOLD and DELAY: when the hold ends without new
                           traffic */
};

/* A decider that starts while several replicas are ready starts in panic, so that an autoscaler
 * that has lost its windows does not scale in. A zeroed struct is a valid start with 0 or 1. */
void decider_init(struct decider *d, uint64_t now_ms, int32_t ready);
void decider_fini(struct decider *d);

struct decision decider_decide(struct decider *d, const struct scaling_spec *spec,
                               const struct decider_input *in);
