// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What is known of the objects of one kind: the entries of a cache, which version of an object
 * counts, and the cache's callbacks. Private to kube/cache.c. Owns: the entries. May not: ask the
 * API server.
 */

#include "base/map.h"
#include "kube/cache.h"
#include "kube/order.h"

enum { KNOWN_VERSION_MAX = 32 };

struct known {
    const struct kube_cache_options *options; /* private, all; but for reading newest and items */
    struct map items;
    struct order_gone *gone;
    uint64_t list_id;
    uint64_t newest; /* the highest number of a version that was seen */
    bool set_back;   /* this list counts, whatever is known */
    bool stopped;
};

/* options outlive it: project and release are used, and the callbacks given but on_synced. */
void known_init(struct known *k, const struct kube_cache_options *options);
/* No callback but release follows; may be called inside one. */
void known_stop(struct known *k);
/* Releases all. */
void known_fini(struct known *k);

/* An object as it is now, or was at its resourceVersion. */
void known_apply(struct known *k, const json_t *object);
/* An object as it was when it was deleted. */
void known_delete(struct known *k, const json_t *object);
/* Nothing older than this version is news. */
void known_seen(struct known *k, struct slice version);
/* Older than what was seen; false where that cannot be told. */
bool known_is_past(const struct known *k, struct slice version);
/* A list follows, by known_apply. set_back: the server's time was set back, and it counts whatever
 * is known. */
void known_list_begin(struct known *k, bool set_back);
/* It is complete, and of this version: what it did not name is gone. */
void known_list_end(struct known *k, struct slice version);

/* NULL when unknown. ns may be NULL. */
const struct kube_entry *known_get(const struct known *k, const char *ns, const char *name);
void known_each(const struct known *k, void (*fn)(void *arg, const struct kube_entry *entry),
                void *arg);
