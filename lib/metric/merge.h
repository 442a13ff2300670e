// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Adds up the pages (Prometheus text) of several processes that do one job, series by series.
 * Pure. Owns what it has read.
 *
 *     struct metric_merge m;  metric_merge_init(&m, NULL);
 *     metric_merge_add(&m, page_of_one, METRIC_MERGE_ALL);
 *     metric_merge_write(&m, &out);
 *     metric_merge_fini(&m);
 *
 * Counters and histograms are sums. A gauge is a sum too, unless `rule` says that it is the same
 * fact seen by each (largest), or a promise that holds when all keep it (smallest).
 */

#include "base/map.h"
#include "base/strbuf.h"

enum metric_merge_how { METRIC_MERGE_SUM, METRIC_MERGE_MAX, METRIC_MERGE_MIN };
/* How the gauge of this name is put together. */
typedef enum metric_merge_how (*metric_merge_rule)(struct slice name);

enum metric_merge_what {
    METRIC_MERGE_ALL,
    METRIC_MERGE_TOTALS, /* counters and histograms only: of a process that has ended */
};

struct metric_merge {
    struct map families; /* private: name -> struct family, owned */
    metric_merge_rule rule;
};

/* rule NULL: every gauge is a sum. */
void metric_merge_init(struct metric_merge *m, metric_merge_rule rule);
/* Lines that are no metrics are left out. */
void metric_merge_add(struct metric_merge *m, struct slice page, enum metric_merge_what what);
/* Appends the text; a page that does not fit leaves out failed. */
void metric_merge_write(const struct metric_merge *m, struct strbuf *out);
/* A zeroed one is fine. */
void metric_merge_fini(struct metric_merge *m);
