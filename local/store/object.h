// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One version of one object inside the store: the public struct object, and what the store
 * projects from the JSON when it arrives, so that nothing has to be parsed for a list or a watch.
 * Owns its texts. There are many objects: what is not needed all the time stands in the body, which
 * can be packed. May not know the store's index or the log.
 */

#include "base/pack.h"
#include "local/store.h"

#define OBJECT_FOREGROUND "foregroundDeletion"

struct object_full {
    struct object pub; /* first: a struct object * is a struct object_full * */
    const struct store_kind *kind;
    json_t *tree; /* kept for a while after the write (struct trees), else NULL; never changed */
    char *body;   /* owned: the texts of labels and fields, then the JSON; as it is, or packed */
    const struct pack *pack; /* what body is packed with; NULL: it is not */
    uint32_t packed_len;
    uint32_t texts_len;
    uint32_t json_len;
    uint32_t refs;
    uint32_t version_at; /* where the digits of resourceVersion stand in the JSON */
    uint32_t labels_count;
    uint32_t owners_count;
    uint32_t blocks; /* bit i: its owner i waits for it (blockOwnerDeletion), for the first 32 */
    uint8_t version_len;
    bool foreground; /* finalizer foregroundDeletion: it waits for what it owns */
    bool finalizers; /* there are some */
    char ids[];      /* namespace, name, uid, uids of ownerReferences; each with its NUL */
};

static inline struct object_full *object_full(const struct object *o)
{
    return (struct object_full *)(uintptr_t)o;
}

/* The owners' uids one after the other: for (i < owners_count; uid = object_next_text(uid)). */
const char *object_owners(const struct object *o);
const char *object_next_text(const char *text);
/*
 * Label keys and values in turn, then the values of the kind's fields ("" when absent); borrowed as
 * object_json() does.
 */
const char *object_texts(const struct object *o, struct object_room *room);
/* Of these texts: the value of a label, NULL without; the value of a field of the kind. */
const char *object_label(const struct object *o, const char *texts, const char *key);
const char *object_field(const struct object *o, const char *texts, size_t field);

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

/* Keeps the body packed from now on. pack lives as long as the object does; what was borrowed from
 * the text is gone. Takes `packed` (malloc). */
void object_keep_packed(struct object *o, const struct pack *pack, char *packed, size_t len);
/* The bytes that are packed; only of an object that is not. */
struct slice object_body(const struct object *o);

/* Keep this tree (nobody may change it any more), or none. */
void object_keep_tree(struct object *o, json_t *root);

/*
 * The last objects written keep their trees: what was just written is read again at once, by
 * watchers in this process and by the next write to it. While much is being written, as when many
 * functions are woken at once, those are many; at rest few. Zeroed is empty.
 */
#define OBJECT_TREES      2048
#define OBJECT_TREES_REST 32
struct object_trees {
    struct object *kept[OBJECT_TREES]; /* a reference each */
    unsigned next;
};
void object_trees_add(struct object_trees *t, struct object *o, json_t *root);
/* All but the newest go. */
void object_trees_rest(struct object_trees *t);
void object_trees_fini(struct object_trees *t);

/* The number of fields of a kind. */
size_t object_fields_count(const struct store_kind *kind);

/* The value at a path of object keys ("status.phase"), or NULL. Borrowed. */
json_t *object_path(const json_t *root, const char *path);
