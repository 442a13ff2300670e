// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Randomness from the kernel, a small fast generator for choices, and jitter. */

#include "base/attr.h"

/* Fills from getrandom(2); ends the process if the kernel has none. */
void random_bytes(void *out, size_t len);
uint64_t random_u64(void);
/* len random hex characters plus NUL: buf of len + 1. Returns buf. */
char *random_hex(char *buf, size_t len);
/* base_ms spread evenly over base ± percent (0..100). */
uint64_t random_jitter_ms(uint64_t base_ms, unsigned percent);

/* Fast and not secret: picking a backend, sampling. */
struct prng {
    uint64_t state;
};
void prng_init(struct prng *p);                /* seeded from the kernel */
void prng_seed(struct prng *p, uint64_t seed); /* the same seed gives the same numbers */
uint64_t prng_next(struct prng *p);
/* 0 … n-1, without bias that matters; n > 0. */
uint32_t prng_below(struct prng *p, uint32_t n);
/* 0.0 … <1.0 */
double prng_double(struct prng *p);
