// SPDX-License-Identifier: Apache-2.0
/* Plan: the table, nothing else. */
#include "autoscaler/config.h"

static const struct option_row rows[] = {
    OPTION(struct config, link_listen, STRING, "LULL_LINK_LISTEN", "link-listen", "127.0.0.1:8090",
           .help = "address of the stat link, IP:PORT (then an install secret is needed) or "
                   "unix:/path"),
    OPTION(struct config, admin_listen, STRING, "LULL_ADMIN_LISTEN", "admin-listen",
           "127.0.0.1:9090",
           .help = "address of /healthz, /readyz, /metrics and /debug/why, IP:PORT or unix:/path"),
    OPTION(struct config, install_secret_file, STRING, "LULL_INSTALL_SECRET_FILE",
           "install-secret-file", NULL, .optional = true,
           .help = "file with the secret that authenticates the parts to each other"),
    OPTION(struct config, pod_address, CHOICE, "LULL_POD_ADDRESS", "pod-address", "ip",
           .choices = "ip|unix",
           .help = "how a Pod's queue-proxy is asked for its numbers: by its address and port "
                   "9090, or by the annotation lull.dev/admin-address"),
    OPTION(struct config, kubeconfig, STRING, "LULL_KUBECONFIG", "kubeconfig", NULL,
           .optional = true,
           .help = "kubeconfig file; absent: KUBECONFIG, else the Pod's service account"),
    OPTION(struct config, system_namespace, STRING, "LULL_SYSTEM_NAMESPACE", "system-namespace",
           "lull-system", .help = "namespace of config-autoscaler"),
    OPTION(struct config, lease, STRING, "LULL_LEASE", "lease", "",
           .help = "Lease of the system namespace by which one of several replicas leads; empty: "
                   "this one leads (one machine)"),
    OPTION(struct config, lease_duration_ms, DURATION_MS, "LULL_LEASE_DURATION", "lease-duration",
           "8s", .min = 1000, .max = 300000,
           .help = "so long after a leader's last sign another one takes over"),
    OPTION(struct config, traffic_log, STRING, "LULL_TRAFFIC_LOG", "traffic-log", "",
           .help = "file for what traffic each revision had, for lull simulate; it and its older "
                   "half (.1) have at most 8 MiB each; empty: none"),
};

const struct option_table config_table = {
    .program = "lull-autoscaler",
    .summary = "Decides how many replicas each revision has, and writes it.",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};
