// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. A question to Redis each second while the broker has a trigger with order; its answer is
 * good for as long as a silent worker counts as alive, from the moment when it was asked. The
 * first use of a stream after that claims whatever others hold in it, and scans: what is pending
 * comes in the order of its ids, and before what nobody has read.
 *
 * Failure: the answer is late, or another has it: nothing more is dispatched or sent, and what
 * waited here is dropped; it is pending in Redis, for the next owner. What was sent already goes on
 * to its end, so that an owner that was frozen may deliver an event that the next one delivers too.
 */
#include "broker/owner.h"

#include "base/mem.h"

#define ASK_MS 1000

static uint64_t now_of(const struct broker *b)
{
    return loop_now_ms(b->worker->loop);
}

static bool owns(const struct broker *b)
{
    return now_of(b) < b->owner.until_ms;
}

/* What waits here is the next owner's. */
static void drop_waiting(struct trigger *t)
{
    list_foreach_safe (node, &t->deliveries) {
        struct delivery *d = LIST_ENTRY(node, struct delivery, link);
        if (d->state == DELIVERY_READY || d->state == DELIVERY_LOADING) {
            delivery_free(d);
        }
    }
}

/* Whoever has it now, or next, begins with what was read here. */
static void lose(struct broker *b)
{
    LOG_INFO("order is not kept here any more", LOG_STR("broker", b->path));
    b->owner.had = b->owner.swept = false;
    list_foreach (node, &b->triggers) {
        struct trigger *t = LIST_ENTRY(node, struct trigger, link);
        t->swept = false;
        if (t->object.ordered) {
            drop_waiting(t);
        }
    }
}

static void gain(struct broker *b)
{
    LOG_INFO("order is kept here", LOG_STR("broker", b->path));
    b->owner.had = true;
    broker_dispatch(b);
    list_foreach (node, &b->triggers) {
        trigger_dirty(LIST_ENTRY(node, struct trigger, link));
    }
}

static void on_asked(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct broker *b = arg;
    struct ownership *o = &b->owner;
    bool before = owns(b);
    o->asking = false;
    if (!before && o->had) {
        lose(b);
    }
    if (err == NULL) {
        uint64_t silence_ms = (uint64_t)b->worker->config->worker_silence_ms;
        o->until_ms = redis_reply_int(reply, 0) == 1 ? o->asked_ms + silence_ms : 0;
    }
    if (!before && owns(b) && b->known) {
        gain(b);
    }
    broker_unref(b);
}

static void ask(struct broker *b)
{
    struct ownership *o = &b->owner;
    struct worker *w = b->worker;
    struct error err;
    char silence[24];
    bool soon = o->asked_ms != 0 && now_of(b) < o->asked_ms + ASK_MS;
    if (o->asking || soon || w->stopping || !b->known) {
        return;
    }
    CLEANUP(cleanup_free) char *key = stream_key(b->ns, b->name, "owner");
    snprintf(silence, sizeof(silence), "%llu", (unsigned long long)w->config->worker_silence_ms);
    const struct slice args[] = {SLICE_LIT("EVAL"),  slice_str(stream_script_own),
                                 SLICE_LIT("1"),     slice_str(key),
                                 slice_str(w->name), slice_str(silence)};
    broker_ref(b);
    if (redis_conn_send(w->db, args, ARRAY_LEN(args), on_asked, b, &err) < 0) {
        broker_unref(b);
        return;
    }
    o->asking = true;
    o->asked_ms = now_of(b);
}

/* Commands of one connection keep their order: what is read after this was claimed before. */
static bool sweep(struct worker *w, const char *key, const char *group, struct reading *r)
{
    struct error err;
    const struct slice args[] = {SLICE_LIT("EVAL"), slice_str(stream_script_take_all),
                                 SLICE_LIT("1"),    slice_str(key),
                                 slice_str(group),  slice_str(w->name)};
    if (!r->made || redis_conn_send(w->db, args, ARRAY_LEN(args), NULL, NULL, &err) < 0) {
        return false;
    }
    reading_scan(r);
    return true;
}

bool owner_may_dispatch(struct broker *b)
{
    if (b->n_ordered == 0) {
        return true;
    }
    if (!owns(b)) {
        ask(b);
        return false;
    }
    if (!b->owner.swept) {
        b->owner.swept = sweep(b->worker, b->events_key, STREAM_GROUP_DISPATCH, &b->reading);
    }
    return b->owner.swept;
}

bool owner_may_deliver(struct trigger *t)
{
    if (!t->object.ordered) {
        return true;
    }
    if (!owns(t->broker)) {
        ask(t->broker);
        return false;
    }
    if (!t->swept) {
        t->swept = sweep(t->worker, t->key, STREAM_GROUP_DELIVER, &t->reading);
    }
    return t->swept;
}

void owner_tick(struct broker *b)
{
    struct ownership *o = &b->owner;
    if (o->had && (b->n_ordered == 0 || !owns(b))) {
        lose(b);
    }
    if (b->n_ordered > 0) {
        ask(b);
    }
}

bool owner_release(struct worker *w)
{
    struct error err;
    bool some = false;
    map_foreach (it, &w->brokers) {
        struct broker *b = it.value;
        if (!b->owner.had) {
            continue;
        }
        CLEANUP(cleanup_free) char *key = stream_key(b->ns, b->name, "owner");
        const struct slice args[] = {SLICE_LIT("EVAL"), slice_str(stream_script_release),
                                     SLICE_LIT("1"), slice_str(key), slice_str(w->name)};
        int rc = redis_conn_send(w->db, args, ARRAY_LEN(args), NULL, NULL, &err);
        (void)rc; /* else it ends by itself */
        b->owner.had = false;
        b->owner.until_ms = 0;
        some = true;
    }
    return some;
}
