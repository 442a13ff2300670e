// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The agent's inside: what deployments.c, pods.c, pod_status.c, follow.c, replica.c and podlog.c
 * share. Not for others.
 *
 * A Pod's phase is the list of things that may happen next:
 *
 *   CREATING --(stored)--> WAITING --(capacity)--> LAUNCHING --> UP --> (replica gone) LAUNCHING
 *                             |                        |          |
 *                             |                     FAILED --(back-off)--> LAUNCHING
 *                             +---- deleted ----+------+----------+--> STOPPING --> REMOVING
 */

#include "base/list.h"
#include "base/map.h"
#include "base/strbuf.h"
#include "loop/closer.h"
#include "loop/timer.h"
#include "local/agent/agent.h"
#include "local/agent/launch.h"
#include "local/agent/pod_json.h"
#include "local/agent/reference.h"
#include "local/usage.h"

#define AGENT_ID_LEN   10
#define AGENT_PORT_MIN 20000u
#define AGENT_PORT_MAX 29999u
#define AGENT_UID_MIN  200000u
#define AGENT_SLOTS    ((AGENT_PORT_MAX + 1 - AGENT_PORT_MIN) / LAUNCH_PORTS)

enum pod_phase {
    POD_CREATING,  /* store_create is on its way */
    POD_WAITING,   /* no capacity: on agent.waiting */
    POD_LAUNCHING, /* a launch is on its way */
    POD_UP,        /* connected to its replica */
    POD_FAILED,    /* could not be launched; tried again at retry_ms */
    POD_STOPPING,  /* told to stop */
    POD_REMOVING,  /* stopped; store_delete is on its way */
};

struct deployment {
    struct agent *agent;
    char *uid;
    struct object *object; /* newest version; owned reference */
    int64_t want;          /* its spec.replicas; 0 when it is being deleted */
    struct {
        int64_t generation, replicas, ready;
    } told;                 /* what its status says */
    struct list pods;       /* of pod.owner_link */
    struct list dirty_link; /* on agent.dirty_deployments: a status write is due */
    bool gone;              /* deleted from the store */
    bool retry;             /* a creation or deletion failed: the tick syncs again */
    bool status_busy;       /* a status write is on its way */
    bool status_dirty;      /* … and another must follow */
};

struct replica_link; /* replica.c */

/* What its processes had used when they were looked at last (usage.c). */
struct pod_usage {
    int pids[USAGE_PARTS]; /* 0: never seen */
    int64_t cpu_ns[USAGE_PARTS];
    uint64_t at_ns;   /* monotonic */
    struct usage now; /* at_ns 0: nothing is known */
};

struct pod {
    struct agent *agent;
    char *key; /* "namespace/name" */
    char *ns, *name;
    char id[AGENT_ID_LEN + 1]; /* "": cannot run here (pod_known) */
    struct object *object;     /* newest version; NULL while CREATING */
    struct deployment *owner;
    struct list owner_link;
    struct list wait_link;  /* on agent.waiting */
    struct list dirty_link; /* on agent.dirty: a status write is due */
    uint64_t seq;           /* order of arrival: the youngest has the largest */
    enum pod_phase phase;
    struct replica_state state;
    int64_t restarts_before; /* those of lull-replicas that are gone, and their ends */
    struct pod_trouble trouble;
    struct replica_link *link;
    int slot;             /* port candidates and user; -1: none */
    int64_t memory_bytes; /* counted against the machine's capacity */
    bool placed;          /* counts against the capacity */
    bool gone;            /* deleted from the store */
    bool deleting;        /* the store waits for us to remove it */
    bool unclean;         /* its lull-replica was killed: look for what it left behind */
    bool status_busy;
    bool status_dirty;
    char *references;    /* ConfigMaps and Secrets that it names (reference_list); NULL: none */
    bool refresh_busy;   /* its volumes are being written */
    bool refresh_due;    /* … and must be again, then or when it runs */
    uint64_t retry_ms;   /* FAILED: when to try again */
    uint64_t delay_ms;   /* … and the delay after that */
    unsigned port_tries; /* slots whose ports were all taken, in this launch */
    struct pod_usage usage;
    unsigned refs; /* the map's one and one per operation on its way */
};

#define POD_RETRY_MIN_MS 500 /* of pod.delay_ms */

/*
 * How long watches wait (store_hold): from the creation of a Pod until its processes are on their
 * way, and while the activator hands out what it held.
 */
#define AGENT_START_HOLD_MS 8
#define AGENT_READY_HOLD_MS 2

struct agent {
    struct agent_options options;
    char *home, *libexec, *run_dir;
    struct store *store;
    struct loop *loop;
    struct map deployments; /* uid -> deployment */
    struct map pods;        /* key -> pod */
    struct list waiting;    /* Pods without capacity, in order of arrival */
    struct list dirty;      /* Pods */
    struct list dirty_deployments;
    struct store_watch *deployment_watch, *pod_watch;
    struct store_watch *config_watches[2]; /* by enum reference_kind */
    struct timer tick;                     /* retries; runs while something waits */
    struct timer publish;                  /* coalesced status writes */
    struct timer refill;                   /* of spare folders */
    bool refilling;
    struct spares spares;
    uv_signal_t child_signal;
    uint32_t placed;
    uint64_t placed_bytes;
    unsigned slot_cursor;
    bool slot_used[AGENT_SLOTS];
    struct list links; /* of replica_link: every open control connection */
    uint64_t next_seq;
    struct closer closer; /* handles and store operations on their way */
    agent_close_cb close_cb;
    void *close_arg;
    struct logs_provider logs;
    struct {
        struct usage_provider provider;
        struct list waiters; /* of usage.c */
        struct timer timer;
        bool busy;      /* a look is on its way, or its second half is due */
        bool paired;    /* … this is the second half */
        uint64_t at_ms; /* of the last look; 0: none yet */
    } usage;
};

/* ---- agent.c */
void agent_tick_soon(struct agent *a);
/* Writes the status of what is on the dirty lists, a little later. */
void agent_publish_soon(struct agent *a);

/* ---- deployments.c: as many Pods as wanted */
void deployment_event(struct agent *a, const struct store_event *event);
void deployment_take(struct deployment *d, struct object *object); /* a newer version */
/* Creates or deletes Pods until the number fits; the status follows. */
void deployment_sync(struct deployment *d);
void deployment_write_status(struct deployment *d);
void deployment_free(struct deployment *d);

/* ---- pods.c: one Pod's life on this node */
void pod_event(struct agent *a, const struct store_event *event);
struct pod *pod_new(struct agent *a, const char *ns, const char *name, struct deployment *owner);
void pod_forget(struct pod *p); /* out of the map and its Deployment; drops the map's reference */
void pod_unref(struct pod *p);  /* frees with the last reference */
void pod_launch(struct pod *p); /* it has a place */
void pod_tick(struct pod *p, uint64_t now_ms);
bool pod_counts(const struct pod *p); /* as a replica of its Deployment */
void pod_replica_gone(struct pod *p); /* from replica.c */
void pod_stop_again(struct pod *p);   /* the order may have been lost with a connection */
/*
 * At start, for every Pod: adopts its replica when it still runs. Then pod_restart() for every Pod,
 * once all places, ports and users that are taken are known: starts what does not run, and removes
 * what is under deletion or has its sockets in another state directory than this.
 */
void pod_restore(struct agent *a, struct object *object);
void pod_restart(struct agent *a, const struct object *object);

/* ---- pod_status.c: what its status says */
void pod_state(struct pod *p, const struct replica_state *state); /* a new line of replica.c */
void pod_trouble_set(struct pod *p, const char *reason, const char *message, bool unschedulable);
void pod_publish(struct pod *p, bool now); /* now, or with what changes in the next moment */
void pod_write_status(struct pod *p);

/* ---- place.c: the machine's capacity, ports and users */
void pod_place(struct pod *p); /* start it, or let it wait for capacity */
void place_give_back(struct pod *p);
/* What runs has a place whatever the limits are; port: of its function, 0 when not known. */
void place_adopt(struct pod *p, unsigned port);
void place_slot_take(struct pod *p);
void place_slot_give_back(struct pod *p);

/* ---- replica.c: the control connection */
MUST_CHECK int replica_link_open(struct pod *p, int fd, struct error *err);
void replica_link_send(struct replica_link *link, const char *text);
struct replica_link *replica_link_of(struct list *node); /* of agent.links */
/* No callback to the Pod follows. */
void replica_link_close(struct replica_link *link);

/* ---- follow.c: ConfigMaps and Secrets */
struct reference_source follow_source(struct pod *p);
/* Writes the volumes of a running Pod again; of one that is being launched, when it runs. */
void follow_refresh(struct pod *p);
/* Starts the watches that do not run, and looks at every Pod that names something. */
MUST_CHECK int follow_start(struct agent *a, struct error *err);
void follow_stop(struct agent *a);

/* ---- sweep.c */
/*
 * Kills what a lull-replica that died without its clean-up left behind: its known process groups at
 * once …
 */
void sweep_groups(const struct replica_state *state);
/* … and whatever carries this replica's id in its environment. Blocks: for a pool thread. */
void sweep_strays(const char *id);

/* ---- spare.c: folders made ahead of the replicas that will have them */
void spare_refill_soon(struct agent *a);
void spare_on_timer(struct timer *timer);

/* ---- usage.c: what replicas use */
void usage_init(struct agent *a);
/* Gives those that wait what is known. */
void usage_close(struct agent *a);
void usage_on_timer(struct timer *timer);

/* ---- podlog.c: reads the log files of replicas */
void podlog_init(struct agent *a);
