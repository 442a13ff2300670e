// SPDX-License-Identifier: Apache-2.0
/* Kubernetes' formula, rule by rule: each case's numbers were worked out by hand. */
#include <string.h>

#include "base/mem.h"
#include "local/hpa/calculate.h"
#include "test.h"

#define S   INT64_C(1000000000)
#define NOW (10000 * S)

static const struct hpa_settings SETTINGS = {
    .tolerance = 0.1, .cpu_initialization_ns = 300 * S, .initial_readiness_ns = 30 * S};
static const struct hpa_measure CPU_80 = {"cpu", true, true, 80};
static const struct hpa_measure CPU_150 = {"cpu", true, true, 150};
static const struct hpa_measure CPU_100M = {"cpu", true, false, 100};
static const struct hpa_measure MEMORY_50M = {"memory", false, false, 50 << 20};

/* A Pod that has been ready for long, with a request of 100. */
static struct hpa_pod ready(int64_t usage)
{
    return (struct hpa_pod){.name = "p",
                            .has_ready = true,
                            .started_ns = NOW - 1000 * S,
                            .ready_changed_ns = NOW - 999 * S,
                            .request = 100,
                            .measured = true,
                            .usage = usage,
                            .measured_ns = NOW - S,
                            .window_ns = 15 * S};
}

static struct hpa_pod missing(void)
{
    struct hpa_pod pod = ready(0);
    pod.measured = false;
    return pod;
}

/* Started 60 s ago and ready for 5: its 15 s window began before. */
static struct hpa_pod fresh(int64_t usage)
{
    struct hpa_pod pod = ready(usage);
    pod.started_ns = NOW - 60 * S;
    pod.ready_changed_ns = NOW - 5 * S;
    return pod;
}

static struct hpa_pod pending(void)
{
    struct hpa_pod pod = missing();
    pod.pending = true;
    return pod;
}

static struct hpa_pod deleted(int64_t usage)
{
    struct hpa_pod pod = ready(usage);
    pod.ignored = true;
    return pod;
}

static struct hpa_proposal propose(const struct hpa_pod *pods, size_t count, int32_t current,
                                   const struct hpa_measure *measure)
{
    struct hpa_proposal got;
    struct error err;
    ASSERT_OK(hpa_calculate(pods, count, current, measure, &SETTINGS, NOW, &got, &err));
    return got;
}

static void the_average_is_followed(void **state)
{
    static const struct {
        const char *name;
        int64_t usage[3];
        int32_t want, percent;
        bool tolerated;
    } cases[] = {
        {"at the target", {80, 80, 80}, 3, 80, false},
        {"rounded up: 3 × 100/80 = 3.75", {100, 100, 100}, 4, 100, false},
        {"6 × more", {480, 480, 480}, 18, 480, false},
        {"88 of 80 is within a tenth", {88, 88, 88}, 3, 88, true},
        {"89 is not: 3 × 1.1125", {89, 89, 89}, 4, 89, false},
        {"72 is within a tenth below", {72, 72, 72}, 3, 72, true},
        {"40: 3 × 0.5 = 1.5", {40, 40, 40}, 2, 40, false},
        {"whole percents only: 88.67 is 88", {88, 88, 90}, 3, 88, true},
        {"nothing is used", {0, 0, 0}, 0, 0, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct hpa_pod pods[3];
        for (int j = 0; j < 3; j++) {
            pods[j] = ready(cases[i].usage[j]);
        }
        struct hpa_proposal got = propose(pods, 3, 3, &CPU_80);
        if (got.replicas != cases[i].want || got.utilization != cases[i].percent ||
            got.tolerated != cases[i].tolerated) {
            fail_msg("%s: %d replicas, %d %%", cases[i].name, got.replicas, got.utilization);
        }
    }
}

static void amounts_are_followed(void **state)
{
    struct hpa_pod pods[] = {ready(250), ready(50)};
    struct hpa_proposal got = propose(pods, 2, 2, &CPU_100M); /* 150 per Pod: 2 × 1.5 */
    assert_int_equal(got.replicas, 3);
    assert_int_equal(got.average, 150);
    struct hpa_pod fat[] = {ready(120 << 20), fresh(100 << 20)};
    got = propose(fat, 2, 2, &MEMORY_50M); /* memory of a Pod that starts counts: 110 / 50 × 2 */
    assert_int_equal(got.replicas, 5);
    assert_int_equal(got.counted, 2);
}

/* Up: as if they used nothing. Down: as if they used all. Never the other way round. */
static void missing_numbers_speak_against(void **state)
{
    struct hpa_pod up[] = {ready(160), ready(160), missing()};
    struct hpa_proposal got = propose(up, 3, 3, &CPU_80); /* 320/300: 106 %, 1.325 × 3 */
    assert_int_equal(got.replicas, 4);
    assert_int_equal(got.utilization, 160); /* what is told is what was measured */
    assert_int_equal(got.missing, 1);
    struct hpa_pod stay[] = {ready(160), missing(), missing()}; /* 53 %: would turn it */
    assert_int_equal(propose(stay, 3, 3, &CPU_80).replicas, 3);
    struct hpa_pod down[] = {ready(10), ready(10), missing()}; /* 120/300 = 40 %: 1.5 */
    assert_int_equal(propose(down, 3, 3, &CPU_80).replicas, 2);
    struct hpa_pod full[] = {ready(10), missing()}; /* 110/200 = 55 %: 0.6875 × 2 */
    assert_int_equal(propose(full, 2, 2, &CPU_80).replicas, 2);
    struct hpa_pod high[] = {ready(10), missing()}; /* 150 for the missing: 160/200 = 80 of 150 */
    assert_int_equal(propose(high, 2, 2, &CPU_150).replicas, 2);
    struct hpa_pod amount[] = {ready(20), ready(20), missing()}; /* 140/3 = 46 of 100: 1.38 */
    assert_int_equal(propose(amount, 3, 3, &CPU_100M).replicas, 2);
}

static void those_that_start_do_not_count(void **state)
{
    struct hpa_pod pods[] = {ready(80), fresh(1000)};
    struct hpa_proposal got = propose(pods, 2, 2, &CPU_80);
    assert_int_equal(got.starting, 1);
    assert_int_equal(got.replicas, 2); /* the one that counts is at its target */
    struct hpa_pod down[] = {ready(20), fresh(1000), fresh(1000)};
    assert_int_equal(propose(down, 3, 3, &CPU_80).replicas, 1); /* only the ready one: 0.25 */
    struct hpa_pod up[] = {ready(240), pending()};              /* 240/200 = 120 %: 1.5 × 2 */
    assert_int_equal(propose(up, 2, 2, &CPU_80).replicas, 3);
    struct hpa_pod more[] = {ready(160), pending(), pending(), pending()}; /* 40 %: no way back */
    assert_int_equal(propose(more, 4, 4, &CPU_80).replicas, 4);
}

static void when_a_pod_has_started(void **state)
{
    struct hpa_pod full_window = fresh(200);
    full_window.ready_changed_ns = NOW - 20 * S; /* a window since it became ready */
    struct hpa_pod never = ready(200);           /* after the period, not ready, and never was */
    never.unready = true;
    never.started_ns = NOW - 400 * S;
    never.ready_changed_ns = NOW - 390 * S;
    struct hpa_pod fell = never; /* it was ready before it fell */
    fell.ready_changed_ns = NOW - 100 * S;
    struct hpa_pod unknown = ready(200);
    unknown.has_ready = false;
    struct hpa_pod unready = full_window;
    unready.unready = true;
    const struct {
        struct hpa_pod pod;
        bool starts;
    } cases[] = {
        {full_window, false}, {never, true}, {fell, false}, {unknown, true}, {unready, true}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct hpa_pod pods[] = {ready(80), cases[i].pod};
        struct hpa_proposal got = propose(pods, 2, 2, &CPU_80);
        if (got.starting != (cases[i].starts ? 1 : 0)) {
            fail_msg("case %zu: %zu start", i, got.starting);
        }
    }
}

static void the_deleted_do_not_count(void **state)
{
    struct hpa_pod pods[] = {ready(160), deleted(0), deleted(0)};
    struct hpa_proposal got = propose(pods, 3, 1, &CPU_80);
    assert_int_equal(got.replicas, 2);
    assert_int_equal(got.counted, 1);
}

static void no_answer_has_a_reason(void **state)
{
    struct hpa_proposal got;
    struct error err;
    struct hpa_pod none[] = {missing(), pending(), fresh(1)};
    assert_true(hpa_calculate(NULL, 0, 1, &CPU_80, &SETTINGS, NOW, &got, &err) < 0);
    assert_string_equal(err.msg, "unable to get metrics for resource cpu: no metrics returned from "
                                 "resource metrics API");
    assert_true(hpa_calculate(none, 2, 1, &CPU_80, &SETTINGS, NOW, &got, &err) < 0);
    assert_string_equal(err.msg, "unable to get metrics for resource cpu: no metrics returned from "
                                 "resource metrics API");
    assert_true(hpa_calculate(none, 3, 1, &CPU_80, &SETTINGS, NOW, &got, &err) < 0);
    assert_string_equal(err.msg,
                        "did not receive metrics for targeted pods (pods might be unready)");
    struct hpa_pod one = ready(1);
    one.unrequested = "user-container";
    assert_true(hpa_calculate(&one, 1, 1, &CPU_80, &SETTINGS, NOW, &got, &err) < 0);
    assert_string_equal(err.msg, "missing request for cpu in container user-container of Pod p");
    ASSERT_OK(hpa_calculate(&one, 1, 1, &CPU_100M, &SETTINGS, NOW, &got, &err));
    one.unrequested = NULL;
    one.request = 0;
    assert_true(hpa_calculate(&one, 1, 1, &CPU_80, &SETTINGS, NOW, &got, &err) < 0);
    assert_string_equal(err.msg, "no metrics returned matched known pods");
}

/* Requests beyond all measure, as somebody may write them, overflow nothing. */
static void large_requests_are_no_accident(void **state)
{
    const struct hpa_measure huge = {"cpu", true, true, INT32_MAX};
    struct hpa_pod pods[300];
    for (size_t i = 0; i < ARRAY_LEN(pods); i++) {
        pods[i] = i % 2 == 0 ? ready(INT64_MAX / 128) : missing();
        pods[i].request = INT64_MAX / 128;
    }
    struct hpa_proposal got = propose(pods, ARRAY_LEN(pods), 300, &huge);
    assert_int_equal(got.utilization, 100);
    assert_int_equal(got.replicas, 151); /* the others count with all of the target: a half */
    pods[0].request = 0;
    struct hpa_proposal more = propose(pods, 1, 1, &CPU_100M);
    assert_int_equal(more.replicas, INT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_average_is_followed),
        cmocka_unit_test(amounts_are_followed),
        cmocka_unit_test(missing_numbers_speak_against),
        cmocka_unit_test(those_that_start_do_not_count),
        cmocka_unit_test(when_a_pod_has_started),
        cmocka_unit_test(the_deleted_do_not_count),
        cmocka_unit_test(no_answer_has_a_reason),
        cmocka_unit_test(large_requests_are_no_accident),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
