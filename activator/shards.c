// SPDX-License-Identifier: Apache-2.0
/* Plan: the highest score of (shard, revision) wins; every shard reckons the same way. */
#include "activator/shards.h"

#include "base/map.h"
#include "base/mem.h"

#define OUT_MAX (32u << 20)

/* Every shard of every release has to come to the same result: fixed, not secret. */
static const uint64_t seed[2] = {0x6c756c6c20736861ULL, 0x72647320763100ULL};

static uint64_t score(uint64_t shard, uint64_t revision)
{
    uint64_t x = shard ^ revision; /* splitmix64 */
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

void shards_init(struct shards *s, const char *self)
{
    *s = (struct shards){.self = xstrdup(self), .self_hash = map_hash(seed, slice_str(self))};
    list_init(&s->all);
}

void shards_fini(struct shards *s)
{
    struct list *node;
    while (s->self != NULL && (node = list_pop_front(&s->all)) != NULL) {
        struct shard *shard = LIST_ENTRY(node, struct shard, link);
        ops_fini(&shard->out);
        free(shard->id);
        free(shard);
    }
    free(s->self);
    s->self = NULL;
}

struct shard *shards_put(struct shards *s, struct slice id)
{
    if (slice_eq_str(id, s->self)) {
        return NULL;
    }
    list_foreach (node, &s->all) {
        struct shard *shard = LIST_ENTRY(node, struct shard, link);
        if (slice_eq_str(id, shard->id)) {
            return shard;
        }
    }
    struct shard *shard = NEW(struct shard);
    shard->id = slice_dup(id);
    shard->hash = map_hash(seed, id);
    list_init(&shard->loans);
    ops_init(&shard->out, OUT_MAX);
    list_push_back(&s->all, &shard->link);
    return shard;
}

struct shard *shards_owner(const struct shards *s, struct slice revision)
{
    struct shard *best = NULL;
    uint64_t key = map_hash(seed, revision);
    bool self = !s->leaving;
    uint64_t most = self ? score(s->self_hash, key) : 0;
    list_foreach (node, &s->all) {
        struct shard *shard = LIST_ENTRY(node, struct shard, link);
        uint64_t points = shard->up ? score(shard->hash, key) : 0;
        if (shard->up && (points > most || (best == NULL && !self))) {
            best = shard;
            most = points;
        }
    }
    return best;
}

unsigned shards_up(const struct shards *s)
{
    unsigned n = 0;
    list_foreach (node, &s->all) {
        n += LIST_ENTRY(node, struct shard, link)->up ? 1 : 0;
    }
    return n;
}
