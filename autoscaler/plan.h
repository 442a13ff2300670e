// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * From what the traffic asks for to what is written: bounds, initial scale, and the rules of the
 * way to zero, as Knative has them. Pure: time and facts come in, a plan goes out; the small state
 * says whether the revision counts as active and since when.
 *
 * One rule is ours: nothing is scaled down while reports are missing, or before they have been
 * complete for a stable window (after a restart, after a lost link); nor, for some time, while
 * events may wait of which nobody tells. Grace counts from when the
 * activators came into the path; they are always there, so it adds nothing normally.
 */

#include "autoscaler/decider.h"

#define PLAN_ACTIVATION_MARGIN_MS 30000u /* added to the progress deadline, as in Knative */

/* The condition Active of the PodAutoscaler. */
enum plan_active {
    PLAN_ACTIVATING, /* Unknown, Queued: replicas are on their way. Also the start */
    PLAN_ACTIVE,     /* True */
    PLAN_INACTIVE,   /* False, NoTraffic */
    PLAN_TIMED_OUT,  /* False, TimedOut: no replica became ready in time */
};

/* X(enum, text): what held the plan back or changed it. The texts stand in recorded decisions. */
#define PLAN_RULE_MAP(X)                                                                        \
    X(PLAN_AS_DECIDED, "")                     /* the decision as it is */                      \
    X(PLAN_UNKNOWN, "no-data")                 /* no decision yet: the scale stays */           \
    X(PLAN_OBSERVING, "reports-incomplete")    /* not down before a full window of reports */   \
    X(PLAN_BACKLOG_UNKNOWN, "backlog-unknown") /* not down: events may wait */                  \
    X(PLAN_MIN_SCALE, "min-scale")                                                              \
    X(PLAN_INITIAL_SCALE, "initial-scale")                                                      \
    X(PLAN_MAX_SCALE, "max-scale")                                                              \
    X(PLAN_NO_ZERO, "scale-to-zero-disabled")                                                   \
    X(PLAN_RECENTLY_ACTIVE, "recently-active") /* active for less than the stable window */     \
    X(PLAN_RETENTION, "retention")             /* the last replica is kept */                   \
    X(PLAN_GRACE, "grace")                     /* the activators came into the path just now */ \
    X(PLAN_STARTING, "activating")             /* replicas are on their way: left alone */      \
    X(PLAN_GAVE_UP, "activation-timed-out")                                                     \
    X(PLAN_HISTOGRAM, "histogram") /* idle times say that traffic comes soon */                 \
    X(PLAN_ANNOUNCED, "warm-at")   /* somebody has announced traffic */

#define PLAN_RULE_ENUM(id, text) id,
enum plan_rule { PLAN_RULE_MAP(PLAN_RULE_ENUM) PLAN_RULE_N };
#undef PLAN_RULE_ENUM

const char *plan_rule_text(enum plan_rule rule);

struct plan_state {
    enum plan_active active;
    uint64_t since_ms; /* when `active` became so */
    bool initialized;  /* the initial scale was reached once (ScaleTargetInitialized) */
    int32_t desired;   /* of the last valid decision, -1 before the first */
};

struct plan_input {
    uint64_t now_ms;
    bool reachable;
    bool held;        /* a request waits: written even when the present scale is not known */
    int32_t replicas; /* as the Deployment says now; -1: not known */
    int32_t ready;
    bool reports;              /* every activator's reports are coming in */
    uint64_t reports_since_ms; /* since when without a hole */
    uint64_t backlog_until_ms; /* how many events wait is not known: not down before then; 0: it is
                                */
    uint64_t path_since_ms;    /* since when activators are in the path */
    uint64_t progress_deadline_ms;
    bool predicted;         /* idle times say when it may go: retention does not count */
    enum plan_rule warm;    /* why a replica is wanted without traffic; PLAN_AS_DECIDED: none is */
    uint64_t warm_until_ms; /* … and for how long */
};

struct plan {
    int32_t want; /* the scale that is aimed at; -1: unknown */
    bool write;   /* replicas are to become `want` */
    enum plan_rule rule;
    uint64_t until_ms; /* when that rule ends by itself; 0: it does not, or none holds */
};

/* The start of a revision that was never seen: activating, not initialised. */
void plan_init(struct plan_state *s, uint64_t now_ms);

/* Judges the decision and updates the state. */
struct plan plan_make(struct plan_state *s, const struct scaling_spec *spec,
                      const struct decision *decision, const struct plan_input *in);

/* Ready replicas from which on the revision counts as active. */
int32_t plan_active_threshold(const struct plan_state *s, const struct scaling_spec *spec,
                              bool reachable);
