// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Traffic made up from a seed: functions whose rates, patterns and durations are spread as
 * published of Azure Functions (docs/simulate.md has the numbers and where they are from); or a
 * dense load of one rate, for measuring. The same seed gives the same traffic. Pure, owns nothing.
 */

#include "base/random.h"

#define SYNTHETIC_TABLE 1024u

struct synthetic_options {
    uint64_t seed;
    uint64_t span_us;  /* how long */
    double dense_rate; /* above 0: each function gets so many a second, evenly random */
};

enum synthetic_pattern {
    SYNTHETIC_TIMER,   /* one period, to the second */
    SYNTHETIC_REGULAR, /* one period, give or take */
    SYNTHETIC_RANDOM,  /* Poisson */
    SYNTHETIC_BURSTS,  /* crowds, and long silence in between */
};

/* One function's traffic. */
struct synthetic {
    struct prng prng; /* private, like the rest */
    enum synthetic_pattern pattern;
    uint64_t span_us;
    double gap_us;                    /* mean time between requests */
    double at_us;                     /* of the next request */
    double spread;                    /* of REGULAR: share of the gap */
    double burst;                     /* of BURSTS: mean number in one */
    double burst_us;                  /* … and the mean gap within it */
    double left;                      /* of this burst */
    float durations[SYNTHETIC_TABLE]; /* microseconds: equally likely ones */
};

/* Function number `function` of a load of any number of them. */
void synthetic_begin(struct synthetic *s, const struct synthetic_options *options,
                     uint64_t function);
/* False: the span is over. */
bool synthetic_next(struct synthetic *s, uint64_t *out_at_us, uint64_t *out_duration_us);
