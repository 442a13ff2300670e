// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * ConfigMap config-gc: which Revisions that nobody uses are deleted, and when.
 * Owns: nothing.
 */

#include <jansson.h>

#include "base/error.h"

#define GC_DISABLED (-1)

struct gc_config {
    int64_t since_create_ns; /* retain-since-create-time; GC_DISABLED: does not count */
    int64_t since_active_ns; /* retain-since-last-active-time; likewise */
    int64_t min_non_active;  /* min-non-active-revisions: so many stay, however old */
    int64_t max_non_active;  /* max-non-active-revisions; GC_DISABLED: any number */
};

/* Knative's: 48 h, 15 h, 20, 1000. */
void gc_config_init(struct gc_config *config);
/* The defaults with what data (may be NULL) says. ERR_INVALID names the key; *config stays. */
MUST_CHECK int gc_config_read(struct gc_config *config, const json_t *data, struct error *err);
