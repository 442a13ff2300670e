// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: events that nobody took stand in a stream beside their trigger, those of a source beside
 * the trigger of its outlet. Looking reads a page of it; trying again moves them into the broker's
 * stream, marked for this trigger only, so they go the way of every event from there; dropping
 * deletes them. "All" means those that were there when the first answer was given: what dies again
 * meanwhile stays.
 *
 * Failure: the broker is full, or Redis is: what had no room stays dead, and the answer says so; so
 * does what cannot be tried again, because no event could be made of it.
 */
#include "base/base64.h"
#include "base/mem.h"
#include "base/num.h"
#include "broker/outlet.h"
#include "broker/query.h"
#include "broker/query_scripts.h"

#define PAGE_MAX  100
#define DATA_SHOW "16777216"
#define MOVE_MOST "500"
#define WHY_MAX   4096

struct dead_query {
    struct query q; /* first */
    bool one;       /* with its data */
    char id[PAYLOAD_ID_MAX];
};

/* Whose they are, as people write it: "trigger NS/NAME", "source KIND/NAME of NS". */
static int no_such_letter(const struct dead_query *d, struct error *err)
{
    const struct trigger *t = d->q.trigger;
    struct slice kind, ns;
    if (outlet_split(t->ns, &kind, &ns)) {
        return error_set(err, ERR_NOT_FOUND,
                         "source %.*s/%s of namespace %.*s has no dead letter %s", SLICE_FMT(kind),
                         t->name, SLICE_FMT(ns), d->id);
    }
    return error_set(err, ERR_NOT_FOUND, "trigger %s has no dead letter %s", t->path, d->id);
}

/* "trigger": "T", "broker": "B", or "source": "KIND/NAME". */
static void put_whose(struct query *q)
{
    struct slice kind, ns;
    if (outlet_split(q->trigger->ns, &kind, &ns)) {
        strbuf_appendf(&q->out, "\"source\": \"%.*s/%s\"", SLICE_FMT(kind), q->trigger->name);
    } else {
        strbuf_appendf(&q->out, "\"trigger\": \"%s\", \"broker\": \"%s\"", q->trigger->name,
                       q->broker->name);
    }
}

/* "EVENT CODE ANSWER REASON": the answer in base64, maybe empty; the reason may be absent. */
static void put_why(struct slice why, struct strbuf *out)
{
    struct slice rest = why, of = SLICE_EMPTY, code = SLICE_EMPTY, said = SLICE_EMPTY;
    CLEANUP(strbuf_fini) struct strbuf text;
    uint64_t n = 0;
    strbuf_init(&text, WHY_MAX);
    (void)slice_split(&rest, ' ', &of);
    (void)slice_split(&rest, ' ', &code);
    bool more = slice_split(&rest, ' ', &said);
    if (num_parse_u64(code, 0, 999, &n, NULL) < 0 || base64_decode(said, &text, NULL) < 0) {
        strbuf_clear(&text); /* written by another version: what can be read is told */
    }
    strbuf_appendf(out, "\"code\": %llu, \"answer\": ", (unsigned long long)n);
    (void)strbuf_append_json(out, strbuf_slice(&text));
    strbuf_append_str(out, ", \"reason\": ");
    (void)strbuf_append_json(out, more && rest.ptr != NULL ? rest : SLICE_EMPTY);
    strbuf_append_str(out, ", \"accepted\": ");
    query_put_time(of, out);
}

static int put_entry(struct query *q, const struct redisReply *entry, struct error *err)
{
    struct query_event ev;
    int rc = query_read_event(entry, &ev, err);
    if (rc < 0) {
        return rc;
    }
    strbuf_append_str(&q->out, "{");
    put_why(ev.why, &q->out);
    strbuf_append_str(&q->out, ev.stuck ? ", \"retryable\": false, " : ", ");
    rc = query_put_event(q->broker, &ev, &q->out, err);
    strbuf_append_str(&q->out, "}");
    query_event_fini(&ev);
    return rc;
}

static void on_list(void *arg, const struct redisReply *reply, const struct error *failed)
{
    struct dead_query *d = arg;
    struct query *q = &d->q;
    struct error err = {0};
    const struct redisReply *entries = redis_reply_at(reply, 2);
    size_t n = redis_reply_len(entries);
    int rc = failed != NULL ? error_copy(&err, failed) : 0;
    query_answered(q);
    if (rc == 0 && d->one && n == 0) {
        rc = no_such_letter(d, &err);
    }
    strbuf_append_str(&q->out, "{");
    put_whose(q);
    strbuf_appendf(&q->out, ", \"count\": %lld, \"more\": %s",
                   (long long)redis_reply_int(redis_reply_at(reply, 0), 0),
                   redis_reply_int(redis_reply_at(reply, 1), 0) > 0 ? "true" : "false");
    strbuf_append_str(&q->out, ", \"items\": [");
    for (size_t i = 0; rc == 0 && i < n; i++) {
        strbuf_append_str(&q->out, i == 0 ? "" : ", ");
        rc = put_entry(q, redis_reply_at(entries, i), &err);
    }
    strbuf_append_str(&q->out, "]}\n");
    query_answer(q, rc < 0 ? &err : NULL);
}

void query_dead(struct http_simple_request *rq, struct worker *w)
{
    struct dead_query *d = (struct dead_query *)query_new(rq, w, sizeof(*d));
    struct query *q = &d->q;
    struct error err = {0};
    char from[PAYLOAD_ID_MAX], start[PAYLOAD_ID_MAX + 1], count[24];
    uint64_t most = 0;
    int rc = query_find_dead(q, &err);
    rc = rc < 0 ? rc : query_id(q, "id", "", d->id, &err);
    rc = rc < 0 ? rc : query_id(q, "from", "-", from, &err);
    rc = rc < 0 ? rc : query_count(q, "limit", PAGE_MAX, PAGE_MAX, &most, &err);
    if (rc == 0) {
        d->one = d->id[0] != '\0';
        /* from: the last one that was seen */
        snprintf(start, sizeof(start), "%s%s", from[0] == '-' ? "" : "(", from);
        snprintf(count, sizeof(count), "%llu", (unsigned long long)most);
        const char *keys[] = {q->trigger->dead_key};
        const struct slice args[] = {
            slice_str(d->one ? d->id : start),
            slice_str(d->one ? d->id : "+"),
            slice_str(count),
            d->one ? SLICE_LIT(DATA_SHOW) : SLICE_LIT("0"),
            SLICE_LIT("-1"),
            SLICE_LIT("0"),
        };
        rc = query_eval(q, query_script_list, keys, 1, args, ARRAY_LEN(args), on_list, &err);
    }
    if (rc < 0) {
        query_answer(q, &err);
    }
}

/* --- again, drop --------------------------------------------------------------------------- */

static void put_moved(struct query *q, const struct redisReply *reply)
{
    strbuf_appendf(&q->out, "{\"count\": %lld, \"more\": %s, \"to\": \"%.*s\"",
                   (long long)redis_reply_int(redis_reply_at(reply, 0), 0),
                   redis_reply_int(redis_reply_at(reply, 1), 0) > 0 ? "true" : "false",
                   SLICE_FMT(redis_reply_text(redis_reply_at(reply, 2))));
}

/* stuck: of those that were meant, so many cannot be tried again. */
static void answer_moved(struct query *q, const struct redisReply *reply, int64_t stuck,
                         const struct error *failed)
{
    const struct dead_query *d = CONTAINER_OF(q, struct dead_query, q);
    struct error err = {0};
    int rc = failed != NULL ? error_copy(&err, failed) : 0;
    if (rc == 0 && d->one && stuck > 0) {
        rc = error_set(
            &err, ERR_INVALID,
            "dead letter %s cannot be tried again: it could not be made an event, and its "
            "data was not kept; look at its reason, then drop it",
            d->id);
    } else if (rc == 0 && d->one && redis_reply_int(redis_reply_at(reply, 0), 0) == 0 &&
               redis_reply_int(redis_reply_at(reply, 3), 0) == 0) {
        rc = no_such_letter(d, &err);
    }
    query_answer(q, rc < 0 ? &err : NULL);
}

static void on_again(void *arg, const struct redisReply *reply, const struct error *failed)
{
    struct query *q = arg;
    struct broker *b = q->broker;
    query_answered(q);
    put_moved(q, reply);
    int64_t stuck = redis_reply_int(redis_reply_at(reply, 4), 0);
    strbuf_appendf(&q->out, ", \"full\": %s, \"notRetryable\": %lld}\n",
                   redis_reply_int(redis_reply_at(reply, 3), 0) > 0 ? "true" : "false",
                   (long long)stuck);
    if (redis_reply_int(redis_reply_at(reply, 0), 0) > 0) {
        b->reading.more = true;
        b->touched = true;
        broker_dispatch(b);
    }
    answer_moved(q, reply, stuck, failed);
}

static void on_dropped(void *arg, const struct redisReply *reply, const struct error *failed)
{
    struct query *q = arg;
    query_answered(q);
    put_moved(q, reply);
    strbuf_append_str(&q->out, "}\n");
    answer_moved(q, reply, 0, failed);
}

static void change(struct http_simple_request *rq, struct worker *w, bool again)
{
    struct dead_query *d = (struct dead_query *)query_new(rq, w, sizeof(*d));
    struct query *q = &d->q;
    struct error err = {0};
    char to[PAYLOAD_ID_MAX], fits[24];
    int rc = query_find_dead(q, &err);
    rc = rc < 0 ? rc : query_id(q, "id", "", d->id, &err);
    rc = rc < 0 ? rc : query_id(q, "to", "", to, &err);
    if (rc == 0) {
        d->one = d->id[0] != '\0';
        snprintf(fits, sizeof(fits), "%lld",
                 (long long)(w->config->events_max + w->config->events_kept));
        const char *keys[] = {q->trigger->dead_key, q->broker->events_key};
        const struct slice first = d->one ? slice_str(d->id) : SLICE_LIT("-");
        const struct slice last = slice_str(d->one ? d->id : to);
        const struct slice moves[] = {slice_str(q->trigger->uid), first, last, SLICE_LIT(MOVE_MOST),
                                      slice_str(fits)};
        const struct slice drops[] = {first, last, SLICE_LIT(MOVE_MOST)};
        rc = again ? query_eval(q, query_script_again, keys, 2, moves, ARRAY_LEN(moves), on_again,
                                &err)
                   : query_eval(q, query_script_drop, keys, 1, drops, ARRAY_LEN(drops), on_dropped,
                                &err);
    }
    if (rc < 0) {
        query_answer(q, &err);
    }
}

void query_dead_retry(struct http_simple_request *rq, struct worker *w)
{
    change(rq, w, true);
}

void query_dead_drop(struct http_simple_request *rq, struct worker *w)
{
    change(rq, w, false);
}
