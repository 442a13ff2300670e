// SPDX-License-Identifier: Apache-2.0
//
// The list of findings. Failure mode: a text that is no UTF-8 is left out of the list, and counts.
#include "cli/doctor.h"

#include <stdarg.h>

#include "base/clock.h"
#include "loop/certificate.h"
#include "json/jbuild.h"
#include "json/jparse.h"

#define TEXT_MAX 1024
#define DAY_S    86400

PRINTF_LIKE(5, 0)
static void put(struct doctor *d, const char *check, const char *level, const char *advice,
                const char *fmt, va_list ap)
{
    char text[TEXT_MAX];
    vsnprintf(text, sizeof text, fmt, ap);
    json_array_append_new(d->findings,
                          json_pack("{s:s,s:s,s:o,s:s*}", "check", check, "level", level, "text",
                                    jstring_lossy(slice_str(text)), "advice", advice));
}

void doctor_ok(struct doctor *d, const char *check, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    put(d, check, "ok", NULL, fmt, ap);
    va_end(ap);
}

void doctor_warn(struct doctor *d, const char *check, const char *advice, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    put(d, check, "warning", advice, fmt, ap);
    va_end(ap);
    d->warned++;
}

void doctor_fail(struct doctor *d, const char *check, const char *advice, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    put(d, check, "failed", advice, fmt, ap);
    va_end(ap);
    d->failed++;
}

void doctor_certificate(struct doctor *d, const char *check, const char *what, struct slice pem,
                        const char *advice)
{
    struct certificate_times times;
    struct error err;
    int64_t now_s = clock_wall_ns() / 1000000000;
    if (certificate_times(pem, &times, &err) < 0) {
        doctor_fail(d, check, advice, "%s cannot be read: %s", what, err.msg);
    } else if (now_s < times.begins_s || now_s > times.ends_s) {
        char at[CLOCK_RFC3339_MAX];
        bool early = now_s < times.begins_s;
        doctor_fail(d, check, advice, "%s %s %s", what, early ? "counts only from" : "has ended at",
                    clock_format_rfc3339((early ? times.begins_s : times.ends_s) * 1000000000, 0,
                                         at, sizeof at));
    } else if (times.ends_s - now_s < 7 * DAY_S) {
        doctor_warn(d, check, advice, "%s ends in %lld hours", what,
                    (long long)(times.ends_s - now_s) / 3600);
    } else {
        doctor_ok(d, check, "%s counts for %lld more days", what,
                  (long long)(times.ends_s - now_s) / DAY_S);
    }
}
