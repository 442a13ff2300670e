// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Schedules as cron writes them, with the form and the words of the parser that Knative uses:
 *
 *     [second] minute hour day-of-month month day-of-week
 *     @yearly @annually @monthly @weekly @daily @midnight @hourly
 *
 * Each field is a list (,) of *, ?, N, N-M, each with /STEP perhaps (N/STEP: from N to the end);
 * months and days of the week have English names of three letters; 0 is Sunday. Where both the day
 * of the month and that of the week are restricted, either will do. `TZ=ZONE ` or `CRON_TZ=ZONE `
 * may stand before it.
 *
 * A schedule means every second of time whose reading on the clock of its zone matches: a reading
 * that the clock passes over (when it is put forward) is not a run, one that it shows twice is two.
 * Pure. Owns: nothing.
 */

#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"
#include "eventing/zone.h"

enum { CRON_TEXT_MAX = 1024 };

/* Bit n: n matches; the top bit of a day: it was *, without a step. */
struct cron {
    uint64_t second;
    uint64_t minute;
    uint64_t hour;
    uint64_t day;
    uint64_t month;
    uint64_t weekday;
};

/* Takes `TZ=ZONE ` or `CRON_TZ=ZONE ` off the text; the zone, empty when there is none. */
struct slice cron_take_zone(struct slice *text);

/* Without zone. ERR_INVALID in Knative's words. */
MUST_CHECK int cron_parse(struct slice text, struct cron *out, struct error *err);

/*
 * The first run after after_s (seconds since 1970). False: none within five years. Looks at most at
 * each day and each change of the zone's clock in that time.
 */
bool cron_next(const struct cron *cron, const struct zone *zone, int64_t after_s, int64_t *out_s);

/* The last run that is after from_s and not after to_s; false: there is none. */
bool cron_last(const struct cron *cron, const struct zone *zone, int64_t from_s, int64_t to_s,
               int64_t *out_s);
