// SPDX-License-Identifier: Apache-2.0
/* Holding: bounds, deadlines, pokes, estimates, slots for other workers. */
#include "throttler_world.h"

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
        TEST(test_poke_backs_off_and_stops),
        TEST(test_limits),
        TEST(test_deadline_and_failure),
        TEST(test_unschedulable),
        TEST(test_revision_deleted),
        TEST(test_the_largest_gives_way),
        TEST(test_bytes_of_one_revision),
        TEST(test_poke_says_how_many),
        TEST(test_poke_of_a_queue_that_stays),
        TEST(test_retry_after),
        TEST(test_slots_for_other_workers),
        TEST(test_borrowed_slots),
        TEST(test_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
