// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The engine: knows all revisions, decides for each on every tick and at once when something calls
 * for it, and has the results written. It ties the pure modules to the API.
 * Owns: the revisions, the reports table, the API clients and caches. May not: speak to activators
 * or replicas itself (autoscaler/link_server.c and scraper.c bring their numbers).
 *
 * No decision is made before the first lists are in: then every revision's replicas are known.
 */

#include "base/log.h"
#include "loop/closer.h"
#include "loop/timer.h"
#include "metric/buckets.h"
#include "kube/cache.h"
#include "serving/stat.h"
#include "autoscaler/backlogs.h"
#include "autoscaler/revision.h"
#include "autoscaler/traffic_log.h"

#define ENGINE_TICK_MS  250u
#define ENGINE_BURST_MS 500u /* least time between decisions that a burst asks for */
#define ENGINE_SLOTS    (DECIDER_TICK_MS / ENGINE_TICK_MS)

struct engine_options {
    const struct kube_config *kube; /* read during engine_start only */
    const char *system_namespace;
    enum pod_address pod_address;
    /* A note for every activator; payload is borrowed. Optional. */
    void (*on_note)(void *arg, struct slice payload);
    struct traffic_log *traffic; /* what activators report is noted there; optional, borrowed */
    /* Called on every tick, after decisions: the scraper's turn. Optional. */
    void (*on_tick)(void *arg, unsigned slot);
    /* Ready to decide: the first lists are in. Once. Optional. */
    void (*on_ready)(void *arg);
    void *arg;
};

struct engine_counters {
    uint64_t decisions;
    uint64_t pokes;
    uint64_t stats;
    uint64_t stats_dropped; /* not believed, or of no revision */
    uint64_t scale_writes;
    uint64_t scale_failures;
    uint64_t status_writes;
    uint64_t status_failures;
};

struct engine {
    struct loop *loop;
    struct engine_options options;
    char *system_namespace;
    struct kube_client *client;        /* caches and scale writes */
    struct kube_client *status_client; /* status writes, which must not delay scale writes */
    struct kube_cache *pas;
    struct kube_cache *deployments;
    struct kube_cache *pods;
    struct kube_cache *config_maps;
    struct map revisions; /* key -> struct revision */
    struct reports reports;
    struct backlogs backlogs;
    struct list backlog_revisions; /* those whose events count */
    struct autoscaler_config config;
    struct error config_err; /* of a config-autoscaler that cannot be used; code 0: none */
    struct list slots[ENGINE_SLOTS];
    unsigned next_slot; /* for the next new revision */
    unsigned slot;      /* of the last tick */
    struct timer timer;
    struct list retrying;   /* revisions whose scale write failed */
    struct list status_due; /* revisions whose status is to be written */
    unsigned status_running;
    bool status_waiting;       /* more were due than may run at once */
    unsigned scale_running;    /* scale writes under way */
    struct list scale_writes;  /* … of which each stands here, in the order of their start */
    struct list scale_waiting; /* revisions whose scale write waits for its turn */
    struct timer scale_timer;  /* while something waits */
    bool started;              /* all first lists are in */
    bool standby; /* another process leads: we decide along, nothing is written or told */
    bool closing;
    struct engine_counters counters;
    struct metric_buckets ticks; /* how long each took */
    struct log_limit write_trouble;
    struct closer closer;
    void (*close_cb)(void *arg);
    void *close_arg;
};

/* Why a revision is looked at. */
enum engine_reason {
    ENGINE_REGULAR, /* its tick */
    ENGINE_HELD,    /* a request waits and nothing is there */
    ENGINE_CHANGED, /* its settings or replicas have changed */
    ENGINE_STARTED, /* this process looks at it for the first time */
    ENGINE_BACKLOG, /* more events wait than its replicas are meant for */
};

/* Starts caches and ticking. On failure engine_close is still due. */
MUST_CHECK int engine_start(struct engine *e, struct loop *loop,
                            const struct engine_options *options, struct error *err);
/* Leads from now on, or stands by. A standby decides from the same numbers as the leader; when it
 * takes over it goes on with the windows, panic mode and delays that it has kept, and with the
 * history in the statuses. It begins as a leader. */
void engine_lead(struct engine *e, bool leads);
/* No further write is started; cb when all is gone. Idempotent. */
void engine_close(struct engine *e, void (*cb)(void *arg), void *arg);

struct revision *engine_find(const struct engine *e, struct slice ns, struct slice name);
/* The one of this name, made when unknown; it is not at rest. */
struct revision *engine_make(struct engine *e, const char *ns, const char *name);
/* Frees it if nothing speaks of it and nothing is under way for it. */
void engine_release(struct engine *e, struct revision *rev);

/* From now on it has regular decisions again. */
void engine_wake(struct engine *e, struct revision *rev);

void engine_evaluate(struct engine *e, struct revision *rev, enum engine_reason reason);

/* A stat of a STATS frame by this activator, or of a POKE. */
void engine_stat(struct engine *e, const struct stat_message *message,
                 const struct reporter *reporter);
void engine_poke(struct engine *e, const struct stat_message *message,
                 const struct reporter *reporter);

/* Settings are known, or have changed: whether events count for it. */
void engine_follow_backlog(struct engine *e, struct revision *rev);
/* A frame of a lull-broker. Revisions that it wakes are decided for before this returns. */
MUST_CHECK int engine_backlog(struct engine *e, struct slice payload, struct error *err);

/* Tells all activators. */
void engine_note(struct engine *e, const struct revision *rev, const char *phase,
                 const char *message);

/* A first list is in: starts deciding when it was the last one that was missing. */
void engine_begin_when_synced(struct engine *e);

/* autoscaler/watch.c */
MUST_CHECK int engine_watch_start(struct engine *e, struct error *err);
void engine_watch_close(struct engine *e);

/* autoscaler/scaler.c: brings the Deployment's scale to the plan's. */
void scaler_set(struct engine *e, struct revision *rev, const struct plan *plan);
void scaler_retry(struct engine *e, uint64_t now_ms);
void scaler_on_timer(struct timer *timer);

/* autoscaler/status_writer.c: the status is to be written, urgently or when its time comes. */
void status_mark(struct engine *e, struct revision *rev, bool urgent);
void status_write_due(struct engine *e, uint64_t now_ms);
