// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Text to JSON and back. Parsing is strict: one value, UTF-8, no duplicate keys, a maximal size
 * and depth. A new tree belongs to the caller (json_decref).
 */

#include <jansson.h>

#include "base/error.h"
#include "base/strbuf.h"

#define JPARSE_DEPTH_MAX 64

/*
 * ERR_TOO_BIG beyond max bytes or JPARSE_DEPTH_MAX levels; ERR_INVALID otherwise, with
 * "line 3, column 7: …". Any JSON value is accepted at the top.
 */
MUST_CHECK int jparse(struct slice text, size_t max, json_t **out, struct error *err);
/* As jparse, but of names that stand twice in one object the last counts. */
MUST_CHECK int jparse_last(struct slice text, size_t max, json_t **out, struct error *err);
/* As jparse, and the value must be an object. */
MUST_CHECK int jparse_object(struct slice text, size_t max, json_t **out, struct error *err);
/* As jparse_object; members that nobody needs may be missing: paths as in json/jread.h. */
MUST_CHECK int jparse_object_without(struct slice text, size_t max, const char *const *without,
                                     json_t **out, struct error *err);

/* Compact, keys in the order of insertion. Fails with ERR_TOO_BIG when out is full. */
MUST_CHECK int jdump(const json_t *value, struct strbuf *out, struct error *err);
/* Compact, keys sorted: equal values give equal text. */
MUST_CHECK int jdump_canonical(const json_t *value, struct strbuf *out, struct error *err);
/* For people: indented by two. */
MUST_CHECK int jdump_pretty(const json_t *value, struct strbuf *out, struct error *err);
/* Compact text in new memory; the caller frees. Ends the process only when memory is gone. */
char *jdump_str(const json_t *value);

/* For CLEANUP(jfree) json_t *tree. */
void jfree(json_t **value);
