// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What people ask of events, answered at the admin port: numbers, dead letters, replays, a live
 * view. Everything asked is in Redis, so any worker answers for all. Answers are bounded; who wants
 * more asks again from where the answer says. GET looks, PUT changes: no delivery of an event can
 * be a PUT.
 *
 *   GET /events/numbers?namespace=NS           brokers, triggers, sources: what waits, since when,
 * rates GET /events/dead?namespace=NS&trigger=T    events nobody took (from=ID, id=ID with its
 * data) …or source=KIND/NAME       the same of a source PUT /events/dead/retry, /events/dead/drop
 * one (id=ID), or all (to=ID from the answer before) PUT /events/replay kept events to one trigger
 * again (query_replay.c) GET /events/tail                           events as they come
 * (query_tail.c)
 *
 * Owns: the questions under way. A question lives until its answer has gone out and Redis has
 * answered all that it was asked.
 */

#include "http/simple.h"
#include "broker/model.h"

struct query {
    struct worker *worker;
    struct http_simple_request *rq; /* NULL: the client has gone, or has its answer */
    struct broker *broker;          /* a count; or NULL */
    struct trigger *trigger;        /* a count; or NULL */
    unsigned asked;                 /* answers of Redis that are due */
    struct strbuf out;              /* the answer */
    void (*fini)(struct query *q);  /* NULL: nothing of its own */
};

/* Pages of the admin port; arg is the struct worker. */
void query_numbers(struct http_simple_request *rq, struct worker *w);
void query_dead(struct http_simple_request *rq, struct worker *w);
void query_dead_retry(struct http_simple_request *rq, struct worker *w);
void query_dead_drop(struct http_simple_request *rq, struct worker *w);
void query_replay(struct http_simple_request *rq, struct worker *w);
void query_tail(struct http_simple_request *rq, struct worker *w);

/* Four times a second: rates, and what is new for those who watch. */
void query_tick(struct worker *w, bool second);
void query_tail_tick(struct worker *w); /* its second half */

/* --- for the files of this kind ------------------------------------------------------------ */

#define QUERY_ANSWER_MAX (8u << 20)

/* size: of the struct that begins with a struct query. */
struct query *query_new(struct http_simple_request *rq, struct worker *w, size_t size);
/* The text of a parameter; empty when it is absent. Borrowed until out changes. */
struct slice query_param(const struct query *q, const char *name, struct strbuf *out);
/*
 * A parameter that is an id of a stream ("1700000000000-0", or its first half). Absent: `or`.
 * ERR_INVALID.
 */
MUST_CHECK int query_id(const struct query *q, const char *name, const char * or,
                        char out[static PAYLOAD_ID_MAX], struct error *err);
MUST_CHECK int query_count(const struct query *q, const char *name, uint64_t or, uint64_t max,
                           uint64_t *out, struct error *err);
/* Finds the trigger that `namespace` and `trigger` name, or the broker; ERR_NOT_FOUND. */
MUST_CHECK int query_find_trigger(struct query *q, struct error *err);
/* … or the outlet of the source that `source` names, as "KIND/NAME". */
MUST_CHECK int query_find_dead(struct query *q, struct error *err);
MUST_CHECK int query_find_broker(struct query *q, struct error *err);
/* The parameter `filters`, as spec.filters of a Trigger; *out NULL: absent. ERR_INVALID. */
MUST_CHECK int query_filter(const struct query *q, struct filter **out, struct error *err);
/* EVAL; zero: exactly one cb. */
MUST_CHECK int query_eval(struct query *q, const char *script, const char *const *keys,
                          size_t n_keys, const struct slice *args, size_t n_args, redis_conn_cb cb,
                          struct error *err);
/* Answers with q->out as JSON, or with the error; q is freed when nothing is asked any more. */
void query_answer(struct query *q, const struct error *err);
/* First in a callback of Redis. */
void query_answered(struct query *q);
/* Frees it when nobody waits any more. */
void query_let_go(struct query *q);

/* One event of a stream, as LIST gives it. */
struct query_event {
    struct slice id, why, only; /* its id; why it is dead; the one trigger that gets it (a UID) */
    bool stuck;                 /* dead, and cannot be tried again */
    int64_t data_bytes;         /* -1: it has none */
    bool whole;                 /* data is there, or it has none */
    struct event event;         /* borrows from the answer */
};
/* ERR_PROTOCOL: no event; id, why and stuck are there all the same. */
MUST_CHECK int query_read_event(const struct redisReply *entry, struct query_event *out,
                                struct error *err);
void query_event_fini(struct query_event *ev);
/* Appends `"id": …, "time": …, "event": {…}, "dataBytes": n, "only": "TRIGGER"`, without braces. */
MUST_CHECK int query_put_event(const struct broker *b, const struct query_event *ev,
                               struct strbuf *out, struct error *err);
/* "2026-11-23T10:00:00.000Z" of an id, in quotes; null when it is none. */
void query_put_time(struct slice id, struct strbuf *out);
