// SPDX-License-Identifier: Apache-2.0
// Input: a letter, then the file of a time zone (z), or a schedule and after a zero byte perhaps
// such a file (c). Whatever it is: what is refused has a reason, times are found in bounded time,
// in order and with the reading that the schedule asks for, and clocks change in order.

#include "base/mem.h"
#include "eventing/cron.h"
#include "fuzz.h"

static void look_at_zone(const struct zone *zone)
{
    int64_t at = INT64_C(-5000000000), until = 0;
    for (int i = 0; i < 3000 && at < INT64_C(20000000000); i++) {
        int32_t ahead = zone_offset(zone, at, &until);
        MUST_HOLD(ahead >= -26 * 3600 && ahead <= 26 * 3600 && until > at);
        at = until;
    }
}

static void look_at_runs(const struct cron *cron, const struct zone *zone)
{
    int64_t at = 1700000000, next = 0, last = 0, until = 0;
    for (int i = 0; i < 5 && cron_next(cron, zone, at, &next); i++) {
        int64_t reading = next + zone_offset(zone, next, &until);
        MUST_HOLD(next > at);
        MUST_HOLD((cron->second >> (reading % 60) & 1) != 0);
        MUST_HOLD((cron->minute >> (reading / 60 % 60) & 1) != 0);
        MUST_HOLD((cron->hour >> (reading / 3600 % 24) & 1) != 0);
        MUST_HOLD(cron_last(cron, zone, at, next, &last) && last == next);
        at = next;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = {0};
    struct zone zone = {0};
    struct cron cron;
    if (size < 2) {
        return 0;
    }
    struct slice text = {(const char *)data + 1, size - 1};
    ptrdiff_t end = slice_find(text, '\0');
    struct slice file = SLICE_EMPTY;
    if (data[0] == 'z') {
        file = text;
    } else if (end >= 0) {
        file = slice_sub(text, (size_t)end + 1, text.len - (size_t)end - 1);
        text = slice_sub(text, 0, (size_t)end);
    }
    if (file.len > 0 && zone_parse(file, &zone, &err) < 0) {
        MUST_HOLD(err.msg[0] != '\0' && zone.n == 0 && zone.changes == NULL);
    }
    look_at_zone(&zone);
    if (data[0] != 'z') {
        (void)cron_take_zone(&text);
        if (cron_parse(text, &cron, &err) == 0) {
            look_at_runs(&cron, &zone);
        } else {
            MUST_HOLD(err.msg[0] != '\0');
        }
    }
    zone_fini(&zone);
    return 0;
}
