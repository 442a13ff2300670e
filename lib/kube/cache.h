// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A picture of all objects of one kind (or of those that a selector names), kept current by list
 * and watch. Each object is projected into a small struct of the caller when it arrives; the JSON
 * is dropped then. Owns: the entries. May not: block, or forget what it knows because a connection
 * was lost: until the next list succeeds the entries stay as they were.
 *
 * A watch event reaches its callback in the loop turn in which its bytes arrive. A cut watch
 * resumes from the last resourceVersion, at once the first time, then with back-off and jitter; 410
 * lists anew and reports only what differs.
 *
 *     static int pod_project(void *arg, const json_t *object, void *value, struct error *err);
 *     kube_cache_start(client, &(struct kube_cache_options){.kind = …, .value_size = sizeof(struct
 *                      pod), .project = pod_project, .release = pod_release, .on_add = …}, &cache,
 * err);
 */

#include "kube/client.h"

struct kube_cache;

/* One object. Borrowed: valid until it is deleted or updated; never keep it across callbacks. */
struct kube_entry {
    const char *ns; /* "" for cluster-scoped */
    const char *name;
    const char *uid;
    const char *resource_version; /* opaque; compare for equality only */
    void *value;                  /* the caller's struct, value_size bytes */
};

struct kube_cache_options {
    struct kube_kind kind;      /* its strings live as long as the cache */
    const char *ns;             /* NULL: all namespaces, or cluster-scoped; copied */
    const char *label_selector; /* NULL: all; copied */
    const char *field_selector; /* NULL: all; copied */
    /* Paths in an object that project does not read, which spares reading them at all
     * ("spec.template"; json/jread.h); NULL ends, NULL: none. Live as long as the cache. */
    const char *const *without;
    size_t value_size;
    /* The API server may do without this kind: then there are none, and it is asked now and then.
     */
    bool optional;

    /* Fill value (zeroed) from object (borrowed). 0: keep. 1: this object does not matter; it is as
     * if it did not exist. Negative: as 1, and logged once at debug level. Must not keep object. */
    int (*project)(void *arg, const json_t *object, void *value, struct error *err);
    /* Release what value owns (not value itself); optional. */
    void (*release)(void *arg, void *value);

    /* All optional. A value that is equal is reported as well: the resourceVersion has changed. */
    void (*on_add)(void *arg, const struct kube_entry *entry);
    /* old is released after the call. */
    void (*on_update)(void *arg, const struct kube_entry *entry, const void *old);
    /* entry holds the last known value; it is no longer found by kube_cache_get. An object that was
     * deleted and made again under its name is a delete followed by an add. */
    void (*on_delete)(void *arg, const struct kube_entry *entry);
    /* The first list is in (adds were reported before). Once. */
    void (*on_synced)(void *arg);
    void *arg;
};

/* Starts at once and retries for ever; options are copied. The client outlives the cache. */
MUST_CHECK int kube_cache_start(struct kube_client *client,
                                const struct kube_cache_options *options, struct kube_cache **out,
                                struct error *err);
/* No further callbacks but cb (may be NULL); values are released. Idempotent. */
void kube_cache_close(struct kube_cache *cache, kube_close_cb cb, void *arg);

/* The first list has come. */
bool kube_cache_synced(const struct kube_cache *cache);
/* A watch (or its first list) is open now; false while reconnecting. */
bool kube_cache_connected(const struct kube_cache *cache);
/* The last failure's sentence while not connected, else "". */
const char *kube_cache_trouble(const struct kube_cache *cache);
size_t kube_cache_len(const struct kube_cache *cache);

/* NULL when unknown. ns may be NULL or "" for cluster-scoped. */
const struct kube_entry *kube_cache_get(const struct kube_cache *cache, const char *ns,
                                        const char *name);
/* The value alone, or NULL. */
void *kube_cache_value(const struct kube_cache *cache, const char *ns, const char *name);
/* Each entry, in no order; fn must not make the cache change. */
void kube_cache_each(const struct kube_cache *cache,
                     void (*fn)(void *arg, const struct kube_entry *entry), void *arg);
