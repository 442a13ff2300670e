// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Defaults and rules of HorizontalPodAutoscalers (autoscaling/v2), with Kubernetes' words. Pure.
 */

#include <jansson.h>

/* Before scaling_check. */
void scaling_default(json_t *object);
void scaling_check(json_t *causes, const json_t *object);
