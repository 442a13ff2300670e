// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Log-linear histogram of whole numbers (microseconds, bytes): 32 buckets per power of two, so a
 * quantile is at most 3.2 % too high. 7.5 KiB, allocated with the first value. A zeroed struct is
 * empty and valid.
 */

#include "base/attr.h"

struct histogram {
    uint32_t *buckets; /* private */
    uint64_t count;
    uint64_t sum;
    uint64_t min; /* of the values; 0 when empty */
    uint64_t max;
};

void histogram_record(struct histogram *h, uint64_t value);
/* The value below or at which a share q (0..1) of the values lies; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *h, double q);
double histogram_mean(const struct histogram *h);
/* Adds the values of `from`. */
void histogram_merge(struct histogram *h, const struct histogram *from);
/* Empties it, keeps the memory. */
void histogram_reset(struct histogram *h);
void histogram_fini(struct histogram *h);
