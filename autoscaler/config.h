// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The options of lull-autoscaler. */

#include "base/options.h"

struct config {
    char *link_listen;
    char *admin_listen;
    char *install_secret_file; /* NULL: none */
    int pod_address;           /* enum pod_address */
    char *kubeconfig;          /* NULL: as kube_config_load has it */
    char *system_namespace;
    char *lease; /* "": none, this one leads */
    uint64_t lease_duration_ms;
    char *traffic_log; /* "": none */
};

extern const struct option_table config_table;
