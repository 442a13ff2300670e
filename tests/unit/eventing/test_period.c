// SPDX-License-Identifier: Apache-2.0
/* Durations in the form of ISO 8601: what they say in milliseconds, and what is none. */
#include "eventing/period.h"
#include "test.h"

static void periods_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t want;
    } rows[] = {
        {"PT0.2S", 200},      {"PT0,5S", 500},
        {"PT10S", 10000},     {"PT1M", 60000},
        {"PT1H30M", 5400000}, {"P1D", 86400000},
        {"P1W", 604800000},   {"P1DT1S", 86401000},
        {"P1M", 2629746000},  {"P1Y", 31556952000},
        {"-PT1S", -1000},     {"+PT1S", 1000},
        {"PT0S", 0},          {"P0", 0},
        {"P0D", 0},           {"PT0.0004S", 0},
        {"PT1.5M", 90000},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        int64_t ms = -1;
        int rc = period_parse_ms(slice_str(rows[i].text), &ms, &err);
        if (rc != 0 || ms != rows[i].want) {
            fail_msg("%s: %lld, %s", rows[i].text, (long long)ms, err.msg);
        }
    }
}

static void what_is_none_is_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {"",      "P",     "PT",       "T1S",    "1s",
                                       "PT1",   "P1S",   "PT1D",     "PT1S1M", "P1D1D",
                                       "PT.5S", "PT1.S", "PT1.5M1S", "P1DT",   "--PT1S",
                                       "PT-1S", " PT1S", "PT1S ",    "P101Y"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        int64_t ms = 7;
        if (period_parse_ms(slice_str(rows[i]), &ms, &err) != ERR_INVALID || ms != 7 ||
            err.msg[0] == '\0') {
            fail_msg("%s was taken: %lld", rows[i], (long long)ms);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(periods_are_read),
        cmocka_unit_test(what_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
