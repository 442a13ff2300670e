// SPDX-License-Identifier: Apache-2.0
/* Time-weighted concurrency. */
#include "base/clock.h"
#include "activator/stats.h"
#include "test.h"

#define MS(n) ((n)*CLOCK_NS_PER_MS)

static void test_average(void **state)
{
    struct stat_meter m = {0};
    struct stat_report r;
    stat_meter_report(&m, MS(1000), &r);
    assert_true(r.concurrency == 0 && r.count == 0);
    stat_meter_enter(&m, MS(1500)); /* 1 for half a second, 2 for a quarter of one */
    stat_meter_enter(&m, MS(1750));
    stat_meter_leave(&m, MS(2000));
    stat_meter_report(&m, MS(2000), &r);
    assert_true(r.concurrency == 0.5 + 0.25);
    assert_true(r.count == 2);
    stat_meter_report(&m, MS(3000), &r); /* one goes on */
    assert_true(r.concurrency == 1.0);
    assert_true(r.count == 0);
    stat_meter_leave(&m, MS(3000));
    stat_meter_report(&m, MS(4000), &r);
    assert_true(r.concurrency == 0);
    assert_int_equal(m.total, 2);
}

static void test_empty_period_and_old_time(void **state)
{
    struct stat_meter m = {0};
    struct stat_report r;
    stat_meter_enter(&m, MS(10));
    stat_meter_report(&m, MS(10), &r);
    assert_true(r.concurrency == 1.0);
    stat_meter_enter(&m, MS(5)); /* time does not run backwards */
    stat_meter_report(&m, MS(20), &r);
    assert_true(r.concurrency == 2.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_average),
        cmocka_unit_test(test_empty_period_and_old_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
