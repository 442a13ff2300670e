// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Which kinds are defaulted and validated, and the types of their parts. Pure, private to
 * lib/serving. */

#include "serving/kinds.h"
#include "serving/typed.h"

enum object_type {
    OBJECT_SERVICE,
    OBJECT_CONFIGURATION,
    OBJECT_REVISION,
    OBJECT_ROUTE,
    OBJECT_POD_AUTOSCALER,
    OBJECT_DOMAIN_MAPPING,
    OBJECT_OTHER, /* any other kind: it has no rules here */
};

enum object_type object_type(const struct kind *kind);
/* Of `spec`; not for OBJECT_OTHER. */
enum type_id object_spec_type(enum object_type type);
/* type_check of metadata and spec, which may both be missing. */
MUST_CHECK int object_check_types(enum object_type type, const json_t *object, struct error *err);
