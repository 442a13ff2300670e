// SPDX-License-Identifier: Apache-2.0
/*
 * Several shards with real throttlers, links that keep order but break at any step, and a function
 * whose queue-proxy refuses what is over its limit. A step is one thing that happens: a request
 * comes, ends, leaves or is refused, a frame arrives, a link breaks or comes back, an end notices.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "activator/borrower.h"
#include "activator/lender.h"
#include "test.h"

#define SHARDS   3
#define REPLICAS 2
#define REQUESTS 60
#define STEP_NS  CLOCK_NS_PER_MS

struct request {
    struct ticket tk;
    int shard; /* -1: free */
};

struct queue { /* frames under way, in order */
    char *bytes[512];
    size_t len[512];
    unsigned first;
    unsigned count;
};

/* i dials j: what i borrows of j */
struct line {
    bool up;            /* the wire */
    bool dialler_knows; /* what the ends believe */
    bool listener_knows;
    struct shard *shard;       /* at the dialler */
    struct borrower_peer peer; /* at the listener */
    struct queue out;          /* dialler → listener */
    struct queue in;           /* listener → dialler */
};

struct node {
    struct throttler t;
    struct shards shards;
    struct lender lender;
    struct borrower borrower;
    struct revision *r;
};

struct world {
    struct node nodes[SHARDS];
    struct line lines[SHARDS][SHARDS];
    struct request requests[REQUESTS];
    struct prng prng;
    uint64_t now;
    unsigned limit;
    unsigned active[REPLICAS];
    unsigned most;
    unsigned served;
    unsigned refused; /* by the queue-proxy */
    unsigned turned_away;
    unsigned steps;
    bool keep_broken; /* settle() mends nothing */
};

/* --- frames --- */

static void push(struct queue *q, struct slice frame)
{
    assert_true(q->count < ARRAY_LEN(q->bytes));
    unsigned at = (q->first + q->count++) % ARRAY_LEN(q->bytes);
    q->bytes[at] = slice_dup(frame);
    q->len[at] = frame.len;
}

static void empty(struct queue *q)
{
    for (; q->count > 0; q->count--, q->first = (q->first + 1) % ARRAY_LEN(q->bytes)) {
        free(q->bytes[q->first]);
    }
}

static void flush_one(struct ops_out *out, struct queue *q, bool up)
{
    size_t at = 0;
    struct slice frame;
    assert_true(ops_ok(out));
    while (ops_next_frame(out, &at, &frame)) {
        if (up) {
            push(q, frame);
        }
    }
    ops_clear(out);
}

static void flush(struct world *w)
{
    for (int i = 0; i < SHARDS; i++) {
        for (int j = 0; j < SHARDS; j++) {
            struct line *l = &w->lines[i][j];
            if (l->dialler_knows) {
                flush_one(&l->shard->out, &l->out, l->up);
            }
            if (l->listener_knows) {
                flush_one(&l->peer.out, &l->in, l->up);
            }
        }
    }
}

/* --- one shard --- */

static struct request *request_of(struct ticket *tk)
{
    return CONTAINER_OF(tk, struct request, tk);
}

static unsigned replica_of(const struct ticket *tk)
{
    return (unsigned)(tk->replica->uid[1] - '0');
}

/* The queue-proxy takes it, or refuses it. */
static void run(struct world *w, struct ticket *tk)
{
    struct node *n = &w->nodes[request_of(tk)->shard];
    unsigned p = replica_of(tk);
    if (w->active[p] < w->limit) {
        w->active[p]++;
        w->most = w->active[p] > w->most ? w->active[p] : w->most;
        return;
    }
    w->refused++;
    borrower_back(&n->borrower, tk, GIVE_BACK_FULL);
    throttler_give_back(&n->t, tk, GIVE_BACK_FULL, w->now);
}

static void tell_running(struct world *w, int i)
{
    w->nodes[i].borrower.tell = false;
    for (int k = 0; k < REQUESTS; k++) {
        if (w->requests[k].shard == i && w->requests[k].tk.state == TICKET_GRANTED) {
            borrower_tell(&w->nodes[i].borrower, &w->requests[k].tk);
        }
    }
}

static void pump(struct world *w, int i)
{
    struct node *n = &w->nodes[i];
    struct ticket *tk;
    if (throttler_idle(&n->t) && borrower_idle(&n->borrower)) {
        return; /* as handler_pump() */
    }
    if (n->borrower.tell) {
        tell_running(w, i);
    }
    if (n->borrower.moved) {
        n->borrower.moved = false;
        lender_moved(&n->lender, w->now);
    }
    borrower_ask(&n->borrower, w->now);
    while ((tk = borrower_next(&n->borrower)) != NULL) {
        run(w, tk);
    }
    while ((tk = borrower_next_refused(&n->borrower)) != NULL) {
        throttler_cancel(&n->t, tk, w->now);
        request_of(tk)->shard = -1;
        w->turned_away++;
    }
    for (int budget = 0; budget < 64 && (tk = throttler_next(&n->t, w->now)) != NULL; budget++) {
        if (tk->kind == TICKET_SLOT) {
            lender_granted(&n->lender, tk);
        } else {
            run(w, tk);
        }
    }
    enum expiry why;
    assert_null(throttler_expired(&n->t, w->now, &why));
    while (throttler_next_poke(&n->t, w->now) != NULL) {
    }
}

static void moved(struct world *w, int i)
{
    borrower_moved(&w->nodes[i].borrower, w->now);
    tell_running(w, i);
    w->nodes[i].borrower.moved = false;
    lender_moved(&w->nodes[i].lender, w->now);
    pump(w, i);
}

/* --- links --- */

static void notice(struct world *w, int i, int j, bool dialler)
{
    struct line *l = &w->lines[i][j];
    if (dialler && l->dialler_knows != l->up) {
        l->dialler_knows = l->up;
        l->shard->up = l->up;
        ops_clear(&l->shard->out);
        moved(w, i);
    } else if (!dialler && l->listener_knows != l->up) {
        l->listener_knows = l->up;
        if (l->up) {
            lender_came(&w->nodes[j].lender, &l->peer, NULL);
        } else {
            lender_gone(&w->nodes[j].lender, &l->peer, w->now);
            pump(w, j);
        }
    }
}

static bool agreed(const struct line *l)
{
    return l->dialler_knows == l->up && l->listener_knows == l->up;
}

static void break_link(struct world *w, int i, int j)
{
    struct line *l = &w->lines[i][j];
    if (i != j && l->up && agreed(l)) {
        l->up = false;
        empty(&l->out);
        empty(&l->in);
    }
}

/* The listener has accepted before the dialler is told. */
static void mend_link(struct world *w, int i, int j)
{
    struct line *l = &w->lines[i][j];
    if (i != j && !l->up && agreed(l)) {
        l->up = true;
        notice(w, i, j, false);
        notice(w, i, j, true);
    }
}

static bool deliver(struct world *w, int i, int j, bool to_listener)
{
    struct line *l = &w->lines[i][j];
    struct queue *q = to_listener ? &l->out : &l->in;
    struct error err;
    if (q->count == 0 || !(to_listener ? l->listener_knows : l->dialler_knows)) {
        return false;
    }
    struct slice frame = slice_of(q->bytes[q->first], q->len[q->first]);
    if (to_listener) {
        ASSERT_OK(lender_input(&w->nodes[j].lender, &l->peer, frame, w->now, &err));
    } else {
        ASSERT_OK(borrower_input(&w->nodes[i].borrower, l->shard, frame, w->now, &err));
    }
    free(q->bytes[q->first]);
    q->first = (q->first + 1) % ARRAY_LEN(q->bytes);
    q->count--;
    pump(w, to_listener ? j : i);
    return true;
}

/* --- requests --- */

static void come(struct world *w, int i)
{
    struct node *n = &w->nodes[i];
    for (int k = 0; k < REQUESTS; k++) {
        struct request *rq = &w->requests[k];
        if (rq->shard >= 0) {
            continue;
        }
        rq->shard = i;
        borrower_place(&n->borrower, n->r, w->now);
        enum admit how = throttler_admit(&n->t, n->r, &rq->tk, 100, w->now);
        if (how == ADMIT_GRANTED) {
            run(w, &rq->tk);
        } else if (how != ADMIT_HELD) {
            rq->shard = -1;
            w->turned_away++;
        }
        pump(w, i);
        return;
    }
}

static void end(struct world *w, struct request *rq, bool client_left)
{
    struct node *n = &w->nodes[rq->shard];
    int i = rq->shard;
    if (rq->tk.state == TICKET_GRANTED) {
        w->active[replica_of(&rq->tk)]--;
        w->served++;
        borrower_done(&n->borrower, &rq->tk, SLOT_END_OK);
        throttler_done(&n->t, &rq->tk, true, w->now);
    } else if (client_left) {
        borrower_cancel(&n->borrower, &rq->tk);
        throttler_cancel(&n->t, &rq->tk, w->now);
    } else {
        return;
    }
    rq->shard = -1;
    pump(w, i);
}

/* --- the world --- */

static void know(struct world *w, int i, int p)
{
    char uid[8];
    snprintf(uid, sizeof(uid), "p%d", p);
    struct replica_facts rf = {.uid = slice_str(uid),
                               .name = slice_str(uid),
                               .address = SLICE_LIT("127.0.0.1:1"),
                               .ready = true};
    (void)revision_put_replica(&w->nodes[i].t, w->nodes[i].r, &rf, w->now);
}

static void forget(struct world *w, int i, int p)
{
    char uid[8];
    snprintf(uid, sizeof(uid), "p%d", p);
    revision_remove_replica(&w->nodes[i].t, w->nodes[i].r, slice_str(uid));
}

static void start(struct world *w, unsigned limit, uint64_t seed, uint32_t queue_max)
{
    *w = (struct world){.now = CLOCK_NS_PER_S, .limit = limit};
    prng_seed(&w->prng, seed);
    struct throttler_limits limits = {.max_held_per_revision = queue_max,
                                      .max_held = 1000,
                                      .max_held_bytes = 1u << 20,
                                      .hold_ms = 86400000,
                                      .fail_grace_ms = 5000};
    for (int k = 0; k < REQUESTS; k++) {
        w->requests[k].shard = -1;
    }
    for (int i = 0; i < SHARDS; i++) {
        struct node *n = &w->nodes[i];
        char name[16];
        snprintf(name, sizeof(name), "act/%d", i);
        throttler_init(&n->t, &limits, seed + (uint64_t)i);
        shards_init(&n->shards, name);
        lender_init(&n->lender, &n->t);
        borrower_init(&n->borrower, &n->t, &n->shards);
        n->r = throttler_revision(&n->t, SLICE_LIT("ns"), SLICE_LIT("f-1"), true);
        struct revision_facts facts = {.concurrency = limit};
        revision_learn(&n->t, n->r, &facts, w->now);
        for (int p = 0; p < REPLICAS; p++) {
            know(w, i, p);
        }
    }
    for (int i = 0; i < SHARDS; i++) {
        for (int j = 0; j < SHARDS; j++) {
            w->lines[i][j].shard =
                i == j ? NULL : shards_put(&w->nodes[i].shards, slice_str(w->nodes[j].shards.self));
            mend_link(w, i, j);
        }
    }
    flush(w);
}

static void tick(struct world *w, uint64_t ns)
{
    w->now += ns;
    for (int i = 0; i < SHARDS; i++) {
        struct node *n = &w->nodes[i];
        (void)throttler_tick(&n->t, w->now);
        (void)borrower_tick(&n->borrower, w->now);
        pump(w, i);
    }
    flush(w);
}

/* Everything under way arrives, every link comes back, and time passes until all have settled. */
static void settle(struct world *w)
{
    for (int round = 0; round < 400; round++) {
        bool any = false;
        for (int i = 0; i < SHARDS; i++) {
            for (int j = 0; j < SHARDS; j++) {
                notice(w, i, j, true);
                notice(w, i, j, false);
                if (!w->keep_broken) {
                    mend_link(w, i, j);
                }
                flush(w);
                any = i != j && deliver(w, i, j, true) ? true : any;
                flush(w);
                any = i != j && deliver(w, i, j, false) ? true : any;
                flush(w);
            }
        }
        tick(w, round < 30 ? 20 * CLOCK_NS_PER_MS : STEP_NS);
        if (!any && round > 60) {
            return;
        }
    }
    fail_msg("frames go round and round");
}

/* All requests come to their end, and everybody has forgotten them. */
static void finish(struct world *w)
{
    for (int round = 0; round < 200; round++) {
        unsigned left = 0;
        settle(w);
        for (int k = 0; k < REQUESTS; k++) {
            if (w->requests[k].shard >= 0) {
                left++;
                end(w, &w->requests[k], false);
                flush(w);
            }
        }
        if (left == 0) {
            break;
        }
    }
    settle(w);
    for (int k = 0; k < REQUESTS; k++) {
        assert_int_equal(w->requests[k].shard, -1);
    }
    for (int i = 0; i < SHARDS; i++) {
        struct node *n = &w->nodes[i];
        assert_int_equal(n->lender.waiting, 0);
        assert_int_equal(n->lender.lent, 0);
        assert_int_equal(map_len(&n->borrower.loans), 0);
        assert_int_equal(n->r->in_flight, 0);
        assert_int_equal(n->r->held, 0);
    }
    for (int p = 0; p < REPLICAS; p++) {
        assert_int_equal(w->active[p], 0);
    }
}

static void stop(struct world *w)
{
    for (int i = 0; i < SHARDS; i++) {
        for (int j = 0; j < SHARDS; j++) {
            struct line *l = &w->lines[i][j];
            empty(&l->out);
            empty(&l->in);
            if (l->listener_knows) {
                lender_gone(&w->nodes[j].lender, &l->peer, w->now);
            }
        }
    }
    for (int i = 0; i < SHARDS; i++) {
        borrower_fini(&w->nodes[i].borrower);
        shards_fini(&w->nodes[i].shards);
        throttler_fini(&w->nodes[i].t);
    }
}

/* One thing that may happen, without the links. */
static void step(struct world *w)
{
    int i = (int)prng_below(&w->prng, SHARDS);
    int j = (int)prng_below(&w->prng, SHARDS);
    struct request *rq = &w->requests[prng_below(&w->prng, REQUESTS)];
    switch (prng_below(&w->prng, 8)) {
    case 0:
    case 1:
        come(w, i);
        break;
    case 2:
        if (rq->shard >= 0) {
            end(w, rq, false);
        }
        break;
    case 3:
        if (rq->shard >= 0 && prng_below(&w->prng, 4) == 0) {
            end(w, rq, true);
        }
        break;
    default:
        if (i != j) {
            (void)deliver(w, i, j, prng_below(&w->prng, 2) == 0);
        }
        break;
    }
    flush(w);
    w->steps++;
    tick(w, STEP_NS);
}

static void limits_are_exact_while_links_hold(void **state)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct world *w = NEW(struct world);
        start(w, 1 + (unsigned)(seed % 3), seed, 1000);
        settle(w);
        for (int k = 0; k < 600; k++) {
            step(w);
        }
        assert_int_equal(w->refused, 0); /* nobody had to say no */
        finish(w);
        assert_int_equal(w->most, w->limit);
        assert_int_equal(w->refused, 0);
        assert_true(w->served > 50);
        stop(w);
        free(w);
    }
}

/* Breaks one link at step n of the same story, for every n; then all the links of one shard. */
static void a_link_may_break_at_every_step(void **state)
{
    for (int whole = 0; whole < 2; whole++) {
        for (int n = 0; n < 150; n++) {
            struct world *w = NEW(struct world);
            start(w, 2, 11, 1000);
            settle(w);
            for (int k = 0; k < 150; k++) {
                if (k == n) {
                    for (int j = 0; j < SHARDS; j++) {
                        break_link(w, n % SHARDS, whole ? j : (n / SHARDS + 1) % SHARDS);
                        break_link(w, whole ? j : n % SHARDS, n % SHARDS);
                    }
                }
                if (k == n + 3 || k == n + 9) { /* the ends notice one after the other */
                    for (int i = 0; i < SHARDS; i++) {
                        for (int j = 0; j < SHARDS; j++) {
                            notice(w, i, j, (k == n + 3) == (n % 2 == 0));
                        }
                    }
                    flush(w);
                }
                step(w);
            }
            finish(w);
            assert_true(w->most <= 2);
            unsigned refused = w->refused;
            for (int k = 0; k < 300; k++) { /* and it is exact again */
                step(w);
            }
            assert_int_equal(w->refused, refused);
            finish(w);
            stop(w);
            free(w);
        }
    }
}

static void links_break_and_mend_at_random(void **state)
{
    unsigned refused = 0;
    for (uint64_t seed = 100; seed < 160; seed++) {
        struct world *w = NEW(struct world);
        start(w, 1 + (unsigned)(seed % 4), seed, 30);
        for (int k = 0; k < 800; k++) {
            int i = (int)prng_below(&w->prng, SHARDS);
            int j = (int)prng_below(&w->prng, SHARDS);
            switch (prng_below(&w->prng, 24)) {
            case 0:
                break_link(w, i, j);
                break;
            case 1:
            case 2:
                mend_link(w, i, j);
                break;
            case 3:
            case 4:
            case 5:
                notice(w, i, j, prng_below(&w->prng, 2) == 0);
                break;
            default:
                break;
            }
            flush(w);
            step(w);
            for (int p = 0; p < REPLICAS; p++) {
                assert_true(w->active[p] <= w->limit);
            }
        }
        refused += w->refused;
        finish(w);
        stop(w);
        free(w);
    }
    assert_true(refused > 0); /* the last word was needed at times: else this tests nothing */
}

/* Shards hear of replicas at different times, and links break too: whatever was lent where nobody
 * can use it yet is used in the end, or comes back. */
static void replicas_are_learned_at_random(void **state)
{
    unsigned served = 0;
    for (uint64_t seed = 440; seed < 500; seed++) {
        struct world *w = NEW(struct world);
        start(w, 1 + (unsigned)(seed % 3), seed, 30);
        settle(w);
        for (int k = 0; k < 800; k++) {
            int i = (int)prng_below(&w->prng, SHARDS);
            int j = (int)prng_below(&w->prng, SHARDS);
            int p = (int)prng_below(&w->prng, REPLICAS);
            switch (prng_below(&w->prng, 32)) {
            case 0:
            case 1:
                forget(w, i, p);
                break;
            case 2:
            case 3:
                know(w, i, p);
                pump(w, i);
                break;
            case 4:
                tick(w, CLOCK_NS_PER_S);
                break;
            case 5:
                break_link(w, i, j);
                break;
            case 6:
            case 7:
                mend_link(w, i, j);
                break;
            case 8:
            case 9:
            case 10:
                notice(w, i, j, prng_below(&w->prng, 2) == 0);
                break;
            default:
                break;
            }
            flush(w);
            step(w);
        }
        for (int i = 0; i < SHARDS; i++) {
            for (int p = 0; p < REPLICAS; p++) {
                know(w, i, p);
            }
            pump(w, i);
        }
        finish(w);
        served += w->served;
        stop(w);
        free(w);
    }
    assert_true(served > 60 * 30);
}

static int owner_index(struct world *w)
{
    const struct shard *o = shards_owner(&w->nodes[0].shards, slice_str(w->nodes[0].r->key));
    return o == NULL ? 0 : o->id[4] - '0';
}

struct roles {
    int owner;
    int heir; /* owns when the owner is gone */
    int user;
};

static struct roles roles(struct world *w)
{
    int owner = owner_index(w);
    int first = (owner + 1) % SHARDS;
    struct node *n = &w->nodes[first];
    w->lines[first][owner].shard->up = false;
    bool first_inherits = shards_owner(&n->shards, slice_str(n->r->key)) == NULL;
    w->lines[first][owner].shard->up = true;
    int heir = first_inherits ? first : (owner + 2) % SHARDS;
    return (struct roles){.owner = owner, .heir = heir, .user = SHARDS - owner - heir};
}

/* From now on no link is mended. */
static void lose(struct world *w, int i)
{
    for (int j = 0; j < SHARDS; j++) {
        break_link(w, i, j);
        break_link(w, j, i);
    }
    w->keep_broken = true;
}

/* The owner is gone while requests run elsewhere: its heir knows of them, and grants no more. */
static void what_runs_is_told_to_the_next_owner(void **state)
{
    struct world *w = NEW(struct world);
    start(w, 1, 5, 1000);
    settle(w);
    struct roles is = roles(w);
    int owner = is.owner;
    int heir = is.heir;
    int user = is.user;
    come(w, user);
    come(w, user);
    settle(w);
    assert_int_equal(w->active[0] + w->active[1], 2);
    lose(w, owner);
    settle(w);
    assert_false(w->nodes[heir].r->borrowed);
    come(w, heir);
    come(w, user);
    settle(w);
    assert_int_equal(w->nodes[heir].r->in_flight, 2);
    assert_int_equal(w->nodes[heir].r->held, 2);
    assert_int_equal(w->refused, 0);
    w->keep_broken = false;
    finish(w);
    assert_int_equal(w->served, 4);
    stop(w);
    free(w);
}

/* Nobody knows a replica yet. */
static struct world *cold(unsigned limit, struct roles *out)
{
    struct world *w = NEW(struct world);
    start(w, limit, 5, 1000);
    settle(w);
    *out = roles(w);
    for (int i = 0; i < SHARDS; i++) {
        for (int p = 0; p < REPLICAS; p++) {
            forget(w, i, p);
        }
    }
    return w;
}

/* Frames arrive and time passes, as long as nothing else happens. */
static void wait_ms(struct world *w, unsigned ms)
{
    for (unsigned t = 0; t < ms; t += 5) {
        for (int i = 0; i < SHARDS; i++) {
            for (int j = 0; j < SHARDS; j++) {
                while (i != j && (deliver(w, i, j, true) || deliver(w, i, j, false))) {
                    flush(w);
                }
            }
        }
        tick(w, 5 * CLOCK_NS_PER_MS);
    }
}

/* A slot on a replica that its borrower does not know yet is used as soon as that does; and if that
 * takes long, the others in the queue are not kept waiting. */
static void a_slot_waits_for_its_replica_to_be_known(void **state)
{
    struct roles is;
    struct world *w = cold(1, &is);
    come(w, is.user);
    wait_ms(w, 20);
    know(w, is.owner, 0);
    wait_ms(w, 20);
    assert_int_equal(w->nodes[is.owner].lender.lent, 1);
    assert_int_equal(w->active[0], 0);
    know(w, is.user, 0);
    wait_ms(w, 10);
    assert_int_equal(w->active[0], 1);
    finish(w);
    forget(w, is.user, 0);
    come(w, is.user);
    wait_ms(w, 20);
    come(w, is.owner);
    wait_ms(w, 2000);
    assert_int_equal(w->active[0], 0); /* its place is kept for a while */
    wait_ms(w, 4000);
    assert_int_equal(w->active[0], 1);
    assert_int_equal(w->nodes[is.user].r->held, 1);
    know(w, is.user, 0);
    finish(w);
    assert_int_equal(w->served, 3);
    stop(w);
    free(w);
}

/* The next owner is told of what runs on a replica that it does not know, and so has no slot for
 * it; when the replica gives the request back, it is asked for anew. */
static void what_was_told_in_vain_is_asked_for_anew(void **state)
{
    struct roles is;
    struct world *w = cold(1, &is);
    know(w, is.owner, 0);
    know(w, is.user, 0);
    come(w, is.user);
    wait_ms(w, 20);
    assert_int_equal(w->active[0], 1);
    lose(w, is.owner);
    settle(w);
    assert_int_equal(w->nodes[is.heir].lender.lent, 0);
    struct node *n = &w->nodes[is.user];
    struct request *rq = &w->requests[0];
    assert_int_equal(rq->tk.state, TICKET_GRANTED);
    w->active[0]--;
    borrower_back(&n->borrower, &rq->tk, GIVE_BACK_DRAINING);
    throttler_give_back(&n->t, &rq->tk, GIVE_BACK_DRAINING, w->now);
    pump(w, is.user);
    flush(w);
    for (int i = 0; i < SHARDS; i++) {
        know(w, i, 1);
    }
    wait_ms(w, 20);
    assert_int_equal(w->active[1], 1);
    throttler_probed(&n->t, rq->tk.revision->replicas[0], true, w->now);
    finish(w);
    assert_int_equal(w->served, 1);
    stop(w);
    free(w);
}

/* A shard that went alone has lent what is not its own; who waits there hears of it afterwards. */
static void who_waits_at_a_shard_that_was_alone_is_told(void **state)
{
    struct roles is;
    struct world *w = cold(1, &is);
    struct error err;
    struct ops_out out;
    struct slice frame;
    size_t at = 0;
    come(w, is.heir);
    wait_ms(w, 20);
    struct slot_message moved = {.op = SLOT_MOVED, .id = w->requests[0].tk.seq << 8};
    ops_init(&out, 65536);
    ops_put(&out, &moved);
    assert_true(ops_next_frame(&out, &at, &frame));
    ASSERT_OK(borrower_input(&w->nodes[is.heir].borrower, w->lines[is.heir][is.owner].shard, frame,
                             w->now, &err));
    ops_fini(&out);
    pump(w, is.heir);
    flush(w);
    break_link(w, is.user, is.owner);
    notice(w, is.user, is.owner, true);
    notice(w, is.user, is.owner, false);
    flush(w);
    come(w, is.user);
    flush(w);
    wait_ms(w, 20);
    assert_int_equal(w->nodes[is.heir].lender.waiting, 1);
    wait_ms(w, 300);
    assert_true(w->nodes[is.heir].r->borrowed);
    for (int i = 0; i < SHARDS; i++) {
        know(w, i, 0);
    }
    w->keep_broken = true;
    finish(w);
    assert_int_equal(w->served, 2);
    stop(w);
    free(w);
}

static void a_shard_takes_its_own_only(void **state)
{
    struct shards s;
    char key[32];
    unsigned own[4] = {0};
    const char *before[400];
    shards_init(&s, "act/0");
    struct shard *one = shards_put(&s, SLICE_LIT("act/1"));
    struct shard *two = shards_put(&s, SLICE_LIT("act/2"));
    assert_null(shards_put(&s, SLICE_LIT("act/0")));
    assert_ptr_equal(shards_put(&s, SLICE_LIT("act/1")), one);
    one->up = two->up = true;
    for (int k = 0; k < 400; k++) {
        snprintf(key, sizeof(key), "ns/f-%d", k);
        const struct shard *o = shards_owner(&s, slice_str(key));
        own[o == NULL ? 0 : o == one ? 1 : 2]++;
        before[k] = o == NULL ? s.self : o->id;
    }
    assert_true(own[0] > 80 && own[1] > 80 && own[2] > 80);
    two->up = false;
    for (int k = 0; k < 400; k++) {
        snprintf(key, sizeof(key), "ns/f-%d", k);
        const struct shard *o = shards_owner(&s, slice_str(key));
        const char *now = o == NULL ? s.self : o->id;
        assert_true(now == before[k] || before[k] == two->id);
    }
    s.leaving = true;
    assert_ptr_equal(shards_owner(&s, SLICE_LIT("ns/x")), one);
    one->up = false;
    assert_null(shards_owner(&s, SLICE_LIT("ns/x"))); /* nobody else is there */
    assert_int_equal(shards_up(&s), 0);
    shards_fini(&s);
}

static void bytes_that_are_none_are_refused(void **state)
{
    static const char *const bad[] = {"?12345678", "R1234567",
                                      ("R12345678\0\x09"
                                       "ab"),
                                      "D12345678", "R12345678\0\0"};
    static const size_t len[] = {9, 8, 13, 9, 11};
    struct slot_message m;
    struct error err;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct slice rest = slice_of(bad[i], len[i]);
        ASSERT_ERR(ERR_PROTOCOL, ops_read(&rest, &m, &err));
    }
    struct world *w = NEW(struct world);
    start(w, 1, 1, 10);
    struct ops_out out;
    ops_init(&out, 65536);
    struct slot_message reserve = {
        .op = SLOT_RESERVE, .id = 7, .revision = SLICE_LIT("ns/other-1")};
    ops_put(&out, &reserve);
    ops_put(&out, &reserve);
    size_t at = 0;
    struct slice frame;
    assert_true(ops_next_frame(&out, &at, &frame));
    assert_false(ops_next_frame(&out, &at, &frame));
    ASSERT_ERR(ERR_PROTOCOL,
               lender_input(&w->nodes[1].lender, &w->lines[0][1].peer, frame, w->now, &err));
    ASSERT_ERR(ERR_PROTOCOL,
               borrower_input(&w->nodes[0].borrower, w->lines[0][1].shard, frame, w->now, &err));
    ops_fini(&out);
    stop(w);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shard_takes_its_own_only),
        cmocka_unit_test(bytes_that_are_none_are_refused),
        cmocka_unit_test(what_runs_is_told_to_the_next_owner),
        cmocka_unit_test(a_slot_waits_for_its_replica_to_be_known),
        cmocka_unit_test(what_was_told_in_vain_is_asked_for_anew),
        cmocka_unit_test(who_waits_at_a_shard_that_was_alone_is_told),
        cmocka_unit_test(limits_are_exact_while_links_hold),
        cmocka_unit_test(a_link_may_break_at_every_step),
        cmocka_unit_test(links_break_and_mend_at_random),
        cmocka_unit_test(replicas_are_learned_at_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
