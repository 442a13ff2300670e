// SPDX-License-Identifier: Apache-2.0
#include "base/backoff.h"

#include "base/mem.h"
#include "base/random.h"

void backoff_init(struct backoff *b, uint64_t min_ms, uint64_t max_ms)
{
    REQUIRE(min_ms > 0 && min_ms <= max_ms);
    *b = (struct backoff){.min_ms = min_ms, .max_ms = max_ms, .next_ms = min_ms};
}

void backoff_reset(struct backoff *b)
{
    b->next_ms = b->min_ms;
}

uint64_t backoff_next_ms(struct backoff *b)
{
    uint64_t now = b->next_ms;
    b->next_ms = now > b->max_ms / 2 ? b->max_ms : now * 2;
    return random_jitter_ms(now, 20);
}
