// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * HorizontalPodAutoscalers by what they scale. Two of one Deployment would undo what the other
 * does, so neither scales it: Kubernetes' AmbiguousSelector.
 */

#include <jansson.h>

#include "base/error.h"
#include "local/hpa/object.h"
#include "local/store.h"

#define HPA_RESOURCE "horizontalpodautoscalers.autoscaling"

/* {"namespace/kind/name" of a target: ["namespace/name" of an object, …]}, of all; for the caller
 * to free. NULL: the store does not know the kind. */
json_t *hpa_rivals(struct store *store, struct error *err);

/* True: another object has this target too, and text says which. */
bool hpa_rivals_say(const json_t *rivals, const char *ns, const struct hpa_spec *spec,
                    char text[ERROR_MSG_MAX]);
