// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Counts go into bins; with each one the verdict and the two percentiles are made anew, so
 * that reading them costs nothing. Failure modes: none; counts never overflow, they fade.
 */
#include "autoscaler/idle.h"

#include <math.h>

const char *idle_verdict_text(enum idle_verdict verdict)
{
#define VERDICT_TEXT(id, text) text,
    static const char *const texts[] = {IDLE_VERDICT_MAP(VERDICT_TEXT)};
#undef VERDICT_TEXT
    return verdict < IDLE_VERDICT_N ? texts[verdict] : "unknown";
}

void idle_init(struct idle *idle, uint32_t bin_ms)
{
    *idle = (struct idle){.bin_ms = bin_ms};
}

/* Standard deviation of the bins' counts over their mean. */
static double variation(const struct idle *idle)
{
    double squares = 0;
    for (uint32_t i = 0; i < IDLE_BINS; i++) {
        squares += (double)idle->bins[i] * idle->bins[i];
    }
    double mean = (double)idle->total / IDLE_BINS;
    return sqrt(fmax(0, squares / IDLE_BINS - mean * mean)) / mean;
}

/* The bin in which this share of the counts is reached. */
static uint32_t percentile(const struct idle *idle, uint32_t percent)
{
    uint64_t rank = ((uint64_t)idle->total * percent + 99) / 100;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < IDLE_BINS; i++) {
        seen += idle->bins[i];
        if (seen >= rank) {
            return i;
        }
    }
    return IDLE_BINS - 1;
}

static void judge(struct idle *idle)
{
    uint64_t bin_ms = idle->bin_ms;
    if (idle->total + idle->beyond < IDLE_LEAST) {
        idle->verdict = IDLE_LEARNING;
    } else if (idle->beyond >= idle->total) {
        idle->verdict = IDLE_BEYOND;
    } else {
        idle->head_ms = percentile(idle, 5) * bin_ms * 9 / 10;
        idle->tail_ms = (percentile(idle, 99) + 1) * bin_ms * 11 / 10;
        uint64_t span_ms = idle->tail_ms - idle->head_ms;
        bool wide = span_ms > IDLE_WIDE_BINS * bin_ms && span_ms > IDLE_WIDE_HEADS * idle->head_ms;
        idle->verdict = wide || variation(idle) < IDLE_SPREAD ? IDLE_EVEN : IDLE_PREDICTED;
    }
}

static void fade(struct idle *idle)
{
    idle->total = 0;
    for (uint32_t i = 0; i < IDLE_BINS; i++) {
        idle->bins[i] /= 2;
        idle->total += idle->bins[i];
    }
    idle->beyond /= 2;
}

void idle_add(struct idle *idle, uint64_t length_ms, uint32_t count)
{
    uint64_t bin = length_ms / idle->bin_ms;
    count = count < IDLE_COUNT_MAX ? count : IDLE_COUNT_MAX;
    if (bin < IDLE_BINS) {
        idle->bins[bin] = (uint16_t)(idle->bins[bin] + count);
        idle->total += count;
    } else {
        idle->beyond += count;
    }
    if ((bin < IDLE_BINS && idle->bins[bin] >= IDLE_COUNT_MAX) || idle->beyond >= IDLE_COUNT_MAX) {
        fade(idle);
    }
    idle->revised++;
    judge(idle);
}

void idle_traffic(struct idle *idle, uint64_t now_ms)
{
    if (idle->last_ms > 0 && now_ms <= idle->last_ms) {
        return;
    }
    if (idle->last_ms > 0 && now_ms - idle->last_ms >= IDLE_GAP_MS &&
        now_ms - idle->last_ms > idle->least_ms) {
        idle_add(idle, now_ms - idle->last_ms, 1);
    }
    idle->last_ms = now_ms;
}

struct idle_window idle_window(const struct idle *idle)
{
    struct idle_window w = {.verdict = idle->verdict};
    if (idle->last_ms == 0) {
        w.verdict = IDLE_LEARNING;
    }
    if (w.verdict == IDLE_PREDICTED) {
        w.from_ms = idle->last_ms + idle->head_ms;
        w.until_ms = idle->last_ms + idle->tail_ms;
    }
    return w;
}
