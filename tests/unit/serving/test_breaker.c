// SPDX-License-Identifier: Apache-2.0
#include "base/random.h"
#include "serving/breaker.h"
#include "test.h"

static void grants_queues_refuses(void **state)
{
    struct breaker b;
    struct breaker_slot s[5];
    breaker_init(&b, 1, 2);
    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        breaker_slot_init(&s[i]);
    }
    assert_int_equal(breaker_acquire(&b, &s[0]), BREAKER_GRANTED);
    assert_int_equal(breaker_acquire(&b, &s[1]), BREAKER_QUEUED);
    assert_int_equal(breaker_acquire(&b, &s[2]), BREAKER_QUEUED);
    assert_int_equal(breaker_acquire(&b, &s[3]), BREAKER_OVERLOAD);
    assert_null(breaker_take_granted(&b));
    breaker_release(&b, &s[1]); /* leaves the queue */
    assert_int_equal(breaker_acquire(&b, &s[3]), BREAKER_QUEUED);
    breaker_release(&b, &s[0]);
    assert_ptr_equal(breaker_take_granted(&b), &s[2]); /* in order */
    assert_null(breaker_take_granted(&b));
    breaker_release(&b, &s[2]);
    breaker_release(&b, &s[3]); /* granted, and released before it was taken */
    assert_null(breaker_take_granted(&b));
    breaker_release(&b, &s[3]); /* idle: nothing */
    assert_int_equal(b.running, 0);
    assert_int_equal(b.waiting, 0);
}

static void no_limit(void **state)
{
    struct breaker b;
    struct breaker_slot s[50];
    breaker_init(&b, 0, 0);
    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        breaker_slot_init(&s[i]);
        assert_int_equal(breaker_acquire(&b, &s[i]), BREAKER_GRANTED);
    }
    assert_int_equal(b.running, 50);
}

/* Any order of arriving, leaving and finishing keeps the limits and the order of waiters. */
static void keeps_its_limits(void **state)
{
    enum { N = 64, LIMIT = 3, DEPTH = 20 };
    struct breaker b;
    struct breaker_slot s[N];
    bool taken[N] = {false};
    struct prng r;
    prng_seed(&r, 7);
    breaker_init(&b, LIMIT, DEPTH);
    for (size_t i = 0; i < N; i++) {
        breaker_slot_init(&s[i]);
    }
    for (int step = 0; step < 100000; step++) {
        uint32_t i = prng_below(&r, N);
        if (s[i].state == BREAKER_IDLE) {
            bool room = b.running < LIMIT;
            enum breaker_answer a = breaker_acquire(&b, &s[i]);
            assert_int_equal(a == BREAKER_GRANTED, room);
            taken[i] = a == BREAKER_GRANTED;
        } else {
            breaker_release(&b, &s[i]);
            taken[i] = false;
        }
        struct breaker_slot *g;
        while ((g = breaker_take_granted(&b)) != NULL) {
            taken[g - s] = true;
        }
        uint32_t running = 0;
        for (size_t k = 0; k < N; k++) {
            running += taken[k];
        }
        assert_int_equal(running, b.running);
        assert_true(b.running <= LIMIT && b.waiting <= DEPTH);
        assert_true(b.waiting == 0 || b.running == LIMIT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grants_queues_refuses),
        cmocka_unit_test(no_limit),
        cmocka_unit_test(keeps_its_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
