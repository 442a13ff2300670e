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
    assert_int_equal(throttler_admit(&w->t, other, &w->tk[320], 100, T0), ADMIT_TOTAL_FULL);
    throttler_cancel(&w->t, &w->tk[319], T0);
    assert_int_equal(throttler_admit(&w->t, other, &w->tk[319], 90000, T0), ADMIT_TOTAL_FULL);
    assert_int_equal(w->t.held_count, 319);
    assert_int_equal(w->r->refused, 1);
    assert_int_equal(other->refused, 2);
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

static void test_unreachable_is_set_aside_then_tried_once(void **state)
{
    struct world *w = *state;
    learn(w, 10, NULL);
    struct replica *a = replica(w, "a", true, T0);
    assert_int_equal(admit(w, 0, T0), ADMIT_GRANTED);
    throttler_give_back(&w->t, &w->tk[0], GIVE_BACK_UNREACHABLE, T0);
    assert_int_equal(revision_usable(w->r, T0), 0);
    assert_ptr_equal(throttler_next_poke(&w->t, T0), w->r); /* perhaps it was scaled away */
    assert_int_equal(admit(w, 1, T0), ADMIT_HELD);
    uint64_t wake = throttler_tick(&w->t, T0);
    (void)throttler_tick(&w->t, wake);
    assert_int_equal(index_of(w, throttler_next(&w->t, wake)), 0);
    assert_null(throttler_next(&w->t, wake)); /* the others wait for the outcome */
    throttler_give_back(&w->t, &w->tk[0], GIVE_BACK_UNREACHABLE, wake);
    assert_true(a->aside_until_ns - wake > wake - T0 || a->aside_until_ns > wake); /* longer */
    struct replica *b = replica(w, "b", true, wake);
    assert_int_equal(index_of(w, throttler_next(&w->t, wake)), 0);
    assert_int_equal(index_of(w, throttler_next(&w->t, wake)), 1);
    assert_ptr_equal(w->tk[0].replica, b);
    assert_ptr_equal(w->tk[1].replica, b);
    throttler_done(&w->t, &w->tk[0], true, wake);
    uint64_t later = a->aside_until_ns;
    assert_int_equal(admit(w, 2, later), ADMIT_GRANTED);
    assert_ptr_equal(w->tk[2].replica, a);
    throttler_done(&w->t, &w->tk[2], true, later); /* it answers: clean again */
    assert_int_equal(a->aside_count, 0);
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

/* Nobody limits concurrency, but ten thousand waiting ones do not jump onto a newborn replica. */
static void test_no_herd(void **state)
{
    struct world *w = *state;
    learn(w, 0, NULL);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(admit(w, i, T0), ADMIT_HELD);
    }
    replica(w, "a", true, T0);
    int n = 0;
    while (throttler_next(&w->t, T0) != NULL) {
        n++;
    }
    assert_int_equal(n, 64);
    uint64_t now = T0;
    for (; w->r->held > 0 && now < T0 + MS(100); now += MS(1)) {
        (void)throttler_tick(&w->t, now);
        while (throttler_next(&w->t, now) != NULL) {
            n++;
        }
    }
    assert_int_equal(n, 300);
    assert_true(now > T0 + MS(20));
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
        TEST(test_unreachable_is_set_aside_then_tried_once),
        TEST(test_pod_deleted_under_a_request),
        TEST(test_no_herd),
        TEST(test_revisions_take_turns),
        TEST(test_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
