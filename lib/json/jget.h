// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Reading JSON (jansson) by path. "spec.template.metadata.name" walks objects; "[2]" walks an
 * array: "spec.containers[0].image"; a key with a dot is quoted by backticks:
 * "metadata.annotations.`autoscaling.knative.dev/target`".
 *
 * What is found is borrowed from the tree. Errors: ERR_NOT_FOUND "spec.x: missing", ERR_INVALID
 * "spec.x: must be a string, is a number". JSON null counts as missing. A bad path is a
 * programmer's error.
 */

#include <jansson.h>

#include "base/error.h"
#include "base/slice.h"

/* NULL when missing or null. */
json_t *jget(const json_t *root, const char *path);

MUST_CHECK int jget_str(const json_t *root, const char *path, struct slice *out, struct error *err);
MUST_CHECK int jget_i64(const json_t *root, const char *path, int64_t *out, struct error *err);
MUST_CHECK int jget_double(const json_t *root, const char *path, double *out, struct error *err);
MUST_CHECK int jget_bool(const json_t *root, const char *path, bool *out, struct error *err);
MUST_CHECK int jget_obj(const json_t *root, const char *path, json_t **out, struct error *err);
MUST_CHECK int jget_arr(const json_t *root, const char *path, json_t **out, struct error *err);

/* With a default for what is missing; a value of another type is still ERR_INVALID. */
MUST_CHECK int jget_str_or(const json_t *root, const char *path, struct slice def,
                           struct slice *out, struct error *err);
MUST_CHECK int jget_i64_or(const json_t *root, const char *path, int64_t def, int64_t *out,
                           struct error *err);
MUST_CHECK int jget_double_or(const json_t *root, const char *path, double def, double *out,
                              struct error *err);
MUST_CHECK int jget_bool_or(const json_t *root, const char *path, bool def, bool *out,
                            struct error *err);

/* For code that only looks: "" (NULL-safe), 0, false, NULL when missing or of another type. */
struct slice jpeek_str(const json_t *root, const char *path);
/* As jpeek_str, NUL-terminated. */
const char *jpeek_cstr(const json_t *root, const char *path);
/* As jpeek_str, a new string; NULL when it is missing or empty. */
char *jpeek_dup(const json_t *root, const char *path);
int64_t jpeek_i64(const json_t *root, const char *path);
bool jpeek_bool(const json_t *root, const char *path);
json_t *jpeek_obj(const json_t *root, const char *path);
json_t *jpeek_arr(const json_t *root, const char *path);
/* In the array of objects at path, the first whose string `key` is value ("Ready" among
 * conditions); NULL: none. */
json_t *jpeek_row(const json_t *root, const char *path, const char *key, struct slice value);

/* "a string", "a number", … for sentences. */
const char *jtype_name(const json_t *value);
