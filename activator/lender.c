// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: one slot per id of a borrower. It waits, is lent, may come back to its place, and ends.
 *
 *   op        unknown id           waits               lent
 *   RESERVE   waits, or lent       (same id: broken protocol)
 *   CLAIM     lent                 (same id: broken protocol)
 *   DONE      -                    ends                ends, free again
 *   BACK      -                    -                   waits, at its old place
 *   CANCEL    -                    ends                ends, free again
 *
 * Failure modes: the link of a borrower ends: everything of it ends. A revision that is not ours
 * is answered MOVED. Ops that crossed one of ours on the way have an id that is forgotten: nothing.
 */
#include "activator/lender.h"

#include <string.h>

#include "base/mem.h"

#define SLOTS_MAX 200000u /* of one borrower */

void lender_init(struct lender *l, struct throttler *t)
{
    *l = (struct lender){.throttler = t};
    list_init(&l->borrowers);
}

void lender_came(struct lender *l, struct borrower_peer *peer, void *user)
{
    *peer = (struct borrower_peer){.user = user};
    map_init(&peer->slots, MAP_BORROW_KEYS);
    ops_init(&peer->out, 32u << 20);
    list_init(&peer->link);
    list_push_back(&l->borrowers, &peer->link);
}

static void count(struct lender *l, const struct slot *slot, int by)
{
    if (slot->ticket.state == TICKET_HELD) {
        l->waiting += (uint32_t)by;
    } else if (slot->ticket.state == TICKET_GRANTED) {
        l->lent += (uint32_t)by;
    }
}

static void slot_free(struct slot *slot)
{
    (void)map_remove(&slot->peer->slots, slice_of(slot->key, sizeof(slot->key)));
    free(slot);
}

static void cancel(struct lender *l, struct slot *slot, uint64_t now_ns)
{
    count(l, slot, -1);
    throttler_cancel(l->throttler, &slot->ticket, now_ns);
    slot_free(slot);
}

static void tell(const struct slot *slot, enum slot_op op, const char *replica)
{
    ops_put(&slot->peer->out,
            &(struct slot_message){.op = op, .id = slot->id, .replica = slice_str(replica)});
}

void lender_gone(struct lender *l, struct borrower_peer *peer, uint64_t now_ns)
{
    map_foreach (it, &peer->slots) {
        cancel(l, it.value, now_ns);
    }
    map_fini(&peer->slots);
    ops_fini(&peer->out);
    list_remove(&peer->link);
}

static struct slot *slot_new(struct borrower_peer *peer, uint64_t id)
{
    struct slot *slot = NEW(struct slot);
    slot->peer = peer;
    slot->id = id;
    memcpy(slot->key, &id, sizeof(slot->key));
    (void)map_set(&peer->slots, slice_of(slot->key, sizeof(slot->key)), slot);
    return slot;
}

/* NULL: the name is none that the API allows. */
static struct revision *revision_of(struct lender *l, struct slice key)
{
    ptrdiff_t slash = slice_find(key, '/');
    return slash < 0 ? NULL
                     : throttler_revision(l->throttler, slice_sub(key, 0, (size_t)slash),
                                          slice_sub(key, (size_t)slash + 1, key.len), true);
}

static void reserve(struct lender *l, struct slot *slot, struct revision *r, uint64_t now_ns)
{
    if (r == NULL || r->borrowed) {
        tell(slot, SLOT_MOVED, NULL);
        slot_free(slot);
        return;
    }
    switch (throttler_reserve(l->throttler, r, &slot->ticket, now_ns)) {
    case ADMIT_GRANTED:
        tell(slot, SLOT_GRANT, slot->ticket.replica->uid);
        count(l, slot, 1);
        return;
    case ADMIT_HELD:
        count(l, slot, 1);
        return;
    case ADMIT_REVISION_FULL:
    case ADMIT_TOTAL_FULL:
        tell(slot, SLOT_FULL, NULL);
        slot_free(slot);
        return;
    }
}

static void claim(struct lender *l, struct slot *slot, struct revision *r, struct slice uid,
                  uint64_t now_ns)
{
    if (r == NULL || !throttler_reserve_at(l->throttler, r, &slot->ticket, uid, now_ns)) {
        slot_free(slot); /* a replica that we do not know: nobody gets a slot of it from us */
        return;
    }
    count(l, slot, 1);
}

static void done(struct lender *l, struct slot *slot, enum slot_end how, uint64_t now_ns)
{
    if (slot->ticket.state != TICKET_GRANTED) {
        cancel(l, slot, now_ns);
        return;
    }
    count(l, slot, -1);
    if (how == SLOT_END_BROKEN) {
        throttler_broken(l->throttler, &slot->ticket, now_ns);
    } else {
        throttler_done(l->throttler, &slot->ticket, how == SLOT_END_OK, now_ns);
    }
    slot_free(slot);
}

static void back(struct lender *l, struct slot *slot, uint8_t why, uint64_t now_ns)
{
    if (slot->ticket.state != TICKET_GRANTED) {
        return;
    }
    if (slot->ticket.revision->borrowed) {
        tell(slot, SLOT_MOVED, NULL);
        cancel(l, slot, now_ns);
        return;
    }
    count(l, slot, -1);
    throttler_give_back(l->throttler, &slot->ticket,
                        why <= GIVE_BACK_STALE ? (enum give_back)why : GIVE_BACK_STALE, now_ns);
    count(l, slot, 1);
}

static int begin(struct lender *l, struct borrower_peer *peer, const struct slot_message *m,
                 uint64_t now_ns, struct error *err)
{
    if (map_len(&peer->slots) >= SLOTS_MAX) {
        return error_set(err, ERR_PROTOCOL, "a shard wants more than %u slots", SLOTS_MAX);
    }
    struct slot *slot = slot_new(peer, m->id);
    struct revision *r = revision_of(l, m->revision);
    if (m->op == SLOT_RESERVE) {
        reserve(l, slot, r, now_ns);
    } else {
        claim(l, slot, r, m->replica, now_ns);
    }
    return 0;
}

static int handle(struct lender *l, struct borrower_peer *peer, const struct slot_message *m,
                  uint64_t now_ns, struct error *err)
{
    struct slot *slot = map_get(&peer->slots, slice_of((const char *)&m->id, sizeof(m->id)));
    switch (m->op) {
    case SLOT_RESERVE:
    case SLOT_CLAIM:
        return slot == NULL ? begin(l, peer, m, now_ns, err)
                            : error_set(err, ERR_PROTOCOL, "a shard asks twice for one request");
    case SLOT_DONE:
        if (slot != NULL) {
            done(l, slot, (enum slot_end)m->how, now_ns);
        }
        return 0;
    case SLOT_BACK:
        if (slot != NULL) {
            back(l, slot, m->how, now_ns);
        }
        return 0;
    case SLOT_CANCEL:
        if (slot != NULL) {
            cancel(l, slot, now_ns);
        }
        return 0;
    case SLOT_GRANT:
    case SLOT_FULL:
    case SLOT_MOVED:
    case SLOT_LATE:
        break;
    }
    return error_set(err, ERR_PROTOCOL, "an owner's slot message from a borrower");
}

int lender_input(struct lender *l, struct borrower_peer *peer, struct slice frame, uint64_t now_ns,
                 struct error *err)
{
    struct slot_message m;
    int rc;
    while ((rc = ops_read(&frame, &m, err)) > 0) {
        rc = handle(l, peer, &m, now_ns, err);
        if (rc < 0) {
            return rc;
        }
    }
    return rc;
}

struct borrower_peer *lender_granted(struct lender *l, struct ticket *tk)
{
    struct slot *slot = CONTAINER_OF(tk, struct slot, ticket);
    l->waiting--;
    l->lent++;
    tell(slot, SLOT_GRANT, tk->replica->uid);
    return slot->peer;
}

struct borrower_peer *lender_expired(struct lender *l, struct ticket *tk)
{
    struct slot *slot = CONTAINER_OF(tk, struct slot, ticket);
    struct borrower_peer *peer = slot->peer;
    l->waiting--;
    tell(slot, SLOT_LATE, NULL);
    slot_free(slot);
    return peer;
}

void lender_moved(struct lender *l, uint64_t now_ns)
{
    list_foreach (node, &l->borrowers) {
        struct borrower_peer *peer = LIST_ENTRY(node, struct borrower_peer, link);
        map_foreach (it, &peer->slots) {
            struct slot *slot = it.value;
            if (slot->ticket.state == TICKET_HELD && slot->ticket.revision->borrowed) {
                tell(slot, SLOT_MOVED, NULL);
                cancel(l, slot, now_ns);
            }
        }
    }
}
