// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Whether a revision can serve: from its Deployment and Pods to the conditions ResourcesAvailable
 * and ContainerHealthy. Pure. Owns: the texts of its answer.
 */

#include "controller/conditions.h"
#include "controller/reconcile.h"

struct health_input {
    const json_t *revision;   /* as it is now, with its conditions */
    const json_t *deployment; /* NULL: not there yet */
    bool deployment_foreign;  /* there, but someone else's */
    struct replicas replicas;
    int64_t initial_scale;
    int64_t age_ms;      /* since the revision was made */
    int64_t deadline_ms; /* progress deadline */
    bool one_machine;    /* our node agent says what is missing, and what to do */
    int64_t port;        /* where the function is to listen; 0: each replica has its own */
};

struct health {
    struct condition resources;
    struct condition container;
    bool silent;       /* it runs and does not listen, for a while */
    uint64_t again_ms; /* look again after so long; 0: no need */
    char reason[64];   /* private: what the conditions point at */
    char message[2 * ERROR_MSG_MAX];
};

void health_decide(const struct health_input *in, struct health *out);
