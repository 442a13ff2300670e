// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: a request that finds its revision's queue empty and a replica with a slot is granted at
 * once. Otherwise it joins the queue. Whatever frees or adds capacity puts the revision on the
 * runnable list; throttler_next() serves that list in turns, one request per revision and turn.
 * The queues themselves are in throttler_hold.c, the choice of a replica in throttler_pick.c, slots
 * for other workers in throttler_lend.c.
 *
 * Failure modes: a queue or the total is full: refused at once, or the newest of the largest queue
 * gives way. Whatever a replica does, its request is either over or back at its place.
 */
#include "activator/throttler.h"

#include <string.h>

#include "base/mem.h"
#include "activator/throttler_internal.h"

#define REVISION_KEY_MAX 512
#define STALL_NS         (10 * CLOCK_NS_PER_MS)

void throttler_init(struct throttler *t, const struct throttler_limits *limits, uint64_t seed)
{
    *t = (struct throttler){
        .limits = *limits, .epoch = 1, .next_seq = 1, .max_in_flight = UINT32_MAX};
    map_init(&t->revisions, MAP_BORROW_KEYS);
    list_init(&t->held);
    list_init(&t->runnable);
    list_init(&t->pokes);
    list_init(&t->expiring);
    list_init(&t->pushed);
    list_init(&t->asks);
    list_init(&t->suspects);
    list_init(&t->active);
    prng_seed(&t->prng, seed);
}

void throttler_set_release(struct throttler *t, replica_release_cb release, void *ctx)
{
    t->release = release;
    t->release_ctx = ctx;
}

static void revision_free(struct throttler *t, struct revision *r)
{
    t->epoch++;
    while (r->replica_count > 0) {
        revision_remove_replica(t, r, slice_str(r->replicas[r->replica_count - 1]->uid));
    }
    list_remove(&r->held_link);
    list_remove(&r->run_link);
    list_remove(&r->poke_link);
    list_remove(&r->expire_link);
    list_remove(&r->active_link);
    numbers_forget(&t->numbers, r);
    free(r->replicas);
    free(r->fail_reason);
    free(r->fail_message);
    free(r->blocked_message);
    free(r->key);
    free(r);
}

void throttler_fini(struct throttler *t)
{
    REQUIRE(t->held_count == 0 && list_empty(&t->pushed));
    map_foreach (it, &t->revisions) {
        struct revision *r = it.value;
        REQUIRE(r->in_flight == 0);
        revision_free(t, r);
    }
    map_fini(&t->revisions);
}

struct revision *throttler_revision(struct throttler *t, struct slice ns, struct slice name,
                                    bool create)
{
    char key[REVISION_KEY_MAX];
    if (ns.len + 1 + name.len >= sizeof(key)) {
        return NULL; /* the API has no such names */
    }
    memcpy(key, ns.ptr, ns.len);
    key[ns.len] = '/';
    memcpy(key + ns.len + 1, name.ptr, name.len);
    struct slice whole = slice_of(key, ns.len + 1 + name.len);
    struct revision *r = map_get(&t->revisions, whole);
    if (r != NULL || !create) {
        return r;
    }
    r = NEW(struct revision);
    r->key = slice_dup(whole);
    r->ns = slice_of(r->key, ns.len);
    r->name = slice_of(r->key + ns.len + 1, name.len);
    list_init(&r->queue);
    list_init(&r->held_link);
    list_init(&r->run_link);
    list_init(&r->poke_link);
    list_init(&r->expire_link);
    list_init(&r->active_link);
    (void)map_set(&t->revisions, slice_str(r->key), r);
    return r;
}

void revision_drop_if_empty(struct throttler *t, struct revision *r)
{
    if (r->known || r->held > 0 || r->in_flight > 0 || r->replica_count > 0 || r->gone_busy > 0 ||
        r->pushed > 0 || list_linked(&r->active_link)) {
        return;
    }
    (void)map_remove(&t->revisions, slice_str(r->key));
    revision_free(t, r);
}

void revision_forget(struct throttler *t, struct revision *r)
{
    r->known = false;
    r->timeout_ms = 0;
    if (r->held > 0) {
        r->expiring_gone = true;
        list_remove(&r->expire_link);
        list_push_back(&t->expiring, &r->expire_link);
    }
    revision_drop_if_empty(t, r);
}

void revision_wake(struct throttler *t, struct revision *r)
{
    if (r->held > 0 && !r->borrowed && !list_linked(&r->run_link)) {
        list_push_back(&t->runnable, &r->run_link);
    }
}

/* --- a ticket's way ------------------------------------------------------------------------- */

void ticket_begin(struct throttler *t, struct revision *r, struct ticket *tk, uint64_t now_ns)
{
    REQUIRE(tk->state == TICKET_IDLE);
    uint64_t hold_ms = t->limits.hold_ms;
    if (r->timeout_ms > 0 && r->timeout_ms < hold_ms) {
        hold_ms = r->timeout_ms;
    }
    *tk = (struct ticket){.revision = r,
                          .seq = t->next_seq++,
                          .enter_ns = now_ns,
                          .deadline_ns = now_ns + hold_ms * CLOCK_NS_PER_MS};
    list_init(&tk->link);
    list_init(&tk->ask_link);
}

static void enter(struct throttler *t, struct revision *r, uint64_t now_ns)
{
    stat_meter_enter(&r->meter, now_ns);
    if (!list_linked(&r->active_link)) {
        list_push_back(&t->active, &r->active_link);
    }
}

void ticket_grant(struct throttler *t, struct revision *r, struct ticket *tk, struct replica *p,
                  uint64_t now_ns)
{
    tk->replica = p;
    tk->state = TICKET_GRANTED;
    tk->granted_ns = now_ns;
    tk->attempts++;
    r->in_flight++;
    t->in_flight++;
    replica_taken(p, tk, now_ns);
}

/* Takes the ticket off its replica; the replica may be freed by that. */
static void ungrant(struct throttler *t, struct ticket *tk)
{
    struct revision *r = tk->revision;
    r->in_flight--;
    t->in_flight--;
    replica_unref(t, tk->replica);
    tk->replica = NULL;
    tk->state = TICKET_IDLE;
    revision_wake(t, r);
}

void ticket_leave(struct throttler *t, struct ticket *tk, uint64_t now_ns)
{
    struct revision *r = tk->revision;
    if (tk->kind == TICKET_REQUEST) {
        stat_meter_leave(&r->meter, now_ns);
    }
    tk->revision = NULL;
    tk->state = TICKET_IDLE;
    revision_drop_if_empty(t, r);
}

enum admit throttler_admit(struct throttler *t, struct revision *r, struct ticket *tk,
                           uint32_t bytes, uint64_t now_ns)
{
    ticket_begin(t, r, tk, now_ns);
    tk->bytes = bytes;
    struct replica *p = r->held == 0 ? revision_pick(t, r, false, now_ns) : NULL;
    if (p != NULL) {
        enter(t, r, now_ns);
        ticket_grant(t, r, tk, p, now_ns);
        return ADMIT_GRANTED;
    }
    enum admit room = hold_make_room(t, r, bytes);
    if (room != ADMIT_HELD) {
        r->refused++;
        tk->revision = NULL;
        return room;
    }
    enter(t, r, now_ns);
    hold_enqueue(t, r, tk, false);
    if (revision_usable(r, now_ns) == 0) {
        r->cold_starts++;
    }
    hold_if_cold(r, now_ns);
    hold_poke_if_due(t, r, now_ns);
    return ADMIT_HELD;
}

void throttler_done(struct throttler *t, struct ticket *tk, bool ok, uint64_t now_ns)
{
    REQUIRE(tk->state == TICKET_GRANTED);
    if (ok) {
        replica_answered(tk->replica, tk);
        revision_answered(tk->revision);
    }
    ungrant(t, tk);
    ticket_leave(t, tk, now_ns);
}

void throttler_broken(struct throttler *t, struct ticket *tk, uint64_t now_ns)
{
    REQUIRE(tk->state == TICKET_GRANTED);
    replica_suspect(t, tk->replica, now_ns);
    throttler_done(t, tk, false, now_ns);
}

void throttler_give_back(struct throttler *t, struct ticket *tk, enum give_back why,
                         uint64_t now_ns)
{
    REQUIRE(tk->state == TICKET_GRANTED);
    struct revision *r = tk->revision;
    if (why == GIVE_BACK_LOCAL) {
        t->stalled_until_ns = now_ns + STALL_NS;
    } else {
        replica_bad(t, tk, why, now_ns);
    }
    ungrant(t, tk);
    hold_enqueue(t, r, tk, true);
    hold_if_cold(r, now_ns);
    revision_wake(t, r); /* another replica may have a slot */
    hold_poke_if_due(t, r, now_ns);
}

void throttler_cancel(struct throttler *t, struct ticket *tk, uint64_t now_ns)
{
    switch (tk->state) {
    case TICKET_IDLE:
        return;
    case TICKET_HELD:
        hold_dequeue(t, tk->revision, tk);
        break;
    case TICKET_GRANTED:
        ungrant(t, tk);
        break;
    case TICKET_PUSHED_OUT:
        list_remove(&tk->link);
        tk->revision->pushed--;
        break;
    }
    ticket_leave(t, tk, now_ns);
}

struct ticket *throttler_next(struct throttler *t, uint64_t now_ns)
{
    struct list *node;
    while ((node = list_pop_front(&t->runnable)) != NULL) {
        struct revision *r = LIST_ENTRY(node, struct revision, run_link);
        struct replica *p = revision_pick(t, r, true, now_ns);
        if (p == NULL) {
            continue;
        }
        struct ticket *tk = LIST_ENTRY(list_first(&r->queue), struct ticket, link);
        hold_moved(r, now_ns);
        hold_dequeue(t, r, tk);
        ticket_grant(t, r, tk, p, now_ns);
        revision_wake(t, r); /* to the end of the line: revisions take turns */
        return tk;
    }
    return NULL;
}

struct revision *throttler_report(struct throttler *t, struct list **cursor, uint64_t now_ns,
                                  struct stat_report *out)
{
    struct list *node = *cursor == NULL ? t->active.next : *cursor;
    while (node != &t->active) {
        struct revision *r = LIST_ENTRY(node, struct revision, active_link);
        node = node->next;
        *cursor = node;
        stat_meter_report(&r->meter, now_ns, out);
        if (out->concurrency > 0 || out->count > 0 || r->meter.now > 0) {
            return r;
        }
        list_remove(&r->active_link); /* absent from a report means 0 */
        revision_drop_if_empty(t, r);
    }
    *cursor = &t->active;
    return NULL;
}
