// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: what is known of one revision and its replicas, and which replica takes the next request.
 *
 * Failure modes: a replica that cannot be reached or that drains is set aside for a time that
 * doubles with each failure in a row and is then tried with one real request (it goes back to its
 * place when that fails too); one that says "full" rests for a few milliseconds or until a request
 * on it ends. A Pod that vanishes while requests run on it is kept until the last of them.
 */
#include <string.h>

#include "base/mem.h"
#include "activator/throttler_internal.h"

#define WINDOW_FIRST      64u
#define WINDOW_MAX        (1u << 20)
#define WINDOW_STEP_NS    (10 * CLOCK_NS_PER_MS)
#define ASIDE_FIRST_MS    5u
#define ASIDE_MAX_MS      1000u
#define DRAINING_FIRST_MS 1000u
#define DRAINING_MAX_MS   10000u
#define FULL_FIRST_MS     2u
#define FULL_MAX_MS       100u
#define FIRST_FREE_UP_TO  3u /* containerConcurrency up to which the first free replica is taken */

static void set_text(char **at, struct slice text)
{
    if (*at != NULL && slice_eq_str(text, *at)) {
        return;
    }
    free(*at);
    *at = slice_empty(text) ? NULL : slice_dup(text);
}

void revision_learn(struct throttler *t, struct revision *r, const struct revision_facts *facts,
                    uint64_t now_ns)
{
    bool failed = r->fail_reason != NULL;
    r->known = true;
    r->expiring_gone = false;
    r->concurrency = facts->concurrency;
    r->timeout_ms = facts->timeout_ms;
    set_text(&r->fail_reason, facts->reason);
    set_text(&r->fail_message, facts->message);
    if (!failed && r->fail_reason != NULL && r->blocked == 0) {
        r->fail_since_ns = now_ns;
    }
    revision_wake(t, r);
}

void revision_pod_blocked(struct revision *r, bool blocked, struct slice message, uint64_t now_ns)
{
    if (blocked) {
        if (r->blocked++ == 0 && r->fail_reason == NULL) {
            r->fail_since_ns = now_ns;
        }
        set_text(&r->blocked_message, message);
        return;
    }
    REQUIRE(r->blocked > 0);
    if (--r->blocked == 0) {
        set_text(&r->blocked_message, SLICE_EMPTY);
    }
}

const char *revision_failure(const struct revision *r, const char **out_message)
{
    const char *reason = r->fail_reason;
    const char *message = r->fail_message;
    if (!r->known) {
        reason = "RevisionUnknown";
        message = "the API has no such Revision (yet)";
    } else if (r->blocked > 0) {
        reason = "Unschedulable";
        message = r->blocked_message;
    }
    if (out_message != NULL) {
        *out_message = reason != NULL ? message : NULL;
    }
    return reason;
}

/* --- replicas ------------------------------------------------------------------------------- */

static void replica_free(struct throttler *t, struct replica *p)
{
    if (t->release != NULL) {
        t->release(t->release_ctx, p);
    }
    free(p->uid);
    free(p->name);
    free(p->address);
    free(p);
}

void replica_good(struct replica *p)
{
    p->aside_count = 0;
    p->aside_until_ns = 0;
    p->full_count = 0;
    p->full_until_ns = 0;
    p->draining = false;
}

static uint64_t doubled(uint64_t first_ms, uint32_t times, uint64_t max_ms)
{
    uint64_t ms = first_ms << (times > 20 ? 20 : times);
    return (ms > max_ms ? max_ms : ms) * CLOCK_NS_PER_MS;
}

void replica_bad(struct replica *p, enum give_back why, uint64_t now_ns)
{
    switch (why) {
    case GIVE_BACK_FULL:
        p->full_until_ns = now_ns + doubled(FULL_FIRST_MS, p->full_count, FULL_MAX_MS);
        p->full_count++;
        break;
    case GIVE_BACK_DRAINING:
        p->draining = true;
        p->aside_until_ns = now_ns + doubled(DRAINING_FIRST_MS, p->aside_count, DRAINING_MAX_MS);
        p->aside_count++;
        break;
    case GIVE_BACK_UNREACHABLE:
        p->aside_until_ns = now_ns + doubled(ASIDE_FIRST_MS, p->aside_count, ASIDE_MAX_MS);
        p->aside_count++;
        break;
    case GIVE_BACK_STALE:
        break;
    }
}

void replica_unref(struct throttler *t, struct replica *p)
{
    REQUIRE(p->in_flight > 0);
    p->in_flight--;
    if (p->gone && p->in_flight == 0) {
        p->revision->gone_busy--;
        replica_free(t, p);
    }
}

struct replica *revision_find_replica(const struct revision *r, struct slice uid)
{
    for (uint32_t i = 0; i < r->replica_count; i++) {
        if (slice_eq_str(uid, r->replicas[i]->uid)) {
            return r->replicas[i];
        }
    }
    return NULL;
}

static bool replica_ready(const struct replica *p)
{
    return p->ready && !p->terminating && p->address[0] != '\0';
}

static bool any_ready(const struct revision *r)
{
    for (uint32_t i = 0; i < r->replica_count; i++) {
        if (replica_ready(r->replicas[i])) {
            return true;
        }
    }
    return false;
}

struct replica *revision_put_replica(struct throttler *t, struct revision *r,
                                     const struct replica_facts *facts, uint64_t now_ns)
{
    bool had_ready = any_ready(r);
    struct replica *p = revision_find_replica(r, facts->uid);
    if (p != NULL && !slice_eq_str(facts->address, p->address) && p->address[0] != '\0') {
        revision_remove_replica(t, r, facts->uid); /* moved: requests on the old place go on */
        p = NULL;
    }
    if (p == NULL) {
        p = NEW(struct replica);
        p->uid = slice_dup(facts->uid);
        p->name = slice_dup(facts->name);
        p->address = slice_dup(facts->address);
        p->revision = r;
        r->replicas = xreallocarray(r->replicas, r->replica_count + 1, sizeof(struct replica *));
        r->replicas[r->replica_count++] = p;
    } else if (p->address[0] == '\0') {
        free(p->address);
        p->address = slice_dup(facts->address);
    }
    if (facts->ready && !p->ready) {
        replica_good(p);
    }
    p->ready = facts->ready;
    p->terminating = facts->terminating;
    if (!had_ready && replica_ready(p)) {
        r->window = WINDOW_FIRST;
        r->window_at_ns = now_ns;
    }
    revision_wake(t, r);
    return p;
}

void revision_remove_replica(struct throttler *t, struct revision *r, struct slice uid)
{
    for (uint32_t i = 0; i < r->replica_count; i++) {
        struct replica *p = r->replicas[i];
        if (!slice_eq_str(uid, p->uid)) {
            continue;
        }
        memmove(&r->replicas[i], &r->replicas[i + 1],
                (r->replica_count - i - 1) * sizeof(struct replica *));
        r->replica_count--;
        p->gone = true;
        if (p->in_flight == 0) {
            replica_free(t, p);
        } else {
            r->gone_busy++;
        }
        return;
    }
}

uint32_t revision_usable(const struct revision *r, uint64_t now_ns)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->replica_count; i++) {
        const struct replica *p = r->replicas[i];
        n += replica_ready(p) && now_ns >= p->aside_until_ns ? 1 : 0;
    }
    return n;
}

uint64_t revision_next_try_ns(const struct revision *r, uint64_t now_ns)
{
    uint64_t at = UINT64_MAX;
    for (uint32_t i = 0; i < r->replica_count; i++) {
        const struct replica *p = r->replicas[i];
        if (!replica_ready(p)) {
            continue;
        }
        uint64_t until =
            p->aside_until_ns > p->full_until_ns ? p->aside_until_ns : p->full_until_ns;
        if (until > now_ns && until < at) {
            at = until;
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
    if (!replica_ready(p) || now_ns < p->aside_until_ns || now_ns < p->full_until_ns) {
        return false;
    }
    if (p->aside_count > 0 && p->in_flight > 0) {
        return false; /* after a failure one request tries it, the others wait for the outcome */
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

static struct replica *pick_in_turn(struct revision *r, uint32_t from, uint64_t now_ns)
{
    for (uint32_t i = 0; i < r->replica_count; i++) {
        uint32_t at = (from + i) % r->replica_count;
        if (has_slot(r, r->replicas[at], false, now_ns)) {
            r->next_rr = at + 1;
            return r->replicas[at];
        }
    }
    return NULL;
}

struct replica *revision_pick(struct throttler *t, struct revision *r, bool paced, uint64_t now_ns)
{
    if (!r->known || r->replica_count == 0) {
        return NULL;
    }
    if (r->concurrency == 0) {
        while (paced && r->window < WINDOW_MAX && now_ns >= r->window_at_ns + WINDOW_STEP_NS) {
            r->window = r->window < WINDOW_FIRST ? WINDOW_FIRST : r->window * 2;
            r->window_at_ns += WINDOW_STEP_NS;
        }
        return pick_two_choices(t, r, paced, now_ns);
    }
    return pick_in_turn(r, r->concurrency <= FIRST_FREE_UP_TO ? 0 : r->next_rr, now_ns);
}
