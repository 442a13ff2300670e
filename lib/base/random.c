// SPDX-License-Identifier: Apache-2.0
/* Randomness. The kernel's generator cannot fail once it is seeded; before that we wait. */
#include "base/random.h"

#include <errno.h>
#include <sys/random.h>

#include "base/mem.h"

void random_bytes(void *out, size_t len)
{
    char *at = out;
    while (len > 0) {
        ssize_t n = getrandom(at, len, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        REQUIRE(n > 0);
        at += n;
        len -= (size_t)n;
    }
}

uint64_t random_u64(void)
{
    uint64_t x;
    random_bytes(&x, sizeof(x));
    return x;
}

char *random_hex(char *buf, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint64_t x = random_u64();
        for (int k = 0; k < 16 && i < len; k++, x >>= 4) {
            buf[i++] = "0123456789abcdef"[x & 15];
        }
    }
    buf[len] = '\0';
    return buf;
}

uint64_t random_jitter_ms(uint64_t base_ms, unsigned percent)
{
    REQUIRE(percent <= 100 && base_ms < UINT64_MAX / 400);
    uint64_t span = base_ms * 2 * percent / 100;
    return base_ms - span / 2 + (span == 0 ? 0 : random_u64() % (span + 1));
}

void prng_init(struct prng *p)
{
    p->state = random_u64();
}

void prng_seed(struct prng *p, uint64_t seed)
{
    p->state = seed;
}

/* splitmix64 */
uint64_t prng_next(struct prng *p)
{
    uint64_t z = p->state += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

uint32_t prng_below(struct prng *p, uint32_t n)
{
    REQUIRE(n > 0);
    return (uint32_t)(((prng_next(p) >> 32) * n) >> 32);
}

double prng_double(struct prng *p)
{
    return (double)(prng_next(p) >> 11) * 0x1.0p-53;
}
