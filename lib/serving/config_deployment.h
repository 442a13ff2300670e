// SPDX-License-Identifier: Apache-2.0
#pragma once

/* ConfigMap config-deployment: what Deployments of Revisions get. Pure; owns nothing. */

#include <jansson.h>

#include "base/error.h"

enum { SIDECAR_CPU, SIDECAR_MEMORY, SIDECAR_STORAGE, SIDECAR_RESOURCES };

struct deployment_config {
    int64_t progress_deadline_s;
    int64_t digest_timeout_ms;            /* digest-resolution-timeout */
    char skipped_registries[1024];        /* registries-skipping-tag-resolving */
    char requests[SIDECAR_RESOURCES][32]; /* queue-sidecar-…-request; "": none */
    char limits[SIDECAR_RESOURCES][32];   /* queue-sidecar-…-limit */
};

/* Knative's: 600 s, a request of 25m of a CPU, 10 s, the three registries that stand for a machine.
 */
void deployment_config_init(struct deployment_config *config);
/* The defaults with what data (may be NULL) says. ERR_INVALID names the key; *config stays. */
MUST_CHECK int deployment_config_read(struct deployment_config *config, const json_t *data,
                                      struct error *err);
