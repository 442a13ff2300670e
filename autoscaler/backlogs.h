// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How many events wait for each Revision, as the workers of lull-broker tell (serving/
 * backlog_report.h). Pure: time and bytes come in; owns the table.
 *
 * Workers share one Redis, so they count the same streams: the largest number counts, not the sum.
 * A worker whose last whole report is BACKLOGS_SILENCE_MS old does not count any more. When none
 * does, nothing is known: that is not zero. For BACKLOGS_FREEZE_MS more nothing should be taken
 * away because of it; then whoever counted on events has to be without them, or replicas of a
 * broker that was removed would stay for ever.
 */

#include "base/error.h"
#include "base/map.h"
#include "base/slice.h"

#define BACKLOGS_SILENCE_MS  10000u
#define BACKLOGS_FREEZE_MS   120000u
#define BACKLOGS_WORKERS_MAX 64
#define BACKLOGS_ENTRIES_MAX 200000 /* of one worker */

struct backlogs {
    struct map workers; /* private: name -> struct backlog_worker, owned */
    uint64_t last_ms;   /* private: last whole report of anyone, or the start */
    uint64_t reports;   /* whole ones, ever */
};

void backlogs_init(struct backlogs *b);
void backlogs_fini(struct backlogs *b);
/* Time counts from now on: whoever reports has had no chance before. */
void backlogs_begin(struct backlogs *b, uint64_t now_ms);

/* One frame. 1: it completed a report; 0: there is more to come, or it was left out (a part of an
 * older report). ERR_PROTOCOL, ERR_TOO_BIG, ERR_OVERLOAD: close the link. */
MUST_CHECK int backlogs_take(struct backlogs *b, struct slice payload, uint64_t now_ms,
                             struct error *err);

/* Somebody has told lately. */
bool backlogs_known(const struct backlogs *b, uint64_t now_ms);
/* Events that wait for the Revision, itself or as one of its Service's; -1: not known. */
double backlogs_waiting(const struct backlogs *b, struct slice ns, struct slice service,
                        struct slice revision, uint64_t now_ms);
/* Each "NS/SERVICE" or "NS/SERVICE/REVISION" that events wait for, as one worker tells; another may
 * tell of the same. False: nothing is known. */
bool backlogs_each(const struct backlogs *b, uint64_t now_ms,
                   void (*fn)(void *arg, struct slice key, double waiting), void *arg);
/* With nothing known: until when nothing should be taken away; may be past. */
uint64_t backlogs_freeze_until(const struct backlogs *b);
