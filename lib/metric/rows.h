// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Numbers of a plain struct as metrics: a row names a uint64_t member. The hot path adds to the
 * member and nothing else; the page is written from the rows, and the numbers of several workers
 * are added up by them. Owns nothing.
 *
 *     static const struct metric_row rows[] = {
 *         METRIC_COUNTER(struct x_counters, requests, "lull_x_requests_total", "Requests."),
 *         METRIC_GAUGE(struct x_counters, held, "lull_x_held", "Requests that wait now."),
 *     };
 *     metric_rows_write(rows, ARRAY_LEN(rows), &counters, &out);
 */

#include "base/strbuf.h"

struct metric_row {
    const char *name;
    const char *help;
    bool gauge;
    size_t offset; /* of a uint64_t */
};

#define METRIC_COUNTER(strct, member, name_text, help_text)                         \
    {                                                                               \
        .name = (name_text), .help = (help_text), .offset = offsetof(strct, member) \
    }
#define METRIC_GAUGE(strct, member, name_text, help_text)                                          \
    {                                                                                              \
        .name = (name_text), .help = (help_text), .gauge = true, .offset = offsetof(strct, member) \
    }

/* Appends HELP, TYPE and value of every row. */
void metric_rows_write(const struct metric_row *rows, size_t count, const void *base,
                       struct strbuf *out);
/* Adds every number of `from` to that of `to`. */
void metric_rows_add(const struct metric_row *rows, size_t count, void *to, const void *from);

/* HELP and TYPE of one metric; type is "counter", "gauge" or "histogram". */
void metric_write_head(struct strbuf *out, const char *type, const char *name, const char *help);
/* HELP, TYPE and value of one metric without labels. */
void metric_write_number(struct strbuf *out, const char *type, const char *name, const char *help,
                         uint64_t value);
