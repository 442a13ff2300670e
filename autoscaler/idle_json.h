// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Idle times as JSON: for the PodAutoscaler's status (lullIdle) and for recordings. Pure. */

#include <jansson.h>

#include "base/error.h"
#include "autoscaler/idle.h"

/*
 * {"bin": seconds, "counts": {"bin number": count}, "beyond": count, "last": RFC 3339 or absent}:
 * at most 240 counts. A new reference.
 */
json_t *idle_to_json(const struct idle *idle);
/*
 * Puts what was written down into idle, which is initialised and has wall_ms set. Counts of bins of
 * another width are left out. A time in the future is none. Takes what makes sense, skips the rest.
 */
void idle_from_json(struct idle *idle, const json_t *json, uint64_t now_ms);
