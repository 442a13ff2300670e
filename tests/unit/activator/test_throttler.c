// SPDX-License-Identifier: Apache-2.0
/* Order, balancing, failures of replicas. */
#include "throttler_world.h"

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

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_held_until_ready_in_order),
        TEST(test_unknown_revision_is_not_forwarded),
        TEST(test_first_free_up_to_three),
        TEST(test_round_robin_above_three),
        TEST(test_two_choices_without_limit),
        TEST(test_refused_goes_back_to_its_place),
        TEST(test_unreachable_is_set_aside_and_probed),
        TEST(test_broken_is_set_aside),
        TEST(test_draining_is_left_alone),
        TEST(test_a_full_replica_is_taken_at_its_word),
        TEST(test_a_refused_request_goes_to_an_idle_replica),
        TEST(test_pod_deleted_under_a_request),
        TEST(test_no_herd),
        TEST(test_no_descriptors),
        TEST(test_revisions_take_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
