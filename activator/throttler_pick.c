// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: which replica takes the next request, and what its answers and failures mean for that.
 *
 * Failure modes: a replica that cannot be reached, that drains, or that broke off without a word is
 * set aside and probed, with a pause that doubles; only a probe that succeeds brings it back. One
 * that says "full" is taken at its word: it keeps what it has of ours, and one more is tried after
 * a pause that doubles up to 100 ms (another caller may have taken its slots, or a function may
 * still work for a client that has left).
 */
#include "base/mem.h"
#include "activator/throttler_internal.h"

#define WINDOW_FIRST      64u
#define WINDOW_MAX        (1u << 20)
#define WINDOW_STEP_NS    (100 * CLOCK_NS_PER_MS)
#define PROBE_FIRST_MS    5u
#define PROBE_MAX_MS      1000u
#define FULL_FIRST_MS     2u
#define FULL_MAX_MS       100u
#define DRAINING_PAUSE_NS CLOCK_NS_PER_S
#define FIRST_FREE_UP_TO  3u /* containerConcurrency up to which the first free replica is taken */

bool replica_ready(const struct replica *p)
{
    return p->ready && !p->terminating && p->address[0] != '\0';
}

uint32_t revision_usable(const struct revision *r, uint64_t now_ns)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->replica_count; i++) {
        const struct replica *p = r->replicas[i];
        n += replica_ready(p) && !p->suspect ? 1 : 0;
    }
    return n;
}

static uint64_t doubled(uint64_t first_ms, uint32_t times, uint64_t max_ms)
{
    uint64_t ms = first_ms << (times > 20 ? 20 : times);
    return (ms > max_ms ? max_ms : ms) * CLOCK_NS_PER_MS;
}

/* --- set aside, probed ---------------------------------------------------------------------- */

void replica_suspect(struct throttler *t, struct replica *p, uint64_t probe_at_ns)
{
    if (p->suspect || p->gone) {
        return; /* the probe decides, however many requests had gone the same way */
    }
    p->suspect = true;
    p->failures++;
    p->probe_at_ns = probe_at_ns;
    list_push_back(&t->suspects, &p->suspect_link);
}

struct replica *throttler_next_probe(struct throttler *t, uint64_t now_ns)
{
    list_foreach (node, &t->suspects) {
        struct replica *p = LIST_ENTRY(node, struct replica, suspect_link);
        if (!p->probing && replica_ready(p) && p->probe_at_ns <= now_ns) {
            p->probing = true;
            return p;
        }
    }
    return NULL;
}

void throttler_probed(struct throttler *t, struct replica *p, bool ok, uint64_t now_ns)
{
    p->probing = false;
    if (!p->suspect) {
        return;
    }
    if (ok) {
        replica_good(p);
        revision_wake(t, p->revision);
        return;
    }
    p->failures++;
    p->probe_at_ns =
        now_ns +
        (p->draining ? DRAINING_PAUSE_NS : doubled(PROBE_FIRST_MS, p->failures - 2, PROBE_MAX_MS));
}

void replica_good(struct replica *p)
{
    p->failures = 0;
    p->suspect = false;
    list_remove(&p->suspect_link);
    p->draining = false;
    p->full_count = 0;
}

/* --- full ----------------------------------------------------------------------------------- */

static void full(struct replica *p, const struct ticket *tk, uint64_t now_ns)
{
    if (p->full_count == 0 || tk->trial) { /* others went out together with the first refused one */
        p->full_count++;
    }
    p->room = p->in_flight - 1;
    p->full_at_ns = now_ns;
    p->full_until_ns = now_ns + doubled(FULL_FIRST_MS, p->full_count - 1, FULL_MAX_MS);
}

void replica_taken(struct replica *p, struct ticket *tk, uint64_t now_ns)
{
    p->in_flight++;
    p->total++;
    tk->trial = p->full_count > 0 && p->in_flight > p->room;
    if (tk->trial) { /* the next one not before this one had its time to be refused */
        p->room = p->in_flight;
        p->full_until_ns = now_ns + doubled(FULL_FIRST_MS, p->full_count - 1, FULL_MAX_MS);
    }
}

void replica_answered(struct replica *p, const struct ticket *tk)
{
    p->failures = p->suspect ? p->failures : 0;
    if (p->full_count == 0 || tk->granted_ns < p->full_at_ns) {
        return;
    }
    uint32_t limit = p->revision->concurrency;
    if (limit == 0 || p->room >= limit) {
        p->full_count = 0;
    } else if (tk->trial) {
        p->full_count = 1; /* there was room for one more: try the next one */
        p->full_until_ns = 0;
    }
}

void revision_answered(struct revision *r)
{
    if (r->held > 0 && r->window < WINDOW_MAX && ++r->window_answers >= r->replica_count) {
        r->window_answers = 0;
        r->window++;
    }
}

void replica_bad(struct throttler *t, const struct ticket *tk, enum give_back why, uint64_t now_ns)
{
    struct replica *p = tk->replica;
    switch (why) {
    case GIVE_BACK_FULL:
        full(p, tk, now_ns);
        break;
    case GIVE_BACK_DRAINING:
        p->draining = true;
        replica_suspect(t, p, now_ns + DRAINING_PAUSE_NS);
        break;
    case GIVE_BACK_UNREACHABLE:
        replica_suspect(t, p, now_ns);
        break;
    case GIVE_BACK_LOCAL:
    case GIVE_BACK_STALE:
        break;
    }
}

uint64_t revision_next_try_ns(const struct revision *r, uint64_t now_ns)
{
    uint64_t at = UINT64_MAX;
    for (uint32_t i = 0; i < r->replica_count; i++) {
        const struct replica *p = r->replicas[i];
        if (replica_ready(p) && p->full_count > 0 && p->full_until_ns > now_ns &&
            p->full_until_ns < at) {
            at = p->full_until_ns;
        }
    }
    if (r->concurrency == 0 && r->held > 0 && revision_usable(r, now_ns) > 0) {
        uint64_t grow = r->window_at_ns + WINDOW_STEP_NS;
        at = grow < at ? grow : at;
    }
    return at;
}

/* --- balancing ------------------------------------------------------------------------------ */

static bool has_slot(const struct revision *r, const struct replica *p, bool paced, uint64_t now_ns)
{
    if (!replica_ready(p) || p->suspect) {
        return false;
    }
    if (p->full_count > 0 && p->in_flight >= p->room && now_ns < p->full_until_ns) {
        return false;
    }
    if (r->concurrency > 0) {
        return p->in_flight < r->concurrency;
    }
    return !paced || p->in_flight < r->window;
}

/* containerConcurrency 0: of two random ones that with fewer in flight; a walk when both are out.
 */
static struct replica *pick_two_choices(struct throttler *t, struct revision *r, bool paced,
                                        uint64_t now_ns)
{
    uint32_t n = r->replica_count;
    struct replica *a = r->replicas[n > 1 ? prng_below(&t->prng, n) : 0];
    if (n == 1) {
        return has_slot(r, a, paced, now_ns) ? a : NULL;
    }
    uint32_t second = prng_below(&t->prng, n - 1);
    struct replica *b = r->replicas[second] == a ? r->replicas[n - 1] : r->replicas[second];
    bool a_ok = has_slot(r, a, paced, now_ns);
    bool b_ok = has_slot(r, b, paced, now_ns);
    if (a_ok && b_ok) {
        return b->in_flight < a->in_flight ? b : a;
    }
    if (a_ok || b_ok) {
        return a_ok ? a : b;
    }
    struct replica *best = NULL;
    for (uint32_t i = 0; i < n; i++) {
        struct replica *p = r->replicas[i];
        if (has_slot(r, p, paced, now_ns) && (best == NULL || p->in_flight < best->in_flight)) {
            best = p;
        }
    }
    return best;
}

/* One that is known to have room; only if there is none, one that said "full" a while ago. */
static struct replica *pick_in_turn(struct revision *r, uint32_t from, uint64_t now_ns)
{
    uint32_t trial = r->replica_count;
    for (uint32_t i = 0; i < r->replica_count; i++) {
        uint32_t at = (from + i) % r->replica_count;
        const struct replica *p = r->replicas[at];
        if (!has_slot(r, p, false, now_ns)) {
            continue;
        }
        if (p->full_count == 0 || p->in_flight < p->room) {
            r->next_rr = at + 1;
            return r->replicas[at];
        }
        trial = trial == r->replica_count ? at : trial;
    }
    if (trial == r->replica_count) {
        return NULL;
    }
    r->next_rr = trial + 1;
    return r->replicas[trial];
}

struct replica *revision_pick(struct throttler *t, struct revision *r, bool paced, uint64_t now_ns)
{
    if (!r->known || r->borrowed || r->replica_count == 0) {
        return NULL;
    }
    if (t->in_flight >= t->max_in_flight || now_ns < t->stalled_until_ns) {
        return NULL;
    }
    if (r->concurrency == 0) {
        if (r->window < WINDOW_FIRST) { /* the first replica became ready just now */
            r->window = WINDOW_FIRST;
            r->window_at_ns = now_ns;
        }
        while (paced && r->window < WINDOW_MAX && now_ns >= r->window_at_ns + WINDOW_STEP_NS) {
            r->window *= 2;
            r->window_at_ns += WINDOW_STEP_NS;
        }
        return pick_two_choices(t, r, paced, now_ns);
    }
    return pick_in_turn(r, r->concurrency <= FIRST_FREE_UP_TO ? 0 : r->next_rr, now_ns);
}
