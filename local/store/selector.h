// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Label and field selectors as Kubernetes reads them: "a=b,c!=d,e in (x,y),f notin (z),g,!h" and
 * "metadata.name=a,status.phase!=Running". Pure; owns its texts. Bounded: 64 requirements of 64
 * values, 8 KiB of text.
 */

#include "local/store/object.h"

struct selector {
    char *text;                  /* private: owned, cut at the separators */
    struct selector_need *needs; /* private */
    size_t count;                /* private */
};

/* labels and fields may be NULL. ERR_PROTOCOL with what is wrong. Zeroed is a valid fini argument.
 */
MUST_CHECK int selector_init(struct selector *s, const struct store_kind *kind, const char *labels,
                             const char *fields, struct error *err);
void selector_fini(struct selector *s);
bool selector_match(const struct selector *s, const struct object *o);
