// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Defaults and rules of Kubernetes' own kinds. Pure.
 * Owns: nothing. May not: read other objects.
 */

#include <jansson.h>

#include "serving/kinds.h"

/*
 * Fills in what is not given and judges the object; old: what is stored, NULL on a create. Returns
 * what is wrong with it as causes of a Status ({reason,message,field}), for the caller to free, or
 * NULL.
 */
json_t *core_admit(enum kind_id id, json_t *object, const json_t *old);
