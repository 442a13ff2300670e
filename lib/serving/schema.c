// SPDX-License-Identifier: Apache-2.0
/*
 * The rows of schema.def as tables. Happy path: a lookup walks the fields of one structure, then of
 * its base. Failure mode: no such field, NULL.
 */
#include "serving/schema.h"

#include <string.h>

#define F(field, what, flag_bits, text, ...)                                        \
    {                                                                               \
        .name = field, what, .flags = flag_bits, .description = text, ##__VA_ARGS__ \
    }
#define REQUIRED      SCHEMA_REQUIRED
#define CORE_REQUIRED SCHEMA_CORE_REQUIRED
#define CORE          SCHEMA_CORE
#define GATED         SCHEMA_GATED

#define OPEN          .type = SCHEMA_TYPE_OPEN
#define STRING        .type = SCHEMA_TYPE_STRING
#define INT32         .type = SCHEMA_TYPE_INT32
#define INT64         .type = SCHEMA_TYPE_INT64
#define BOOL          .type = SCHEMA_TYPE_BOOL
#define TIME          .type = SCHEMA_TYPE_TIME
#define MICRO_TIME    .type = SCHEMA_TYPE_MICRO_TIME
#define BYTES         .type = SCHEMA_TYPE_BYTES
#define QUANTITY      .type = SCHEMA_TYPE_QUANTITY
#define INT_OR_STRING .type = SCHEMA_TYPE_INT_OR_STRING
#define OBJ(id)       .type = SCHEMA_TYPE_OBJECT, .ref = SCHEMA_##id
#define LIST(what)    what, .shape = SCHEMA_LIST
#define MAP(what)     what, .shape = SCHEMA_MAP
#define KEYS(member)  .keys = member
#define MERGE(member) .merge = member
#define INITIAL(text) .initial = text

#define CORE_V1     "io.k8s.api.core.v1"
#define APPS_V1     "io.k8s.api.apps.v1"
#define SCALING_V2  "io.k8s.api.autoscaling.v2"
#define META_V1     "io.k8s.apimachinery.pkg.apis.meta.v1"
#define SERVING_V1  "dev.knative.serving.v1"
#define EVENTING_V1 "dev.knative.eventing.v1"
#define SOURCES_V1  "dev.knative.sources.v1"
#define LULL_V1     "dev.lull.sources.v1alpha1"

#define SCHEMA_OF(id, in, title, text, of, open, ...) \
    static const struct schema_field fields_##id[] = {__VA_ARGS__};
#include "serving/schema.def"

#define SCHEMA_OF(id, in, title, text, of, open, ...) \
    [SCHEMA_##id] = {.package = in,                   \
                     .name = title,                   \
                     .description = text,             \
                     .base = SCHEMA_##of,             \
                     .keeps = open,                   \
                     .fields = fields_##id,           \
                     .n_fields = sizeof(fields_##id) / sizeof(struct schema_field)},

static const struct schema rows[SCHEMA_COUNT] = {
#include "serving/schema.def"
};
_Static_assert(SCHEMA_COUNT < 256, "a reference is one byte");

static const uint8_t roots[KIND_COUNT] = {
#define KIND(id, ...) [KIND_##id] = SCHEMA_##id,
#include "serving/kinds.def"
};

const struct schema *schema_row(enum schema_id id)
{
    return &rows[id];
}

const struct schema *schema_of(const struct kind *kind)
{
    return &rows[roots[kind->id]];
}

const struct schema_field *schema_next(const struct schema *schema, bool custom, size_t *at)
{
    for (;;) {
        size_t own = schema->n_fields;
        const struct schema *base = schema->base == SCHEMA_NONE ? NULL : &rows[schema->base];
        size_t of_base = base == NULL ? 0 : base->n_fields;
        if (*at >= own + of_base) {
            return NULL;
        }
        const struct schema_field *f = *at < own ? &schema->fields[*at] : &base->fields[*at - own];
        ++*at;
        if (!custom || (f->flags & SCHEMA_CORE) == 0) {
            return f;
        }
    }
}

const struct schema_field *schema_field(const struct schema *schema, struct slice name, bool custom)
{
    size_t at = 0;
    const struct schema_field *f;
    while ((f = schema_next(schema, custom, &at)) != NULL) {
        if (slice_eq_str(name, f->name)) {
            return f;
        }
    }
    return NULL;
}

bool schema_is_required(const struct schema_field *field, bool custom)
{
    return (field->flags & (custom ? SCHEMA_REQUIRED : SCHEMA_REQUIRED | SCHEMA_CORE_REQUIRED)) !=
           0;
}

bool schema_is_open(const struct schema_field *field, bool custom)
{
    return field->type == SCHEMA_TYPE_OPEN || (custom && (field->flags & SCHEMA_GATED) != 0);
}
