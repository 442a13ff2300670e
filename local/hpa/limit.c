// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Stabilize: of the proposals within the window the largest holds back a decrease, the
 * smallest an increase. Then the rate: the replicas at the start of each policy's period are known
 * from the changes since. Then the bounds. What is older than every window is forgotten.
 */
#include "local/hpa/limit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define NS_PER_S  1000000000
#define MARKS_MAX 4096 /* a proposal a second for the longest window */
#define UP_FACTOR 2
#define UP_LEAST  4

static void forget_before(struct hpa_marks *m, int64_t cutoff_ns)
{
    size_t old = 0;
    while (old < m->count && m->marks[old].at_ns < cutoff_ns) {
        old++;
    }
    if (old > 0) {
        memmove(m->marks, m->marks + old, (m->count - old) * sizeof(*m->marks));
        m->count -= old;
    }
}

static void remember(struct hpa_marks *m, int32_t value, int64_t now_ns)
{
    if (m->count == MARKS_MAX) {
        memmove(m->marks, m->marks + 1, (m->count - 1) * sizeof(*m->marks));
        m->count--;
    }
    if (m->count == m->room) {
        m->room = m->room == 0 ? 16 : m->room * 2;
        m->marks = xreallocarray(m->marks, m->room, sizeof(*m->marks));
    }
    m->marks[m->count++] = (struct hpa_mark){now_ns, value};
}

void hpa_memory_fini(struct hpa_memory *memory)
{
    free(memory->proposals.marks);
    free(memory->ups.marks);
    free(memory->downs.marks);
    *memory = (struct hpa_memory){0};
}

void hpa_begin(struct hpa_memory *memory, int32_t current, int64_t now_ns)
{
    if (memory->proposals.count == 0) {
        remember(&memory->proposals, current, now_ns);
    }
}

/* --- stabilization ------------------------------------------------------------------------- */

static int64_t window_ns(const struct hpa_rules *rules)
{
    return (int64_t)rules->window_s * NS_PER_S;
}

/* A mark as old as the window does not count with rules of one's own, else it does. */
static bool inside(const struct hpa_mark *mark, int64_t now_ns, int64_t ns, bool strict)
{
    return strict ? mark->at_ns > now_ns - ns : mark->at_ns >= now_ns - ns;
}

/* How long the last proposal of this or more (or less) still counts. */
static int64_t held_for(const struct hpa_marks *m, int32_t value, bool more, int64_t now_ns,
                        int64_t ns)
{
    int64_t left = 0;
    for (size_t i = 0; i < m->count; i++) {
        if (more ? m->marks[i].value >= value : m->marks[i].value <= value) {
            left = m->marks[i].at_ns + ns - now_ns;
        }
    }
    return left > 0 ? left : 0;
}

static int32_t stabilize(struct hpa_memory *memory, const struct hpa_bounds *b, int32_t current,
                         int32_t proposal, int64_t now_ns, struct hpa_verdict *out)
{
    int64_t up_ns = b->behavior ? window_ns(&b->up) : 0, down_ns = window_ns(&b->down);
    int32_t lowest = proposal, highest = proposal;
    for (size_t i = 0; i < memory->proposals.count; i++) {
        const struct hpa_mark *mark = &memory->proposals.marks[i];
        if (b->behavior && inside(mark, now_ns, up_ns, true) && mark->value < lowest) {
            lowest = mark->value;
        }
        if (inside(mark, now_ns, down_ns, b->behavior) && mark->value > highest) {
            highest = mark->value;
        }
    }
    int32_t stable = highest;
    if (b->behavior) {
        stable = current < lowest ? lowest : current;
        stable = stable > highest ? highest : stable;
    }
    out->able_reason = "ReadyForNewScale";
    out->able_message = "recommended size matches current size";
    bool down = !b->behavior || proposal < current;
    if (stable != proposal && down) {
        out->able_reason = "ScaleDownStabilized";
        out->able_message = "recent recommendations were higher than current one, applying the "
                            "highest recent recommendation";
        out->held_ns = held_for(&memory->proposals, stable, true, now_ns, down_ns);
    } else if (stable != proposal) {
        out->able_reason = "ScaleUpStabilized";
        out->able_message = "recent recommendations were lower than current one, applying the "
                            "lowest recent recommendation";
        out->held_ns = held_for(&memory->proposals, stable, false, now_ns, up_ns);
    }
    forget_before(&memory->proposals, now_ns - (up_ns > down_ns ? up_ns : down_ns));
    remember(&memory->proposals, proposal, now_ns);
    return stable;
}

/* --- rates --------------------------------------------------------------------------------- */

static int64_t changed_within(const struct hpa_marks *m, int32_t period_s, int64_t now_ns)
{
    int64_t sum = 0;
    for (size_t i = 0; i < m->count; i++) {
        if (m->marks[i].at_ns > now_ns - (int64_t)period_s * NS_PER_S) {
            sum += m->marks[i].value;
        }
    }
    return sum;
}

static int32_t clamp(double value)
{
    return value > (double)INT32_MAX ? INT32_MAX : value < 0 ? 0 : (int32_t)value;
}

/* How far one policy lets the scale go. */
static int32_t reach(const struct hpa_memory *memory, const struct hpa_policy *p, int32_t current,
                     bool up, int64_t now_ns)
{
    double start = (double)(current - changed_within(&memory->ups, p->period_s, now_ns) +
                            changed_within(&memory->downs, p->period_s, now_ns));
    double by = up ? (double)p->value : -(double)p->value;
    /* in this order, as Kubernetes: 110 % of 100 are 110.00000000000001 of them */
    double far = p->percent ? start * (1 + by / 100) : start + by;
    /* up is rounded up, or a small share of few replicas would never be one */
    return clamp(up ? ceil(far) : far);
}

static int32_t farthest(const struct hpa_memory *memory, const struct hpa_rules *rules,
                        int32_t current, bool up, int64_t now_ns)
{
    if (rules->select == HPA_SELECT_DISABLED || rules->count == 0) {
        return current;
    }
    bool larger = (rules->select == HPA_SELECT_MAX) == up; /* of two limits the larger one */
    int32_t limit = 0;
    for (size_t i = 0; i < rules->count; i++) {
        int32_t one = reach(memory, &rules->policies[i], current, up, now_ns);
        limit = i == 0 || (larger ? one > limit : one < limit) ? one : limit;
    }
    return up ? (limit < current ? current : limit) : (limit > current ? current : limit);
}

/* --- bounds -------------------------------------------------------------------------------- */

static int32_t limited(struct hpa_verdict *out, int32_t replicas, const char *reason,
                       const char *message)
{
    out->limited = true;
    out->limit_reason = reason;
    out->limit_message = message;
    return replicas;
}

static int32_t bound_above(struct hpa_verdict *out, int32_t wanted, int32_t max, int32_t rate)
{
    if (wanted <= max && wanted <= rate) {
        return wanted;
    }
    return max > rate ? limited(out, rate, "ScaleUpLimit",
                                "the desired replica count is increasing faster than the maximum "
                                "scale rate")
                      : limited(out, max, "TooManyReplicas",
                                "the desired replica count is more than the maximum replica count");
}

static int32_t bound_below(struct hpa_verdict *out, int32_t wanted, int32_t min, int32_t rate)
{
    if (wanted >= min && wanted >= rate) {
        return wanted;
    }
    return min < rate ? limited(out, rate, "ScaleDownLimit",
                                "the desired replica count is decreasing faster than the maximum "
                                "scale rate")
                      : limited(out, min, "TooFewReplicas",
                                "the desired replica count is less than the minimum replica count");
}

void hpa_limit(struct hpa_memory *memory, const struct hpa_bounds *b, int32_t current,
               int32_t proposal, int64_t now_ns, struct hpa_verdict *out)
{
    *out = (struct hpa_verdict){
        .limit_reason = "DesiredWithinRange",
        .limit_message = "the desired count is within the acceptable range",
    };
    int32_t wanted = stabilize(memory, b, current, proposal, now_ns, out);
    if (!b->behavior) {
        int32_t rate = current > INT32_MAX / UP_FACTOR ? INT32_MAX : current * UP_FACTOR;
        rate = rate < UP_LEAST ? UP_LEAST : rate;
        out->replicas = wanted < b->min ? bound_below(out, wanted, b->min, INT32_MIN)
                                        : bound_above(out, wanted, b->max, rate);
    } else if (wanted > current) {
        out->replicas =
            bound_above(out, wanted, b->max, farthest(memory, &b->up, current, true, now_ns));
    } else if (wanted < current) {
        out->replicas =
            bound_below(out, wanted, b->min, farthest(memory, &b->down, current, false, now_ns));
    } else {
        out->replicas = wanted;
    }
}

void hpa_changed(struct hpa_memory *memory, const struct hpa_bounds *b, int32_t from, int32_t to,
                 int64_t now_ns)
{
    if (!b->behavior || from == to) {
        return;
    }
    struct hpa_marks *m = to > from ? &memory->ups : &memory->downs;
    forget_before(m, now_ns - (int64_t)HPA_PERIOD_MAX_S * NS_PER_S);
    remember(m, to > from ? to - from : from - to, now_ns);
}
