// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the stat link carries, as bytes: HELLO, STATS (in parts) and POKE. Pure; the link itself is
 * activator/reporter's.
 *
 * All parts of one sequence number are one report: a revision that is absent from it is at 0.
 */

#include "activator/throttler.h"

#define REPORT_PART_BYTES 32768 /* messages of one part; a part may end a little later */

struct report_source {
    const char *name; /* of this activator */
    double uptime_s;  /* of this process */
    uint64_t seq;     /* of the report */
    uint64_t now_ns;
};

/* One frame's payload, borrowed until return. */
typedef void (*report_part_cb)(void *arg, struct slice payload);

/* Closes the period of every revision and gives the parts of the report, at least one. */
void report_stats(struct throttler *t, const struct report_source *source, report_part_cb cb,
                  void *arg);
/* Appends the payload of a POKE for one revision: its requests, as concurrency and as count. */
void report_poke(const struct revision *r, const struct report_source *source, struct strbuf *out);
/* Appends the payload of HELLO. */
/* A NOTE of the autoscaler: "decided" is kept for the phases of the cold start. */
void report_note(struct throttler *t, struct slice payload, uint64_t now_ns);
void report_hello(const char *name, const char *boot, struct strbuf *out);
