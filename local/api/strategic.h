// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Strategic merge patch, as Kubernetes applies it to its own kinds: lists merged by key, and the
 * directives $patch, $retainKeys, $deleteFromPrimitiveList and $setElementOrder. Pure.
 */

#include <jansson.h>

#include "base/error.h"
#include "local/api/strategic_fields.h"

/*
 * The object that `patch` makes of `target`; the caller's. ERR_PROTOCOL: a directive has the wrong
 * form, ERR_INVALID: the patch cannot be applied, ERR_TOO_BIG: its lists would take too long.
 */
MUST_CHECK int strategic_merge(const struct strategic_type *type, const json_t *target,
                               const json_t *patch, json_t **out, struct error *err);
