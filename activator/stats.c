// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: an integral. Each change of the concurrency adds (concurrency × time since the last
 * change); a report divides by the length of the period. An empty period (two reports in the same
 * nanosecond) reports the concurrency of that moment.
 */
#include "activator/stats.h"

#include "base/mem.h"

static void advance(struct stat_meter *m, uint64_t now_ns)
{
    if (m->since_ns == 0) {
        m->since_ns = now_ns;
        m->last_ns = now_ns;
    }
    if (now_ns > m->last_ns) {
        m->area += (uint64_t)m->now * (now_ns - m->last_ns);
        m->last_ns = now_ns;
    }
}

void stat_meter_enter(struct stat_meter *m, uint64_t now_ns)
{
    advance(m, now_ns);
    m->now++;
    m->count++;
    m->total++;
}

void stat_meter_leave(struct stat_meter *m, uint64_t now_ns)
{
    REQUIRE(m->now > 0);
    advance(m, now_ns);
    m->now--;
}

void stat_meter_report(struct stat_meter *m, uint64_t now_ns, struct stat_report *out)
{
    advance(m, now_ns);
    uint64_t period = m->last_ns - m->since_ns;
    out->concurrency = period > 0 ? (double)m->area / (double)period : (double)m->now;
    out->count = (double)m->count;
    out->rate = period > 0 ? (double)m->count * 1e9 / (double)period : 0;
    m->last = *out;
    m->busy_s += (double)m->area / 1e9;
    m->area = 0;
    m->count = 0;
    m->since_ns = m->last_ns;
}

double stat_meter_busy_s(const struct stat_meter *m, uint64_t now_ns)
{
    uint64_t open = now_ns > m->last_ns ? (uint64_t)m->now * (now_ns - m->last_ns) : 0;
    return m->busy_s + (double)(m->area + open) / 1e9;
}
