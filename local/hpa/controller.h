// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Scales Deployments as their HorizontalPodAutoscalers ask for: what Kubernetes' controller of that
 * name does. Every sync period it asks what the replicas use, decides for each object, writes the
 * Deployment's scale and the object's status, and tells of each change in an Event.
 * Owns: the memory of proposals, per object. Nothing is measured while there is no object.
 */

#include "loop/loop.h"
#include "local/hpa/calculate.h"
#include "local/store.h"
#include "local/usage.h"

struct hpa_controller;

struct hpa_options {
    struct loop *loop;
    struct store *store;                /* outlives it */
    const struct usage_provider *usage; /* outlives it */
    uint64_t sync_ms;
    struct hpa_settings settings;
};

struct hpa_controller *hpa_controller_start(const struct hpa_options *options);
/* No write is started any more; cb when those on their way have ended. Idempotent. */
void hpa_controller_close(struct hpa_controller *h, void (*cb)(void *arg), void *arg);
