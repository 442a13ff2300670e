// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: a request that finds its revision's queue empty and a replica with a slot is granted at
 * once. Otherwise it joins the queue. Whatever frees or adds capacity puts the revision on the
 * runnable list; throttler_next() serves that list in turns, one request per revision and turn.
 *
 * Failure modes: a queue or the total is full: refused at once. A request that came back from a
 * replica is put at its old place by its number, whatever the limits say: it was let in before.
 * Deadlines are in queue order (one hold time per revision), so only heads are looked at.
 */
#include "activator/throttler.h"

#include <string.h>

#include "base/mem.h"
#include "activator/throttler_internal.h"

#define REVISION_KEY_MAX 512
#define POKE_FIRST_NS    (200 * CLOCK_NS_PER_MS)
#define POKE_MAX_NS      (2 * CLOCK_NS_PER_S)

void throttler_init(struct throttler *t, const struct throttler_limits *limits, uint64_t seed)
{
    *t = (struct throttler){.limits = *limits, .next_seq = 1};
    map_init(&t->revisions, MAP_BORROW_KEYS);
    list_init(&t->held);
    list_init(&t->runnable);
    list_init(&t->pokes);
    list_init(&t->expiring);
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
    while (r->replica_count > 0) {
        revision_remove_replica(t, r, slice_str(r->replicas[r->replica_count - 1]->uid));
    }
    list_remove(&r->held_link);
    list_remove(&r->run_link);
    list_remove(&r->poke_link);
    list_remove(&r->expire_link);
    list_remove(&r->active_link);
    free(r->replicas);
    free(r->fail_reason);
    free(r->fail_message);
    free(r->blocked_message);
    free(r->key);
    free(r);
}

void throttler_fini(struct throttler *t)
{
    REQUIRE(t->held_count == 0);
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
        list_linked(&r->active_link)) {
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
    if (r->held > 0 && !list_linked(&r->run_link)) {
        list_push_back(&t->runnable, &r->run_link);
    }
}

/* --- a request's way ------------------------------------------------------------------------ */

static void enter(struct throttler *t, struct revision *r, uint64_t now_ns)
{
    stat_meter_enter(&r->meter, now_ns);
    if (!list_linked(&r->active_link)) {
        list_push_back(&t->active, &r->active_link);
    }
}

static void grant(struct revision *r, struct ticket *tk, struct replica *p, uint64_t now_ns)
{
    tk->replica = p;
    tk->state = TICKET_GRANTED;
    tk->granted_ns = now_ns;
    tk->attempts++;
    p->in_flight++;
    p->total++;
    r->in_flight++;
}

/* Puts the ticket at its place: by number, found from the end for new ones. */
static void enqueue(struct throttler *t, struct revision *r, struct ticket *tk, bool from_front)
{
    struct list *at = &r->queue;
    if (from_front) {
        at = r->queue.next;
        while (at != &r->queue && LIST_ENTRY(at, struct ticket, link)->seq < tk->seq) {
            at = at->next;
        }
    }
    list_insert_before(at, &tk->link);
    tk->state = TICKET_HELD;
    tk->replica = NULL;
    r->held++;
    t->held_count++;
    t->held_bytes += tk->bytes;
    if (!list_linked(&r->held_link)) {
        list_push_back(&t->held, &r->held_link);
    }
}

static void dequeue(struct throttler *t, struct revision *r, struct ticket *tk)
{
    list_remove(&tk->link);
    r->held--;
    t->held_count--;
    t->held_bytes -= tk->bytes;
    if (r->held == 0) {
        list_remove(&r->held_link);
        list_remove(&r->run_link);
        list_remove(&r->poke_link);
        r->poke_wait_ns = 0;
        r->poke_at_ns = 0;
    }
}

static bool wants_poke(const struct revision *r, uint64_t now_ns)
{
    return r->held > 0 && revision_usable(r, now_ns) == 0 && now_ns >= r->poke_at_ns;
}

static void poke_if_due(struct throttler *t, struct revision *r, uint64_t now_ns)
{
    if (wants_poke(r, now_ns) && !list_linked(&r->poke_link)) {
        list_push_back(&t->pokes, &r->poke_link);
    }
}

enum admit throttler_admit(struct throttler *t, struct revision *r, struct ticket *tk,
                           uint32_t bytes, uint64_t now_ns)
{
    REQUIRE(tk->state == TICKET_IDLE);
    uint64_t hold_ms = t->limits.hold_ms;
    if (r->timeout_ms > 0 && r->timeout_ms < hold_ms) {
        hold_ms = r->timeout_ms;
    }
    *tk = (struct ticket){.revision = r,
                          .seq = t->next_seq++,
                          .enter_ns = now_ns,
                          .bytes = bytes,
                          .deadline_ns = now_ns + hold_ms * CLOCK_NS_PER_MS};
    list_init(&tk->link);
    struct replica *p = r->held == 0 ? revision_pick(t, r, false, now_ns) : NULL;
    if (p != NULL) {
        enter(t, r, now_ns);
        grant(r, tk, p, now_ns);
        return ADMIT_GRANTED;
    }
    enum admit refused = ADMIT_HELD;
    if (r->held >= t->limits.max_held_per_revision) {
        refused = ADMIT_REVISION_FULL;
    } else if (t->held_count >= t->limits.max_held ||
               t->held_bytes + bytes > t->limits.max_held_bytes) {
        refused = ADMIT_TOTAL_FULL;
    }
    if (refused != ADMIT_HELD) {
        r->refused++;
        tk->revision = NULL;
        return refused;
    }
    enter(t, r, now_ns);
    if (revision_usable(r, now_ns) == 0) {
        r->cold_starts++;
    }
    enqueue(t, r, tk, false);
    poke_if_due(t, r, now_ns);
    return ADMIT_HELD;
}

/* Takes the ticket off its replica; the replica may be freed by that. */
static void ungrant(struct throttler *t, struct ticket *tk)
{
    struct revision *r = tk->revision;
    r->in_flight--;
    replica_unref(t, tk->replica);
    tk->replica = NULL;
    tk->state = TICKET_IDLE;
    revision_wake(t, r);
}

static void leave(struct throttler *t, struct ticket *tk, uint64_t now_ns)
{
    struct revision *r = tk->revision;
    stat_meter_leave(&r->meter, now_ns);
    tk->revision = NULL;
    tk->state = TICKET_IDLE;
    revision_drop_if_empty(t, r);
}

void throttler_done(struct throttler *t, struct ticket *tk, bool ok, uint64_t now_ns)
{
    REQUIRE(tk->state == TICKET_GRANTED);
    if (ok) {
        replica_good(tk->replica);
    } else {
        tk->replica->full_until_ns = 0; /* a slot came free there, whatever it answered */
    }
    ungrant(t, tk);
    leave(t, tk, now_ns);
}

void throttler_give_back(struct throttler *t, struct ticket *tk, enum give_back why,
                         uint64_t now_ns)
{
    REQUIRE(tk->state == TICKET_GRANTED);
    struct revision *r = tk->revision;
    replica_bad(tk->replica, why, now_ns);
    ungrant(t, tk);
    enqueue(t, r, tk, true);
    revision_wake(t, r); /* another replica may have a slot */
    poke_if_due(t, r, now_ns);
}

void throttler_cancel(struct throttler *t, struct ticket *tk, uint64_t now_ns)
{
    switch (tk->state) {
    case TICKET_IDLE:
        return;
    case TICKET_HELD:
        dequeue(t, tk->revision, tk);
        break;
    case TICKET_GRANTED:
        tk->replica->full_until_ns = 0;
        ungrant(t, tk);
        break;
    }
    leave(t, tk, now_ns);
}

/* --- what is to be done --------------------------------------------------------------------- */

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
        dequeue(t, r, tk);
        grant(r, tk, p, now_ns);
        revision_wake(t, r); /* to the end of the line: revisions take turns */
        return tk;
    }
    return NULL;
}

/* When the head of the queue has waited long enough. A failure counts while nothing can answer. */
static uint64_t head_deadline(const struct throttler *t, const struct revision *r, uint64_t now_ns,
                              enum expiry *out_why)
{
    const struct ticket *tk = LIST_ENTRY(list_first(&r->queue), struct ticket, link);
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

struct ticket *throttler_expired(struct throttler *t, uint64_t now_ns, enum expiry *out_why)
{
    struct list *node;
    while ((node = list_first(&t->expiring)) != NULL) {
        struct revision *r = LIST_ENTRY(node, struct revision, expire_link);
        if (r->held == 0 || head_deadline(t, r, now_ns, out_why) > now_ns) {
            list_remove(node);
            r->expiring_gone = r->expiring_gone && r->held > 0;
            revision_drop_if_empty(t, r);
            continue;
        }
        struct ticket *tk = LIST_ENTRY(list_first(&r->queue), struct ticket, link);
        dequeue(t, r, tk);
        stat_meter_leave(&r->meter, now_ns);
        tk->state = TICKET_IDLE;
        return tk;
    }
    return NULL;
}

struct revision *throttler_next_poke(struct throttler *t, uint64_t now_ns)
{
    struct list *node;
    while ((node = list_pop_front(&t->pokes)) != NULL) {
        struct revision *r = LIST_ENTRY(node, struct revision, poke_link);
        if (!wants_poke(r, now_ns)) {
            continue;
        }
        r->poke_wait_ns = r->poke_wait_ns == 0 ? POKE_FIRST_NS : r->poke_wait_ns * 2;
        if (r->poke_wait_ns > POKE_MAX_NS) {
            r->poke_wait_ns = POKE_MAX_NS;
        }
        r->poke_at_ns = now_ns + r->poke_wait_ns;
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
        poke_if_due(t, r, now_ns);
    }
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
        } else {
            poke_if_due(t, r, now_ns);
            wake = r->poke_at_ns < wake ? r->poke_at_ns : wake;
        }
    }
    return wake;
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
