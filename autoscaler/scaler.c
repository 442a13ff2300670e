// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. One scale request per revision at a time, each on its own connection, so a slow API for
 * one revision delays no other. So many run at once that the API always has something to do; a
 * crowd's others wait for their turn, so that it does not open a connection for each. Those that
 * take long do not count. When the answer is in and the goal has moved meanwhile, the next
 * request follows at once. A success is recorded and told.
 * Failure modes: a failed write is tried again with back-off as long as it is still the goal; the
 * activators are told when trying again will hardly help, or when it has failed a few times.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"
#include "serving/kinds.h"
#include "autoscaler/engine.h"

#define SCALE_TIMEOUT_MS 5000u
#define RETRY_FIRST_MS   100u
#define RETRY_LONGEST_MS 10000u
#define FAILURES_TOLD_AT 4u
#define RETRY_JITTER     20u
#define TROUBLE_LOG_MS   1000u
#define AT_ONCE          32u
#define SLOW_MS          100u /* one that takes longer makes room for another */

/* Context of a running request: the revision outlives it (engine_release waits for it). */
struct scale_write {
    struct list link; /* in engine.scale_writes */
    uint64_t start_ms;
    struct engine *e;
    struct revision *rev;
};

static void write_scale(struct engine *e, struct revision *rev);
static void write_next(struct engine *e);

static void record(struct revision *rev, int32_t from)
{
    const struct decision *d = rev->change != NULL ? rev->change : &rev->last;
    struct change change = {
        .wall_ns = clock_wall_ns(),
        .from = from,
        .to = rev->replicas,
        .plan_rule = rev->goal_rule,
        .decider_rule = d->rule,
        .panicking = d->panicking,
        .ready = d->ready,
        .stable = d->stable,
        .panic = d->panic,
        .target = rev->spec.target,
        .complete = d->valid,
        .reachable = d->reachable,
        .held = (float)d->held,
        .backlog = d->backlog,
        .backlog_target = rev->spec.metric == SCALING_BACKLOG ? rev->spec.backlog_target : 0,
        .backlog_most = d->backlog_most,
        .panic_before = d->panic_before,
        .delay_most = d->delay_most,
        .stable_window_s = rev->spec.stable_window_s,
        .panic_window_s = rev->spec.panic_window_s,
    };
    history_add(&rev->history, &change);
    LOG_INFO("scaled", LOG_STR("revision", rev->key), LOG_INT("from", from),
             LOG_INT("to", rev->replicas), LOG_STR("rule", change_rule(&change)),
             LOG_DBL("stable", change.stable), LOG_DBL("panic", change.panic));
}

static void on_success(struct engine *e, struct revision *rev, int32_t written)
{
    int32_t from = rev->patch_from;
    rev->replicas = written;
    rev->failures = 0;
    rev->retry_ms = 0;
    list_remove(&rev->retry_link);
    e->counters.scale_writes++;
    if (from == written || !rev->has_pa) {
        return;
    }
    record(rev, from);
    if (written > 0 && from <= 0) {
        rev->said_failed = false;
        engine_note(e, rev, "scaled", "");
    }
    status_mark(e, rev, false);
}

static bool is_hopeless(enum err_code code)
{
    return code == ERR_NOT_FOUND || code == ERR_DENIED || code == ERR_INVALID ||
           code == ERR_UNAUTHORIZED;
}

static void on_failure(struct engine *e, struct revision *rev, const struct error *err)
{
    uint64_t now_ms = loop_now_ms(e->loop);
    uint64_t delay_ms = RETRY_FIRST_MS << (rev->failures < 7 ? rev->failures : 7);
    delay_ms = delay_ms > RETRY_LONGEST_MS ? RETRY_LONGEST_MS : delay_ms;
    rev->retry_ms = now_ms + random_jitter_ms(delay_ms, RETRY_JITTER);
    rev->failures++;
    e->counters.scale_failures++;
    if (!list_linked(&rev->retry_link)) {
        list_push_back(&e->retrying, &rev->retry_link);
    }
    uint64_t dropped;
    if (log_limit(&e->write_trouble, now_ms, TROUBLE_LOG_MS, &dropped)) {
        LOG_WARN("cannot write the scale", LOG_STR("revision", rev->key), LOG_INT("to", rev->goal),
                 LOG_ERR(err), LOG_UINT("dropped", dropped));
    }
    bool tell = is_hopeless(err->code) || rev->failures >= FAILURES_TOLD_AT;
    if (tell && rev->goal > 0 && !rev->said_failed) {
        rev->said_failed = true;
        engine_note(e, rev, "failed", err->msg);
    }
}

static void on_written(void *arg, json_t *object, const struct error *err)
{
    struct scale_write *write = arg;
    struct engine *e = write->e;
    struct revision *rev = write->rev;
    list_remove(&write->link);
    free(write);
    int32_t written = rev->patching;
    rev->patch = NULL;
    rev->patching = -1;
    e->scale_running--;
    if (e->closing) {
        return;
    }
    if (err == NULL) {
        on_success(e, rev, written);
        if (rev->has_pa && rev->goal >= 0 && rev->goal != rev->replicas) {
            write_scale(e, rev);
        }
    } else if (rev->has_pa) {
        on_failure(e, rev, err);
    }
    engine_release(e, rev);
    write_next(e);
}

static void send_scale(struct engine *e, struct revision *rev)
{
    struct scale_write *write = NEW(struct scale_write);
    *write = (struct scale_write){.start_ms = loop_now_ms(e->loop), .e = e, .rev = rev};
    json_t *body = json_pack("{s:{s:i}}", "spec", "replicas", rev->goal);
    struct kube_call call = {
        .kind = KUBE_KIND(kind_row(KIND_DEPLOYMENT)),
        .ns = rev->ns,
        .name = rev->deployment,
        .subresource = "scale",
        .body = body,
        .timeout_ms = SCALE_TIMEOUT_MS,
        .cb = on_written,
        .arg = write,
    };
    struct error err;
    int rc = kube_patch(e->client, &call, &rev->patch, &err);
    json_decref(body);
    if (rc < 0) {
        free(write);
        rev->patch = NULL;
        on_failure(e, rev, &err);
        return;
    }
    e->scale_running++;
    list_push_back(&e->scale_writes, &write->link);
    rev->patching = rev->goal;
    rev->patch_from = rev->replicas;
}

static bool has_room(const struct engine *e)
{
    uint64_t now_ms = loop_now_ms(e->loop);
    unsigned quick = e->scale_running;
    list_foreach (node, &e->scale_writes) {
        if (quick < AT_ONCE ||
            now_ms < LIST_ENTRY(node, struct scale_write, link)->start_ms + SLOW_MS) {
            break;
        }
        quick--;
    }
    return quick < AT_ONCE;
}

static void write_scale(struct engine *e, struct revision *rev)
{
    if (has_room(e)) {
        list_remove(&rev->wait_link);
        send_scale(e, rev);
        return;
    }
    if (!list_linked(&rev->wait_link)) {
        list_push_back(&e->scale_waiting, &rev->wait_link);
    }
    if (!timer_active(&e->scale_timer)) {
        timer_start(&e->scale_timer, SLOW_MS);
    }
}

/* Those whose turn has come. */
static void write_next(struct engine *e)
{
    while (!list_empty(&e->scale_waiting) && has_room(e)) {
        struct revision *rev =
            LIST_ENTRY(list_pop_front(&e->scale_waiting), struct revision, wait_link);
        if (rev->patch == NULL && rev->has_pa && rev->goal >= 0 && rev->goal != rev->replicas) {
            send_scale(e, rev);
        }
    }
    if (!list_empty(&e->scale_waiting) && !timer_active(&e->scale_timer)) {
        timer_start(&e->scale_timer, SLOW_MS);
    }
}

void scaler_on_timer(struct timer *timer)
{
    write_next(timer->data);
}

void scaler_set(struct engine *e, struct revision *rev, const struct plan *plan)
{
    bool new_goal = rev->goal != plan->want;
    rev->goal = plan->want;
    rev->goal_rule = plan->rule;
    rev->change = rev->change == NULL ? NEW(struct decision) : rev->change;
    *rev->change = rev->last;
    if (rev->patch != NULL) {
        return;
    }
    if (!new_goal && loop_now_ms(e->loop) < rev->retry_ms) {
        return;
    }
    write_scale(e, rev);
}

void scaler_retry(struct engine *e, uint64_t now_ms)
{
    list_foreach_safe (node, &e->retrying) {
        struct revision *rev = LIST_ENTRY(node, struct revision, retry_link);
        if (rev->goal < 0 || rev->goal == rev->replicas) {
            list_remove(&rev->retry_link);
        } else if (rev->patch == NULL && now_ms >= rev->retry_ms) {
            write_scale(e, rev);
        }
    }
}
