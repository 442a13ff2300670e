// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. A round every 250 ms: Redis is asked for the lengths that may have changed, of Triggers
 * whose function scales by them (others are known from upkeep.c, a second late); with the last
 * answer the numbers are added up per Revision and sent if they differ, or once a second.
 * Failure modes: a lost answer leaves the number as it was; Redis or the API away: no round; an
 * autoscaler that is away loses reports by itself.
 */
#include "broker/backlog.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "loop/closer.h"
#include "kube/part_pods.h"
#include "serving/backlog_report.h"
#include "broker/async.h"
#include "broker/capacity.h"
#include "broker/model.h"
#include "link/group.h"

#define ROUND_MS     250
#define LATELY_MS    5000
#define REPEAT_MS    1000
#define PART_BYTES   (LINK_PAYLOAD_MAX - 8192)
#define REPORT_BYTES ((size_t)BACKLOG_PARTS_MAX * PART_BYTES)
#define KEY_MAX      256

struct backlog {
    struct worker *worker;
    struct timer timer;
    struct link_group links;
    struct closer closer;
    struct part_pods pods; /* on Kubernetes: of the autoscalers */
    bool pods_started;
    bool unknown;                   /* a number that this round needs was never told */
    unsigned asked;                 /* lengths that have not been answered yet */
    struct map sums;                /* "NS/SERVICE[/REVISION]" -> number + 1; of this round */
    struct strbuf report;           /* entries of this round */
    struct strbuf told;             /* … and of the last report */
    size_t cuts[BACKLOG_PARTS_MAX]; /* where parts of report end */
    size_t n_cuts;
    uint64_t told_ms;
    uint64_t seq;
    uint64_t reports;
};

/* --- links ---------------------------------------------------------------------------------- */

static void on_up(struct link_client *client, void *data)
{
    struct link_member *link = data;
    struct backlog *b = link->group->data;
    LOG_INFO("connected to an autoscaler", LOG_STR("autoscaler", link->address));
    b->told_ms = 0; /* it is told with the next round */
}

static void on_frame(struct link_client *client, uint8_t type, struct slice payload, void *data)
{
    /* It has nothing to tell us; NOTEs are for activators. */
}

static void on_down(struct link_client *client, const struct error *why, void *data)
{
    struct link_member *link = data;
    if (list_linked(&link->node)) {
        LOG_WARN("an autoscaler is away: it does not know how many events wait",
                 LOG_STR("autoscaler", link->address), LOG_ERR(why));
    }
}

static void on_pod(void *arg, const char *address)
{
    struct backlog *b = arg;
    struct error err;
    if (link_group_add(&b->links, address, &err) < 0) {
        LOG_ERROR("an autoscaler is not told", LOG_ERR(&err));
    }
}

static void on_pod_gone(void *arg, const char *address)
{
    link_group_remove(&((struct backlog *)arg)->links, address);
}

bool backlog_connected(const struct backlog *b)
{
    return b != NULL && link_group_connected(&b->links);
}

uint64_t backlog_reports(const struct backlog *b)
{
    return b == NULL ? 0 : b->reports;
}

/* --- the report ----------------------------------------------------------------------------- */

static void send_part(struct backlog *b, struct slice payload)
{
    list_foreach (node, &b->links.members) {
        const struct link_member *link = LIST_ENTRY(node, struct link_member, node);
        struct error err;
        if (link_client_is_up(link->client) &&
            link_client_send(link->client, BACKLOG_FRAME, payload, &err) < 0) {
            LOG_DEBUG("a report was dropped", LOG_STR("autoscaler", link->address), LOG_ERR(&err));
        }
    }
}

static void send_report(struct backlog *b)
{
    CLEANUP(strbuf_fini) struct strbuf payload;
    strbuf_init(&payload, LINK_PAYLOAD_MAX);
    b->cuts[b->n_cuts++] = b->report.len;
    b->seq++;
    size_t from = 0;
    for (size_t i = 0; i < b->n_cuts; i++) {
        struct backlog_part part = {.seq = b->seq,
                                    .part = (uint16_t)i,
                                    .parts = (uint16_t)b->n_cuts,
                                    .worker = slice_str(b->worker->name)};
        strbuf_clear(&payload);
        backlog_part_write(&payload, &part);
        strbuf_append_slice(&payload, slice_sub(strbuf_slice(&b->report), from, b->cuts[i] - from));
        send_part(b, strbuf_slice(&payload));
        from = b->cuts[i];
    }
    b->reports++;
}

static void write_entries(struct backlog *b)
{
    strbuf_clear(&b->report);
    b->n_cuts = 0;
    map_foreach (it, &b->sums) {
        size_t begun = b->n_cuts > 0 ? b->cuts[b->n_cuts - 1] : 0;
        if (b->report.len - begun > PART_BYTES && b->n_cuts + 1 < BACKLOG_PARTS_MAX) {
            b->cuts[b->n_cuts++] = b->report.len;
        }
        ptrdiff_t slash = slice_find(it.key, '/');
        struct backlog_entry entry = {
            .ns = slice_sub(it.key, 0, (size_t)slash),
            .name = slice_sub(it.key, (size_t)slash + 1, it.key.len),
            .waiting = (uint64_t)(uintptr_t)it.value - 1,
        };
        backlog_entry_write(&b->report, &entry);
    }
}

static void add_to(struct backlog *b, struct slice key, uint64_t waiting)
{
    uintptr_t before = (uintptr_t)map_get(&b->sums, key);
    map_set(&b->sums, key, (void *)(before + (before == 0 ? 1 : 0) + (uintptr_t)waiting));
}

void backlog_add(struct backlog *b, struct slice ns, struct slice name, uint64_t waiting)
{
    struct capacity_revision revisions[ROUTES_REVISIONS_MAX];
    char buf[KEY_MAX];
    if (waiting == 0) {
        return;
    }
    size_t n = capacity_routed(b->worker, ns, name, revisions);
    for (size_t i = 0; i < n; i++) {
        const struct capacity_revision *r = &revisions[i];
        int len = snprintf(buf, sizeof(buf), "%.*s/%s", SLICE_FMT(r->service), r->name);
        if (len > 0 && (size_t)len < sizeof(buf)) {
            add_to(b, slice_of(buf, (size_t)len), waiting);
        }
    }
    int len = snprintf(buf, sizeof(buf), "%.*s/%.*s", SLICE_FMT(ns), SLICE_FMT(name));
    if (n == 0 && len > 0 && (size_t)len < sizeof(buf)) {
        add_to(b, slice_of(buf, (size_t)len), waiting);
    }
}

static void add_triggers(struct backlog *b)
{
    map_foreach (it, &b->worker->triggers) {
        const struct trigger *t = it.value;
        struct slice ns;
        struct slice name;
        bool delivers = t->ready && t->broker->known;
        b->unknown = b->unknown || (delivers && !t->counted);
        if (delivers && t->backlog > 0 && capacity_service(&t->target, &ns, &name)) {
            backlog_add(b, ns, name, (uint64_t)t->backlog);
        }
    }
}

static void add_calls(struct backlog *b)
{
    map_foreach (it, &b->worker->async->functions) {
        const struct async_function *fn = it.value;
        backlog_add(b, slice_str(fn->ns), slice_str(fn->name), fn->due + fn->running);
    }
}

/* Whoever has events, or calls, that wait for a Service. */
static void (*const sources[])(struct backlog *b) = {add_triggers, add_calls};

static void report(struct backlog *b)
{
    uint64_t now_ms = loop_now_ms(b->worker->loop);
    map_clear(&b->sums);
    b->unknown = false;
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        sources[i](b);
    }
    if (b->unknown) {
        return;
    }
    write_entries(b);
    bool same = slice_eq(strbuf_slice(&b->report), strbuf_slice(&b->told));
    if (same && b->told_ms > 0 && now_ms < b->told_ms + REPEAT_MS) {
        return;
    }
    send_report(b);
    b->told_ms = now_ms;
    strbuf_clear(&b->told);
    strbuf_append_slice(&b->told, strbuf_slice(&b->report));
}

/* --- the round ------------------------------------------------------------------------------ */

/* The last answer of this round makes the report. */
static void answered(struct worker *w)
{
    if (w->backlog != NULL && --w->backlog->asked == 0 && !w->stopping && redis_conn_is_up(w->db)) {
        report(w->backlog);
    }
}

static void on_length(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct trigger *t = arg;
    struct worker *w = t->worker;
    t->backlog = redis_reply_int(reply, t->backlog);
    t->counted = t->counted || err == NULL;
    trigger_unref(t);
    answered(w);
}

static void on_due(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct async_function *fn = arg;
    fn->due = (uint64_t)redis_reply_int(reply, (int64_t)fn->due);
    answered(fn->async->worker);
}

static void on_running(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct async_function *fn = arg;
    fn->running = (uint64_t)redis_reply_int(reply, (int64_t)fn->running);
    answered(fn->async->worker);
}

static void ask(struct backlog *b, const struct slice *args, size_t n, redis_conn_cb cb, void *arg)
{
    struct error err;
    b->asked += redis_conn_send(b->worker->db, args, n, cb, arg, &err) == 0 ? 1 : 0;
}

static void count_calls(struct worker *w)
{
    map_foreach (it, &w->async->functions) {
        const struct async_function *fn = it.value;
        if (fn->waiting + fn->running > 0) {
            capacity_count_calls(w, slice_str(fn->ns), slice_str(fn->name));
        }
    }
}

/* Calls of functions whose replicas follow them, as long as there may be some. */
static void ask_calls(struct backlog *b)
{
    struct worker *w = b->worker;
    uint64_t now_ms = loop_now_ms(w->loop);
    char now[24];
    snprintf(now, sizeof(now), "%lld", (long long)(clock_wall_ns() / (int64_t)CLOCK_NS_PER_MS));
    map_foreach (it, &w->async->functions) {
        struct async_function *fn = it.value;
        bool some =
            fn->waiting + fn->running > 0 || (fn->used_ms > 0 && now_ms < fn->used_ms + LATELY_MS);
        if (some && capacity_by_backlog(w, slice_str(fn->ns), slice_str(fn->name))) {
            const struct slice due[] = {SLICE_LIT("ZCOUNT"), slice_str(fn->waiting_key),
                                        SLICE_LIT("-inf"), slice_str(now)};
            const struct slice made[] = {SLICE_LIT("ZCARD"), slice_str(fn->running_key)};
            ask(b, due, ARRAY_LEN(due), on_due, fn);
            ask(b, made, ARRAY_LEN(made), on_running, fn);
        }
    }
}

static void ask_length(struct backlog *b, struct trigger *t)
{
    struct error err;
    const struct slice args[] = {SLICE_LIT("XLEN"), slice_str(t->key)};
    if (redis_conn_send(b->worker->db, args, ARRAY_LEN(args), on_length, t, &err) == 0) {
        trigger_ref(t);
        b->asked++;
    }
}

static bool is_busy(const struct trigger *t)
{
    return t->n_deliveries > 0 || t->backlog > 0;
}

static void on_round(struct timer *timer)
{
    struct backlog *b = timer->data;
    struct worker *w = b->worker;
    if (!w->synced || w->stopping || !redis_conn_is_up(w->db) || b->asked > 0) {
        return;
    }
    bool connected = backlog_connected(b);
    capacity_count_begin(w);
    map_foreach (it, &w->triggers) {
        struct trigger *t = it.value;
        if (!t->ready || !t->broker->known) {
            continue;
        }
        if (is_busy(t)) {
            capacity_count(w, t);
        }
        struct slice ns;
        struct slice name;
        bool follows = is_busy(t) && capacity_service(&t->target, &ns, &name) &&
                       capacity_by_backlog(w, ns, name);
        if (connected && (follows || !t->counted)) {
            ask_length(b, t);
        }
    }
    count_calls(w);
    if (connected) {
        ask_calls(b);
    }
    if (connected && b->asked == 0) {
        report(b);
    }
}

/* --- life ----------------------------------------------------------------------------------- */

static int start_pods(struct backlog *b, uint16_t port, struct error *err)
{
    struct part_pods_options options = {.app = "lull-autoscaler",
                                        .ns = b->worker->config->system_namespace,
                                        .port = port,
                                        .on_add = on_pod,
                                        .on_remove = on_pod_gone,
                                        .arg = b};
    b->pods_started = true;
    closer_hold(&b->closer);
    return part_pods_start(&b->pods, b->worker->client, &options, err);
}

int backlog_start(struct worker *w, struct error *err)
{
    static const struct link_client_events events = {
        .on_up = on_up, .on_frame = on_frame, .on_down = on_down};
    const struct config *c = w->config;
    struct backlog *b = NEW(struct backlog);
    struct link_group_options options = {
        .secret_file = c->install_secret_file, .events = &events, .data = b};
    w->backlog = b;
    b->worker = w;
    closer_init(&b->closer);
    map_init(&b->sums, MAP_COPY_KEYS);
    strbuf_init(&b->report, REPORT_BYTES);
    strbuf_init(&b->told, REPORT_BYTES);
    timer_init(&b->timer, w->loop, on_round, b);
    closer_hold(&b->closer);
    timer_start_every(&b->timer, ROUND_MS);
    closer_hold(&b->closer);
    int rc = link_group_init(&b->links, w->loop, &options, err);
    if (rc < 0 || c->autoscaler == NULL || c->autoscaler[0] == '\0') {
        return rc;
    }
    uint16_t port = link_group_pods_port(c->autoscaler);
    rc = link_group_add_named(&b->links, c->autoscaler, err);
    return rc < 0 || port == 0 ? rc : start_pods(b, port, err);
}

static void on_timer_closed(struct timer *timer)
{
    closer_drop(&((struct backlog *)timer->data)->closer);
}

static void on_links_closed(void *arg)
{
    closer_drop(&((struct backlog *)arg)->closer);
}

static void on_closed(void *arg)
{
    struct backlog *b = arg;
    b->worker->backlog = NULL;
    map_fini(&b->sums);
    strbuf_fini(&b->report);
    strbuf_fini(&b->told);
    free(b);
}

static void on_pods_closed(void *arg)
{
    closer_drop(&((struct backlog *)arg)->closer);
}

void backlog_close(struct worker *w)
{
    struct backlog *b = w->backlog;
    if (b == NULL || b->closer.closing) {
        return;
    }
    timer_close(&b->timer, on_timer_closed);
    link_group_close(&b->links, on_links_closed, b);
    if (b->pods_started) {
        part_pods_close(&b->pods, on_pods_closed, b);
    }
    closer_close(&b->closer, w->loop, on_closed, b);
}
