// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: the queues of held tickets: their bounds, their deadlines, when the autoscaler is told, and
 * how long one more would have to wait.
 *
 * Failure modes: the common bound is reached: who holds most gives way to who holds less; refused
 * otherwise. A request that came back from a replica is put at its old place by its number,
 * whatever the limits say: it was let in before. Deadlines are in queue order (one hold time per
 * revision), so only heads are looked at.
 */
#include "base/mem.h"
#include "activator/throttler_internal.h"

#define POKE_FIRST_NS      (200 * CLOCK_NS_PER_MS)
#define POKE_MAX_NS        (2 * CLOCK_NS_PER_S)
#define POKE_MORE_NS       (20 * CLOCK_NS_PER_MS)  /* least time between pokes that say more */
#define POKE_WARM_WAIT_NS  (250 * CLOCK_NS_PER_MS) /* a queue that is no moment's */
#define COLD_GUESS_NS      CLOCK_NS_PER_S          /* of a revision that never started here */
#define RETRY_AFTER_MAX_S  120u
#define RETRY_AFTER_FAIL_S 5u

static struct ticket *head_of(const struct revision *r)
{
    return LIST_ENTRY(list_first(&r->queue), struct ticket, link);
}

/* --- bounds --------------------------------------------------------------------------------- */

/* The newest request of this process in the queue loses its place. */
static void push_out(struct throttler *t, struct revision *r)
{
    struct list *at = r->queue.prev;
    while (LIST_ENTRY(at, struct ticket, link)->kind != TICKET_REQUEST) {
        at = at->prev; /* there is one: held_own is not 0 */
    }
    struct ticket *tk = LIST_ENTRY(at, struct ticket, link);
    hold_dequeue(t, r, tk);
    tk->state = TICKET_PUSHED_OUT;
    r->pushed++;
    r->refused++;
    list_push_back(&t->pushed, &tk->link);
}

/* The revision that holds most, by number or by bytes. */
static struct revision *biggest(const struct throttler *t, bool by_bytes)
{
    struct revision *most = NULL;
    list_foreach (node, &t->held) {
        struct revision *r = LIST_ENTRY(node, struct revision, held_link);
        if (most == NULL ||
            (by_bytes ? r->held_bytes > most->held_bytes : r->held_own > most->held_own)) {
            most = r;
        }
    }
    return most;
}

enum admit hold_make_room(struct throttler *t, struct revision *r, uint32_t bytes)
{
    const struct throttler_limits *l = &t->limits;
    if (r->held >= l->max_held_per_revision ||
        (l->max_held_bytes_per_revision > 0 &&
         r->held_bytes + bytes > l->max_held_bytes_per_revision)) {
        return ADMIT_REVISION_FULL;
    }
    if (bytes > l->max_held_bytes) {
        return ADMIT_TOTAL_FULL;
    }
    for (;;) {
        bool many = t->held_count >= l->max_held;
        bool heavy = t->held_bytes + bytes > l->max_held_bytes;
        if (!many && !heavy) {
            return ADMIT_HELD;
        }
        struct revision *most = biggest(t, !many);
        if (most == NULL || most->held_own == 0 ||
            (many ? most->held_own <= r->held_own + 1
                  : most->held_bytes <= r->held_bytes + bytes)) {
            return ADMIT_TOTAL_FULL;
        }
        push_out(t, most);
    }
}

/* --- queue ---------------------------------------------------------------------------------- */

void hold_enqueue(struct throttler *t, struct revision *r, struct ticket *tk, bool to_its_place)
{
    struct list *at = &r->queue;
    if (to_its_place) {
        at = r->queue.next;
        while (at != &r->queue && LIST_ENTRY(at, struct ticket, link)->seq < tk->seq) {
            at = at->next;
        }
    }
    list_insert_before(at, &tk->link);
    tk->state = TICKET_HELD;
    tk->replica = NULL;
    r->held++;
    if (tk->kind == TICKET_REQUEST) {
        r->held_own++;
        r->held_bytes += tk->bytes;
        t->held_count++;
        t->held_bytes += tk->bytes;
        if (r->borrowed && !tk->asked) {
            list_push_back(&t->asks, &tk->ask_link);
        }
    }
    if (!list_linked(&r->held_link)) {
        list_push_back(&t->held, &r->held_link);
    }
}

void hold_dequeue(struct throttler *t, struct revision *r, struct ticket *tk)
{
    list_remove(&tk->link);
    list_remove(&tk->ask_link);
    r->held--;
    if (tk->kind == TICKET_REQUEST) {
        r->held_own--;
        r->held_bytes -= tk->bytes;
        t->held_count--;
        t->held_bytes -= tk->bytes;
    }
    if (r->held == 0) {
        list_remove(&r->held_link);
        list_remove(&r->run_link);
        list_remove(&r->poke_link);
        r->poke_wait_ns = 0;
        r->poke_at_ns = 0;
        r->poke_more_ns = 0;
        r->poked_count = 0;
        r->cold_since_ns = 0;
        r->release_at_ns = 0;
    }
}

/* --- Retry-After ---------------------------------------------------------------------------- */

static uint64_t averaged(uint64_t average, uint64_t value, uint64_t weight)
{
    return average == 0 ? value : average - average / weight + value / weight;
}

void hold_if_cold(struct revision *r, uint64_t now_ns)
{
    if (r->cold_since_ns == 0 && revision_usable(r, now_ns) == 0) {
        r->cold_since_ns = now_ns;
        r->cold = (struct cold_marks){.decided_ns = 0};
    }
}

void hold_moved(struct revision *r, uint64_t now_ns)
{
    if (r->cold_since_ns != 0) {
        r->cold_ns = averaged(r->cold_ns, now_ns - r->cold_since_ns, 4);
        r->cold_since_ns = 0;
    } else if (r->release_at_ns != 0) {
        r->release_ns = averaged(r->release_ns, now_ns - r->release_at_ns, 16);
    }
    r->release_at_ns = now_ns;
}

unsigned revision_retry_after_s(const struct revision *r, uint64_t now_ns)
{
    uint64_t wait = r->held * r->release_ns;
    if (revision_usable(r, now_ns) == 0) {
        uint64_t cold = r->cold_ns == 0 ? COLD_GUESS_NS : r->cold_ns;
        uint64_t gone = r->cold_since_ns == 0 ? 0 : now_ns - r->cold_since_ns;
        wait += gone < cold ? cold - gone : cold / 2; /* late: who knows how much */
    }
    uint64_t s = (wait + CLOCK_NS_PER_S - 1) / CLOCK_NS_PER_S;
    if (revision_failure(r, NULL) != NULL && s < RETRY_AFTER_FAIL_S) {
        s = RETRY_AFTER_FAIL_S;
    }
    return s < 1 ? 1 : s > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : (unsigned)s;
}

/* --- telling the autoscaler ----------------------------------------------------------------- */

uint32_t revision_demand(const struct revision *r)
{
    return r->held + r->in_flight;
}

/* Twice as many as the autoscaler was told of, and more wait than run. */
static bool many_more(const struct revision *r)
{
    return revision_demand(r) >= 2 * (r->poked_count > 0 ? r->poked_count : 1) &&
           r->held >= r->in_flight;
}

/* When the next poke is due: nothing can answer, or the queue has grown to twice what it was told.
 */
static uint64_t poke_due_ns(const struct revision *r, uint64_t now_ns)
{
    if (r->held == 0 || r->borrowed) {
        return UINT64_MAX;
    }
    bool cold = revision_usable(r, now_ns) == 0;
    uint64_t at = cold ? r->poke_at_ns : UINT64_MAX;
    if (many_more(r) && (cold || r->concurrency > 0)) {
        uint64_t more = r->poke_more_ns;
        if (!cold && more < head_of(r)->enter_ns + POKE_WARM_WAIT_NS) {
            more = head_of(r)->enter_ns + POKE_WARM_WAIT_NS;
        }
        at = more < at ? more : at;
    }
    return at;
}

void hold_poke_if_due(struct throttler *t, struct revision *r, uint64_t now_ns)
{
    if (poke_due_ns(r, now_ns) <= now_ns && !list_linked(&r->poke_link)) {
        list_push_back(&t->pokes, &r->poke_link);
    }
}

struct revision *throttler_next_poke(struct throttler *t, uint64_t now_ns)
{
    struct list *node;
    while ((node = list_pop_front(&t->pokes)) != NULL) {
        struct revision *r = LIST_ENTRY(node, struct revision, poke_link);
        if (poke_due_ns(r, now_ns) > now_ns) {
            continue;
        }
        if (now_ns >= r->poke_at_ns) {
            r->poke_wait_ns = r->poke_wait_ns == 0 ? POKE_FIRST_NS : r->poke_wait_ns * 2;
            if (r->poke_wait_ns > POKE_MAX_NS) {
                r->poke_wait_ns = POKE_MAX_NS;
            }
            r->poke_at_ns = now_ns + r->poke_wait_ns;
        }
        r->poke_more_ns = now_ns + POKE_MORE_NS;
        r->poked_count = revision_demand(r);
        return r;
    }
    return NULL;
}

void throttler_poke_again(struct throttler *t, uint64_t now_ns)
{
    list_foreach (node, &t->held) {
        struct revision *r = LIST_ENTRY(node, struct revision, held_link);
        r->poke_at_ns = 0;
        r->poke_wait_ns = 0;
        r->poke_more_ns = 0;
        r->poked_count = 0;
        hold_poke_if_due(t, r, now_ns);
    }
}

/* --- time ----------------------------------------------------------------------------------- */

/* When the head of the queue has waited long enough. A failure counts while nothing can answer. */
static uint64_t head_deadline(const struct throttler *t, const struct revision *r, uint64_t now_ns,
                              enum expiry *out_why)
{
    const struct ticket *tk = head_of(r);
    *out_why = EXPIRY_DEADLINE;
    if (r->expiring_gone) {
        *out_why = EXPIRY_GONE;
        return 0;
    }
    if (revision_failure(r, NULL) != NULL && revision_usable(r, now_ns) == 0) {
        uint64_t from = tk->enter_ns > r->fail_since_ns ? tk->enter_ns : r->fail_since_ns;
        uint64_t until = from + t->limits.fail_grace_ms * CLOCK_NS_PER_MS;
        if (until < tk->deadline_ns) {
            *out_why = EXPIRY_FAILED;
            return until;
        }
    }
    return tk->deadline_ns;
}

/* Off the numbers; its revision stays for the caller to look at. */
static struct ticket *expire(struct ticket *tk, uint64_t now_ns)
{
    if (tk->kind == TICKET_REQUEST) {
        stat_meter_leave(&tk->revision->meter, now_ns);
    }
    tk->state = TICKET_IDLE;
    return tk;
}

struct ticket *throttler_expired(struct throttler *t, uint64_t now_ns, enum expiry *out_why)
{
    struct list *node = list_pop_front(&t->pushed);
    if (node != NULL) {
        struct ticket *tk = LIST_ENTRY(node, struct ticket, link);
        tk->revision->pushed--;
        *out_why = EXPIRY_PUSHED;
        if (!list_linked(&tk->revision->expire_link)) { /* to be looked at, and perhaps freed */
            list_push_back(&t->expiring, &tk->revision->expire_link);
        }
        return expire(tk, now_ns);
    }
    while ((node = list_first(&t->expiring)) != NULL) {
        struct revision *r = LIST_ENTRY(node, struct revision, expire_link);
        if (r->held == 0 || head_deadline(t, r, now_ns, out_why) > now_ns) {
            list_remove(node);
            r->expiring_gone = r->expiring_gone && r->held > 0;
            revision_drop_if_empty(t, r);
            continue;
        }
        struct ticket *tk = head_of(r);
        hold_dequeue(t, r, tk);
        return expire(tk, now_ns);
    }
    return NULL;
}

uint64_t throttler_tick(struct throttler *t, uint64_t now_ns)
{
    uint64_t wake = UINT64_MAX;
    list_foreach (node, &t->held) {
        struct revision *r = LIST_ENTRY(node, struct revision, held_link);
        enum expiry why;
        uint64_t at = head_deadline(t, r, now_ns, &why);
        if (at <= now_ns && !list_linked(&r->expire_link)) {
            list_push_back(&t->expiring, &r->expire_link);
        }
        wake = at < wake ? at : wake;
        uint64_t next_try = revision_next_try_ns(r, now_ns);
        wake = next_try < wake ? next_try : wake;
        if (revision_usable(r, now_ns) > 0) {
            revision_wake(t, r);
        }
        hold_poke_if_due(t, r, now_ns);
        uint64_t poke = poke_due_ns(r, now_ns);
        wake = poke < wake ? poke : wake;
    }
    if (!list_empty(&t->held) && t->stalled_until_ns > now_ns && t->stalled_until_ns < wake) {
        wake = t->stalled_until_ns;
    }
    list_foreach (node, &t->suspects) {
        const struct replica *p = LIST_ENTRY(node, struct replica, suspect_link);
        if (!p->probing && replica_ready(p) && p->probe_at_ns < wake) {
            wake = p->probe_at_ns;
        }
    }
    return wake;
}

bool throttler_idle(const struct throttler *t)
{
    return list_empty(&t->held) && list_empty(&t->pushed) && list_empty(&t->suspects);
}
