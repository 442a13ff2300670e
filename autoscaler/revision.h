// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Everything that the autoscaler knows of one revision: what was observed, its windows, its
 * decider, what was planned, what is being written. Pure but for memory: time comes in as an
 * argument, the writing is done by others (autoscaler/engine.c).
 *
 * A revision exists here as long as a PodAutoscaler, a Deployment or a Pod speaks of it, so the
 * order in which they appear does not matter; decisions need the PodAutoscaler.
 */

#include "base/list.h"
#include "base/map.h"
#include "autoscaler/history.h"
#include "autoscaler/idle.h"
#include "autoscaler/objects.h"
#include "autoscaler/reports.h"

/* A crowd that was poked for stands in no window before the next report, and that one may cover a
 * part of its second only: for so long its replicas are not taken back. */
#define REVISION_CROWD_MS 3000u

/* A replica for announced traffic is started so long before. */
#define REVISION_WARM_LEAD_MS 15000u

struct kube_request;

struct replica {
    struct list link; /* in revision.replicas_list */
    char *name;       /* owned, of the Pod */
    char *address;    /* owned; NULL: none */
    char *trouble;    /* owned; NULL: none */
    int64_t created_wall_ns;
    bool ready;
    bool terminating;
    bool failing;
};

/* Announced traffic, milliseconds as now_ms. */
struct warm_at {
    uint64_t at_ms[WARM_AT_MAX];
    size_t count;
};

struct revision {
    char *key;             /* "namespace/name", owned */
    char *ns;              /* owned */
    const char *name;      /* inside key */
    struct list slot_link; /* the engine's: when its regular decision is due; not linked at rest */
    bool resting;
    uint64_t rest_ms; /* since when */

    /* observed */
    bool has_pa;
    bool has_deployment;
    char *deployment; /* owned: name to scale */
    int32_t replicas; /* spec.replicas of the Deployment; -1: not known */
    bool foreign;     /* … and somebody else has written it since our last decision */
    struct list pods; /* struct replica */
    int32_t ready;
    int32_t not_ready; /* neither ready nor terminating */
    bool reachable;
    int64_t generation;
    uint64_t progress_deadline_ms;
    struct scaling_spec spec;

    /* metric backlog, but for `others` */
    char *service;             /* owned: whose events count; NULL: none do */
    double backlog;            /* events that wait for it; negative: not known */
    double others;             /* with another metric: events that wait; by admin.c, for words */
    uint64_t backlog_until_ms; /* not known: nothing goes down before then; 0: it is known */
    struct list backlog_link;  /* the engine's: those whose events count */

    /* windows, of both metrics, so that a change of metric finds its past */
    struct window concurrency_stable;
    struct window concurrency_panic;
    struct window rps_stable;
    struct window rps_panic;

    /* ahead of traffic */
    struct idle *idle;     /* owned; NULL unless its policy is histogram */
    struct warm_at *times; /* owned: traffic that was announced; NULL: none */

    /* decided */
    bool started; /* decider and state were set up */
    struct decider decider;
    struct decision last; /* latest decision, valid or not */
    struct decision
        *change; /* owned: that led to the write that is under way; NULL: none since rest */
    struct plan_state state;
    struct plan plan;
    int32_t want;            /* of the last plan that knew, or of the adopted status; -1: none */
    uint64_t active_wall_ns; /* wall time at which state.active became so */
    uint64_t initialized_wall_ns;
    struct history history;
    bool held;           /* a POKE came before decisions could be made */
    uint64_t held_ms;    /* last POKE; 0: never */
    double held_count;   /* requests that it, or one shortly before it, spoke of */
    uint64_t burst_ms;   /* last decision that a burst asked for */
    uint64_t regular_ms; /* last regular one; 0: none yet */

    /* being written: the engine's */
    int32_t goal; /* scale that is wanted; -1: none wanted yet */
    enum plan_rule goal_rule;
    struct kube_request *patch; /* running scale request */
    int32_t patching;           /* what that request writes */
    int32_t patch_from;         /* the scale when it was sent: its echo may precede its answer */
    unsigned failures;          /* in a row */
    uint64_t retry_ms;          /* not before */
    struct list retry_link;     /* in the engine's list of those that wait for retry_ms */
    struct list wait_link;      /* in the engine's list of those whose write waits for its turn */
    bool said_failed;           /* a NOTE failed went out for this wake-up */

    struct kube_request *status_patch;
    struct list status_link; /* in the engine's list of statuses to be written */
    uint64_t status_due_ms;
    uint64_t status_written_ms;
    bool status_known;    /* a former process wrote a whole status … */
    int32_t known_actual; /* … with this number of ready replicas */
    uint64_t status_sum;  /* of what was written last, to skip equal ones; 0: nothing */

    /* scraping: the scraper's */
    void *scrape;
    uint64_t scrape_ms;  /* last time that it was asked; 0: never */
    uint64_t scraped_ms; /* last time that enough of it answered */
    bool bypassed;       /* the last answers told of traffic that came past the activators */
};

struct revision *revision_new(const char *ns, const char *name);
void revision_free(struct revision *rev);
/* Nothing speaks of it any more. */
bool revision_unused(const struct revision *rev);

/* A PodAutoscaler as it is now; the first one also brings what it remembers. Takes history and
 * deployment out of pa. */
void revision_set_pa(struct revision *rev, struct pa_object *pa,
                     const struct autoscaler_config *config, uint64_t now_ms, int64_t wall_ns);
/* What the leader wrote into the status, for a standby: its record, and its state where ours is
 * another one. Requires an earlier revision_set_pa. */
void revision_adopt(struct revision *rev, struct pa_object *pa, uint64_t now_ms, int64_t wall_ns);
void revision_clear_pa(struct revision *rev);
/* Settings anew: annotations or config have changed. */
void revision_resolve(struct revision *rev, const struct pa_object *pa,
                      const struct autoscaler_config *config, uint64_t now_ms);

/* The replica of a Pod; made when unknown. */
void revision_set_pod(struct revision *rev, const char *pod_name, const struct pod_object *pod);
void revision_remove_pod(struct revision *rev, const char *pod_name);
/* What keeps replicas from coming up, in words; NULL when nothing is known to. */
const char *revision_trouble(const struct revision *rev, bool *out_failing);

/* Sets up decider and state; the number of ready replicas must be known by now. */
void revision_start(struct revision *rev, uint64_t now_ms);

/*
 * Numbers of one reporter for the present second, and for as many before it as were missed;
 * proxied shares already subtracted.
 */
void revision_record(struct revision *rev, uint64_t now_ms, unsigned missed, double concurrency,
                     double rps);

/*
 * Nothing holds it up and nothing is under way: regular decisions would say the same for ever.
 * revision_rest leaves them out and gives memory back; revision_wake, due before anything is
 * recorded or decided, makes the windows what they would be with them. Idempotent.
 */
bool revision_at_rest(const struct revision *rev, const struct reports *reports);
void revision_rest(struct revision *rev, uint64_t now_ms);
void revision_wake(struct revision *rev, const struct reports *reports);

/* An activator says that so many requests wait or run. */
void revision_poked(struct revision *rev, double count, uint64_t now_ms);

/*
 * Decides and plans. held: a request waits now. Reads the reports for freshness; returns the plan,
 * which is also kept. Requires revision_start.
 */
struct plan revision_decide(struct revision *rev, const struct reports *reports, bool held,
                            uint64_t now_ms);
/* Plans anew on the latest decision: replicas have changed. */
struct plan revision_replan(struct revision *rev, const struct reports *reports, bool held,
                            uint64_t now_ms);

/* A replica that is wanted, now or later, though there is no traffic. */
struct revision_warm {
    bool predicted;      /* the histogram says when the last replica may go */
    enum plan_rule rule; /* PLAN_AS_DECIDED: none is wanted now */
    uint64_t until_ms;   /* with a rule: for how long */
    enum plan_rule next_rule;
    uint64_t next_ms; /* when one will be wanted; 0: never */
};
struct revision_warm revision_warm(const struct revision *rev, uint64_t now_ms);

/* Requests in flight in the last second that was reported. */
double revision_in_flight(const struct revision *rev);

/* The two averages in force at now, of what has been recorded so far. False: no data. */
bool revision_averages(const struct revision *rev, uint64_t now_ms, double *out_stable,
                       double *out_panic);
