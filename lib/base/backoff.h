// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Exponential back-off with jitter. Pure but for the jitter.
 *     struct backoff b; backoff_init(&b, 50, 5000);
 *     on failure: timer_start(…, backoff_next_ms(&b)); on success: backoff_reset(&b);
 */

#include "base/attr.h"

struct backoff {
    uint64_t min_ms;  /* first delay */
    uint64_t max_ms;  /* largest delay */
    uint64_t next_ms; /* private: delay before jitter that comes next */
};

void backoff_init(struct backoff *b, uint64_t min_ms, uint64_t max_ms);
void backoff_reset(struct backoff *b);
/* The delay to wait now (±20 %), doubled the next time up to max. */
uint64_t backoff_next_ms(struct backoff *b);
