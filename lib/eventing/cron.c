// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: fields to bits; then, span by span in which the zone's clock does not change, the first
 * reading that matches. In a span that is plain arithmetic on days and seconds. Failure modes:
 * a text that is no schedule; a date that never comes (February 30).
 */
#include "eventing/cron.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define STAR (UINT64_C(1) << 63)

enum { DAY_S = 86400, YEARS_MAX = 5, TOKEN_MAX = 64, FIELDS = 6, SHOWN_MAX = 160 };

struct bounds {
    unsigned min;
    unsigned max;
    const char *names; /* three letters each, from min on; "": none */
};

static const struct bounds bounds[FIELDS] = {
    {0, 59, ""},
    {0, 59, ""},
    {0, 23, ""},
    {1, 31, ""},
    {1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
    {0, 6, "sunmontuewedthufrisat"},
};

/* --- the text ------------------------------------------------------------------------------ */

/* At most so many bytes of a text are quoted. */
#define SHOWN(s) (int)((s).len < SHOWN_MAX ? (s).len : SHOWN_MAX), (s).ptr

struct slice cron_take_zone(struct slice *text)
{
    static const char *const words[] = {"TZ=", "CRON_TZ="};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        size_t len = strlen(words[i]);
        if (slice_starts_with(*text, slice_str(words[i]))) {
            struct slice rest = slice_sub(*text, len, text->len - len);
            ptrdiff_t space = slice_find(rest, ' ');
            size_t end = space < 0 ? rest.len : (size_t)space;
            *text = slice_trim(slice_sub(rest, end, rest.len - end));
            return slice_sub(rest, 0, end);
        }
    }
    return SLICE_EMPTY;
}

static bool is_name(struct slice text, const char *name)
{
    for (size_t i = 0; i < 3; i++) {
        if (text.len != 3 || tolower((unsigned char)text.ptr[i]) != name[i]) {
            return false;
        }
    }
    return true;
}

static int parse_number(struct slice text, const struct bounds *b, unsigned *out,
                        const struct slice *range, struct error *err)
{
    int64_t n = 0;
    size_t i = text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+');
    for (unsigned k = 0; b->names[3 * k] != '\0'; k++) {
        if (is_name(text, b->names + (size_t)3 * k)) {
            *out = b->min + k;
            return 0;
        }
    }
    bool good = i < text.len;
    bool small = true;
    for (; good && i < text.len; i++) {
        good = isdigit((unsigned char)text.ptr[i]) != 0;
        n = n > INT64_C(100000000000000000) ? n : n * 10 + (text.ptr[i] - '0');
        small = n <= INT64_C(100000000000000000);
    }
    if (!good || !small) {
        return error_set(err, ERR_INVALID,
                         "failed to parse int from %.*s: strconv.Atoi: parsing \"%.*s\": %s",
                         SHOWN(text), SHOWN(text), good ? "value out of range" : "invalid syntax");
    }
    if (text.ptr[0] == '-' && n > 0) {
        return error_set(err, ERR_INVALID, "negative number (-%lld) not allowed: %.*s",
                         (long long)n, SHOWN(*range));
    }
    *out = n > 1000000 ? 1000000 : (unsigned)n;
    return 0;
}

static int check_range(const struct bounds *b, unsigned start, unsigned end, unsigned step,
                       struct slice text, struct error *err)
{
    if (start < b->min) {
        return error_set(err, ERR_INVALID, "beginning of range (%u) below minimum (%u): %.*s",
                         start, b->min, SHOWN(text));
    }
    if (end > b->max) {
        return error_set(err, ERR_INVALID, "end of range (%u) above maximum (%u): %.*s", end,
                         b->max, SHOWN(text));
    }
    if (start > end) {
        return error_set(err, ERR_INVALID, "beginning of range (%u) beyond end of range (%u): %.*s",
                         start, end, SHOWN(text));
    }
    return step > 0 ? 0
                    : error_set(err, ERR_INVALID, "step of range should be a positive number: %.*s",
                                SHOWN(text));
}

/* Splits at c into at most three parts; how many there would be. */
static size_t parts_of(struct slice text, char c, struct slice out[static 3])
{
    size_t n = 0;
    bool more = true;
    while (more) {
        ptrdiff_t at = slice_find(text, c);
        more = at >= 0;
        size_t end = more ? (size_t)at : text.len;
        if (n < 3) {
            out[n] = slice_sub(text, 0, end);
        }
        n++;
        text = more ? slice_sub(text, end + 1, text.len - end - 1) : SLICE_EMPTY;
    }
    return n;
}

static int parse_range(struct slice text, const struct bounds *b, uint64_t *bits, struct error *err)
{
    static const struct bounds plain = {0, 0, ""};
    struct slice halves[3], ends[3];
    unsigned start = b->min, end = b->max, step = 1;
    size_t n_halves = parts_of(text, '/', halves);
    size_t n_ends = parts_of(halves[0], '-', ends);
    bool star = slice_eq_str(ends[0], "*") || slice_eq_str(ends[0], "?");
    int rc = 0;
    if (!star) {
        rc = parse_number(ends[0], b, &start, &ends[0], err);
        end = start;
        if (rc == 0 && n_ends == 2) {
            rc = parse_number(ends[1], b, &end, &ends[1], err);
        } else if (rc == 0 && n_ends > 2) {
            rc = error_set(err, ERR_INVALID, "too many hyphens: %.*s", SHOWN(text));
        }
    }
    if (rc == 0 && n_halves == 2) {
        rc = parse_number(halves[1], &plain, &step, &halves[1], err);
        end = n_ends == 1 ? b->max : end; /* N/STEP: to the end */
    } else if (rc == 0 && n_halves > 2) {
        rc = error_set(err, ERR_INVALID, "too many slashes: %.*s", SHOWN(text));
    }
    rc = rc < 0 ? rc : check_range(b, start, end, step, text, err);
    for (unsigned i = start; rc == 0 && i <= end; i += step) {
        *bits |= UINT64_C(1) << i;
    }
    *bits |= rc == 0 && star && step == 1 ? STAR : 0;
    return rc;
}

static int parse_field(struct slice text, const struct bounds *b, uint64_t *out, struct error *err)
{
    int rc = 0;
    *out = 0;
    while (rc == 0 && text.len > 0) {
        ptrdiff_t comma = slice_find(text, ',');
        size_t end = comma < 0 ? text.len : (size_t)comma;
        if (end > 0) {
            rc = parse_range(slice_sub(text, 0, end), b, out, err);
        }
        end += comma >= 0;
        text = slice_sub(text, end, text.len - end);
    }
    return rc;
}

static int parse_word(struct slice text, struct cron *out, struct error *err)
{
    static const struct {
        const char *name;
        const char *same_as;
    } words[] = {
        {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
        {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
        {"@hourly", "0 * * * *"},
    };
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (slice_eq_str(text, words[i].name)) {
            return cron_parse(slice_str(words[i].same_as), out, err);
        }
    }
    return error_set(err, ERR_INVALID, "unrecognized descriptor: %.*s", SHOWN(text));
}

int cron_parse(struct slice text, struct cron *out, struct error *err)
{
    struct slice fields[FIELDS];
    struct cron cron = {.second = 1};
    uint64_t *const bits[FIELDS] = {&cron.second, &cron.minute, &cron.hour,
                                    &cron.day,    &cron.month,  &cron.weekday};
    size_t n = 0;
    if (text.len == 0) {
        return error_set(err, ERR_INVALID, "empty spec string");
    }
    if (text.len > CRON_TEXT_MAX) {
        return error_set(err, ERR_INVALID, "longer than %d bytes", CRON_TEXT_MAX);
    }
    if (text.ptr[0] == '@') {
        return parse_word(text, out, err);
    }
    char shown[SHOWN_MAX] = "";
    size_t len = 0;
    for (size_t i = 0; i < text.len;) {
        size_t from = i;
        while (i < text.len && !isspace((unsigned char)text.ptr[i])) {
            i++;
        }
        if (i > from) {
            struct slice field = slice_sub(text, from, i - from);
            if (n < FIELDS) {
                fields[n] = field;
            }
            n++;
            len += (size_t)snprintf(shown + len, sizeof(shown) - len, "%s%.*s", n > 1 ? " " : "",
                                    SHOWN(field));
            len = len < sizeof(shown) ? len : sizeof(shown) - 1;
        }
        i += i < text.len;
    }
    if (n < FIELDS - 1 || n > FIELDS) {
        return error_set(err, ERR_INVALID, "expected %d to %d fields, found %zu: [%s]", FIELDS - 1,
                         FIELDS, n, shown);
    }
    size_t first = FIELDS - n;
    for (size_t i = first; i < FIELDS; i++) {
        int rc = parse_field(fields[i - first], &bounds[i], bits[i], err);
        if (rc < 0) {
            return rc;
        }
    }
    *out = cron;
    return 0;
}

/* --- the times ----------------------------------------------------------------------------- */

static bool has(uint64_t bits, int64_t n)
{
    return (bits >> n & 1) != 0;
}

static bool day_matches(const struct cron *c, int64_t days)
{
    int64_t year = 0;
    int month = 0, day = 0;
    zone_date_of(days, &year, &month, &day);
    bool by_month = has(c->day, day);
    bool by_week = has(c->weekday, (days % 7 + 11) % 7); /* 1970-01-01 was a Thursday */
    bool both = ((c->day | c->weekday) & STAR) != 0;
    return has(c->month, month) && (both ? by_month && by_week : by_month || by_week);
}

/* The first n in from … max with its bit set; -1: none. */
static int64_t first_bit(uint64_t bits, int64_t from, int64_t max)
{
    while (from <= max && !has(bits, from)) {
        from++;
    }
    return from <= max ? from : -1;
}

/* The first second of a day that matches, from from_s on; -1: none. */
static int64_t second_of_day(const struct cron *c, int64_t from_s)
{
    int64_t hour = from_s / 3600, minute = from_s / 60 % 60, second = from_s % 60;
    for (int64_t h = first_bit(c->hour, hour, 23); h >= 0; h = first_bit(c->hour, h + 1, 23)) {
        int64_t m0 = h == hour ? minute : 0;
        for (int64_t m = first_bit(c->minute, m0, 59); m >= 0;
             m = first_bit(c->minute, m + 1, 59)) {
            int64_t s = first_bit(c->second, h == hour && m == minute ? second : 0, 59);
            if (s >= 0) {
                return h * 3600 + m * 60 + s;
            }
        }
    }
    return -1;
}

/* The first reading of the clock that matches, from from_s to before end_s. */
static bool next_reading(const struct cron *c, int64_t from_s, int64_t end_s, int64_t *out_s)
{
    int64_t days = from_s / DAY_S - (from_s % DAY_S < 0 ? 1 : 0);
    int64_t second = from_s - days * DAY_S;
    for (; days * DAY_S < end_s; days++, second = 0) {
        int64_t at = day_matches(c, days) ? second_of_day(c, second) : -1;
        if (at >= 0 && days * DAY_S + at < end_s) {
            *out_s = days * DAY_S + at;
            return true;
        }
    }
    return false;
}

bool cron_next(const struct cron *cron, const struct zone *zone, int64_t after_s, int64_t *out_s)
{
    int64_t at_s = after_s + 1;
    int64_t limit_s = after_s + YEARS_MAX * INT64_C(366) * DAY_S;
    if (cron->day == 0 || cron->month == 0) {
        return false;
    }
    while (at_s < limit_s) {
        int64_t until_s = 0, reading_s = 0;
        int32_t ahead = zone_offset(zone, at_s, &until_s);
        int64_t end_s = until_s < limit_s ? until_s : limit_s;
        if (next_reading(cron, at_s + ahead, end_s + ahead, &reading_s)) {
            *out_s = reading_s - ahead;
            return true;
        }
        at_s = end_s;
    }
    return false;
}

bool cron_last(const struct cron *cron, const struct zone *zone, int64_t from_s, int64_t to_s,
               int64_t *out_s)
{
    int64_t low = from_s, high = to_s, found = 0;
    if (from_s >= to_s || !cron_next(cron, zone, from_s, &found) || found > to_s) {
        return false;
    }
    /* The run after `low` is not later than to_s, that after `high` is. */
    while (high - low > 1) {
        int64_t mid = low + (high - low) / 2, next = 0;
        if (cron_next(cron, zone, mid, &next) && next <= to_s) {
            low = mid;
            found = next;
        } else {
            high = mid;
        }
    }
    *out_s = found;
    return true;
}
