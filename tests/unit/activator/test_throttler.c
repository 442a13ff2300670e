// SPDX-License-Identifier: Apache-2.0
/* Holding, order, balancing, failures. Time is a number here. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "activator/throttler.h"
#include "test.h"

#define MS(n) ((uint64_t)(n)*CLOCK_NS_PER_MS)
#define T0    MS(1000)
#define MANY  400

struct world {
    struct throttler t;
    struct revision *r;
    struct ticket tk[MANY];
};

static int setup(void **state)
{
    static const struct throttler_limits limits = {.max_held_per_revision = 300,
                                                   .max_held = 320,
                                                   .max_held_bytes = 100000,
                                                   .hold_ms = 60000,
                                                   .fail_grace_ms = 5000};
    struct world *w = calloc(1, sizeof(*w));
    throttler_init(&w->t, &limits, 7);
    w->r = throttler_revision(&w->t, SLICE_LIT("default"), SLICE_LIT("hello-00001"), true);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    for (size_t i = 0; i < MANY; i++) {
        throttler_cancel(&w->t, &w->tk[i], MS(900000));
    }
    assert_int_equal(w->t.held_count, 0);
    assert_int_equal(w->t.held_bytes, 0);
    throttler_fini(&w->t);
    free(w);
    return 0;
}

static void learn(struct world *w, uint32_t cc, const char *reason)
{
    struct revision_facts f = {.concurrency = cc,
                               .timeout_ms = 30000,
                               .reason = slice_str(reason),
                               .message = SLICE_LIT("because")};
    revision_learn(&w->t, w->r, &f, T0);
}

static struct replica *replica(struct world *w, const char *uid, bool ready, uint64_t now)
{
    struct replica_facts f = {.uid = slice_str(uid),
                              .name = slice_str(uid),
                              .address = SLICE_LIT("127.0.0.1:1"),
                              .ready = ready};
    return revision_put_replica(&w->t, w->r, &f, now);
}

static enum admit admit(struct world *w, int i, uint64_t now)
{
    return throttler_admit(&w->t, w->r, &w->tk[i], 100, now);
}

static int index_of(struct world *w, struct ticket *tk)
{
    return tk == NULL ? -1 : (int)(tk - w->tk);
}

static void test_held_until_ready_in_order(void **state)
{
    struct world *w = *state;
    learn(w, 1, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(admit(w, i, T0 + MS(i)), ADMIT_HELD);
    }
    assert_ptr_equal(throttler_next_poke(&w->t, T0 + MS(2)), w->r);
    assert_null(throttler_next_poke(&w->t, T0 + MS(2)));
    assert_null(throttler_next(&w->t, T0 + MS(3)));
    replica(w, "a", false, T0 + MS(5));
    assert_null(throttler_next(&w->t, T0 + MS(5)));
    replica(w, "a", true, T0 + MS(9));
    assert_int_equal(index_of(w, throttler_next(&w->t, T0 + MS(9))), 0);
    assert_null(throttler_next(&w->t, T0 + MS(9))); /* one slot */
    throttler_done(&w->t, &w->tk[0], true, T0 + MS(20));
    assert_int_equal(index_of(w, throttler_next(&w->t, T0 + MS(20))), 1);
    assert_int_equal(admit(w, 3, T0 + MS(21)), ADMIT_HELD); /* behind the one that waits */
    throttler_done(&w->t, &w->tk[1], true, T0 + MS(30));
    assert_int_equal(index_of(w, throttler_next(&w->t, T0 + MS(30))), 2);
    assert_int_equal(w->r->cold_starts, 3);
}

static void test_unknown_revision_is_not_forwarded(void **state)
{
    struct world *w = *state;
    replica(w, "a", true, T0);
    assert_int_equal(admit(w, 0, T0), ADMIT_HELD);
    learn(w, 0, NULL);
    assert_int_equal(index_of(w, throttler_next(&w->t, T0)), 0);
}

static void test_poke_backs_off_and_stops(void **state)
{
    struct world *w = *state;
    learn(w, 0, NULL);
    assert_int_equal(admit(w, 0, T0), ADMIT_HELD);
    uint64_t at[4];
    int n = 0;
    for (uint64_t now = T0; n < 4 && now < T0 + MS(5000); now += MS(1)) {
        (void)throttler_tick(&w->t, now);
        if (throttler_next_poke(&w->t, now) != NULL) {
            at[n++] = now - T0;
        }
    }
    assert_int_equal(n, 4);
    assert_int_equal(at[0], 0);
    assert_int_equal(at[1], MS(200));
    assert_int_equal(at[2], MS(600));
    assert_int_equal(at[3], MS(1400));
    replica(w, "a", true, T0 + MS(5000));
    (void)throttler_tick(&w->t, T0 + MS(9000));
    assert_null(throttler_next_poke(&w->t, T0 + MS(9000)));
    assert_int_equal(index_of(w, throttler_next(&w->t, T0 + MS(9000))), 0);
    throttler_done(&w->t, &w->tk[0], true, T0 + MS(9000));
    revision_remove_replica(&w->t, w->r, SLICE_LIT("a"));
    assert_int_equal(admit(w, 1, T0 + MS(9001)), ADMIT_HELD); /* idle again: poked at once */
    assert_ptr_equal(throttler_next_poke(&w->t, T0 + MS(9001)), w->r);
}

static void test_limits(void **state)
{
    struct world *w = *state;
    learn(w, 1, NULL);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(admit(w, i, T0), ADMIT_HELD);
    }
    assert_int_equal(admit(w, 300, T0), ADMIT_REVISION_FULL);
    struct revision *other =
        throttler_revision(&w->t, SLICE_LIT("default"), SLICE_LIT("other"), true);
    for (int i = 300; i < 320; i++) {
        assert_int_equal(throttler_admit(&w->t, other, &w->tk[i], 100, T0), ADMIT_HELD);
    }
    throttler_cancel(&w->t, &w->tk[0], T0);
    assert_int_equal(admit(w, 0, T0), ADMIT_HELD);
    throttler_cancel(&w->t, &w->tk[1], T0);
    assert_int_equal(throttler_admit(&w->t, other, &w->tk[320], 90000, T0), ADMIT_TOTAL_FULL);
    assert_int_equal(w->t.held_count, 319);
    assert_int_equal(w->r->refused, 1);
    assert_int_equal(other->refused, 1);
}

static void test_deadline_and_failure(void **state)
{
    struct world *w = *state;
    enum expiry why;
    learn(w, 1, NULL);
    assert_int_equal(admit(w, 0, T0), ADMIT_HELD);
    assert_int_equal(admit(w, 1, T0 + MS(1000)), ADMIT_HELD);
    assert_int_equal(throttler_tick(&w->t, T0 + MS(29999)) <= T0 + MS(30000), 1);
    assert_null(throttler_expired(&w->t, T0 + MS(29999), &why));
    (void)throttler_tick(&w->t, T0 + MS(30000)); /* timeoutSeconds is shorter than the hold time */
    assert_int_equal(index_of(w, throttler_expired(&w->t, T0 + MS(30000), &why)), 0);
    assert_int_equal(why, EXPIRY_DEADLINE);
    assert_null(throttler_expired(&w->t, T0 + MS(30000), &why));

    struct revision_facts f = {.concurrency = 1,
                               .timeout_ms = 30000,
                               .reason = SLICE_LIT("ExitCode1"),
                               .message = SLICE_LIT("boom")};
    revision_learn(&w->t, w->r, &f, T0 + MS(10000)); /* it fails from here on: grace of 5 s */
    (void)throttler_tick(&w->t, T0 + MS(14999));
    assert_null(throttler_expired(&w->t, T0 + MS(14999), &why));
    (void)throttler_tick(&w->t, T0 + MS(15000));
    struct ticket *tk = throttler_expired(&w->t, T0 + MS(15000), &why);
    assert_int_equal(index_of(w, tk), 1);
    assert_int_equal(why, EXPIRY_FAILED);
    const char *message;
    assert_string_equal(revision_failure(tk->revision, &message), "ExitCode1");
    assert_string_equal(message, "boom");
    assert_int_equal(w->t.held_count, 0);
}

/* A Pod without a node counts only while nothing else can answer. */
static void test_unschedulable(void **state)
{
    struct world *w = *state;
    enum expiry why;
    learn(w, 1, NULL);
    struct replica *p = replica(w, "a", true, T0);
    assert_int_equal(admit(w, 0, T0), ADMIT_GRANTED);
    assert_int_equal(admit(w, 1, T0), ADMIT_HELD);
    revision_pod_blocked(w->r, true, SLICE_LIT("full house"), T0);
    (void)throttler_tick(&w->t, T0 + MS(6000));
    assert_null(throttler_expired(&w->t, T0 + MS(6000), &why));
    p->ready = false;
    (void)throttler_tick(&w->t, T0 + MS(6001));
    assert_int_equal(index_of(w, throttler_expired(&w->t, T0 + MS(6001), &why)), 1);
    assert_int_equal(why, EXPIRY_FAILED);
    assert_string_equal(revision_failure(w->r, NULL), "Unschedulable");
    revision_pod_blocked(w->r, false, SLICE_EMPTY, T0);
    assert_null(revision_failure(w->r, NULL));
}

static void test_revision_deleted(void **state)
{
    struct world *w = *state;
    enum expiry why;
    learn(w, 1, NULL);
    assert_int_equal(admit(w, 0, T0), ADMIT_HELD);
    assert_int_equal(admit(w, 1, T0), ADMIT_HELD);
    revision_forget(&w->t, w->r);
    assert_int_equal(index_of(w, throttler_expired(&w->t, T0, &why)), 0);
    assert_int_equal(why, EXPIRY_GONE);
    assert_int_equal(index_of(w, throttler_expired(&w->t, T0, &why)), 1);
    assert_null(throttler_expired(&w->t, T0, &why));
    struct list *cursor = NULL;
    struct stat_report rep;
    assert_ptr_equal(throttler_report(&w->t, &cursor, T0 + MS(1), &rep), w->r);
    assert_null(throttler_report(&w->t, &cursor, T0 + MS(1), &rep));
    cursor = NULL;
    assert_null(throttler_report(&w->t, &cursor, T0 + MS(1000), &rep));
    assert_null(throttler_revision(&w->t, SLICE_LIT("default"), SLICE_LIT("hello-00001"), false));
}

static void test_first_free_up_to_three(void **state)
{
    struct world *w = *state;
    learn(w, 2, NULL);
    struct replica *a = replica(w, "a", true, T0);
    struct replica *b = replica(w, "b", true, T0);
    struct replica *want[] = {a, a, b, b};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(admit(w, i, T0), ADMIT_GRANTED);
        assert_ptr_equal(w->tk[i].replica, want[i]);
    }
    assert_int_equal(admit(w, 4, T0), ADMIT_HELD);
    throttler_done(&w->t, &w->tk[2], true, T0);
    assert_ptr_equal(throttler_next(&w->t, T0)->replica, b); /* never waits for a busy one */
}

static void test_round_robin_above_three(void **state)
{
    struct world *w = *state;
    learn(w, 10, NULL);
    struct replica *p[3] = {replica(w, "a", true, T0), replica(w, "b", true, T0),
                            replica(w, "c", true, T0)};
    for (int i = 0; i < 30; i++) {
        assert_int_equal(admit(w, i, T0), ADMIT_GRANTED);
        assert_ptr_equal(w->tk[i].replica, p[i % 3]);
    }
    assert_int_equal(admit(w, 30, T0), ADMIT_HELD);
}

static void test_two_choices_without_limit(void **state)
{
    struct world *w = *state;
    learn(w, 0, NULL);
    struct replica *p[4];
    const char *uid[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++) {
        p[i] = replica(w, uid[i], true, T0);
    }
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(admit(w, i, T0), ADMIT_GRANTED);
    }
    for (int i = 0; i < 4; i++) {
        assert_in_range(p[i]->in_flight, 95, 105);
    }
}

static void test_refused_goes_back_to_its_place(void **state)
{
    struct world *w = *state;
    learn(w, 1, NULL);
    replica(w, "a", true, T0);
    assert_int_equal(admit(w, 0, T0), ADMIT_GRANTED);
    assert_int_equal(admit(w, 1, T0), ADMIT_HELD);
    assert_int_equal(admit(w, 2, T0), ADMIT_HELD);
    throttler_give_back(&w->t, &w->tk[0], GIVE_BACK_FULL, T0);
    assert_null(throttler_next(&w->t, T0)); /* it is full: rest a little */
    uint64_t wake = throttler_tick(&w->t, T0);
    assert_in_range(wake, T0 + 1, T0 + MS(5));
    (void)throttler_tick(&w->t, wake);
    assert_int_equal(index_of(w, throttler_next(&w->t, wake)), 0); /* first again */
    assert_int_equal(w->tk[0].attempts, 2);
    throttler_give_back(&w->t, &w->tk[0], GIVE_BACK_FULL, wake);
    struct replica *b = replica(w, "b", true, wake);
    assert_int_equal(index_of(w, throttler_next(&w->t, wake)), 0);
    assert_ptr_equal(w->tk[0].replica, b);
}

/* Not used before a probe has succeeded, whoever asks; probes have pauses that double. */
static void test_unreachable_is_set_aside_and_probed(void **state)
{
    struct world *w = *state;
    learn(w, 10, NULL);
    struct replica *a = replica(w, "a", true, T0);
    assert_int_equal(admit(w, 0, T0), ADMIT_GRANTED);
    assert_int_equal(admit(w, 1, T0), ADMIT_GRANTED);
    throttler_give_back(&w->t, &w->tk[0], GIVE_BACK_UNREACHABLE, T0);
    throttler_give_back(&w->t, &w->tk[1], GIVE_BACK_UNREACHABLE, T0);
    assert_int_equal(revision_usable(w->r, T0), 0);
    assert_ptr_equal(throttler_next_poke(&w->t, T0), w->r); /* perhaps it was scaled away */
    assert_int_equal(admit(w, 2, T0), ADMIT_HELD);
    uint64_t now = T0;
    uint64_t pause = 0;
    for (int i = 0; i < 12; i++) {
        assert_ptr_equal(throttler_next_probe(&w->t, now), a);
        assert_null(throttler_next_probe(&w->t, now)); /* one at a time */
        assert_null(throttler_next(&w->t, now));
        throttler_probed(&w->t, a, false, now);
        assert_null(throttler_next_probe(&w->t, now));
        uint64_t wake = a->probe_at_ns;
        assert_true(throttler_tick(&w->t, now) <= wake);
        assert_true(wake - now >= pause && wake - now <= MS(1000));
        pause = wake - now;
        now = wake;
    }
    assert_int_equal(pause, MS(1000));
    assert_ptr_equal(throttler_next_probe(&w->t, now), a);
    throttler_probed(&w->t, a, true, now);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(index_of(w, throttler_next(&w->t, now)), i);
        throttler_done(&w->t, &w->tk[i], true, now);
    }
    assert_int_equal(a->failures, 0);
    assert_true(throttler_idle(&w->t));
}

/* A replica that breaks a request off without a word; the request is over, the others move on. */
static void test_broken_is_set_aside(void **state)
{
    struct world *w = *state;
    learn(w, 0, NULL);
    struct replica *a = replica(w, "a", true, T0);
    struct replica *b = replica(w, "b", true, T0);
    assert_int_equal(admit(w, 0, T0), ADMIT_GRANTED);
    struct replica *bad = w->tk[0].replica;
    struct replica *other = bad == a ? b : a;
    throttler_broken(&w->t, &w->tk[0], T0);
    for (int i = 1; i < 40; i++) {
        assert_int_equal(admit(w, i, T0), ADMIT_GRANTED);
        assert_ptr_equal(w->tk[i].replica, other);
    }
    assert_ptr_equal(throttler_next_probe(&w->t, T0), bad);
    revision_remove_replica(&w->t, w->r, slice_str(bad->uid)); /* and never answers */
    assert_null(throttler_next_probe(&w->t, T0 + MS(1000)));
    assert_true(throttler_idle(&w->t));
}

/* A draining replica never comes back, and is not asked often. */
static void test_draining_is_left_alone(void **state)
{
    struct world *w = *state;
    learn(w, 1, NULL);
    struct replica *a = replica(w, "a", true, T0);
    assert_int_equal(admit(w, 0, T0), ADMIT_GRANTED);
    throttler_give_back(&w->t, &w->tk[0], GIVE_BACK_DRAINING, T0);
    assert_null(throttler_next_probe(&w->t, T0 + MS(999)));
    assert_ptr_equal(throttler_next_probe(&w->t, T0 + MS(1000)), a);
    throttler_probed(&w->t, a, false, T0 + MS(1001));
    assert_null(throttler_next_probe(&w->t, T0 + MS(2000)));
    struct replica_facts gone = {.uid = SLICE_LIT("a"),
                                 .name = SLICE_LIT("a"),
                                 .address = SLICE_LIT("127.0.0.1:1"),
                                 .ready = true,
                                 .terminating = true};
    (void)revision_put_replica(&w->t, w->r, &gone, T0 + MS(3000));
    assert_ptr_equal(throttler_next_poke(&w->t, T0 + MS(9000)), w->r);
    assert_null(throttler_next_probe(&w->t, T0 + MS(9000)));
    assert_true(throttler_tick(&w->t, T0 + MS(9000)) > T0 + MS(9000)); /* no busy loop over it */
}

/* Two others have slots of it: what it took of ours is the limit, one more is tried now and then.
 */
static void test_a_full_replica_is_taken_at_its_word(void **state)
{
    struct world *w = *state;
    learn(w, 4, NULL);
    struct replica *a = replica(w, "a", true, T0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(admit(w, i, T0), ADMIT_GRANTED);
    }
    throttler_give_back(&w->t, &w->tk[2], GIVE_BACK_FULL, T0);
    throttler_give_back(&w->t, &w->tk[3], GIVE_BACK_FULL, T0);
    assert_int_equal(a->in_flight, 2);
    assert_null(throttler_next(&w->t, T0)); /* not at once again */
    throttler_done(&w->t, &w->tk[0], true, T0 + MS(1));
    assert_int_equal(index_of(w, throttler_next(&w->t, T0 + MS(1))), 2); /* in its place */
    assert_null(throttler_next(&w->t, T0 + MS(1)));
    unsigned tries = 0;
    for (uint64_t now = T0 + MS(2); now < T0 + MS(1002); now += MS(1)) {
        (void)throttler_tick(&w->t, now);
        while (throttler_next(&w->t, now) != NULL) {
            tries++;
            throttler_give_back(&w->t, &w->tk[3], GIVE_BACK_FULL, now);
        }
    }
    assert_in_range(tries, 10, 20); /* 2, 4, … 100 ms apart */
    assert_int_equal(a->in_flight, 2);
    uint64_t now = T0 + MS(1200);
    (void)throttler_tick(&w->t, now);
    assert_int_equal(index_of(w, throttler_next(&w->t, now)), 3);
    throttler_done(&w->t, &w->tk[3], true, now); /* a slot has come free elsewhere */
    for (int i = 4; i < 6; i++) {
        (void)!admit(w, i, now);
        now += MS(3);
        (void)throttler_tick(&w->t, now);
        (void)throttler_next(&w->t, now);
    }
    assert_int_equal(a->in_flight, 4);
    throttler_done(&w->t, &w->tk[5], true, now);
    assert_int_equal(a->full_count, 0); /* it takes all four again */
}

/* Requests that a replica refused go to one that is idle, before those that came later. */
static void test_a_refused_request_goes_to_an_idle_replica(void **state)
{
    struct world *w = *state;
    learn(w, 1, NULL);
    replica(w, "a", true, T0);
    assert_int_equal(admit(w, 0, T0), ADMIT_GRANTED);
    assert_int_equal(admit(w, 1, T0), ADMIT_HELD);
    struct replica *b = replica(w, "b", true, T0);
    throttler_give_back(&w->t, &w->tk[0], GIVE_BACK_FULL, T0);
    assert_int_equal(index_of(w, throttler_next(&w->t, T0)), 0);
    assert_ptr_equal(w->tk[0].replica, b);
    throttler_done(&w->t, &w->tk[0], true, T0 + MS(50)); /* also when the full one may be tried */
    assert_int_equal(index_of(w, throttler_next(&w->t, T0 + MS(50))), 1);
    assert_ptr_equal(w->tk[1].replica, b);
}

/* The common bound: who holds most gives way, with its newest. */
static void test_the_largest_gives_way(void **state)
{
    struct world *w = *state;
    enum expiry why;
    learn(w, 1, NULL);
    struct revision *other =
        throttler_revision(&w->t, SLICE_LIT("default"), SLICE_LIT("other"), true);
    struct revision *third =
        throttler_revision(&w->t, SLICE_LIT("default"), SLICE_LIT("third"), true);
    for (int i = 0; i < 320; i++) {
        struct revision *r = i < 290 ? w->r : other;
        assert_int_equal(throttler_admit(&w->t, r, &w->tk[i], 100, T0), ADMIT_HELD);
    }
    assert_int_equal(throttler_admit(&w->t, third, &w->tk[320], 100, T0), ADMIT_HELD);
    assert_int_equal(w->t.held_count, 320);
    assert_int_equal(admit(w, 321, T0), ADMIT_TOTAL_FULL); /* it holds most itself */
    assert_int_equal(index_of(w, throttler_expired(&w->t, T0, &why)), 289);
    assert_int_equal(why, EXPIRY_PUSHED);
    assert_null(throttler_expired(&w->t, T0, &why));
    assert_int_equal(throttler_admit(&w->t, third, &w->tk[321], 100, T0), ADMIT_HELD);
    throttler_cancel(&w->t, &w->tk[288], T0); /* pushed out, and its client has left */
    assert_null(throttler_expired(&w->t, T0, &why));
    /* by bytes: 100,000 in all, 31,800 are held */
    throttler_cancel(&w->t, &w->tk[0], T0);
    throttler_cancel(&w->t, &w->tk[1], T0);
    assert_int_equal(throttler_admit(&w->t, other, &w->tk[322], 68000, T0), ADMIT_HELD);
    assert_int_equal(throttler_admit(&w->t, third, &w->tk[323], 20000, T0), ADMIT_HELD);
    assert_int_equal(index_of(w, throttler_expired(&w->t, T0, &why)), 322);
    assert_int_equal(throttler_admit(&w->t, third, &w->tk[324], 100001, T0), ADMIT_TOTAL_FULL);
    assert_true(w->t.held_bytes <= 100000);
}

static void test_bytes_of_one_revision(void **state)
{
    struct world *w = *state;
    w->t.limits.max_held_bytes_per_revision = 1000;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(admit(w, i, T0), ADMIT_HELD);
    }
    assert_int_equal(admit(w, 10, T0), ADMIT_REVISION_FULL);
    throttler_cancel(&w->t, &w->tk[3], T0);
    assert_int_equal(w->r->held_bytes, 900);
    assert_int_equal(admit(w, 10, T0), ADMIT_HELD);
}

/* Told of one, then of twice as many and more, not more often than every 20 ms. */
static void test_poke_says_how_many(void **state)
{
    struct world *w = *state;
    learn(w, 1, NULL);
    assert_int_equal(admit(w, 0, T0), ADMIT_HELD);
    assert_ptr_equal(throttler_next_poke(&w->t, T0), w->r);
    assert_int_equal(revision_demand(w->r), 1);
    for (int i = 1; i < 50; i++) {
        assert_int_equal(admit(w, i, T0 + MS(1)), ADMIT_HELD);
        assert_null(throttler_next_poke(&w->t, T0 + MS(1)));
    }
    assert_int_equal(throttler_tick(&w->t, T0 + MS(2)), T0 + MS(20));
    (void)throttler_tick(&w->t, T0 + MS(20));
    assert_ptr_equal(throttler_next_poke(&w->t, T0 + MS(20)), w->r);
    assert_int_equal(revision_demand(w->r), 50);
    for (int i = 50; i < 99; i++) {
        assert_int_equal(admit(w, i, T0 + MS(41)), ADMIT_HELD);
    }
    assert_null(throttler_next_poke(&w->t, T0 + MS(41)));
    assert_int_equal(admit(w, 99, T0 + MS(42)), ADMIT_HELD);
    assert_ptr_equal(throttler_next_poke(&w->t, T0 + MS(42)), w->r);
}

/* A queue in front of busy replicas is told of when it is no moment's. */
static void test_poke_of_a_queue_that_stays(void **state)
{
    struct world *w = *state;
    learn(w, 1, NULL);
    replica(w, "a", true, T0);
    assert_int_equal(admit(w, 0, T0), ADMIT_GRANTED);
    for (int i = 1; i < 20; i++) {
        assert_int_equal(admit(w, i, T0), ADMIT_HELD);
    }
    for (uint64_t now = T0; now < T0 + MS(250); now += MS(5)) {
        (void)throttler_tick(&w->t, now);
        assert_null(throttler_next_poke(&w->t, now));
    }
    (void)throttler_tick(&w->t, T0 + MS(250));
    assert_ptr_equal(throttler_next_poke(&w->t, T0 + MS(250)), w->r);
    for (uint64_t now = T0; now < T0 + MS(3000); now += MS(5)) {
        (void)throttler_tick(&w->t, now);
        assert_null(throttler_next_poke(&w->t, now)); /* it has not grown */
    }
}

static void test_retry_after(void **state)
{
    struct world *w = *state;
    learn(w, 1, NULL);
    assert_int_equal(revision_retry_after_s(w->r, T0), 1); /* nothing is known yet */
    assert_int_equal(admit(w, 0, T0), ADMIT_HELD);
    replica(w, "a", true, T0 + MS(8000));
    assert_int_equal(index_of(w, throttler_next(&w->t, T0 + MS(8000))), 0);
    revision_remove_replica(&w->t, w->r, SLICE_LIT("a"));
    throttler_done(&w->t, &w->tk[0], true, T0 + MS(8000));
    /* a cold start took 8 s */
    assert_int_equal(admit(w, 1, T0 + MS(10000)), ADMIT_HELD);
    assert_int_equal(revision_retry_after_s(w->r, T0 + MS(10000)), 8);
    assert_int_equal(revision_retry_after_s(w->r, T0 + MS(15000)), 3);
    assert_int_equal(revision_retry_after_s(w->r, T0 + MS(19000)), 4); /* late */
    replica(w, "a", true, T0 + MS(20000));
    for (int i = 2; i < 30; i++) {
        (void)!admit(w, i, T0 + MS(20000));
    }
    uint64_t now = T0 + MS(20000);
    for (int i = 1; i < 15; i++, now += MS(700)) { /* one each 700 ms */
        assert_int_equal(index_of(w, throttler_next(&w->t, now)), i);
        throttler_done(&w->t, &w->tk[i], true, now + MS(700));
    }
    assert_int_equal(w->r->held, 15);
    assert_in_range(revision_retry_after_s(w->r, now), 10, 11);
    learn(w, 1, "ExitCode1");
    assert_in_range(revision_retry_after_s(w->r, now), 10, 11);
}

/* Slots for requests that another worker holds stand in the same queue. */
static void test_slots_for_other_workers(void **state)
{
    struct world *w = *state;
    enum expiry why;
    struct stat_report rep;
    struct list *cursor = NULL;
    learn(w, 1, NULL);
    assert_int_equal(throttler_reserve(&w->t, w->r, &w->tk[0], T0), ADMIT_HELD);
    assert_ptr_equal(throttler_next_poke(&w->t, T0), w->r);
    assert_int_equal(admit(w, 1, T0), ADMIT_HELD);
    assert_int_equal(throttler_reserve(&w->t, w->r, &w->tk[2], T0), ADMIT_HELD);
    assert_int_equal(w->t.held_count, 1);
    assert_int_equal(w->r->held, 3);
    replica(w, "a", true, T0);
    for (int i = 0; i < 3; i++) {
        struct ticket *tk = throttler_next(&w->t, T0);
        assert_int_equal(index_of(w, tk), i);
        assert_int_equal(tk->kind, i == 1 ? TICKET_REQUEST : TICKET_SLOT);
        assert_null(throttler_next(&w->t, T0)); /* never two at once */
        throttler_done(&w->t, tk, true, T0);
    }
    assert_ptr_equal(throttler_report(&w->t, &cursor, T0 + MS(1), &rep), w->r);
    assert_true(rep.count == 1.0); /* the others are counted where they are */

    assert_true(throttler_reserve_at(&w->t, w->r, &w->tk[3], SLICE_LIT("a"), T0));
    assert_false(throttler_reserve_at(&w->t, w->r, &w->tk[4], SLICE_LIT("b"), T0));
    assert_int_equal(admit(w, 4, T0), ADMIT_HELD);
    throttler_give_back(&w->t, &w->tk[3], GIVE_BACK_FULL, T0);
    assert_int_equal(throttler_reserve(&w->t, w->r, &w->tk[5], T0), ADMIT_HELD);
    throttler_cancel(&w->t, &w->tk[3], T0);
    (void)throttler_tick(&w->t, T0 + MS(30000)); /* they expire like requests */
    assert_int_equal(index_of(w, throttler_expired(&w->t, T0 + MS(30000), &why)), 4);
    assert_int_equal(index_of(w, throttler_expired(&w->t, T0 + MS(30000), &why)), 5);
}

static void test_borrowed_slots(void **state)
{
    struct world *w = *state;
    learn(w, 1, NULL);
    struct replica *a = replica(w, "a", true, T0);
    assert_int_equal(admit(w, 0, T0), ADMIT_GRANTED); /* before it had another owner */
    assert_int_equal(admit(w, 1, T0), ADMIT_HELD);
    revision_set_borrowed(&w->t, w->r, true);
    throttler_done(&w->t, &w->tk[0], true, T0);
    assert_null(throttler_next(&w->t, T0));
    assert_int_equal(admit(w, 2, T0), ADMIT_HELD);
    assert_null(throttler_next_poke(&w->t, T0)); /* the owner's task */
    assert_int_equal(index_of(w, throttler_next_ask(&w->t)), 1);
    assert_int_equal(index_of(w, throttler_next_ask(&w->t)), 2);
    assert_null(throttler_next_ask(&w->t));
    assert_true(throttler_lend(&w->t, &w->tk[2], SLICE_LIT("a"), T0));
    assert_ptr_equal(w->tk[2].replica, a);
    throttler_give_back(&w->t, &w->tk[2], GIVE_BACK_FULL, T0);
    assert_null(throttler_next_ask(&w->t)); /* it keeps its place there */
    assert_false(throttler_lend(&w->t, &w->tk[1], SLICE_LIT("b"), T0));
    throttler_ask_again(&w->t, w->r); /* a new owner */
    assert_int_equal(index_of(w, throttler_next_ask(&w->t)), 1);
    throttler_cancel(&w->t, &w->tk[2], T0);
    assert_null(throttler_next_ask(&w->t));
    revision_set_borrowed(&w->t, w->r, false);
    assert_int_equal(index_of(w, throttler_next(&w->t, T0 + MS(200))), 1);
}

static void test_pod_deleted_under_a_request(void **state)
{
    struct world *w = *state;
    learn(w, 1, NULL);
    replica(w, "a", true, T0);
    assert_int_equal(admit(w, 0, T0), ADMIT_GRANTED);
    revision_remove_replica(&w->t, w->r, SLICE_LIT("a"));
    assert_int_equal(admit(w, 1, T0), ADMIT_HELD);
    throttler_done(&w->t, &w->tk[0], true, T0);
    assert_null(throttler_next(&w->t, T0));
    assert_int_equal(w->r->replica_count, 0);
}

static int release(struct world *w, uint64_t now)
{
    int n = 0;
    (void)throttler_tick(&w->t, now);
    while (throttler_next(&w->t, now) != NULL) {
        n++;
    }
    return n;
}

/* Nobody limits concurrency, but a crowd that waits does not jump onto a newborn replica. */
static void test_no_herd(void **state)
{
    struct world *w = *state;
    learn(w, 0, NULL);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(admit(w, i, T0), ADMIT_HELD);
    }
    replica(w, "a", true, T0);
    assert_int_equal(release(w, T0), 64);
    assert_int_equal(release(w, T0 + MS(99)), 0);
    assert_int_equal(release(w, T0 + MS(100)), 64); /* none has answered, but that may be its way */
    for (int i = 0; i < 10; i++) {
        throttler_done(&w->t, &w->tk[i], true, T0 + MS(101));
    }
    assert_int_equal(release(w, T0 + MS(101)), 20); /* ten went, and ten more for their answers */
    assert_int_equal(release(w, T0 + MS(200)), 138);
    assert_int_equal(release(w, T0 + MS(300)), 14);
}

/* The owner has descriptors for so many; and for none at all for a moment. */
static void test_no_descriptors(void **state)
{
    struct world *w = *state;
    learn(w, 0, NULL);
    replica(w, "a", true, T0);
    w->t.max_in_flight = 3;
    for (int i = 0; i < 8; i++) {
        assert_int_equal(admit(w, i, T0), i < 3 ? ADMIT_GRANTED : ADMIT_HELD);
    }
    assert_int_equal(release(w, T0), 0);
    throttler_done(&w->t, &w->tk[0], true, T0);
    assert_int_equal(release(w, T0), 1);
    w->t.max_in_flight = 100;
    throttler_give_back(&w->t, &w->tk[3], GIVE_BACK_LOCAL, T0);
    assert_int_equal(throttler_tick(&w->t, T0), T0 + MS(10));
    assert_int_equal(release(w, T0 + MS(9)), 0);
    assert_int_equal(admit(w, 8, T0 + MS(9)), ADMIT_HELD);
    assert_int_equal(index_of(w, (release(w, T0 + MS(9)), throttler_next(&w->t, T0 + MS(10)))), -1);
    (void)throttler_tick(&w->t, T0 + MS(10));
    assert_int_equal(index_of(w, throttler_next(&w->t, T0 + MS(10))), 3);
    assert_int_equal(release(w, T0 + MS(10)), 5);
    assert_false(w->tk[3].replica->suspect);
}

static void test_revisions_take_turns(void **state)
{
    struct world *w = *state;
    learn(w, 0, NULL);
    struct revision *first = w->r;
    struct revision *second =
        throttler_revision(&w->t, SLICE_LIT("default"), SLICE_LIT("second"), true);
    for (int i = 0; i < 10; i++) {
        w->r = i < 5 ? first : second;
        assert_int_equal(admit(w, i, T0), ADMIT_HELD);
    }
    w->r = second;
    learn(w, 0, NULL);
    w->r = first;
    replica(w, "a", true, T0);
    w->r = second;
    replica(w, "b", true, T0);
    int want[] = {5, 0, 6, 1, 7, 2, 8, 3, 9, 4};
    for (int i = 0; i < 10; i++) {
        assert_int_equal(index_of(w, throttler_next(&w->t, T0)), want[i]);
    }
}

static void test_report(void **state)
{
    struct world *w = *state;
    struct stat_report rep;
    learn(w, 0, NULL);
    assert_int_equal(admit(w, 0, T0), ADMIT_HELD);
    struct list *cursor = NULL;
    assert_ptr_equal(throttler_report(&w->t, &cursor, T0 + MS(1000), &rep), w->r);
    assert_true(rep.concurrency == 1.0 && rep.count == 1.0);
    assert_null(throttler_report(&w->t, &cursor, T0 + MS(1000), &rep));
    throttler_cancel(&w->t, &w->tk[0], T0 + MS(1500));
    cursor = NULL;
    assert_ptr_equal(throttler_report(&w->t, &cursor, T0 + MS(2000), &rep), w->r);
    assert_true(rep.concurrency == 0.5 && rep.count == 0.0);
    cursor = NULL;
    assert_null(throttler_report(&w->t, &cursor, T0 + MS(3000), &rep)); /* forgotten: 0 */
    CLEANUP(strbuf_fini) struct strbuf s;
    strbuf_init(&s, 4096);
    replica(w, "a", true, T0);
    throttler_dump(&w->t, T0, &s);
    assert_non_null(strstr(s.ptr, "\"pod\":\"a\""));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_held_until_ready_in_order),
        TEST(test_unknown_revision_is_not_forwarded),
        TEST(test_poke_backs_off_and_stops),
        TEST(test_limits),
        TEST(test_deadline_and_failure),
        TEST(test_unschedulable),
        TEST(test_revision_deleted),
        TEST(test_first_free_up_to_three),
        TEST(test_round_robin_above_three),
        TEST(test_two_choices_without_limit),
        TEST(test_refused_goes_back_to_its_place),
        TEST(test_unreachable_is_set_aside_and_probed),
        TEST(test_broken_is_set_aside),
        TEST(test_draining_is_left_alone),
        TEST(test_a_full_replica_is_taken_at_its_word),
        TEST(test_a_refused_request_goes_to_an_idle_replica),
        TEST(test_the_largest_gives_way),
        TEST(test_bytes_of_one_revision),
        TEST(test_poke_says_how_many),
        TEST(test_poke_of_a_queue_that_stays),
        TEST(test_retry_after),
        TEST(test_slots_for_other_workers),
        TEST(test_borrowed_slots),
        TEST(test_pod_deleted_under_a_request),
        TEST(test_no_herd),
        TEST(test_no_descriptors),
        TEST(test_revisions_take_turns),
        TEST(test_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
