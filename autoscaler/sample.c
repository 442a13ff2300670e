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
    const double x = 15.3664; /* 1.96 * 1.96 * 100 / 25 */
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

void sample_add(struct sample_sum *sum, const struct stat_sample *answer)
{
    sum->answers++;
    sum->concurrency += answer->concurrency;
    sum->proxied_concurrency += fmin(answer->proxied_concurrency, answer->concurrency);
    sum->rps += answer->request_count;
    sum->proxied_rps += fmin(answer->proxied_request_count, answer->request_count);
}

void sample_scale(const struct sample_sum *sum, uint32_t ready, double *out_concurrency,
                  double *out_rps)
{
    double n = sum->answers;
    double all = ready;
    *out_concurrency = 0;
    *out_rps = 0;
    if (sum->answers > 0) {
        /* In this order in the reference: results agree to the bit. */
        *out_concurrency = sum->concurrency / n * all - sum->proxied_concurrency / n * all;
        *out_rps = sum->rps / n * all - sum->proxied_rps / n * all;
    }
}
