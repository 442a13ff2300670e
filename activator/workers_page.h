// SPDX-License-Identifier: Apache-2.0
#pragma once

/* One page from the same page of several workers. Pure. */

#include "metric/merge.h"

struct worker_answer {
    unsigned index;
    int status; /* 0: did not answer */
    const char *type;
    struct slice page;
};

/* How the gauges of the activator's /metrics are put together. */
enum metric_merge_how workers_page_rule(struct slice name);

/*
 * Metrics are added up (with `retired`, the totals of workers that have ended). JSON objects:
 * numbers are added up, and "workers" has each whole. Other text: one after the other. When none
 * answered with 200 the first other answer stands for all; no answer at all is 503.
 * Returns the status; *out_type is static or borrowed from an answer.
 */
int workers_page(const struct worker_answer *answers, size_t count,
                 const struct metric_merge *retired, const char **out_type, struct strbuf *out);
