// SPDX-License-Identifier: Apache-2.0
/* Sampling of replicas. */
#include "autoscaler/sample.h"
#include "test.h"

static void sizes_converge_to_16(void **state)
{
    static const uint32_t rows[][2] = {{0, 0},    {1, 1},     {2, 2},      {3, 3},
                                       {4, 4},    {5, 4},     {10, 7},     {50, 12},
                                       {100, 14}, {1000, 16}, {100000, 16}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (sample_size(rows[i][0]) != rows[i][1]) {
            fail_msg("%u ready: %u asked", rows[i][0], sample_size(rows[i][0]));
        }
    }
}

static void old_replicas_come_first(void **state)
{
    static const bool old[] = {false, true, false, true, true, false};
    struct prng prng;
    bool first[ARRAY_LEN(old)] = {false};
    prng_seed(&prng, 7);
    for (int round = 0; round < 200; round++) {
        uint32_t order[ARRAY_LEN(old)];
        bool seen[ARRAY_LEN(old)] = {false};
        sample_order(old, ARRAY_LEN(old), &prng, order);
        for (size_t i = 0; i < ARRAY_LEN(old); i++) {
            assert_true(order[i] < ARRAY_LEN(old) && !seen[order[i]]);
            seen[order[i]] = true;
            assert_true(old[order[i]] == (i < 3));
        }
        first[order[0]] = true;
    }
    assert_true(first[1] && first[3] && first[4]);
}

static void answers_are_scaled_up(void **state)
{
    struct sample_sum sum = {0};
    double concurrency;
    double rps;
    sample_scale(&sum, 10, &concurrency, &rps);
    assert_true(concurrency == 0 && rps == 0);
    for (int i = 0; i < 4; i++) {
        struct stat_sample answer = {.concurrency = 10,
                                     .proxied_concurrency = 2.5,
                                     .request_count = 40,
                                     .proxied_request_count = 10};
        sample_add(&sum, &answer);
    }
    sample_scale(&sum, 10, &concurrency, &rps);
    assert_true(concurrency == 75 && rps == 300);
}

static void one_answer_takes_nothing_from_the_others(void **state)
{
    struct sample_sum sum = {0};
    double concurrency;
    double rps;
    struct stat_sample honest = {.concurrency = 10, .request_count = 20};
    struct stat_sample liar = {.proxied_concurrency = 1e9, .proxied_request_count = 1e9};
    sample_add(&sum, &honest);
    sample_add(&sum, &liar);
    sample_scale(&sum, 2, &concurrency, &rps);
    assert_true(concurrency == 10 && rps == 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_converge_to_16),
        cmocka_unit_test(old_replicas_come_first),
        cmocka_unit_test(answers_are_scaled_up),
        cmocka_unit_test(one_answer_takes_nothing_from_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
