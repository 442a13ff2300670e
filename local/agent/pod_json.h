// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Pods and their status as JSON, in Kubernetes' form. Pure: no clock, no store, no process.
 */

#include <jansson.h>

#include "base/error.h"

#define POD_QUEUE_ADDRESS "lull.dev/queue-address"
#define POD_ADMIN_ADDRESS "lull.dev/admin-address"
#define POD_REPLICA_ID    "lull.dev/replica-id"
#define POD_NODE_NAME     "lull"
#define POD_PROXY_NAME    "queue-proxy"

/* What lull-replica told last (local/replica/replica.h). */
struct replica_state {
    bool up;      /* a state was received */
    bool running; /* the function runs */
    bool ended;   /* everything ended; the process goes now */
    bool backoff; /* it ended and waits for its next start */
    bool ready;   /* its queue-proxy says that it listens */
    int pid;      /* of the function; 0 when it does not run */
    int proxy_pid;
    int64_t restarts;
    int64_t started_ns; /* wall clock */
    int64_t ready_ns;
    int code; /* of its last end; -1: could not be executed */
    int signal;
    bool oom; /* it ended for want of memory */
    char message[256];
};

/* Reads one line of the control socket. ERR_INVALID otherwise. */
MUST_CHECK int replica_state_parse(const char *line, size_t len, struct replica_state *out,
                                   struct error *err);

/* Why a Pod does not run; reason NULL: nothing wrong. */
struct pod_trouble {
    const char *reason; /* "Unschedulable", "ErrImagePull", "CreateContainerConfigError", … */
    char message[256];
    bool unschedulable;
};

/* metadata (labels and annotations of the template, owner, addresses) and spec of a new Pod. */
MUST_CHECK int pod_build(const json_t *deployment, const char *name, const char *replica_id,
                         const char *run_dir, json_t **out, struct error *err);

/* Whether it has the address that pod_build gives. */
bool pod_addressed(const json_t *pod, const char *run_dir, const char *replica_id);

/* The status for a merge patch: {"status": {…}}. `pod` is the object as it is now. */
MUST_CHECK int pod_status_build(const json_t *pod, const struct replica_state *state,
                                const struct pod_trouble *trouble, int64_t now_ns, json_t **out,
                                struct error *err);

/* {"status": {…}} of a Deployment. */
MUST_CHECK int deployment_status_build(const json_t *deployment, int64_t replicas, int64_t ready,
                                       int64_t now_ns, json_t **out, struct error *err);

/* Sum of the containers' memory requests (limits where there is no request), in bytes. */
int64_t pod_memory_request(const json_t *pod);
