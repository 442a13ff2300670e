// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"
#include "base/num.h"
#include "test.h"

static void whole_numbers(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t want;
    } rows[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"+7", true, 7},
        {"-12", true, -12},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"0x10", false, 0},
        {"1.0", false, 0},
        {"--1", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err;
        int64_t got = 42;
        int rc = num_parse_i64(slice_str(rows[i].text), INT64_MIN, INT64_MAX, &got, &err);
        if ((rc == 0) != rows[i].ok || got != (rows[i].ok ? rows[i].want : 42)) {
            fail_msg("\"%s\": %d, %lld", rows[i].text, rc, (long long)got);
        }
    }
    struct error err;
    uint64_t u = 0;
    ASSERT_OK(num_parse_u64(SLICE_LIT("18446744073709551615"), 0, UINT64_MAX, &u, &err));
    assert_true(u == UINT64_MAX);
    ASSERT_ERR(ERR_INVALID,
               num_parse_u64(SLICE_LIT("18446744073709551616"), 0, UINT64_MAX, &u, &err));
    ASSERT_ERR(ERR_INVALID, num_parse_u64(SLICE_LIT("70000"), 0, 65535, &u, &err));
    assert_string_equal(err.msg, "70000 is outside 0 to 65535");
    ASSERT_ERR(ERR_INVALID, num_parse_u64(SLICE_LIT("many"), 0, 65535, &u, &err));
    assert_string_equal(err.msg, "\"many\" is not a whole number");
}

static void real_numbers(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        double want;
    } rows[] = {
        {"70", true, 70},      {"0.5", true, 0.5},   {".5", true, 0.5},   {"5.", true, 5},
        {"-1e3", true, -1000}, {"1E-2", true, 0.01}, {"1e", false, 0},    {"e1", false, 0},
        {"inf", false, 0},     {"nan", false, 0},    {"0x1p3", false, 0}, {"1e999", false, 0},
        {"", false, 0},        {".", false, 0},      {"1,5", false, 0},   {"2001", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err;
        double got = 42;
        int rc = num_parse_double(slice_str(rows[i].text), -2000, 2000, &got, &err);
        if ((rc == 0) != rows[i].ok || (rows[i].ok && !(got == rows[i].want))) {
            fail_msg("\"%s\": %d, %g", rows[i].text, rc, got);
        }
    }
    char buf[NUM_DOUBLE_MAX];
    assert_string_equal(num_format_double(0.1, buf, sizeof(buf)), "0.1");
    assert_string_equal(num_format_double(1.0 / 3, buf, sizeof(buf)), "0.3333333333333333");
    assert_string_equal(num_format_double(100, buf, sizeof(buf)), "100");
    assert_string_equal(num_format_double(5e-324, buf, sizeof(buf)), "4.94065645841247e-324");
}

static void booleans(void **state)
{
    struct error err;
    bool on = false;
    ASSERT_OK(num_parse_bool(SLICE_LIT("True"), &on, &err));
    assert_true(on);
    ASSERT_OK(num_parse_bool(SLICE_LIT("0"), &on, &err));
    assert_false(on);
    ASSERT_ERR(ERR_INVALID, num_parse_bool(SLICE_LIT("yes"), &on, &err));
    ASSERT_MSG("\"yes\" is not true or false");
}

static void durations(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t ns;
        const char *print; /* NULL: the same text */
    } rows[] = {
        {"0", true, 0, "0s"},
        {"0s", true, 0, NULL},
        {"60s", true, 60000000000, "1m0s"},
        {"1m30s", true, 90000000000, NULL},
        {"1.5h", true, 5400000000000, "1h30m0s"},
        {"300ms", true, 300000000, NULL},
        {"1.5s", true, 1500000000, NULL},
        {"-2us", true, -2000, "-2\xc2\xb5s"},
        {"2\xc2\xb5s", true, 2000, NULL},
        {"1ns", true, 1, NULL},
        {"1.000000001s", true, 1000000001, NULL},
        {".5m", true, 30000000000, "30s"},
        {"2562047h47m16.854775807s", true, INT64_MAX, NULL},
        {"2562047h47m16.854775808s", false, 0, NULL},
        {"9999999999999999999h", false, 0, NULL},
        {"", false, 0, NULL},
        {"-", false, 0, NULL},
        {"3", false, 0, NULL},
        {"s", false, 0, NULL},
        {"1d", false, 0, NULL},
        {"1 s", false, 0, NULL},
        {"1s ", false, 0, NULL},
        {"1.2.3s", false, 0, NULL},
        {"1s-1s", false, 0, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err;
        int64_t ns = 42;
        char buf[NUM_DURATION_MAX];
        int rc = num_parse_duration_ns(slice_str(rows[i].text), &ns, &err);
        if ((rc == 0) != rows[i].ok || ns != (rows[i].ok ? rows[i].ns : 42)) {
            fail_msg("\"%s\": %d, %lld", rows[i].text, rc, (long long)ns);
        }
        if (rc == 0) {
            assert_string_equal(num_format_duration_ns(ns, buf, sizeof(buf)),
                                rows[i].print == NULL ? rows[i].text : rows[i].print);
        }
    }
    char buf[NUM_DURATION_MAX];
    assert_string_equal(num_format_duration_ns(INT64_MIN, buf, sizeof(buf)),
                        "-2562047h47m16.854775808s");
}

static void quantities(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t milli;
        int64_t whole;
    } rows[] = {
        {"100m", true, 100, 1},
        {"2", true, 2000, 2},
        {"0", true, 0, 0},
        {"0.5", true, 500, 1},
        {"1.5k", true, 1500000, 1500},
        {"64Mi", true, 67108864000, 67108864},
        {"1.5Gi", true, 1610612736000, 1610612736},
        {"1e3", true, 1000000, 1000},
        {"1E-3", true, 1, 1},
        {"1u", true, 1, 1},
        {"-100m", true, -100, 0},
        {"5Pi", true, 5629499534213120000, 5629499534213120},
        {"", false, 0, 0},
        {"Mi", false, 0, 0},
        {"1MB", false, 0, 0},
        {"1 Mi", false, 0, 0},
        {"1ee3", false, 0, 0},
        {"999999999999999999999999", false, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err;
        int64_t milli = 42;
        int64_t whole = 42;
        struct slice text = slice_str(rows[i].text);
        int rc = num_parse_quantity_milli(text, &milli, &err);
        int rc2 = num_parse_quantity(text, &whole, &err);
        if ((rc == 0) != rows[i].ok || rc != rc2 || milli != (rows[i].ok ? rows[i].milli : 42) ||
            whole != (rows[i].ok ? rows[i].whole : 42)) {
            fail_msg("\"%s\": %d, %lld, %lld", rows[i].text, rc, (long long)milli,
                     (long long)whole);
        }
    }
}

static void times(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t seconds;
    } rows[] = {
        {"1970-01-01T00:00:00Z", true, 0},
        {"2024-02-29T12:34:56Z", true, 1709210096},
        {"2024-02-29T12:34:56.5Z", true, 1709210096},
        {"2024-02-29T14:34:56+02:00", true, 1709210096},
        {"2024-02-29t10:04:56-02:30", true, 1709210096},
        {"2023-02-29T12:34:56Z", false, 0},
        {"2024-13-01T00:00:00Z", false, 0},
        {"2024-01-01T24:00:00Z", false, 0},
        {"2024-01-01T00:00:00", false, 0},
        {"2024-01-01", false, 0},
        {"2024-01-01T00:00:00.Z", false, 0},
        {"2024-01-01T00:00:00Zjunk", false, 0},
        {"1969-12-31T23:59:59Z", false, 0},
        {"", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err;
        int64_t ns = 42;
        int rc = clock_parse_rfc3339(slice_str(rows[i].text), &ns, &err);
        if ((rc == 0) != rows[i].ok || (rc == 0 && ns / 1000000000 != rows[i].seconds)) {
            fail_msg("\"%s\": %d, %lld", rows[i].text, rc, (long long)ns);
        }
    }
    char buf[CLOCK_RFC3339_MAX];
    assert_string_equal(clock_format_rfc3339(1709210096987654321, 0, buf, sizeof(buf)),
                        "2024-02-29T12:34:56Z");
    assert_string_equal(clock_format_rfc3339(1709210096987654321, 6, buf, sizeof(buf)),
                        "2024-02-29T12:34:56.987654Z");
    assert_string_equal(clock_format_rfc3339(-1, 9, buf, sizeof(buf)),
                        "1969-12-31T23:59:59.999999999Z");
}

static void clocks_go_forward(void **state)
{
    uint64_t mono = clock_mono_ns();
    uint64_t boot = clock_boot_ns();
    assert_true(mono > 0 && boot >= mono);
    assert_true(clock_mono_ns() >= mono);
    assert_true(clock_mono_us() >= mono / 1000 && clock_mono_ms() >= mono / 1000000);
    assert_true(clock_boot_ms() >= boot / 1000000);
    assert_true(clock_wall_ns() > 1700000000ll * 1000000000ll);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers),     cmocka_unit_test(real_numbers),
        cmocka_unit_test(booleans),          cmocka_unit_test(durations),
        cmocka_unit_test(quantities),        cmocka_unit_test(times),
        cmocka_unit_test(clocks_go_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
