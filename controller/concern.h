// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Whom a change concerns: keeps the indexes of objects.h, and tells its owner the keys to look at.
 * The inside of objects.c. Owns: nothing. May not: change what the caches hold.
 */

#include "controller/objects.h"

/* The object of entry has changed, from old to now (NULL: it was not, is not there). */
void concern_tell(const struct objects_cache_arg *ca, const struct kube_entry *entry,
                  const void *old, const void *now);
/* Kinds for events, which a cluster may not have. */
bool concern_is_event_kind(enum kind_id kind);
