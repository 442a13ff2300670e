// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * An OpenAPI v2 document in the protobuf form that kubectl reads
 * (application/com.github.proto-openapi.spec.v2@v1.0+protobuf). Pure.
 */

#include <jansson.h>

#include "base/strbuf.h"

/* Appends the definitions and, of the paths, the parameters of their operations. */
void openapi_pb(const json_t *document, struct strbuf *out);
