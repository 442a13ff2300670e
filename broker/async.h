// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Calls of functions that nobody waits for: taken, kept in Redis, made with retries, and their
 * results given out or called back. The structs are open to async*.c and to nobody else but where
 * it says so.
 *
 * Life of a call: async_front.c adds it, async_answer.c tells of it; async_run.c claims it for a
 * lease and makes it; async_settle.c settles it: done, or due again; with a callback it is due once
 * more, to be called back. A worker that dies leaves leases that end: whoever claims next finds the
 * calls due. async.c has the functions that were ever called so, and looks after them.
 */

#include "broker/async_store.h"
#include "broker/model.h"

struct http_simple_request;

struct async_counters {
    uint64_t accepted;
    uint64_t repeated; /* an Idempotency-Key that was known */
    uint64_t refused;  /* 4xx but 429 */
    uint64_t refused_full;
    uint64_t refused_away;
    uint64_t tries;
    uint64_t retried;
    uint64_t done;
    uint64_t failed; /* done, but without an answer of the function */
    uint64_t callbacks;
    uint64_t callbacks_failed; /* given up */
    uint64_t taken_over;
    uint64_t late; /* what was done does not count: somebody else had the call meanwhile */
    uint64_t fetched;
};

/* A function that is called so. */
struct async_function {
    struct async *async;
    char tag[ASYNC_TAG_LEN + 1];
    char *ns;
    char *name; /* with its tag, when called by one: "TAG-NAME" */
    char waiting_key[ASYNC_KEY_MAX];
    char running_key[ASYNC_KEY_MAX];
    char results_key[ASYNC_KEY_MAX];
    /* As Redis last said, of all workers (due and running also to backlog.c); for metrics, and for
     * whoever scales it. */
    uint64_t waiting;
    uint64_t due; /* of these: not for a later try */
    uint64_t running;
    uint64_t results;
    /* async_run.c */
    struct list calls; /* struct async_call: those that this worker makes */
    unsigned n_calls;
    unsigned claims; /* under way */
    bool more;       /* look again when the claim under way has come back */
    uint64_t due_ms; /* when to look again, by the loop's clock */
    /* async.c */
    uint64_t said_ms; /* when Redis was last told that it is called */
    uint64_t used_ms;
};

struct async {
    struct worker *worker;
    struct map functions; /* tag → struct async_function; never fewer while we run */
    struct async_counters counters;
    struct list waiters; /* async_answer.c */
    unsigned n_waiters;
    size_t bytes; /* of calls that are being made */
    bool listing;
    bool stopping;
    struct strbuf scratch;
};

#define ASYNC_FUNCTIONS_MAX 100000u

struct async *async_new(struct worker *w);
/* The connection is (again) there. */
void async_up(struct async *a);
/* Four times a second. */
void async_tick(struct async *a, bool second);
/* Whether calls are being made that may end by themselves. */
bool async_busy(const struct async *a);
/* Breaks off what is being made; answers of Redis may still come. */
void async_stop(struct async *a);
/* No answer of Redis comes any more. NULL is fine. */
void async_free(struct async *a);
void async_write_metrics(const struct async *a, struct strbuf *out);

/* The function of a tag; made when it is not known. */
struct async_function *async_function(struct async *a, struct slice tag, struct slice ns,
                                      struct slice name);
/* NULL: not known. */
struct async_function *async_function_of(const struct async *a, struct slice id);
/* It is being called: Redis is told, at most once a minute. ERR_UNAVAILABLE, ERR_OVERLOAD. */
MUST_CHECK int async_function_used(struct async_function *fn, struct error *err);

/* --- async_front.c -------------------------------------------------------------------------- */

/* A request below /_lull/async. */
void async_handle(struct worker *w, struct http_simple_request *rq);
/* --- async_answer.c ------------------------------------------------------------------------- */

#define ASYNC_PATH "/_lull/async/"

/* retry_after NULL: no such header. */
void async_respond_text(struct http_simple_request *rq, int status, const char *retry_after,
                        const char *text);
/* 202: it is kept. */
void async_respond_taken(struct http_simple_request *rq, struct slice id);
/* The status that fits, counted. */
void async_refuse(struct async *a, struct http_simple_request *rq, const struct error *err);
/* What Redis did not do, as an error for clients. */
void async_redis_trouble(struct error *out, const struct error *err);
/* Answers with the result, waiting for it for so long. called: rq itself made the call. */
void async_wait(struct async *a, struct http_simple_request *rq, struct slice id, unsigned wait_s,
                bool called);
/* Looks whether those who wait for this call (NULL: for any) can be answered. */
void async_answer_waiters(struct async *a, const char *id);

/* --- async_run.c ---------------------------------------------------------------------------- */

/* There may be calls to make. */
void async_claim(struct async_function *fn);
/* Holds what is being made to its time, and keeps the leases. */
void async_check(struct async_function *fn, bool renew);
/* --- async_settle.c ------------------------------------------------------------------------- */

/* Settles what could not be settled before. */
void async_settle_again(struct async_function *fn);
void async_drop_calls(struct async_function *fn);
