// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Defaulting and validation of the product's objects: pure functions over their JSON. The
 * one-machine API server calls them before it stores an object; the CLI calls them before it sends
 * one. Owns: nothing. May not: read a clock, a file or another object than those given.
 */

#include <jansson.h>

#include "base/error.h"
#include "serving/autoscaler_config.h"
#include "serving/kinds.h"

/* What config-defaults and config-autoscaler say; serving_config_init gives Knative's defaults. */
struct serving_config {
    int64_t timeout_s;                   /* revision-timeout-seconds */
    int64_t max_timeout_s;               /* max-revision-timeout-seconds */
    int64_t response_start_timeout_s;    /* revision-response-start-timeout-seconds; 0: none */
    int64_t idle_timeout_s;              /* revision-idle-timeout-seconds; 0: none */
    int64_t concurrency;                 /* container-concurrency */
    int64_t max_concurrency;             /* container-concurrency-max-limit */
    bool allow_concurrency_zero;         /* allow-container-concurrency-zero */
    struct autoscaler_config autoscaler; /* the bounds of autoscaling annotations */
};
void serving_config_init(struct serving_config *config);
/* Reads the data of ConfigMap config-defaults (NULL: none) over what is there. ERR_INVALID names
 * the key; config is unchanged then. */
MUST_CHECK int serving_config_read(struct serving_config *config, const json_t *data,
                                   struct error *err);

/*
 * Fills in what object (of kind) leaves open. old: the stored object on an update, NULL on create.
 * Kinds that have no defaults are left alone. ERR_INVALID when the shape is too odd to default.
 */
MUST_CHECK int serving_default(const struct serving_config *config, const struct kind *kind,
                               json_t *object, const json_t *old, struct error *err);
/*
 * Checks object after defaulting. old: as above. ERR_INVALID with Knative's words: "missing
 * field(s): spec.template.spec.containers". Kinds that have no rules pass.
 */
MUST_CHECK int serving_validate(const struct serving_config *config, const struct kind *kind,
                                const json_t *object, const json_t *old, struct error *err);
