// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What a Pod says about its function, and the sum over a revision's Pods. Pure; owns nothing. */

#include "controller/reconcile.h"

#define POD_MESSAGE_MAX 256 /* one is kept per Pod: the rest is in its status */

struct pod_view {
    char revision[NAME_BUF];
    bool ready;
    bool running; /* the function's container runs */
    enum replica_trouble trouble;
    int32_t exit_code;
    char reason[64];
    char message[POD_MESSAGE_MAX];
};

/* False when the Pod belongs to no revision. */
bool pod_read(const json_t *pod, struct pod_view *out);
/* Adds one Pod; of several troubles the first is kept. out is zeroed before the first. */
void pod_count(const struct pod_view *pod, struct replicas *out);
