// SPDX-License-Identifier: Apache-2.0
#include "queue-proxy/request_stats.h"

#include "base/mem.h"

#define PERIOD_NS 1000000000ull

void request_stats_init(struct request_stats *s, uint64_t now_ns)
{
    *s = (struct request_stats){.started_ns = now_ns, .period_ns = now_ns, .change_ns = now_ns};
}

static void weigh(struct request_stats *s, uint64_t until_ns)
{
    if (until_ns > s->change_ns) {
        double span = (double)(until_ns - s->change_ns);
        s->weight += span * s->in_flight;
        s->proxied_weight += span * s->proxied_in_flight;
        s->change_ns = until_ns;
    }
}

static struct request_numbers numbers(const struct request_stats *s, double span_ns)
{
    return (struct request_numbers){
        .concurrency = s->weight / span_ns,
        .proxied_concurrency = s->proxied_weight / span_ns,
        .count = (double)s->count,
        .proxied_count = (double)s->proxied_count,
    };
}

static void close_period(struct request_stats *s)
{
    uint64_t end = s->period_ns + PERIOD_NS;
    weigh(s, end);
    s->last = numbers(s, (double)PERIOD_NS);
    s->period_ns = end;
    s->busy_s += s->weight / 1e9;
    s->weight = 0;
    s->proxied_weight = 0;
    s->count = 0;
    s->proxied_count = 0;
}

/* Closes what has passed. Of many quiet periods only the last matters, and it is like the others.
 */
static void advance(struct request_stats *s, uint64_t now_ns)
{
    if (now_ns < s->period_ns + PERIOD_NS) {
        return;
    }
    close_period(s);
    uint64_t behind = (now_ns - s->period_ns) / PERIOD_NS;
    if (behind > 1) {
        s->busy_s += (double)s->in_flight * (double)(behind - 1);
        s->period_ns += (behind - 1) * PERIOD_NS;
        s->change_ns = s->period_ns;
    }
    if (behind > 0) {
        close_period(s);
    }
}

void request_stats_in(struct request_stats *s, uint64_t now_ns, bool proxied)
{
    advance(s, now_ns);
    weigh(s, now_ns);
    s->in_flight++;
    s->count++;
    s->total++;
    if (proxied) {
        s->proxied_in_flight++;
        s->proxied_count++;
    }
}

void request_stats_out(struct request_stats *s, uint64_t now_ns, bool proxied)
{
    advance(s, now_ns);
    weigh(s, now_ns);
    REQUIRE(s->in_flight > 0 && (!proxied || s->proxied_in_flight > 0));
    s->in_flight--;
    if (proxied) {
        s->proxied_in_flight--;
    }
}

struct request_numbers request_stats_read(struct request_stats *s, uint64_t now_ns)
{
    advance(s, now_ns);
    if (s->period_ns == s->started_ns) { /* no whole period yet */
        weigh(s, now_ns);
        double span = (double)(now_ns - s->started_ns);
        return span > 0 ? numbers(s, span) : (struct request_numbers){.count = (double)s->count};
    }
    return s->last;
}

double request_stats_busy_s(struct request_stats *s, uint64_t now_ns)
{
    advance(s, now_ns);
    weigh(s, now_ns);
    return s->busy_s + s->weight / 1e9;
}
