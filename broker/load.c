// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. What references that were read together name mostly stands together in the broker's stream:
 * one XRANGE from the first to the last that is not in memory, with as many entries as are wanted.
 * A trigger that wants few of many events would get others': it then asks for each by itself.
 *
 * Failure: an event that is gone from the stream (somebody trimmed it) is done, with a line in the
 * log. No answer: the references are pending, and read again when the connection is back.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "broker/model.h"

#define LOAD_MAX   32           /* events that one question asks for */
#define LOAD_BYTES (256u << 10) /* what they should bring */
#define LOAD_ALONE 64           /* questions for one event each, after some brought others */

/* Deliveries of one trigger whose events are asked for together, in the order of their ids. */
struct loading {
    struct trigger *trigger; /* a count */
    size_t n;
    size_t asked; /* n, before some lost their trigger */
    struct delivery *items[LOAD_MAX];
};

/* fields NULL: it is not in the stream any more. */
static void loaded(struct delivery *d, const struct redisReply *fields)
{
    struct trigger *t = d->trigger;
    struct error why = {0};
    struct slice packed = SLICE_EMPTY;
    struct slice data = {0};
    (void)redis_reply_field(fields, "d", &data);
    int rc = redis_reply_field(fields, "e", &packed)
                 ? payload_put(&t->broker->payloads, slice_str(d->event_id), packed, data,
                               &d->payload, &why)
                 : error_set(&why, ERR_GONE, "it is not in the broker's stream any more");
    if (rc < 0) {
        t->worker->counters.missing++;
        LOG_ERROR("an event cannot be delivered", LOG_STR("trigger", t->path),
                  LOG_STR("event", d->event_id), LOG_ERR(&why));
        delivery_settle(d, OUTCOME_DONE);
        return;
    }
    d->state = DELIVERY_READY;
    t->broker->event_bytes = d->payload->bytes;
    trigger_dirty(t);
}

static void on_loaded(void *arg, const struct redisReply *reply, const struct error *err);

void load_send(struct loading *l)
{
    char count[16];
    struct error err;
    if (l == NULL) {
        return;
    }
    struct trigger *t = l->trigger;
    snprintf(count, sizeof(count), "%zu", l->n);
    const struct slice args[] = {
        SLICE_LIT("XRANGE"),
        slice_str(t->broker->events_key),
        slice_str(l->items[0]->event_id),
        slice_str(l->items[l->n - 1]->event_id),
        SLICE_LIT("COUNT"),
        slice_str(count),
    };
    l->asked = l->n;
    for (size_t i = 0; i < l->n; i++) {
        l->items[i]->waits = true;
    }
    if (redis_conn_send(t->worker->db, args, ARRAY_LEN(args), on_loaded, l, &err) < 0) {
        on_loaded(l, NULL, &err);
    }
}

/* Adds one; asks for those before it when it does not go with them. */
static struct loading *add(struct loading *l, struct delivery *d)
{
    struct trigger *t = d->trigger;
    size_t fits = LOAD_BYTES / (t->broker->event_bytes + 1) + 1;
    size_t most = t->load_most < fits ? t->load_most : fits;
    if (l != NULL && (l->n >= most || stream_id_compare(slice_str(l->items[l->n - 1]->event_id),
                                                        slice_str(d->event_id)) >= 0)) {
        load_send(l);
        l = NULL;
    }
    if (l == NULL) {
        l = NEW(struct loading);
        l->trigger = t;
        trigger_ref(t);
    }
    l->items[l->n++] = d;
    d->state = DELIVERY_LOADING;
    return l;
}

/* Together only while what comes is wanted; after a miss one by one for a while. */
static void learn_from(struct trigger *t, size_t asked, size_t hits)
{
    if (hits < asked) {
        t->load_most = 1;
        t->load_alone = LOAD_ALONE;
    } else if (t->load_alone > 0) {
        t->load_alone--;
    } else if (asked >= t->load_most) {
        t->load_most = t->load_most * 2 < LOAD_MAX ? t->load_most * 2 : LOAD_MAX;
    }
}

/*
 * An entry that no delivery wants is of another trigger. A delivery without an entry is asked for
 * again when the answer broke off before its place, else its event is gone.
 */
static void take_loaded(struct loading *l, const struct redisReply *entries)
{
    size_t n = redis_reply_len(entries);
    size_t at = 0;
    size_t hits = 0;
    struct delivery *rest[LOAD_MAX];
    size_t n_rest = 0;
    for (size_t i = 0; i < l->n; i++) {
        struct delivery *d = l->items[i];
        int order = -1;
        for (; at < n; at++) {
            struct slice id = redis_reply_text(redis_reply_at(redis_reply_at(entries, at), 0));
            order = stream_id_compare(id, slice_str(d->event_id));
            if (order >= 0) {
                break;
            }
        }
        if (at < n && order == 0) {
            loaded(d, redis_reply_at(redis_reply_at(entries, at), 1));
            hits++;
        } else if (at < n || n < l->asked) {
            loaded(d, NULL);
        } else {
            rest[n_rest++] = d;
        }
    }
    learn_from(l->trigger, l->n, hits);
    struct loading *again = NULL;
    for (size_t i = 0; i < n_rest; i++) {
        again = add(again, rest[i]);
    }
    load_send(again);
}

static void on_loaded(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct loading *l = arg;
    struct trigger *t = l->trigger;
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        struct delivery *d = l->items[i];
        d->waits = false;
        if (d->orphan || err != NULL) {
            delivery_free(d); /* an error: it is pending, and read again with the connection */
        } else {
            l->items[n++] = d;
        }
    }
    l->n = n;
    if (err != NULL) {
        t->load_most = 1;
        reading_scan(&t->reading);
    } else {
        take_loaded(l, reply);
    }
    trigger_unref(t);
    free(l);
}

struct loading *load_event(struct loading *l, struct delivery *d)
{
    d->payload = payload_use(&d->trigger->broker->payloads, slice_str(d->event_id));
    if (d->payload == NULL) {
        return add(l, d);
    }
    d->state = DELIVERY_READY;
    return l;
}
