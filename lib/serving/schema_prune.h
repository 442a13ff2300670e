// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Brings an object that a client sent into the form of its kind: fields that the schema does not
 * know go, nulls go, and in the kinds of ours what is absent gets its default. Also finds names
 * that stand twice in one JSON object. Pure.
 */

#include <jansson.h>

#include "base/slice.h"
#include "serving/schema.h"

// Names beyond so many are not counted up.
#define SCHEMA_NAMES_MAX 100

// Appends what went, as paths such as "spec.template.spec.containers[0].foo" in alphabetical
// order, to `unknown`, a JSON array; NULL: nobody asks. What has another type than the schema says
// stays as it is.
void schema_prune(const struct kind *kind, json_t *object, json_t *unknown);

// The paths of names that stand more than once in one object, as a JSON array in the order of the
// text (the caller's). text must be well-formed JSON, nested at most 64 deep.
json_t *schema_duplicates(struct slice text);
