// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Private to lib/yaml: what a plain word means. */

#include <jansson.h>

#include "base/slice.h"

/*
 * The value of a plain (not quoted) word, by the rules of kubectl's reader; a new reference. Text
 * that stands for nothing else is a string. NULL: it is a number that JSON does not have (.inf,
 * .nan), or no UTF-8.
 */
json_t *yscalar_resolve(struct slice text);

/* A real that is a whole number becomes an integer; takes and gives a reference. */
json_t *yscalar_real(double value);
