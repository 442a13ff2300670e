// SPDX-License-Identifier: Apache-2.0
/* Time. Reading a clock cannot fail; parsing refuses what is not RFC 3339 or out of range. */
#include "base/clock.h"

#include "base/mem.h"

static uint64_t read_ns(clockid_t id)
{
    struct timespec ts;
    int rc = clock_gettime(id, &ts);
    REQUIRE(rc == 0);
    return (uint64_t)ts.tv_sec * CLOCK_NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t clock_mono_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

uint64_t clock_mono_us(void)
{
    return clock_mono_ns() / 1000;
}

uint64_t clock_mono_ms(void)
{
    return clock_mono_ns() / CLOCK_NS_PER_MS;
}

uint64_t clock_boot_ns(void)
{
    return read_ns(CLOCK_BOOTTIME);
}

uint64_t clock_boot_ms(void)
{
    return clock_boot_ns() / CLOCK_NS_PER_MS;
}

int64_t clock_wall_ns(void)
{
    return (int64_t)read_ns(CLOCK_REALTIME);
}

char *clock_format_rfc3339(int64_t wall_ns, int digits, char *buf, size_t size)
{
    REQUIRE(digits >= 0 && digits <= 9 && size >= CLOCK_RFC3339_MAX);
    int64_t sec = wall_ns / (int64_t)CLOCK_NS_PER_S;
    int64_t ns = wall_ns % (int64_t)CLOCK_NS_PER_S;
    if (ns < 0) {
        ns += (int64_t)CLOCK_NS_PER_S;
        sec--;
    }
    time_t t = (time_t)sec;
    struct tm tm;
    gmtime_r(&t, &tm);
    size_t n = strftime(buf, size, "%Y-%m-%dT%H:%M:%S", &tm);
    if (digits > 0) {
        char all[16];
        snprintf(all, sizeof(all), "%09d", (int)ns);
        n += (size_t)snprintf(buf + n, size - n, ".%.*s", digits, all);
    }
    snprintf(buf + n, size - n, "Z");
    return buf;
}

/* Reads exactly n digits off *s; -1 when they are not there. */
static int take_digits(struct slice *s, size_t n)
{
    int value = 0;
    if (s->len < n) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (s->ptr[i] < '0' || s->ptr[i] > '9') {
            return -1;
        }
        value = value * 10 + (s->ptr[i] - '0');
    }
    *s = slice_of(s->ptr + n, s->len - n);
    return value;
}

static bool take_char(struct slice *s, const char *one_of)
{
    if (s->len == 0 || s->ptr[0] == '\0' || strchr(one_of, s->ptr[0]) == NULL) {
        return false;
    }
    *s = slice_of(s->ptr + 1, s->len - 1);
    return true;
}

static bool take_date(struct slice *s, struct tm *tm)
{
    int year = take_digits(s, 4);
    bool ok = take_char(s, "-");
    int month = take_digits(s, 2);
    ok = ok && take_char(s, "-");
    int day = take_digits(s, 2);
    ok = ok && take_char(s, "Tt ");
    int hour = take_digits(s, 2);
    ok = ok && take_char(s, ":");
    int minute = take_digits(s, 2);
    ok = ok && take_char(s, ":");
    int second = take_digits(s, 2);
    if (!ok || year < 1970 || year > 2261 || month < 1 || month > 12 || day < 1 || hour < 0 ||
        hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) {
        return false;
    }
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (day > days[month - 1] + (month == 2 && leap ? 1 : 0)) {
        return false;
    }
    *tm = (struct tm){.tm_year = year - 1900,
                      .tm_mon = month - 1,
                      .tm_mday = day,
                      .tm_hour = hour,
                      .tm_min = minute,
                      .tm_sec = second};
    return true;
}

static bool take_fraction(struct slice *s, int64_t *out_ns)
{
    *out_ns = 0;
    if (!take_char(s, ".,")) {
        return true;
    }
    int64_t unit = 100000000;
    size_t n = 0;
    for (int digit; (digit = take_digits(s, 1)) >= 0; n++, unit /= 10) {
        *out_ns += digit * unit;
    }
    return n > 0;
}

static bool take_zone(struct slice *s, int64_t *out_seconds)
{
    *out_seconds = 0;
    if (take_char(s, "Zz")) {
        return true;
    }
    bool minus = s->len > 0 && s->ptr[0] == '-';
    if (!take_char(s, "+-")) {
        return false;
    }
    int hours = take_digits(s, 2);
    bool ok = take_char(s, ":");
    int minutes = take_digits(s, 2);
    if (!ok || hours < 0 || hours > 23 || minutes < 0 || minutes > 59) {
        return false;
    }
    *out_seconds = (hours * 3600 + minutes * 60) * (minus ? -1 : 1);
    return true;
}

int clock_parse_rfc3339(struct slice text, int64_t *out_wall_ns, struct error *err)
{
    struct slice s = text;
    struct tm tm;
    int64_t ns;
    int64_t zone;
    if (!take_date(&s, &tm) || !take_fraction(&s, &ns) || !take_zone(&s, &zone) || s.len != 0) {
        return error_set(err, ERR_INVALID,
                         "\"%.*s\" is not an RFC 3339 time like 2006-01-02T15:04:05Z",
                         (int)(text.len > 60 ? 60 : text.len), text.len == 0 ? "" : text.ptr);
    }
    int64_t sec = (int64_t)timegm(&tm) - zone;
    *out_wall_ns = sec * (int64_t)CLOCK_NS_PER_S + ns;
    return 0;
}
