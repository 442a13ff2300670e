// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Keeps objects small: their texts are packed against samples of their kind. What was written
 * lately stays as it is, since watches are about to ask for it. Owns the samples and references to
 * the latest objects. May not know the store's index or the log.
 *
 * The first text of a kind is its first sample; a text that none of the samples suits becomes one
 * more while there are few of them.
 */

#include "local/store/object.h"

#define SMALL_SAMPLES      4
#define SMALL_LATEST       256
#define SMALL_LATEST_BYTES (4u << 20)

struct small_sample; /* private */

/* Of one kind. Zeroed is empty. */
struct small_kind {
    struct small_sample *samples[SMALL_SAMPLES]; /* private: the one that suited last comes first */
    unsigned count;                              /* private */
};
/* Packs the object, unless it is packed or would gain nothing. The kind outlives it. */
void small_pack(struct small_kind *kind, struct object *o);
void small_kind_fini(struct small_kind *kind);

/* The latest objects, oldest first. Zeroed is empty. */
struct small_latest {
    struct {
        struct small_kind *kind;
        struct object *object; /* a reference */
    } ring[SMALL_LATEST];      /* private */
    uint64_t first, next;      /* private: sequence numbers */
    size_t bytes;              /* private: of their texts */
};
/* The object was written; nobody but the loop's thread reads its text any more. */
void small_add(struct small_latest *latest, struct small_kind *kind, struct object *o);
void small_latest_fini(struct small_latest *latest);
