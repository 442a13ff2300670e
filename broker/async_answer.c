// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. What clients are told: texts, refusals, and results. Who asks for a result is a waiter:
 * Redis is asked at once, then at every tick, and when the call ends in this worker, until there is
 * a result or its time is up. Waiters are bounded; one too many does not wait.
 *
 * Failure: Redis is away when the time is up: 503. The client goes: the waiter goes with it.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/simple.h"
#include "broker/async.h"

#define WAITERS_MAX    1000u
#define AWAY_S         "2"
#define FULL_S         "10"
#define ANSWER_HEADERS 144
#define STATE_MAX      8192u

/* --- answers -------------------------------------------------------------------------------- */

static void add(struct http_head *head, const char *name, struct slice value)
{
    /* no room for one more header: the answer matters more */
    (void)!http_head_add(head, slice_str(name), value);
}

static void begin_head(struct http_head *head, struct http_header *room, size_t n, int status)
{
    http_head_init(head, room, n);
    head->status = status;
    add(head, "Cache-Control", SLICE_LIT("no-store"));
}

void async_respond_text(struct http_simple_request *rq, int status, const char *retry_after,
                        const char *text)
{
    struct http_header room[4];
    struct http_head head;
    http_head_init(&head, room, ARRAY_LEN(room));
    head.status = status;
    add(&head, "Content-Type", SLICE_LIT("text/plain; charset=utf-8"));
    if (retry_after != NULL) {
        add(&head, "Retry-After", slice_str(retry_after));
    }
    if (status == 405) {
        add(&head, "Allow", SLICE_LIT("GET, HEAD, DELETE"));
    }
    http_simple_respond_head(rq, &head, slice_str(text));
}

void async_refuse(struct async *a, struct http_simple_request *rq, const struct error *err)
{
    CLEANUP(cleanup_free) char *text = xasprintf("%s\n", err->msg);
    int status = err->code == ERR_OVERLOAD   ? 429
                 : err->code == ERR_CONFLICT ? 422
                 : err->code == ERR_CANCELED || err->code == ERR_TIMEOUT || err->code == ERR_CLOSED
                     ? 503
                     : error_http_status((int)err->code);
    status = status >= 500 ? 503 : status;
    uint64_t *count = status == 429   ? &a->counters.refused_full
                      : status == 503 ? &a->counters.refused_away
                                      : &a->counters.refused;
    (*count)++;
    async_respond_text(rq, status, status == 429 ? FULL_S : status == 503 ? AWAY_S : NULL, text);
}

void async_redis_trouble(struct error *out, const struct error *err)
{
    if (err->code == ERR_OVERLOAD) {
        error_set(out, ERR_OVERLOAD, "redis has no room for the call: %s", err->msg);
    } else {
        error_set(out, ERR_UNAVAILABLE, "redis is not reachable: %s", err->msg);
    }
}

void async_respond_taken(struct http_simple_request *rq, struct slice id)
{
    struct http_header room[8];
    struct http_head head;
    char location[sizeof(ASYNC_PATH) + ASYNC_ID_LEN];
    char body[2 * sizeof(location) + 64];
    snprintf(location, sizeof(location), ASYNC_PATH "%.*s", SLICE_FMT(id));
    snprintf(body, sizeof(body), "{\"id\":\"%.*s\",\"location\":\"%s\"}\n", SLICE_FMT(id),
             location);
    begin_head(&head, room, ARRAY_LEN(room), 202);
    add(&head, "Content-Type", SLICE_LIT("application/json"));
    add(&head, "Location", slice_str(location));
    add(&head, "Preference-Applied", SLICE_LIT("respond-async"));
    http_simple_respond_head(rq, &head, slice_str(body));
}

/* --- results -------------------------------------------------------------------------------- */

/* Somebody who wants to know of a call. */
struct waiter {
    struct list link;
    struct async *async;
    struct http_simple_request *rq; /* NULL: gone */
    char id[ASYNC_ID_LEN + 1];
    uint64_t until_ms;
    bool asking;
    bool called; /* made the call just now: is told where its result will be */
    bool waits;  /* said so: Preference-Applied */
};

static void waiter_free(struct waiter *wt)
{
    list_remove(&wt->link);
    wt->async->n_waiters--;
    free(wt);
}

static void on_gone(struct http_simple_request *rq, void *data)
{
    struct waiter *wt = data;
    wt->rq = NULL;
    if (!wt->asking) {
        waiter_free(wt);
    }
}

static struct http_simple_request *let_go(struct waiter *wt)
{
    struct http_simple_request *rq = wt->rq;
    rq->on_close = NULL;
    rq->data = NULL;
    wt->rq = NULL;
    return rq;
}

enum result {
    R_STATE,
    R_TRIES,
    R_TIME,
    R_STATUS,
    R_HEADERS,
    R_BODY,
    R_WORDS,
    R_LARGE,
    R_CALLED,
    R_N
};
static const char *const result_fields[R_N] = {"s", "n", "t", "r", "R", "d", "e", "x", "z"};

static void answer_pending(struct waiter *wt, const struct redisReply *reply)
{
    struct http_header room[10];
    struct http_head head;
    char location[sizeof(ASYNC_PATH) + ASYNC_ID_LEN];
    struct slice state = redis_reply_text(redis_reply_at(reply, R_STATE));
    struct slice words = redis_reply_text(redis_reply_at(reply, R_WORDS));
    CLEANUP(strbuf_fini) struct strbuf body;
    strbuf_init(&body, 8192);
    snprintf(location, sizeof(location), ASYNC_PATH "%s", wt->id);
    begin_head(&head, room, ARRAY_LEN(room), 202);
    add(&head, "Content-Type", SLICE_LIT("application/json"));
    add(&head, "Location", slice_str(location));
    add(&head, "Lull-Async-State", state);
    if (wt->called) {
        add(&head, "Preference-Applied", SLICE_LIT("respond-async"));
    } else {
        add(&head, "Retry-After", SLICE_LIT("1"));
        if (wt->waits) {
            add(&head, "Preference-Applied", SLICE_LIT("wait"));
        }
    }
    strbuf_appendf(&body, "{\"id\":\"%s\",\"location\":\"%s\",\"state\":\"%.*s\",\"attempts\":%lld",
                   wt->id, location, SLICE_FMT(state),
                   (long long)redis_reply_int(redis_reply_at(reply, R_TRIES), 0));
    if (!slice_empty(words)) {
        strbuf_append_str(&body, ",\"lastTrouble\":");
        strbuf_append_json(&body, words);
    }
    strbuf_append_str(&body, "}\n");
    http_simple_respond_head(let_go(wt), &head, strbuf_slice(&body));
}

/* A function's own headers of this kind would say what only we know. */
#define OURS SLICE_LIT("Lull-Async-")

static void add_result_headers(struct http_head *head, struct slice packed)
{
    struct slice name, value;
    while (async_headers_next(&packed, &name, &value)) {
        bool ours = slice_eq_nocase(slice_sub(name, 0, OURS.len), OURS);
        if (!ours && http_name_valid(name) && http_value_valid(value)) {
            (void)!http_head_add(head, name, value);
        }
    }
}

/* What the function answered, as it answered; or why that is not there. */
static void answer_done(struct waiter *wt, const struct redisReply *reply)
{
    struct http_header room[ANSWER_HEADERS];
    struct http_head head;
    int status = (int)redis_reply_int(redis_reply_at(reply, R_STATUS), 0);
    struct slice called = redis_reply_text(redis_reply_at(reply, R_CALLED));
    struct slice body = redis_reply_text(redis_reply_at(reply, R_BODY));
    bool large = redis_reply_int(redis_reply_at(reply, R_LARGE), 0) == 1;
    bool whole = status != 0 && !large;
    CLEANUP(cleanup_free) char *words = NULL;
    begin_head(&head, room, ARRAY_LEN(room), whole ? status : large ? 502 : 504);
    add(&head, "Lull-Async-State", status == 0 ? SLICE_LIT("failed") : SLICE_LIT("done"));
    add(&head, "Lull-Async-Attempts", redis_reply_text(redis_reply_at(reply, R_TRIES)));
    add(&head, "Lull-Async-Status", redis_reply_text(redis_reply_at(reply, R_STATUS)));
    if (!slice_empty(called) && http_value_valid(called)) {
        add(&head, "Lull-Async-Callback", called);
    }
    if (wt->called) {
        add(&head, "Preference-Applied", SLICE_LIT("respond-async, wait"));
    } else if (wt->waits) {
        add(&head, "Preference-Applied", SLICE_LIT("wait"));
    }
    if (whole) {
        add_result_headers(&head, redis_reply_text(redis_reply_at(reply, R_HEADERS)));
    } else {
        add(&head, "Content-Type", SLICE_LIT("text/plain; charset=utf-8"));
        words = large ? xasprintf("the function answered %d with more than %llu bytes; a larger "
                                  "result is not kept (--async-max-result)\n",
                                  status,
                                  (unsigned long long)wt->async->worker->config->async_result_max)
                      : xasprintf("the function gave no answer: %.*s\n",
                                  SLICE_FMT(redis_reply_text(redis_reply_at(reply, R_WORDS))));
        body = slice_str(words);
    }
    wt->async->counters.fetched++;
    http_simple_respond_head(let_go(wt), &head, body);
}

static void answer_missing(struct waiter *wt)
{
    const struct config *c = wt->async->worker->config;
    int64_t age_s = clock_wall_ns() / (int64_t)CLOCK_NS_PER_S - async_id_time(slice_str(wt->id));
    if (age_s * 1000 > (int64_t)c->async_result_ttl_ms) {
        CLEANUP(cleanup_free)
        char *text = xasprintf("the result is not kept any more (results are kept for %llu s), or "
                               "was deleted\n",
                               (unsigned long long)c->async_result_ttl_ms / 1000);
        async_respond_text(let_go(wt), 410, NULL, text);
    } else {
        async_respond_text(let_go(wt), 404, NULL,
                           "no call has this id: it was deleted, or never made here\n");
    }
}

static void on_result(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct waiter *wt = arg;
    struct async *a = wt->async;
    struct error trouble;
    wt->asking = false;
    if (wt->rq == NULL) {
        waiter_free(wt);
        return;
    }
    bool over = loop_now_ms(a->worker->loop) >= wt->until_ms || a->worker->stopping;
    struct slice state = redis_reply_text(redis_reply_at(reply, R_STATE));
    if (err != NULL && over) {
        async_redis_trouble(&trouble, err);
        async_refuse(a, let_go(wt), &trouble);
    } else if (err != NULL) {
        return; /* it may be back before the time is up */
    } else if (slice_empty(state)) {
        answer_missing(wt);
    } else if (slice_eq_str(state, "done")) {
        answer_done(wt, reply);
    } else if (over) {
        answer_pending(wt, reply);
    } else {
        return; /* asked again at the next tick, or when the call ends here */
    }
    waiter_free(wt);
}

static void ask_result(struct waiter *wt)
{
    struct error err;
    char key[ASYNC_KEY_MAX];
    struct slice args[2 + R_N] = {SLICE_LIT("HMGET"),
                                  slice_str(async_call_key(slice_str(wt->id), key))};
    for (size_t i = 0; i < R_N; i++) {
        args[2 + i] = slice_str(result_fields[i]);
    }
    wt->asking = true;
    if (redis_conn_send(wt->async->worker->db, args, ARRAY_LEN(args), on_result, wt, &err) < 0) {
        on_result(wt, NULL, &err);
    }
}

/* rq is answered in the end. */
void async_wait(struct async *a, struct http_simple_request *rq, struct slice id, unsigned wait_s,
                bool called)
{
    struct waiter *wt = NEW(struct waiter);
    wt->async = a;
    wt->rq = rq;
    wt->called = called;
    wt->waits = wait_s > 0 && a->n_waiters < WAITERS_MAX;
    wt->until_ms = loop_now_ms(a->worker->loop) + (wt->waits ? wait_s * 1000u : 0);
    (void)slice_copy(id, wt->id, sizeof(wt->id));
    list_push_back(&a->waiters, &wt->link);
    a->n_waiters++;
    rq->data = wt;
    rq->on_close = on_gone;
    ask_result(wt);
}

void async_answer_waiters(struct async *a, const char *id)
{
    list_foreach_safe (node, &a->waiters) {
        struct waiter *wt = LIST_ENTRY(node, struct waiter, link);
        if (!wt->asking && (id == NULL || strcmp(id, wt->id) == 0)) {
            ask_result(wt);
        }
    }
}
