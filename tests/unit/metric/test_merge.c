// SPDX-License-Identifier: Apache-2.0
#include "metric/merge.h"
#include "test.h"

static enum metric_merge_how rule(struct slice name)
{
    return slice_eq_str(name, "up")      ? METRIC_MERGE_MIN
           : slice_eq_str(name, "known") ? METRIC_MERGE_MAX
                                         : METRIC_MERGE_SUM;
}

static const char one[] =
    "# HELP req Requests.\n# TYPE req counter\nreq{a=\"x y\"} 2\nreq{a=\"z\"} 1\n"
    "# HELP held Held now.\n# TYPE held gauge\nheld 3\n"
    "# HELP known Known.\n# TYPE known gauge\nknown 7\n"
    "# HELP up Up.\n# TYPE up gauge\nup 1\n"
    "# HELP s Time.\n# TYPE s histogram\n"
    "s_bucket{le=\"0.1\"} 1\ns_bucket{le=\"+Inf\"} 2\ns_sum 1.5\ns_count 2\n";
static const char two[] =
    "# HELP req Requests.\n# TYPE req counter\nreq{a=\"x y\"} 10\nreq{a=\"n\"} 4\n"
    "# HELP held Held now.\n# TYPE held gauge\nheld 4\n"
    "# HELP known Known.\n# TYPE known gauge\nknown 8\n"
    "# HELP up Up.\n# TYPE up gauge\nup 0\n"
    "# HELP s Time.\n# TYPE s histogram\n"
    "s_bucket{le=\"0.1\"} 0\ns_bucket{le=\"+Inf\"} 5\ns_sum 2.25\ns_count 5\n";

static void check(const struct metric_merge *m, const char *want)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 65536);
    metric_merge_write(m, &out);
    assert_string_equal(out.ptr, want);
}

static void pages_are_added_up(void **state)
{
    struct metric_merge m;
    metric_merge_init(&m, rule);
    metric_merge_add(&m, slice_str(one), METRIC_MERGE_ALL);
    check(&m, one);
    metric_merge_add(&m, slice_str(two), METRIC_MERGE_ALL);
    check(&m, "# HELP req Requests.\n# TYPE req counter\n"
              "req{a=\"x y\"} 12\nreq{a=\"z\"} 1\nreq{a=\"n\"} 4\n"
              "# HELP held Held now.\n# TYPE held gauge\nheld 7\n"
              "# HELP known Known.\n# TYPE known gauge\nknown 8\n"
              "# HELP up Up.\n# TYPE up gauge\nup 0\n"
              "# HELP s Time.\n# TYPE s histogram\n"
              "s_bucket{le=\"0.1\"} 1\ns_bucket{le=\"+Inf\"} 7\ns_sum 3.75\ns_count 7\n");
    metric_merge_fini(&m);
}

/* Of a process that has ended its totals stay, and what it held is gone. */
static void totals_outlive_their_process(void **state)
{
    struct metric_merge m;
    metric_merge_init(&m, rule);
    metric_merge_add(&m, slice_str(one), METRIC_MERGE_TOTALS);
    metric_merge_add(&m, slice_str(two), METRIC_MERGE_ALL);
    check(&m, "# HELP req Requests.\n# TYPE req counter\n"
              "req{a=\"x y\"} 12\nreq{a=\"z\"} 1\nreq{a=\"n\"} 4\n"
              "# HELP held Held now.\n# TYPE held gauge\nheld 4\n"
              "# HELP known Known.\n# TYPE known gauge\nknown 8\n"
              "# HELP up Up.\n# TYPE up gauge\nup 0\n"
              "# HELP s Time.\n# TYPE s histogram\n"
              "s_bucket{le=\"0.1\"} 1\ns_bucket{le=\"+Inf\"} 7\ns_sum 3.75\ns_count 7\n");
    metric_merge_fini(&m);
}

static void odd_lines_are_left_out(void **state)
{
    struct metric_merge m;
    metric_merge_init(&m, NULL);
    metric_merge_add(&m,
                     SLICE_LIT("stray 1\n# \n# HELP\n# TYPE a\n# EOF\nb 2\n"
                               "# TYPE c counter\nc\nc NaN\nc{x=\"1\"} +Inf\nc x\n 5\nc 5"),
                     METRIC_MERGE_ALL);
    check(&m, "# TYPE c counter\nc 5\n");
    metric_merge_fini(&m);
    struct metric_merge zero = {0};
    metric_merge_fini(&zero);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_added_up),
        cmocka_unit_test(totals_outlive_their_process),
        cmocka_unit_test(odd_lines_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
