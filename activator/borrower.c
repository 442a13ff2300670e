// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: one loan per ticket that was asked for, found by the ticket's number. Each loan has an id
 * of its own, so that a word about the one before it, still on its way, means nothing.
 *
 *   RESERVE sent → GRANT → forwarded → DONE, or BACK: it waits again
 *                → FULL: refused   → MOVED: alone for a while   → LATE: asked again later
 *
 * Failure modes: the owner is gone: what waits asks the new one (or is ours again), what runs is
 * told to the new one (CLAIM; it may not know the replica, and then the slot: what comes back from
 * a replica is asked for anew). A grant on a replica that we have not seen yet waits for our watch,
 * bounded, and goes back then; after PARKS_MAX such waits it gives way to the others in the queue.
 */
#include "activator/borrower.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define ALONE_NS    (200 * CLOCK_NS_PER_MS)
#define PARK_NS     CLOCK_NS_PER_S
#define PARK_TRY_NS (5 * CLOCK_NS_PER_MS)
#define SPARE_MAX   1024u
#define UID_MAX     128
#define PARKS_MAX   4u

struct loan {
    struct list link;  /* in owner->loans */
    struct list state; /* in ready, refused, parked or spare */
    struct ticket *ticket;
    struct shard *owner;
    uint64_t id;
    uint8_t parks;         /* how often it went back because we did not know the replica */
    bool claimed;          /* by CLAIM: the owner may not have taken it */
    uint64_t until_ns;     /* parked: until then */
    char replica[UID_MAX]; /* parked: where it was granted; "" : to be asked for anew */
    char key[8];
};

struct alone {
    uint64_t until_ns;
};

void borrower_init(struct borrower *b, struct throttler *t, struct shards *shards)
{
    *b = (struct borrower){.throttler = t, .shards = shards};
    map_init(&b->loans, MAP_BORROW_KEYS);
    map_init(&b->alone, MAP_COPY_KEYS);
    list_init(&b->ready);
    list_init(&b->refused);
    list_init(&b->parked);
    list_init(&b->spare);
}

void borrower_fini(struct borrower *b)
{
    if (b->throttler == NULL) {
        return;
    }
    map_foreach (it, &b->loans) {
        free(it.value);
    }
    map_foreach (it, &b->alone) {
        free(it.value);
    }
    struct list *node;
    while ((node = list_pop_front(&b->spare)) != NULL) {
        free(LIST_ENTRY(node, struct loan, state));
    }
    map_fini(&b->loans);
    map_fini(&b->alone);
}

/* --- loans ---------------------------------------------------------------------------------- */

static struct loan *loan_new(struct borrower *b, struct ticket *tk, struct shard *owner)
{
    struct list *node = list_pop_front(&b->spare);
    struct loan *loan = node != NULL ? LIST_ENTRY(node, struct loan, state) : NEW(struct loan);
    b->spare_count -= node != NULL ? 1 : 0;
    loan->ticket = tk;
    loan->owner = owner;
    loan->id = tk->seq << 8 | tk->loans++;
    loan->parks = 0;
    loan->claimed = false;
    loan->replica[0] = '\0';
    memcpy(loan->key, &tk->seq, sizeof(loan->key));
    list_init(&loan->link);
    list_init(&loan->state);
    list_push_back(&owner->loans, &loan->link);
    (void)map_set(&b->loans, slice_of(loan->key, sizeof(loan->key)), loan);
    tk->asked = true;
    return loan;
}

static void loan_end(struct borrower *b, struct loan *loan)
{
    (void)map_remove(&b->loans, slice_of(loan->key, sizeof(loan->key)));
    list_remove(&loan->link);
    list_remove(&loan->state);
    loan->ticket->asked = false;
    if (b->spare_count >= SPARE_MAX) {
        free(loan);
        return;
    }
    b->spare_count++;
    list_push_front(&b->spare, &loan->state);
}

static struct loan *loan_find(const struct borrower *b, uint64_t seq)
{
    return map_get(&b->loans, slice_of((const char *)&seq, sizeof(seq)));
}

static struct loan *loan_of(const struct borrower *b, const struct ticket *tk)
{
    return map_len(&b->loans) > 0 ? loan_find(b, tk->seq) : NULL;
}

/* What the owner's word is about; NULL: something that is over. */
static struct loan *loan_meant(const struct borrower *b, const struct shard *owner, uint64_t id)
{
    struct loan *loan = loan_find(b, id >> 8);
    return loan != NULL && loan->id == id && loan->owner == owner ? loan : NULL;
}

static void send(const struct loan *loan, enum slot_op op, uint8_t how)
{
    const struct ticket *tk = loan->ticket;
    if (!loan->owner->up) {
        return;
    }
    struct slot_message m = {.op = op, .id = loan->id, .how = how};
    if (op == SLOT_RESERVE || op == SLOT_CLAIM) {
        m.revision = slice_str(tk->revision->key);
    }
    if (op == SLOT_CLAIM) {
        m.replica = slice_str(tk->replica->uid);
    }
    ops_put(&loan->owner->out, &m);
}

/* --- who owns what -------------------------------------------------------------------------- */

static bool goes_alone(struct borrower *b, const struct revision *r, uint64_t now_ns)
{
    struct alone *alone = map_len(&b->alone) == 0 ? NULL : map_get(&b->alone, slice_str(r->key));
    if (alone == NULL) {
        return false;
    }
    if (now_ns < alone->until_ns) {
        return true;
    }
    free(map_remove(&b->alone, slice_str(r->key)));
    b->tell = true;
    return false;
}

static struct shard *owner_of(struct borrower *b, const struct revision *r, uint64_t now_ns)
{
    if (!r->known || r->concurrency == 0 || list_empty(&b->shards->all) ||
        goes_alone(b, r, now_ns)) {
        return NULL;
    }
    return shards_owner(b->shards, slice_str(r->key));
}

void borrower_place(struct borrower *b, struct revision *r, uint64_t now_ns)
{
    bool was = r->borrowed;
    revision_set_borrowed(b->throttler, r, owner_of(b, r, now_ns) != NULL);
    if (r->borrowed && !was && r->held > 0) {
        b->moved = true;
    }
}

void borrower_ask(struct borrower *b, uint64_t now_ns)
{
    struct ticket *tk;
    while ((tk = throttler_next_ask(b->throttler)) != NULL) {
        struct shard *owner = owner_of(b, tk->revision, now_ns);
        if (loan_of(b, tk) != NULL) {
            continue; /* it stays with the owner that it had */
        }
        if (owner == NULL) {
            tk->asked = false;
            revision_set_borrowed(b->throttler, tk->revision, false);
            continue;
        }
        send(loan_new(b, tk, owner), SLOT_RESERVE, 0);
    }
}

/* --- from the owner ------------------------------------------------------------------------- */

static void to(struct list *list, struct loan *loan)
{
    list_remove(&loan->state);
    list_push_back(list, &loan->state);
}

/* We may have no descriptor left for it, or not know the replica. */
static bool lend(struct borrower *b, struct loan *loan, struct slice replica, uint64_t now_ns)
{
    return b->throttler->in_flight < b->throttler->max_in_flight &&
           throttler_lend(b->throttler, loan->ticket, replica, now_ns);
}

static void granted(struct borrower *b, struct loan *loan, struct slice replica, uint64_t now_ns)
{
    if (loan->ticket->state != TICKET_HELD) {
        return; /* pushed out, and not answered yet: its end will be told */
    }
    if (lend(b, loan, replica, now_ns)) {
        to(&b->ready, loan);
        return;
    }
    if (!slice_copy(replica, loan->replica, sizeof(loan->replica))) {
        send(loan, SLOT_BACK, GIVE_BACK_STALE);
        return;
    }
    loan->until_ns = now_ns + PARK_NS;
    to(&b->parked, loan);
}

/* Nobody owns it, as it seems: what waits is ours for a moment. */
static void go_alone(struct borrower *b, struct shard *owner, struct revision *r, uint64_t now_ns)
{
    struct alone *alone = map_get(&b->alone, slice_str(r->key));
    if (alone == NULL) {
        alone = NEW(struct alone);
        (void)map_set(&b->alone, slice_str(r->key), alone);
    }
    alone->until_ns = now_ns + ALONE_NS;
    list_foreach_safe (node, &owner->loans) {
        struct loan *loan = LIST_ENTRY(node, struct loan, link);
        if (loan->ticket->revision == r && loan->ticket->state == TICKET_HELD) {
            send(loan, SLOT_CANCEL, 0);
            loan_end(b, loan);
        }
    }
    revision_set_borrowed(b->throttler, r, false);
}

/* Our own word about it is on its way. Should it have been lost, the slot is free all the same. */
static void not_meant(struct shard *owner, const struct slot_message *m)
{
    if (m->op == SLOT_GRANT && owner->up) {
        ops_put(&owner->out, &(struct slot_message){.op = SLOT_CANCEL, .id = m->id});
    }
}

int borrower_input(struct borrower *b, struct shard *owner, struct slice frame, uint64_t now_ns,
                   struct error *err)
{
    struct slot_message m;
    int rc;
    while ((rc = ops_read(&frame, &m, err)) > 0) {
        struct loan *loan = loan_meant(b, owner, m.id);
        if (m.op != SLOT_GRANT && m.op != SLOT_FULL && m.op != SLOT_MOVED && m.op != SLOT_LATE) {
            return error_set(err, ERR_PROTOCOL, "a borrower's slot message from an owner");
        }
        if (loan == NULL) {
            not_meant(owner, &m);
            continue;
        }
        if (m.op == SLOT_GRANT) {
            granted(b, loan, m.replica, now_ns);
        } else if (m.op == SLOT_FULL) {
            to(&b->refused, loan);
        } else if (m.op == SLOT_LATE) {
            loan->replica[0] = '\0';
            loan->until_ns = now_ns + PARK_NS;
            to(&b->parked, loan);
        } else {
            struct revision *r = loan->ticket->revision;
            loan_end(b, loan);
            go_alone(b, owner, r, now_ns);
        }
    }
    return rc;
}

struct ticket *borrower_next(struct borrower *b)
{
    struct list *node = list_pop_front(&b->ready);
    return node == NULL ? NULL : LIST_ENTRY(node, struct loan, state)->ticket;
}

bool borrower_idle(const struct borrower *b)
{
    return list_empty(&b->ready) && list_empty(&b->refused) && !b->tell && !b->moved;
}

struct ticket *borrower_next_refused(struct borrower *b)
{
    struct list *node = list_pop_front(&b->refused);
    if (node == NULL) {
        return NULL;
    }
    struct loan *loan = LIST_ENTRY(node, struct loan, state);
    struct ticket *tk = loan->ticket;
    loan_end(b, loan);
    return tk;
}

/* --- from our requests ---------------------------------------------------------------------- */

void borrower_done(struct borrower *b, struct ticket *tk, enum slot_end how)
{
    struct loan *loan = loan_of(b, tk);
    if (loan != NULL) {
        send(loan, SLOT_DONE, (uint8_t)how);
        loan_end(b, loan);
    }
}

void borrower_cancel(struct borrower *b, struct ticket *tk)
{
    struct loan *loan = loan_of(b, tk);
    if (loan != NULL) {
        send(loan, SLOT_CANCEL, 0);
        loan_end(b, loan);
    }
}

void borrower_back(struct borrower *b, struct ticket *tk, enum give_back why)
{
    struct loan *loan = loan_of(b, tk);
    if (loan != NULL && loan->claimed) {
        borrower_cancel(b, tk);
    } else if (loan != NULL) {
        send(loan, SLOT_BACK, (uint8_t)why);
    }
}

/* --- changes of owner ----------------------------------------------------------------------- */

void borrower_tell(struct borrower *b, struct ticket *tk)
{
    struct shard *owner =
        tk->asked || tk->state != TICKET_GRANTED ? NULL : owner_of(b, tk->revision, 0);
    if (owner != NULL) {
        struct loan *loan = loan_new(b, tk, owner);
        loan->claimed = true;
        send(loan, SLOT_CLAIM, 0);
    }
}

/* What runs goes on at its new owner; what waits asks again. */
static void move_loan(struct borrower *b, struct loan *loan, uint64_t now_ns)
{
    struct ticket *tk = loan->ticket;
    bool runs = tk->state == TICKET_GRANTED;
    if (loan->owner->up && owner_of(b, tk->revision, now_ns) == loan->owner) {
        return;
    }
    send(loan, SLOT_CANCEL, 0);
    loan_end(b, loan);
    if (runs) {
        borrower_tell(b, tk);
    }
}

void borrower_moved(struct borrower *b, uint64_t now_ns)
{
    map_foreach (it, &b->alone) {
        free(it.value);
    }
    map_clear(&b->alone);
    struct list old;
    list_init(&old);
    list_foreach (node, &b->shards->all) {
        list_splice_back(&old, &LIST_ENTRY(node, struct shard, link)->loans);
    }
    struct list *node;
    while ((node = list_pop_front(&old)) != NULL) {
        struct loan *loan = LIST_ENTRY(node, struct loan, link);
        list_push_back(&loan->owner->loans, &loan->link);
        move_loan(b, loan, now_ns);
    }
    map_foreach (it, &b->throttler->revisions) {
        struct revision *r = it.value;
        borrower_place(b, r, now_ns);
        if (r->borrowed && r->held > 0) {
            throttler_ask_again(b->throttler, r);
        }
    }
}

/* Behind all that wait there. */
static void ask_anew(struct borrower *b, struct loan *loan)
{
    struct ticket *tk = loan->ticket;
    struct shard *owner = loan->owner;
    loan_end(b, loan);
    send(loan_new(b, tk, owner), SLOT_RESERVE, 0);
}

/* It was not used in time: back to its place, or behind the others when that has gone on. */
static void unpark(struct borrower *b, struct loan *loan)
{
    list_remove(&loan->state);
    if (loan->ticket->state != TICKET_HELD || ++loan->parks < PARKS_MAX) {
        send(loan, SLOT_BACK, GIVE_BACK_STALE);
        return;
    }
    send(loan, SLOT_CANCEL, 0);
    ask_anew(b, loan);
}

/* Those that went alone for long enough have an owner again. Returns when the next one has. */
static uint64_t tick_alone(struct borrower *b, uint64_t now_ns)
{
    uint64_t next = UINT64_MAX;
    map_foreach (it, &b->alone) {
        const struct alone *alone = it.value;
        if (now_ns < alone->until_ns) {
            next = alone->until_ns < next ? alone->until_ns : next;
            continue;
        }
        struct revision *r = map_get(&b->throttler->revisions, it.key);
        free(map_remove(&b->alone, it.key));
        b->tell = true;
        if (r != NULL) {
            borrower_place(b, r, now_ns);
        }
    }
    return next;
}

uint64_t borrower_tick(struct borrower *b, uint64_t now_ns)
{
    uint64_t next = tick_alone(b, now_ns);
    list_foreach_safe (node, &b->parked) {
        struct loan *loan = LIST_ENTRY(node, struct loan, state);
        bool late = now_ns >= loan->until_ns;
        if (loan->replica[0] == '\0') {
            if (late) {
                ask_anew(b, loan);
            }
        } else if (loan->ticket->state == TICKET_HELD &&
                   lend(b, loan, slice_str(loan->replica), now_ns)) {
            to(&b->ready, loan);
        } else if (late) {
            unpark(b, loan);
        }
    }
    uint64_t again = list_empty(&b->parked) ? UINT64_MAX : now_ns + PARK_TRY_NS;
    return again < next ? again : next;
}
