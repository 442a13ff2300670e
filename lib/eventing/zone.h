// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Time zones: how much a zone's clock is ahead of UTC, and until when. Reads compiled zone files
 * (TZif, versions 1 to 4, with the rule at their end); zones with leap seconds are refused. UTC
 * needs no file. Owns: its tables. May not, but for zone_load: read files.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

#define ZONE_DIRECTORY "/usr/share/zoneinfo"

enum { ZONE_NAME_MAX = 64, ZONE_FILE_MAX = 64 << 10, ZONE_CHANGES_MAX = 2000 };

/* A day on which the clock changes every year, as POSIX' TZ has it. */
struct zone_day {
    enum { ZONE_DAY_WEEK, ZONE_DAY_JULIAN, ZONE_DAY_ZERO } form;
    int month; /* WEEK: 1 … 12 */
    int week;  /* WEEK: 1 … 5, 5: the last */
    int day;   /* WEEK: 0 Sunday … 6; JULIAN: 1 … 365 without February 29; ZERO: 0 … 365 */
    int32_t seconds; /* after midnight, by the clock before the change */
};

/* What holds after the last change in the file. */
struct zone_rule {
    bool is_there;
    bool has_summer;
    int32_t standard; /* seconds ahead of UTC */
    int32_t summer;
    struct zone_day begins; /* summer */
    struct zone_day ends;
};

/* A zeroed one is UTC. */
struct zone {
    int64_t *changes; /* seconds since 1970, ascending; owned */
    int32_t *offsets; /* from changes[i] on */
    size_t n;
    int32_t first; /* before all of them */
    struct zone_rule rule;
};

/* ERR_INVALID: no zone file, or more in it than there may be. */
MUST_CHECK int zone_parse(struct slice file, struct zone *out, struct error *err);
/*
 * By its name, from the system's files. "" and "Local": the zone of this process (TZ, else
 * /etc/localtime, else UTC); "UTC": without a file. ERR_NOT_FOUND, with Knative's words: unknown
 * time zone NAME.
 */
MUST_CHECK int zone_load(const char *name, struct zone *out, struct error *err);
/* Whether the system has zones at all. */
bool zone_files_there(void);
void zone_fini(struct zone *z);

/* Seconds that the clock is ahead of UTC at at_s, and until when: *until_s, INT64_MAX: for ever. */
int32_t zone_offset(const struct zone *z, int64_t at_s, int64_t *until_s);

/* Days since 1970-01-01 of a date, and back. */
int64_t zone_days_of(int64_t year, int month, int day);
void zone_date_of(int64_t days, int64_t *year, int *month, int *day);
