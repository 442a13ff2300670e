// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Requests in flight, weighted by time, over periods of one second. Pure: the caller brings the
 * clock. No timer: a period is closed by the first event or reading after it.
 */

#include "base/attr.h"

struct request_numbers {
    double concurrency;         /* average over the period */
    double proxied_concurrency; /* of these, through an activator */
    double count;               /* requests that arrived in it */
    double proxied_count;
};

struct request_stats {
    uint64_t started_ns;
    uint64_t period_ns; /* private: start of the open period */
    uint64_t change_ns; /* private: last change of the counts */
    double weight;      /* private: request-nanoseconds of the open period */
    double proxied_weight;
    uint32_t in_flight;
    uint32_t proxied_in_flight;
    uint64_t count; /* private: arrived in the open period */
    uint64_t proxied_count;
    double busy_s;               /* private: request-seconds of all closed periods */
    uint64_t total;              /* arrived ever */
    struct request_numbers last; /* private: the last closed period */
};

void request_stats_init(struct request_stats *s, uint64_t now_ns);
void request_stats_in(struct request_stats *s, uint64_t now_ns, bool proxied);
void request_stats_out(struct request_stats *s, uint64_t now_ns, bool proxied);
/* The last whole period before now. In the first second: what there is of it. */
struct request_numbers request_stats_read(struct request_stats *s, uint64_t now_ns);
/* Requests that were in flight, summed over time since the beginning: request-seconds. */
double request_stats_busy_s(struct request_stats *s, uint64_t now_ns);
