// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The data path: two listeners, one request after the other from its head to its answer. Routes it,
 * asks the throttler, forwards it or holds it, and answers what cannot be forwarded.
 *
 * Owns the listeners, the route table, the throttler and the upstream pools. Does not know where
 * Routes, Revisions and Pods come from: activator/watch feeds `routes` and `throttler` and calls
 * handler_pump() afterwards.
 */

#include "loop/closer.h"
#include "loop/timer.h"
#include "http/request_log.h"
#include "http/server.h"
#include "http/upstream.h"
#include "activator/config.h"
#include "activator/events.h"
#include "activator/ports.h"
#include "activator/route_table.h"
#include "activator/throttler.h"

typedef void (*handler_poke_cb)(void *arg, const struct revision *revision);

/* What happened so far; read by the admin port. */
struct handler_counters {
    uint64_t requests;        /* heads that came in, probes included */
    uint64_t unknown;         /* 404: no such function */
    uint64_t forwarded;       /* answered by a replica */
    uint64_t held;            /* had to wait */
    uint64_t pokes;           /* revisions that the autoscaler was told of */
    uint64_t refused_full;    /* 503: a queue was full */
    uint64_t pushed_out;      /* 503: gave way to a function that holds fewer */
    uint64_t expired;         /* 503: waited too long, or the revision fails */
    uint64_t upstream_errors; /* 502 */
    uint64_t given_back;      /* came back from a replica unserved */
    uint64_t client_gone;     /* the client went first */
    uint64_t redirected;      /* 301: sent on to HTTPS */
    uint64_t probes;          /* of replicas that were set aside */
    uint64_t wakes;           /* requests that only wanted a replica to be there */
};

struct handler_options {
    struct loop *loop;
    const struct config *config; /* outlives the handler */
    handler_poke_cb poke;        /* may be NULL */
    void *poke_arg;
};

struct announce;
struct front;
struct sharing;

struct handler {
    struct route_table routes;
    struct throttler throttler;
    struct handler_counters counters;
    struct request_log log;    /* activator/log.h */
    struct sharing *sharing;   /* sharing.h; NULL: we are the only shard */
    struct announce *announce; /* announce.h; NULL: none are taken */
    const struct front *front; /* front.h; NULL: no TLS here */
    struct events events;
    bool synced;   /* set by the watch: the first lists are in */
    bool draining; /* probes fail from here on */

    struct loop *loop; /* private, like the rest */
    const struct config *config;
    handler_poke_cb poke;
    void *poke_arg;
    size_t fd_limit;
    struct http_server *servers[2]; /* by enum route_listener */
    struct http_pool_options pool_options;
    struct timer timer;
    uint64_t due_ns;
    struct list running; /* overdue.c: requests that a replica has */
    struct timer clock;
    bool clock_on;
    struct list spare; /* request structs to use again */
    uint32_t spare_count;
    struct strbuf scratch;
    struct strbuf target;
    struct closer closer;
    uint32_t servers_open;
    uint32_t drains;
    void (*drained)(void *arg);
    void *drained_arg;
    void (*closed)(void *arg);
    void *closed_arg;
};

void handler_init(struct handler *h, const struct handler_options *options);
/* Opens the listeners, that with TLS where there is a front. inherited: bound sockets to take over
   (ports.h), or -1 each. */
MUST_CHECK int handler_listen(struct handler *h, const int inherited[PORT_COUNT],
                              struct error *err);
uint16_t handler_port(const struct handler *h, enum route_listener listener);
/* What is known of the revision has changed. Pump afterwards. */
void handler_learned(struct handler *h, struct revision *r);
/* Does what can be done now; call it after routes, revisions or replicas have changed. */
void handler_pump(struct handler *h);
/* Fails probes, stops listening, lets what runs and waits come to its end; cb once when it has. */
void handler_drain(struct handler *h, void (*cb)(void *arg), void *arg);
/* Breaks everything off; cb when the last handle is closed and the memory is the owner's. */
void handler_close(struct handler *h, void (*cb)(void *arg), void *arg);
