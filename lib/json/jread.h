// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A quick reader for JSON that programs write: a list of ten thousand objects is read in half the
 * time. It takes most texts and no wrong one; what it does not take (errors, \u escapes, reals,
 * numbers of more than 18 digits) goes through jansson, which has the last word and the words for
 * errors. Pure; used by jparse.h and by whoever needs a few members only.
 */

#include <jansson.h>

#include "base/slice.h"

/*
 * The tree, or NULL: not taken. unique: a text with a name twice in one object is not taken; else
 * the last one counts. Nothing is taken that is nested deeper than depth_max.
 */
json_t *jread(struct slice text, bool unique, unsigned depth_max);
/*
 * The value at the front of *text, which is moved behind it; NULL: not taken, nothing is moved.
 * Members that a path of `without` names ("metadata.managedFields"; a list that NULL ends, or NULL)
 * are passed over: that they are JSON is checked, that they have no name twice is not. Arrays
 * stand in no path: one names members of each of their items.
 */
json_t *jread_front(struct slice *text, const char *const *without, unsigned depth_max);
/*
 * Of an object only the members at these paths of names ("status", "spec.replicas"): the whole text
 * is checked, and the rest becomes no tree. Members that are not there are not in the result; one
 * that is no object where a path goes on is. NULL: not taken, no object, or a name on a path stands
 * twice. At most JREAD_PATHS_MAX paths.
 */
#define JREAD_PATHS_MAX 10
json_t *jread_only(struct slice text, const char *const *paths, size_t count, unsigned depth_max);
