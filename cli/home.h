// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The state directory: where it is, and what `lull up` writes down about itself there. */

#include <jansson.h>

#include "base/error.h"

/* $LULL_HOME, else /var/lib/lull for root, else $XDG_STATE_HOME/lull, else ~/.local/state/lull.
 * Absolute, new memory. */
MUST_CHECK int home_find(char **out, struct error *err);

/* The supervisor's process id, or 0 when none holds the lock. */
int home_supervisor(const char *home);

/* up.json; ERR_NOT_FOUND when Lull does not run here. A new reference. */
MUST_CHECK int home_read_up(const char *home, json_t **out, struct error *err);
