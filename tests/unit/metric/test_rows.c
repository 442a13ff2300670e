// SPDX-License-Identifier: Apache-2.0
#include "metric/rows.h"
#include "test.h"

struct numbers {
    uint64_t requests;
    uint64_t held;
};

static const struct metric_row rows[] = {
    METRIC_COUNTER(struct numbers, requests, "x_requests_total", "Requests."),
    METRIC_GAUGE(struct numbers, held, "x_held", "Requests that wait."),
};

static void rows_are_written_and_added(void **state)
{
    struct numbers a = {.requests = 18446744073709551610ull, .held = 2};
    struct numbers b = {.requests = 5, .held = 40};
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 1024);
    metric_rows_add(rows, ARRAY_LEN(rows), &a, &b);
    metric_rows_write(rows, ARRAY_LEN(rows), &a, &out);
    assert_string_equal(out.ptr, "# HELP x_requests_total Requests.\n"
                                 "# TYPE x_requests_total counter\n"
                                 "x_requests_total 18446744073709551615\n"
                                 "# HELP x_held Requests that wait.\n"
                                 "# TYPE x_held gauge\n"
                                 "x_held 42\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_are_written_and_added)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
