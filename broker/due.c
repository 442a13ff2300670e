// SPDX-License-Identifier: Apache-2.0
/* Plan: next_s is the one thing that is known; each question moves it. */
#include "broker/due.h"

#define JUMP_MS   2000
#define ON_TIME_S 2

void due_forget(struct due *d)
{
    d->known = false;
    d->next_s = INT64_MAX;
}

bool due_clock(struct due *d, int64_t now_ms, bool asking)
{
    bool put_back = now_ms + JUMP_MS < d->wall_ms;
    if (asking && put_back) {
        return false; /* the answer is by the old clock: it is seen again */
    }
    d->wall_ms = now_ms;
    if (!put_back || !d->known) {
        return false;
    }
    due_forget(d);
    return true;
}

static void plan_after(struct due *d, const struct due_rules *r, int64_t after_s)
{
    if (!cron_next(r->cron, r->zone, after_s, &d->next_s)) {
        d->next_s = INT64_MAX;
    }
}

/* The last run after from_s that is not too old. */
static bool missed(const struct due_rules *r, int64_t from_s, int64_t now_s, int64_t *out_s)
{
    int64_t oldest_s = now_s - r->grace_s - 1;
    return cron_last(r->cron, r->zone, from_s > oldest_s ? from_s : oldest_s, now_s, out_s);
}

void due_from(struct due *d, const struct due_rules *r, int64_t from_ms, int64_t now_s)
{
    int64_t from_s = from_ms / 1000 - (from_ms % 1000 < 0 ? 1 : 0);
    int64_t missed_s = 0;
    d->known = true;
    plan_after(d, r, from_s > now_s ? from_s : now_s);
    if (missed(r, from_s, now_s, &missed_s)) {
        d->next_s = missed_s;
    }
}

bool due_now(struct due *d, const struct due_rules *r, int64_t now_s)
{
    int64_t run_s = 0;
    if (!d->known || now_s < d->next_s) {
        return false;
    }
    if (now_s - d->next_s <= ON_TIME_S) {
        return true;
    }
    if (missed(r, d->next_s - 1, now_s, &run_s)) {
        d->next_s = run_s;
        return true;
    }
    plan_after(d, r, now_s);
    return false;
}

void due_done(struct due *d, const struct due_rules *r, int64_t now_s)
{
    plan_after(d, r, d->next_s > now_s ? d->next_s : now_s);
}
