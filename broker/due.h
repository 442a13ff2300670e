// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * When a schedule's next run is due by a wall clock that may jump. Pure: the time comes in.
 *
 * Runs that the clock passed over are missed as if nobody had been there: the last of them counts
 * when it is not older than grace_s. A clock that was put back makes what is known be asked for
 * again (by cron.c, in Redis), which says from when on runs count.
 */

#include <stdint.h>

#include "eventing/cron.h"

struct due_rules {
    const struct cron *cron;
    const struct zone *zone;
    int64_t grace_s; /* how old a missed run may be */
};

struct due {
    bool known;      /* from when on runs count */
    int64_t next_s;  /* INT64_MAX: never */
    int64_t wall_ms; /* private: the clock when it was looked at last */
};

/* Zeroed is not enough: nothing is due before this. Also for a new schedule. */
void due_forget(struct due *d);
/*
 * The clock now, first of all in each tick. asking: an answer that was asked for by an earlier
 * clock is still to come; a jump is seen after it. True: the clock was put back, and what was known
 * counts no more.
 */
bool due_clock(struct due *d, int64_t now_ms, bool asking);
/* Runs after from_ms count; one of them that was missed is due now. */
void due_from(struct due *d, const struct due_rules *r, int64_t from_ms, int64_t now_s);
/* Whether the run at next_s is to be written now; next_s is the last one of several. */
bool due_now(struct due *d, const struct due_rules *r, int64_t now_s);
/* The run at next_s is done with. */
void due_done(struct due *d, const struct due_rules *r, int64_t now_s);
