// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Destinations as people write them: a function's name, ksvc:NAME, svc:NAME, broker:NAME, each with
 * :NAMESPACE perhaps, or a URL.
 * Pure. Owns: nothing.
 */

#include <jansson.h>

#include "base/error.h"
#include "base/strbuf.h"

/* The Destination, the caller's. ERR_INVALID: of no known form. */
MUST_CHECK int sink_parse(const char *text, json_t **out, struct error *err);
/* The other way round, for people; object: whose it is, whose namespace need not be said. */
void sink_print(const json_t *object, const json_t *destination, struct strbuf *out);
