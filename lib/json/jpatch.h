// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The difference of two JSON trees as a JSON patch (RFC 6902). Pure. */

#include <jansson.h>

/*
 * The operations (add, remove, replace) that make `to` of `from`, a new array, empty when they are
 * equal. Arrays of one length are compared element by element, others replaced as a whole.
 * Recursion is as deep as the trees, which jparse bounds. NULL: a path is longer than 64 KiB.
 */
json_t *jpatch_diff(const json_t *from, const json_t *to);
