// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What `-f` names: files, folders, standard input and URLs, as objects with the place where each
 * stood. Lists are taken apart. At most MANIFESTS_MAX objects, folders at most 16 deep.
 */

#include <jansson.h>

#include "base/error.h"
#include "cli/args.h"
#include "cli/cli.h"

#define MANIFESTS_MAX 10000

struct manifest {
    json_t *object;
    char *origin; /* "dir/hello.yaml:12", for sentences */
};

struct manifests {
    struct manifest *items;
    size_t count;
};

/*
 * Everything that the words name, in their order; a folder's files (.yaml, .yml, .json) by name.
 * "-" is standard input. Errors name file and line. *out is released with manifests_fini, also
 * after a failure.
 */
MUST_CHECK int manifests_read(struct cli *cli, const struct cli_words *words, bool recursive,
                              struct manifests *out, struct error *err);
void manifests_fini(struct manifests *manifests);
