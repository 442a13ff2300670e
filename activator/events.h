// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What goes to lull-broker instead of to a function: calls that are not waited for (`Prefer:
 * respond-async`), their results (/_lull/async/ID), and web hooks (/_lull/hooks/NAMESPACE/NAME).
 *
 * Owns the connections to lull-broker and the requests that are on their way there or wait for it.
 * Where it is says --broker; or, on one machine, --broker-state: the file that the supervisor
 * writes. While nothing is there the supervisor is asked to start it, and requests wait, bounded in
 * number and time. May not: keep a request that lull-broker has seen; what became of that is its
 * word.
 */

#include "base/list.h"
#include "loop/closer.h"
#include "loop/resolve.h"
#include "loop/timer.h"
#include "http/server.h"
#include "http/upstream.h"
#include "activator/config.h"
#include "activator/route_table.h"

#define EVENTS_PATH_ASYNC ROUTE_PATH_PREFIX "async"
#define EVENTS_PATH_HOOKS ROUTE_PATH_PREFIX "hooks"

struct events_counters {
    uint64_t passed;  /* requests that lull-broker answered */
    uint64_t refused; /* 503: it was not there, or too many were on their way */
    uint64_t failed;  /* 502: it broke off */
};

struct events {
    struct loop *loop; /* private, like the rest but counters */
    const struct config *config;
    struct events_counters counters;
    struct http_pool *pool; /* NULL: nobody knew yet where it is */
    struct addr addr;       /* of the pool */
    bool usable;            /* the pool leads there, as far as we know */
    char *host;             /* owned: of --broker, a name; NULL: an address, or the file */
    uint16_t port;
    uint64_t resolved_ms; /* when host was looked up */
    struct resolve *resolve;
    uint64_t asked_ms;   /* the supervisor */
    struct list waiting; /* struct passage, oldest first */
    struct list running;
    unsigned count; /* in both */
    char trouble[ERROR_MSG_MAX];
    bool failed; /* the supervisor cannot start it */
    struct timer timer;
    bool slow; /* the timer looks after what runs only */
    struct strbuf scratch;
    struct strbuf target;
    struct closer closer;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* What a request to it is. */
enum events_kind {
    EVENTS_NONE,   /* none: it is for the function */
    EVENTS_CALL,   /* to be kept, and made later */
    EVENTS_RESULT, /* asks for the result of one */
    EVENTS_HOOK,   /* for a source of events */
    EVENTS_STREAM, /* wanted to be kept, and cannot be: an upgrade */
};

/*
 * Of a request by its head; match is of the route table (path_skip counts for an unknown function
 * too). Pure.
 */
enum events_kind events_kind(const struct http_head *head, const struct route_match *match);

/* config outlives it. */
void events_init(struct events *e, struct loop *loop, const struct config *config);
/* ERR_INVALID: --broker cannot be read. */
MUST_CHECK int events_start(struct events *e, struct error *err);
/* Whether there is a lull-broker, or may be one. */
bool events_on(const struct events *e);

struct events_request {
    struct http_exchange *ex; /* taken over: who listened to it hears no more */
    enum events_kind kind;
    enum route_listener listener;
    unsigned hops;
    const struct route_match *match; /* EVENTS_CALL: whom it calls; borrowed for the call */
};

/* Answers it in the end. */
void events_pass(struct events *e, const struct events_request *request);
/* All exchanges are over; cb later. */
void events_close(struct events *e, void (*cb)(void *arg), void *arg);
