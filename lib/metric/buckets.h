// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A histogram of durations as plain memory: fixed bounds (those of METRIC_SECONDS), no pointer, no
 * allocation. A zeroed one is empty. Two are added up member by member; 128 bytes.
 *
 *     metric_buckets_observe(&r->duration, now_ns - then_ns);
 *     metric_write_head(out, "histogram", "x_seconds", "…");
 *     metric_buckets_write(&r->duration, "x_seconds", "revision=\"a\"", out);
 */

#include "base/strbuf.h"

#define METRIC_BUCKETS 14

struct metric_buckets {
    uint64_t sum_ns;
    uint64_t counts[METRIC_BUCKETS + 1]; /* per bound, not added up; the last: above all */
};

void metric_buckets_observe(struct metric_buckets *b, uint64_t ns);
uint64_t metric_buckets_count(const struct metric_buckets *b);
void metric_buckets_add(struct metric_buckets *to, const struct metric_buckets *from);
/* The lines _bucket, _sum and _count; labels as they are exposed, "" for none. */
void metric_buckets_write(const struct metric_buckets *b, const char *name, const char *labels,
                          struct strbuf *out);

/* Appends `name="value"` with the value escaped; first: no comma before it. */
void metric_write_label(struct strbuf *out, bool first, const char *name, struct slice value);
