// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Whether the parts of the system could read a ConfigMap of theirs. Pure. What only its own reader
 * knows (the template of the request log) is not looked at.
 */

#include <jansson.h>

#include "base/error.h"

/* name: "config-network", …; others pass. data: its data, may be NULL. ERR_INVALID names the key.
 */
MUST_CHECK int config_check(const char *name, const json_t *data, struct error *err);
