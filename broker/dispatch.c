// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Read what nobody has read from the broker's stream, match each event against the index, and
 * write the references of the whole batch with one script, which also acknowledges. While its
 * answer is due the next batch may be read: commands of one connection keep their order, and so do
 * events.
 *
 * Failure: the connection is lost: after it is back, upkeep sets the reading to scan what we had
 * read already; what the script has done is not there any more. An answer too big for the
 * connection: the batch begins at one event again. An entry that is no event is put aside with a
 * line in the log (poison); it would come back for ever.
 */
#include "base/mem.h"
#include "redis/command.h"
#include "broker/model.h"
#include "broker/owner.h"

#define BATCH_MAX       256
#define BATCH_BYTES     (1u << 20) /* what a batch should bring */
#define BATCHES_PENDING 2
#define KEYS_MAX        4096 /* triggers named by one script; further ones get one of their own */

/* --- the script ---------------------------------------------------------------------------- */

struct batch {
    struct broker *broker;
    struct trigger **triggers; /* KEYS, a count on each */
    size_t n_triggers;
    size_t cap;
    struct strbuf args; /* made arguments behind the keys */
    size_t n_args;
    uint64_t events;
    /* of the event that is being matched */
    struct strbuf places;
    size_t n_places;
};

static void on_dispatched(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct batch *batch = arg;
    struct broker *b = batch->broker;
    struct worker *w = b->worker;
    b->dispatching--;
    if (err != NULL) {
        w->counters.redis_errors++;
        if (log_limit(&w->redis_log, loop_now_ms(w->loop), 1000, &(uint64_t){0})) {
            LOG_WARN("events cannot be dispatched, they wait", LOG_STR("broker", b->path),
                     LOG_ERR(err));
        }
        /* They are still pending in our name: they are read again. */
        reading_scan(&b->reading);
        b->poll_ms = loop_now_ms(w->loop) + 1000;
    } else {
        w->counters.dispatched += batch->events;
        w->counters.references += (uint64_t)redis_reply_int(redis_reply_at(reply, 0), 0);
    }
    for (size_t i = 0; i < batch->n_triggers; i++) {
        struct trigger *t = batch->triggers[i];
        if (!t->gone) {
            t->reading.more = true;
            trigger_dirty(t);
        }
        trigger_unref(t);
    }
    if (err == NULL && b->known) {
        broker_dispatch(b);
    }
    free(batch->triggers);
    free(batch);
    broker_unref(b);
}

static void found(void *arg, struct index_entry *entry)
{
    struct batch *batch = arg;
    struct trigger *t = CONTAINER_OF(entry, struct trigger, entry);
    /* entry->at: its place among KEYS, when it is there already. */
    bool there = entry->at < batch->n_triggers && batch->triggers[entry->at] == t;
    if (!there) {
        if (batch->n_triggers == batch->cap) {
            batch->cap = batch->cap == 0 ? 16 : batch->cap * 2;
            batch->triggers = xreallocarray(batch->triggers, batch->cap, sizeof(struct trigger *));
        }
        entry->at = (uint32_t)batch->n_triggers;
        batch->triggers[batch->n_triggers++] = t;
        trigger_ref(t);
    }
    redis_command_u64(&batch->places, 2 * entry->at + 2);
    batch->n_places++;
}

static void send_batch(struct batch *batch)
{
    struct broker *b = batch->broker;
    struct worker *w = b->worker;
    struct error err = {0};
    struct strbuf *out = &w->command;
    strbuf_clear(out);
    redis_command_begin(out, 4 + 2 * batch->n_triggers + batch->n_args);
    redis_command_arg(out, SLICE_LIT("EVAL"));
    redis_command_arg(out, slice_str(stream_script_dispatch));
    redis_command_u64(out, 1 + 2 * batch->n_triggers);
    redis_command_arg(out, slice_str(b->events_key));
    for (size_t i = 0; i < batch->n_triggers; i++) {
        redis_command_arg(out, slice_str(batch->triggers[i]->key));
        redis_command_arg(out, slice_str(batch->triggers[i]->held_key));
    }
    strbuf_append_slice(out, strbuf_slice(&batch->args));
    strbuf_fini(&batch->args);
    strbuf_fini(&batch->places);
    b->dispatching++;
    broker_ref(b);
    int rc = strbuf_ok(out)
                 ? redis_conn_send_made(w->db, strbuf_slice(out), on_dispatched, batch, &err)
                 : error_set(&err, ERR_TOO_BIG, "too many references in one batch");
    strbuf_clear(out);
    if (rc < 0) {
        on_dispatched(batch, NULL, &err);
    }
}

/* --- one entry ----------------------------------------------------------------------------- */

/* An event that one trigger is to get again, whatever its filter says now. */
static void find_only(struct batch *batch, struct slice uid)
{
    list_foreach (node, &batch->broker->triggers) {
        struct trigger *t = LIST_ENTRY(node, struct trigger, link);
        if (slice_eq_str(uid, t->uid)) {
            found(batch, &t->entry);
            return;
        }
    }
}

static size_t take_entry(struct batch *batch, const struct redisReply *entry)
{
    struct broker *b = batch->broker;
    struct worker *w = b->worker;
    struct slice id = redis_reply_text(redis_reply_at(entry, 0));
    const struct redisReply *fields = redis_reply_at(entry, 1);
    struct slice packed = SLICE_EMPTY;
    struct slice data = {0};
    struct slice only;
    struct payload *payload = NULL;
    struct error err = {0};
    bool has = redis_reply_field(fields, "e", &packed);
    (void)redis_reply_field(fields, "d", &data);
    strbuf_clear(&batch->places);
    batch->n_places = 0;
    int rc = has ? payload_put(&b->payloads, id, packed, data, &payload, &err)
                 : error_set(&err, ERR_PROTOCOL, "it has no field e");
    if (rc < 0) {
        w->counters.poison++;
        LOG_ERROR("an entry of the stream is no event and is passed over",
                  LOG_STR("broker", b->path), LOG_SLICE("id", id), LOG_ERR(&err));
    } else {
        if (redis_reply_field(fields, "t", &only)) {
            find_only(batch, only);
        } else {
            index_match(&b->index, &payload->event, found, batch);
        }
        w->counters.unmatched += batch->n_places == 0;
        payload_let_go(payload, batch->n_places > 0);
    }
    redis_command_arg(&batch->args, id);
    redis_command_u64(&batch->args, batch->n_places);
    strbuf_append_slice(&batch->args, strbuf_slice(&batch->places));
    batch->n_args += 2 + batch->n_places;
    batch->events++;
    return packed.len + data.len;
}

static void build_index(struct broker *b)
{
    index_fini(&b->index);
    index_init(&b->index);
    list_foreach (node, &b->triggers) {
        struct trigger *t = LIST_ENTRY(node, struct trigger, link);
        if (t->ready) {
            index_add(&b->index, &t->entry);
        }
    }
    b->index_stale = false;
}

static struct batch *batch_new(struct broker *b)
{
    struct batch *batch = NEW(struct batch);
    batch->broker = b;
    strbuf_init(&batch->args, 64u << 20);
    strbuf_init(&batch->places, 16u << 20);
    return batch;
}

static void take_entries(struct broker *b, const struct redisReply *entries)
{
    struct batch *batch = batch_new(b);
    size_t bytes = 0;
    size_t n = redis_reply_len(entries);
    if (b->index_stale) {
        build_index(b);
    }
    for (size_t i = 0; i < n; i++) {
        bytes += take_entry(batch, redis_reply_at(entries, i));
        if (batch->n_triggers >= KEYS_MAX && i + 1 < n) {
            send_batch(batch);
            batch = batch_new(b);
        }
    }
    /* Twice as many as last time, as long as that does not bring too much. */
    size_t average = bytes / n + 1;
    b->event_bytes = average;
    size_t fits = BATCH_BYTES / average + 1;
    b->batch = b->batch * 2 < BATCH_MAX ? b->batch * 2 : BATCH_MAX;
    b->batch = b->batch < fits ? b->batch : (unsigned)fits;
    send_batch(batch);
}

/* --- reading ------------------------------------------------------------------------------- */

static void on_read(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct broker *b = arg;
    struct reading *r = &b->reading;
    const struct redisReply *stream = redis_reply_at(reply, 0);
    const struct redisReply *entries = redis_reply_at(stream, 1);
    size_t n = redis_reply_len(entries);
    struct slice last = redis_reply_text(redis_reply_at(redis_reply_at(entries, n - 1), 0));
    if (err != NULL) {
        reading_lost(r);
        b->worker->counters.redis_errors++;
        b->batch = 1;
        b->poll_ms = loop_now_ms(b->worker->loop) + 1000;
        if (err->code == ERR_NOT_FOUND && b->known) {
            upkeep_broker_lost(b); /* somebody emptied Redis */
        }
    } else {
        reading_end(r, n, last, n >= b->asked);
        if (b->known && n > 0 && b->n_missing > 0) {
            reading_scan(r); /* a trigger came meanwhile */
        } else if (b->known && n > 0 && owner_may_dispatch(b)) {
            b->touched = true;
            take_entries(b, entries);
        }
    }
    if (err == NULL && b->known) {
        broker_dispatch(b);
    }
    broker_unref(b);
}

void broker_dispatch(struct broker *b)
{
    struct worker *w = b->worker;
    struct reading *r = &b->reading;
    char count[16];
    struct error err;
    if (!reading_wanted(r) || b->dispatching >= BATCHES_PENDING || !w->synced || w->stopping ||
        !b->known || b->n_missing > 0) {
        return;
    }
    if (!owner_may_dispatch(b)) {
        return;
    }
    /* What we had read is looked through when nothing of it is under way. */
    if (r->scanning && b->dispatching > 0) {
        return;
    }
    b->asked = b->batch;
    snprintf(count, sizeof(count), "%u", b->asked);
    const struct slice args[] = {
        SLICE_LIT("XREADGROUP"), SLICE_LIT("GROUP"),       SLICE_LIT(STREAM_GROUP_DISPATCH),
        slice_str(w->name),      SLICE_LIT("COUNT"),       slice_str(count),
        SLICE_LIT("STREAMS"),    slice_str(b->events_key), reading_begin(r),
    };
    broker_ref(b);
    if (redis_conn_send(w->db, args, ARRAY_LEN(args), on_read, b, &err) < 0) {
        reading_failed(r);
        broker_unref(b);
    }
}
