// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who waits and who goes: for every revision the requests that are held, in order, its replicas,
 * and how many requests each has in flight. Pure: time comes in as an argument, what is to be done
 * comes out by return value; it never calls back.
 *
 * Owns revisions and replicas. A ticket is the caller's memory (one inside each request).
 *
 *     switch (throttler_admit(t, rev, &req->ticket, bytes, now)) {
 *     case ADMIT_GRANTED: forward to req->ticket.replica; break;
 *     case ADMIT_HELD:    wait; break;
 *     default:            answer 503; }
 *     …on every change:   while ((tk = throttler_next(t, now)) != NULL) forward it
 *     …and:               while ((tk = throttler_expired(t, now, &why)) != NULL) answer it
 *                         while ((rev = throttler_next_poke(t, now)) != NULL) tell the autoscaler
 *                         while ((p = throttler_next_probe(t, now)) != NULL) ask its queue-proxy
 *                         throttler_tick(t, now) says when to look again.
 *
 * Order: first come, first served per revision; revisions take turns. A request that a replica
 * refused, or that could not reach it, goes back to its old place.
 * Bounds: each revision's queue and all queues together, by count and by bytes. When the common
 * bound is reached, a revision that holds fewer takes the place of the newest request of the one
 * that holds most: no revision can shut the others out.
 * Balancing by containerConcurrency, as Knative does: 0: two random replicas, fewer in flight wins;
 * 1 to 3: the first with a free slot; more: round robin over those with a free slot.
 * With containerConcurrency 0 a queue is let go in a window per replica that grows with each answer
 * and, for functions that answer late, with time: not as a herd.
 * A replica that says "full" has other callers too: what it took of ours is the limit from then on,
 * and now and then one more is tried. One that cannot be reached, or breaks off without a word, is
 * not used before a probe of it has succeeded.
 */

#include "base/list.h"
#include "base/map.h"
#include "base/random.h"
#include "base/slice.h"
#include "base/strbuf.h"
#include "activator/numbers.h"
#include "activator/stats.h"

struct throttler_limits {
    uint32_t max_held_per_revision;
    uint32_t max_held;                    /* of all revisions together */
    uint64_t max_held_bytes_per_revision; /* 0: only the common bound */
    uint64_t max_held_bytes;              /* of all revisions together */
    uint64_t hold_ms;                     /* longest wait of a request */
    uint64_t fail_grace_ms;               /* longest wait while the revision is known to fail */
};

enum ticket_state {
    TICKET_IDLE,
    TICKET_HELD,
    TICKET_GRANTED,
    TICKET_PUSHED_OUT, /* lost its place; throttler_expired() will give it */
};

enum ticket_kind {
    TICKET_REQUEST, /* a request of this process */
    TICKET_SLOT,    /* stands for a request that another worker has: throttler_reserve() */
};

struct ticket {
    struct list link;          /* private: in the revision's queue, or in throttler.pushed */
    struct list ask_link;      /* private: in throttler.asks */
    struct revision *revision; /* set while HELD or GRANTED */
    struct replica *replica;   /* set while GRANTED: where to forward */
    enum ticket_state state;   /* TICKET_IDLE when nothing is pending */
    enum ticket_kind kind;
    bool asked;           /* its slot was asked for elsewhere: throttler_next_ask() */
    bool trial;           /* private: beyond what a full replica took before */
    uint8_t loans;        /* borrower.c: how often its slot was asked for anew */
    uint64_t seq;         /* private: its place */
    uint64_t enter_ns;    /* when it was admitted */
    uint64_t granted_ns;  /* when it last got its slot */
    uint64_t deadline_ns; /* private */
    uint32_t bytes;       /* private: what holding it costs */
    uint32_t attempts;    /* how often it was granted */
};

/* What is known of a replica; texts borrowed during the call. */
struct replica_facts {
    struct slice uid;     /* of the Pod */
    struct slice name;    /* of the Pod */
    struct slice address; /* "unix:/…" or "IP:PORT"; empty: not known yet */
    bool h2c;             /* is spoken to in HTTP/2 */
    bool started;         /* its containers run */
    bool ready;           /* may take requests */
    bool terminating;     /* its Pod is being deleted */
};

struct replica {
    char *uid;     /* owned */
    char *name;    /* owned */
    char *address; /* owned; "" while unknown */
    struct revision *revision;
    void *user; /* the caller's: its upstream; see throttler_set_release() */
    uint32_t in_flight;
    bool h2c;   /* is spoken to in HTTP/2 */
    bool ready; /* by the Pod or by a probe of ours */
    bool terminating;
    bool draining;            /* it said so itself */
    bool suspect;             /* set aside until a probe of it succeeds */
    bool probing;             /* given by throttler_next_probe(), outcome not known yet */
    bool gone;                /* private: Pod deleted, waits for its last request */
    struct list suspect_link; /* private: in throttler.suspects */
    uint32_t failures;        /* in a row */
    uint64_t probe_at_ns;     /* private: while suspect: the next probe is due */
    uint32_t full_count;      /* private: it said "full", so often since a trial went well; 0: no */
    uint32_t room;            /* private: while full_count > 0: what it takes of ours */
    uint64_t full_at_ns;      /* private: when it last said so */
    uint64_t full_until_ns;   /* private: when one more may be tried */
    uint64_t total;           /* requests granted, ever */
};

/* What is known of the Revision object. */
struct revision_facts {
    uint32_t concurrency; /* containerConcurrency, 0: no limit */
    uint64_t timeout_ms;  /* timeoutSeconds */
    struct slice reason;  /* of Ready=False; empty: it does not fail */
    struct slice message;
};

struct revision {
    char *key;         /* owned: "ns/name" */
    struct slice ns;   /* borrowed from key */
    struct slice name; /* borrowed from key */
    bool known;        /* the Revision object was seen */
    bool borrowed;     /* its slots come from another worker: revision_set_borrowed() */
    uint32_t concurrency;
    uint64_t timeout_ms;
    char *fail_reason;         /* owned; NULL: it does not fail */
    char *fail_message;        /* owned; may be NULL */
    char *blocked_message;     /* owned; why a Pod cannot be placed; or NULL */
    uint32_t blocked;          /* Pods that cannot be placed */
    uint64_t fail_since_ns;    /* private */
    bool expiring_gone;        /* private: it was deleted while requests were held */
    struct list queue;         /* private: tickets that are held */
    uint32_t held;             /* length of the queue */
    uint32_t held_own;         /* requests of this process among them */
    uint32_t pushed;           /* private: its tickets in throttler.pushed */
    uint64_t held_bytes;       /* what they cost */
    struct list held_link;     /* private: in throttler.held while the queue is not empty */
    struct list run_link;      /* private: in throttler.runnable */
    struct list poke_link;     /* private: in throttler.pokes */
    struct list expire_link;   /* private: in throttler.expiring */
    struct list active_link;   /* private: in throttler.active while it has anything to report */
    struct replica **replicas; /* owned, in order of arrival; gone ones are not in it */
    uint32_t replica_count;
    uint32_t next_rr; /* private: round robin */
    uint32_t in_flight;
    uint32_t gone_busy;      /* private: replicas that are gone but not empty */
    uint32_t window;         /* private: in flight per replica while a queue is let go */
    uint64_t window_at_ns;   /* private */
    uint32_t window_answers; /* private: since it last grew */
    uint64_t poke_at_ns;     /* private */
    uint64_t poke_wait_ns;   /* private: back-off of pokes */
    uint64_t poke_more_ns;   /* private: not before: a poke because many more wait */
    uint32_t poked_count; /* private: what the last poke said; 0: none since the queue was empty */
    uint64_t cold_since_ns; /* private: when it had requests and nothing to answer them; 0: no */
    uint64_t cold_ns;       /* private: how long that takes, a moving average; 0: not seen yet */
    uint64_t release_at_ns; /* private: when the queue last moved */
    uint64_t release_ns;    /* private: time between two moves, a moving average; 0: not seen */
    uint64_t cold_starts;   /* requests that found no ready replica */
    uint64_t refused;       /* requests turned away */
    struct cold_marks cold; /* of the last cold start */
    struct revision_numbers *numbers; /* numbers.h; NULL: none yet, or not counted apart */
    struct stat_meter meter;
};

typedef void (*replica_release_cb)(void *ctx, struct replica *replica);

struct throttler {
    struct throttler_limits limits;
    struct map revisions; /* "ns/name" -> struct revision, owned */
    uint64_t epoch;       /* never 0; another one after each revision that went */
    struct list held;     /* private */
    struct list runnable; /* private */
    struct list pokes;    /* private */
    struct list expiring; /* private */
    struct list pushed;   /* private: tickets that lost their place */
    struct list asks;     /* private: tickets whose slot is to be asked for */
    struct list suspects; /* private: replicas that are set aside */
    struct list active;   /* revisions with something to report, see throttler_report() */
    uint32_t held_count;  /* requests of this process; slots for other workers are not in it */
    uint64_t held_bytes;
    uint32_t in_flight;        /* granted, of all revisions */
    uint32_t max_in_flight;    /* set by the owner, any time: what it has descriptors for */
    uint64_t stalled_until_ns; /* private: nothing is granted before: see GIVE_BACK_LOCAL */
    uint64_t next_seq;         /* private */
    struct prng prng;          /* private */
    struct numbers numbers;    /* the owner sets its max */
    replica_release_cb release;
    void *release_ctx;
};

enum admit {
    ADMIT_GRANTED,
    ADMIT_HELD,
    ADMIT_REVISION_FULL, /* the revision's queue is full */
    ADMIT_TOTAL_FULL,    /* too many requests are held in all */
};

enum expiry {
    EXPIRY_DEADLINE, /* waited as long as it may */
    EXPIRY_FAILED,   /* the revision fails or is not known: revision_failure() tells why */
    EXPIRY_GONE,     /* the Revision was deleted */
    EXPIRY_PUSHED,   /* made room for a revision that holds fewer */
};

enum give_back {
    GIVE_BACK_FULL,        /* the replica answered "full" */
    GIVE_BACK_DRAINING,    /* the replica answered "draining" */
    GIVE_BACK_UNREACHABLE, /* no connection to it */
    GIVE_BACK_LOCAL,       /* we cannot open a connection just now: nobody goes for a moment */
    GIVE_BACK_STALE,       /* a kept connection had died meanwhile; not the replica's fault */
};

void throttler_init(struct throttler *t, const struct throttler_limits *limits, uint64_t seed);
/* Requires that no ticket is held or granted. A zeroed one is fine. */
void throttler_fini(struct throttler *t);
/* Called just before a replica's memory goes, so that the caller can release replica->user. */
void throttler_set_release(struct throttler *t, replica_release_cb release, void *ctx);

/* NULL when unknown and !create, and for names longer than the API allows. */
struct revision *throttler_revision(struct throttler *t, struct slice ns, struct slice name,
                                    bool create);
void revision_learn(struct throttler *t, struct revision *r, const struct revision_facts *facts,
                    uint64_t now_ns);
/* The autoscaler has decided on its behalf: for the phases of a cold start. */
void revision_decided(struct revision *r, uint64_t now_ns);
/* A replica of it says that it runs: likewise. */
void revision_started(struct revision *r, uint64_t now_ns);
/* The object was deleted: what is held expires, the revision is freed once it is empty. */
void revision_forget(struct throttler *t, struct revision *r);
/* One more Pod of it cannot be placed (message tells why), or one fewer. */
void revision_pod_blocked(struct revision *r, bool blocked, struct slice message, uint64_t now_ns);
/* The reason why it cannot answer, or NULL; *out_message may be NULL. */
const char *revision_failure(const struct revision *r, const char **out_message);

/* Adds or updates. A replica that becomes ready, or moves, starts with a clean record. */
struct replica *revision_put_replica(struct throttler *t, struct revision *r,
                                     const struct replica_facts *facts, uint64_t now_ns);
/* Requests in flight on it go on; the memory goes with the last of them. */
void revision_remove_replica(struct throttler *t, struct revision *r, struct slice uid);
struct replica *revision_find_replica(const struct revision *r, struct slice uid);
/* Replicas that may take a request, were they not full. */
uint32_t revision_usable(const struct revision *r, uint64_t now_ns);
/* Whole seconds, at least 1, after which one more request of it may find room; an estimate from
 * how long its last cold starts took and how fast its queue moves. */
unsigned revision_retry_after_s(const struct revision *r, uint64_t now_ns);
/* What a poke says: its requests, held and in flight. */
uint32_t revision_demand(const struct revision *r);

MUST_CHECK enum admit throttler_admit(struct throttler *t, struct revision *r,
                                      struct ticket *ticket, uint32_t bytes, uint64_t now_ns);
/* The granted request is over, however it ended; frees its slot. ok: the replica answered. */
void throttler_done(struct throttler *t, struct ticket *ticket, bool ok, uint64_t now_ns);
/* The same, and the replica broke it off without a word: not used again before it was probed. */
void throttler_broken(struct throttler *t, struct ticket *ticket, uint64_t now_ns);
/* The granted request did not reach the function: back to its place in the queue. */
void throttler_give_back(struct throttler *t, struct ticket *ticket, enum give_back why,
                         uint64_t now_ns);
/* The client is gone (held or granted). Fine for an idle ticket. */
void throttler_cancel(struct throttler *t, struct ticket *ticket, uint64_t now_ns);

/* The next held request that may go now, granted; NULL when there is none. */
struct ticket *throttler_next(struct throttler *t, uint64_t now_ns);
/*
 * The next held request that has waited too long, off the queue and out of the count; NULL when
 * there is none. Its revision may be looked at until the next call into the throttler.
 */
struct ticket *throttler_expired(struct throttler *t, uint64_t now_ns, enum expiry *out_why);
/* The next revision that the autoscaler should be told of; NULL when there is none. */
struct revision *throttler_next_poke(struct throttler *t, uint64_t now_ns);
/* The next replica that is to be probed; its outcome is owed unless the replica is released. */
struct replica *throttler_next_probe(struct throttler *t, uint64_t now_ns);
void throttler_probed(struct throttler *t, struct replica *p, bool ok, uint64_t now_ns);
/* Pokes sent so far may have been lost: every revision that waits is poked again. */
void throttler_poke_again(struct throttler *t, uint64_t now_ns);
/* Looks at all that is held or set aside. Returns when to look again; UINT64_MAX: nothing is. */
uint64_t throttler_tick(struct throttler *t, uint64_t now_ns);
/* Nothing is held, pushed out or set aside: there is nothing to look at. */
bool throttler_idle(const struct throttler *t);

/*
 * --- slots for other workers: limits and order of a revision that several workers serve ----------
 *
 * One worker owns the revision; the others borrow its slots one by one and keep their clients.
 *
 * The owner: for each request of another worker a ticket of kind TICKET_SLOT, in the same queue as
 * its own requests. Grants and expiries of it come out of throttler_next() and throttler_expired()
 * like those of requests (look at ticket->kind); throttler_done, _broken, _give_back and _cancel
 * are its release, complaint, return to its place, and revocation. It costs no bytes here and is in
 * no report: the worker that has the request counts it.
 *
 * The borrower: its requests are held until a slot is lent. throttler_next_ask() gives those to
 * ask for; throttler_lend() brings one. A ticket that was `asked` and ends (cancel, expiry, done,
 * give-back) is the caller's to report to the owner.
 */
MUST_CHECK enum admit throttler_reserve(struct throttler *t, struct revision *r,
                                        struct ticket *ticket, uint64_t now_ns);
/* A slot that is in use already (a new owner hears of it), over any limit. False: there is no such
 * replica, and the ticket is idle. */
MUST_CHECK bool throttler_reserve_at(struct throttler *t, struct revision *r, struct ticket *ticket,
                                     struct slice uid, uint64_t now_ns);
/* From now on (or no longer) its slots come from another worker. */
void revision_set_borrowed(struct throttler *t, struct revision *r, bool borrowed);
/* The next held request whose slot is to be asked for, marked as asked; NULL when there is none. */
struct ticket *throttler_next_ask(struct throttler *t);
/* A slot on that replica for the held request; false when the replica is not known here, or may not
 * be used: give the slot back. */
MUST_CHECK bool throttler_lend(struct throttler *t, struct ticket *ticket, struct slice uid,
                               uint64_t now_ns);
/* What was asked for is lost (another owner): every held request of it is asked for anew. */
void throttler_ask_again(struct throttler *t, struct revision *r);

/*
 * Walks the revisions that have something to report (*cursor starts as NULL): fills *out, forgets
 * those that were idle for the whole period. NULL at the end.
 */
struct revision *throttler_report(struct throttler *t, struct list **cursor, uint64_t now_ns,
                                  struct stat_report *out);

/* Appends JSON array items, one per revision that has replicas or requests; for /debug/state. */
void throttler_dump(const struct throttler *t, uint64_t now_ns, struct strbuf *out);
