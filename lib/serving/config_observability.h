// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * ConfigMap config-observability, as far as queue-proxies of new Revisions need it. Pure. Whether
 * the template of the request log makes sense is for its reader (http/log_template) to say.
 */

#include <jansson.h>

#include "base/error.h"

#define REQUEST_LOG_TEMPLATE_MAX 4096

struct observability_config {
    bool request_log;                                    /* logging.enable-request-log */
    bool request_log_probes;                             /* logging.enable-probe-request-log */
    char request_log_template[REQUEST_LOG_TEMPLATE_MAX]; /* "": Knative's default */
};

/* The defaults with what data (may be NULL) says. ERR_INVALID names the key; *config stays. */
MUST_CHECK int observability_config_read(struct observability_config *config, const json_t *data,
                                         struct error *err);
