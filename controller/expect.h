// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What we have written and not seen yet. A key is not looked at again before the caches show its
 * last writes: else the same writes would be planned twice from the old picture. Owns: the keys and
 * versions. May not: hold a key back for ever; the caller bounds the wait.
 */

#include "base/map.h"
#include "controller/work_queue.h"

struct expectations {
    struct map keys; /* private */
};

/* The resourceVersion that is cached, NULL when the object is not. */
typedef const char *(*expect_version_cb)(void *arg, enum kind_id kind, const char *ns,
                                         const char *name);

void expect_init(struct expectations *e);
void expect_fini(struct expectations *e);
/* key has written this object, which has this version now. */
void expect_add(struct expectations *e, struct work_key key, enum kind_id kind, const char *ns,
                const char *name, const char *version);
/* Whether the caches show all that key has written; then it is forgotten. */
bool expect_met(struct expectations *e, struct work_key key, expect_version_cb version, void *arg);
/* Stop waiting for key. */
void expect_drop(struct expectations *e, struct work_key key);
