// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: a revision that several workers serve has one owner. Requests of other workers stand in the
 * owner's queue as tickets without a request; here is how those begin, and how the borrower's held
 * requests get the slots that were lent.
 *
 * Failure modes: a borrower that goes away: its tickets are cancelled one by one. An owner that
 * goes away: what was asked is asked anew, what runs is told to the new owner.
 */
#include "base/mem.h"
#include "activator/throttler_internal.h"

enum admit throttler_reserve(struct throttler *t, struct revision *r, struct ticket *tk,
                             uint64_t now_ns)
{
    ticket_begin(t, r, tk, now_ns);
    tk->kind = TICKET_SLOT;
    struct replica *p = r->held == 0 ? revision_pick(t, r, false, now_ns) : NULL;
    if (p != NULL) {
        ticket_grant(t, r, tk, p, now_ns);
        return ADMIT_GRANTED;
    }
    if (r->held >= t->limits.max_held_per_revision) {
        r->refused++;
        tk->revision = NULL;
        return ADMIT_REVISION_FULL;
    }
    hold_enqueue(t, r, tk, false);
    hold_if_cold(r, now_ns);
    hold_poke_if_due(t, r, now_ns);
    return ADMIT_HELD;
}

bool throttler_reserve_at(struct throttler *t, struct revision *r, struct ticket *tk,
                          struct slice uid, uint64_t now_ns)
{
    ticket_begin(t, r, tk, now_ns);
    tk->kind = TICKET_SLOT;
    struct replica *p = revision_find_replica(r, uid);
    if (p == NULL) {
        tk->revision = NULL;
        return false;
    }
    ticket_grant(t, r, tk, p, now_ns);
    return true;
}

void throttler_ask_again(struct throttler *t, struct revision *r)
{
    list_foreach (node, &r->queue) {
        struct ticket *tk = LIST_ENTRY(node, struct ticket, link);
        tk->asked = false;
        list_remove(&tk->ask_link);
        if (r->borrowed && tk->kind == TICKET_REQUEST) {
            list_push_back(&t->asks, &tk->ask_link);
        }
    }
}

void revision_set_borrowed(struct throttler *t, struct revision *r, bool borrowed)
{
    if (r->borrowed != borrowed) {
        r->borrowed = borrowed;
        throttler_ask_again(t, r);
        revision_wake(t, r);
    }
}

struct ticket *throttler_next_ask(struct throttler *t)
{
    struct list *node = list_pop_front(&t->asks);
    if (node == NULL) {
        return NULL;
    }
    struct ticket *tk = LIST_ENTRY(node, struct ticket, ask_link);
    tk->asked = true;
    return tk;
}

bool throttler_lend(struct throttler *t, struct ticket *tk, struct slice uid, uint64_t now_ns)
{
    REQUIRE(tk->state == TICKET_HELD);
    struct revision *r = tk->revision;
    struct replica *p = revision_find_replica(r, uid);
    if (p == NULL || !replica_ready(p) || p->suspect) {
        return false;
    }
    hold_moved(r, now_ns);
    hold_dequeue(t, r, tk);
    ticket_grant(t, r, tk, p, now_ns);
    return true;
}
