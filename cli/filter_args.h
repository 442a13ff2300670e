// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Filters of events as people write them: --filter, --prefix, --suffix ATTRIBUTE=VALUE, each
 * several times, and --cesql EXPRESSION; all of them must hold. Owns: nothing.
 */

#include <jansson.h>

#include "base/error.h"
#include "cli/args.h"

struct filter_args {
    struct cli_words exact, prefixes, suffixes;
    const char *cesql; /* NULL: none */
};

/* Takes the repeated ones out of argv, before cli_parse; 0, or the exit status. */
int filter_args_take(struct filter_args *a, int *argc, char **argv);
/* As spec.filters of a Trigger, the caller's; *out NULL: nothing was asked for. ERR_INVALID. */
MUST_CHECK int filter_args_json(const struct filter_args *a, json_t **out, struct error *err);
