// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Averages over target give two wishes; each is clamped to what one step may do; panic mode
 * takes the larger and never falls; the scale-down delay takes the largest of the recent results.
 * Requests that are known to wait raise the result of this one decision to what can run them all at
 * once; they change neither averages nor panic: those follow from the reports, as in Knative.
 *
 * A backlog of events is a level, not a rate: its average means nothing. What waits now gives the
 * wish upwards at once, and what the wish was at most within the stable window holds downwards, so
 * that a queue that fills and drains does not make replicas come and go. The larger of it and of
 * what the requests ask for counts; it changes neither averages nor panic either.
 * Failure mode: no data gives an invalid decision, and the state stays as it is.
 * The arithmetic is in doubles in the order of the reference: results agree to the bit.
 */
#include "autoscaler/decider.h"

#include <math.h>

const char *decider_rule_text(enum decider_rule rule)
{
#define RULE_TEXT(id, text) text,
    static const char *const texts[] = {DECIDER_RULE_MAP(RULE_TEXT)};
#undef RULE_TEXT
    return rule < DECIDER_RULE_N ? texts[rule] : "unknown";
}

void decider_init(struct decider *d, uint64_t now_ms, int32_t ready)
{
    *d = (struct decider){.panic_most = ready};
    if (ready > 1) {
        d->panicking = true;
        d->panic_ms = now_ms;
    }
}

void decider_fini(struct decider *d)
{
    window_max_fini(&d->delay);
    window_max_fini(&d->backlog);
}

static int32_t whole(double pods)
{
    if (!(pods > 0)) {
        return 0;
    }
    return pods >= INT32_MAX ? INT32_MAX : (int32_t)pods;
}

static int32_t clamp(double pods, double max_down, double max_up)
{
    return whole(fmin(fmax(pods, max_down), max_up));
}

static void update_panic(struct decider *d, const struct scaling_spec *spec, uint64_t now_ms,
                         bool over)
{
    if (over) {
        d->panicking = true;
        d->panic_ms = now_ms;
    } else if (d->panicking && d->panic_ms + spec->stable_window_s * 1000ull < now_ms) {
        d->panicking = false;
        d->panic_ms = 0;
        d->panic_most = 0;
    }
}

static int32_t burst_capacity(const struct scaling_spec *spec, int32_t ready, double panic)
{
    if (spec->target_burst_capacity == 0) {
        return 0;
    }
    if (spec->target_burst_capacity < 0) {
        return -1;
    }
    double spare = floor((double)ready * spec->total - spec->target_burst_capacity - panic);
    return (int32_t)fmin(fmax(spare, INT32_MIN), INT32_MAX);
}

/* One of the two wishes with its reason. */
struct wish {
    int32_t pods;
    enum decider_rule rule;
};

static struct wish make_wish(const struct scaling_spec *spec, double wanted, double max_down,
                             double max_up, enum decider_rule rule)
{
    struct wish wish = {clamp(wanted, max_down, max_up), rule};
    if (wanted > max_up) {
        wish.rule = DECIDER_MAX_UP;
    } else if (wanted < max_down) {
        wish.rule = DECIDER_MAX_DOWN;
    }
    if (spec->activation_scale > 1 && wanted > 0 && spec->activation_scale > wish.pods) {
        wish = (struct wish){spec->activation_scale, DECIDER_ACTIVATION};
    }
    return wish;
}

static void apply_panic(struct decider *d, const struct scaling_spec *spec, struct wish *wish,
                        struct wish panic, struct decision *out)
{
    if (wish->pods < panic.pods) {
        *wish = panic;
    }
    if (wish->pods > d->panic_most) {
        d->panic_most = wish->pods;
    } else if (wish->pods < d->panic_most) {
        *wish = (struct wish){d->panic_most, DECIDER_PANIC_HOLD};
        out->until_ms = d->panic_ms + spec->stable_window_s * 1000ull + 1;
    }
}

static void apply_delay(struct decider *d, const struct scaling_spec *spec,
                        const struct decider_input *in, struct wish *wish, struct decision *out)
{
    int64_t second = (int64_t)(in->now_ms / 1000);
    window_max_resize(&d->delay, spec->scale_down_delay_s, DECIDER_TICK_MS / 1000);
    if (!in->reachable || spec->scale_down_delay_s == 0) {
        return;
    }
    int32_t most = window_max_record(&d->delay, second, wish->pods);
    if (most > wish->pods) {
        int64_t until = window_max_until(&d->delay, second, wish->pods);
        out->until_ms = (uint64_t)(until + 1) * 1000;
        out->delay_most = most;
        *wish = (struct wish){most, DECIDER_DELAY};
    }
}

/* Replicas that can run all requests that wait, each at its capacity: no utilization in it. */
static struct wish held_wish(const struct scaling_spec *spec, double held, double max_up)
{
    double pods = spec->metric != SCALING_RPS ? ceil(held / spec->total) : 1;
    return (struct wish){clamp(fmax(pods, 1), 0, max_up), DECIDER_HELD_REQUEST};
}

/* The most that events asked for in the stable window, and what they ask for now. */
static void apply_backlog(struct decider *d, const struct scaling_spec *spec,
                          const struct decider_input *in, struct wish *wish, struct decision *out)
{
    int64_t second = (int64_t)(in->now_ms / 1000);
    bool used = spec->metric == SCALING_BACKLOG;
    window_max_resize(&d->backlog, used ? spec->stable_window_s : 0, DECIDER_TICK_MS / 1000);
    if (!used) {
        return;
    }
    double wanted = in->backlog > 0 ? ceil(in->backlog / spec->backlog_target) : 0;
    struct wish now = make_wish(spec, wanted, 0, (double)out->max_up, DECIDER_BACKLOG);
    int32_t most = window_max_record(&d->backlog, second, now.pods);
    out->backlog_most = most > now.pods ? most : 0;
    if (most > now.pods && most > wish->pods) {
        int64_t until = window_max_until(&d->backlog, second, most - 1);
        out->until_ms = (uint64_t)(until + 1) * 1000;
        *wish = (struct wish){most, DECIDER_BACKLOG_HOLD};
    } else if (now.pods > 0 && now.pods >= wish->pods) {
        out->until_ms = 0;
        *wish = now;
    }
}

struct decision decider_decide(struct decider *d, const struct scaling_spec *spec,
                               const struct decider_input *in)
{
    struct decision out = {.ready = in->ready,
                           .stable = in->stable,
                           .panic = in->panic,
                           .reachable = in->reachable,
                           .held = in->held,
                           .backlog = in->backlog,
                           .panic_before = d->panic_most};
    bool held = in->held > 0;
    bool waiting = spec->metric == SCALING_BACKLOG && in->backlog > 0;
    if (!in->has_data && !held && !waiting) {
        return out;
    }
    double ready = fmax(1, (double)in->ready);
    double max_up = ceil(spec->max_scale_up_rate * ready);
    double max_down = in->reachable ? floor(ready / spec->max_scale_down_rate) : 0;
    double stable_wanted = in->has_data ? ceil(in->stable / spec->target) : 0;
    double panic_wanted = in->has_data ? ceil(in->panic / spec->target) : 0;
    bool raised = held && stable_wanted < 1 && panic_wanted < 1;
    if (held) {
        stable_wanted = fmax(stable_wanted, 1);
        panic_wanted = fmax(panic_wanted, 1);
    }
    struct wish wish = make_wish(spec, stable_wanted, max_down, max_up,
                                 raised ? DECIDER_HELD_REQUEST : DECIDER_STABLE);
    struct wish panic = make_wish(spec, panic_wanted, max_down, max_up,
                                  raised ? DECIDER_HELD_REQUEST : DECIDER_PANIC);
    out.valid = true;
    out.stable_pods = whole(stable_wanted);
    out.panic_pods = whole(panic_wanted);
    out.max_up = whole(max_up);
    out.max_down = whole(max_down);

    update_panic(d, spec, in->now_ms, panic_wanted / ready >= spec->panic_threshold);
    if (d->panicking) {
        apply_panic(d, spec, &wish, panic, &out);
    }
    struct wish now = held ? held_wish(spec, in->held, max_up) : wish;
    if (now.pods > wish.pods) {
        wish = now;
        out.until_ms = 0;
    }
    apply_backlog(d, spec, in, &wish, &out);
    apply_delay(d, spec, in, &wish, &out);
    out.panicking = d->panicking;
    out.desired = wish.pods;
    out.rule = wish.rule;
    out.excess_burst = burst_capacity(spec, in->ready, in->panic);
    return out;
}
