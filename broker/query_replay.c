// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. PUT /events/replay?namespace=NS&trigger=T&since=ID[&until=ID][&after=ID][&filters=JSON]
 * [&dry=1]: events that the broker still has go to one trigger again, as far as its filter and
 * those asked for take them. One request looks at a page of the stream, matches it here, and writes
 * the references with one script, which leaves out what the trigger has still to do; the answer
 * says where to go on. Only what is dispatched is looked at: the rest comes to the trigger anyhow.
 *
 * Failure: Redis goes away between two steps: the page may be written or not; asked again it is not
 * written twice while the trigger has it. An event that is trimmed between the steps is counted as
 * gone.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "broker/query.h"
#include "broker/query_scripts.h"

#define PAGE 500

struct replay {
    struct query q;        /* first */
    struct filter *filter; /* asked for; NULL: none */
    bool dry;
    bool more;
    size_t looked, matched;
    char since[PAYLOAD_ID_MAX], until[PAYLOAD_ID_MAX], after[PAYLOAD_ID_MAX];
    char oldest[PAYLOAD_ID_MAX]; /* the broker has nothing before; "": it has nothing */
    int64_t kept;
    char ids[PAGE][PAYLOAD_ID_MAX];
};

static void replay_fini(struct query *q)
{
    filter_free(((struct replay *)q)->filter);
}

static void answer(struct replay *r, int64_t written, int64_t has, int64_t gone)
{
    struct strbuf *out = &r->q.out;
    strbuf_appendf(out,
                   "{\"looked\": %zu, \"matched\": %zu, \"written\": %lld, \"has\": %lld, "
                   "\"gone\": %lld, \"kept\": %lld, \"oldest\": ",
                   r->looked, r->matched, (long long)written, (long long)has, (long long)gone,
                   (long long)r->kept);
    query_put_time(slice_str(r->oldest), out);
    strbuf_appendf(out, ", \"more\": %s, \"after\": \"%s\", \"until\": \"%s\"}\n",
                   r->more ? "true" : "false", r->after, r->until);
    query_answer(&r->q, NULL);
}

/* --- third: the references ----------------------------------------------------------------- */

static void on_written(void *arg, const struct redisReply *reply, const struct error *failed)
{
    struct replay *r = arg;
    struct trigger *t = r->q.trigger;
    query_answered(&r->q);
    if (failed != NULL) {
        query_answer(&r->q, failed);
        return;
    }
    if (!t->gone) {
        t->reading.more = true;
        t->broker->touched = true;
        trigger_dirty(t);
    }
    answer(r, redis_reply_int(redis_reply_at(reply, 0), 0),
           redis_reply_int(redis_reply_at(reply, 1), 0),
           redis_reply_int(redis_reply_at(reply, 2), 0));
}

static int write_references(struct replay *r, struct error *err)
{
    struct trigger *t = r->q.trigger;
    const char *keys[] = {t->broker->events_key, t->key, t->held_key};
    struct slice args[PAGE];
    for (size_t i = 0; i < r->matched; i++) {
        args[i] = slice_str(r->ids[i]);
    }
    return query_eval(&r->q, query_script_replay, keys, ARRAY_LEN(keys), args, r->matched,
                      on_written, err);
}

/* --- second: a page of events -------------------------------------------------------------- */

static bool wanted(const struct replay *r, const struct query_event *ev)
{
    const struct trigger *t = r->q.trigger;
    if (!slice_empty(ev->only)) {
        return slice_eq_str(ev->only, t->uid) &&
               (r->filter == NULL || filter_match(r->filter, &ev->event));
    }
    return filter_match(t->object.filter, &ev->event) &&
           (r->filter == NULL || filter_match(r->filter, &ev->event));
}

static void take_page(struct replay *r, const struct redisReply *entries)
{
    for (size_t i = 0; i < redis_reply_len(entries) && i < PAGE; i++) {
        struct query_event ev;
        const struct redisReply *entry = redis_reply_at(entries, i);
        struct slice id = redis_reply_text(redis_reply_at(entry, 0));
        r->looked++;
        (void)slice_copy(id, r->after, sizeof(r->after));
        if (query_read_event(entry, &ev, NULL) < 0) {
            continue; /* poison: dispatch has passed it over too */
        }
        if (wanted(r, &ev) && slice_copy(id, r->ids[r->matched], PAYLOAD_ID_MAX)) {
            r->matched++;
        }
        query_event_fini(&ev);
    }
}

static void on_page(void *arg, const struct redisReply *reply, const struct error *failed)
{
    struct replay *r = arg;
    struct error err = {0};
    int rc = failed != NULL ? error_copy(&err, failed) : 0;
    query_answered(&r->q);
    if (rc == 0 && (r->q.trigger->gone || r->q.trigger->object.filter == NULL)) {
        rc = error_set(&err, ERR_NOT_FOUND, "the trigger is gone, or its filter cannot be used");
    }
    if (rc == 0) {
        r->more = redis_reply_int(redis_reply_at(reply, 1), 0) > 0;
        take_page(r, redis_reply_at(reply, 2));
        if (r->matched == 0 || r->dry) {
            answer(r, 0, 0, 0);
            return;
        }
        rc = write_references(r, &err);
    }
    if (rc < 0) {
        query_answer(&r->q, &err);
    }
}

/* --- first: what there is ------------------------------------------------------------------ */

/* Whether a is behind b; an id without its second half means all of that millisecond. */
static bool is_behind(const char *a, const char *b)
{
    unsigned long long a_ms = strtoull(a, NULL, 10), b_ms = strtoull(b, NULL, 10);
    const char *a_dash = strchr(a, '-');
    const char *b_dash = strchr(b, '-');
    if (a_ms != b_ms) {
        return a_ms > b_ms;
    }
    return a_dash == NULL ||
           (b_dash != NULL && strtoull(a_dash + 1, NULL, 10) > strtoull(b_dash + 1, NULL, 10));
}

static int ask_page(struct replay *r, struct error *err)
{
    char from[PAYLOAD_ID_MAX + 1], most[24];
    snprintf(from, sizeof(from), "%s%s", r->after[0] != '\0' ? "(" : "",
             r->after[0] != '\0' ? r->after : r->since);
    snprintf(most, sizeof(most), "%d", PAGE);
    const char *keys[] = {r->q.broker->events_key};
    const struct slice args[] = {slice_str(from), slice_str(r->until), slice_str(most),
                                 SLICE_LIT("0"),  SLICE_LIT("-1"),     SLICE_LIT("0")};
    return query_eval(&r->q, query_script_list, keys, 1, args, ARRAY_LEN(args), on_page, err);
}

static void on_bound(void *arg, const struct redisReply *reply, const struct error *failed)
{
    struct replay *r = arg;
    struct error err = {0};
    struct slice last = redis_reply_text(redis_reply_at(reply, 2));
    char dispatched[PAYLOAD_ID_MAX] = "";
    int rc = failed != NULL ? error_copy(&err, failed) : 0;
    query_answered(&r->q);
    r->kept = redis_reply_int(redis_reply_at(reply, 0), 0);
    (void)slice_copy(redis_reply_text(redis_reply_at(reply, 1)), r->oldest, sizeof(r->oldest));
    (void)slice_copy(last, dispatched, sizeof(dispatched));
    if (rc == 0 && dispatched[0] == '\0') {
        answer(r, 0, 0, 0); /* nothing was dispatched that is still here */
        return;
    }
    if (rc == 0) {
        if (r->until[0] == '\0' || is_behind(r->until, dispatched)) {
            memcpy(r->until, dispatched, sizeof(r->until));
        }
        rc = ask_page(r, &err);
    }
    if (rc < 0) {
        query_answer(&r->q, &err);
    }
}

void query_replay(struct http_simple_request *rq, struct worker *w)
{
    struct replay *r = (struct replay *)query_new(rq, w, sizeof(*r));
    struct error err = {0};
    uint64_t dry = 0;
    r->q.fini = replay_fini;
    int rc = query_find_trigger(&r->q, &err);
    rc = rc < 0 ? rc : query_id(&r->q, "since", "0-0", r->since, &err);
    rc = rc < 0 ? rc : query_id(&r->q, "until", "", r->until, &err);
    rc = rc < 0 ? rc : query_id(&r->q, "after", "", r->after, &err);
    rc = rc < 0 ? rc : query_count(&r->q, "dry", 0, 1, &dry, &err);
    rc = rc < 0 ? rc : query_filter(&r->q, &r->filter, &err);
    r->dry = dry == 1;
    if (rc == 0) {
        const char *keys[] = {r->q.broker->events_key};
        rc = query_eval(&r->q, query_script_bound, keys, 1, NULL, 0, on_bound, &err);
    }
    if (rc < 0) {
        query_answer(&r->q, &err);
    }
}
