// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The settings of lull-activator: one table of options. */

#include "base/options.h"

#define CONFIG_WORKERS_MAX 64

struct config {
    char *public_listen;
    char *local_listen;
    char *tls_listen;            /* NULL or empty: no TLS */
    char *certificate_namespace; /* NULL: system_namespace */
    char *admin_listen;
    char *autoscaler;   /* NULL: nobody is told */
    int pod_address;    /* enum pod_address */
    char *broker;       /* "": the file says it */
    char *broker_state; /* "": none */
    char *install_secret_file;
    bool announce;
    char *kubeconfig;
    char *system_namespace;
    char *cluster_domain;
    char *name;
    char *workers;     /* a number, or "auto" */
    char *peer_listen; /* NULL: other activators cannot share limits with us */
    char *peers;       /* addresses of other activators, comma-separated; may be NULL */
    bool trust_forwarded;
    bool h2c; /* clients may speak HTTP/2 */
    bool knative_timeouts;
    uint64_t client_idle_ms;
    uint64_t client_head_ms;
    uint64_t client_body_ms;
    uint64_t client_write_ms;
    int64_t max_held;
    int64_t max_held_per_revision;
    uint64_t max_held_bytes;
    uint64_t max_held_bytes_per_revision;
    uint64_t hold_ms;
    uint64_t fail_grace_ms;
    uint64_t drain_ms;
    int64_t metrics_revisions;
    char *request_log_template; /* empty: Knative's default */
    bool request_log;
    bool request_log_probes;
};

extern const struct option_table config_table;

/* The public listener speaks TLS too. */
bool config_has_tls(const struct config *config);
/* How many workers `workers` asks for; ERR_INVALID names the text. */
MUST_CHECK int config_workers(const struct config *config, unsigned *out, struct error *err);
