// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Where the other programs of Lull stand. */

#include "base/error.h"

/*
 * The path of "lull-local" and its like, in new memory: beside us when installed, or in its own
 * folder of a build tree. NULL: it is nowhere.
 */
char *program_find(const char *name, struct error *err);
/* Runs it in our place with these arguments (NULL-terminated, argv[0] included); returns only on
 * failure. */
MUST_CHECK int program_become(const char *name, const char *const argv[], struct error *err);
/* lull-local in our place, for one task ("--backup", "--restore") on the state below home. */
MUST_CHECK int program_become_keeper(const char *home, const char *task, const char *file,
                                     struct error *err);

/* The first executable file of this name in PATH. New memory; NULL:
 * there is none. */
char *program_in_path(const char *name);
/* This very program. New memory; NULL: err says why not. */
char *program_self(struct error *err);
