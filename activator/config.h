// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The settings of lull-activator: one table of options. */

#include "base/options.h"

struct config {
    char *public_listen;
    char *local_listen;
    char *admin_listen;
    char *autoscaler; /* NULL: nobody is told */
    int pod_address;  /* enum pod_address */
    char *install_secret_file;
    char *kubeconfig;
    char *system_namespace;
    char *cluster_domain;
    char *name;
    bool trust_forwarded;
    bool h2c; /* clients may speak HTTP/2 */
    int64_t max_held;
    int64_t max_held_per_revision;
    uint64_t max_held_bytes;
    uint64_t max_held_bytes_per_revision;
    uint64_t hold_ms;
    uint64_t fail_grace_ms;
    uint64_t drain_ms;
};

extern const struct option_table config_table;
