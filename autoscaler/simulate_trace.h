// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The forms of recorded traffic, line by line (docs/simulate.md): the first line of a file says
 * which it is. Pure: lines in, records out through a callback. Owns what one file's lines need.
 */

#include "autoscaler/simulate_load.h"

#define TRACE_LINE_MAX (1u << 20) /* bytes */
#define TRACE_DAY_US   86400000000ull

enum trace_form {
    TRACE_REQUESTS,       /* lines of a request log: JSON, perhaps after a time */
    TRACE_RECORDED,       /* what the autoscaler has recorded */
    TRACE_AZURE_2021,     /* app,func,end_timestamp,duration */
    TRACE_AZURE_MINUTES,  /* Azure 2019: counts per minute */
    TRACE_AZURE_DURATION, /* Azure 2019: mean durations; read before the counts */
    TRACE_ARRIVALS,       /* TIMESTAMP,…: arrivals only */
};

struct trace {
    enum trace_form form;
    const char *function;  /* borrowed: name for lines that name none */
    uint64_t day;          /* of TRACE_AZURE_MINUTES, from 0 */
    uint64_t duration_us;  /* where nothing tells */
    struct map *durations; /* borrowed: function -> uint64_t, owned by the map's owner */
    uint64_t skipped;      /* lines that are no request */
    int (*emit)(void *arg, struct slice function, const struct load_record *record,
                struct error *err);
    void *arg;
};

/*
 * Tells the form by a file's first line and its name (its day: `.d01.`). ERR_INVALID: none that is
 * known. The line may have to be read with trace_line too: *out_header is false then.
 */
MUST_CHECK int trace_begin(struct trace *trace, const char *file, struct slice first,
                           bool *out_header, struct error *err);
/* One line without its end. */
MUST_CHECK int trace_line(struct trace *trace, struct slice line, struct error *err);
