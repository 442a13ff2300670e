// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Counters, gauges and histograms in a registry that a component owns, and their text exposition
 * (Prometheus text format 0.0.4). Not thread-safe: one registry belongs to one loop.
 *
 *     struct metric_registry reg;  metric_registry_init(&reg);
 *     static const char *const labels[] = {"revision", "code", NULL};
 *     struct metric_family *f = metric_counter(&reg, "lull_requests_total", "Requests answered.",
 *                                              labels);
 *     struct metric *m = metric_with(f, (const char *[]){"a", "200"});   keep the pointer
 *     metric_add(m, 1);
 *     metric_expose(&reg, &out, &err);
 */

#include "base/error.h"
#include "base/list.h"
#include "base/strbuf.h"

struct metric;        /* one series; valid until it is removed or the registry ends */
struct metric_family; /* all series of one name */

struct metric_registry {
    struct list families; /* private */
    struct list hooks;    /* private */
};

/* Most series of one family; one more series "other" takes what does not fit. */
#define METRIC_SERIES_MAX 20000

void metric_registry_init(struct metric_registry *reg);
/* Releases all families and series. */
void metric_registry_fini(struct metric_registry *reg);

/*
 * Families. Names and help are static text; labels is a NULL-terminated static list or NULL. A name
 * that is taken or not valid is a programmer's error.
 */
struct metric_family *metric_counter(struct metric_registry *reg, const char *name,
                                     const char *help, const char *const *labels);
struct metric_family *metric_gauge(struct metric_registry *reg, const char *name, const char *help,
                                   const char *const *labels);
/* bounds: count upper bounds, ascending, without +Inf; static. */
struct metric_family *metric_histogram(struct metric_registry *reg, const char *name,
                                       const char *help, const char *const *labels,
                                       const double *bounds, size_t count);

/* Seconds, from 1 ms to 60 s: for request durations. */
extern const double metric_seconds_bounds[14];
#define METRIC_SECONDS metric_seconds_bounds, ARRAY_LEN(metric_seconds_bounds)

/* The series with these label values (one per label, in order; NULL without labels); made at need.
 */
struct metric *metric_with(struct metric_family *family, const char *const *values);
/* Removes the series, if it is there: its pointer is gone. */
void metric_remove(struct metric_family *family, const char *const *values);

void metric_add(struct metric *m, double by);        /* counter (by >= 0) or gauge */
void metric_set(struct metric *m, double value);     /* gauge */
void metric_observe(struct metric *m, double value); /* histogram */
double metric_value(const struct metric *m);         /* counter, gauge; count of a histogram */

/* Runs before each exposition: the owner sets its gauges there. */
struct metric_hook {
    struct list link; /* private */
    void (*cb)(void *data);
    void *data;
};
void metric_on_expose(struct metric_registry *reg, struct metric_hook *hook, void (*cb)(void *),
                      void *data);

/* Appends the text. ERR_TOO_BIG when out is full. */
MUST_CHECK int metric_expose(struct metric_registry *reg, struct strbuf *out, struct error *err);
#define METRIC_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
