// SPDX-License-Identifier: Apache-2.0
/*
 * Happy path: a sign, P, then numbers whose letters come in their order, added up. Failure modes:
 * anything else, with the text in the message; a sum beyond the bound.
 */
#include "eventing/period.h"

#include <math.h>

#define DAY_MS   86400000.0
#define YEAR_MS  (365.2425 * DAY_MS)
#define LIMIT_MS (100.0 * YEAR_MS)

/* The letters in the order in which they may come; time: behind the T. */
static const struct unit {
    char letter;
    bool time;
    double ms;
} units[] = {
    {'Y', false, YEAR_MS}, {'M', false, YEAR_MS / 12.0}, {'W', false, 7.0 * DAY_MS},
    {'D', false, DAY_MS},  {'H', true, 3600000.0},       {'M', true, 60000.0},
    {'S', true, 1000.0},
};

struct number {
    double value;
    bool fraction;
};

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Takes digits with perhaps a fraction off the text; false: there is no number. */
static bool take_number(struct slice *text, struct number *out)
{
    size_t i = 0;
    double scale = 1.0;
    *out = (struct number){0};
    for (; i < text->len && digit(text->ptr[i]); i++) {
        out->value = out->value * 10.0 + (text->ptr[i] - '0');
    }
    if (i == 0) {
        return false;
    }
    if (i < text->len && (text->ptr[i] == '.' || text->ptr[i] == ',')) {
        size_t from = ++i;
        for (; i < text->len && digit(text->ptr[i]); i++) {
            scale /= 10.0;
            out->value += (text->ptr[i] - '0') * scale;
        }
        out->fraction = true;
        if (i == from) {
            return false;
        }
    }
    *text = slice_sub(*text, i, text->len - i);
    return true;
}

/* The parts behind the P. False: not of the form. */
static bool take_parts(struct slice text, double *out_ms)
{
    size_t next = 0, count = 0;
    bool time = false, fraction = false;
    while (text.len > 0) {
        if (text.ptr[0] == 'T' && !time) {
            time = true;
            text = slice_sub(text, 1, text.len - 1);
            if (text.len == 0) {
                return false;
            }
            continue;
        }
        struct number n;
        if (fraction || !take_number(&text, &n) || text.len == 0) {
            return false;
        }
        while (next < ARRAY_LEN(units) &&
               (units[next].letter != text.ptr[0] || units[next].time != time)) {
            next++;
        }
        if (next == ARRAY_LEN(units)) {
            return false;
        }
        *out_ms += n.value * units[next++].ms;
        fraction = n.fraction;
        text = slice_sub(text, 1, text.len - 1);
        count++;
    }
    return count > 0;
}

int period_parse_ms(struct slice text, int64_t *out_ms, struct error *err)
{
    struct slice rest = text;
    double ms = 0.0;
    bool negative = rest.len > 0 && rest.ptr[0] == '-';
    if (rest.len > 0 && (rest.ptr[0] == '-' || rest.ptr[0] == '+')) {
        rest = slice_sub(rest, 1, rest.len - 1);
    }
    bool zero = slice_eq_str(rest, "P0");
    if (rest.len == 0 || rest.ptr[0] != 'P' ||
        (!zero && !take_parts(slice_sub(rest, 1, rest.len - 1), &ms))) {
        return error_set(err, ERR_INVALID,
                         "\"%.*s\" is no ISO 8601 duration such as PT0.5S, PT2M or P1D",
                         SLICE_FMT(text));
    }
    if (ms > LIMIT_MS) {
        return error_set(err, ERR_INVALID, "\"%.*s\" is longer than 100 years", SLICE_FMT(text));
    }
    *out_ms = llround(negative ? -ms : ms);
    return 0;
}
