// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Observations are set field by field; revision_decide averages the windows, asks the
 * decider and then the plan. A revision that no report names has zero traffic: that is recorded
 * lazily, at the second of the last whole report, just before averages are read. A second that some
 * have not told of yet can raise an average, never lower it.
 * Failure modes: none of its own; unknown numbers are -1 and the plan knows what that means.
 */
#include "autoscaler/revision.h"

#include <math.h>

#include "base/clock.h"
#include "base/mem.h"
#include "autoscaler/idle_json.h"

/* Knative's default of config-deployment's progress-deadline. */
#define PROGRESS_DEADLINE_MS 600000u

static int64_t second_of(uint64_t ms)
{
    return (int64_t)(ms / 1000);
}

struct revision *revision_new(const char *ns, const char *name)
{
    struct revision *rev = NEW(struct revision);
    rev->key = xasprintf("%s/%s", ns, name);
    rev->ns = xstrdup(ns);
    rev->name = rev->key + strlen(ns) + 1;
    rev->replicas = -1;
    rev->goal = -1;
    rev->patching = -1;
    rev->plan.want = -1;
    rev->want = -1;
    rev->reachable = true;
    list_init(&rev->slot_link);
    list_init(&rev->pods);
    list_init(&rev->retry_link);
    list_init(&rev->wait_link);
    list_init(&rev->status_link);
    list_init(&rev->backlog_link);
    return rev;
}

static void replica_free(struct replica *replica)
{
    list_remove(&replica->link);
    free(replica->name);
    free(replica->address);
    free(replica->trouble);
    free(replica);
}

static void windows_fini(struct revision *rev)
{
    window_fini(&rev->concurrency_stable);
    window_fini(&rev->concurrency_panic);
    window_fini(&rev->rps_stable);
    window_fini(&rev->rps_panic);
}

void revision_free(struct revision *rev)
{
    list_foreach_safe (node, &rev->pods) {
        replica_free(LIST_ENTRY(node, struct replica, link));
    }
    list_remove(&rev->slot_link);
    list_remove(&rev->retry_link);
    list_remove(&rev->wait_link);
    list_remove(&rev->status_link);
    list_remove(&rev->backlog_link);
    windows_fini(rev);
    history_fini(&rev->history);
    decider_fini(&rev->decider);
    free(rev->change);
    free(rev->idle);
    free(rev->times);
    free(rev->deployment);
    free(rev->service);
    free(rev->ns);
    free(rev->key);
    free(rev);
}

bool revision_unused(const struct revision *rev)
{
    return !rev->has_pa && !rev->has_deployment && list_empty(&rev->pods);
}

/* --- observations -------------------------------------------------------------------------- */

static void resize(struct window *w, uint32_t seconds, int64_t now)
{
    if (w->seconds == 0) {
        window_init(w, seconds);
    } else {
        window_resize(w, seconds, now);
    }
}

/* Idle times are learned while the policy asks for it. */
static void resolve_idle(struct revision *rev)
{
    bool wanted = rev->spec.histogram;
    if (rev->idle != NULL && (!wanted || rev->idle->bin_ms != rev->spec.histogram_bin_ms)) {
        free(rev->idle);
        rev->idle = NULL;
    }
    if (wanted && rev->idle == NULL) {
        rev->idle = NEW(struct idle);
        idle_init(rev->idle, rev->spec.histogram_bin_ms);
    }
    if (rev->idle != NULL) {
        rev->idle->least_ms = rev->spec.stable_window_s * 1000;
    }
}

void revision_resolve(struct revision *rev, const struct pa_object *pa,
                      const struct autoscaler_config *config, uint64_t now_ms)
{
    int64_t now = second_of(now_ms);
    scaling_spec_resolve(config, pa->annotations, pa->annotation_count, pa->container_concurrency,
                         &rev->spec);
    resize(&rev->concurrency_stable, rev->spec.stable_window_s, now);
    resize(&rev->concurrency_panic, rev->spec.panic_window_s, now);
    resize(&rev->rps_stable, rev->spec.stable_window_s, now);
    resize(&rev->rps_panic, rev->spec.panic_window_s, now);
    resolve_idle(rev);
}

/* What was announced, in the time of this process. */
static void set_times(struct revision *rev, const struct pa_object *pa, uint64_t now_ms,
                      int64_t wall_ns)
{
    free(rev->times);
    rev->times = NULL;
    for (size_t i = 0; i < pa->warm_at_count; i++) {
        int64_t in_ms = (pa->warm_at_wall_ns[i] - wall_ns) / (int64_t)CLOCK_NS_PER_MS;
        if (in_ms + (int64_t)now_ms > 0) {
            rev->times = rev->times == NULL ? NEW(struct warm_at) : rev->times;
            rev->times->at_ms[rev->times->count++] = (uint64_t)(in_ms + (int64_t)now_ms);
        }
    }
}

/* What the status remembers from before a restart; ages are clamped once, here. */
static void adopt(struct revision *rev, struct pa_object *pa, uint64_t now_ms, int64_t wall_ns)
{
    plan_init(&rev->state, now_ms);
    rev->active_wall_ns = (uint64_t)wall_ns;
    rev->initialized_wall_ns =
        (uint64_t)(pa->initialized_wall_ns > 0 ? pa->initialized_wall_ns : wall_ns);
    if (pa->history.count > 0) {
        history_fini(&rev->history);
        rev->history = pa->history;
        pa->history = (struct history){0};
    }
    rev->state.initialized = pa->initialized;
    rev->status_known =
        pa->has_active && pa->desired_scale >= 0 && pa->observed_generation == pa->generation;
    rev->known_actual = pa->actual_scale;
    rev->want = pa->desired_scale;
    if (!pa->has_active) {
        return;
    }
    rev->state.active = pa->active;
    if (pa->active_wall_ns > 0) {
        int64_t age_ns = wall_ns - pa->active_wall_ns;
        uint64_t age_ms = age_ns < 0 ? 0 : (uint64_t)age_ns / CLOCK_NS_PER_MS;
        rev->state.since_ms = age_ms < now_ms ? now_ms - age_ms : 0;
        rev->active_wall_ns = (uint64_t)pa->active_wall_ns;
    }
}

void revision_adopt(struct revision *rev, struct pa_object *pa, uint64_t now_ms, int64_t wall_ns)
{
    struct plan_state own = rev->state;
    adopt(rev, pa, now_ms, wall_ns);
    if (rev->started && own.active == rev->state.active &&
        own.initialized == rev->state.initialized) {
        rev->state.since_ms = own.since_ms; /* to the millisecond */
    }
    rev->state.desired = own.desired;
}

void revision_set_pa(struct revision *rev, struct pa_object *pa,
                     const struct autoscaler_config *config, uint64_t now_ms, int64_t wall_ns)
{
    if (!rev->has_pa) {
        rev->has_pa = true;
        adopt(rev, pa, now_ms, wall_ns);
    }
    history_fini(&pa->history);
    if (pa->deployment != NULL) {
        free(rev->deployment);
        rev->deployment = pa->deployment;
        pa->deployment = NULL;
    }
    if (pa->service != NULL) {
        free(rev->service);
        rev->service = pa->service;
        pa->service = NULL;
    }
    rev->reachable = pa->reachable;
    rev->generation = pa->generation;
    rev->progress_deadline_ms =
        pa->progress_deadline_ms > 0 ? pa->progress_deadline_ms : PROGRESS_DEADLINE_MS;
    bool learned = rev->idle != NULL;
    revision_resolve(rev, pa, config, now_ms);
    set_times(rev, pa, now_ms, wall_ns);
    if (rev->idle != NULL) {
        rev->idle->wall_ms = wall_ns / (int64_t)CLOCK_NS_PER_MS - (int64_t)now_ms;
    }
    if (rev->idle != NULL && !learned && pa->idle != NULL) {
        idle_from_json(rev->idle, pa->idle, now_ms);
    }
}

void revision_clear_pa(struct revision *rev)
{
    rev->has_pa = false;
    rev->started = false;
    decider_fini(&rev->decider);
    rev->decider = (struct decider){0};
    windows_fini(rev);
    rev->concurrency_stable.seconds = 0;
    rev->concurrency_panic.seconds = 0;
    rev->rps_stable.seconds = 0;
    rev->rps_panic.seconds = 0;
    rev->last = (struct decision){0};
    rev->plan = (struct plan){.want = -1};
    rev->want = -1;
    history_fini(&rev->history);
    rev->goal = -1;
    free(rev->idle);
    rev->idle = NULL;
    free(rev->times);
    rev->times = NULL;
    free(rev->service);
    rev->service = NULL;
    rev->status_sum = 0;
    list_remove(&rev->backlog_link);
    list_remove(&rev->retry_link);
    list_remove(&rev->wait_link);
    list_remove(&rev->status_link);
}

static struct replica *find_replica(const struct revision *rev, const char *pod_name)
{
    list_foreach (node, &rev->pods) {
        struct replica *replica = LIST_ENTRY(node, struct replica, link);
        if (strcmp(replica->name, pod_name) == 0) {
            return replica;
        }
    }
    return NULL;
}

static void count_replicas(struct revision *rev)
{
    rev->ready = 0;
    rev->not_ready = 0;
    list_foreach (node, &rev->pods) {
        const struct replica *replica = LIST_ENTRY(node, struct replica, link);
        rev->ready += replica->ready ? 1 : 0;
        rev->not_ready += !replica->ready && !replica->terminating ? 1 : 0;
    }
}

static void set_text(char **text, const char *value)
{
    free(*text);
    *text = value == NULL ? NULL : xstrdup(value);
}

void revision_set_pod(struct revision *rev, const char *pod_name, const struct pod_object *pod)
{
    struct replica *replica = find_replica(rev, pod_name);
    if (replica == NULL) {
        replica = NEW(struct replica);
        replica->name = xstrdup(pod_name);
        list_push_back(&rev->pods, &replica->link);
    }
    set_text(&replica->address, pod->address);
    set_text(&replica->trouble, pod->trouble);
    replica->created_wall_ns = pod->created_wall_ns;
    replica->ready = pod->ready;
    replica->terminating = pod->terminating;
    replica->failing = pod->failing;
    count_replicas(rev);
}

void revision_remove_pod(struct revision *rev, const char *pod_name)
{
    struct replica *replica = find_replica(rev, pod_name);
    if (replica != NULL) {
        replica_free(replica);
        count_replicas(rev);
    }
}

const char *revision_trouble(const struct revision *rev, bool *out_failing)
{
    const char *trouble = NULL;
    *out_failing = false;
    list_foreach (node, &rev->pods) {
        const struct replica *replica = LIST_ENTRY(node, struct replica, link);
        if (replica->trouble != NULL && (trouble == NULL || replica->failing)) {
            trouble = replica->trouble;
            *out_failing = replica->failing;
        }
    }
    return trouble;
}

/* --- decisions ----------------------------------------------------------------------------- */

void revision_start(struct revision *rev, uint64_t now_ms)
{
    decider_fini(&rev->decider);
    decider_init(&rev->decider, now_ms, rev->ready);
    rev->started = true;
}

static double share(double value)
{
    return value > 0 ? value : 0;
}

void revision_record(struct revision *rev, uint64_t now_ms, unsigned missed, double concurrency,
                     double rps)
{
    if (!rev->has_pa) {
        return;
    }
    if (rev->idle != NULL && (concurrency > 0 || rps > 0)) {
        idle_traffic(rev->idle, now_ms);
    }
    for (int64_t second = second_of(now_ms) - missed; second <= second_of(now_ms); second++) {
        window_record(&rev->concurrency_stable, second, share(concurrency));
        window_record(&rev->concurrency_panic, second, share(concurrency));
        window_record(&rev->rps_stable, second, share(rps));
        window_record(&rev->rps_panic, second, share(rps));
    }
}

static uint64_t earlier(uint64_t a_ms, uint64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

/* Whole reports that did not name the revision said zero, but not of what comes past the
 * activators, nor of the time in which it was not known here. */
static void record_silence(struct revision *rev, const struct reports *reports)
{
    if (reports->fresh && rev->has_pa && reports->last_ms >= reports->since_ms) {
        uint64_t until_ms = rev->bypassed ? rev->scraped_ms : UINT64_MAX;
        int64_t second = second_of(earlier(reports->last_ms, until_ms));
        window_touch(&rev->concurrency_stable, second);
        window_touch(&rev->concurrency_panic, second);
        window_touch(&rev->rps_stable, second);
        window_touch(&rev->rps_panic, second);
    }
}

bool revision_at_rest(const struct revision *rev, const struct reports *reports)
{
    bool none = rev->replicas == 0 && list_empty(&rev->pods) && rev->patch == NULL && !rev->held;
    bool inactive = rev->state.active == PLAN_INACTIVE || rev->state.active == PLAN_TIMED_OUT;
    bool decided = rev->started && rev->last.valid && rev->last.desired == 0 &&
                   !rev->decider.panicking && rev->plan.want == 0 && !rev->plan.write;
    return none && inactive && decided && reports->fresh && rev->idle == NULL &&
           rev->times == NULL && window_last_value(&rev->concurrency_stable) < 0 &&
           window_last_value(&rev->rps_stable) < 0 &&
           window_last_value(&rev->concurrency_panic) < 0 && window_last_value(&rev->rps_panic) < 0;
}

void revision_rest(struct revision *rev, uint64_t now_ms)
{
    window_rest(&rev->concurrency_stable);
    window_rest(&rev->concurrency_panic);
    window_rest(&rev->rps_stable);
    window_rest(&rev->rps_panic);
    free(rev->change);
    rev->change = NULL;
    rev->resting = true;
    rev->rest_ms = now_ms;
}

void revision_wake(struct revision *rev, const struct reports *reports)
{
    if (!rev->resting) {
        return;
    }
    rev->resting = false;
    if (!reports->fresh || reports->since_ms > rev->rest_ms) {
        return; /* there was a hole: it is no silence */
    }
    int64_t second = second_of(reports->last_ms);
    window_rested(&rev->concurrency_stable, second);
    window_rested(&rev->concurrency_panic, second);
    window_rested(&rev->rps_stable, second);
    window_rested(&rev->rps_panic, second);
}

bool revision_averages(const struct revision *rev, uint64_t now_ms, double *out_stable,
                       double *out_panic)
{
    bool rps = rev->spec.metric == SCALING_RPS;
    const struct window *stable = rps ? &rev->rps_stable : &rev->concurrency_stable;
    const struct window *panic = rps ? &rev->rps_panic : &rev->concurrency_panic;
    int64_t second = second_of(now_ms);
    double (*average)(const struct window *w, int64_t at) =
        rev->spec.weighted ? window_weighted_average : window_average;
    *out_stable = average(stable, second);
    *out_panic = average(panic, second);
    /* Replicas that are not scraped have nothing to say: silence is a number then, as in Knative.
     */
    return !window_empty(stable, second) || rev->spec.target_burst_capacity < 0;
}

double revision_in_flight(const struct revision *rev)
{
    return window_at(&rev->concurrency_stable, rev->concurrency_stable.last_write);
}

void revision_poked(struct revision *rev, double count, uint64_t now_ms)
{
    bool recent = rev->held_count > 0 && now_ms - rev->held_ms < REVISION_CROWD_MS;
    rev->held_count = recent && rev->held_count > count ? rev->held_count : fmax(count, 1);
    rev->held_ms = now_ms;
    if (rev->idle != NULL) {
        idle_traffic(rev->idle, now_ms);
    }
}

static double held_now(const struct revision *rev, bool held, uint64_t now_ms)
{
    bool crowd = rev->held_count > 1 && now_ms - rev->held_ms < REVISION_CROWD_MS;
    return crowd ? rev->held_count : held ? 1 : 0;
}

/* Takes a time span in: the one that lasts longest now, else the next one. */
static void consider(struct revision_warm *w, enum plan_rule rule, uint64_t from_ms,
                     uint64_t until_ms, uint64_t now_ms)
{
    if (now_ms >= until_ms) {
        return;
    }
    if (now_ms < from_ms) {
        if (w->next_ms == 0 || from_ms < w->next_ms) {
            w->next_ms = from_ms;
            w->next_rule = rule;
        }
    } else if (w->rule == PLAN_AS_DECIDED || until_ms > w->until_ms) {
        w->rule = rule;
        w->until_ms = until_ms;
    }
}

struct revision_warm revision_warm(const struct revision *rev, uint64_t now_ms)
{
    struct revision_warm w = {.rule = PLAN_AS_DECIDED, .next_rule = PLAN_AS_DECIDED};
    if (rev->idle != NULL && rev->spec.histogram) {
        struct idle_window idle = idle_window(rev->idle);
        w.predicted = idle.verdict == IDLE_PREDICTED;
        if (w.predicted) {
            consider(&w, PLAN_HISTOGRAM, idle.from_ms, idle.until_ms, now_ms);
        }
    }
    for (size_t i = 0; rev->times != NULL && i < rev->times->count; i++) {
        uint64_t at_ms = rev->times->at_ms[i];
        uint64_t lead_ms = at_ms < REVISION_WARM_LEAD_MS ? at_ms : REVISION_WARM_LEAD_MS;
        consider(&w, PLAN_ANNOUNCED, at_ms - lead_ms, at_ms + rev->spec.stable_window_s * 1000ull,
                 now_ms);
    }
    return w;
}

/* Until when everybody who sees the revision's traffic has told of it; 0: not known. */
static uint64_t told_ms(const struct revision *rev, const struct reports *reports)
{
    uint64_t told = reports->current ? reports->told_ms : 0;
    return rev->bypassed ? earlier(told, rev->scraped_ms) : told;
}

/* What some have told of a second is no less for what others will: averages do not fall by it. */
static void average_whole_seconds(const struct revision *rev, uint64_t told,
                                  struct decider_input *in)
{
    bool rps = rev->spec.metric == SCALING_RPS;
    const struct window *stable = rps ? &rev->rps_stable : &rev->concurrency_stable;
    const struct window *panic = rps ? &rev->rps_panic : &rev->concurrency_panic;
    double (*average)(const struct window *w, int64_t at) =
        rev->spec.weighted ? window_weighted_average_without_later : window_average_without_later;
    in->stable = fmax(in->stable, average(stable, second_of(told)));
    in->panic = fmax(in->panic, average(panic, second_of(told)));
}

struct plan revision_decide(struct revision *rev, const struct reports *reports, bool held,
                            uint64_t now_ms)
{
    record_silence(rev, reports);
    struct decider_input in = {.now_ms = now_ms,
                               .ready = rev->ready,
                               .reachable = rev->reachable,
                               .held = held_now(rev, held, now_ms),
                               .backlog = rev->backlog};
    /* The second that has just begun was reported by nobody yet: it is not silence. */
    bool ahead = reports->fresh && reports->last_ms < now_ms;
    uint64_t at_ms = ahead ? reports->last_ms : now_ms;
    uint64_t told = told_ms(rev, reports);
    in.has_data = revision_averages(rev, at_ms, &in.stable, &in.panic);
    if (told > 0) {
        average_whole_seconds(rev, told, &in);
    }
    rev->last = decider_decide(&rev->decider, &rev->spec, &in);
    return revision_replan(rev, reports, held, now_ms);
}

struct plan revision_replan(struct revision *rev, const struct reports *reports, bool held,
                            uint64_t now_ms)
{
    struct revision_warm warm = revision_warm(rev, now_ms);
    /* The first report after a hole tells of the hole as well: its second must have left the window
     * that averages are read from, which lags behind by so much. */
    int64_t lag_s = reports->current && reports->told_ms > 0
                        ? second_of(now_ms) - second_of(reports->told_ms)
                        : 0;
    struct plan_input in = {
        .predicted = warm.predicted,
        .warm = warm.rule,
        .warm_until_ms = warm.until_ms,
        .now_ms = now_ms,
        .reachable = rev->reachable,
        .held = held,
        .replicas = rev->replicas,
        .ready = rev->ready,
        .reports = reports->current,
        .reports_since_ms = (uint64_t)(second_of(reports->since_ms) + lag_s) * 1000,
        .backlog_until_ms = rev->backlog_until_ms,
        .path_since_ms = reports->path_since_ms,
        .progress_deadline_ms = rev->progress_deadline_ms,
    };
    rev->plan = plan_make(&rev->state, &rev->spec, &rev->last, &in);
    rev->want = rev->plan.want >= 0 ? rev->plan.want : rev->want;
    return rev->plan;
}
