// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Packs a folder (or just a command) into a bundle below $LULL_HOME/bundles (ARCHITECTURE.md):
 * content- addressed, written to a temporary folder and renamed, so that the same source gives the
 * same image and a half-written bundle is never seen.
 */

#include <jansson.h>

#include "base/error.h"

#define BUNDLE_MAX_FILES 20000
#define BUNDLE_MAX_BYTES (512u << 20)

/*
 * command: array of texts. source NULL: no files, and `workdir` (absolute) is where the command
 * runs. *out_image: "dev.local/NAME@sha256:HEX" in new memory. Errors name the file: a link that
 * leads out of the folder, a special file, too many or too large.
 */
MUST_CHECK int bundle_pack(const char *home, const char *name, const char *source,
                           const char *workdir, const json_t *command, const json_t *env,
                           char **out_image, struct error *err);
