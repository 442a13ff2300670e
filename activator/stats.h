// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Time-weighted concurrency and request count of one revision, between two reports. Pure.
 *
 * A request counts from the moment it is admitted (held or forwarded) to the moment it is over.
 *     stat_meter_enter(&m, now); … stat_meter_leave(&m, now); … stat_meter_report(&m, now, &r);
 * A zeroed meter is valid once its first call gave it a time.
 */

#include "base/attr.h"

struct stat_report {
    double concurrency; /* average over the period */
    double count;       /* requests that entered in the period */
    double rate;        /* the same per second */
};

struct stat_meter {
    uint64_t since_ns;       /* private: start of the period */
    uint64_t last_ns;        /* private: until when `area` is summed */
    uint64_t area;           /* private: concurrency × nanoseconds */
    uint64_t count;          /* private: requests that entered in this period */
    uint64_t total;          /* requests that entered, ever */
    double busy_s;           /* private: concurrency × seconds of all closed periods */
    uint32_t now;            /* requests that are in right now */
    struct stat_report last; /* of the last closed period */
};

/* Time never runs backwards here: an older now_ns counts as the last one seen. */
void stat_meter_enter(struct stat_meter *m, uint64_t now_ns);
/* Requires a matching enter. */
void stat_meter_leave(struct stat_meter *m, uint64_t now_ns);
/* Closes the period and starts the next. */
void stat_meter_report(struct stat_meter *m, uint64_t now_ns, struct stat_report *out);
/* Requests that were in, summed over time since the beginning: request-seconds. */
double stat_meter_busy_s(const struct stat_meter *m, uint64_t now_ns);
