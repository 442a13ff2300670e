// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What all who write JSON values as text have in common. Pure. Owns: nothing. */

#include <jansson.h>

#include "base/strbuf.h"

/* The names in an object, sorted by their bytes, then NULL. The list is the caller's to free, the
 * names are the object's. Of what is no object there are none. */
const char **jtext_names(const json_t *object);
/* A number as short as it reads back ("1" for 1.0), true, false, null; a text as it is. */
void jtext_scalar(struct strbuf *out, const json_t *scalar);
