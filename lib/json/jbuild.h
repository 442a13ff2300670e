// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Building JSON that fails as a whole. A NULL from jansson means bad data (text that is not
 * UTF-8, NaN), not lack of memory; here it marks the builder, and jbuild_take says so once.
 *
 *     struct jbuild b;  jbuild_init(&b);                      an empty object
 *     jbuild_str(&b, "metadata.name", name);
 *     jbuild_i64(&b, "spec.replicas", 1);
 *     jbuild_json(&b, "spec.template", json_deep_copy(t));    takes the reference
 *     json_t *obj;  rc = jbuild_take(&b, &obj, err);
 * Paths as in json/jget.h; objects on the way are made; "[+]" appends to an array (made as well),
 * "[n]" is an element that exists, "[-1]" the last one.
 */

#include <jansson.h>

#include "base/error.h"
#include "base/slice.h"

struct jbuild {
    json_t *root;     /* private */
    struct error err; /* private: the first failure */
};

void jbuild_init(struct jbuild *b);
/* Goes on from an existing tree; takes the reference (NULL marks a failure). */
void jbuild_from(struct jbuild *b, json_t *root);
void jbuild_str(struct jbuild *b, const char *path, const char *text);
void jbuild_slice(struct jbuild *b, const char *path, struct slice text);
void jbuild_strf(struct jbuild *b, const char *path, const char *fmt, ...) PRINTF_LIKE(3, 4);
void jbuild_i64(struct jbuild *b, const char *path, int64_t n);
void jbuild_double(struct jbuild *b, const char *path, double x);
void jbuild_bool(struct jbuild *b, const char *path, bool on);
/* Takes the reference to value; NULL marks a failure. */
void jbuild_json(struct jbuild *b, const char *path, json_t *value);
/* An empty object or array, if nothing is there. */
void jbuild_obj(struct jbuild *b, const char *path);
void jbuild_arr(struct jbuild *b, const char *path);
/*
 * A JSON string of text for people that may have been cut anywhere or come from a program: what is
 * not UTF-8 becomes U+FFFD. New reference, never NULL; beyond 64 KiB only the beginning.
 */
json_t *jstring_lossy(struct slice text);
/* Gives the tree (the caller's reference), or ERR_INVALID with the first path that failed. */
MUST_CHECK int jbuild_take(struct jbuild *b, json_t **out, struct error *err);
/* For a builder that is not taken. Fine after jbuild_take. */
void jbuild_fini(struct jbuild *b);
