// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The queue-proxy's settings: Knative's environment names, and a few of our own. */

#include "base/options.h"

/* What the function speaks; auto: HTTP/2 when the port for requests is Knative's for that. */
enum user_protocol { USER_PROTOCOL_AUTO, USER_PROTOCOL_HTTP1, USER_PROTOCOL_H2C };

struct config {
    char *queue_listen; /* comma-separated addresses; empty: queue_port on every address */
    char *admin_listen; /* the same; empty: the three ports of Knative */
    char *user_host;
    char *probe; /* SERVING_READINESS_PROBE, JSON; empty: TCP */
    char *namespace_name;
    char *service;
    char *configuration;
    char *revision;
    char *pod;
    char *pod_ip;
    char *announce; /* the activators; empty: nothing is announced */
    char *announce_key;
    char *revision_uid;
    char *pod_uid;
    char *request_log_template; /* empty: Knative's default */
    bool request_log;
    bool request_log_probes;
    int log_level;       /* 0: as LULL_LOG says; 1 debug, 2 info, 3 warn, more: error */
    int64_t concurrency; /* 0: no limit */
    int user_protocol;   /* enum user_protocol */
    int64_t queue_port;
    int64_t user_port;
    int64_t probe_port; /* 0: user_port */
    int64_t timeout_s;
    int64_t start_timeout_s; /* 0: none */
    int64_t idle_timeout_s;  /* 0: none */
    bool knative_timeouts;
    uint64_t client_idle_ms;
    uint64_t client_head_ms;
    uint64_t client_body_ms;
    uint64_t client_write_ms;
    uint64_t drain_quiet_ms;
    uint64_t drain_timeout_ms;
};

extern const struct option_table config_table;

/* Whether the function, and with it this proxy's port, speaks HTTP/2 with prior knowledge. */
bool config_h2c(const struct config *config);
