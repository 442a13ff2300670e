// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * serving/autoscaler_config.h over JSON objects of texts: a ConfigMap's data, an object's
 * annotations. Pure. Owns nothing. A file of its own so that the rest needs no JSON library.
 */

#include <jansson.h>

#include "serving/autoscaler_config.h"

/* data (NULL: none) of the ConfigMap config-autoscaler. As autoscaler_config_parse. */
MUST_CHECK int autoscaler_config_from_json(const json_t *data, struct autoscaler_config *out,
                                           struct error *err);

/*
 * annotations (NULL: none) of a revision's template. ERR_INVALID with all problems, one a line as
 * far as they fit: "message: path.annotation".
 */
MUST_CHECK int autoscaler_annotations_validate(const json_t *annotations,
                                               const struct autoscaler_config *config,
                                               const char *path, struct error *err);
