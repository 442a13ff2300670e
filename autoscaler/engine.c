// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Eight slots of a quarter second make up the two seconds between regular decisions, so that
 * many revisions do not all fall due at once. A poke, a first stat of an idle revision, a replica
 * that becomes ready, changed settings: decided at once.
 * Failure modes: before the first lists are in, pokes are remembered and answered then. A lost API
 * leaves caches as they were and writes are retried (scaler.c).
 */
#include "autoscaler/engine.h"

#include <math.h>

#include "base/clock.h"
#include "base/mem.h"
#include "autoscaler/status.h"

#define NOTE_BYTES_MAX 4096
/* Idle times that were learned are written down with the next change, or so often. */
#define LEARNED_MS 60000u

static void on_timer(struct timer *timer);

/* --- revisions ----------------------------------------------------------------------------- */

struct revision *engine_find(const struct engine *e, struct slice ns, struct slice name)
{
    char key[STAT_NAMESPACE_MAX + STAT_NAME_MAX + 2];
    if (ns.len > STAT_NAMESPACE_MAX || name.len > STAT_NAME_MAX) {
        return NULL;
    }
    memcpy(key, ns.ptr, ns.len);
    key[ns.len] = '/';
    memcpy(key + ns.len + 1, name.ptr, name.len);
    return map_get(&e->revisions, slice_of(key, ns.len + 1 + name.len));
}

struct revision *engine_make(struct engine *e, const char *ns, const char *name)
{
    struct revision *rev = engine_find(e, slice_str(ns), slice_str(name));
    if (rev == NULL) {
        rev = revision_new(ns, name);
        map_set(&e->revisions, slice_str(rev->key), rev);
    }
    engine_wake(e, rev);
    return rev;
}

void engine_wake(struct engine *e, struct revision *rev)
{
    revision_wake(rev, &e->reports);
    if (!list_linked(&rev->slot_link)) {
        list_push_back(&e->slots[e->next_slot], &rev->slot_link);
        e->next_slot = (e->next_slot + 1) % ENGINE_SLOTS;
    }
}

void engine_release(struct engine *e, struct revision *rev)
{
    if (!revision_unused(rev) || rev->patch != NULL || rev->status_patch != NULL ||
        rev->scrape != NULL) {
        return;
    }
    map_remove(&e->revisions, slice_str(rev->key));
    revision_free(rev);
}

/* --- decisions ----------------------------------------------------------------------------- */

void engine_note(struct engine *e, const struct revision *rev, const char *phase,
                 const char *message)
{
    if (e->options.on_note == NULL) {
        return;
    }
    CLEANUP(strbuf_fini) struct strbuf note;
    strbuf_init(&note, NOTE_BYTES_MAX);
    struct error err;
    if (status_note_json(rev, phase, message, &note, &err) == 0) {
        e->options.on_note(e->options.arg, strbuf_slice(&note));
    }
}

/* Replicas that cannot come up: whoever holds requests for them must know. */
static void tell_trouble(struct engine *e, struct revision *rev)
{
    bool failing;
    const char *trouble = revision_trouble(rev, &failing);
    if (rev->state.active != PLAN_ACTIVATING || !failing) {
        rev->said_failed = rev->said_failed && rev->state.active == PLAN_ACTIVATING;
        return;
    }
    if (!rev->said_failed) {
        rev->said_failed = true;
        engine_note(e, rev, "failed", trouble);
    }
}

/* What waits for it as events, now. */
static void read_backlog(const struct engine *e, struct revision *rev, uint64_t now_ms)
{
    bool counts = list_linked(&rev->backlog_link) && rev->reachable;
    bool known = !counts || backlogs_known(&e->backlogs, now_ms);
    rev->backlog = counts ? backlogs_waiting(&e->backlogs, slice_str(rev->ns),
                                             slice_str(rev->service), slice_str(rev->name), now_ms)
                          : 0;
    rev->backlog_until_ms = known ? 0 : backlogs_freeze_until(&e->backlogs);
}

void engine_evaluate(struct engine *e, struct revision *rev, enum engine_reason reason)
{
    uint64_t now_ms = loop_now_ms(e->loop);
    if (reason == ENGINE_HELD) {
        rev->held = true;
    }
    if (!e->started || e->closing || !rev->has_pa || !rev->spec.kpa) {
        return;
    }
    reports_check(&e->reports, now_ms); /* a clock that jumped is seen before it counts */
    read_backlog(e, rev, now_ms);
    engine_wake(e, rev);
    if (!rev->started) {
        revision_start(rev, now_ms);
    }
    bool held = rev->held;
    rev->held = false;
    bool decide = held || reason == ENGINE_REGULAR || reason == ENGINE_STARTED ||
                  reason == ENGINE_BACKLOG || !rev->last.valid;
    /* A scale that somebody else wrote is newer than our last decision, which does not take it
     * back: the next one may. So two leaders do not undo each other's steps. */
    rev->foreign = rev->foreign && !decide;
    struct plan_state before = rev->state;
    int32_t want_before = rev->want;
    struct plan plan = decide ? revision_decide(rev, &e->reports, held, now_ms)
                              : revision_replan(rev, &e->reports, held, now_ms);
    e->counters.decisions += decide && !e->standby ? 1 : 0;
    if (before.active != rev->state.active) {
        rev->active_wall_ns = (uint64_t)clock_wall_ns();
    }
    if (!before.initialized && rev->state.initialized) {
        rev->initialized_wall_ns = (uint64_t)clock_wall_ns();
    }
    if (e->standby) {
        return; /* it knows panic mode, delays and the way to zero when it takes over */
    }
    if (plan.write && !rev->foreign) {
        scaler_set(e, rev, &plan);
        if (held) {
            engine_note(e, rev, "decided", "");
        }
    } else if (plan.want >= 0 && plan.want == rev->replicas) {
        rev->goal = plan.want;
    }
    tell_trouble(e, rev);
    bool reached = !before.initialized && rev->state.initialized;
    bool moved = before.active != rev->state.active || want_before != rev->want;
    bool known = rev->status_known && rev->known_actual == rev->ready;
    bool learned = rev->idle != NULL && rev->idle->saved != rev->idle->revised &&
                   now_ms - rev->status_written_ms >= LEARNED_MS;
    if (reached || moved || learned || reason == ENGINE_CHANGED ||
        (rev->status_sum == 0 && !known)) {
        status_mark(e, rev, reached);
    }
}

/* Far more is in flight than the replicas that are there or on their way are meant to take. */
static bool is_burst(const struct revision *rev, double concurrency)
{
    int32_t coming = rev->goal > rev->replicas ? rev->goal : rev->replicas;
    double room = (double)(coming > 1 ? coming : 1) * rev->spec.target;
    return rev->spec.metric != SCALING_RPS && concurrency >= room * rev->spec.panic_threshold;
}

void engine_stat(struct engine *e, const struct stat_message *message,
                 const struct reporter *reporter)
{
    struct revision *rev = engine_find(e, message->namespace_name, message->name);
    if (rev == NULL || !rev->has_pa) {
        e->counters.stats_dropped++;
        return;
    }
    const struct stat_sample *s = &message->sample;
    e->counters.stats++;
    engine_wake(e, rev);
    unsigned missed = reporter->missed;
    double rps = (s->request_count - s->proxied_request_count) / (double)(missed + 1);
    revision_record(rev, reporter->at_ms, missed, s->concurrency - s->proxied_concurrency, rps);
    if (e->options.traffic != NULL) {
        double busy_ms = (s->concurrency - s->proxied_concurrency) * 1000 * (missed + 1);
        traffic_log_add(e->options.traffic, clock_wall_ns(), rev->key,
                        s->request_count - s->proxied_request_count, busy_ms);
    }
    if (s->concurrency > 0 && rev->replicas == 0 && rev->goal <= 0) {
        revision_poked(rev, 1, loop_now_ms(e->loop));
        engine_evaluate(e, rev, ENGINE_HELD);
    } else if (is_burst(rev, s->concurrency) &&
               loop_now_ms(e->loop) >= rev->burst_ms + ENGINE_BURST_MS) {
        rev->burst_ms = loop_now_ms(e->loop);
        engine_evaluate(e, rev, ENGINE_REGULAR);
    }
}

void engine_poke(struct engine *e, const struct stat_message *message,
                 const struct reporter *reporter)
{
    struct revision *rev = engine_find(e, message->namespace_name, message->name);
    e->counters.pokes++;
    if (rev == NULL || !rev->has_pa) {
        e->counters.stats_dropped++;
        return;
    }
    revision_poked(rev, message->sample.concurrency, loop_now_ms(e->loop));
    engine_evaluate(e, rev, ENGINE_HELD);
}

/* --- events ------------------------------------------------------------------------------- */

void engine_follow_backlog(struct engine *e, struct revision *rev)
{
    bool counts = rev->has_pa && rev->service != NULL && rev->spec.metric == SCALING_BACKLOG;
    if (counts && !list_linked(&rev->backlog_link)) {
        list_push_back(&e->backlog_revisions, &rev->backlog_link);
    } else if (!counts) {
        list_remove(&rev->backlog_link);
    }
}

/* More wait than those that are there or on their way are meant for. */
static bool wants_more(const struct revision *rev)
{
    int32_t coming = rev->goal > rev->replicas ? rev->goal : rev->replicas;
    double wanted = ceil(rev->backlog / rev->spec.backlog_target);
    bool bound = rev->spec.max_scale > 0 && coming >= rev->spec.max_scale;
    return rev->backlog > 0 && wanted > (double)coming && !bound;
}

int engine_backlog(struct engine *e, struct slice payload, struct error *err)
{
    uint64_t now_ms = loop_now_ms(e->loop);
    int rc = backlogs_take(&e->backlogs, payload, now_ms, err);
    if (rc <= 0) {
        return rc;
    }
    list_foreach_safe (node, &e->backlog_revisions) {
        struct revision *rev = LIST_ENTRY(node, struct revision, backlog_link);
        read_backlog(e, rev, now_ms);
        if (wants_more(rev)) {
            engine_evaluate(e, rev, ENGINE_BACKLOG);
        }
    }
    return 0;
}

/* --- time ---------------------------------------------------------------------------------- */

static bool is_synced(const struct kube_cache *cache)
{
    return cache != NULL && kube_cache_synced(cache);
}

/* For the first time, or for the first time as a leader. What the leader before us was poked for in
 * its last moments may not have been written. */
static void look_at_all(struct engine *e)
{
    uint64_t now_ms = loop_now_ms(e->loop);
    map_foreach (it, &e->revisions) {
        struct revision *rev = it.value;
        bool held = rev->held_ms > 0 && now_ms - rev->held_ms < REVISION_CROWD_MS;
        if (rev->has_pa) {
            engine_evaluate(e, rev, held ? ENGINE_HELD : ENGINE_STARTED);
        }
    }
}

/* What was to be written is the next leader's. */
static void stand_by(struct engine *e)
{
    list_foreach_safe (node, &e->retrying) {
        list_remove(node);
    }
    list_foreach_safe (node, &e->scale_waiting) {
        list_remove(node);
    }
    list_foreach_safe (node, &e->status_due) {
        list_remove(node);
    }
    map_foreach (it, &e->revisions) {
        struct revision *rev = it.value;
        rev->goal = -1;
        rev->status_sum = 0;
    }
}

void engine_lead(struct engine *e, bool leads)
{
    if (e->standby == !leads || e->closing) {
        return;
    }
    e->standby = !leads;
    if (!leads) {
        stand_by(e);
    } else if (e->started) {
        look_at_all(e);
    }
}

void engine_begin_when_synced(struct engine *e)
{
    if (e->started || e->closing || !is_synced(e->pas) || !is_synced(e->deployments) ||
        !is_synced(e->pods) || !is_synced(e->config_maps)) {
        return;
    }
    e->started = true;
    /* What was reported of revisions that we did not know was dropped. */
    reports_restart(&e->reports, loop_now_ms(e->loop));
    backlogs_begin(&e->backlogs, loop_now_ms(e->loop));
    look_at_all(e);
    LOG_INFO("ready to decide", LOG_UINT("revisions", map_len(&e->revisions)));
    if (e->options.on_ready != NULL) {
        e->options.on_ready(e->options.arg);
    }
}

static void run_tick(struct engine *e)
{
    uint64_t now_ms = loop_now_ms(e->loop);
    reports_check(&e->reports, now_ms);
    if (e->options.traffic != NULL) {
        traffic_log_flush(e->options.traffic, now_ms);
    }
    if (!e->started) {
        return;
    }
    e->slot = (e->slot + 1) % ENGINE_SLOTS;
    list_foreach_safe (node, &e->slots[e->slot]) {
        struct revision *rev = LIST_ENTRY(node, struct revision, slot_link);
        rev->regular_ms = now_ms;
        engine_evaluate(e, rev, ENGINE_REGULAR);
        if (revision_at_rest(rev, &e->reports)) {
            list_remove(&rev->slot_link);
            revision_rest(rev, now_ms);
        }
    }
    if (!e->standby) {
        scaler_retry(e, now_ms);
        status_write_due(e, now_ms);
    }
    if (e->options.on_tick != NULL) {
        e->options.on_tick(e->options.arg, e->slot);
    }
}

static void on_timer(struct timer *timer)
{
    struct engine *e = timer->data;
    uint64_t begun_ns = clock_mono_ns();
    run_tick(e);
    metric_buckets_observe(&e->ticks, clock_mono_ns() - begun_ns);
}

int engine_start(struct engine *e, struct loop *loop, const struct engine_options *options,
                 struct error *err)
{
    *e = (struct engine){.loop = loop, .options = *options};
    e->options.kube = NULL;
    e->system_namespace = xstrdup(options->system_namespace);
    map_init(&e->revisions, MAP_BORROW_KEYS);
    reports_init(&e->reports);
    backlogs_init(&e->backlogs);
    list_init(&e->backlog_revisions);
    autoscaler_config_default(&e->config);
    list_init(&e->retrying);
    list_init(&e->status_due);
    list_init(&e->scale_writes);
    list_init(&e->scale_waiting);
    for (size_t i = 0; i < ENGINE_SLOTS; i++) {
        list_init(&e->slots[i]);
    }
    closer_init(&e->closer);
    timer_init(&e->timer, loop, on_timer, e);
    closer_hold(&e->closer);
    timer_init(&e->scale_timer, loop, scaler_on_timer, e);
    closer_hold(&e->closer);
    struct kube_client_options scale_options = {.max_connections = 256};
    struct kube_client_options status_options = {.max_connections = 8};
    int rc = kube_client_new(loop, options->kube, &scale_options, &e->client, err);
    if (rc < 0) {
        return rc;
    }
    closer_hold(&e->closer);
    rc = kube_client_new(loop, options->kube, &status_options, &e->status_client, err);
    if (rc < 0) {
        return rc;
    }
    closer_hold(&e->closer);
    rc = engine_watch_start(e, err);
    if (rc < 0) {
        return rc;
    }
    timer_start_every(&e->timer, ENGINE_TICK_MS);
    return 0;
}

static void on_gone(void *arg)
{
    struct engine *e = arg;
    map_foreach (it, &e->revisions) {
        revision_free(it.value);
    }
    map_fini(&e->revisions);
    reports_fini(&e->reports);
    backlogs_fini(&e->backlogs);
    free(e->system_namespace);
    if (e->close_cb != NULL) {
        e->close_cb(e->close_arg);
    }
}

static void on_timer_closed(struct timer *timer)
{
    closer_drop(&((struct engine *)timer->data)->closer);
}

static void on_client_closed(void *arg)
{
    closer_drop(&((struct engine *)arg)->closer);
}

void engine_close(struct engine *e, void (*cb)(void *arg), void *arg)
{
    if (e->closing) {
        return;
    }
    e->closing = true;
    e->close_cb = cb;
    e->close_arg = arg;
    closer_close(&e->closer, e->loop, on_gone, e);
    engine_watch_close(e);
    if (e->client != NULL) {
        kube_client_close(e->client, on_client_closed, e);
    }
    if (e->status_client != NULL) {
        kube_client_close(e->status_client, on_client_closed, e);
    }
    timer_close(&e->timer, on_timer_closed);
    timer_close(&e->scale_timer, on_timer_closed);
}
