// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a strategic merge patch must know of Kubernetes' own kinds: which lists are merged by which
 * key, and where they stand. A field that is not in the tables is merged when it is a map and
 * replaced when it is a list. Pure constants.
 */

#include "base/slice.h"
#include "serving/kinds.h"

struct strategic_type;

struct strategic_field {
    const char *name;
    bool merges;                       /* a list that is merged; else it is replaced */
    const char *key;                   /* merge key of its objects; NULL: a list of plain values */
    const struct strategic_type *type; /* of the map, or of the list's items; NULL: nothing known */
};

struct strategic_type {
    const struct strategic_field *fields;
    size_t count;
};

/* NULL: strategic merge patches are not for this kind. */
const struct strategic_type *strategic_type_of(enum kind_id id);
/* The field, or NULL. type may be NULL. */
const struct strategic_field *strategic_field_of(const struct strategic_type *type,
                                                 const char *name);
