// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The queue-proxy of a Revision's Pods: its container, and the volumes that it alone mounts. Pure.
 * Owns: nothing. May not: look at what exists already.
 */

#include <jansson.h>

#include "controller/settings.h"

/* What config-deployment and config-features give the queue-proxy to mount; a new array. */
json_t *sidecar_volumes(const struct settings *settings, const json_t *revision);
/* volumes: of sidecar_volumes; borrowed. NULL when the revision holds what cannot be written. */
json_t *sidecar_container(const struct settings *settings, const json_t *revision,
                          const json_t *volumes);
