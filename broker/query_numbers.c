// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: of each broker one question to Redis per so many triggers: what waits, since when, what is
 * tried again, what is dead. Sources have a broker of their own, which is not told of as one: their
 * numbers are those of its trigger. To that come this worker's own counts and rates; who asks
 * several workers adds those up and takes Redis' numbers from any. While Redis is away the numbers
 * of its last answers are told, with "redis": false.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "broker/outlet.h"
#include "broker/query.h"
#include "broker/query_scripts.h"

#define TRIGGERS_ASKED 500
#define RATE_SHARE     0.1 /* of a new second in a rate: it follows within some ten seconds */
#define RATE_NONE      0.005

/* --- rates --------------------------------------------------------------------------------- */

static void follow(struct query_rate *r, uint64_t count)
{
    double second = (double)(count - r->before);
    r->before = count;
    r->per_s += (second - r->per_s) * RATE_SHARE;
    r->per_s = r->per_s < RATE_NONE ? 0 : r->per_s;
}

static void put_rate(const char *name, const struct query_rate *r, struct strbuf *out)
{
    strbuf_appendf(out, ", \"%s\": %.2f", name, r->per_s);
}

/* --- one broker ---------------------------------------------------------------------------- */

struct numbers_query {
    struct query q;        /* first */
    bool first;            /* no broker was written yet */
    struct strbuf sources; /* what is written of them */
    int64_t now_ms;
};

struct numbers_ask {
    struct numbers_query *n;
    struct broker *broker;     /* a count */
    struct trigger **triggers; /* a count on each */
    size_t n_triggers;
};

/* said: NULL while Redis is away. */
static void put_trigger(const struct numbers_query *n, const struct trigger *t,
                        const struct redisReply *said, struct strbuf *out)
{
    struct slice oldest = redis_reply_text(redis_reply_at(said, 1));
    int64_t due = redis_reply_int(redis_reply_at(said, 3), -1);
    struct slice kind, ns = slice_str(t->ns);
    strbuf_append_str(out, "{");
    if (outlet_split(t->ns, &kind, &ns)) {
        strbuf_appendf(out, "\"kind\": \"%.*s\", \"held\": %u, ", SLICE_FMT(kind), t->held_outside);
    }
    strbuf_append_str(out, "\"namespace\": ");
    (void)strbuf_append_json(out, ns);
    strbuf_append_str(out, ", \"name\": ");
    (void)strbuf_append_json(out, slice_str(t->name));
    strbuf_appendf(out, ", \"ready\": %s, \"waiting\": %lld, \"retrying\": %lld, \"dead\": %lld",
                   t->ready ? "true" : "false",
                   (long long)redis_reply_int(redis_reply_at(said, 0), t->backlog),
                   (long long)redis_reply_int(redis_reply_at(said, 2), t->retries),
                   (long long)redis_reply_int(redis_reply_at(said, 4), 0));
    strbuf_append_str(out, ", \"oldest\": ");
    query_put_time(oldest, out);
    if (due >= 0) {
        strbuf_appendf(out, ", \"nextRetryMs\": %lld",
                       (long long)(due > n->now_ms ? due - n->now_ms : 0));
    }
    strbuf_appendf(out,
                   ", \"running\": %u, \"delivered\": %llu, \"failed\": %llu, \"retried\": %llu, "
                   "\"gaveUp\": %llu, \"replies\": %llu",
                   t->n_deliveries, (unsigned long long)t->counters.delivered,
                   (unsigned long long)t->counters.failed, (unsigned long long)t->counters.retried,
                   (unsigned long long)t->counters.dead, (unsigned long long)t->counters.replies);
    put_rate("deliveredPerSecond", &t->delivered_rate, out);
    put_rate("failedPerSecond", &t->failed_rate, out);
    strbuf_append_str(out, ", \"trouble\": ");
    (void)strbuf_append_json(out, slice_str(t->trouble.code == ERR_OK ? "" : t->trouble.msg));
    strbuf_append_str(out, "}");
}

static void put_source(struct numbers_query *n, const struct numbers_ask *a,
                       const struct redisReply *reply)
{
    for (size_t i = 0; i < a->n_triggers; i++) {
        strbuf_append_str(&n->sources, n->sources.len == 0 ? "" : ", ");
        put_trigger(n, a->triggers[i], redis_reply_at(reply, i + 1), &n->sources);
    }
}

static void put_broker(struct numbers_query *n, const struct numbers_ask *a,
                       const struct redisReply *reply)
{
    const struct broker *b = a->broker;
    struct slice kind, ns;
    if (outlet_split(b->ns, &kind, &ns)) {
        put_source(n, a, reply);
        return;
    }
    const struct redisReply *own = redis_reply_at(reply, 0);
    struct strbuf *out = &n->q.out;
    strbuf_append_str(out, n->first ? "{\"namespace\": " : ", {\"namespace\": ");
    n->first = false;
    (void)strbuf_append_json(out, slice_str(b->ns));
    strbuf_append_str(out, ", \"name\": ");
    (void)strbuf_append_json(out, slice_str(b->name));
    strbuf_appendf(out, ", \"events\": %lld, \"undispatched\": %lld, \"oldest\": ",
                   (long long)redis_reply_int(redis_reply_at(own, 0), (int64_t)b->length),
                   (long long)redis_reply_int(redis_reply_at(own, 2), 0));
    query_put_time(redis_reply_text(redis_reply_at(own, 1)), out);
    strbuf_appendf(out, ", \"accepted\": %llu", (unsigned long long)b->accepted);
    put_rate("acceptedPerSecond", &b->accepted_rate, out);
    strbuf_append_str(out, ", \"triggers\": [");
    for (size_t i = 0; i < a->n_triggers; i++) {
        strbuf_append_str(out, i == 0 ? "" : ", ");
        put_trigger(n, a->triggers[i], redis_reply_at(reply, i + 1), out);
    }
    strbuf_append_str(out, "]}");
}

static void ask_free(struct numbers_ask *a)
{
    for (size_t i = 0; i < a->n_triggers; i++) {
        trigger_unref(a->triggers[i]);
    }
    broker_unref(a->broker);
    free(a->triggers);
    free(a);
}

static void finish(struct numbers_query *n)
{
    struct error err;
    strbuf_append_str(&n->q.out, "], \"sources\": [");
    strbuf_append_slice(&n->q.out, strbuf_slice(&n->sources));
    strbuf_append_str(&n->q.out, "]}\n");
    if (!strbuf_ok(&n->sources)) {
        error_set(&err, ERR_TOO_BIG, "there are too many sources to tell of together");
        query_answer(&n->q, &err);
        return;
    }
    query_answer(&n->q, NULL);
}

static void numbers_fini(struct query *q)
{
    strbuf_fini(&CONTAINER_OF(q, struct numbers_query, q)->sources);
}

/* Whether a broker is one of the namespace (empty: any), or its source is. */
static bool is_of(const struct broker *b, struct slice wanted)
{
    struct slice kind, ns = slice_str(b->ns);
    (void)outlet_split(b->ns, &kind, &ns);
    return slice_empty(wanted) || slice_eq(wanted, ns);
}

static void on_numbers(void *arg, const struct redisReply *reply, const struct error *failed)
{
    struct numbers_ask *a = arg;
    struct numbers_query *n = a->n;
    put_broker(n, a, reply);
    ask_free(a);
    query_answered(&n->q);
    if (n->q.asked == 0) {
        finish(n);
    }
}

/* Of so many triggers from this one on; gives the next. */
static struct list *ask_some(struct numbers_query *n, struct broker *b, struct list *node)
{
    struct error err;
    char count[24];
    struct numbers_ask *a = NEW(struct numbers_ask);
    struct slice *args = xcalloc(4 + 3 * TRIGGERS_ASKED, sizeof(*args));
    size_t n_args = 3;
    a->n = n;
    a->broker = b;
    broker_ref(b);
    a->triggers = xcalloc(TRIGGERS_ASKED, sizeof(struct trigger *));
    args[n_args++] = slice_str(b->events_key);
    for (; node != &b->triggers && a->n_triggers < TRIGGERS_ASKED; node = node->next) {
        struct trigger *t = LIST_ENTRY(node, struct trigger, link);
        trigger_ref(t);
        a->triggers[a->n_triggers++] = t;
        args[n_args++] = slice_str(t->key);
        args[n_args++] = slice_str(t->retry_key);
        args[n_args++] = slice_str(t->dead_key);
    }
    snprintf(count, sizeof(count), "%zu", n_args - 3);
    args[0] = SLICE_LIT("EVAL");
    args[1] = slice_str(query_script_numbers);
    args[2] = slice_str(count);
    if (redis_conn_send(n->q.worker->db, args, n_args, on_numbers, a, &err) == 0) {
        n->q.asked++;
    } else {
        put_broker(n, a, NULL);
        ask_free(a);
    }
    free(args);
    return node;
}

void query_numbers(struct http_simple_request *rq, struct worker *w)
{
    struct numbers_query *n = (struct numbers_query *)query_new(rq, w, sizeof(*n));
    CLEANUP(strbuf_fini) struct strbuf room;
    struct slice ns = query_param(&n->q, "namespace", &room);
    strbuf_init(&n->sources, QUERY_ANSWER_MAX);
    n->q.fini = numbers_fini;
    n->first = true;
    n->now_ms = clock_wall_ns() / 1000000;
    strbuf_append_str(&n->q.out, "{\"worker\": ");
    (void)strbuf_append_json(&n->q.out, slice_str(w->name));
    strbuf_appendf(&n->q.out,
                   ", \"redis\": %s, \"trouble\": ", redis_conn_is_up(w->db) ? "true" : "false");
    (void)strbuf_append_json(&n->q.out, slice_str(redis_conn_trouble(w->db)));
    strbuf_append_str(&n->q.out, ", \"brokers\": [");
    map_foreach (it, &w->brokers) {
        struct broker *b = it.value;
        if (!b->known || !is_of(b, ns)) {
            continue;
        }
        struct list *node = b->triggers.next;
        do {
            node = ask_some(n, b, node);
        } while (node != &b->triggers);
    }
    if (n->q.asked == 0) {
        finish(n);
    }
}

void query_tick(struct worker *w, bool second)
{
    query_tail_tick(w);
    if (!second) {
        return;
    }
    map_foreach (it, &w->brokers) {
        struct broker *b = it.value;
        follow(&b->accepted_rate, b->accepted);
    }
    map_foreach (jt, &w->triggers) {
        struct trigger *t = jt.value;
        follow(&t->delivered_rate, t->counters.delivered);
        follow(&t->failed_rate, t->counters.failed);
    }
}
