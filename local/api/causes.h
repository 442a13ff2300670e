// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What is wrong with an object, as the causes of a Status ({reason, message, field}): for the rules
 * of kinds (core.h, scaling.h). Pure.
 */

#include <stdbool.h>

#include <jansson.h>

#include "base/attr.h"

/* The reason follows from how the message begins, as Kubernetes': "Required value", … */
void cause_add(json_t *causes, const char *field, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* allowed ends in NULL, in order. */
void cause_unless_one_of(json_t *causes, const char *field, const char *value,
                         const char *const allowed[]);

/* It is there, and neither null nor "". */
bool field_is_set(const json_t *object, const char *key);
