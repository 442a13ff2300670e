// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The options of lull-broker. */

#include "base/options.h"

struct config {
    char *listen;
    char *admin_listen;
    char *kubeconfig; /* NULL: as kube_config_load has it */
    char *system_namespace;
    char *redis;
    char *redis_file; /* instead of redis; NULL: none */
    char *redis_user_file;
    char *redis_password_file;
    char *redis_sentinel_password_file;
    char *redis_ca; /* NULL: the system's */
    char *redis_cert;
    char *redis_key;
    char *redis_server_name;
    char *redis_wait;          /* "": none */
    char *name;                /* "": the machine's name */
    char *local_gateway;       /* "": names of the cluster are asked of DNS */
    char *autoscaler;          /* NULL: nobody is told */
    char *install_secret_file; /* NULL: none */
    uint64_t event_bytes_max;
    uint64_t body_bytes_max;
    uint64_t memory_bytes_max;
    int64_t events_max;
    int64_t events_kept;
    int64_t dead_kept;
    int64_t parallelism;
    uint64_t delivery_timeout_ms;
    uint64_t reply_bytes_max;
    uint64_t redis_timeout_ms;
    uint64_t worker_silence_ms;
    uint64_t drain_ms;
    uint64_t wake_ahead_ms;
    uint64_t missed_runs_ms;
    uint64_t async_body_max;
    uint64_t async_result_max;
    uint64_t async_result_ttl_ms;
    uint64_t async_timeout_ms;
    uint64_t async_lifetime_ms;
    uint64_t async_retry_delay_ms;
    int64_t async_retries;
    int64_t async_calls_max;
    int64_t async_parallelism;
    char *deliver_ca; /* NULL: the system's */
    bool deliver_private;
    bool deliver_loopback;
    char *refuse_ports; /* "": none */
};

extern const struct option_table config_table;
