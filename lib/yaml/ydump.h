// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A JSON value as YAML for people: keys sorted, two spaces a level, texts quoted only where a
 * reader would take them for something else. yparse reads the same value back.
 */

#include <jansson.h>

#include "base/error.h"
#include "base/strbuf.h"

/* Appends the value and a newline. ERR_TOO_BIG when out is full or the value is too deep. */
MUST_CHECK int ydump(const json_t *value, struct strbuf *out, struct error *err);
