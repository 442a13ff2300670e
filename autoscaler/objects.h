// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the autoscaler keeps of the objects that it watches: PodAutoscalers, Deployments, Pods and
 * the ConfigMap config-autoscaler. Projections for kube/cache.h: each fills a zeroed struct from
 * JSON and owns the strings in it; release gives them back. Pure.
 */

#include <jansson.h>

#include "autoscaler/history.h"
#include "autoscaler/plan.h"

/* A PodAutoscaler. Its name is the revision's. */
struct pa_object {
    char *deployment; /* spec.scaleTargetRef.name; NULL once the revision has it */
    char *service;    /* label, with metric backlog only; NULL: none, or the revision has it */
    int64_t container_concurrency; /* 0: no limit */
    int64_t generation;
    int64_t observed_generation;   /* of its status; 0: none */
    bool reachable;                /* spec.reachability is not Unreachable */
    uint64_t progress_deadline_ms; /* 0: not given */
    /* autoscaling.knative.dev/… and autoscaling.lull.dev/… only; owned, with their texts */
    struct config_pair *annotations;
    size_t annotation_count;
    /* Its status, as a start after a restart. */
    bool has_active;
    enum plan_active active;
    int64_t active_wall_ns; /* lastTransitionTime of Active; 0: not known */
    bool initialized;
    int64_t initialized_wall_ns; /* as active_wall_ns, of ScaleTargetInitialized */
    int32_t desired_scale;       /* -1: not there */
    int32_t actual_scale;        /* -1: not there */
    struct history history;      /* recorded changes; owned */
    json_t *idle;                /* status.lullIdle; owned; NULL: none */
    int64_t warm_at_wall_ns[WARM_AT_MAX];
    size_t warm_at_count;
};

int pa_object_project(void *arg, const json_t *object, void *value, struct error *err);
void pa_object_release(void *arg, void *value);

/* A Deployment of a revision; others do not matter (project answers 1). */
struct deployment_object {
    char *revision;   /* of its label */
    int32_t replicas; /* spec.replicas; 1 when absent, as the API has it */
};

int deployment_object_project(void *arg, const json_t *object, void *value, struct error *err);
void deployment_object_release(void *arg, void *value);

/* A Pod of a revision. */
struct pod_object {
    char *revision;
    char *address; /* where it is scraped; NULL: not known yet */
    int64_t created_wall_ns;
    bool ready; /* condition Ready, and not being deleted */
    bool terminating;
    bool failing;  /* it cannot start, or ended by itself */
    char *trouble; /* a sentence for users when failing or not placed; NULL: none */
};

/* arg: pointer to enum pod_address. */
enum pod_address { POD_ADDRESS_IP, POD_ADDRESS_UNIX };
int pod_object_project(void *arg, const json_t *object, void *value, struct error *err);
void pod_object_release(void *arg, void *value);

/* config-autoscaler: what it says, or why it cannot be used. */
struct config_object {
    bool valid;
    struct autoscaler_config config;
    struct error err; /* when not valid */
};

int config_object_project(void *arg, const json_t *object, void *value, struct error *err);
