// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The keys of a Secret or ConfigMap from files, from standard input and from words. Reads files;
 * what it read is never printed.
 */

#include <jansson.h>

#include "base/error.h"
#include "base/slice.h"

#define KEYED_BYTES_MAX (1u << 20) /* of all values; the API takes no more */

/*
 * Each adds keys to data (an object of key -> value): as base64 for a Secret; for a ConfigMap as
 * text, or as base64 into binary when a value is not UTF-8.
 */
struct keyed {
    bool secret;
    json_t *data;   /* owned by the caller */
    json_t *binary; /* the same; ConfigMaps only */
    size_t bytes;   /* so far; zero at first */
};

/* "KEY=PATH" or "PATH" (its file name is the key); a PATH of "-" is standard input; a folder gives
 * its files. */
MUST_CHECK int keyed_file(struct keyed *k, const char *word, struct error *err);
/* Lines NAME=VALUE; empty ones and those that begin with # are left out. "-": standard input. */
MUST_CHECK int keyed_env_file(struct keyed *k, const char *path, struct error *err);
/* "KEY=VALUE" */
MUST_CHECK int keyed_literal(struct keyed *k, const char *word, struct error *err);
/* Whether this can be a key: letters, digits, '-', '_' and '.', at most 253. */
bool keyed_name_ok(struct slice key);
