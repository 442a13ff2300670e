// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * serving/autoscaler_config.h over a JSON object of texts, a ConfigMap's data. Pure. Owns nothing.
 * A file of its own so that the rest needs no JSON library.
 */

#include <jansson.h>

#include "serving/autoscaler_config.h"

/* data (NULL: none) of the ConfigMap config-autoscaler. As autoscaler_config_parse. */
MUST_CHECK int autoscaler_config_from_json(const json_t *data, struct autoscaler_config *out,
                                           struct error *err);
