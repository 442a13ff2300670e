// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What is counted per revision, and the phases of cold starts. Pure; plain sums, so that the pages
 * of several workers can be added up.
 *
 * A revision gets its memory (sizeof(struct revision_numbers)) with its first request and keeps it
 * until it is forgotten. Only so many revisions are counted apart; the others share one, shown
 * under the name "other".
 */

#include "base/strbuf.h"
#include "metric/buckets.h"

struct revision;
struct throttler;

struct revision_numbers {
    struct metric_buckets duration; /* admission to the end of the answer */
    uint64_t codes[6];              /* answers by first digit; [0]: client gone, broken off */
};

/* When the steps of a revision's last cold start were seen; 0: not (yet). */
struct cold_marks {
    uint64_t decided_ns; /* the autoscaler said that it decided */
    uint64_t started_ns; /* a Pod of it runs */
    uint64_t ready_ns;   /* a replica of it may take requests */
};

/*
 * The way of one request that was held: queue is all of its wait; decide, start and probe are the
 * parts of it that the cold start took, from the request's arrival on; proxy is from its slot to
 * the head of the answer.
 */
enum phase { PHASE_QUEUE, PHASE_DECIDE, PHASE_START, PHASE_PROBE, PHASE_PROXY, PHASE_N };

struct phases {
    uint64_t ns[PHASE_N];
    bool cold; /* decide, start and probe are known: it waited for a replica to become ready */
};

struct numbers {
    uint32_t max;     /* most revisions that are counted apart */
    uint32_t counted; /* private: how many are */
    struct revision_numbers other;
    struct metric_buckets cold[PHASE_N]; /* of cold requests */
};

/* The first of the steps of a cold start counts; one that is known is not moved. */
void cold_mark(uint64_t *mark, uint64_t now_ns);

/* A request of r comes: r is counted apart from now on, if there is room for one more. */
void numbers_begin(struct numbers *n, struct revision *r);
/* One request of r came to its end with this status (0: none reached the client). */
void numbers_record(struct numbers *n, struct revision *r, int status, uint64_t ns);
/* r is about to be freed. */
void numbers_forget(struct numbers *n, struct revision *r);

/* Requires enter <= granted <= answered. */
void phases_of(const struct cold_marks *marks, uint64_t enter_ns, uint64_t granted_ns,
               uint64_t answered_ns, struct phases *out);
void numbers_record_cold(struct numbers *n, const struct phases *phases);
/* The value of Server-Timing, milliseconds; at most PHASES_TEXT_MAX bytes with the NUL. */
#define PHASES_TEXT_MAX 160
void phases_text(const struct phases *phases, char *buf, size_t size);

/* Appends the metrics of all revisions, and of cold starts. */
void numbers_write(const struct numbers *n, const struct throttler *t, uint64_t now_ns,
                   struct strbuf *out);
