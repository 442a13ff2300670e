// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Hash map from bytes to a pointer. Seeded hash (SipHash-1-3), because keys come from outside.
 * Owns its copies of the keys (or borrows them, see map_init), never the values.
 * Iteration is in order of insertion; the body may remove any entry, but must not add one.
 *
 *     map_foreach(it, &m) { use(it.key, it.value); }
 */

#include "base/slice.h"

enum map_keys {
    MAP_COPY_KEYS,   /* the map keeps its own copy */
    MAP_BORROW_KEYS, /* the key bytes live in the value (or elsewhere) as long as the entry */
};

struct map_entry; /* private */

struct map {
    struct map_entry *entries; /* private: in order of insertion, with holes */
    uint32_t *index;           /* private: slot -> entry number + 1; 0 empty, UINT32_MAX deleted */
    uint32_t slots;            /* private: size of index, a power of two, or 0 */
    uint32_t used;             /* private: entries in use, holes included */
    uint32_t cap;              /* private: entries allocated */
    uint32_t len;              /* private: live entries */
    enum map_keys keys;        /* private */
    uint64_t seed[2];          /* private */
};

struct map_iter {
    struct slice key; /* borrowed until the entry is removed */
    void *value;
    uint32_t next; /* private */
};

void map_init(struct map *m, enum map_keys keys);
/* Releases keys and tables, not the values. A zeroed struct is fine. */
void map_fini(struct map *m);
/* Removes all entries. */
void map_clear(struct map *m);

/* NULL when absent. */
void *map_get(const struct map *m, struct slice key);
/* Adds or replaces; value must not be NULL. Returns the old value, NULL when there was none. */
void *map_set(struct map *m, struct slice key, void *value);
/* Returns the value that was there, or NULL. */
void *map_remove(struct map *m, struct slice key);
size_t map_len(const struct map *m);

/* Steps to the next entry; start with a zeroed iterator. */
bool map_next(const struct map *m, struct map_iter *it);
#define map_foreach(it, m) for (struct map_iter it = {.next = 0}; map_next((m), &it);)

/* SipHash-1-3, for others that need a seeded hash. */
uint64_t map_hash(const uint64_t seed[2], struct slice key);
