// SPDX-License-Identifier: Apache-2.0
/*
 * Numbers from text. Decimal numbers of durations and quantities are read as digits and a scale
 * into 128 bits, so that nothing is rounded on the way and overflow is seen.
 */
#include "base/num.h"

#include <errno.h>
#include <math.h>

#include "base/mem.h"

/* Most digits of a decimal number that we read; more is not a number that a person wrote. */
#define DIGITS_MAX 36

static int bad(struct error *err, struct slice text, const char *what)
{
    return error_set(err, ERR_INVALID, "\"%.*s\" is not %s", (int)(text.len > 60 ? 60 : text.len),
                     text.len == 0 ? "" : text.ptr, what);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool digits_u64(struct slice text, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.ptr[i]) || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.ptr[i] - '0'), &value)) {
            return false;
        }
    }
    *out = value;
    return text.len > 0;
}

int num_parse_u64(struct slice text, uint64_t min, uint64_t max, uint64_t *out, struct error *err)
{
    uint64_t value;
    if (!digits_u64(text, &value)) {
        return bad(err, text, "a whole number");
    }
    if (value < min || value > max) {
        return error_set(err, ERR_INVALID, "%llu is outside %llu to %llu",
                         (unsigned long long)value, (unsigned long long)min,
                         (unsigned long long)max);
    }
    *out = value;
    return 0;
}

int num_parse_i64(struct slice text, int64_t min, int64_t max, int64_t *out, struct error *err)
{
    bool minus = text.len > 0 && text.ptr[0] == '-';
    bool sign = minus || (text.len > 0 && text.ptr[0] == '+');
    uint64_t value;
    uint64_t limit = (uint64_t)INT64_MAX + (minus ? 1 : 0);
    if (!digits_u64(slice_sub(text, sign ? 1 : 0, text.len), &value) || value > limit) {
        return bad(err, text, "a whole number");
    }
    int64_t result = minus ? (int64_t)(0 - value) : (int64_t)value;
    if (result < min || result > max) {
        return error_set(err, ERR_INVALID, "%lld is outside %lld to %lld", (long long)result,
                         (long long)min, (long long)max);
    }
    *out = result;
    return 0;
}

/* [+-] digits [. digits] [e [+-] digits]: the form that strtod may then read. */
static bool decimal_form(struct slice text)
{
    size_t i = text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+') ? 1 : 0;
    size_t digits = 0;
    for (; i < text.len && is_digit(text.ptr[i]); i++) {
        digits++;
    }
    if (i < text.len && text.ptr[i] == '.') {
        for (i++; i < text.len && is_digit(text.ptr[i]); i++) {
            digits++;
        }
    }
    if (digits == 0) {
        return false;
    }
    if (i < text.len && (text.ptr[i] == 'e' || text.ptr[i] == 'E')) {
        i++;
        i += i < text.len && (text.ptr[i] == '-' || text.ptr[i] == '+') ? 1 : 0;
        size_t from = i;
        while (i < text.len && is_digit(text.ptr[i])) {
            i++;
        }
        if (i == from) {
            return false;
        }
    }
    return i == text.len;
}

int num_parse_double(struct slice text, double min, double max, double *out, struct error *err)
{
    char buf[64];
    if (!slice_copy(text, buf, sizeof(buf)) || !decimal_form(text)) {
        return bad(err, text, "a number");
    }
    double value = strtod(buf, NULL); /* the C locale: nobody calls setlocale */
    if (!isfinite(value)) {
        return bad(err, text, "a number that fits");
    }
    if (value < min || value > max) {
        return error_set(err, ERR_INVALID, "%s is outside %g to %g", buf, min, max);
    }
    *out = value;
    return 0;
}

int num_parse_bool(struct slice text, bool *out, struct error *err)
{
    static const char *const words[2][6] = {{"0", "f", "F", "false", "FALSE", "False"},
                                            {"1", "t", "T", "true", "TRUE", "True"}};
    for (int on = 0; on < 2; on++) {
        for (size_t i = 0; i < ARRAY_LEN(words[on]); i++) {
            if (slice_eq_str(text, words[on][i])) {
                *out = on == 1;
                return 0;
            }
        }
    }
    return bad(err, text, "true or false");
}

/* digits[.digits] off *s, times `unit`, in 1/10^scale … as value / 10^scale. */
struct decimal {
    unsigned __int128 value;
    unsigned scale;
};

static bool take_decimal(struct slice *s, struct decimal *out)
{
    size_t i = 0;
    size_t digits = 0;
    bool point = false;
    *out = (struct decimal){0, 0};
    for (; i < s->len; i++) {
        char c = s->ptr[i];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (!is_digit(c)) {
            break;
        }
        digits++;
        if (out->value > 0 && digits > DIGITS_MAX) {
            return false;
        }
        out->value = out->value * 10 + (unsigned)(c - '0');
        out->scale += point ? 1 : 0;
        if (out->scale > DIGITS_MAX) {
            return false;
        }
    }
    *s = slice_of(s->ptr + i, s->len - i);
    return digits > 0;
}

/* value * mul / 10^scale; rounded up or towards zero; false on overflow of int64. */
static bool scale_decimal(struct decimal d, uint64_t mul, bool up, int64_t *out)
{
    unsigned __int128 value;
    if (__builtin_mul_overflow(d.value, (unsigned __int128)mul, &value)) {
        return false;
    }
    bool rest = false;
    for (unsigned i = 0; i < d.scale; i++) {
        rest = rest || value % 10 != 0;
        value /= 10;
    }
    value += up && rest ? 1 : 0;
    if (value > INT64_MAX) {
        return false;
    }
    *out = (int64_t)value;
    return true;
}

static uint64_t take_duration_unit(struct slice *s)
{
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {
        {"ns", 1},
        {"us", 1000},
        {"\xc2\xb5s", 1000},
        {"\xce\xbcs", 1000},
        {"ms", 1000000},
        {"s", 1000000000ull},
        {"m", 60 * 1000000000ull},
        {"h", 3600 * 1000000000ull},
    };
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        struct slice name = slice_str(units[i].name);
        if (slice_starts_with(*s, name)) {
            *s = slice_sub(*s, name.len, s->len);
            return units[i].ns;
        }
    }
    return 0;
}

int num_parse_duration_ns(struct slice text, int64_t *out_ns, struct error *err)
{
    static const char what[] = "a duration like 90s, 1m30s or 300ms";
    struct slice s = text;
    bool minus = s.len > 0 && s.ptr[0] == '-';
    if (minus || (s.len > 0 && s.ptr[0] == '+')) {
        s = slice_sub(s, 1, s.len);
    }
    if (slice_eq_str(s, "0")) {
        *out_ns = 0;
        return 0;
    }
    if (s.len == 0) {
        return bad(err, text, what);
    }
    int64_t total = 0;
    while (s.len > 0) {
        struct decimal d;
        int64_t part;
        if (!take_decimal(&s, &d)) {
            return bad(err, text, what);
        }
        uint64_t unit = take_duration_unit(&s);
        if (unit == 0) {
            return bad(err, text, what);
        }
        if (!scale_decimal(d, unit, false, &part) || __builtin_add_overflow(total, part, &total)) {
            return bad(err, text, "a duration that fits (292 years at most)");
        }
    }
    *out_ns = minus ? -total : total;
    return 0;
}

/* value / unit as decimal without trailing zeros. */
static size_t put_fraction(char *buf, size_t size, uint64_t value, uint64_t unit, int digits)
{
    size_t n = (size_t)snprintf(buf, size, "%llu", (unsigned long long)(value / unit));
    uint64_t rest = value % unit;
    if (rest != 0) {
        n += (size_t)snprintf(buf + n, size - n, ".%0*llu", digits, (unsigned long long)rest);
        while (buf[n - 1] == '0') {
            n--;
        }
        buf[n] = '\0';
    }
    return n;
}

char *num_format_duration_ns(int64_t ns, char *buf, size_t size)
{
    REQUIRE(size >= NUM_DURATION_MAX);
    uint64_t left = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    size_t n = 0;
    if (ns < 0) {
        buf[n++] = '-';
    }
    if (left == 0) {
        snprintf(buf, size, "0s");
    } else if (left < 1000) {
        snprintf(buf + n, size - n, "%lluns", (unsigned long long)left);
    } else if (left < 1000000) {
        n += put_fraction(buf + n, size - n, left, 1000, 3);
        snprintf(buf + n, size - n, "\xc2\xb5s");
    } else if (left < 1000000000) {
        n += put_fraction(buf + n, size - n, left, 1000000, 6);
        snprintf(buf + n, size - n, "ms");
    } else {
        uint64_t hours = left / 3600000000000ull;
        uint64_t minutes = left / 60000000000ull % 60;
        if (hours > 0) {
            n += (size_t)snprintf(buf + n, size - n, "%lluh", (unsigned long long)hours);
        }
        if (hours > 0 || minutes > 0) {
            n += (size_t)snprintf(buf + n, size - n, "%llum", (unsigned long long)minutes);
        }
        n += put_fraction(buf + n, size - n, left % 60000000000ull, 1000000000ull, 9);
        snprintf(buf + n, size - n, "s");
    }
    return buf;
}

/* The suffix of a quantity in thousandths, 0 when unknown. */
static bool quantity_unit(struct slice s, uint64_t *mul, unsigned *more_scale)
{
    static const struct {
        const char *name;
        uint64_t mul;
        unsigned scale;
    } units[] = {
        {"", 1, 0},
        {"n", 1, 9},
        {"u", 1, 6},
        {"m", 1, 3},
        {"k", 1000, 0},
        {"M", 1000000, 0},
        {"G", 1000000000, 0},
        {"T", 1000000000000ull, 0},
        {"P", 1000000000000000ull, 0},
        {"E", 1000000000000000000ull, 0},
        {"Ki", 1ull << 10, 0},
        {"Mi", 1ull << 20, 0},
        {"Gi", 1ull << 30, 0},
        {"Ti", 1ull << 40, 0},
        {"Pi", 1ull << 50, 0},
        {"Ei", 1ull << 60, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (slice_eq_str(s, units[i].name)) {
            *mul = units[i].mul;
            *more_scale = units[i].scale;
            return true;
        }
    }
    return false;
}

/* "e3", "E-2": the decimal exponent form. */
static bool quantity_exponent(struct slice s, uint64_t *mul, unsigned *more_scale)
{
    int64_t exp;
    if (s.len < 2 || (s.ptr[0] != 'e' && s.ptr[0] != 'E') ||
        num_parse_i64(slice_sub(s, 1, s.len), -18, 18, &exp, NULL) < 0) {
        return false;
    }
    *mul = 1;
    *more_scale = exp < 0 ? (unsigned)-exp : 0;
    for (int64_t i = 0; i < exp; i++) {
        *mul *= 10;
    }
    return true;
}

static int parse_quantity(struct slice text, uint64_t factor, int64_t *out, struct error *err)
{
    static const char what[] = "a quantity like 100m, 2 or 64Mi";
    struct slice s = text;
    bool minus = s.len > 0 && s.ptr[0] == '-';
    if (minus || (s.len > 0 && s.ptr[0] == '+')) {
        s = slice_sub(s, 1, s.len);
    }
    struct decimal d;
    uint64_t mul;
    unsigned more_scale;
    int64_t value;
    if (!take_decimal(&s, &d) ||
        (!quantity_unit(s, &mul, &more_scale) && !quantity_exponent(s, &mul, &more_scale))) {
        return bad(err, text, what);
    }
    d.scale += more_scale;
    if (__builtin_mul_overflow(d.value, (unsigned __int128)factor, &d.value) ||
        !scale_decimal(d, mul, !minus, &value)) {
        return bad(err, text, "a quantity that fits");
    }
    *out = minus ? -value : value;
    return 0;
}

int num_parse_quantity_milli(struct slice text, int64_t *out_milli, struct error *err)
{
    return parse_quantity(text, 1000, out_milli, err);
}

int num_parse_quantity(struct slice text, int64_t *out, struct error *err)
{
    return parse_quantity(text, 1, out, err);
}

char *num_format_double(double value, char *buf, size_t size)
{
    REQUIRE(size >= NUM_DOUBLE_MAX);
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(buf, size, "%.*g", digits, value);
        if (!isfinite(value) || memcmp(&value, &(double){strtod(buf, NULL)}, sizeof(value)) == 0) {
            break;
        }
    }
    return buf;
}
