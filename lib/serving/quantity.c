// SPDX-License-Identifier: Apache-2.0
/*
 * Quantities in billionths, which is the precision that Kubernetes has. Happy path: sign, digits,
 * fraction, suffix. Failure modes: another suffix, a number without digits before its suffix, more
 * than fits (refused; Kubernetes itself works with any size there).
 */
#include "serving/quantity.h"

#include <stdio.h>

#define NANO ((__int128)1000000000)

/* The largest amount with a binary suffix, as in Kubernetes: 2^63-1. */
#define BINARY_MAX ((__int128)INT64_MAX * NANO)
/* And at all: what can be printed. */
#define AMOUNT_MAX ((__int128)1000000000000000000 * 100000000 * NANO)

static bool suffix_unit(struct slice s, struct quantity *q, int *out_power, bool *out_binary)
{
    static const char decimal[] = "num kMGTPE"; /* 10^-9 … 10^18 by thousands */
    static const char binary[] = "KMGTPE";
    *out_binary = false;
    q->format = QUANTITY_DECIMAL;
    if (s.len == 0) {
        *out_power = 0;
        return true;
    }
    if (s.len == 2 && s.ptr[1] == 'i' && s.ptr[0] != '\0' && strchr(binary, s.ptr[0]) != NULL) {
        *out_power = 10 * (int)(strchr(binary, s.ptr[0]) - binary + 1);
        *out_binary = true;
        q->format = QUANTITY_BINARY;
        return true;
    }
    const char *at =
        s.len == 1 && s.ptr[0] != ' ' && s.ptr[0] != '\0' ? strchr(decimal, s.ptr[0]) : NULL;
    if (at != NULL) {
        *out_power = (int)(at - decimal) * 3 - 9;
        return true;
    }
    if (s.len < 2 || (s.ptr[0] != 'e' && s.ptr[0] != 'E')) {
        return false;
    }
    int power = 0;
    size_t i = s.ptr[1] == '-' || s.ptr[1] == '+' ? 2 : 1;
    if (i == s.len) {
        return false;
    }
    for (size_t j = i; j < s.len; j++) {
        if (s.ptr[j] < '0' || s.ptr[j] > '9') {
            return false;
        }
        power = power > 1000 ? power : power * 10 + (s.ptr[j] - '0');
    }
    *out_power = s.ptr[1] == '-' ? -power : power;
    q->format = QUANTITY_EXPONENT;
    return true;
}

/* *value *= 10^power or 2^power, rounding away from zero; false on overflow. */
static bool scale(__int128 *value, int power, bool binary)
{
    bool rest = false;
    for (; power > 0; power--) {
        if (*value == 0) {
            return true;
        }
        if (__builtin_mul_overflow(*value, binary ? 2 : 10, value)) {
            return false;
        }
    }
    for (; power < 0 && *value != 0; power++) {
        rest = rest || *value % 10 != 0;
        *value /= 10;
    }
    *value += rest ? 1 : 0;
    return true;
}

bool quantity_parse(struct slice text, struct quantity *out)
{
    struct slice s = slice_trim(text);
    bool minus = s.len > 0 && s.ptr[0] == '-';
    size_t i = minus || (s.len > 0 && s.ptr[0] == '+') ? 1 : 0;
    __int128 value = 0;
    int places = 0;
    bool point = false;
    size_t digits = 0;
    for (; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '.' && !point) {
            point = true;
        } else if (c >= '0' && c <= '9') {
            digits++;
            if (__builtin_mul_overflow(value, 10, &value) ||
                __builtin_add_overflow(value, c - '0', &value)) {
                return false;
            }
            places += point ? 1 : 0;
        } else {
            break;
        }
    }
    int power;
    bool binary;
    if ((digits == 0 && s.len == 0) || !suffix_unit(slice_sub(s, i, s.len), out, &power, &binary)) {
        return false;
    }
    bool fits = binary ? scale(&value, power, true) && scale(&value, 9 - places, false)
                       : scale(&value, power + 9 - places, false);
    if (!fits || value > AMOUNT_MAX) {
        return false;
    }
    value = binary && value > BINARY_MAX ? BINARY_MAX : value;
    if (binary && value > 0 && value < NANO) {
        out->format = QUANTITY_DECIMAL;
    }
    out->nano = minus ? -value : value;
    return true;
}

static void print_number(char *buf, bool minus, __int128 number, const char *suffix)
{
    static const __int128 half = 1000000000000000000; /* digits are printed in two halves */
    unsigned long long high = (unsigned long long)(number / half);
    unsigned long long low = (unsigned long long)(number % half);
    if (high > 0) {
        snprintf(buf, QUANTITY_TEXT, "%s%llu%018llu%s", minus ? "-" : "", high, low, suffix);
    } else {
        snprintf(buf, QUANTITY_TEXT, "%s%llu%s", minus ? "-" : "", low, suffix);
    }
}

const char *quantity_print(const struct quantity *q, char buf[QUANTITY_TEXT])
{
    static const char *const decimal[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};
    static const char *const exponent[] = {"e-9", "e-6", "e-3", "",    "e3",
                                           "e6",  "e9",  "e12", "e15", "e18"};
    static const char *const binary[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
    bool minus = q->nano < 0;
    __int128 value = minus ? -q->nano : q->nano;
    if (value == 0) {
        snprintf(buf, QUANTITY_TEXT, "0");
        return buf;
    }
    size_t unit = 0;
    if (q->format == QUANTITY_BINARY && value >= 1024 * NANO && value % NANO == 0) {
        value /= NANO;
        while (value % 1024 == 0 && unit + 1 < sizeof(binary) / sizeof(binary[0])) {
            value /= 1024;
            unit++;
        }
        print_number(buf, minus, value, binary[unit]);
        return buf;
    }
    while (value % 1000 == 0 && unit + 1 < sizeof(decimal) / sizeof(decimal[0])) {
        value /= 1000;
        unit++;
    }
    print_number(buf, minus, value,
                 q->format == QUANTITY_EXPONENT ? exponent[unit] : decimal[unit]);
    return buf;
}

/* Digits of the number without leading zeros and point, and how many are behind the point. */
static size_t significant(struct slice s, char digits[20], size_t *out_places, size_t *out_end)
{
    size_t n = 0;
    bool point = false;
    size_t i = s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+') ? 1 : 0;
    *out_places = 0;
    while (i < s.len && s.ptr[i] == '0') {
        i++;
    }
    for (; i < s.len && ((s.ptr[i] >= '0' && s.ptr[i] <= '9') || (s.ptr[i] == '.' && !point));
         i++) {
        if (s.ptr[i] == '.') {
            point = true;
            digits[n < 19 ? n : 19] = '0'; /* nothing before the point counts as a zero */
            n += n == 0 ? 1 : 0;
            continue;
        }
        digits[n < 19 ? n : 19] = s.ptr[i];
        n++;
        *out_places += point ? 1 : 0;
    }
    *out_end = i;
    return n;
}

/* Whether Kubernetes keeps the text. */
static bool kept(struct slice s)
{
    char digits[20];
    size_t places;
    size_t end;
    struct quantity ignored;
    int power;
    bool binary;
    size_t n = significant(s, digits, &places, &end);
    if (n == 0 || n > 18 || s.len >= QUANTITY_TEXT ||
        !suffix_unit(slice_sub(s, end, s.len), &ignored, &power, &binary)) {
        return false;
    }
    if (binary) {
        int left = 15 - (int)n - power * 3 / 10 - 1;
        int tail = 0; /* a thousand is a multiple of eight */
        for (size_t i = n > 3 ? n - 3 : 0; i < n; i++) {
            tail = tail * 10 + (digits[i] - '0');
        }
        return places == 0 && left >= 0 && tail % 8 != 0;
    }
    int scale = power - (int)places;
    bool zeros = n >= 3 && memcmp(digits + n - 3, "000", 3) == 0;
    return scale >= -9 && scale % 3 == 0 && !zeros && digits[0] != '0';
}

const char *quantity_canonical(struct slice text, char buf[QUANTITY_TEXT])
{
    struct quantity q;
    struct slice s = slice_trim(text);
    if (!quantity_parse(s, &q)) {
        buf[0] = '\0';
    } else if (kept(s)) {
        (void)slice_copy(s, buf, QUANTITY_TEXT);
    } else {
        (void)quantity_print(&q, buf);
    }
    return buf;
}
