// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the objects of each kind look like: the fields of every structure with type and meaning.
 * Owns: the rows (constants, schema.def). May not: judge an object (schema_check.h does), or know
 * what the CRDs and the OpenAPI documents look like as text (their writers walk these rows).
 */

#include <stdint.h>

#include "base/slice.h"
#include "serving/kinds.h"

enum schema_id {
    SCHEMA_NONE,
#define SCHEMA_OF(id, ...) SCHEMA_##id,
#include "serving/schema.def"
    SCHEMA_COUNT
};

enum schema_type {
    SCHEMA_TYPE_OPEN, // an object of which nothing is said
    SCHEMA_TYPE_OBJECT,
    SCHEMA_TYPE_STRING,
    SCHEMA_TYPE_INT32,
    SCHEMA_TYPE_INT64,
    SCHEMA_TYPE_BOOL,
    SCHEMA_TYPE_TIME,
    SCHEMA_TYPE_MICRO_TIME,
    SCHEMA_TYPE_BYTES, // base64
    SCHEMA_TYPE_QUANTITY,
    SCHEMA_TYPE_INT_OR_STRING,
};

enum schema_shape { SCHEMA_ONE, SCHEMA_LIST, SCHEMA_MAP };

enum {
    SCHEMA_REQUIRED = 1 << 0,
    SCHEMA_CORE_REQUIRED = 1 << 1, // only in Kubernetes' own kinds
    SCHEMA_CORE = 1 << 2,          // there only in Kubernetes' own kinds
    SCHEMA_GATED = 1 << 3,         // in custom kinds nothing is said of its inside
};

struct schema_field {
    const char *name;
    uint8_t type;  // enum schema_type, of the elements when there are several
    uint8_t shape; // enum schema_shape
    uint8_t flags; // SCHEMA_*
    uint8_t ref;   // enum schema_id of a SCHEMA_TYPE_OBJECT
    const char *description;
    const char *keys;    // list: its elements differ in this member; NULL: they need not
    const char *merge;   // list: by which member a strategic merge knows elements, "": themselves
    const char *initial; // default, a string; NULL: none
};

struct schema {
    const char *package; // of its definition: "io.k8s.api.core.v1"
    const char *name;
    const char *description;
    uint8_t base; // enum schema_id whose fields it has as well; SCHEMA_NONE
    bool keeps;   // unknown fields stay
    const struct schema_field *fields;
    uint8_t n_fields;
};

// id must be above SCHEMA_NONE and below SCHEMA_COUNT.
const struct schema *schema_row(enum schema_id id);

// What stands beside apiVersion, kind and metadata in objects of this kind.
const struct schema *schema_of(const struct kind *kind);

// NULL: there is no such field. custom: as the kinds of ours see the structure.
const struct schema_field *schema_field(const struct schema *schema, struct slice name,
                                        bool custom);

// Walks the fields, base included, in their order; *at starts at 0. NULL at the end.
const struct schema_field *schema_next(const struct schema *schema, bool custom, size_t *at);

// Whether an object must have it.
bool schema_is_required(const struct schema_field *field, bool custom);
// Whether nothing is said of its inside.
bool schema_is_open(const struct schema_field *field, bool custom);

#define SCHEMA_QUANTITY_PATTERN                                                      \
    "^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\\+|" \
    "-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$"
