// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How a folder wants to be run, in this order:
 *   lull.yaml      command: text (run by sh -c) or list of texts; env: map of texts; build: text
 *   Procfile       its `web:` line, run by sh -c
 *   main.py        python3 main.py
 *   server.js      node server.js
 *   package.json   its scripts.start, run by sh -c
 *   one executable file at the top
 * Blocking.
 */

#include <jansson.h>

#include "base/error.h"

struct source {
    json_t *command; /* array of texts; owned */
    json_t *env;     /* object of texts; owned; never NULL on success */
    char *build;     /* run by sh -c in the folder before it is packed; NULL: nothing */
    const char *how; /* what decided: "lull.yaml", …; a constant */
};

/* ERR_NOT_FOUND: nothing says how to run it; the sentence lists what would. ERR_INVALID: a file
 * that says it cannot be read, with its line. source_fini() on success. */
MUST_CHECK int source_read(const char *dir, struct source *out, struct error *err);
/* A zeroed struct is fine. */
void source_fini(struct source *s);
