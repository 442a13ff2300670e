// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. GET /events/tail?namespace=NS&broker=B[&since=ID|&after=ID][&filters=JSON]: lines of JSON,
 * one per event, as long as somebody reads. Nothing is kept for a watcher: it reads the broker's
 * stream page by page, the next one when it has taken the last, and all watchers of a worker share
 * so many events per tick. Who falls behind, or reads slowly, goes on with the newest, and a line
 * {"passedOver": N} says how many it did not see. An empty line now and then shows that we live.
 *
 * Failure: Redis is away: a line {"trouble": …}, then it goes on from where it was. The broker is
 * deleted, or we end: the stream ends.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "broker/query.h"
#include "broker/query_scripts.h"

#define TAILS_MAX    16
#define PAGE         256
#define PER_TICK     4096 /* of all watchers together */
#define BEHIND_MAX   "4096"
#define DATA_SHOW    "16384"
#define ALIVE_MS     5000
#define LINE_OF_TYPE "application/x-ndjson"

struct tail {
    struct query q; /* first */
    struct list link;
    struct filter *filter; /* NULL: all */
    char from[PAYLOAD_ID_MAX];
    bool exclusive;   /* from was seen */
    bool full;        /* the reader has not taken what it was given */
    bool troubled;    /* it was told that Redis is away */
    bool over;        /* its end is on the way */
    int64_t position; /* entries that it has seen or passed over; -1: not known */
    unsigned left;    /* of this tick */
    uint64_t quiet_since_ms;
};

static void tail_fini(struct query *q)
{
    struct tail *t = (struct tail *)q;
    if (list_linked(&t->link)) {
        list_remove(&t->link);
        q->worker->n_tails--;
    }
    filter_free(t->filter);
}

static void say(struct tail *t, struct slice text)
{
    if (t->q.rq == NULL || t->over) {
        return;
    }
    t->quiet_since_ms = loop_now_ms(t->q.worker->loop);
    t->full = http_simple_write(t->q.rq, text) == HTTP_FULL || t->full;
}

static void end(struct tail *t)
{
    if (t->q.rq != NULL && !t->over) {
        t->over = true;
        http_simple_end(t->q.rq);
    }
}

static void say_trouble(struct tail *t, const char *why)
{
    struct strbuf *out = &t->q.out;
    if (!t->troubled) {
        strbuf_clear(out);
        strbuf_append_str(out, "{\"trouble\": ");
        (void)strbuf_append_json(out, slice_str(why));
        strbuf_append_str(out, "}\n");
        say(t, strbuf_slice(out));
    }
    t->troubled = true;
}

/* --- a page -------------------------------------------------------------------------------- */

static void put_line(struct tail *t, const struct redisReply *entry)
{
    struct strbuf *out = &t->q.out;
    struct query_event ev;
    struct slice id = redis_reply_text(redis_reply_at(entry, 0));
    size_t before = out->len;
    (void)slice_copy(id, t->from, sizeof(t->from));
    t->exclusive = true;
    if (query_read_event(entry, &ev, NULL) < 0) {
        strbuf_appendf(out, "{\"id\": \"%.*s\", \"trouble\": \"this is no event\"}\n",
                       SLICE_FMT(id));
        return;
    }
    if (t->filter == NULL || filter_match(t->filter, &ev.event)) {
        strbuf_append_str(out, "{");
        if (query_put_event(t->q.broker, &ev, out, NULL) < 0) {
            strbuf_truncate(out, before);
        } else {
            strbuf_append_str(out, "}\n");
        }
    }
    query_event_fini(&ev);
}

static void ask(struct tail *t);

static void on_page(void *arg, const struct redisReply *reply, const struct error *failed)
{
    struct tail *t = arg;
    struct strbuf *out = &t->q.out;
    const struct redisReply *entries = redis_reply_at(reply, 2);
    size_t n = redis_reply_len(entries);
    int64_t passed = redis_reply_int(redis_reply_at(reply, 4), 0);
    bool more = redis_reply_int(redis_reply_at(reply, 1), 0) > 0;
    query_answered(&t->q);
    if (t->q.rq == NULL) {
        query_let_go(&t->q);
        return;
    }
    if (failed != NULL) {
        say_trouble(t, failed->msg);
        return;
    }
    t->troubled = false;
    strbuf_clear(out);
    if (passed > 0) {
        strbuf_appendf(out, "{\"passedOver\": %lld}\n", (long long)passed);
    }
    for (size_t i = 0; i < n; i++) {
        put_line(t, redis_reply_at(entries, i));
    }
    if (t->from[0] == '$') {
        (void)slice_copy(redis_reply_text(redis_reply_at(reply, 5)), t->from, sizeof(t->from));
        t->exclusive = true;
    }
    t->position = !more             ? redis_reply_int(redis_reply_at(reply, 3), -1)
                  : t->position < 0 ? -1
                                    : t->position + passed + (int64_t)n;
    t->left -= n < t->left ? (unsigned)n : t->left;
    if (!strbuf_ok(out)) {
        say_trouble(t, "a page of events is too long to be shown");
    } else if (out->len > 0) {
        say(t, strbuf_slice(out));
    }
    if (more) {
        ask(t);
    }
}

static void ask(struct tail *t)
{
    struct worker *w = t->q.worker;
    char from[PAYLOAD_ID_MAX + 1], most[24], position[24];
    struct error err;
    if (t->q.asked > 0 || t->full || t->over || t->left == 0 || t->q.rq == NULL) {
        return;
    }
    snprintf(from, sizeof(from), "%s%s", t->exclusive ? "(" : "", t->from);
    snprintf(most, sizeof(most), "%u", t->left < PAGE ? t->left : PAGE);
    snprintf(position, sizeof(position), "%lld", (long long)t->position);
    const char *keys[] = {t->q.broker->events_key};
    const struct slice args[] = {slice_str(from),      SLICE_LIT("+"),      slice_str(most),
                                 SLICE_LIT(DATA_SHOW), slice_str(position), SLICE_LIT(BEHIND_MAX)};
    if (!redis_conn_is_up(w->db)) {
        say_trouble(t, redis_conn_trouble(w->db));
    } else if (query_eval(&t->q, query_script_list, keys, 1, args, ARRAY_LEN(args), on_page, &err) <
               0) {
        say_trouble(t, err.msg);
    }
}

static void on_writable(struct http_simple_request *rq, void *data)
{
    struct tail *t = data;
    t->full = false;
    ask(t);
}

void query_tail_tick(struct worker *w)
{
    uint64_t now_ms = loop_now_ms(w->loop);
    list_foreach_safe (node, &w->tails) {
        struct tail *t = LIST_ENTRY(node, struct tail, link);
        t->left = PER_TICK / (unsigned)w->n_tails;
        if (w->stopping || !t->q.broker->known) {
            end(t);
            continue;
        }
        if (!t->full && now_ms - t->quiet_since_ms >= ALIVE_MS) {
            say(t, SLICE_LIT("\n"));
        }
        ask(t);
    }
}

void query_tail(struct http_simple_request *rq, struct worker *w)
{
    struct tail *t = (struct tail *)query_new(rq, w, sizeof(*t));
    struct error err = {0};
    list_init(&t->link);
    t->q.fini = tail_fini;
    t->position = -1;
    int rc = query_find_broker(&t->q, &err);
    rc = rc < 0 ? rc : query_id(&t->q, "after", "", t->from, &err);
    t->exclusive = t->from[0] != '\0';
    rc = rc < 0 || t->exclusive ? rc : query_id(&t->q, "since", "$", t->from, &err);
    rc = rc < 0 ? rc : query_filter(&t->q, &t->filter, &err);
    if (rc == 0 && w->n_tails >= TAILS_MAX) {
        rc = error_set(&err, ERR_OVERLOAD, "%d watch already", TAILS_MAX);
    }
    if (rc < 0) {
        query_answer(&t->q, &err);
        return;
    }
    list_push_back(&w->tails, &t->link);
    w->n_tails++;
    t->left = PAGE;
    t->quiet_since_ms = loop_now_ms(w->loop);
    rq->on_writable = on_writable;
    http_simple_stream(rq, 200, LINE_OF_TYPE);
    say(t, SLICE_LIT("\n"));
    ask(t);
}
