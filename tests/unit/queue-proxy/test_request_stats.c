// SPDX-License-Identifier: Apache-2.0
#include <math.h>

#include "queue-proxy/request_stats.h"
#include "test.h"

#define MS 1000000ull
#define T0 5000000000000ull

static void check(struct request_stats *s, uint64_t at_ms, double concurrency, double proxied,
                  double count, double proxied_count)
{
    struct request_numbers n = request_stats_read(s, T0 + at_ms * MS);
    assert_true(fabs(n.concurrency - concurrency) < 1e-9);
    assert_true(fabs(n.proxied_concurrency - proxied) < 1e-9);
    assert_true(fabs(n.count - count) < 1e-9);
    assert_true(fabs(n.proxied_count - proxied_count) < 1e-9);
}

static void weighs_by_time(void **state)
{
    struct request_stats s;
    request_stats_init(&s, T0);
    request_stats_in(&s, T0 + 250 * MS, false);
    request_stats_in(&s, T0 + 500 * MS, true);
    check(&s, 500, 0.5, 0, 2, 1); /* no whole second yet: what there is */
    request_stats_out(&s, T0 + 750 * MS, false);
    check(&s, 1000, 1, 0.5, 2, 1);
    check(&s, 1999, 1, 0.5, 2, 1); /* the last whole second */
    check(&s, 2000, 1, 1, 0, 0);
    request_stats_out(&s, T0 + 2500 * MS, true);
    check(&s, 3000, 0.5, 0.5, 0, 0);
    check(&s, 4000, 0, 0, 0, 0);
}

static void skips_long_silence(void **state)
{
    struct request_stats s;
    request_stats_init(&s, T0);
    request_stats_in(&s, T0 + 100 * MS, true);
    check(&s, 3600ull * 1000, 1, 1, 0, 0);
    request_stats_out(&s, T0 + 7200500 * MS, true);
    check(&s, 7201000, 0.5, 0.5, 0, 0);
    check(&s, 9000000, 0, 0, 0, 0);
    assert_true(request_stats_busy_s(&s, T0 + 9000000 * MS) == 7200.4); /* nothing is lost */
    assert_int_equal(s.total, 1);
    assert_int_equal(s.in_flight, 0);
}

/* A short request every 10 ms for 3 s: 100 a second, each 1 ms. */
static void counts_per_second(void **state)
{
    struct request_stats s;
    request_stats_init(&s, T0);
    for (uint64_t i = 0; i < 300; i++) {
        request_stats_in(&s, T0 + i * 10 * MS, false);
        request_stats_out(&s, T0 + i * 10 * MS + MS, false);
    }
    check(&s, 2999, 0.1, 0, 100, 0);
    check(&s, 3000, 0.1, 0, 100, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weighs_by_time),
        cmocka_unit_test(skips_long_silence),
        cmocka_unit_test(counts_per_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
