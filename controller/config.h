// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The options of lull-controller. */

#include "base/options.h"

struct controller_config {
    char *kubeconfig;
    char *admin_listen;
    char *system_namespace;
    char *queue_proxy_image;
    char *announce;
    char *install_secret_file;
    char *registry_ca;
    char *webhook_listen;
    uint64_t webhook_drain_ms;
    char *certificate_namespace;
    uint64_t certificate_check_ms;
    char *broker_ingress;
    char *broker_deployment;
    char *broker_state;
    char *lease;
    uint64_t lease_duration_ms;
};

extern const struct option_table controller_config_table;
