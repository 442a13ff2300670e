// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which replicas to ask, and what their answers say about all of them, as Knative samples. Pure.
 */

#include "base/attr.h"
#include "base/random.h"
#include "serving/stat.h"

/* How many of `ready` replicas are asked: all up to three, then a sample that grows to 16. */
uint32_t sample_size(uint32_t ready);

/*
 * Puts candidates (indices 0 … count-1) into the order in which they are asked: those older than
 * the stable window first, each group shuffled. old says of each whether it is.
 */
void sample_order(const bool *old, uint32_t count, struct prng *prng, uint32_t *out_order);

/* Answers of some replicas, of which there are `ready`. */
struct sample_sum {
    uint32_t answers;
    double concurrency;
    double proxied_concurrency;
    double rps;
    double proxied_rps;
};

/* One answer. What came through activators is never more than all: it takes nothing from others. */
void sample_add(struct sample_sum *sum, const struct stat_sample *answer);

/*
 * For all replicas, of which `ready` are there: the mean of the answers times their number, without
 * what the activators count themselves. Zero without an answer.
 */
void sample_scale(const struct sample_sum *sum, uint32_t ready, double *out_concurrency,
                  double *out_rps);
