// SPDX-License-Identifier: Apache-2.0
/* The option table of lull-controller. */
#include "controller/config.h"

#include "serving/names.h"

static const struct option_row rows[] = {
    OPTION(struct controller_config, kubeconfig, STRING, "LULL_KUBECONFIG", "kubeconfig", "",
           .help = "file that says where the API server is; empty: KUBECONFIG, else the pod's own "
                   "credentials"),
    OPTION(struct controller_config, admin_listen, STRING, "LULL_ADMIN_LISTEN", "admin-listen",
           "127.0.0.1:9090",
           .help = "address of /healthz, /readyz and /metrics: IP:PORT or unix:/path"),
    OPTION(struct controller_config, system_namespace, STRING, "LULL_SYSTEM_NAMESPACE",
           "system-namespace", SYSTEM_NAMESPACE, .help = "where the ConfigMaps config-* are"),
    OPTION(struct controller_config, queue_proxy_image, STRING, "LULL_QUEUE_PROXY_IMAGE",
           "queue-proxy-image", "",
           .help = "image of the sidecar; empty: the node agent supplies it (one machine)"),
    OPTION(struct controller_config, announce, STRING, "LULL_ANNOUNCE", "announce", "",
           .help = "numeric address of the activators' cluster-local ingress, IP or IP:PORT (else "
                   "80), to which new replicas announce themselves; empty: they do not"),
    OPTION(struct controller_config, install_secret_file, STRING, "LULL_INSTALL_SECRET_FILE",
           "install-secret-file", "",
           .help = "file with the secret of this installation, from which the keys for "
                   "announcements are made"),
    OPTION(struct controller_config, registry_ca, STRING, "LULL_REGISTRY_CA", "registry-ca", "",
           .help = "PEM file of the authorities that vouch for image registries; empty: the "
                   "system's"),
    OPTION(struct controller_config, webhook_listen, STRING, "LULL_WEBHOOK_LISTEN",
           "webhook-listen", "",
           .help = "address of the admission webhook: IP:PORT; empty: none (one machine)"),
    OPTION(struct controller_config, webhook_drain_ms, DURATION_MS, "LULL_WEBHOOK_DRAIN",
           "webhook-drain", "5s", .max = 300000,
           .help = "after SIGTERM the webhook still answers for so long"),
    OPTION(struct controller_config, certificate_namespace, STRING, "LULL_CERTIFICATE_NAMESPACE",
           "certificate-namespace", "",
           .help = "namespace in which the activators find the certificates to show; empty: the "
                   "ingress does not speak TLS"),
    OPTION(struct controller_config, certificate_check_ms, DURATION_MS, "LULL_CERTIFICATE_CHECK",
           "certificate-check", "10s", .min = 500, .max = 86400000,
           .help = "so often the Secrets that certificates come from are read again"),
    OPTION(struct controller_config, broker_ingress, STRING, "LULL_BROKER_INGRESS",
           "broker-ingress", "",
           .help = "URL of lull-broker, below which each Broker has its address; empty: "
                   "--broker-state says it"),
    OPTION(struct controller_config, broker_deployment, STRING, "LULL_BROKER_DEPLOYMENT",
           "broker-deployment", "",
           .help =
               "with --broker-ingress, the Deployment of the system namespace that lull-broker "
               "runs in: without a ready Pod of it Brokers are not Ready; empty: not looked at"),
    OPTION(struct controller_config, broker_state, STRING, "LULL_BROKER_STATE", "broker-state", "",
           .help = "file in which the supervisor says where lull-broker is (one machine); empty: "
                   "there is none"),
    OPTION(struct controller_config, lease, STRING, "LULL_LEASE", "lease", "",
           .help = "Lease of the system namespace by which one of several replicas leads; empty: "
                   "this one leads (one machine)"),
    OPTION(struct controller_config, lease_duration_ms, DURATION_MS, "LULL_LEASE_DURATION",
           "lease-duration", "8s", .min = 1000, .max = 300000,
           .help = "so long after a leader's last sign another one takes over"),
};

const struct option_table controller_config_table = {
    .program = "lull-controller",
    .summary = "turns Services into Configurations, Routes, Revisions and Deployments",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};
