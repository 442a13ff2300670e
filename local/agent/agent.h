// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The node agent of one machine: does for Deployments and Pods what Kubernetes' Deployment
 * controller, scheduler and kubelet do. It keeps as many Pods as a Deployment wants, starts each as
 * a lull-replica process (queue-proxy and function), publishes Pod and Deployment status the moment
 * it changes, and holds Pods back beyond the machine's capacity.
 *
 * Owns: $LULL_HOME/replicas and $LULL_HOME/run/r. Knows the store, never HTTP requests.
 * Replicas outlive it: after a restart it adopts what still runs.
 */

#include "base/error.h"
#include "loop/loop.h"
#include "local/logs.h"
#include "local/store.h"
#include "local/usage.h"

struct agent;

struct agent_options {
    struct loop *loop;
    struct store *store;       /* outlives the agent */
    const char *home;          /* $LULL_HOME */
    const char *libexec;       /* folder of lull-replica and lull-queue-proxy */
    uint32_t max_replicas;     /* Pods that run at once; more stay Pending */
    uint64_t max_memory_bytes; /* sum of their memory requests; 0: no bound */
    uint64_t log_max_bytes;    /* per log file of a replica; two are kept. 0: 8 MiB */
    int lifeline_fd;           /* a copy goes to every replica; -1: none */
};

/*
 * Adopts or ends the replicas that are there, then follows the store. Blocks briefly (start-up).
 * ERR_TOO_BIG when `home` is too long for the sockets below it, ERR_DENIED when it cannot be
 * written or not be reached by the users that functions run as: the sentence says what to do.
 */
MUST_CHECK int agent_start(struct agent **out, const struct agent_options *options,
                           struct error *err);

typedef void (*agent_close_cb)(void *arg);
/* Leaves the replicas running. Idempotent; cb comes later and may be NULL. */
void agent_close(struct agent *a, agent_close_cb cb, void *arg);

/* For the API server's GET …/pods/NAME/log. Lives as long as the agent. */
const struct logs_provider *agent_logs(struct agent *a);
/* What replicas use. Lives as long as the agent. */
const struct usage_provider *agent_usage(struct agent *a);
