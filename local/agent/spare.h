// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Spare folders for replicas, made ahead. The stock is filled on a pool thread when the agent has
 * nothing to start (spare.c), and drawn on by launches, also on pool threads.
 */

#include <stdatomic.h>
#include <stdbool.h>

#include "base/attr.h"

struct spares {
    atomic_uint ready; /* .spare-0 … .spare-(ready - 1) are there, or are being taken */
};

/* A spare becomes the folder of replica `id`; false: there is none. For a pool thread. */
MUST_CHECK bool spare_take(struct spares *s, const char *home, const char *id);
