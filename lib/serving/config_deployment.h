// SPDX-License-Identifier: Apache-2.0
#pragma once

/* ConfigMap config-deployment: what Deployments of Revisions get. Pure; owns nothing. */

#include <stdbool.h>

#include <jansson.h>

#include "base/error.h"

enum { DEPLOYMENT_CLASS_BUF = 254, DEPLOYMENT_CLASSES_MAX = 4096 };
enum { SIDECAR_CPU, SIDECAR_MEMORY, SIDECAR_STORAGE, SIDECAR_RESOURCES };

struct deployment_config {
    int64_t progress_deadline_s;
    int64_t digest_timeout_ms;            /* digest-resolution-timeout */
    char skipped_registries[1024];        /* registries-skipping-tag-resolving */
    char requests[SIDECAR_RESOURCES][32]; /* queue-sidecar-…-request; "": none */
    char limits[SIDECAR_RESOURCES][32];   /* queue-sidecar-…-limit */
    char token_audiences[1024];           /* queue-sidecar-token-audiences, parted by commas */
    bool spread_over_nodes;               /* default-affinity-type */
    char runtime_classes[DEPLOYMENT_CLASSES_MAX]; /* runtime-class-name: YAML, checked */
};

/* The runtime class for Pods with these labels (may be NULL): of those whose selector matches, the
 * one with most labels, then the first by name. "": none. */
void deployment_config_class(const struct deployment_config *config, const json_t *labels,
                             char out[static DEPLOYMENT_CLASS_BUF]);
/* Knative's: 600 s, a request of 25m of a CPU, 10 s, the three registries that stand for a machine,
 * Pods of a revision spread over nodes. */
void deployment_config_init(struct deployment_config *config);
/* The defaults with what data (may be NULL) says. ERR_INVALID names the key; *config stays. */
MUST_CHECK int deployment_config_read(struct deployment_config *config, const json_t *data,
                                      struct error *err);
