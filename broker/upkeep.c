// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. What nobody asks for: groups are made when the connection comes up; four times a second
 * deliveries are held to their time and retries that are due go back to their streams; once a
 * second we say that we live, look for work that others left, trim, and ask how long the streams
 * are. All questions are small and bounded, and none waits for another.
 *
 * A worker that is silent for too long is dead: whoever notices takes over what it held, stream by
 * stream, and reads it as its own. Two that notice at once share it. Who holds nothing any more is
 * forgotten. To be missed a worker must be known: it says that it lives before it reads anything.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "broker/owner.h"
#include "broker/query.h"

#define TICKS_PER_S     4
#define POLL_BROKER_MS  1000
#define POLL_TRIGGER_MS 5000
#define REMAKE_MS       1000 /* a group that cannot be made, since Redis is full */
#define DUE_MOST        "256"
#define TAKE_MOST       500
#define TIDY_TICKS      40

/* --- groups -------------------------------------------------------------------------------- */

static int add_member(struct worker *w, const char *set, const char *member, redis_conn_cb cb,
                      void *arg)
{
    const struct slice args[] = {SLICE_LIT("SADD"), slice_str(set), slice_str(member)};
    return worker_ask(w, args, ARRAY_LEN(args), cb, arg);
}

static int make_group(struct worker *w, const char *key, const char *group, struct reading *r,
                      redis_conn_cb cb, void *arg)
{
    const struct slice args[] = {SLICE_LIT("XGROUP"), SLICE_LIT("CREATE"), slice_str(key),
                                 slice_str(group),    SLICE_LIT("0"),      SLICE_LIT("MKSTREAM")};
    /* Who reads need not wait for the answer: it is there (BUSYGROUP), or what comes behind it on
     * this connection finds it. */
    int rc = worker_ask(w, args, ARRAY_LEN(args), cb, arg);
    r->made = rc == 0;
    r->made_ms = loop_now_ms(w->loop);
    reading_scan(r);
    return rc;
}

/* Whose events they are; of two Brokers the one that was made later. */
static void say_born(struct broker *b)
{
    const struct slice args[] = {SLICE_LIT("EVAL"), slice_str(stream_script_born), SLICE_LIT("1"),
                                 slice_str(b->born_key), slice_str(b->born)};
    (void)worker_ask(b->worker, args, ARRAY_LEN(args), NULL, NULL);
}

void upkeep_broker(struct broker *b)
{
    if (!redis_conn_is_up(b->worker->db) || !b->known) {
        return;
    }
    (void)add_member(b->worker, STREAM_BROKERS, b->path, NULL, NULL);
    say_born(b);
    (void)make_group(b->worker, b->events_key, STREAM_GROUP_DISPATCH, &b->reading, NULL, NULL);
    broker_dispatch(b);
}

void trigger_missing(struct trigger *t, bool missing)
{
    t->broker->n_missing += missing && !t->missing ? 1 : 0;
    t->broker->n_missing -= !missing && t->missing ? 1 : 0;
    t->missing = missing;
}

/* A full Redis lists no trigger and makes no stream; then no event may pass it by. */
static bool was_made(struct trigger *t, const struct error *err)
{
    if (err != NULL && err->code != ERR_EXISTS) {
        t->reading.made = t->reading.made && err->code != ERR_OVERLOAD;
        t->poll_ms = t->reading.made_ms + REMAKE_MS;
    }
    return t->reading.made && !t->gone && redis_conn_is_up(t->worker->db);
}

static void on_listed(void *arg, const struct redisReply *reply, const struct error *err)
{
    (void)was_made(arg, err);
    trigger_unref(arg);
}

static void on_made(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct trigger *t = arg;
    if (was_made(t, err)) {
        trigger_missing(t, false);
        broker_dispatch(t->broker);
    }
    trigger_unref(t);
}

void upkeep_trigger(struct trigger *t)
{
    struct worker *w = t->worker;
    if (!redis_conn_is_up(w->db) || t->gone) {
        return;
    }
    trigger_missing(t, true);
    trigger_ref(t);
    if (add_member(w, t->broker->triggers_key, t->uid, on_listed, t) < 0) {
        trigger_unref(t);
    }
    trigger_ref(t);
    if (make_group(w, t->key, STREAM_GROUP_DELIVER, &t->reading, on_made, t) < 0) {
        trigger_unref(t);
    }
    t->due_ms = 0;
    trigger_dirty(t);
}

static bool made_lately(const struct worker *w, const struct reading *r)
{
    return loop_now_ms(w->loop) < r->made_ms + REMAKE_MS;
}

void upkeep_broker_lost(struct broker *b)
{
    if (made_lately(b->worker, &b->reading)) {
        b->reading.made = false; /* the tick comes here again */
        b->poll_ms = b->reading.made_ms + REMAKE_MS;
    } else {
        upkeep_broker(b);
    }
}

void upkeep_trigger_lost(struct trigger *t)
{
    if (made_lately(t->worker, &t->reading)) {
        t->reading.made = false;
        t->poll_ms = t->reading.made_ms + REMAKE_MS;
    } else {
        upkeep_trigger(t);
    }
}

/* --- retries that are due ------------------------------------------------------------------ */

static void on_due(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct trigger *t = arg;
    uint64_t now_ms = loop_now_ms(t->worker->loop);
    int64_t next = redis_reply_int(redis_reply_at(reply, 1), -1);
    t->due_running = false;
    uint64_t due = now_ms + (next < 0 || next > POLL_TRIGGER_MS ? POLL_TRIGGER_MS : (uint64_t)next);
    t->due_ms = due < t->due_ms ? due : t->due_ms; /* a nearer one may have been noted meanwhile */
    if (redis_reply_int(redis_reply_at(reply, 0), 0) > 0 && !t->gone) {
        t->reading.more = true;
        trigger_dirty(t);
    }
    trigger_unref(t);
}

static void run_due(struct trigger *t)
{
    const struct slice args[] = {SLICE_LIT("EVAL"),       slice_str(stream_script_due),
                                 SLICE_LIT("2"),          slice_str(t->key),
                                 slice_str(t->retry_key), SLICE_LIT(DUE_MOST)};
    if (t->due_running || t->gone || !t->reading.made) {
        return;
    }
    trigger_ref(t);
    t->due_running = true;
    t->due_ms = UINT64_MAX;
    if (worker_ask(t->worker, args, ARRAY_LEN(args), on_due, t) < 0) {
        t->due_running = false;
        t->due_ms = loop_now_ms(t->worker->loop) + 1000;
        trigger_unref(t);
    }
}

void upkeep_due_in(struct trigger *t, uint64_t ms)
{
    uint64_t due = loop_now_ms(t->worker->loop) + ms;
    t->due_ms = due < t->due_ms ? due : t->due_ms;
    if (ms == 0) {
        run_due(t);
    }
}

/* --- trimming, lengths --------------------------------------------------------------------- */

static void on_trimmed(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct broker *b = arg;
    b->trimming = false;
    if (err == NULL) {
        b->length = (uint64_t)redis_reply_int(redis_reply_at(reply, 0), 0);
        b->length_ms = loop_now_ms(b->worker->loop);
        b->worker->counters.trimmed += (uint64_t)redis_reply_int(redis_reply_at(reply, 1), 0);
    } else {
        b->touched = true;
    }
    broker_unref(b);
}

static void trim(struct broker *b)
{
    char keep[24];
    if (b->trimming || !b->touched || !b->reading.made || !b->known) {
        return;
    }
    CLEANUP(cleanup_free) char *prefix = stream_trigger_key(b->ns, b->name, "", "");
    snprintf(keep, sizeof(keep), "%lld", (long long)b->worker->config->events_kept);
    const struct slice args[] = {
        SLICE_LIT("EVAL"),        slice_str(stream_script_trim), SLICE_LIT("2"),
        slice_str(b->events_key), slice_str(b->triggers_key),    slice_str(keep),
        slice_str(prefix),
    };
    broker_ref(b);
    b->trimming = true;
    b->touched = false;
    if (worker_ask(b->worker, args, ARRAY_LEN(args), on_trimmed, b) < 0) {
        b->trimming = false;
        b->touched = true;
        broker_unref(b);
    }
}

static void on_backlog(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct trigger *t = arg;
    t->backlog = redis_reply_int(reply, t->backlog);
    trigger_unref(t);
}

static void on_retries(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct trigger *t = arg;
    t->retries = redis_reply_int(reply, t->retries);
    trigger_unref(t);
}

static void ask_lengths(struct trigger *t)
{
    const struct slice len[] = {SLICE_LIT("XLEN"), slice_str(t->key)};
    const struct slice card[] = {SLICE_LIT("ZCARD"), slice_str(t->retry_key)};
    trigger_ref(t);
    if (worker_ask(t->worker, len, ARRAY_LEN(len), on_backlog, t) < 0) {
        trigger_unref(t);
    }
    trigger_ref(t);
    if (worker_ask(t->worker, card, ARRAY_LEN(card), on_retries, t) < 0) {
        trigger_unref(t);
    }
}

/* --- workers ------------------------------------------------------------------------------- */

/* One look at what a silent worker holds. */
struct silent {
    struct worker *w;
    char *name;
    unsigned asked; /* streams that have not answered yet */
    bool holds;     /* something was found, or a stream could not be asked */
};

struct taking {
    struct silent *silent;
    struct broker *broker;   /* a count; NULL: a trigger's */
    struct trigger *trigger; /* a count */
};

/* It held nothing any more: it is not asked about again, unless it comes back. */
static void forget(struct silent *s)
{
    char silence[24];
    snprintf(silence, sizeof(silence), "%llu", (unsigned long long)s->w->config->worker_silence_ms);
    const struct slice args[] = {SLICE_LIT("EVAL"),  slice_str(stream_script_forget),
                                 SLICE_LIT("1"),     SLICE_LIT(STREAM_WORKERS),
                                 slice_str(s->name), slice_str(silence)};
    (void)worker_ask(s->w, args, ARRAY_LEN(args), NULL, NULL);
}

static void silent_answered(struct silent *s)
{
    if (--s->asked > 0) {
        return;
    }
    if (!s->holds && !s->w->stopping) {
        forget(s);
    }
    free(s->name);
    free(s);
}

static void take(struct silent *s, const char *key, const char *group, struct broker *b,
                 struct trigger *t);

static void on_taken(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct taking *taking = arg;
    int64_t n = redis_reply_int(reply, -1);
    if (n != 0) {
        taking->silent->holds = true;
    }
    if (n > 0) {
        taking->silent->w->counters.taken_over += (uint64_t)n;
        reading_scan(taking->broker != NULL ? &taking->broker->reading : &taking->trigger->reading);
    }
    if (n >= TAKE_MOST && !taking->silent->w->stopping) {
        /* It held more than one answer of Redis should take: the next ones, at once. */
        bool of_broker = taking->broker != NULL;
        take(taking->silent, of_broker ? taking->broker->events_key : taking->trigger->key,
             of_broker ? STREAM_GROUP_DISPATCH : STREAM_GROUP_DELIVER, taking->broker,
             taking->trigger);
    }
    if (taking->broker != NULL) {
        broker_dispatch(taking->broker);
        broker_unref(taking->broker);
    } else {
        trigger_dirty(taking->trigger);
        trigger_unref(taking->trigger);
    }
    silent_answered(taking->silent);
    free(taking);
}

static void take(struct silent *s, const char *key, const char *group, struct broker *b,
                 struct trigger *t)
{
    char most[16];
    snprintf(most, sizeof(most), "%d", TAKE_MOST);
    const struct slice args[] = {SLICE_LIT("EVAL"),     slice_str(stream_script_take),
                                 SLICE_LIT("1"),        slice_str(key),
                                 slice_str(group),      slice_str(s->name),
                                 slice_str(s->w->name), slice_str(most)};
    struct taking *taking = NEW(struct taking);
    *taking = (struct taking){.silent = s, .broker = b, .trigger = t};
    if (b != NULL) {
        broker_ref(b);
    } else {
        trigger_ref(t);
    }
    s->asked++;
    struct error err;
    if (redis_conn_send(s->w->db, args, ARRAY_LEN(args), on_taken, taking, &err) < 0) {
        on_taken(taking, NULL, &err);
    }
}

static void take_over(struct worker *w, struct slice name)
{
    LOG_WARN("a worker is silent, taking over what it held", LOG_SLICE("worker", name));
    struct silent *s = NEW(struct silent);
    *s = (struct silent){.w = w, .name = slice_dup(name), .asked = 1};
    map_foreach (it, &w->brokers) {
        struct broker *b = it.value;
        if (b->known && owner_may_dispatch(b)) {
            take(s, b->events_key, STREAM_GROUP_DISPATCH, b, NULL);
        } else {
            s->holds |= b->known; /* the owner's; who knows what it holds */
        }
    }
    map_foreach (jt, &w->triggers) {
        struct trigger *t = jt.value;
        if (owner_may_deliver(t)) {
            take(s, t->key, STREAM_GROUP_DELIVER, NULL, t);
        } else {
            s->holds = true;
        }
    }
    silent_answered(s);
}

/* While Redis heard nobody all were silent: from when it is back they have their time anew. */
static void not_heard(struct worker *w)
{
    if (w->beaten) {
        w->lone_until_ms = UINT64_MAX;
    }
}

static void on_beat(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct worker *w = arg;
    uint64_t now_ms = loop_now_ms(w->loop);
    w->beating = false;
    if (err != NULL) {
        not_heard(w);
        return;
    }
    w->beaten = true;
    if (w->lone_until_ms == UINT64_MAX) {
        w->lone_until_ms = now_ms + (uint64_t)w->config->worker_silence_ms;
    }
    for (size_t i = 0;
         now_ms >= w->lone_until_ms && !w->stopping && w->synced && i < redis_reply_len(reply);
         i++) {
        struct slice name = redis_reply_text(redis_reply_at(reply, i));
        if (slice_eq_str(name, w->name)) {
            continue;
        }
        take_over(w, name);
    }
}

static void on_workers(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct worker *w = arg;
    int64_t n = redis_reply_int(reply, 0);
    w->workers = n > 0 && n < 10000 ? (unsigned)n : w->workers;
}

static void beat(struct worker *w)
{
    const struct slice count[] = {SLICE_LIT("ZCARD"), SLICE_LIT(STREAM_WORKERS)};
    char silence[24];
    snprintf(silence, sizeof(silence), "%llu", (unsigned long long)w->config->worker_silence_ms);
    const struct slice args[] = {SLICE_LIT("EVAL"),  slice_str(stream_script_alive),
                                 SLICE_LIT("1"),     SLICE_LIT(STREAM_WORKERS),
                                 slice_str(w->name), slice_str(silence)};
    if (!w->beating && !w->stopping) {
        w->beating = worker_ask(w, args, ARRAY_LEN(args), on_beat, w) == 0;
        (void)worker_ask(w, count, ARRAY_LEN(count), on_workers, w);
    }
}

void upkeep_anew(struct worker *w)
{
    not_heard(w); /* Redis may have been away for less than a tick */
}

void upkeep_up(struct worker *w)
{
    beat(w); /* first of all: see the plan */
    map_foreach (it, &w->brokers) {
        upkeep_broker(it.value);
    }
    map_foreach (jt, &w->triggers) {
        upkeep_trigger(jt.value);
    }
    if (w->synced) {
        leftover_look(w);
    }
}

/* --- the tick ------------------------------------------------------------------------------ */

static void tick_broker(struct broker *b, uint64_t now_ms, bool second)
{
    if (now_ms >= b->poll_ms) {
        b->poll_ms = now_ms + POLL_BROKER_MS;
        b->reading.more = true;
        if (!b->reading.made) {
            upkeep_broker(b);
        }
        broker_dispatch(b);
    }
    owner_tick(b);
    if (second) {
        trim(b);
    }
}

static void tick_trigger(struct trigger *t, uint64_t now_ms, bool second)
{
    bool active = t->n_deliveries > 0 || t->backlog > 0 || t->retries > 0;
    if (t->n_deliveries > 0) {
        trigger_check_time(t);
        t->behind = false; /* slow sinks must not keep the last quarter idle */
        trigger_dirty(t);
    }
    if (now_ms >= t->due_ms) {
        run_due(t);
    }
    if (now_ms >= t->poll_ms) {
        /* Not all at once. */
        t->poll_ms = now_ms + POLL_TRIGGER_MS / 2 + (uintptr_t)t / 64 % (POLL_TRIGGER_MS / 2);
        t->reading.more = true;
        if (!t->reading.made && t->broker->known) {
            upkeep_trigger(t);
        }
        trigger_dirty(t);
        active = true;
    }
    if (second && active) {
        ask_lengths(t);
    }
}

void upkeep_tick(struct worker *w)
{
    uint64_t now_ms = loop_now_ms(w->loop);
    bool second = w->ticks++ % TICKS_PER_S == 0;
    if (w->ticks % TIDY_TICKS == 0) {
        sender_tidy(&w->sender);
    }
    query_tick(w, second);
    if (!redis_conn_is_up(w->db)) {
        not_heard(w);
        map_foreach (it, &w->triggers) {
            trigger_check_time(it.value);
        }
        return;
    }
    if (second) {
        beat(w);
    }
    if (w->leftover_ms != 0 && now_ms >= w->leftover_ms) {
        leftover_look(w);
    }
    map_foreach (it, &w->brokers) {
        tick_broker(it.value, now_ms, second);
    }
    map_foreach (jt, &w->triggers) {
        tick_trigger(jt.value, now_ms, second);
    }
}
