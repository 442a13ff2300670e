// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The types behind the objects that users write (Knative's specs and Kubernetes' pod spec), and
 * what follows from them: whether a tree has the right shape, its normal form, whether two trees
 * mean the same and in what they differ. Pure. Owns: the tables (typed.def, made from the
 * reference's own types). May not: know rules.
 *
 * Fields that a type does not have are left alone and never looked at; null is the same as nothing.
 */

#include <jansson.h>

#include "base/error.h"
#include "base/strbuf.h"

enum type_id {
    TYPE_NONE = -1,
#define TYPE(name, ...) TYPE_##name,
#define FIELD(...)
#include "serving/typed.def"
#undef TYPE
#undef FIELD
    TYPE_COUNT
};

enum type_form { TYPE_PLAIN, TYPE_POINTER, TYPE_LIST, TYPE_MAP };
enum type_kind {
    TYPE_STRING,
    TYPE_BOOL,
    TYPE_INT32,
    TYPE_INT64,
    TYPE_QUANTITY,
    TYPE_INT_OR_STRING,
    TYPE_ANY,
    TYPE_STRUCT,
};

struct type_field {
    const char *json; /* its name in an object */
    const char *path; /* its name in Go, with the structs that it is inlined from */
    uint8_t form;     /* enum type_form */
    uint8_t kind;     /* enum type_kind, of the value or of each element */
    int16_t type;     /* enum type_id of a TYPE_STRUCT */
    bool omitted;     /* a zero value is left out */
};

/* The fields of a type. */
const struct type_field *type_fields(enum type_id type, size_t *out_count);
const struct type_field *type_field(enum type_id type, const char *json);
/* "v1.Container" */
const char *type_go_name(enum type_id type);
/* Whether object (NULL or null: no) sets a field to something else than its zero value. An empty
 * list or map is not set. */
bool type_field_set(const json_t *object, const struct type_field *field);
/* Whether nothing that the type knows is set. */
bool type_is_zero(const json_t *object, enum type_id type);

/* ERR_INVALID "path.to.field: must be an integer, is a string" for the first value of a wrong
 * type; also for an integer that is too large and a quantity that is none. path: of object. */
MUST_CHECK int type_check(const json_t *object, enum type_id type, const char *path,
                          struct error *err);
/* Brings a tree that passed type_check into the form in which Knative's webhook stores it: no nulls
 * and zero values that may be left out, the others filled in, quantities in their canonical text.
 */
void type_normalise(json_t *object, enum type_id type);
/* Whether two trees that passed type_check mean the same. */
bool type_equal(const json_t *a, const json_t *b, enum type_id type);
/* Appends what changed, in the form of Knative's messages: for each value "path:" (a Go path that
 * begins with root), "\t-: "old"" and "\t+: "new"". Nothing when they mean the same. */
void type_diff(const json_t *old, const json_t *fresh, enum type_id type, const char *root,
               struct strbuf *out);
