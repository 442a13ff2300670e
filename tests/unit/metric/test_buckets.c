// SPDX-License-Identifier: Apache-2.0
#include "metric/buckets.h"
#include "metric/metric.h"
#include "metric/rows.h"
#include "test.h"

static const char *page(const struct metric_buckets *b, const char *labels, struct strbuf *out)
{
    strbuf_clear(out);
    metric_buckets_write(b, "x_seconds", labels, out);
    return out->ptr;
}

static void durations_fall_into_their_buckets(void **state)
{
    struct metric_buckets b = {0};
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 8192);
    metric_buckets_observe(&b, 0);
    metric_buckets_observe(&b, 1000000); /* a bound belongs to its own bucket */
    metric_buckets_observe(&b, 1000001);
    metric_buckets_observe(&b, 60000000000);
    metric_buckets_observe(&b, 60000000001);
    assert_int_equal(metric_buckets_count(&b), 5);
    page(&b, "", &out);
    assert_non_null(strstr(out.ptr, "x_seconds_bucket{le=\"0.001\"} 2\n"));
    assert_non_null(strstr(out.ptr, "x_seconds_bucket{le=\"0.0025\"} 3\n"));
    assert_non_null(strstr(out.ptr, "x_seconds_bucket{le=\"10\"} 3\n"));
    assert_non_null(strstr(out.ptr, "x_seconds_bucket{le=\"60\"} 4\n"));
    assert_non_null(strstr(out.ptr, "x_seconds_bucket{le=\"+Inf\"} 5\n"));
    assert_non_null(strstr(out.ptr, "x_seconds_sum 120.002000002\nx_seconds_count 5\n"));
    struct metric_buckets sum = b;
    metric_buckets_add(&sum, &b);
    page(&sum, "a=\"b\"", &out);
    assert_non_null(strstr(out.ptr, "x_seconds_bucket{a=\"b\",le=\"0.001\"} 4\n"));
    assert_non_null(strstr(out.ptr, "x_seconds_sum{a=\"b\"} 240.004000004\n"));
    assert_non_null(strstr(out.ptr, "x_seconds_count{a=\"b\"} 10\n"));
}

/* Both kinds of histogram have the same bounds, so that what they count can be put together. */
static void the_bounds_are_those_of_a_registry(void **state)
{
    struct metric_registry reg;
    struct metric_buckets b = {0};
    struct error err;
    CLEANUP(strbuf_fini) struct strbuf want;
    CLEANUP(strbuf_fini) struct strbuf got;
    strbuf_init(&want, 8192);
    strbuf_init(&got, 8192);
    metric_registry_init(&reg);
    struct metric *m =
        metric_with(metric_histogram(&reg, "x_seconds", "Help.", NULL, METRIC_SECONDS), NULL);
    for (size_t i = 0; i < ARRAY_LEN(metric_seconds_bounds); i++) {
        metric_observe(m, metric_seconds_bounds[i]);
        metric_buckets_observe(&b, (uint64_t)(metric_seconds_bounds[i] * 1e9 + 0.5));
    }
    ASSERT_OK(metric_expose(&reg, &want, &err));
    metric_write_head(&got, "histogram", "x_seconds", "Help.");
    metric_buckets_write(&b, "x_seconds", "", &got);
    const char *end = strstr(want.ptr, "_sum");
    assert_non_null(end);
    size_t sum = (size_t)(end - want.ptr);
    strbuf_truncate(&want, sum);
    strbuf_truncate(&got, sum);
    assert_string_equal(got.ptr, want.ptr);
    metric_registry_fini(&reg);
}

static void label_values_are_escaped(void **state)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 100);
    metric_write_label(&out, true, "a", SLICE_LIT("x\"\\\ny"));
    metric_write_label(&out, false, "b", SLICE_EMPTY);
    assert_string_equal(out.ptr, "a=\"x\\\"\\\\\\ny\",b=\"\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_fall_into_their_buckets),
        cmocka_unit_test(the_bounds_are_those_of_a_registry),
        cmocka_unit_test(label_values_are_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
