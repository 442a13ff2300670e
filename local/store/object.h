// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One version of one object inside the store: the public struct object, and what the store
 * projects from the JSON when it arrives, so that nothing has to be parsed for a list or a watch.
 * Owns its texts. May not know the store's index or the log.
 */

#include "local/store.h"

#define OBJECT_FOREGROUND "foregroundDeletion"

struct object_pair {
    const char *key;
    const char *value;
};

struct object_full {
    struct object pub; /* first: a struct object * is a struct object_full * */
    const struct store_kind *kind;
    json_t *tree; /* kept for a while after the write (struct trees), else NULL; never changed */
    uint32_t refs;
    uint32_t version_at; /* where the digits of resourceVersion stand in the JSON */
    uint32_t version_len;
    bool foreground; /* finalizer foregroundDeletion: it waits for what it owns */
    bool finalizers; /* there are some */
    uint32_t labels_count;
    uint32_t owners_count;
    uint32_t blocks; /* bit i: its owner i waits for it (blockOwnerDeletion), for the first 32 */
    struct object_pair *labels;
    const char **owners; /* uids of ownerReferences */
    const char **fields; /* values of kind->fields, "" when absent; as many as the kind has */
};

static inline struct object_full *object_full(const struct object *o)
{
    return (struct object_full *)(uintptr_t)o;
}

/*
 * Projects and serialises. `root` must have gone through rules (metadata in canonical order with
 * name, uid, resourceVersion). Borrowed. The result has one reference.
 * ERR_TOO_BIG beyond bytes_max, ERR_INVALID when it cannot be serialised.
 */
MUST_CHECK int object_make(const struct store_kind *kind, const json_t *root, size_t bytes_max,
                           struct object **out, struct error *err);

/* From the text in the log. Takes nothing. ERR_PROTOCOL when the text is not such an object. */
MUST_CHECK int object_load(const struct store_kind *kind, struct slice text, struct object **out,
                           struct error *err);

/* Keep this tree (nobody may change it any more), or none. */
void object_keep_tree(struct object *o, json_t *root);

/*
 * The last objects written keep their trees: what was just written is read again at once, by
 * watchers in this process and by the next write to it. Zeroed is empty.
 */
#define OBJECT_TREES 32
struct object_trees {
    struct object *kept[OBJECT_TREES]; /* a reference each */
    unsigned next;
};
void object_trees_add(struct object_trees *t, struct object *o, json_t *root);
void object_trees_fini(struct object_trees *t);

/* The number of fields of a kind. */
size_t object_fields_count(const struct store_kind *kind);

/* The value at a path of object keys ("status.phase"), or NULL. Borrowed. */
json_t *object_path(const json_t *root, const char *path);
