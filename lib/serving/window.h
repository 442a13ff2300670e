// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A sliding window of one-second buckets, and its averages as Knative computes them. Also the
 * maximum over a sliding window, for the scale-down delay.
 * Pure: time is a number of seconds that the caller gives, of any origin, and it may go back by
 * less than the window. Owns the buckets, which are allocated when something other than zero is
 * recorded: a window that has only seen zeros costs no memory beyond the struct.
 */

#include "base/attr.h"

#define WINDOW_SECONDS_MAX 3600u
#define WINDOW_BACK        2 /* seconds that a window can be read back */

struct window {
    double *buckets;          /* private: owned ring, NULL while all of them are zero */
    double total;             /* private: sum of the buckets */
    int64_t first_write;      /* private: second of the first write since the window was empty */
    int64_t last_write;       /* private */
    uint32_t seconds;         /* length of the window = number of buckets */
    bool written;             /* private: something was recorded at all */
    double left[WINDOW_BACK]; /* private: the buckets that fell out last, the newest first */
    int64_t first_left;       /* private: the first write before the window last started over */
};

/* seconds: 1 … WINDOW_SECONDS_MAX. */
void window_init(struct window *w, uint32_t seconds);
/* Releases; a zeroed struct is fine. */
void window_fini(struct window *w);
/*
 * Changes the length and keeps the newest buckets that fit, when something was recorded in the
 * window that ends at `now`. As in the reference the whole old window then counts as seen.
 */
void window_resize(struct window *w, uint32_t seconds, int64_t now);

/*
 * Adds value to the bucket of `second`. One that has passed takes it in place, the window never
 * moves back; one that lies a whole window back is ignored.
 */
void window_record(struct window *w, int64_t second, double value);

/* Zeros up to `second` where nothing was recorded since the last write; never goes back. */
void window_touch(struct window *w, int64_t second);

/*
 * A window of zeros that is not touched for long: its memory is given back, and window_rested makes
 * of it what touches up to `second` would have.
 */
void window_rest(struct window *w);
void window_rested(struct window *w, int64_t second);
/* The same as window_touch for every second since the last write up to `second`. */
void window_pass(struct window *w, int64_t second);

/* Nothing was recorded in the window that ends at `second`: there is no average. */
bool window_empty(const struct window *w, int64_t second);

/* The last second with something other than zero in it; -1: there is none. */
int64_t window_last_value(const struct window *w);
/* What was recorded for that second. */
double window_at(const struct window *w, int64_t second);

/*
 * Linear average at `second`: the sum of the buckets in the window over the number of seconds
 * between the first and the last write (inclusive), at most the buckets that are still inside;
 * rounded to six decimals. 0 when the last write lies a whole window back.
 */
double window_average(const struct window *w, int64_t second);

/*
 * Exponentially weighted average at `second`: newer buckets weigh more; the weights of all
 * buckets add up to at least 0.9999.
 */
double window_weighted_average(const struct window *w, int64_t second);

/*
 * The two averages as they are at `second`, without what was recorded for a later one. At most
 * WINDOW_BACK seconds before the last write; an earlier second counts as that.
 */
double window_average_without_later(const struct window *w, int64_t second);
double window_weighted_average_without_later(const struct window *w, int64_t second);

/* --- maximum over a window, in steps --------------------------------------------------------- */

/* Owns its ring. A zeroed struct is valid and has no length: it answers the last value. */
struct window_max {
    int32_t *values;   /* private: maximum of each step */
    int64_t *steps;    /* private: which step a slot holds */
    uint32_t count;    /* private: slots */
    uint32_t step_s;   /* private: length of a step */
    uint32_t length_s; /* private: as asked for */
};

/* length_s 0 releases the ring. A changed length keeps what still fits. step_s at least 1. */
void window_max_resize(struct window_max *m, uint32_t length_s, uint32_t step_s);
void window_max_fini(struct window_max *m);
/* Records and returns the maximum of the steps in the window that ends at `second`. */
int32_t window_max_record(struct window_max *m, int64_t second, int32_t value);
/*
 * The last second at which a value greater than `above` still counts, or INT64_MIN: when
 * the maximum will have fallen to `above` or less if nothing greater comes.
 */
int64_t window_max_until(const struct window_max *m, int64_t second, int32_t above);
