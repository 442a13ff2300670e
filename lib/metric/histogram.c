// SPDX-License-Identifier: Apache-2.0
/*
 * Values below 32 have a bucket each; above, the highest bit chooses the group and the next five
 * bits the bucket in it. A quantile answers with the largest value of its bucket, within min..max.
 */
#include "metric/histogram.h"

#include "base/mem.h"

#define SUB_BITS 5
#define SUB      (1u << SUB_BITS)
#define BUCKETS  ((64 - SUB_BITS + 1) * SUB)

static size_t bucket_of(uint64_t value)
{
    if (value < SUB) {
        return (size_t)value;
    }
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - SUB_BITS;
    return (size_t)(shift + 1) * SUB + (size_t)((value >> shift) & (SUB - 1));
}

static uint64_t bucket_top(size_t bucket)
{
    if (bucket < SUB) {
        return bucket;
    }
    unsigned shift = (unsigned)(bucket / SUB) - 1;
    uint64_t low = (uint64_t)(SUB + bucket % SUB) << shift;
    return low + (((uint64_t)1 << shift) - 1);
}

void histogram_record(struct histogram *h, uint64_t value)
{
    if (h->buckets == NULL) {
        h->buckets = xcalloc(BUCKETS, sizeof(*h->buckets));
    }
    h->buckets[bucket_of(value)]++;
    h->min = h->count == 0 || value < h->min ? value : h->min;
    h->max = value > h->max ? value : h->max;
    h->sum += value;
    h->count++;
}

uint64_t histogram_quantile(const struct histogram *h, double q)
{
    if (h->count == 0) {
        return 0;
    }
    q = q < 0 ? 0 : q > 1 ? 1 : q;
    double exact = q * (double)h->count;
    uint64_t rank = (uint64_t)exact;
    rank += (double)rank < exact || rank == 0 ? 1 : 0;
    uint64_t seen = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= rank) {
            uint64_t top = bucket_top(i);
            return top > h->max ? h->max : top < h->min ? h->min : top;
        }
    }
    return h->max;
}

double histogram_mean(const struct histogram *h)
{
    return h->count == 0 ? 0 : (double)h->sum / (double)h->count;
}

void histogram_merge(struct histogram *h, const struct histogram *from)
{
    if (from->count == 0) {
        return;
    }
    if (h->buckets == NULL) {
        h->buckets = xcalloc(BUCKETS, sizeof(*h->buckets));
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        h->buckets[i] += from->buckets[i];
    }
    h->min = h->count == 0 || from->min < h->min ? from->min : h->min;
    h->max = from->max > h->max ? from->max : h->max;
    h->sum += from->sum;
    h->count += from->count;
}

void histogram_reset(struct histogram *h)
{
    if (h->buckets != NULL) {
        memset(h->buckets, 0, BUCKETS * sizeof(*h->buckets));
    }
    h->count = h->sum = h->min = h->max = 0;
}

void histogram_fini(struct histogram *h)
{
    free(h->buckets);
    *h = (struct histogram){.buckets = NULL};
}
