// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What `lull apply` does to an object that is there: a three-way merge of what was applied before
 * (kubectl's annotation last-applied-configuration), what is to be applied now, and what is there.
 * The annotation's text is what kubectl would write, so both can take turns. Pure.
 */

#include <jansson.h>

#include "base/error.h"

/*
 * Puts the annotation with the object's own text into it (a former one is replaced). ERR_TOO_BIG
 * when it would pass 256 KiB, which is the limit of annotations.
 */
MUST_CHECK int apply_annotate(json_t *object, struct error *err);

/*
 * The merge patch (RFC 7386) from live to wanted, which has the annotation already: sets what
 * wanted says and live does not, removes what was applied before and is not wanted now, leaves the
 * rest alone. An empty object: nothing to do. *out_first: live has no annotation, so nothing is
 * removed.
 */
json_t *apply_patch(const json_t *wanted, const json_t *live, bool *out_first);

/* JSON as Go's encoder writes it: compact, keys sorted, <, > and & escaped. Caller frees. */
char *apply_text(const json_t *value);
