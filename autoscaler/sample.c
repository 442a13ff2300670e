// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. The size is that of a sample for a 95 % confidence with a spread of 100 and an error of 25
 * out of a population of `ready`: it converges to 16.
 */
#include "autoscaler/sample.h"

#include <math.h>

uint32_t sample_size(uint32_t ready)
{
    if (ready <= 3) {
        return ready;
    }
    const double x = 1.96 * 1.96 * 100 / 25;
    double n = (double)ready;
    return (uint32_t)ceil(n * x / (n + x - 1));
}

static void shuffle(uint32_t *order, uint32_t count, struct prng *prng)
{
    for (uint32_t i = count; i > 1; i--) {
        uint32_t j = prng_below(prng, i);
        uint32_t kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
}

void sample_order(const bool *old, uint32_t count, struct prng *prng, uint32_t *out_order)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (old[i]) {
            out_order[n++] = i;
        }
    }
    shuffle(out_order, n, prng);
    uint32_t first_young = n;
    for (uint32_t i = 0; i < count; i++) {
        if (!old[i]) {
            out_order[n++] = i;
        }
    }
    shuffle(out_order + first_young, n - first_young, prng);
}

double sample_scale(double sum, uint32_t answers, uint32_t ready)
{
    return answers == 0 ? 0 : sum / (double)answers * (double)ready;
}
