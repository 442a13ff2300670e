// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Per source, under the hash tag {source/ping/NS/NAME}: the stream of its outlet, and :runs,
 * a hash of the last run that was written (at, ms) and what schedule that was (h).
 *   1. ADOPT says from when on runs count: the last one of this schedule, or when it was made.
 *   2. The tick compares the wall clock with the next run; FIRE writes the event, unless a run as
 *      late was written already. Both in one script, so a run is neither lost nor written twice.
 *   3. WAKE is a request to the sink's name, once among all workers.
 * The wall clock is read at every tick, so that a jump is seen within one (due.h).
 *
 * Failure: Redis is away: the run stays due, and is written late or not at all (see the header).
 * Kept (refs) while an answer of Redis names it.
 */
#include "broker/cron.h"

#include <stdlib.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "json/jbuild.h"
#include "json/jget.h"
#include "broker/due.h"
#include "broker/outlet.h"
#include "eventing/cron.h"
#include "eventing/names.h"

#define PING_NS         "source/ping/"
#define KEEP_MS         (7ll * 24 * 3600 * 1000) /* :runs of a source that is not seen any more */
#define WAKE_TIMEOUT_MS 60000
#define DATA_MAX        (4u << 20)
#define SKEW_TEXT       "600000"

_Static_assert(CRON_SKEW_MS == 600000, "the scripts have it as text");

/* KEYS runs; ARGV hash of the schedule, ms it was made, ms now, ms to keep: from when on. */
static const char script_adopt[] =
    "local h, at = unpack(redis.call('HMGET', KEYS[1], 'h', 'at'))\n"
    "local from = tonumber(ARGV[3])\n"
    "local last = tonumber(at or '')\n"
    "if last and last > from + " SKEW_TEXT " then last = nil end\n"
    "if h == ARGV[1] and last then from = last\n"
    "elseif not h then from = tonumber(ARGV[2])\n"
    "elseif last and last > from then from = last end\n"
    "redis.call('HSET', KEYS[1], 'h', ARGV[1], 'at', string.format('%.0f', from))\n"
    "redis.call('PEXPIRE', KEYS[1], ARGV[4])\n"
    "return string.format('%.0f', from)\n";

/* KEYS runs, events; ARGV ms of the run, ms to keep, e, d (absent: none): 1 written, 0 somebody
 * else has, -1 there is no stream. */
static const char script_fire[] =
    "local at = tonumber(redis.call('HGET', KEYS[1], 'at') or '')\n"
    "local run = tonumber(ARGV[1])\n"
    "if at and at >= run and at < run + " SKEW_TEXT " then return 0 end\n"
    "local id\n"
    "if ARGV[4] then id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', '*', 'e', ARGV[3], 'd', "
    "ARGV[4])\n"
    "else id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', '*', 'e', ARGV[3]) end\n"
    "if not id then return -1 end\n"
    "redis.call('HSET', KEYS[1], 'at', ARGV[1])\n"
    "redis.call('PEXPIRE', KEYS[1], ARGV[2])\n"
    "return 1\n";

struct ping {
    struct worker *worker;
    char *ns;
    char *name;
    char *inner; /* namespace of its outlet */
    char *uid;
    char *events_key;
    char *runs_key;
    char *wake_key;
    struct ping_object object;
    struct cron cron;
    struct zone zone;
    char hash[20]; /* of what its runs depend on */
    bool good;     /* cron and zone are known */
    struct due due;
    bool asking;     /* ADOPT or FIRE is under way */
    bool outdated;   /* what is asked belongs to an older schedule */
    int64_t last_s;  /* run that this worker has seen written; 0: none */
    int64_t woken_s; /* for this run */
    struct send wake;
    bool waking;
    uint64_t wake_until_ms;
    uint64_t fired;
    uint64_t late; /* runs that were made up for */
    struct error trouble;
    unsigned refs;
    bool gone;
};

/* --- the object ---------------------------------------------------------------------------- */

int ping_object_project(void *arg, const json_t *object, void *value, struct error *err)
{
    struct ping_object *o = value;
    struct source_common *c = &o->common;
    const json_t *spec = jpeek_obj(object, "spec");
    struct slice schedule = jpeek_str(spec, "schedule");
    struct slice zone = jpeek_str(spec, "timezone");
    int64_t created_ns = 0;
    source_common_read(object, "v1", "pingsources", c);
    o->timezone = slice_dup(zone.len > 0 ? zone : cron_take_zone(&schedule));
    o->schedule = slice_empty(schedule) ? xstrdup(DEFAULT_SCHEDULE) : slice_dup(schedule);
    o->content_type = jpeek_dup(spec, "contentType");
    o->to_broker = slice_eq_str(jpeek_str(spec, "sink.ref.kind"), "Broker");
    strbuf_init(&o->data, DATA_MAX);
    struct slice data = jpeek_str(spec, "data"), base64 = jpeek_str(spec, "dataBase64");
    o->has_data = data.len > 0 || base64.len > 0;
    if (base64.len > 0) {
        (void)!base64_decode(base64, &o->data, &c->trouble);
    } else {
        strbuf_append_slice(&o->data, data);
    }
    if (clock_parse_rfc3339(jpeek_str(object, "metadata.creationTimestamp"), &created_ns, NULL) <
        0) {
        created_ns = clock_wall_ns();
    }
    o->created_ms = created_ns / (int64_t)CLOCK_NS_PER_MS;
    return 0;
}

void ping_object_release(void *arg, void *value)
{
    struct ping_object *o = value;
    source_common_release(&o->common);
    free(o->schedule);
    free(o->timezone);
    free(o->content_type);
    strbuf_fini(&o->data);
}

/* --- life ---------------------------------------------------------------------------------- */

void *ping_new(struct worker *w, const char *ns, const char *name)
{
    struct ping *p = NEW(struct ping);
    p->worker = w;
    p->ns = xstrdup(ns);
    p->name = xstrdup(name);
    p->inner = xasprintf(PING_NS "%s", ns);
    p->events_key = stream_key(p->inner, name, "events");
    p->runs_key = stream_key(p->inner, name, "runs");
    p->wake_key = stream_key(p->inner, name, "wake");
    due_forget(&p->due);
    p->refs = 1;
    return p;
}

static void ping_unref(struct ping *p)
{
    if (--p->refs > 0) {
        return;
    }
    ping_object_release(NULL, &p->object);
    zone_fini(&p->zone);
    free(p->ns);
    free(p->name);
    free(p->inner);
    free(p->uid);
    free(p->events_key);
    free(p->runs_key);
    free(p->wake_key);
    free(p);
}

static void stop_waking(struct ping *p)
{
    if (p->waking) {
        send_cancel(&p->wake);
        send_fini(&p->wake);
        p->waking = false;
    }
}

/* FNV-1a: two schedules of one source are seldom equal by chance, and little is lost then. */
static void hash_text(uint64_t *h, const char *text)
{
    for (; *text != '\0'; text++) {
        *h = (*h ^ (unsigned char)*text) * UINT64_C(1099511628211);
    }
    *h = (*h ^ 0xff) * UINT64_C(1099511628211);
}

static void use_schedule(struct ping *p)
{
    struct error *why = &p->trouble;
    uint64_t h = UINT64_C(14695981039346656037);
    *why = p->object.common.trouble;
    zone_fini(&p->zone);
    int rc = why->code == ERR_OK ? 0 : -1;
    rc = rc < 0 ? rc : cron_parse(slice_str(p->object.schedule), &p->cron, why);
    rc = rc < 0 ? rc : zone_load(p->object.timezone, &p->zone, why);
    if (rc < 0) {
        LOG_WARN("a PingSource has no times", LOG_STR("namespace", p->ns), LOG_STR("name", p->name),
                 LOG_ERR(why));
    }
    p->good = rc == 0;
    hash_text(&h, p->uid);
    hash_text(&h, p->object.schedule);
    hash_text(&h, p->object.timezone);
    char hash[sizeof(p->hash)];
    snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)h);
    if (strcmp(hash, p->hash) != 0) {
        memcpy(p->hash, hash, sizeof(hash));
        due_forget(&p->due);
        p->outdated = p->asking;
        p->woken_s = 0;
    }
}

void ping_use(void *one, const char *uid, void *value)
{
    struct ping *p = one;
    struct ping_object *object = value;
    stop_waking(p); /* it names the old sink */
    ping_object_release(NULL, &p->object);
    p->object = *object;
    *object = (struct ping_object){0};
    free(p->uid);
    p->uid = xstrdup(uid);
    use_schedule(p);
    outlet_use(
        p->worker,
        &(struct outlet){.ns = p->inner, .name = p->name, .uid = uid, .common = &p->object.common});
}

void ping_drop(void *one)
{
    struct ping *p = one;
    const struct slice args[] = {SLICE_LIT("UNLINK"), slice_str(p->runs_key),
                                 slice_str(p->wake_key)};
    outlet_drop(p->worker, p->inner, p->name);
    (void)!redis_conn_send(p->worker->db, args, ARRAY_LEN(args), NULL, NULL, NULL);
}

void ping_free(void *one)
{
    struct ping *p = one;
    stop_waking(p);
    p->gone = true;
    ping_unref(p);
}

static char *shown_time(int64_t s, char *buf, size_t size)
{
    buf[0] = '\0';
    return s <= 0 || s == INT64_MAX
               ? buf
               : clock_format_rfc3339(s * (int64_t)CLOCK_NS_PER_S, 0, buf, size);
}

json_t *ping_state(const void *one)
{
    const struct ping *p = one;
    char next[CLOCK_RFC3339_MAX], last[CLOCK_RFC3339_MAX];
    const char *why = p->trouble.code != ERR_OK       ? p->trouble.msg
                      : p->object.common.sink == NULL ? "the sink is not known"
                      : !p->due.known                 ? "not looked at yet"
                                                      : "";
    return json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:o}", "namespace", p->ns, "name", p->name, "next",
                     shown_time(p->due.next_s, next, sizeof(next)), "last",
                     shown_time(p->last_s, last, sizeof(last)), "fired", (json_int_t)p->fired,
                     "late", (json_int_t)p->late, "trouble", jstring_lossy(slice_str(why)));
}

/* --- times --------------------------------------------------------------------------------- */

static struct due_rules rules_of(const struct ping *p)
{
    return (struct due_rules){.cron = &p->cron,
                              .zone = &p->zone,
                              .grace_s = (int64_t)(p->worker->config->missed_runs_ms / 1000)};
}

static int64_t keep_ms(const struct ping *p)
{
    int64_t twice = 2 * (int64_t)p->worker->config->missed_runs_ms;
    return twice > KEEP_MS ? twice : KEEP_MS;
}

/* --- Redis --------------------------------------------------------------------------------- */

/* False: nobody wants the answer any more. */
static bool answered(struct ping *p)
{
    bool wanted = !p->gone && !p->outdated && !p->worker->stopping;
    p->asking = false;
    p->outdated = false;
    return wanted;
}

static void on_adopted(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct ping *p = arg;
    int64_t from_ms = 0;
    if (answered(p) && err == NULL &&
        num_parse_i64(redis_reply_text(reply), INT64_MIN, INT64_MAX, &from_ms, NULL) == 0) {
        struct due_rules rules = rules_of(p);
        due_from(&p->due, &rules, from_ms, clock_wall_ns() / (int64_t)CLOCK_NS_PER_S);
    }
    ping_unref(p);
}

static void ask(struct ping *p, const struct slice *args, size_t n, redis_conn_cb cb)
{
    struct error err = {0};
    p->refs++;
    p->asking = true;
    if (redis_conn_send(p->worker->db, args, n, cb, p, &err) < 0) {
        p->asking = false; /* the next tick asks again */
        ping_unref(p);
    }
}

static void adopt(struct ping *p, int64_t now_ms)
{
    char created[24], now[24], keep[24];
    snprintf(created, sizeof(created), "%lld", (long long)p->object.created_ms);
    snprintf(now, sizeof(now), "%lld", (long long)now_ms);
    snprintf(keep, sizeof(keep), "%lld", (long long)keep_ms(p));
    const struct slice args[] = {
        SLICE_LIT("EVAL"),  slice_str(script_adopt), SLICE_LIT("1"), slice_str(p->runs_key),
        slice_str(p->hash), slice_str(created),      slice_str(now), slice_str(keep),
    };
    ask(p, args, ARRAY_LEN(args), on_adopted);
}

static void on_fired(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct ping *p = arg;
    int64_t n = redis_reply_int(reply, -1);
    int64_t now_s = clock_wall_ns() / (int64_t)CLOCK_NS_PER_S;
    if (!answered(p) || err != NULL || n < 0) {
        ping_unref(p); /* it stays due */
        return;
    }
    int64_t run_s = p->due.next_s;
    struct due_rules rules = rules_of(p);
    p->last_s = run_s;
    p->fired += n > 0;
    p->late += n > 0 && now_s - run_s > 2;
    due_done(&p->due, &rules, now_s);
    struct broker *b = NULL;
    CLEANUP(cleanup_free) char *path = xasprintf("%s/%s", p->inner, p->name);
    b = worker_broker(p->worker, slice_str(path));
    if (n > 0 && b != NULL) {
        b->reading.more = true;
        b->accepted++;
        broker_dispatch(b);
    }
    ping_unref(p);
}

static int make_event(const struct ping *p, int64_t run_s, struct event *ev, struct error *err)
{
    const struct ping_object *o = &p->object;
    char time[CLOCK_RFC3339_MAX], id[128];
    clock_format_rfc3339(run_s * (int64_t)CLOCK_NS_PER_S, 0, time, sizeof(time));
    snprintf(id, sizeof(id), "%.80s-%lld", p->uid, (long long)run_s);
    int rc = event_set(ev, SLICE_LIT("specversion"), SLICE_LIT("1.0"), err);
    rc = rc < 0 ? rc : event_set(ev, SLICE_LIT("id"), slice_str(id), err);
    rc = rc < 0 ? rc : event_set(ev, SLICE_LIT("source"), slice_str(o->common.source), err);
    rc = rc < 0 ? rc : event_set(ev, SLICE_LIT("type"), SLICE_LIT(PING_EVENT_TYPE), err);
    rc = rc < 0 ? rc : event_set(ev, SLICE_LIT("time"), slice_str(time), err);
    if (rc == 0 && o->has_data && o->content_type != NULL) {
        rc = event_set(ev, SLICE_LIT("datacontenttype"), slice_str(o->content_type), err);
    }
    if (rc == 0 && o->has_data) {
        ev->data = strbuf_slice(&o->data);
    }
    return rc < 0 ? rc : source_finish_event(&o->common, ev, err);
}

/* The run that next_s says. */
static void fire(struct ping *p)
{
    struct strbuf *packed = &p->worker->packed;
    char run[24], keep[24];
    struct event ev;
    event_init(&ev);
    int rc = make_event(p, p->due.next_s, &ev, &p->trouble);
    strbuf_clear(packed);
    if (rc == 0) {
        event_pack(&ev, packed);
        snprintf(run, sizeof(run), "%lld", (long long)p->due.next_s * 1000);
        snprintf(keep, sizeof(keep), "%lld", (long long)keep_ms(p));
        const struct slice args[] = {
            SLICE_LIT("EVAL"),      slice_str(script_fire),   SLICE_LIT("2"),
            slice_str(p->runs_key), slice_str(p->events_key), slice_str(run),
            slice_str(keep),        strbuf_slice(packed),     ev.data,
        };
        ask(p, args, ARRAY_LEN(args) - (ev.data.ptr == NULL), on_fired);
    } else {
        LOG_WARN("a PingSource's event cannot be made", LOG_STR("namespace", p->ns),
                 LOG_STR("name", p->name), LOG_ERR(&p->trouble));
        struct due_rules rules = rules_of(p);
        due_done(&p->due, &rules, p->due.next_s);
    }
    strbuf_clear(packed);
    event_fini(&ev);
}

/* --- the function is woken ----------------------------------------------------------------- */

static void on_woken(struct send *s, const struct send_answer *a)
{
    struct ping *p = CONTAINER_OF(s, struct ping, wake);
    if (a->status < 200 || a->status > 299) {
        LOG_WARN("a function was not woken ahead of its time", LOG_STR("source", p->name),
                 LOG_INT("status", a->status), LOG_STR("error", a->err == NULL ? "" : a->err->msg));
    }
    p->waking = false;
    send_fini(s);
}

static void on_wake_claimed(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct ping *p = arg;
    struct error why = {0};
    struct send_message message = {.ns = p->ns, .wake = true};
    bool mine = err == NULL && slice_eq_str(redis_reply_text(reply), "OK");
    const char *sink = p->object.common.sink;
    if (mine && !p->gone && !p->worker->stopping && !p->waking && sink != NULL &&
        target_parse(slice_str(sink), &message.target, &why) == 0) {
        p->waking = true;
        p->wake_until_ms = loop_now_ms(p->worker->loop) + WAKE_TIMEOUT_MS;
        if (send_start(&p->worker->sender, &p->wake, &message, on_woken, &why) < 0) {
            LOG_WARN("a function was not woken ahead of its time", LOG_STR("source", p->name),
                     LOG_ERR(&why));
            send_fini(&p->wake);
            p->waking = false;
        }
    }
    ping_unref(p);
}

static bool is_function(const struct ping *p)
{
    struct target target;
    return !p->object.to_broker && p->object.common.sink != NULL &&
           target_parse(slice_str(p->object.common.sink), &target, NULL) == 0 && target.local;
}

/* Before the run at next_s: who sets the key first wakes. */
static void wake(struct ping *p)
{
    char ms[24];
    uint64_t ahead_ms = p->worker->config->wake_ahead_ms;
    p->woken_s = p->due.next_s;
    if (!is_function(p)) {
        return;
    }
    snprintf(ms, sizeof(ms), "%llu", (unsigned long long)ahead_ms);
    const struct slice args[] = {SLICE_LIT("SET"), slice_str(p->wake_key), SLICE_LIT("1"),
                                 SLICE_LIT("NX"),  SLICE_LIT("PX"),        slice_str(ms)};
    p->refs++;
    if (redis_conn_send(p->worker->db, args, ARRAY_LEN(args), on_wake_claimed, p, NULL) < 0) {
        ping_unref(p);
    }
}

/* --- the tick ------------------------------------------------------------------------------ */

static bool is_soon(const struct ping *p, int64_t now_ms)
{
    int64_t ahead_ms = (int64_t)p->worker->config->wake_ahead_ms;
    return ahead_ms > 0 && p->due.next_s != INT64_MAX && p->due.next_s * 1000 - now_ms <= ahead_ms;
}

void ping_tick(void *one, uint64_t loop_ms, size_t crowd)
{
    struct ping *p = one;
    struct worker *w = p->worker;
    int64_t now_ms = clock_wall_ns() / (int64_t)CLOCK_NS_PER_MS;
    int64_t now_s = now_ms / 1000;
    struct due_rules rules = rules_of(p);
    if (p->waking && loop_ms > p->wake_until_ms) {
        stop_waking(p);
    }
    if (due_clock(&p->due, now_ms, p->asking)) {
        p->woken_s = 0;
    }
    if (!p->good || p->asking || w->stopping || !w->synced || !redis_conn_is_up(w->db)) {
        return;
    }
    if (!p->due.known) {
        adopt(p, now_ms);
    } else if (p->object.common.sink == NULL) {
        return;
    } else if (due_now(&p->due, &rules, now_s)) {
        fire(p);
    } else if (is_soon(p, now_ms) && p->woken_s != p->due.next_s) {
        wake(p);
    }
}
