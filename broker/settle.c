// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. At the end of each turn every trigger to which something happened is looked at once: all
 * its deliveries that are done are acknowledged with one XDEL and one XACK, those that failed move
 * to the retries or to the dead with a script each, then new references are read.
 *
 * XDEL comes before XACK: if only the first is carried out, the entry is pending without content,
 * which whoever claims it drops; the other way round it would never be looked at again and hold
 * the trimming for ever.
 *
 * Failure: Redis did not answer: the delivery wants to settle again, which happens when the
 * connection is back. Scripts do nothing the second time, and neither do XDEL and XACK.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "redis/command.h"
#include "broker/model.h"

#define ACKS_MAX 512

struct acks {
    struct trigger *trigger;
    size_t n;
    struct delivery *items[ACKS_MAX];
};

/* --- the end of the turn ------------------------------------------------------------------- */

void trigger_dirty(struct trigger *t)
{
    struct worker *w = t->worker;
    if (!list_linked(&t->dirty) && !t->gone) {
        list_push_back(&w->dirty, &t->dirty);
        loop_task_post_last(w->loop, &w->dirty_task);
    }
}

void delivery_free(struct delivery *d)
{
    struct trigger *t = d->trigger;
    if (list_linked(&d->link)) {
        list_remove(&d->link);
        t->n_deliveries--;
    }
    list_remove(&d->settle);
    send_cancel(&d->send);
    if (d->waits) {
        d->orphan = true; /* the answer of Redis names it: it is freed then */
        return;
    }
    send_fini(&d->send);
    payload_let_go(d->payload, false);
    event_fini(&d->shown);
    free(d->data);
    free(d->why);
    free(d);
    trigger_unref(t);
}

void delivery_settle(struct delivery *d, enum delivery_outcome outcome)
{
    d->state = DELIVERY_SETTLING;
    d->outcome = outcome;
    list_push_back(&d->trigger->settling, &d->settle);
    trigger_dirty(d->trigger);
}

/* Whether there is still somebody who wants to know. */
static bool answered(struct delivery *d)
{
    d->waits = false;
    if (d->orphan) {
        delivery_free(d);
        return false;
    }
    return true;
}

static void settle_again(struct delivery *d)
{
    list_push_back(&d->trigger->settling, &d->settle);
    /* When the connection is back, upkeep makes every trigger dirty. */
}

/* --- done ---------------------------------------------------------------------------------- */

static void on_acked(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct acks *acks = arg;
    struct trigger *t = acks->trigger;
    for (size_t i = 0; i < acks->n; i++) {
        struct delivery *d = acks->items[i];
        if (!answered(d)) {
            continue;
        }
        if (err != NULL) {
            settle_again(d);
        } else {
            delivery_free(d);
        }
    }
    free(acks);
    t->broker->touched = true;
    trigger_dirty(t);
    trigger_unref(t);
}

static void add_ids(struct strbuf *out, const struct acks *acks)
{
    for (size_t i = 0; i < acks->n; i++) {
        redis_command_arg(out, slice_str(acks->items[i]->entry));
    }
}

static void send_acks(struct acks *acks)
{
    struct trigger *t = acks->trigger;
    struct worker *w = t->worker;
    struct strbuf *out = &w->command;
    struct error err = {0};
    strbuf_clear(out);
    redis_command_begin(out, 2 + acks->n);
    redis_command_arg(out, SLICE_LIT("XDEL"));
    redis_command_arg(out, slice_str(t->key));
    add_ids(out, acks);
    int rc = redis_conn_send_made(w->db, strbuf_slice(out), NULL, NULL, &err);
    strbuf_clear(out);
    redis_command_begin(out, 3 + acks->n);
    redis_command_arg(out, SLICE_LIT("XACK"));
    redis_command_arg(out, slice_str(t->key));
    redis_command_arg(out, SLICE_LIT(STREAM_GROUP_DELIVER));
    add_ids(out, acks);
    rc = rc < 0 ? rc : redis_conn_send_made(w->db, strbuf_slice(out), on_acked, acks, &err);
    strbuf_clear(out);
    if (rc < 0) {
        on_acked(acks, NULL, &err);
    }
}

/* --- moved --------------------------------------------------------------------------------- */

static void on_moved(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct delivery *d = arg;
    struct trigger *t = d->trigger;
    struct worker *w = t->worker;
    if (!answered(d)) {
        return;
    }
    if (err != NULL) {
        w->counters.redis_errors++;
        settle_again(d);
        return;
    }
    t->broker->touched = true;
    if (d->outcome == OUTCOME_RETRY) {
        upkeep_due_in(t, d->delay_ms);
    }
    delivery_free(d);
    trigger_dirty(t);
}

/* One whose event is held: all at once, so that it is held neither too short nor for ever. */
static int send_done(struct delivery *d, struct error *err)
{
    struct trigger *t = d->trigger;
    const struct slice args[] = {
        SLICE_LIT("EVAL"),      slice_str(stream_script_done), SLICE_LIT("2"),
        slice_str(t->key),      slice_str(t->held_key),        slice_str(d->entry),
        slice_str(d->event_id),
    };
    return redis_conn_send(t->worker->db, args, ARRAY_LEN(args), on_moved, d, err);
}

static int send_retry(struct delivery *d, struct error *err)
{
    struct trigger *t = d->trigger;
    char delay[24];
    CLEANUP(strbuf_fini) struct strbuf member;
    strbuf_init(&member, 4096);
    strbuf_appendf(&member, "%s %s ", d->entry, d->event_id);
    stream_state_write(
        &(struct stream_state){
            .phase = d->phase, .attempt = d->attempt, .code = d->code, .data = slice_str(d->data)},
        &member);
    snprintf(delay, sizeof(delay), "%llu", (unsigned long long)d->delay_ms);
    const struct slice args[] = {
        SLICE_LIT("EVAL"),   slice_str(stream_script_retry), SLICE_LIT("3"),
        slice_str(t->key),   slice_str(t->retry_key),        slice_str(t->held_key),
        slice_str(d->entry), slice_str(d->event_id),         strbuf_slice(&member),
        slice_str(delay),
    };
    return redis_conn_send(t->worker->db, args, ARRAY_LEN(args), on_moved, d, err);
}

static int send_dead(struct delivery *d, struct error *err)
{
    struct trigger *t = d->trigger;
    char most[24];
    CLEANUP(strbuf_fini) struct strbuf packed;
    CLEANUP(strbuf_fini) struct strbuf why;
    strbuf_init(&packed, 2u << 20);
    strbuf_init(&why, 4096);
    const struct event *ev = &d->payload->event;
    event_pack(ev, &packed);
    strbuf_appendf(&why, "%s %d %s %s", d->event_id, d->code, d->data == NULL ? "" : d->data,
                   d->why == NULL ? "" : d->why);
    snprintf(most, sizeof(most), "%lld", (long long)t->worker->config->dead_kept);
    const struct slice args[] = {
        SLICE_LIT("EVAL"),
        slice_str(stream_script_dead),
        SLICE_LIT("3"),
        slice_str(t->key),
        slice_str(t->dead_key),
        slice_str(t->held_key),
        slice_str(d->entry),
        slice_str(most),
        strbuf_slice(&packed),
        ev->data.ptr == NULL ? SLICE_EMPTY : ev->data,
        ev->data.ptr == NULL ? SLICE_LIT("0") : SLICE_LIT("1"),
        strbuf_slice(&why),
        slice_str(d->event_id),
    };
    return redis_conn_send(t->worker->db, args, ARRAY_LEN(args), on_moved, d, err);
}

/* --- all of a trigger ---------------------------------------------------------------------- */

static struct acks *add_ack(struct acks *acks, struct delivery *d)
{
    if (acks == NULL) {
        acks = NEW(struct acks);
        acks->trigger = d->trigger;
        trigger_ref(d->trigger);
    }
    d->waits = true;
    acks->items[acks->n++] = d;
    if (acks->n == ACKS_MAX) {
        send_acks(acks);
        acks = NULL;
    }
    return acks;
}

void trigger_settle(struct trigger *t)
{
    struct acks *acks = NULL;
    struct list now;
    struct error err;
    if (!redis_conn_is_up(t->worker->db)) {
        return;
    }
    list_init(&now);
    list_splice_back(&now, &t->settling);
    for (struct list *node; (node = list_pop_front(&now)) != NULL;) {
        struct delivery *d = LIST_ENTRY(node, struct delivery, settle);
        if (d->outcome == OUTCOME_DONE && !d->held) {
            acks = add_ack(acks, d);
            continue;
        }
        d->waits = true;
        int rc = d->outcome == OUTCOME_DONE    ? send_done(d, &err)
                 : d->outcome == OUTCOME_RETRY ? send_retry(d, &err)
                                               : send_dead(d, &err);
        if (rc < 0) {
            d->waits = false;
            settle_again(d);
        }
    }
    if (acks != NULL) {
        send_acks(acks);
    }
}
