// SPDX-License-Identifier: Apache-2.0
#include "metric/histogram.h"
#include "metric/metric.h"
#include "test.h"

static const char *const two_labels[] = {"revision", "code", NULL};

static void exposes_text(void **state)
{
    struct error err;
    struct metric_registry reg;
    CLEANUP(strbuf_fini) struct strbuf out;
    static const double bounds[] = {0.1, 1};
    strbuf_init(&out, 4096);
    metric_registry_init(&reg);
    struct metric_family *requests =
        metric_counter(&reg, "lull_requests_total", "Requests \\ answered.", two_labels);
    struct metric_family *held = metric_gauge(&reg, "lull_held", "Held now.", NULL);
    struct metric_family *unused = metric_gauge(&reg, "lull_unused", "Has no series.", NULL);
    struct metric_family *seconds =
        metric_histogram(&reg, "lull_seconds", "Duration.", NULL, bounds, 2);
    assert_non_null(unused);
    metric_add(metric_with(requests, (const char *[]){"a\"b\\c\nd", "200"}), 2);
    metric_add(metric_with(requests, (const char *[]){"x", "503"}), 1);
    metric_add(metric_with(requests, (const char *[]){"x", "503"}), 1.5);
    metric_set(metric_with(held, NULL), 7);
    metric_add(metric_with(held, NULL), -2);
    metric_observe(metric_with(seconds, NULL), 0.1);
    metric_observe(metric_with(seconds, NULL), 0.5);
    metric_observe(metric_with(seconds, NULL), 3);
    ASSERT_OK(metric_expose(&reg, &out, &err));
    assert_string_equal(
        out.ptr,
        "# HELP lull_requests_total Requests \\\\ answered.\n"
        "# TYPE lull_requests_total counter\n"
        "lull_requests_total{revision=\"a\\\"b\\\\c\\nd\",code=\"200\"} 2\n"
        "lull_requests_total{revision=\"x\",code=\"503\"} 2.5\n"
        "# HELP lull_held Held now.\n# TYPE lull_held gauge\nlull_held 5\n"
        "# HELP lull_seconds Duration.\n# TYPE lull_seconds histogram\n"
        "lull_seconds_bucket{le=\"0.1\"} 1\nlull_seconds_bucket{le=\"1\"} 2\n"
        "lull_seconds_bucket{le=\"+Inf\"} 3\nlull_seconds_sum 3.6\nlull_seconds_count 3\n");
    metric_registry_fini(&reg);
}

static void series_are_found_and_removed(void **state)
{
    struct error err;
    struct metric_registry reg;
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 4096);
    metric_registry_init(&reg);
    struct metric_family *f = metric_gauge(&reg, "g", "h", two_labels);
    struct metric *m = metric_with(f, (const char *[]){"a", "b"});
    assert_ptr_equal(metric_with(f, (const char *[]){"a", "b"}), m);
    assert_ptr_not_equal(metric_with(f, (const char *[]){"a", "c"}), m);
    metric_set(m, 4);
    assert_true(metric_value(m) == 4);
    metric_remove(f, (const char *[]){"a", "b"});
    metric_remove(f, (const char *[]){"a", "b"});
    ASSERT_OK(metric_expose(&reg, &out, &err));
    assert_null(strstr(out.ptr, "code=\"b\""));
    assert_non_null(strstr(out.ptr, "code=\"c\""));
    metric_registry_fini(&reg);
}

static void a_full_family_has_one_more_series(void **state)
{
    struct error err;
    struct metric_registry reg;
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 8 << 20);
    metric_registry_init(&reg);
    struct metric_family *f = metric_counter(&reg, "c", "h", two_labels);
    for (int i = 0; i < METRIC_SERIES_MAX + 5; i++) {
        char name[16];
        snprintf(name, sizeof(name), "r%d", i);
        metric_add(metric_with(f, (const char *[]){name, "200"}), 1);
    }
    ASSERT_OK(metric_expose(&reg, &out, &err));
    assert_non_null(strstr(out.ptr, "c{revision=\"other\",code=\"other\"} 5\n"));
    struct strbuf small;
    strbuf_init(&small, 100);
    ASSERT_ERR(ERR_TOO_BIG, metric_expose(&reg, &small, &err));
    strbuf_fini(&small);
    metric_registry_fini(&reg);
}

static void set_gauge(void *data)
{
    metric_set(data, 42);
}

static void hooks_run_before(void **state)
{
    struct error err;
    struct metric_registry reg;
    struct metric_hook hook;
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 4096);
    metric_registry_init(&reg);
    struct metric *m = metric_with(metric_gauge(&reg, "g", "h", NULL), NULL);
    metric_on_expose(&reg, &hook, set_gauge, m);
    ASSERT_OK(metric_expose(&reg, &out, &err));
    assert_non_null(strstr(out.ptr, "\ng 42\n"));
    metric_registry_fini(&reg);
}

static void quantiles_are_close(void **state)
{
    struct histogram h = {.count = 0};
    assert_int_equal(histogram_quantile(&h, 0.5), 0);
    for (uint64_t i = 1; i <= 100000; i++) {
        histogram_record(&h, i);
    }
    static const double qs[] = {0.01, 0.5, 0.9, 0.99, 0.999};
    for (size_t i = 0; i < ARRAY_LEN(qs); i++) {
        double exact = qs[i] * 100000;
        double got = (double)histogram_quantile(&h, qs[i]);
        assert_true(got >= exact && got <= exact * 1.032);
    }
    assert_int_equal(histogram_quantile(&h, 0), 1);
    assert_int_equal(histogram_quantile(&h, 1), 100000);
    assert_true(histogram_mean(&h) == 50000.5);
    histogram_fini(&h);
}

static void histogram_takes_every_number(void **state)
{
    struct histogram a = {.count = 0};
    struct histogram b = {.count = 0};
    histogram_record(&a, 0);
    histogram_record(&a, UINT64_MAX);
    assert_int_equal(histogram_quantile(&a, 0.5), 0);
    assert_true(histogram_quantile(&a, 1) == UINT64_MAX);
    histogram_record(&b, 31);
    histogram_record(&b, 32);
    histogram_merge(&a, &b);
    assert_int_equal(a.count, 4);
    assert_int_equal(histogram_quantile(&a, 0.5), 31);
    assert_int_equal(histogram_quantile(&a, 0.75), 32);
    histogram_reset(&a);
    assert_int_equal(histogram_quantile(&a, 0.5), 0);
    histogram_merge(&a, &b);
    assert_int_equal(a.min, 31);
    histogram_fini(&a);
    histogram_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exposes_text),
        cmocka_unit_test(series_are_found_and_removed),
        cmocka_unit_test(a_full_family_has_one_more_series),
        cmocka_unit_test(hooks_run_before),
        cmocka_unit_test(quantiles_are_close),
        cmocka_unit_test(histogram_takes_every_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
