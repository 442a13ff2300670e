// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a revision's idle times were, and when it should be warm because of them: the hybrid
 * histogram policy of Shahrad et al., "Serverless in the Wild" (USENIX ATC 2020), without its time
 * series. An idle time lasts from the last traffic to the next; they are counted in bins of equal
 * width. When the counts stand out from an even spread, the next traffic is expected between the
 * 5th percentile (rounded down, less a tenth) and the 99th (rounded up, a tenth more) after the
 * last; before that no replica is needed, and after it none is kept. Also times that somebody has
 * announced. Pure: time comes in as an argument, milliseconds of any origin. Owns nothing.
 */

#include "base/attr.h"

#define IDLE_BINS       240u
#define IDLE_BIN_MS     60000u /* width of a bin unless said otherwise: four hours in all */
#define IDLE_BIN_MIN_MS 1000u
#define IDLE_BIN_MAX_MS 600000u
/* Traffic is heard of once a second: a shorter gap is none. */
#define IDLE_GAP_MS 2000u
/* Fewer idle times tell nothing. */
#define IDLE_LEAST 5u
/* The coefficient of variation of the bins from which on they stand out. */
#define IDLE_SPREAD 2.0
/* A span of more bins than this, and more than so many times what lies before it, foretells little:
 * a replica would be there nearly always. Ours, as is IDLE_LEAST; the rest is the paper's. */
#define IDLE_WIDE_BINS  120u
#define IDLE_WIDE_HEADS 3u
/* Counts are halved when one is as large as this: what is long ago fades. */
#define IDLE_COUNT_MAX 10000u

/* X(enum, text): what the idle times allow to say. */
#define IDLE_VERDICT_MAP(X)                                                                  \
    X(IDLE_LEARNING, "learning")    /* too few of them */                                    \
    X(IDLE_BEYOND, "beyond")        /* most are longer than all bins */                      \
    X(IDLE_EVEN, "not-predictable") /* spread too evenly or too far to stand for anything */ \
    X(IDLE_PREDICTED, "predicted")

#define IDLE_VERDICT_ENUM(id, text) id,
enum idle_verdict { IDLE_VERDICT_MAP(IDLE_VERDICT_ENUM) IDLE_VERDICT_N };
#undef IDLE_VERDICT_ENUM

const char *idle_verdict_text(enum idle_verdict verdict);

struct idle {
    uint32_t bin_ms;
    uint32_t least_ms; /* idle times up to this are not counted: a replica is there anyway */
    uint16_t bins[IDLE_BINS];
    uint32_t total;   /* sum of the bins */
    uint32_t beyond;  /* idle times longer than all bins */
    uint64_t last_ms; /* last traffic; 0: none yet */
    int64_t wall_ms;  /* add to a time for the wall's; the owner's, for what is written down */
    uint32_t revised; /* goes up with every idle time that was counted */
    uint32_t saved;   /* the owner's: what `revised` was when it was written down */
    /* Made of the counts; private. */
    enum idle_verdict verdict;
    uint64_t head_ms;
    uint64_t tail_ms;
};

/* When it should be warm. */
struct idle_window {
    enum idle_verdict verdict; /* IDLE_PREDICTED: from and until mean something */
    uint64_t from_ms;          /* not needed before; last_ms when it should stay warm all along */
    uint64_t until_ms;
};

/* bin_ms: IDLE_BIN_MIN_MS … IDLE_BIN_MAX_MS. */
void idle_init(struct idle *idle, uint32_t bin_ms);
/* There is traffic now; time never goes back by much: what lies before the last is ignored. */
void idle_traffic(struct idle *idle, uint64_t now_ms);
/* Adds `count` idle times of that length. */
void idle_add(struct idle *idle, uint64_t length_ms, uint32_t count);
struct idle_window idle_window(const struct idle *idle);
