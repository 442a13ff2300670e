// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. A shadow is a copy of all that decisions read and write. run: one tick after the other with
 * silence until zero. holds: the same once more for each thing that could hold, taken away from the
 * copy beforehand; what changes nothing holds nothing. It ends early when nothing can change any
 * more. Failure modes: none of its own; two hours are the end.
 */
#include "autoscaler/forecast.h"

#include "base/mem.h"

#define FORECAST_MS 7200000u
#define REPORT_MS   1000u
#define NO_LIMIT    1e9

struct shadow {
    struct revision rev;
    struct reports reports;
};

const char *hold_text(enum hold hold)
{
#define HOLD_TEXT(id, text) text,
    static const char *const texts[] = {HOLD_MAP(HOLD_TEXT)};
#undef HOLD_TEXT
    return hold < HOLD_N ? texts[hold] : "unknown";
}

/* --- the copy ------------------------------------------------------------------------------ */

static struct window window_copy(const struct window *w)
{
    struct window copy = *w;
    if (w->buckets != NULL) {
        copy.buckets = xcalloc(w->seconds, sizeof(*copy.buckets));
        memcpy(copy.buckets, w->buckets, w->seconds * sizeof(*copy.buckets));
    }
    return copy;
}

static struct window_max max_copy(const struct window_max *m)
{
    struct window_max copy = *m;
    if (m->count > 0) {
        copy.values = xcalloc(m->count, sizeof(*copy.values));
        copy.steps = xcalloc(m->count, sizeof(*copy.steps));
        memcpy(copy.values, m->values, m->count * sizeof(*copy.values));
        memcpy(copy.steps, m->steps, m->count * sizeof(*copy.steps));
    }
    return copy;
}

static void shadow_init(struct shadow *s, const struct revision *rev, const struct reports *reports)
{
    *s = (struct shadow){.rev = *rev, .reports = *reports};
    s->rev.concurrency_stable = window_copy(&rev->concurrency_stable);
    s->rev.concurrency_panic = window_copy(&rev->concurrency_panic);
    s->rev.rps_stable = window_copy(&rev->rps_stable);
    s->rev.rps_panic = window_copy(&rev->rps_panic);
    s->rev.decider.delay = max_copy(&rev->decider.delay);
    s->rev.decider.backlog = max_copy(&rev->decider.backlog);
    s->rev.backlog = 0;
    s->rev.bypassed = false; /* who is asked for it says zero, too */
}

static void windows_fini(struct revision *rev)
{
    window_fini(&rev->concurrency_stable);
    window_fini(&rev->concurrency_panic);
    window_fini(&rev->rps_stable);
    window_fini(&rev->rps_panic);
}

static void shadow_fini(struct shadow *s)
{
    windows_fini(&s->rev);
    decider_fini(&s->rev.decider);
}

/* --- running it ---------------------------------------------------------------------------- */

uint64_t forecast_next_tick(const struct revision *rev, uint64_t t_ms)
{
    if (rev->regular_ms == 0 || rev->regular_ms > t_ms) {
        return t_ms + DECIDER_TICK_MS;
    }
    uint64_t passed = (t_ms - rev->regular_ms) / DECIDER_TICK_MS;
    return rev->regular_ms + (passed + 1) * DECIDER_TICK_MS;
}

/* The last report that has come by then. */
static uint64_t report_before(uint64_t last_ms, uint64_t t_ms)
{
    return t_ms < last_ms ? last_ms : last_ms + (t_ms - last_ms) / REPORT_MS * REPORT_MS;
}

/* Nothing is left that could change by the passing of time. */
static bool is_settled(const struct revision *rev)
{
    const struct decision *d = &rev->last;
    return d->valid && d->stable == 0 && d->panic == 0 && !d->panicking && d->until_ms == 0 &&
           rev->plan.until_ms == 0;
}

/* Until when the coming ticks do the same as the last one; 0: not known. */
static uint64_t quiet_until(const struct revision *rev)
{
    const struct decision *d = &rev->last;
    bool quiet = d->valid && d->stable == 0 && d->panic == 0 && !d->panicking && d->until_ms == 0;
    return quiet && !rev->plan.write ? rev->plan.until_ms : 0;
}

static struct forecast run(struct shadow *s, uint64_t now_ms)
{
    struct forecast out = {0};
    struct revision *rev = &s->rev;
    uint64_t last_ms = s->reports.last_ms;
    uint64_t t = forecast_next_tick(rev, now_ms);
    uint64_t warm_ms = revision_warm(rev, now_ms).until_ms;
    uint64_t end_ms = (warm_ms > now_ms ? warm_ms : now_ms) + FORECAST_MS;
    for (; t <= end_ms && !out.zero; t += DECIDER_TICK_MS) {
        s->reports.last_ms = report_before(last_ms, t);
        s->reports.told_ms = s->reports.last_ms;
        struct plan plan = revision_decide(rev, &s->reports, false, t);
        if (!plan.write && is_settled(rev)) {
            break;
        }
        if (!plan.write) {
            uint64_t until_ms = quiet_until(rev);
            if (until_ms > t + DECIDER_TICK_MS) {
                t += (until_ms - t - 1) / DECIDER_TICK_MS * DECIDER_TICK_MS;
            }
            continue;
        }
        if (!out.changes) {
            out.changes = true;
            out.to = plan.want;
            out.in_ms = t - now_ms;
        }
        rev->replicas = plan.want;
        rev->ready = plan.want < rev->ready ? plan.want : rev->ready;
        if (plan.want == 0) {
            out.zero = true;
            out.zero_ms = t - now_ms;
        }
    }
    return out;
}

static bool can_tell(const struct revision *rev, const struct reports *reports)
{
    return reports->current && rev->replicas > 0;
}

struct forecast forecast_run(const struct revision *rev, const struct reports *reports,
                             uint64_t now_ms)
{
    if (!can_tell(rev, reports)) {
        return (struct forecast){0};
    }
    struct shadow s;
    shadow_init(&s, rev, reports);
    struct forecast out = run(&s, now_ms);
    shadow_fini(&s);
    return out;
}

/* --- what holds ---------------------------------------------------------------------------- */

/* Zero for as long as something was known. */
static void silence_window(struct window *w)
{
    free(w->buckets);
    w->buckets = NULL;
    w->total = 0;
}

static void take_away(enum hold hold, struct shadow *s)
{
    struct revision *rev = &s->rev;
    switch (hold) {
    case HOLD_IN_FLIGHT: /* the copy hears of no requests any more */
    case HOLD_EVENTS:    /* … and of no events */
        break;
    case HOLD_BACKLOG:
        window_max_fini(&rev->decider.backlog);
        rev->decider.backlog = (struct window_max){0};
        break;
    case HOLD_BACKLOG_UNKNOWN:
        rev->backlog_until_ms = 0;
        break;
    case HOLD_TRAFFIC:
        silence_window(&rev->concurrency_stable);
        silence_window(&rev->concurrency_panic);
        silence_window(&rev->rps_stable);
        silence_window(&rev->rps_panic);
        break;
    case HOLD_WAITING:
        rev->held_count = 0;
        break;
    case HOLD_PANIC:
        rev->decider.panicking = false;
        rev->decider.panic_ms = 0;
        rev->decider.panic_most = 0;
        break;
    case HOLD_DELAY:
        rev->spec.scale_down_delay_s = 0;
        break;
    case HOLD_RATE:
        rev->spec.max_scale_down_rate = NO_LIMIT;
        break;
    case HOLD_ACTIVATION:
        rev->spec.activation_scale = 1;
        break;
    case HOLD_MIN:
        rev->spec.min_scale = 0;
        break;
    case HOLD_INITIAL:
        rev->state.initialized = true;
        break;
    case HOLD_NO_ZERO:
        rev->spec.scale_to_zero = true;
        break;
    case HOLD_RECENT:
        rev->state.since_ms = rev->state.active == PLAN_ACTIVE ? 0 : rev->state.since_ms;
        break;
    case HOLD_RETENTION:
        rev->spec.retention_ms = 0;
        break;
    case HOLD_GRACE:
        rev->spec.grace_ms = 0;
        break;
    case HOLD_HISTOGRAM:
        rev->spec.histogram = false;
        break;
    case HOLD_ANNOUNCED:
        rev->times = NULL; /* the copy's */
        break;
    case HOLD_STARTING:
        if (rev->state.active == PLAN_ACTIVATING) {
            rev->state.active = PLAN_ACTIVE;
            rev->state.since_ms = 0;
            rev->ready = rev->ready > rev->replicas ? rev->ready : rev->replicas;
        }
        break;
    case HOLD_REPORTS:
        s->reports.since_ms = 0;
        break;
    case HOLD_N:
        break;
    }
}

/* Further down, or sooner. */
static bool lower(const struct forecast *a, const struct forecast *b)
{
    if (a->changes != b->changes || !a->changes) {
        return a->changes;
    }
    if (a->in_ms < b->in_ms || (a->in_ms == b->in_ms && a->to < b->to)) {
        return true;
    }
    return a->zero && (!b->zero || a->zero_ms < b->zero_ms);
}

static uint64_t traffic_until(const struct revision *rev)
{
    bool rps = rev->spec.metric == SCALING_RPS;
    const struct window *w = rps ? &rev->rps_stable : &rev->concurrency_stable;
    int64_t last = window_last_value(w);
    return last < 0 ? 0 : ((uint64_t)last + w->seconds) * 1000;
}

/* When it ends by itself. */
static uint64_t hold_until(enum hold hold, const struct revision *rev,
                           const struct reports *reports, uint64_t now_ms)
{
    uint64_t window_ms = rev->spec.stable_window_s * 1000ull;
    switch (hold) {
    case HOLD_TRAFFIC:
        return traffic_until(rev);
    case HOLD_WAITING:
        return rev->held_ms + REVISION_CROWD_MS;
    case HOLD_PANIC:
        return rev->decider.panic_ms + window_ms;
    case HOLD_RECENT:
        return rev->state.since_ms + window_ms;
    case HOLD_REPORTS:
        return reports->since_ms + window_ms;
    case HOLD_RETENTION:
        return rev->state.active == PLAN_INACTIVE ? rev->state.since_ms + rev->spec.retention_ms
                                                  : 0;
    case HOLD_DELAY:
        return rev->last.rule == DECIDER_DELAY ? rev->last.until_ms : 0;
    case HOLD_BACKLOG:
        return rev->last.rule == DECIDER_BACKLOG_HOLD ? rev->last.until_ms : 0;
    case HOLD_BACKLOG_UNKNOWN:
        return rev->backlog_until_ms;
    case HOLD_HISTOGRAM:
    case HOLD_ANNOUNCED:
        return revision_warm(rev, now_ms).until_ms;
    case HOLD_IN_FLIGHT:
    case HOLD_EVENTS:
    case HOLD_GRACE:
    case HOLD_STARTING:
    case HOLD_RATE:
    case HOLD_ACTIVATION:
    case HOLD_MIN:
    case HOLD_INITIAL:
    case HOLD_NO_ZERO:
    case HOLD_N:
        break;
    }
    return 0;
}

/* The forecast with everything taken away but `kept` (HOLD_N: nothing is kept). */
static struct forecast run_with_only(enum hold kept, const struct revision *rev,
                                     const struct reports *reports, uint64_t now_ms)
{
    struct shadow s;
    shadow_init(&s, rev, reports);
    for (int i = 0; i < HOLD_N; i++) {
        if ((enum hold)i != kept) {
            take_away((enum hold)i, &s);
        }
    }
    struct forecast out = run(&s, now_ms);
    shadow_fini(&s);
    return out;
}

/* Nothing makes a difference alone: those that would hold if the others were not there. */
static size_t holds_together(const struct revision *rev, const struct reports *reports,
                             const struct forecast *base, uint64_t now_ms, struct holding *out)
{
    struct forecast none = run_with_only(HOLD_N, rev, reports, now_ms);
    size_t count = 0;
    for (int i = 0; i < HOLD_N; i++) {
        struct forecast only = run_with_only((enum hold)i, rev, reports, now_ms);
        if (lower(&none, &only)) {
            uint64_t until_ms = hold_until((enum hold)i, rev, reports, now_ms);
            out[count++] = (struct holding){(enum hold)i, until_ms > now_ms ? until_ms : 0, *base};
        }
    }
    return count;
}

size_t forecast_holds(const struct revision *rev, const struct reports *reports, uint64_t now_ms,
                      struct holding *out)
{
    if (!can_tell(rev, reports)) {
        return 0;
    }
    struct forecast base = forecast_run(rev, reports, now_ms);
    size_t count = 0;
    for (int i = 0; i < HOLD_N; i++) {
        enum hold hold = (enum hold)i;
        struct shadow s;
        shadow_init(&s, rev, reports);
        take_away(hold, &s);
        struct forecast without = run(&s, now_ms);
        shadow_fini(&s);
        if (lower(&without, &base)) {
            uint64_t until_ms = hold_until(hold, rev, reports, now_ms);
            out[count++] = (struct holding){hold, until_ms > now_ms ? until_ms : 0, without};
        }
    }
    count = count > 0 ? count : holds_together(rev, reports, &base, now_ms, out);
    if (base.changes && revision_in_flight(rev) > 0) {
        out[count++] = (struct holding){HOLD_IN_FLIGHT, 0, base};
    }
    if (base.changes && rev->backlog > 0) {
        out[count++] = (struct holding){HOLD_EVENTS, 0, base};
    }
    return count;
}
