// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Revisions of class hpa on Kubernetes: their HorizontalPodAutoscaler, which scales the Deployment
 * in place of the autoscaler, and the status of their PodAutoscaler, which follows from it. Pure.
 * Owns: nothing. May not: touch what another class scales.
 */

#include "controller/reconcile.h"

/* Whether class hpa scales the revision: its annotation, else what config-autoscaler says. */
bool hpa_class(const struct settings *settings, const json_t *revision);
/* A new object; autoscaler: the revision's PodAutoscaler as it is, which owns it. */
json_t *hpa_build(const struct settings *settings, const json_t *revision,
                  const json_t *autoscaler);
/*
 * Makes the HorizontalPodAutoscaler of a revision and keeps it so, and writes the PodAutoscaler's
 * status; takes it away when the class is another one. autoscaler: as it is; deployment may be
 * NULL.
 */
void hpa_sync(const struct reconcile_env *env, const json_t *revision, const json_t *autoscaler,
              const json_t *deployment, const struct replicas *replicas, struct plan *plan);
