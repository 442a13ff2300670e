// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a worker knows and does: Brokers, their Triggers, and the deliveries under way. The structs
 * are open to the files of this component and to nobody else; each says who changes what.
 *
 * Life of an event: ingress.c adds it to the broker's stream; dispatch.c reads it there and writes
 * a reference to each matching trigger's stream; deliver.c reads those, sender.c posts the event,
 * settle.c tells Redis how it went. upkeep.c looks after what is left: retries that are due, dead
 * workers, trimming; leftover.c removes what was deleted.
 *
 * Lifetimes: a broker or trigger that is gone from the API stays as long as callbacks of Redis or
 * deliveries name it (refs).
 */

#include "base/log.h"
#include "metric/buckets.h"
#include "kube/cache.h"
#include "redis/conn.h"
#include "broker/config.h"
#include "broker/index.h"
#include "broker/objects.h"
#include "broker/payload.h"
#include "broker/reading.h"
#include "broker/sender.h"
#include "broker/streams.h"

struct async;
struct worker;
struct http_simple;
struct http_simple_request;
struct sources;
struct capacity;
struct routes;
struct backlog;

/* Of a worker; rows in admin.c. */
struct counters {
    uint64_t accepted;
    uint64_t repeated;        /* came before, of a source that says so */
    uint64_t refused_invalid; /* 4xx but 429 */
    uint64_t refused_full;    /* 429 */
    uint64_t refused_away;    /* 503 */
    uint64_t dispatched;      /* events */
    uint64_t references;
    uint64_t unmatched; /* events that no trigger wanted */
    uint64_t poison;    /* entries of a stream that are no event */
    uint64_t delivered;
    uint64_t failed; /* tries */
    uint64_t retried;
    uint64_t dead_lettered;
    uint64_t dead; /* nobody took them */
    uint64_t replies;
    uint64_t replies_looped; /* dropped: they have been round too often */
    uint64_t missing;        /* references whose event is gone */
    uint64_t taken_over;     /* entries of dead workers */
    uint64_t trimmed;
    uint64_t redis_errors;
    uint64_t redis_downs;
};

/* Of a trigger. */
struct trigger_counters {
    uint64_t delivered;
    uint64_t failed;
    uint64_t retried;
    uint64_t dead;
    uint64_t replies;
};

/* query_numbers.c: how fast a counter has grown lately. */
struct query_rate {
    double per_s;
    uint64_t before;
};

/* owner.c: whether this worker keeps a broker's order. */
struct ownership {
    bool asking;
    bool had;          /* since the last look */
    bool swept;        /* the events that others held were taken over */
    uint64_t asked_ms; /* when the last question went out; 0: never */
    uint64_t until_ms; /* it is ours until then */
};

struct broker {
    struct worker *worker;
    char *ns;
    char *name;
    char *path; /* "NS/NAME", its key in worker->brokers */
    bool known; /* the API has it; else triggers only name it */
    bool has_policy;
    struct retry_policy policy;
    char *dead_letter; /* NULL: none */
    char *born; /* "TIME UID" of the API's object: which of several that had the name; "" before */
    char *born_key;
    char *events_key;
    char *triggers_key;
    struct list triggers; /* struct trigger */
    size_t n_triggers;
    size_t n_ordered; /* triggers with order */
    size_t n_missing; /* triggers that may have no stream yet: nothing is dispatched meanwhile */
    struct ownership owner;
    struct payload_set payloads;
    struct index index;
    bool index_stale;
    /* dispatch.c */
    struct reading reading;
    unsigned batch;       /* entries to ask for the next time */
    unsigned asked;       /* of the reading under way */
    unsigned dispatching; /* batches whose answer is due */
    size_t event_bytes;   /* of an event, as those of late had */
    uint64_t poll_ms;     /* when to look without a reason */
    /* reply.c */
    uint64_t length;    /* of the stream, as last told */
    uint64_t length_ms; /* when */
    /* ingress.c */
    uint64_t accepted;
    struct query_rate accepted_rate;
    /* upkeep.c */
    bool trimming;
    bool touched; /* something happened since it was trimmed last */
    unsigned refs;
};

struct trigger {
    struct list link;  /* broker->triggers */
    struct list dirty; /* worker->dirty */
    struct worker *worker;
    struct broker *broker;
    char *ns;
    char *name;
    char *uid;
    char *path;                   /* "NS/NAME", its key in worker->triggers */
    struct trigger_object object; /* owned */
    struct target target;         /* of object.subscriber */
    bool ready;                   /* target is there, and the filter can be used */
    struct error trouble;         /* why not, or the last failure */
    struct index_entry entry;
    char *key;
    char *retry_key;
    char *held_key;
    char *dead_key;
    /* deliver.c */
    struct reading reading;
    struct list deliveries; /* struct delivery, in the order in which they were read */
    unsigned n_deliveries;
    unsigned asked;      /* of the reading under way */
    unsigned load_most;  /* events to ask for together */
    unsigned load_alone; /* so many are asked for one by one before that is tried again */
    bool behind;         /* the last reading brought all that was asked for */
    uint64_t poll_ms;
    bool swept; /* owner.c: what others held was taken over */
    /* settle.c */
    struct list settling; /* struct delivery: wants to tell Redis */
    /* upkeep.c */
    bool due_running;
    uint64_t due_ms; /* when a retry is due, by the loop's clock; UINT64_MAX: none known */
    int64_t backlog; /* entries in its stream, as last told */
    bool counted;    /* … which it was once (backlog.c) */
    bool missing;    /* it may have no stream */
    int64_t retries; /* entries that wait for a retry, as last told */
    struct trigger_counters counters;
    struct metric_buckets duration;
    struct query_rate delivered_rate;
    struct query_rate failed_rate;
    unsigned held_outside; /* of a source: events that it has elsewhere (outlet.h) */
    bool gone;
    unsigned refs;
};

enum delivery_state {
    DELIVERY_LOADING, /* the event is asked for */
    DELIVERY_READY,   /* waits for its turn (order by key) */
    DELIVERY_SENDING,
    DELIVERY_REPLYING, /* a reply is on its way into the stream */
    DELIVERY_SETTLING, /* wants to tell Redis, or has and waits for the answer */
};

enum delivery_outcome { OUTCOME_DONE, OUTCOME_RETRY, OUTCOME_DEAD };

struct delivery {
    struct list link;   /* trigger->deliveries */
    struct list settle; /* trigger->settling */
    struct trigger *trigger;
    struct payload *payload;
    enum delivery_state state;
    enum delivery_outcome outcome;
    bool held;   /* its reference has a state: its event is among the held */
    bool waits;  /* for an answer of Redis that names it */
    bool orphan; /* its trigger is gone: free it when that answer comes */
    enum stream_phase phase;
    uint32_t attempt;
    int code;
    uint64_t begun_ns;
    uint64_t delay_ms;      /* OUTCOME_RETRY */
    uint64_t not_before_ms; /* DELIVERY_READY: by the loop's clock */
    char *data;             /* base64 of what the sink said; NULL: nothing */
    char *why;              /* OUTCOME_DEAD: the last failure */
    char entry[PAYLOAD_ID_MAX];
    char event_id[PAYLOAD_ID_MAX];
    struct send send;
    struct event shown; /* the event as its sink sees it, while it is sent */
};

struct worker {
    struct loop *loop;
    const struct config *config;
    char *name;
    struct redis_conn *in; /* ingress.c: events in */
    struct redis_conn *db; /* the rest */
    struct kube_client *client;
    struct kube_cache *broker_cache;
    struct kube_cache *trigger_cache;
    struct sources *sources;
    bool synced; /* watch.c: both lists are in */
    void (*on_synced)(void *arg);
    void *on_synced_arg;
    bool stopping;
    struct map brokers;  /* path → struct broker */
    struct map triggers; /* path → struct trigger */
    struct list tails;   /* query_tail.c: who watches */
    size_t n_tails;
    struct payloads payloads;
    struct sender sender;
    uint16_t own_ports[40];
    size_t n_own_ports;
    struct list dirty; /* struct trigger */
    struct loop_task dirty_task;
    struct timer tick;
    uint64_t ticks;
    bool beating;
    bool beaten;               /* upkeep.c: Redis has heard of us */
    uint64_t lone_until_ms;    /* upkeep.c: nobody counts as silent before; UINT64_MAX: see there */
    uint64_t leftover_ms;      /* leftover.c: when to look again; 0: never */
    unsigned workers;          /* that share this Redis, as far as is known; 0: not known */
    struct capacity *capacity; /* capacity.c */
    struct routes *routes;     /* routes.c */
    struct backlog *backlog;   /* backlog.c */
    size_t in_bytes;           /* of events on their way in */
    struct http_simple *front;
    struct async *async; /* async.h: calls that nobody waits for */
    struct counters counters;
    struct log_limit redis_log;
    struct strbuf command; /* a command that is being made; empty between calls */
    struct strbuf packed;  /* the same, of an event */
};

/* --- model.c: who is there ----------------------------------------------------------------- */

/* NULL when nobody knows it. */
struct broker *worker_broker(const struct worker *w, struct slice path);
/* Changes from the API. value is taken over: the cache's struct is empty afterwards. */
void worker_put_broker(struct worker *w, const char *ns, const char *name,
                       struct broker_object *value);
void worker_remove_broker(struct worker *w, const char *ns, const char *name);
void worker_put_trigger(struct worker *w, const char *ns, const char *name, const char *uid,
                        struct trigger_object *value);
void worker_remove_trigger(struct worker *w, const char *ns, const char *name);
/* All of it; Redis keeps what it has. */
void worker_forget(struct worker *w);

void broker_ref(struct broker *b);
void broker_unref(struct broker *b);
void trigger_ref(struct trigger *t);
void trigger_unref(struct trigger *t);
/* The policy that counts for its deliveries. */
const struct retry_policy *trigger_policy(const struct trigger *t);
/* NULL: none. */
const char *trigger_dead_letter(const struct trigger *t);

/* As redis_conn_send on the connection for all but what comes in; for who does without the reason.
 */
static inline int worker_ask(struct worker *w, const struct slice *args, size_t count,
                             redis_conn_cb cb, void *arg)
{
    return redis_conn_send(w->db, args, count, cb, arg, NULL);
}

/* --- settle.c ------------------------------------------------------------------------------- */

/* Looked at once at the end of this turn: tells Redis, then reads more. */
void trigger_dirty(struct trigger *t);
/* The delivery's outcome is known. */
void delivery_settle(struct delivery *d, enum delivery_outcome outcome);
/* Tells Redis of all that wait for it. */
void trigger_settle(struct trigger *t);
/* Its trigger is gone, or it is over. */
void delivery_free(struct delivery *d);

/* --- deliver.c ------------------------------------------------------------------------------ */

/* Reads references as far as there is room. */
void trigger_read(struct trigger *t);
/* Sends what is ready: after a change, or when a key is free again. */
void trigger_send_ready(struct trigger *t);
/* Breaks off what takes too long. */
void trigger_check_time(struct trigger *t);

/* --- load.c --------------------------------------------------------------------------------- */

struct loading;
/*
 * Sees to it that the delivery gets its event: from memory at once, else by l (NULL: none yet),
 * with others that were added before. Gives the one to go on with, for load_send in the end.
 */
struct loading *load_event(struct loading *l, struct delivery *d);
/* Takes it over; NULL is fine. Each delivery is ready then, or done because its event is gone. */
void load_send(struct loading *l);

/* --- dispatch.c ----------------------------------------------------------------------------- */

/* There may be new events in its stream. */
void broker_dispatch(struct broker *b);

/* --- reply.c -------------------------------------------------------------------------------- */

/* An id that counts once. */
struct broker_once {
    const char *key; /* where the ids are kept, at most STREAM_ONCE_MAX of them */
    struct slice id;
    int64_t within_ms;
};

/*
 * Adds an event to a broker's stream, with ttl as its time to live. cb as redis_conn_send's; its
 * reply is the entry's id, or nil when the stream is not there. once (NULL: none): an id that came
 * before is not added again, and the reply is the integer 0.
 */
MUST_CHECK int broker_add(struct broker *b, struct redis_conn *conn, struct event *ev, int64_t ttl,
                          const struct broker_once *once, redis_conn_cb cb, void *arg,
                          struct error *err);

/* Whether it holds as many events as it may, and so many more; asks Redis now and then. */
bool broker_is_full(struct broker *b, uint64_t more);

/* What is left of an event's time to live; whoever passes it on takes one off. */
int64_t event_ttl(const struct event *ev);

/* --- upkeep.c ------------------------------------------------------------------------------- */

/* The connection is (again) there, or the lists are: groups are made, what was held is read again.
 */
void upkeep_up(struct worker *w);
/* The connection is a new one: before upkeep_up. */
void upkeep_anew(struct worker *w);
void upkeep_broker(struct broker *b);
void upkeep_trigger(struct trigger *t);
/* Whether it may have no stream. */
void trigger_missing(struct trigger *t, bool missing);
/* Redis does not have its group: it is made anew, but not all the time when it cannot be. */
void upkeep_broker_lost(struct broker *b);
void upkeep_trigger_lost(struct trigger *t);
/* Four times a second. */
void upkeep_tick(struct worker *w);
/* A retry of this trigger was written that is due in so many ms. */
void upkeep_due_in(struct trigger *t, uint64_t ms);
/* --- leftover.c ----------------------------------------------------------------------------- */

/* Removes what Redis has of them; the API has deleted them. */
void leftover_drop_trigger(struct trigger *t);
void leftover_drop_broker(struct broker *b);
/* What Redis has and the API has not goes. */
void leftover_look(struct worker *w);

#define EXTENSION_TTL     "knativebrokerttl"
#define EXTENSION_ARRIVAL "knativearrivaltime"
#define TTL_FIRST         255
