// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: the file's second block (64 bits; version 1 has only the first) gives changes and offsets,
 * the text at its end the rule for what comes after. Every count is compared with the bytes that
 * are there before anything is read; a change must come after the one before it.
 */
#include "eventing/zone.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"

enum {
    HEAD = 44,
    TYPE = 6,
    TYPES_MAX = 256,
    DAY_S = 86400,
    OFFSET_MAX = 26 * 3600,
    RULE_HOURS_MAX = 167,
};

/* --- dates --------------------------------------------------------------------------------- */

int64_t zone_days_of(int64_t year, int month, int day)
{
    /* Years that begin in March put the leap day at their end; eras of 400 years repeat. */
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

void zone_date_of(int64_t days, int64_t *year, int *month, int *day)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t of_era = z - era * 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
    int64_t m = (5 * of_year + 2) / 153;
    *day = (int)(of_year - (153 * m + 2) / 5 + 1);
    *month = (int)(m < 10 ? m + 3 : m - 9);
    *year = y + era * 400 + (*month <= 2 ? 1 : 0);
}

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* --- the rule ------------------------------------------------------------------------------ */

/* A text that is eaten from its beginning; bad once something did not fit. */
struct eater {
    const char *at;
    const char *end;
    bool bad;
};

static bool eat(struct eater *e, char c)
{
    bool is = e->at < e->end && *e->at == c;
    e->at += is;
    return is;
}

static int32_t eat_number(struct eater *e, int32_t min, int32_t max)
{
    int32_t n = 0;
    const char *from = e->at;
    while (e->at < e->end && isdigit((unsigned char)*e->at) && e->at - from < 4) {
        n = n * 10 + (*e->at++ - '0');
    }
    e->bad = e->bad || e->at == from || n < min || n > max;
    return e->bad ? min : n;
}

static void eat_name(struct eater *e)
{
    const char *from = e->at;
    bool quoted = eat(e, '<');
    while (e->at < e->end && (quoted ? *e->at != '>' : (isalpha((unsigned char)*e->at) != 0))) {
        e->at++;
    }
    e->bad = e->bad || e->at - from < 3 || (quoted && !eat(e, '>'));
}

/* [+-]hh[:mm[:ss]] */
static int32_t eat_time(struct eater *e)
{
    bool minus = eat(e, '-');
    if (!minus) {
        (void)eat(e, '+');
    }
    int32_t s = eat_number(e, 0, RULE_HOURS_MAX) * 3600;
    if (eat(e, ':')) {
        s += eat_number(e, 0, 59) * 60;
        s += eat(e, ':') ? eat_number(e, 0, 59) : 0;
    }
    return minus ? -s : s;
}

static void eat_day(struct eater *e, struct zone_day *out)
{
    e->bad = e->bad || !eat(e, ',');
    if (eat(e, 'M')) {
        out->form = ZONE_DAY_WEEK;
        out->month = eat_number(e, 1, 12);
        e->bad = e->bad || !eat(e, '.');
        out->week = eat_number(e, 1, 5);
        e->bad = e->bad || !eat(e, '.');
        out->day = eat_number(e, 0, 6);
    } else if (eat(e, 'J')) {
        out->form = ZONE_DAY_JULIAN;
        out->day = eat_number(e, 1, 365);
    } else {
        out->form = ZONE_DAY_ZERO;
        out->day = eat_number(e, 0, 365);
    }
    out->seconds = eat(e, '/') ? eat_time(e) : 2 * 3600;
}

static int parse_rule(struct slice text, struct zone_rule *out, struct error *err)
{
    struct eater e = {text.ptr, text.ptr + text.len, false};
    struct zone_rule rule = {.is_there = true};
    if (text.len == 0) {
        *out = (struct zone_rule){.is_there = false};
        return 0;
    }
    eat_name(&e);
    rule.standard = -eat_time(&e);
    if (!e.bad && e.at < e.end) {
        rule.has_summer = true;
        eat_name(&e);
        rule.summer = e.at < e.end && *e.at != ',' ? -eat_time(&e) : rule.standard + 3600;
        eat_day(&e, &rule.begins);
        eat_day(&e, &rule.ends);
    }
    if (e.bad || e.at != e.end || abs(rule.standard) > OFFSET_MAX ||
        abs(rule.summer) > OFFSET_MAX) {
        return error_set(err, ERR_INVALID, "the rule at the end of the zone file cannot be read");
    }
    *out = rule;
    return 0;
}

/* The moment of a change in a year; ahead: of the clock before it. */
static int64_t change_at(const struct zone_day *day, int64_t year, int32_t ahead)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t days = zone_days_of(year, 1, 1);
    if (day->form == ZONE_DAY_JULIAN) {
        days += day->day - 1 + (day->day >= 60 && is_leap(year) ? 1 : 0);
    } else if (day->form == ZONE_DAY_ZERO) {
        days += day->day;
    } else {
        int64_t first = zone_days_of(year, day->month, 1);
        int length = lengths[day->month - 1] + (day->month == 2 && is_leap(year) ? 1 : 0);
        int weekday = (int)((first % 7 + 11) % 7); /* 1970-01-01 was a Thursday */
        int at = (day->day - weekday + 7) % 7 + (day->week - 1) * 7;
        days = first + (at >= length ? at - 7 : at);
    }
    return days * DAY_S + day->seconds - ahead;
}

static int32_t rule_offset(const struct zone_rule *r, int64_t at_s, int64_t *until_s)
{
    int64_t year = 0, last = INT64_MIN;
    int month = 0, day = 0;
    int32_t offset = r->standard;
    *until_s = INT64_MAX;
    if (!r->has_summer) {
        return offset;
    }
    zone_date_of(at_s / DAY_S - (at_s % DAY_S < 0 ? 1 : 0), &year, &month, &day);
    /* The changes of three years: the last one before at_s counts, the next one ends it. */
    for (int64_t y = year - 1; y <= year + 1; y++) {
        const int64_t both[] = {change_at(&r->begins, y, r->standard),
                                change_at(&r->ends, y, r->summer)};
        for (int i = 0; i < 2; i++) {
            if (both[i] <= at_s && both[i] > last) {
                last = both[i];
                offset = i == 0 ? r->summer : r->standard;
            } else if (both[i] > at_s && both[i] < *until_s) {
                *until_s = both[i];
            }
        }
    }
    return offset;
}

int32_t zone_offset(const struct zone *z, int64_t at_s, int64_t *until_s)
{
    size_t low = 0, high = z->n; /* the number of changes up to at_s */
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (z->changes[mid] <= at_s) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    if (low == z->n && z->rule.is_there) {
        return rule_offset(&z->rule, at_s, until_s);
    }
    *until_s = low < z->n ? z->changes[low] : INT64_MAX;
    return low == 0 ? z->first : z->offsets[low - 1];
}

/* --- the file ------------------------------------------------------------------------------ */

struct counts {
    uint32_t utc, std, leap, time, type, chars;
};

static uint32_t be32(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static int bad_file(struct error *err, const char *why)
{
    return error_set(err, ERR_INVALID, "no file of a time zone: %s", why);
}

static int read_head(struct slice file, struct counts *out, struct error *err)
{
    if (file.len < HEAD || memcmp(file.ptr, "TZif", 4) != 0) {
        return bad_file(err, "it does not begin as one");
    }
    const char *p = file.ptr + 20;
    *out = (struct counts){be32(p),      be32(p + 4),  be32(p + 8),
                           be32(p + 12), be32(p + 16), be32(p + 20)};
    if (out->time > ZONE_CHANGES_MAX || out->type > TYPES_MAX || out->utc > TYPES_MAX ||
        out->std > TYPES_MAX || out->leap > ZONE_CHANGES_MAX || out->chars > ZONE_FILE_MAX) {
        return bad_file(err, "it has more in it than one may have");
    }
    return 0;
}

static size_t block_len(const struct counts *c, size_t width)
{
    return c->time * (width + 1) + (size_t)c->type * TYPE + c->chars + c->leap * (width + 4) +
           c->std + c->utc;
}

static int read_block(struct slice body, const struct counts *c, size_t width, struct zone *z,
                      struct error *err)
{
    const char *index = body.ptr + c->time * width;
    const char *types = index + c->time;
    if (c->leap > 0) {
        return bad_file(err, "it counts leap seconds");
    }
    if (c->type == 0) {
        return bad_file(err, "it says nothing of the clock");
    }
    z->n = c->time;
    z->changes = xcalloc(c->time + 1, sizeof(*z->changes));
    z->offsets = xcalloc(c->time + 1, sizeof(*z->offsets));
    for (size_t i = 0; i < c->time; i++) {
        const char *p = body.ptr + i * width;
        unsigned type = (unsigned char)index[i];
        z->changes[i] =
            width == 4 ? (int32_t)be32(p) : (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
        if (type >= c->type || (i > 0 && z->changes[i] <= z->changes[i - 1])) {
            return bad_file(err, "its changes are not in order");
        }
        z->offsets[i] = (int32_t)be32(types + (size_t)type * TYPE);
    }
    z->first = (int32_t)be32(types);
    for (size_t i = 0; i < c->type; i++) {
        int32_t offset = (int32_t)be32(types + i * TYPE);
        if (offset > OFFSET_MAX || offset < -OFFSET_MAX) {
            return bad_file(err, "its clock is further from UTC than there are hours in a day");
        }
    }
    return 0;
}

int zone_parse(struct slice file, struct zone *out, struct error *err)
{
    struct counts c;
    struct zone z = {0};
    size_t width = 4;
    int rc = read_head(file, &c, err);
    if (rc < 0) {
        return rc;
    }
    char version = file.ptr[4];
    if (version >= '2') {
        size_t skip = HEAD + block_len(&c, 4);
        width = 8;
        file = skip <= file.len ? slice_sub(file, skip, file.len - skip) : SLICE_EMPTY;
        rc = read_head(file, &c, err);
        if (rc < 0) {
            return rc;
        }
    }
    size_t len = block_len(&c, width);
    struct slice body = slice_sub(file, HEAD, file.len - HEAD);
    if (body.len < len) {
        return bad_file(err, "it ends too early");
    }
    rc = read_block(body, &c, width, &z, err);
    if (rc == 0 && width == 8) {
        struct slice rule = slice_sub(body, len, body.len - len);
        struct slice line = SLICE_EMPTY;
        if (rule.len < 2 || rule.ptr[0] != '\n') {
            rc = bad_file(err, "it ends too early");
        } else {
            rule = slice_sub(rule, 1, rule.len - 1);
            (void)slice_split(&rule, '\n', &line);
            rc = parse_rule(line, &z.rule, err);
        }
    }
    if (rc < 0) {
        zone_fini(&z);
        return rc;
    }
    *out = z;
    return 0;
}

void zone_fini(struct zone *z)
{
    free(z->changes);
    free(z->offsets);
    *z = (struct zone){0};
}

/* --- by name ------------------------------------------------------------------------------- */

static bool is_zone_name(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len >= ZONE_NAME_MAX || name[0] == '/' || name[0] == '.' ||
        strstr(name, "..") != NULL) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)name[i]) && strchr("+-_/.", name[i]) == NULL) {
            return false;
        }
    }
    return true;
}

static int load_file(const char *path, struct zone *out, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, ZONE_FILE_MAX);
    int rc = fs_read_file(path, ZONE_FILE_MAX, &text, err);
    rc = rc < 0 ? rc : zone_parse(strbuf_slice(&text), out, err);
    return rc < 0 ? error_prefix(err, rc, "%s", path) : 0;
}

static int load_local(struct zone *out, struct error *err)
{
    const char *tz = getenv("TZ");
    struct error ignored;
    if (tz != NULL) {
        tz += tz[0] == ':';
        if (is_zone_name(tz) && strcmp(tz, "Local") != 0) {
            return zone_load(tz, out, err);
        }
    } else if (load_file("/etc/localtime", out, &ignored) == 0) {
        return 0;
    }
    *out = (struct zone){0};
    return 0;
}

int zone_load(const char *name, struct zone *out, struct error *err)
{
    char path[sizeof(ZONE_DIRECTORY) + ZONE_NAME_MAX + 1];
    if (name[0] == '\0' || strcmp(name, "Local") == 0) {
        return load_local(out, err);
    }
    if (strcmp(name, "UTC") == 0) {
        *out = (struct zone){0};
        return 0;
    }
    snprintf(path, sizeof(path), "%s/%s", ZONE_DIRECTORY, is_zone_name(name) ? name : ".");
    if (!is_zone_name(name) || !fs_exists(path) || fs_is_dir(path)) {
        return error_set(err, ERR_NOT_FOUND, "unknown time zone %.100s", name);
    }
    return load_file(path, out, err);
}

bool zone_files_there(void)
{
    return fs_is_dir(ZONE_DIRECTORY);
}
