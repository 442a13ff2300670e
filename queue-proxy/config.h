// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The queue-proxy's settings: Knative's environment names, and a few of our own. */

#include "base/options.h"

struct config {
    char *queue_listen; /* comma-separated addresses; empty: queue_port on every address */
    char *admin_listen; /* the same; empty: the two ports of Knative */
    char *user_host;
    char *probe; /* SERVING_READINESS_PROBE, JSON; empty: TCP */
    char *namespace_name;
    char *service;
    char *configuration;
    char *revision;
    char *pod;
    int64_t concurrency; /* 0: no limit */
    int64_t queue_port;
    int64_t user_port;
    int64_t timeout_s;
    int64_t start_timeout_s; /* 0: none */
    int64_t idle_timeout_s;  /* 0: none */
    uint64_t drain_quiet_ms;
    uint64_t drain_timeout_ms;
};

extern const struct option_table config_table;
