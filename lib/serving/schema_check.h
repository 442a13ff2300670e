// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Whether an object has the types that the schema of its kind says, in the words that clients know.
 * Kubernetes judges custom kinds by their schema (all that is wrong, 422) and its own by decoding
 * them into a structure (the first that is wrong, 400); so do these. Pure.
 */

#include <jansson.h>

#include "base/strbuf.h"
#include "serving/schema.h"

#define SCHEMA_CAUSES_MAX 50

// For custom kinds. NULL when all is well, else a JSON array (the caller's) of
// {"reason":"FieldValueTypeInvalid","message":"Invalid value: …","field":"spec.x"}.
json_t *schema_check(const struct kind *kind, const json_t *object);
// The same for the status alone, as the status subresource is judged.
json_t *schema_check_status(const struct kind *kind, const json_t *object);

// Appends the causes as one text: "spec.x: Required value", several as "[…, …]".
void schema_causes_text(const json_t *causes, struct strbuf *out);

// For Kubernetes' own kinds, and the metadata of all. false: what is wrong was appended to `out`.
bool schema_decodes(const struct kind *kind, const json_t *object, struct strbuf *out);
