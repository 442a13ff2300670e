// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. A stream: the group is made if it is not there, our consumer's pending entries are read
 * from the beginning, then what is new, as many as there is room for. A list: what stands in the
 * processing list goes back to where it came from, then one element after the other is moved
 * there. Each becomes a push; when it is over XACK or LREM, or first into our own Redis' dead.
 *
 * Failure: an entry is never given up here: what is not acknowledged is read again by the next
 * session. An entry that Redis has deleted meanwhile is acknowledged. One that is larger than an
 * event may be is dead, without its data. A group or stream that goes is made anew.
 */
#include "broker/redis_session.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "broker/redis_event.h"

#define CONSUMER   "lull"
#define BLOCK_MS   "2000"
#define BLOCK_S    "2"
#define TIMEOUT_MS 10000
#define AGAIN_MS   1000
#define READ_MAX   100
#define ID_MAX     64
#define MAX_ANSWER (64u << 20)

enum phase { BEGINNING, GIVING_BACK, PENDING, FRESH };

struct redis_session {
    struct redis_session_options options;
    struct loop *loop;
    struct redis_conn *reads;
    struct redis_conn *work;
    unsigned open; /* connections */
    bool closed;   /* the options are not to be used */
    bool lost;
    bool reading;
    enum phase phase;
    char from[ID_MAX];
    uint64_t again_ms;
    struct list items;
    unsigned n_items;
};

struct item {
    struct list link;
    struct redis_session *session; /* NULL: free it when the answer comes */
    struct push push;
    bool waits; /* for an answer of Redis */
    bool over;  /* nobody took it, and the dead do not have it yet */
    bool whole; /* it is an event with its data */
    uint64_t again_ms;
    char id[ID_MAX];      /* streams */
    struct slice element; /* lists; owned */
};

static void read_more(struct redis_session *s);

/* --- entries ------------------------------------------------------------------------------- */

static void item_free(struct item *it)
{
    if (it->session != NULL) {
        list_remove(&it->link);
        it->session->n_items--;
    }
    push_fini(&it->push);
    free((char *)(uintptr_t)it->element.ptr);
    free(it);
}

static void note(struct redis_session *s, const struct error *err)
{
    struct error *trouble = &s->options.counts->trouble;
    if (err->code != ERR_CANCELED && strcmp(trouble->msg, err->msg) != 0) {
        LOG_WARN("a RedisSource has trouble", LOG_STR("source", s->options.object->common.source),
                 LOG_ERR(err));
    }
    error_copy(trouble, err);
}

static void on_acknowledged(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct item *it = arg;
    struct redis_session *s = it->session;
    it->waits = false;
    if (s == NULL || s->closed) {
        item_free(it);
        return;
    }
    if (err != NULL) {
        note(s, err); /* still ours: it comes again */
    }
    item_free(it);
    read_more(s);
}

static void acknowledge(struct item *it)
{
    struct redis_session *s = it->session;
    const struct redis_object *o = s->options.object;
    struct error err;
    const struct slice ack[] = {SLICE_LIT("XACK"), slice_str(o->key), slice_str(o->group),
                                slice_str(it->id)};
    const struct slice rem[] = {SLICE_LIT("LREM"), slice_str(o->processing), SLICE_LIT("1"),
                                it->element};
    it->waits = true;
    if (redis_conn_send(s->work, o->is_list ? rem : ack, 4, on_acknowledged, it, &err) < 0) {
        on_acknowledged(it, NULL, &err);
    }
}

static void on_buried(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct item *it = arg;
    struct redis_session *s = it->session;
    it->waits = false;
    if (s == NULL || s->closed) {
        item_free(it);
    } else if (err != NULL) {
        note(s, err);
        it->again_ms = loop_now_ms(s->loop) + AGAIN_MS;
    } else {
        it->over = false;
        acknowledge(it);
    }
}

/* Into our own Redis, where the newest are kept; only then, and when the replicas that are waited
 * for have it, it is acknowledged in the other one. */
static void bury(struct item *it)
{
    struct error err;
    it->over = true;
    it->waits = true;
    if (outlet_bury(it->session->options.outlet, &it->push, it->whole, on_buried, it, &err) < 0) {
        on_buried(it, NULL, &err);
    }
}

static void on_pushed(struct push *p, enum push_outcome outcome)
{
    struct item *it = CONTAINER_OF(p, struct item, push);
    struct redis_counts *counts = it->session->options.counts;
    if (outcome == PUSH_TAKEN) {
        counts->taken++;
        counts->trouble = (struct error){0};
        acknowledge(it);
        return;
    }
    counts->dead++;
    error_copy(&counts->trouble, &p->why);
    if (outcome == PUSH_DEAD_LETTER) {
        acknowledge(it);
        return;
    }
    LOG_WARN("nobody took an entry of Redis",
             LOG_STR("source", it->session->options.object->common.source), LOG_STR("id", it->id),
             LOG_INT("code", p->code), LOG_ERR(&p->why));
    bury(it);
}

static struct item *new_item(struct redis_session *s)
{
    struct item *it = NEW(struct item);
    it->session = s;
    list_push_back(&s->items, &it->link);
    s->n_items++;
    return it;
}

/* rc: of making the event. */
static void begin_item(struct item *it, struct event *event, int rc, struct error *why)
{
    struct redis_session *s = it->session;
    size_t most = (size_t)s->options.worker->config->event_bytes_max;
    if (rc == 0 && event->data.len > most) {
        rc = error_set(why, ERR_TOO_BIG, "the entry makes %zu bytes of data, at most %zu are taken",
                       event->data.len, most);
        event->data = (struct slice){0};
    }
    if (rc == 0) {
        it->whole = true;
        push_start(&it->push, s->options.route, event, on_pushed);
        return;
    }
    LOG_WARN("an entry of Redis is no event", LOG_STR("source", s->options.object->common.source),
             LOG_STR("id", it->id), LOG_ERR(why));
    s->options.counts->dead++;
    it->push.event = *event;
    event_init(event);
    error_copy(&it->push.why, why);
    bury(it);
}

static void take_entry(struct redis_session *s, const struct redisReply *entry)
{
    struct slice id = redis_reply_text(redis_reply_at(entry, 0));
    const struct redisReply *fields = redis_reply_at(entry, 1);
    struct event event;
    struct error why = {0};
    struct item *it = new_item(s);
    if (!slice_copy(id, it->id, sizeof(it->id)) || redis_reply_is_nil(fields)) {
        acknowledge(it); /* it was deleted since we took it */
        return;
    }
    int rc = redis_stream_event(s->options.object, id, fields, clock_wall_ns(), &event, &why);
    begin_item(it, &event, rc, &why);
}

static void take_element(struct redis_session *s, struct slice value)
{
    struct event event;
    struct error why = {0};
    struct item *it = new_item(s);
    it->element = slice_of(slice_dup(value), value.len);
    int rc = redis_list_event(s->options.object, value, clock_wall_ns(), &event, &why);
    begin_item(it, &event, rc, &why);
}

/* --- reading ------------------------------------------------------------------------------- */

static void later(struct redis_session *s, const struct error *err)
{
    note(s, err);
    s->again_ms = loop_now_ms(s->loop) + AGAIN_MS;
}

static void ask(struct redis_session *s, struct redis_conn *conn, const struct slice *args,
                size_t n, redis_conn_cb cb)
{
    struct error err;
    s->reading = true;
    if (redis_conn_send(conn, args, n, cb, s, &err) < 0) {
        s->reading = false;
        later(s, &err);
    }
}

/* False: the answer is not for us any more, or an error, which is seen to. */
static bool is_good(struct redis_session *s, const struct error *err)
{
    s->reading = false;
    if (s->closed) {
        return false;
    }
    if (err != NULL) {
        if (err->code == ERR_NOT_FOUND) {
            s->phase = BEGINNING; /* the group went with its stream */
        }
        later(s, err);
    } else {
        s->options.counts->trouble = (struct error){0};
    }
    return err == NULL;
}

static void on_group(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct redis_session *s = arg;
    bool there = err != NULL && err->code == ERR_EXISTS;
    if (!is_good(s, there ? NULL : err)) {
        return;
    }
    s->options.counts->had_group = true;
    s->phase = PENDING;
    snprintf(s->from, sizeof(s->from), "0");
    read_more(s);
}

static void on_given_back(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct redis_session *s = arg;
    if (!is_good(s, err)) {
        return;
    }
    if (redis_reply_is_nil(reply)) {
        s->phase = FRESH;
    }
    read_more(s);
}

static void on_entries(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct redis_session *s = arg;
    if (!is_good(s, err)) {
        return;
    }
    const struct redisReply *entries = redis_reply_at(redis_reply_at(reply, 0), 1);
    size_t n = redis_reply_len(entries);
    for (size_t i = 0; i < n; i++) {
        take_entry(s, redis_reply_at(entries, i));
    }
    if (s->phase == PENDING && n > 0) {
        struct slice last = redis_reply_text(redis_reply_at(redis_reply_at(entries, n - 1), 0));
        (void)slice_copy(last, s->from, sizeof(s->from));
    } else if (s->phase == PENDING) {
        s->phase = FRESH;
    }
    read_more(s);
}

static void on_element(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct redis_session *s = arg;
    if (!is_good(s, err)) {
        return;
    }
    if (redis_reply_is_text(reply)) {
        take_element(s, redis_reply_text(reply));
    }
    read_more(s);
}

static void read_stream(struct redis_session *s, unsigned room)
{
    const struct redis_object *o = s->options.object;
    char count[16];
    bool first =
        o->from_first || s->options.counts->had_group; /* one that went and came again is all new */
    const struct slice group[] = {
        SLICE_LIT("XGROUP"), SLICE_LIT("CREATE"),          slice_str(o->key),
        slice_str(o->group), slice_str(first ? "0" : "$"), SLICE_LIT("MKSTREAM")};
    snprintf(count, sizeof(count), "%u", room);
    bool pending = s->phase == PENDING;
    const struct slice read[] = {
        SLICE_LIT("XREADGROUP"),
        SLICE_LIT("GROUP"),
        slice_str(o->group),
        SLICE_LIT(CONSUMER),
        SLICE_LIT("COUNT"),
        slice_str(count),
        SLICE_LIT("BLOCK"),
        SLICE_LIT(BLOCK_MS),
        SLICE_LIT("STREAMS"),
        slice_str(o->key),
        pending ? slice_str(s->from) : SLICE_LIT(">"),
    };
    if (s->phase == BEGINNING) {
        ask(s, s->work, group, ARRAY_LEN(group), on_group);
    } else {
        ask(s, s->reads, read, ARRAY_LEN(read), on_entries);
    }
}

static void read_list(struct redis_session *s)
{
    const struct redis_object *o = s->options.object;
    struct slice end = o->from_left ? SLICE_LIT("LEFT") : SLICE_LIT("RIGHT");
    struct slice other = o->from_left ? SLICE_LIT("RIGHT") : SLICE_LIT("LEFT");
    const struct slice back[] = {SLICE_LIT("LMOVE"), slice_str(o->processing), slice_str(o->key),
                                 other, end};
    const struct slice next[] = {
        SLICE_LIT("BLMOVE"), slice_str(o->key), slice_str(o->processing), end, other,
        SLICE_LIT(BLOCK_S)};
    if (s->phase == BEGINNING) {
        s->phase = GIVING_BACK;
    }
    if (s->phase == GIVING_BACK) {
        ask(s, s->work, back, ARRAY_LEN(back), on_given_back);
    } else {
        ask(s, s->reads, next, ARRAY_LEN(next), on_element);
    }
}

static void read_more(struct redis_session *s)
{
    const struct redis_object *o = s->options.object;
    if (s->closed || s->lost || s->reading || s->n_items >= o->parallelism ||
        s->options.worker->stopping || !redis_conn_is_up(s->reads) || !redis_conn_is_up(s->work) ||
        loop_now_ms(s->loop) < s->again_ms) {
        return;
    }
    unsigned room = o->parallelism - s->n_items;
    if (o->is_list) {
        read_list(s);
    } else {
        read_stream(s, room < READ_MAX ? room : READ_MAX);
    }
}

/* --- life ---------------------------------------------------------------------------------- */

static void on_up(void *arg)
{
    struct redis_session *s = arg;
    if (!s->closed) {
        read_more(s);
    }
}

static void on_down(void *arg, const struct error *err)
{
    struct redis_session *s = arg;
    if (s->closed) {
        return;
    }
    note(s, err);
    s->lost = s->lost || s->phase != BEGINNING;
}

/* The rules for sinks count here too: it is users who write addresses. */
static int may_call(void *arg, const struct addr *addr, struct error *err)
{
    const struct redis_session *s = arg;
    if (s->closed) {
        return error_set(err, ERR_CANCELED, "the source has gone");
    }
    const struct sender_options *rules = &s->options.worker->sender.options;
    return target_check(addr, rules->rules, rules->own_ports, rules->n_own, err);
}

static void on_closed(void *arg)
{
    struct redis_session *s = arg;
    if (--s->open == 0) {
        free(s);
    }
}

int redis_session_new(const struct redis_session_options *options, struct redis_session **out,
                      struct error *err)
{
    struct worker *w = options->worker;
    struct redis_session *s = NEW(struct redis_session);
    s->options = *options;
    s->loop = w->loop;
    list_init(&s->items);
    struct redis_conn_options conn = {
        .address = options->url,
        .client_name = "lull-source",
        .ca_file = w->config->redis_ca,
        .timeout_ms = TIMEOUT_MS,
        .max_answer = MAX_ANSWER,
        .may_call = may_call,
        .on_up = on_up,
        .on_down = on_down,
        .arg = s,
    };
    int rc = redis_conn_new(s->loop, &conn, &s->work, err);
    if (rc < 0) {
        free(s);
        return rc;
    }
    s->open = 1;
    rc = redis_conn_new(s->loop, &conn, &s->reads, err);
    if (rc < 0) {
        s->closed = true;
        redis_conn_close(s->work, on_closed, s);
        return rc;
    }
    s->open = 2;
    *out = s;
    return 0;
}

void redis_session_close(struct redis_session *s)
{
    s->closed = true;
    list_foreach_safe (node, &s->items) {
        struct item *it = LIST_ENTRY(node, struct item, link);
        push_fini(&it->push);
        if (it->waits) {
            list_remove(&it->link);
            it->session = NULL;
        } else {
            item_free(it);
        }
    }
    redis_conn_close(s->reads, on_closed, s);
    redis_conn_close(s->work, on_closed, s);
}

bool redis_session_is_lost(const struct redis_session *s)
{
    return s->lost;
}

void redis_session_tick(struct redis_session *s, uint64_t now_ms)
{
    list_foreach_safe (node, &s->items) {
        struct item *it = LIST_ENTRY(node, struct item, link);
        if (it->over && !it->waits && now_ms >= it->again_ms) {
            bury(it);
        } else if (!it->over && !it->waits) {
            push_tick(&it->push, now_ms);
        }
    }
    read_more(s);
}

void redis_session_pause(struct redis_session *s)
{
    list_foreach (node, &s->items) {
        push_pause(&LIST_ENTRY(node, struct item, link)->push);
    }
}

size_t redis_session_running(const struct redis_session *s)
{
    return s->n_items;
}
