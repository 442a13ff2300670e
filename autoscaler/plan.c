// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. bounded(): decision → within min, initial and max scale. to_zero(): what becomes of a 0.
 * settle(): the Active condition that follows from it. Leaving Active and scaling to zero are two
 * steps in Knative; when nothing holds the second one back, both happen in one call here.
 * Failure modes: no data and missing reports keep what is there; an activation that takes longer
 * than its deadline ends at zero.
 */
#include "autoscaler/plan.h"

const char *plan_rule_text(enum plan_rule rule)
{
#define RULE_TEXT(id, text) text,
    static const char *const texts[] = {PLAN_RULE_MAP(RULE_TEXT)};
#undef RULE_TEXT
    return rule < PLAN_RULE_N ? texts[rule] : "unknown";
}

void plan_init(struct plan_state *s, uint64_t now_ms)
{
    *s = (struct plan_state){.active = PLAN_ACTIVATING, .since_ms = now_ms, .desired = -1};
}

static int32_t larger(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

static uint64_t passed(uint64_t now_ms, uint64_t since_ms)
{
    return now_ms > since_ms ? now_ms - since_ms : 0;
}

int32_t plan_active_threshold(const struct plan_state *s, const struct scaling_spec *spec,
                              bool reachable)
{
    int32_t min = reachable ? spec->min_scale : 0;
    return larger(min, s->initialized ? 1 : spec->initial_scale);
}

/* No way down before a full stable window of reports. */
static struct plan observed(const struct scaling_spec *spec, const struct plan_input *in,
                            struct plan plan)
{
    uint64_t window_ms = spec->stable_window_s * 1000ull;
    bool complete = in->reports && passed(in->now_ms, in->reports_since_ms) >= window_ms;
    if (in->replicas <= plan.want || (complete && in->now_ms >= in->backlog_until_ms)) {
        return plan;
    }
    if (complete) {
        return (struct plan){
            .want = in->replicas, .rule = PLAN_BACKLOG_UNKNOWN, .until_ms = in->backlog_until_ms};
    }
    return (struct plan){
        .want = in->replicas,
        .rule = PLAN_OBSERVING,
        .until_ms = in->reports ? in->reports_since_ms + window_ms : 0,
    };
}

static struct plan bounded(const struct plan_state *s, const struct scaling_spec *spec,
                           const struct plan_input *in, struct plan plan)
{
    int32_t min = in->reachable ? spec->min_scale : 0;
    enum plan_rule rule = PLAN_MIN_SCALE;
    /* a single one is there from the start, and is given up when it never becomes ready */
    bool initial = in->reachable && !s->initialized && spec->initial_scale > 1;
    if (initial && spec->initial_scale > min) {
        min = spec->initial_scale;
        rule = PLAN_INITIAL_SCALE;
    }
    if (plan.want < min) {
        plan =
            (struct plan){.want = min, .rule = rule}; /* an initial scale beyond the maximum too */
    } else if (spec->max_scale > 0 && plan.want > spec->max_scale) {
        plan = (struct plan){.want = spec->max_scale, .rule = PLAN_MAX_SCALE};
    }
    return plan;
}

static struct plan from_inactive(const struct plan_state *s, const struct scaling_spec *spec,
                                 const struct plan_input *in)
{
    uint64_t retention_ms = in->reachable && !in->predicted ? spec->retention_ms : 0;
    uint64_t inactive_ms = passed(in->now_ms, s->since_ms);
    if (inactive_ms < retention_ms) {
        return (struct plan){
            .want = 0, .rule = PLAN_RETENTION, .until_ms = s->since_ms + retention_ms};
    }
    if (inactive_ms < spec->grace_ms && passed(in->now_ms, in->path_since_ms) < spec->grace_ms) {
        uint64_t since_ms = in->path_since_ms < s->since_ms ? in->path_since_ms : s->since_ms;
        return (struct plan){.want = 0, .rule = PLAN_GRACE, .until_ms = since_ms + spec->grace_ms};
    }
    return (struct plan){.want = 0, .write = true};
}

static struct plan to_zero(const struct plan_state *s, const struct scaling_spec *spec,
                           const struct plan_input *in)
{
    if (!spec->scale_to_zero) {
        return (struct plan){.want = 1, .write = true, .rule = PLAN_NO_ZERO};
    }
    uint64_t window_ms = spec->stable_window_s * 1000ull;
    uint64_t deadline_ms = in->progress_deadline_ms + PLAN_ACTIVATION_MARGIN_MS;
    switch (s->active) {
    case PLAN_ACTIVE:
        if (passed(in->now_ms, s->since_ms) < window_ms) {
            return (struct plan){.want = 1,
                                 .write = true,
                                 .rule = PLAN_RECENTLY_ACTIVE,
                                 .until_ms = s->since_ms + window_ms};
        }
        return (struct plan){.want = 0};
    case PLAN_ACTIVATING:
        if (passed(in->now_ms, s->since_ms) >= deadline_ms) {
            return (struct plan){.want = 0, .write = true, .rule = PLAN_GAVE_UP};
        }
        return (struct plan){
            .want = -1, .rule = PLAN_STARTING, .until_ms = s->since_ms + deadline_ms};
    case PLAN_INACTIVE:
    case PLAN_TIMED_OUT:
        break;
    }
    return from_inactive(s, spec, in);
}

static struct plan scale(const struct plan_state *s, const struct scaling_spec *spec,
                         const struct plan_input *in)
{
    if (s->desired < 0 && s->active != PLAN_ACTIVATING) {
        return (struct plan){.want = -1, .rule = PLAN_UNKNOWN};
    }
    struct plan plan = {.want = larger(s->desired, 0)};
    plan = bounded(s, spec, in, observed(spec, in, plan));
    if (plan.want == 0 && in->warm != PLAN_AS_DECIDED && in->reachable) {
        return (struct plan){
            .want = 1, .write = true, .rule = in->warm, .until_ms = in->warm_until_ms};
    }
    if (plan.want == 0) {
        return to_zero(s, spec, in);
    }
    plan.write = true;
    return plan;
}

static void become(struct plan_state *s, enum plan_active active, uint64_t now_ms)
{
    if (s->active != active) {
        s->active = active;
        s->since_ms = now_ms;
    }
}

static void settle(struct plan_state *s, const struct scaling_spec *spec,
                   const struct plan_input *in, int32_t want)
{
    int32_t threshold = plan_active_threshold(s, spec, in->reachable);
    bool inactive = s->active == PLAN_INACTIVE || s->active == PLAN_TIMED_OUT;
    if (in->ready >= threshold) {
        s->initialized = true;
    }
    if (want == 0 || threshold == 0) {
        bool gave_up = s->active == PLAN_ACTIVATING && threshold > 0;
        if (!inactive) {
            become(s, gave_up ? PLAN_TIMED_OUT : PLAN_INACTIVE, in->now_ms);
        }
    } else if (want > 0 || !inactive) {
        become(s, in->ready < threshold ? PLAN_ACTIVATING : PLAN_ACTIVE, in->now_ms);
    }
}

struct plan plan_make(struct plan_state *s, const struct scaling_spec *spec,
                      const struct decision *decision, const struct plan_input *in)
{
    if (decision != NULL && decision->valid) {
        s->desired = decision->desired;
    }
    struct plan plan = scale(s, spec, in);
    bool was_active = s->active == PLAN_ACTIVE;
    settle(s, spec, in, plan.want);
    if (was_active && s->active == PLAN_INACTIVE && !plan.write) {
        plan = scale(s, spec, in);
        settle(s, spec, in, plan.want);
    }
    bool blind = in->replicas < 0 && !in->held;
    if (in->replicas == plan.want || plan.want < 0 || blind) {
        plan.write = false;
    }
    return plan;
}
