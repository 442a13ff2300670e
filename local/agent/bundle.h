// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A function's image on one machine: dev.local/NAME@sha256:HEX, unpacked in
 * $LULL_HOME/bundles/sha256-HEX (ARCHITECTURE.md). Blocking: for pool threads.
 */

#include <jansson.h>

#include "base/error.h"

struct bundle {
    json_t *root;  /* bundle.json; owned */
    char *workdir; /* absolute; owned */
};

/* The HEX of an image reference. ERR_UNSUPPORTED with the remedy when it is no local bundle. */
MUST_CHECK int bundle_digest(const char *image, char out_hex[65], struct error *err);

/* ERR_NOT_FOUND, ERR_INVALID with what to do. bundle_fini() on success. */
MUST_CHECK int bundle_read(const char *home, const char *image, struct bundle *out,
                           struct error *err);
/* A zeroed struct is fine. */
void bundle_fini(struct bundle *b);
