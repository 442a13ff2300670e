// SPDX-License-Identifier: Apache-2.0
/*
 * Hash map: a compact array of entries in order of insertion, and an open-addressed index into it.
 *
 * Happy path: hash, probe the index linearly, compare hash then bytes. Removal leaves a hole in
 * the array and a tombstone in the index; both go when the table is rebuilt, which happens only
 * in map_set. So a walk over the array survives removals.
 * Failure modes: none; memory of this size does not fail (base/mem.h).
 */
#include "base/map.h"

#include "base/mem.h"
#include "base/random.h"

#define SLOT_EMPTY   0u
#define SLOT_DELETED UINT32_MAX
#define NO_SLOT      UINT32_MAX

struct map_entry {
    void *value; /* NULL: a hole */
    const char *key;
    uint32_t key_len;
    uint32_t hash;
};

static uint64_t rotl(uint64_t x, int n)
{
    return (x << n) | (x >> (64 - n));
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

uint64_t map_hash(const uint64_t seed[2], struct slice key)
{
    uint64_t v[4] = {seed[0] ^ 0x736f6d6570736575ull, seed[1] ^ 0x646f72616e646f6dull,
                     seed[0] ^ 0x6c7967656e657261ull, seed[1] ^ 0x7465646279746573ull};
    size_t i = 0;
    for (; i + 8 <= key.len; i += 8) {
        uint64_t word;
        memcpy(&word, key.ptr + i, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)key.len << 56;
    for (size_t shift = 0; i < key.len; i++, shift += 8) {
        last |= (uint64_t)(unsigned char)key.ptr[i] << shift;
    }
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void map_init(struct map *m, enum map_keys keys)
{
    *m = (struct map){.keys = keys};
    random_bytes(m->seed, sizeof(m->seed));
}

static void free_key(const struct map *m, struct map_entry *e)
{
    if (m->keys == MAP_COPY_KEYS) {
        free((char *)(uintptr_t)e->key);
    }
    e->key = NULL;
}

void map_clear(struct map *m)
{
    for (uint32_t i = 0; i < m->used; i++) {
        if (m->entries[i].value != NULL) {
            free_key(m, &m->entries[i]);
        }
    }
    free(m->entries);
    free(m->index);
    m->entries = NULL;
    m->index = NULL;
    m->slots = m->used = m->cap = m->len = 0;
}

void map_fini(struct map *m)
{
    map_clear(m);
}

static uint32_t find_slot(const struct map *m, struct slice key, uint32_t hash)
{
    if (m->slots == 0) {
        return NO_SLOT;
    }
    for (uint32_t slot = hash & (m->slots - 1);; slot = (slot + 1) & (m->slots - 1)) {
        uint32_t at = m->index[slot];
        if (at == SLOT_EMPTY) {
            return NO_SLOT;
        }
        if (at == SLOT_DELETED) {
            continue;
        }
        const struct map_entry *e = &m->entries[at - 1];
        if (e->hash == hash && slice_eq(slice_of(e->key, e->key_len), key)) {
            return slot;
        }
    }
}

static void index_put(struct map *m, uint32_t entry)
{
    uint32_t slot = m->entries[entry].hash & (m->slots - 1);
    while (m->index[slot] != SLOT_EMPTY) {
        slot = (slot + 1) & (m->slots - 1);
    }
    m->index[slot] = entry + 1;
}

/* Room for one more entry: drops holes, and doubles when little would be gained by that. */
static void rebuild(struct map *m)
{
    uint32_t cap = m->len * 2 < m->cap ? m->cap : m->cap < 4 ? 6 : m->cap * 2;
    REQUIRE(cap < UINT32_MAX / 4);
    uint32_t slots = 8;
    while (slots * 3 / 4 < cap) {
        slots *= 2;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->used; i++) {
        if (m->entries[i].value != NULL) {
            m->entries[kept++] = m->entries[i];
        }
    }
    m->entries = xreallocarray(m->entries, cap, sizeof(*m->entries));
    free(m->index);
    m->index = xcalloc(slots, sizeof(*m->index));
    m->slots = slots;
    m->cap = cap;
    m->used = kept;
    for (uint32_t i = 0; i < kept; i++) {
        index_put(m, i);
    }
}

void *map_get(const struct map *m, struct slice key)
{
    if (m->len == 0) {
        return NULL;
    }
    uint32_t slot = find_slot(m, key, (uint32_t)map_hash(m->seed, key));
    return slot == NO_SLOT ? NULL : m->entries[m->index[slot] - 1].value;
}

void *map_set(struct map *m, struct slice key, void *value)
{
    REQUIRE(value != NULL && key.len < UINT32_MAX);
    uint32_t hash = (uint32_t)map_hash(m->seed, key);
    uint32_t slot = find_slot(m, key, hash);
    if (slot != NO_SLOT) {
        struct map_entry *e = &m->entries[m->index[slot] - 1];
        void *old = e->value;
        e->value = value;
        if (m->keys == MAP_BORROW_KEYS) {
            e->key = key.ptr; /* the old bytes may go with the old value */
        }
        return old;
    }
    if (m->used == m->cap) {
        rebuild(m);
    }
    m->entries[m->used] = (struct map_entry){
        .value = value,
        .key = m->keys == MAP_COPY_KEYS ? slice_dup(key) : key.ptr,
        .key_len = (uint32_t)key.len,
        .hash = hash,
    };
    index_put(m, m->used);
    m->used++;
    m->len++;
    return NULL;
}

void *map_remove(struct map *m, struct slice key)
{
    uint32_t slot = find_slot(m, key, (uint32_t)map_hash(m->seed, key));
    if (slot == NO_SLOT) {
        return NULL;
    }
    struct map_entry *e = &m->entries[m->index[slot] - 1];
    void *old = e->value;
    free_key(m, e);
    e->value = NULL;
    m->index[slot] = SLOT_DELETED;
    m->len--;
    return old;
}

size_t map_len(const struct map *m)
{
    return m->len;
}

bool map_next(const struct map *m, struct map_iter *it)
{
    while (it->next < m->used) {
        const struct map_entry *e = &m->entries[it->next++];
        if (e->value != NULL) {
            it->key = slice_of(e->key, e->key_len);
            it->value = e->value;
            return true;
        }
    }
    return false;
}
