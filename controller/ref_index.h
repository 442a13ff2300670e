// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who refers to whom: for an object "ns/name" the names (in the same namespace) of those that refer
 * to it. A set: adding twice is adding once. Owns: copies of all names.
 */

#include "base/map.h"

struct ref_index {
    struct map map; /* private */
};

void ref_index_init(struct ref_index *index);
void ref_index_fini(struct ref_index *index);
void ref_index_add(struct ref_index *index, const char *ns, const char *target, const char *from);
void ref_index_remove(struct ref_index *index, const char *ns, const char *target,
                      const char *from);
/* fn for each, in order of adding; fn must not change the index. */
void ref_index_each(const struct ref_index *index, const char *ns, const char *target,
                    void (*fn)(void *arg, const char *ns, const char *from), void *arg);
