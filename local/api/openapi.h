// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The OpenAPI documents, made from the tables of kinds and structures: /openapi/v2 as JSON and as
 * the protobuf that kubectl asks for, /openapi/v3 with one document per group and version. Pure:
 * they are built when somebody asks and not kept; clients keep them by their hash.
 */

#include <jansson.h>

#include "base/strbuf.h"
#include "serving/kinds.h"

#define OPENAPI_HASH_MAX 33 /* hexadecimal, with its NUL */

/* The hash of every document by the kind id of its first row; of the others "". */
struct openapi_hashes {
    char of[KIND_COUNT][OPENAPI_HASH_MAX];
    char v2[OPENAPI_HASH_MAX];
};
void openapi_hash(struct openapi_hashes *out);

/* {"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=…"}}} */
void openapi_index(const struct openapi_hashes *hashes, struct strbuf *out);
/* The first row of the group and version of "/openapi/v3/apis/GROUP/VERSION"; NULL: no document. */
const struct kind *openapi_find(struct slice path);
void openapi_v3(const struct kind *head, struct strbuf *out);
void openapi_v2(struct strbuf *out);
void openapi_v2_protobuf(struct strbuf *out);
