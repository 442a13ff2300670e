// SPDX-License-Identifier: Apache-2.0
/* Windows: averages worked out by hand from the definition of the buckets. */
#include <math.h>

#include "base/random.h"
#include "serving/window.h"
#include "test.h"

#define T0 1000000

static void assert_near(double got, double want)
{
    if (fabs(got - want) > 1e-12 * fmax(1, fabs(want))) {
        fail_msg("got %.17g, want %.17g", got, want);
    }
}

static void a_young_window_averages_what_it_has(void **state)
{
    struct window w;
    window_init(&w, 60);
    assert_true(window_empty(&w, T0));
    assert_true(window_average(&w, T0) == 0);
    window_record(&w, T0, 10);
    assert_true(window_average(&w, T0) == 10);
    window_record(&w, T0 + 1, 20);
    assert_true(window_average(&w, T0 + 1) == 15);
    window_record(&w, T0 + 5, 0); /* seconds 2, 3 and 4 count as zero: 30 / 6 */
    assert_true(window_average(&w, T0 + 5) == 5);
    window_fini(&w);
}

static void a_full_window_divides_by_its_length(void **state)
{
    struct window w;
    window_init(&w, 6);
    for (int i = 0; i < 20; i++) {
        window_record(&w, T0 + i, i);
    }
    assert_true(window_average(&w, T0 + 19) == 16.5); /* (14 + … + 19) / 6 */
    window_fini(&w);
}

static void two_reports_in_a_second_add_up(void **state)
{
    struct window w;
    window_init(&w, 6);
    window_record(&w, T0, 1.5);
    window_record(&w, T0, 2.5);
    assert_true(window_average(&w, T0) == 4);
    window_fini(&w);
}

static void silence_shortens_the_window(void **state)
{
    struct window w;
    window_init(&w, 6);
    for (int i = 0; i < 6; i++) {
        window_record(&w, T0 + i, 12);
    }
    /* two seconds have fallen out and two are missing: 4 buckets of 12 over 4 */
    assert_true(window_average(&w, T0 + 7) == 12);
    assert_false(window_empty(&w, T0 + 11));
    assert_true(window_average(&w, T0 + 11) == 0);
    assert_true(window_empty(&w, T0 + 12));
    /* after an empty window the first write counts anew */
    window_record(&w, T0 + 30, 7);
    assert_true(window_average(&w, T0 + 30) == 7);
    window_fini(&w);
}

static void averages_are_rounded_to_six_decimals(void **state)
{
    struct window w;
    window_init(&w, 60);
    window_record(&w, T0, 1);
    window_record(&w, T0 + 2, 1);
    assert_true(window_average(&w, T0 + 2) == 0.666667);
    window_fini(&w);
}

static void old_values_are_ignored(void **state)
{
    struct window w;
    window_init(&w, 6);
    window_record(&w, T0 + 6, 6);
    window_record(&w, T0, 100); /* a whole window back */
    assert_true(window_average(&w, T0 + 6) == 6);
    window_fini(&w);
}

static void a_passed_second_is_filled_in_place(void **state)
{
    struct window w;
    window_init(&w, 6);
    window_record(&w, T0, 6);
    window_record(&w, T0 + 3, 6);
    window_record(&w, T0 + 2, 6);
    window_record(&w, T0 + 4, 2);
    assert_true(window_average(&w, T0 + 4) == 4);
    window_record(&w, T0 - 2, 100); /* out of the window */
    window_touch(&w, T0 + 2);       /* goes nowhere */
    assert_true(window_average(&w, T0 + 4) == 4);
    window_touch(&w, T0 + 5);
    assert_true(fabs(window_average(&w, T0 + 5) - 20.0 / 6) < 1e-6);
    window_fini(&w);
}

static void a_whole_window_of_silence_starts_over(void **state)
{
    struct window w;
    window_init(&w, 6);
    window_record(&w, T0, 6);
    window_record(&w, T0 + 6, 12);
    assert_true(window_average(&w, T0 + 6) == 12);
    window_record(&w, T0 + 3, 4); /* before the first, inside the window: it is the first now */
    assert_true(window_average(&w, T0 + 6) == 4);
    window_fini(&w);
}

static void weights_fall_from_the_newest(void **state)
{
    struct window w;
    window_init(&w, 4);
    /* smoothing = 1 - 0.0001^(1/4) = 0.9 */
    static const double values[] = {10, 10, 5, 5};
    for (int i = 0; i < 4; i++) {
        window_record(&w, T0 + i, values[i]);
    }
    assert_near(window_weighted_average(&w, T0 + 3), 5 * .9 + 5 * .09 + 10 * .009 + 10 * .0009);
    /* a second later: the oldest has fallen out, all weigh a tenth */
    assert_near(window_weighted_average(&w, T0 + 4), 5 * .09 + 5 * .009 + 10 * .0009);
    assert_true(window_weighted_average(&w, T0 + 8) == 0);
    window_fini(&w);

    window_init(&w, 600); /* 1 - 0.0001^(1/600) is below the least weight 0.2 */
    window_record(&w, T0, 10);
    assert_near(window_weighted_average(&w, T0), 2);
    window_fini(&w);
}

static void zeros_cost_no_memory(void **state)
{
    struct window w;
    window_init(&w, 60);
    for (int i = 0; i < 100; i++) {
        window_record(&w, T0 + i, 0);
    }
    assert_null(w.buckets);
    assert_false(window_empty(&w, T0 + 99));
    window_record(&w, T0 + 100, 60);
    assert_true(window_average(&w, T0 + 100) == 1);
    window_fini(&w);
}

static void a_resized_window_keeps_what_fits(void **state)
{
    struct window w;
    window_init(&w, 6);
    for (int i = 0; i < 10; i++) {
        window_record(&w, T0 + i, i);
    }
    window_resize(&w, 3, T0 + 9);
    assert_true(window_average(&w, T0 + 9) == 8);
    window_resize(&w, 60, T0 + 9);
    assert_true(window_average(&w, T0 + 9) == 8);
    window_record(&w, T0 + 10, 4);
    assert_true(window_average(&w, T0 + 10) == 7);
    window_resize(&w, 6, T0 + 71); /* nothing in the last 60 s: all is forgotten */
    assert_true(window_average(&w, T0 + 10) == 0);
    window_record(&w, T0 + 72, 5);
    assert_true(window_average(&w, T0 + 72) == 5);
    window_fini(&w);
}

static void the_maximum_lasts_for_the_delay(void **state)
{
    struct window_max m = {0};
    assert_int_equal(window_max_record(&m, T0, 3), 3);
    assert_int_equal(window_max_record(&m, T0 + 1, 1), 1);
    window_max_resize(&m, 10, 2);
    assert_int_equal(window_max_record(&m, T0, 5), 5);
    for (int i = 2; i <= 8; i += 2) {
        assert_int_equal(window_max_record(&m, T0 + i, 1), 5);
        assert_int_equal(window_max_until(&m, T0 + i, 1), T0 + 9);
    }
    assert_int_equal(window_max_record(&m, T0 + 10, 2), 2);
    assert_int_equal(window_max_record(&m, T0 + 11, 1), 2);
    assert_int_equal(window_max_until(&m, T0 + 11, 2), INT64_MIN);
    window_max_resize(&m, 4, 2); /* the two newest steps stay */
    assert_int_equal(window_max_record(&m, T0 + 12, 0), 2);
    assert_int_equal(window_max_record(&m, T0 + 14, 0), 0);
    window_max_resize(&m, 0, 2);
    assert_int_equal(window_max_record(&m, T0 + 15, 0), 0);
    window_max_fini(&m);
}

/* What is passed over in one step is as if each second had been touched; numbers are whole. */
static void passing_is_touching_every_second(void **state)
{
    uint64_t x = 7;
    for (int round = 0; round < 400; round++) {
        struct window a;
        struct window b;
        uint32_t seconds = 3 + (uint32_t)(round % 20);
        int64_t now = T0;
        window_init(&a, seconds);
        window_init(&b, seconds);
        window_touch(&a, now);
        window_touch(&b, now);
        for (int i = 0; i < 12; i++) {
            x = x * 6364136223846793005ull + 1442695040888963407ull;
            int64_t gap = (int64_t)((x >> 40) % (3 * seconds));
            double value = (double)((x >> 33) % 5);
            for (int64_t s = now + 1; s <= now + gap; s++) {
                window_touch(&a, s);
            }
            if (gap > 0) {
                window_pass(&b, now + gap);
            }
            now += gap + 1;
            window_record(&a, now, value);
            window_record(&b, now, value);
            assert_true(window_average(&a, now) == window_average(&b, now));
            assert_true(window_average(&a, now + 1) == window_average(&b, now + 1));
            assert_int_equal(window_empty(&a, now), window_empty(&b, now));
        }
        window_fini(&a);
        window_fini(&b);
    }
}

/* A window that is read back says what one that was not told more says. */
static void later_seconds_can_be_left_out(void **state)
{
    struct prng prng;
    prng_seed(&prng, 20261123);
    for (uint32_t seconds = 1; seconds <= 9; seconds += 2) {
        for (int round = 0; round < 200; round++) {
            struct window told;
            struct window more;
            window_init(&told, seconds);
            window_init(&more, seconds);
            int64_t now = T0;
            for (int i = 0; i < 12; i++) {
                now += prng_below(&prng, i == 6 ? 14 : 3);
                double value = prng_below(&prng, 5);
                window_record(&told, now, value);
                window_record(&more, now, value);
            }
            int64_t later = now + 1 + prng_below(&prng, WINDOW_BACK);
            for (int64_t s = now + 1; s <= later; s++) {
                if (s == later || prng_below(&prng, 2) > 0) {
                    window_record(&more, s, 1 + prng_below(&prng, 5));
                }
            }
            if (window_average_without_later(&more, now) != window_average(&told, now)) {
                fail_msg("%u seconds, round %d: got %g, want %g", seconds, round,
                         window_average_without_later(&more, now), window_average(&told, now));
            }
            assert_near(window_weighted_average_without_later(&more, now),
                        window_weighted_average(&told, now));
            assert_true(window_average_without_later(&more, later) == window_average(&more, later));
            window_fini(&told);
            window_fini(&more);
        }
    }
}

static void a_window_is_not_read_back_further_than_it_can(void **state)
{
    struct window w;
    window_init(&w, 3);
    assert_true(window_average_without_later(&w, T0) == 0);
    for (int i = 0; i < 6; i++) {
        window_record(&w, T0 + i, i * 3);
    }
    assert_true(window_average_without_later(&w, T0 + 4) == 9);
    assert_true(window_average_without_later(&w, T0 + 3) == 6);
    assert_true(window_average_without_later(&w, T0) == 6);
    window_fini(&w);
    window_init(&w, 3);
    window_record(&w, T0, 7);
    assert_true(window_average_without_later(&w, T0 - 1) == 0); /* nothing had been told */
    window_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_young_window_averages_what_it_has),
        cmocka_unit_test(a_full_window_divides_by_its_length),
        cmocka_unit_test(two_reports_in_a_second_add_up),
        cmocka_unit_test(silence_shortens_the_window),
        cmocka_unit_test(averages_are_rounded_to_six_decimals),
        cmocka_unit_test(old_values_are_ignored),
        cmocka_unit_test(a_passed_second_is_filled_in_place),
        cmocka_unit_test(a_whole_window_of_silence_starts_over),
        cmocka_unit_test(weights_fall_from_the_newest),
        cmocka_unit_test(zeros_cost_no_memory),
        cmocka_unit_test(a_resized_window_keeps_what_fits),
        cmocka_unit_test(the_maximum_lasts_for_the_delay),
        cmocka_unit_test(passing_is_touching_every_second),
        cmocka_unit_test(later_seconds_can_be_left_out),
        cmocka_unit_test(a_window_is_not_read_back_further_than_it_can),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
