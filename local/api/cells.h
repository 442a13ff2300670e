// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The Table form of objects (meta.k8s.io/v1), as kubectl asks for it: column definitions and one
 * row of cells per object, from the kinds table. Pure.
 */

#include <jansson.h>

#include "base/strbuf.h"
#include "serving/kinds.h"

/* Appends `"columnDefinitions":[…]`. */
void cells_columns(const struct kind *kind, struct strbuf *out);

enum cells_include { CELLS_METADATA, CELLS_OBJECT, CELLS_NONE };

/* Appends a row {"cells":[…],"object":…}; json is the text of `object` (with its version). */
void cells_row(const struct kind *kind, const json_t *object, enum cells_include include,
               int64_t wall_ns, struct strbuf *out);

/* Appends the PartialObjectMetadata of `object`. */
void cells_metadata(const json_t *object, struct strbuf *out);

/* "5m", "3d2h": a duration as kubectl shows ages. */
#define CELLS_AGE_MAX 32
char *cells_age(int64_t seconds, char *buf, size_t size);

/* The value at a simple JSONPath (".a.b['c\\.d'].e[?(@.type==\"Ready\")].f"), or NULL. */
json_t *cells_at(const json_t *root, const char *path);
