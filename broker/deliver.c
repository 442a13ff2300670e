// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. References are read as far as a trigger has room: so many deliveries at once, and so many
 * bytes of events in the worker (a trigger without any delivery always may have one, so that none
 * starves). The event is in memory when it came a moment ago; the others are asked for, neighbours
 * together (load.c). Then it is posted; the answer decides: done, a reply to be added to the
 * broker, a retry, the dead letter sink, or the dead.
 *
 * Order by key: a delivery waits while an earlier one of its trigger has the same partition key.
 * One that failed holds its key until it is done or dead: it is retried in memory, not in Redis.
 *
 * Failure: a reply that cannot be added, also because the broker is full, makes the delivery fail:
 * several triggers that answer each other's replies would fill Redis long before these have been
 * round often enough.
 */
#include <stdlib.h>

#include "base/base64.h"
#include "base/mem.h"
#include "base/random.h"
#include "broker/capacity.h"
#include "broker/model.h"
#include "broker/owner.h"

#define READ_MAX     128
#define BASE64_OF(n) (((n) + 2) / 3 * 4)
#define REPLY_ROOM   4 /* a full broker takes replies up to this part more: what it has must end */

/* --- order --------------------------------------------------------------------------------- */

static struct slice key_of(const struct delivery *d)
{
    const struct event_attr *key =
        d->payload == NULL ? NULL : event_extension(&d->payload->event, SLICE_LIT("partitionkey"));
    return key == NULL ? SLICE_EMPTY : key->value;
}

/* --- the outcome --------------------------------------------------------------------------- */

static void note_failure(struct delivery *d, int code, struct slice said, const char *why)
{
    struct trigger *t = d->trigger;
    t->worker->counters.failed++;
    t->counters.failed++;
    error_set(&t->trouble, ERR_UNAVAILABLE, "%s", why);
    if (d->phase == PHASE_DEAD_LETTER) {
        return; /* the subscriber's answer is what the dead letter tells of */
    }
    d->code = code;
    free(d->data);
    d->data = NULL;
    if (said.len > 0) {
        struct strbuf text;
        strbuf_init(&text, BASE64_OF(STREAM_ERROR_DATA_MAX));
        base64_append(&text, slice_sub(said, 0, STREAM_ERROR_DATA_MAX));
        d->data = strbuf_take(&text, NULL);
    }
}

/* A try has failed. again: another one may help. */
static void failed(struct delivery *d, bool again, uint64_t after_ms)
{
    struct trigger *t = d->trigger;
    const struct retry_policy *policy = trigger_policy(t);
    if (again && d->attempt < policy->retries) {
        double jitter = (double)(random_u64() >> 11) / (double)(1ull << 53);
        d->delay_ms = retry_delay_ms(policy, d->attempt, after_ms, jitter);
        d->attempt++;
        t->counters.retried++;
        t->worker->counters.retried++;
        if (t->object.ordered && d->phase == PHASE_DELIVER && !slice_empty(key_of(d))) {
            d->state = DELIVERY_READY; /* it holds its key */
            d->not_before_ms = loop_now_ms(t->worker->loop) + d->delay_ms;
        } else {
            delivery_settle(d, OUTCOME_RETRY);
        }
        return;
    }
    if (d->phase == PHASE_DELIVER && trigger_dead_letter(t) != NULL) {
        d->phase = PHASE_DEAD_LETTER;
        d->attempt = 0;
        d->delay_ms = 0;
        delivery_settle(d, OUTCOME_RETRY);
        return;
    }
    t->counters.dead++;
    t->worker->counters.dead++;
    free(d->why);
    d->why = xasprintf("%s%s", d->phase == PHASE_DEAD_LETTER ? "dead letter sink: " : "",
                       t->trouble.msg);
    LOG_WARN("nobody took an event", LOG_STR("trigger", t->path), LOG_STR("event", d->event_id),
             LOG_INT("code", d->code), LOG_ERR(&t->trouble));
    delivery_settle(d, OUTCOME_DEAD);
}

static void succeeded(struct delivery *d)
{
    struct trigger *t = d->trigger;
    if (d->phase == PHASE_DEAD_LETTER) {
        t->worker->counters.dead_lettered++;
        t->counters.dead++;
    } else {
        t->worker->counters.delivered++;
        t->counters.delivered++;
        t->trouble.code = ERR_OK;
    }
    delivery_settle(d, OUTCOME_DONE);
}

/* --- replies ------------------------------------------------------------------------------- */

static void on_replied(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct delivery *d = arg;
    struct trigger *t = d->trigger;
    d->waits = false;
    if (d->orphan) {
        delivery_free(d);
        return;
    }
    if (err != NULL || redis_reply_is_nil(reply)) {
        if (err == NULL) {
            upkeep_broker(t->broker);
        }
        note_failure(d, 0, SLICE_EMPTY,
                     err != NULL ? err->msg : "the broker's stream is being made");
        failed(d, true, 0);
        return;
    }
    t->counters.replies++;
    t->worker->counters.replies++;
    t->broker->length++;
    t->broker->reading.more = true;
    broker_dispatch(t->broker);
    succeeded(d);
}

static void take_reply(struct delivery *d, struct event *ev)
{
    struct trigger *t = d->trigger;
    struct error err = {0};
    int64_t ttl = event_ttl(&d->payload->event) - 1;
    if (ttl <= 0) {
        t->worker->counters.replies_looped++;
        LOG_WARN("a reply has been round too often and is dropped", LOG_STR("trigger", t->path),
                 LOG_SLICE("type", ev->known[EVENT_TYPE]));
        succeeded(d);
        return;
    }
    if (broker_is_full(t->broker, (uint64_t)t->worker->config->events_max / REPLY_ROOM)) {
        note_failure(d, 0, SLICE_EMPTY, "the broker is full, it has no room for the reply");
        failed(d, true, 0);
        return;
    }
    d->state = DELIVERY_REPLYING;
    d->waits = true;
    if (broker_add(t->broker, t->worker->db, ev, ttl, NULL, on_replied, d, &err) < 0) {
        d->waits = false;
        note_failure(d, 0, SLICE_EMPTY, err.msg);
        failed(d, true, 0);
    }
}

static void read_reply(struct delivery *d, const struct send_answer *a)
{
    struct event_batch batch = {0};
    struct error err = {0};
    bool wanted =
        a->status != 202 && d->phase == PHASE_DELIVER && !d->trigger->object.no_replies &&
        (a->body.len > 0 || event_http_mode(a->headers, a->n_headers) == EVENT_MODE_BINARY);
    if (!wanted) {
        succeeded(d);
        return;
    }
    int rc = event_http_read(a->headers, a->n_headers, a->body, &batch, &err);
    if (rc == 0 && batch.len != 1) {
        rc = error_set(&err, ERR_INVALID, "a reply is one event, this one has %zu", batch.len);
    }
    if (rc < 0) {
        char why[256];
        snprintf(why, sizeof(why), "the sink's answer is neither empty nor an event: %.160s",
                 err.msg);
        note_failure(d, 502, a->body, why);
        failed(d, true, 0);
    } else {
        take_reply(d, &batch.items[0]);
    }
    event_batch_fini(&batch);
}

/* --- sending ------------------------------------------------------------------------------- */

static void on_sent(struct send *s, const struct send_answer *a)
{
    struct delivery *d = CONTAINER_OF(s, struct delivery, send);
    struct trigger *t = d->trigger;
    char why[512];
    metric_buckets_observe(&t->duration, loop_now_ns(t->worker->loop) - d->begun_ns);
    if (a->status >= 200 && a->status <= 299 && !a->too_big) {
        read_reply(d, a);
    } else {
        if (a->too_big) {
            snprintf(why, sizeof(why), "the sink answered %d with more than %llu bytes", a->status,
                     (unsigned long long)t->worker->config->reply_bytes_max);
        } else if (a->status == 0) {
            snprintf(why, sizeof(why), "no answer: %.400s", a->err->msg);
        } else {
            snprintf(why, sizeof(why), "the sink answered %d", a->status);
        }
        int code = a->too_big ? 502 : a->status;
        note_failure(d, code, a->too_big ? SLICE_EMPTY : a->body, why);
        failed(d, retry_wanted(code), a->retry_after_ms);
    }
    send_fini(&d->send);
    event_fini(&d->shown);
}

/* Of a source's deliveries the last part of it is the namespace. */
static const char *plain_namespace(const struct trigger *t)
{
    const char *slash = strrchr(t->ns, '/');
    return slash == NULL ? t->ns : slash + 1;
}

/* The event as the sink is to see it: without what is the broker's own, and dead ones with why. */
static int make_message(struct delivery *d, struct send_message *out, struct error *err)
{
    struct trigger *t = d->trigger;
    struct event *ev = &d->shown;
    int rc = 0;
    event_borrow(ev, &d->payload->event);
    if (d->phase != PHASE_DEAD_LETTER) { // which may lead back into a broker, and not for ever
        event_remove(ev, SLICE_LIT(EXTENSION_TTL));
    }
    *out = (struct send_message){
        .target = t->target,
        .ns = plain_namespace(t),
        .event = ev,
        .structured = trigger_policy(t)->structured,
    };
    if (d->phase == PHASE_DEAD_LETTER) {
        const char *url = trigger_dead_letter(t);
        rc = url == NULL ? error_set(err, ERR_NOT_FOUND, "the dead letter sink is gone")
                         : target_parse(slice_str(url), &out->target, err);
        rc = rc < 0 ? rc
                    : event_set(ev, SLICE_LIT("knativeerrordest"), slice_str(t->object.subscriber),
                                err);
        rc = rc < 0 || d->code == 0
                 ? rc
                 : event_set_i64(ev, SLICE_LIT("knativeerrorcode"), d->code, err);
        rc = rc < 0 || d->data == NULL
                 ? rc
                 : event_set(ev, SLICE_LIT("knativeerrordata"), slice_str(d->data), err);
    }
    return rc;
}

static void send_now(struct delivery *d)
{
    struct trigger *t = d->trigger;
    struct send_message message;
    struct error err = {0};
    d->state = DELIVERY_SENDING;
    d->begun_ns = loop_now_ns(t->worker->loop);
    int rc = make_message(d, &message, &err);
    rc = rc < 0 ? rc : send_start(&t->worker->sender, &d->send, &message, on_sent, &err);
    if (rc < 0) {
        send_fini(&d->send);
        event_fini(&d->shown);
        note_failure(d, 0, SLICE_EMPTY, err.msg);
        failed(d, true, 0);
    }
}

/* Whether an earlier delivery has the same key; one whose event is not here yet may have it. */
static bool key_is_held(const struct delivery *d)
{
    struct slice key = key_of(d);
    if (!d->trigger->object.ordered || slice_empty(key)) {
        return false;
    }
    list_foreach (node, &d->trigger->deliveries) {
        const struct delivery *other = LIST_ENTRY(node, struct delivery, link);
        if (other == d) {
            return false;
        }
        if (other->payload == NULL ||
            (slice_eq(key_of(other), key) && other->state != DELIVERY_SETTLING)) {
            return true;
        }
    }
    return false;
}

void trigger_send_ready(struct trigger *t)
{
    if (!t->ready || t->worker->stopping || !owner_may_deliver(t)) {
        return;
    }
    uint64_t now_ms = loop_now_ms(t->worker->loop);
    unsigned room = capacity_room(t);
    list_foreach_safe (node, &t->deliveries) {
        struct delivery *d = LIST_ENTRY(node, struct delivery, link);
        if (room == 0) {
            break;
        }
        if (d->state == DELIVERY_READY && d->not_before_ms <= now_ms && !key_is_held(d)) {
            room--;
            send_now(d);
        }
    }
}

void trigger_check_time(struct trigger *t)
{
    const struct retry_policy *policy = trigger_policy(t);
    uint64_t limit_ms =
        policy->timeout_ms != 0 ? policy->timeout_ms : t->worker->config->delivery_timeout_ms;
    uint64_t now_ns = loop_now_ns(t->worker->loop);
    list_foreach_safe (node, &t->deliveries) {
        struct delivery *d = LIST_ENTRY(node, struct delivery, link);
        if (d->state != DELIVERY_SENDING || now_ns - d->begun_ns < limit_ms * 1000000) {
            continue;
        }
        send_cancel(&d->send);
        send_fini(&d->send);
        event_fini(&d->shown);
        note_failure(d, 0, SLICE_EMPTY, "the sink did not answer in time");
        failed(d, true, 0);
    }
}

/* --- references ---------------------------------------------------------------------------- */

static bool is_here(const struct trigger *t, struct slice entry)
{
    list_foreach (node, &t->deliveries) {
        if (slice_eq_str(entry, LIST_ENTRY(node, struct delivery, link)->entry)) {
            return true;
        }
    }
    return false;
}

/* Gives the loading to which it was added, if its event is not here. */
static struct loading *take_reference(struct trigger *t, const struct redisReply *item,
                                      struct loading *l)
{
    struct slice entry = redis_reply_text(redis_reply_at(item, 0));
    const struct redisReply *fields = redis_reply_at(item, 1);
    struct slice id = SLICE_EMPTY;
    struct slice text = SLICE_EMPTY;
    struct stream_state state;
    struct error err = {0};
    if (t->reading.scanning && is_here(t, entry)) {
        return l;
    }
    struct delivery *d = NEW(struct delivery);
    d->trigger = t;
    list_init(&d->settle);
    list_push_back(&t->deliveries, &d->link);
    t->n_deliveries++;
    trigger_ref(t);
    (void)redis_reply_field(fields, "r", &id);
    (void)redis_reply_field(fields, "s", &text);
    bool good = slice_copy(entry, d->entry, sizeof(d->entry)) && stream_id_valid(id) &&
                slice_copy(id, d->event_id, sizeof(d->event_id)) &&
                stream_state_read(text, &state, &err) == 0;
    if (!good) {
        t->worker->counters.poison++;
        LOG_ERROR("an entry of the stream is no reference and is passed over",
                  LOG_STR("trigger", t->path), LOG_SLICE("entry", entry), LOG_ERR(&err));
        delivery_settle(d, OUTCOME_DONE);
        return l;
    }
    d->held = !slice_empty(text);
    d->phase = state.phase;
    d->attempt = state.attempt;
    d->code = state.code;
    d->data = slice_empty(state.data) ? NULL : slice_dup(state.data);
    return load_event(l, d);
}

static void on_read(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct trigger *t = arg;
    struct reading *r = &t->reading;
    const struct redisReply *entries = redis_reply_at(redis_reply_at(reply, 0), 1);
    size_t n = redis_reply_len(entries);
    struct slice last = redis_reply_text(redis_reply_at(redis_reply_at(entries, n - 1), 0));
    if (err != NULL) {
        reading_lost(r);
        t->worker->counters.redis_errors++;
        if (err->code == ERR_NOT_FOUND && !t->gone) {
            upkeep_trigger_lost(t);
        }
    } else if (t->gone || n == 0 || !owner_may_deliver(t)) {
        reading_end(r, 0, last, false); /* the owner takes over what was read */
    } else {
        t->behind = n >= t->asked;
        struct loading *l = NULL;
        for (size_t i = 0; i < n; i++) {
            l = take_reference(t, redis_reply_at(entries, i), l);
        }
        reading_end(r, n, last, t->behind);
        load_send(l);
        t->broker->touched = true;
    }
    trigger_dirty(t);
    trigger_unref(t);
}

/* How many more deliveries it may begin. */
static unsigned room_of(const struct trigger *t)
{
    const struct worker *w = t->worker;
    unsigned most =
        t->object.parallelism != 0 ? t->object.parallelism : (unsigned)w->config->parallelism;
    most = capacity_fair(t, capacity_ahead(t, most));
    unsigned room = t->n_deliveries < most ? most - t->n_deliveries : 0;
    /* While there is a backlog a quarter at least, so that one question brings several. */
    bool wait = t->behind && room * 4 < most && t->n_deliveries > 0;
    return wait ? 0 : room < READ_MAX ? room : READ_MAX;
}

void trigger_read(struct trigger *t)
{
    struct worker *w = t->worker;
    struct reading *r = &t->reading;
    char count[16];
    struct error err;
    unsigned room = room_of(t);
    if (!reading_wanted(r) || room == 0 || !w->synced || w->stopping || t->gone || !t->ready ||
        !t->broker->known || !owner_may_deliver(t)) {
        return;
    }
    t->asked = room;
    snprintf(count, sizeof(count), "%u", room);
    const struct slice args[] = {
        SLICE_LIT("XREADGROUP"), SLICE_LIT("GROUP"), SLICE_LIT(STREAM_GROUP_DELIVER),
        slice_str(w->name),      SLICE_LIT("COUNT"), slice_str(count),
        SLICE_LIT("STREAMS"),    slice_str(t->key),  reading_begin(r),
    };
    trigger_ref(t);
    if (redis_conn_send(w->db, args, ARRAY_LEN(args), on_read, t, &err) < 0) {
        reading_failed(r);
        trigger_unref(t);
    }
}
