// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Bytes as a base64 JSON string (RFC 4648, padded), as Secrets carry them. Pure. */

#include <jansson.h>

#include "base/slice.h"

/* The caller's reference. */
json_t *base64_json(struct slice in);
