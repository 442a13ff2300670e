// SPDX-License-Identifier: Apache-2.0
/* Plan: the table, and what a row of it cannot say. */
#include "activator/config.h"

#include <sched.h>

#include "base/num.h"

static const struct option_row rows[] = {
    OPTION(struct config, public_listen, STRING, "LULL_PUBLIC_LISTEN", "public-listen",
           "127.0.0.1:8080", .help = "address of the public listener, IP:PORT"),
    OPTION(struct config, local_listen, STRING, "LULL_LOCAL_LISTEN", "local-listen",
           "127.0.0.1:8081", .help = "address of the cluster-local listener, IP:PORT"),
    OPTION(struct config, tls_listen, STRING, "LULL_TLS_LISTEN", "tls-listen", NULL,
           .optional = true,
           .help = "address of the public listener with TLS, IP:PORT; absent: none"),
    OPTION(struct config, certificate_namespace, STRING, "LULL_CERTIFICATE_NAMESPACE",
           "certificate-namespace", NULL, .optional = true,
           .help = "namespace in which the controller keeps the certificates to show; absent: "
                   "the system's"),
    OPTION(
        struct config, admin_listen, STRING, "LULL_ADMIN_LISTEN", "admin-listen", "127.0.0.1:9090",
        .help = "address of /healthz, /readyz, /metrics and /debug/state, IP:PORT or unix:/path"),
    OPTION(struct config, autoscaler, STRING, "LULL_AUTOSCALER", "autoscaler", NULL,
           .optional = true,
           .help = "address of the autoscaler's stat link, IP:PORT or unix:/path, of several "
                   "with commas; pods:PORT: Pods of the system namespace with the label "
                   "app=lull-autoscaler; absent: no reports, nothing is scaled"),
    OPTION(struct config, pod_address, CHOICE, "LULL_POD_ADDRESS", "pod-address", "ip",
           .choices = "ip|unix",
           .help = "how a Pod is dialled: by its address and the queue port, or by the "
                   "annotation lull.dev/queue-address"),
    OPTION(struct config, broker, STRING, "LULL_BROKER", "broker", "",
           .help = "where lull-broker takes asynchronous calls and web hooks, http://HOST[:PORT], "
                   "IP:PORT or unix:/path; empty: --broker-state says it, else nowhere"),
    OPTION(struct config, broker_state, STRING, "LULL_BROKER_STATE", "broker-state", "",
           .help = "file in which the supervisor of one machine says where lull-broker is; it is "
                   "asked to start it when somebody needs it"),
    OPTION(struct config, install_secret_file, STRING, "LULL_INSTALL_SECRET_FILE",
           "install-secret-file", NULL, .optional = true,
           .help = "file with the secret that authenticates the parts to each other"),
    OPTION(struct config, announce, BOOL, "LULL_ANNOUNCE", "announce", "false",
           .help =
               "take announcements of replicas on the cluster-local listener, ahead of what the "
               "API says of them; needs the install secret"),
    OPTION(struct config, kubeconfig, STRING, "LULL_KUBECONFIG", "kubeconfig", NULL,
           .optional = true,
           .help = "kubeconfig file; absent: KUBECONFIG, else the Pod's service account"),
    OPTION(struct config, system_namespace, STRING, "LULL_SYSTEM_NAMESPACE", "system-namespace",
           "lull-system", .help = "namespace of the system's own objects"),
    OPTION(struct config, cluster_domain, STRING, "LULL_CLUSTER_DOMAIN", "cluster-domain",
           "cluster.local", .help = "end of in-cluster host names"),
    OPTION(struct config, name, STRING, "LULL_NAME", "name", NULL, .optional = true,
           .help = "name of this instance in reports; absent: the host name and process id"),
    OPTION(struct config, workers, STRING, "LULL_WORKERS", "workers", "1",
           .help = "processes that take requests, 1 to 64, or auto: one per processor; each holds "
                   "and balances by itself, limits per "
                   "worker count per worker"),
    OPTION(struct config, peer_listen, STRING, "LULL_PEER_LISTEN", "peer-listen", NULL,
           .optional = true,
           .help = "address for other activators, IP:PORT (worker i at PORT + i), so that limits "
                   "(containerConcurrency) are exact over all of them; needs the install secret"),
    OPTION(struct config, peers, STRING, "LULL_PEERS", "peers", NULL, .optional = true,
           .help = "peer addresses of the other activators, comma-separated; with --peer-listen; "
                   "absent: Pods of the system namespace with the label app=lull-activator"),
    OPTION(struct config, trust_forwarded, BOOL, "LULL_TRUST_FORWARDED", "trust-forwarded", "false",
           .help = "keep X-Forwarded-* and Forwarded of public requests: only behind a proxy that "
                   "sets them"),
    OPTION(struct config, h2c, BOOL, "LULL_H2C", "h2c", "false",
           .help = "take HTTP/2 without TLS from clients too (prior knowledge, as gRPC speaks it); "
                   "not yet for listeners that face the world"),
    OPTION(struct config, knative_timeouts, BOOL, "LULL_KNATIVE_TIMEOUTS", "knative-timeouts",
           "false",
           .help = "count timeoutSeconds from a request's arrival here, as Knative does, also for "
                   "upgraded connections"),
    OPTION(struct config, client_idle_ms, DURATION_MS, "LULL_CLIENT_IDLE", "client-idle", "75s",
           .min = 0, .max = 86400000,
           .help = "a kept connection without a request is closed after this; 0: never"),
    OPTION(struct config, client_head_ms, DURATION_MS, "LULL_CLIENT_HEAD", "client-head", "15s",
           .min = 0, .max = 86400000,
           .help = "a request's head must come within this, then 408; 0: no limit"),
    OPTION(struct config, client_body_ms, DURATION_MS, "LULL_CLIENT_BODY", "client-body", "60s",
           .min = 0, .max = 86400000,
           .help = "a body that is waited for brings a byte within this, then 408; 0: no limit"),
    OPTION(struct config, client_write_ms, DURATION_MS, "LULL_CLIENT_WRITE", "client-write", "60s",
           .min = 0, .max = 86400000,
           .help = "a client takes a byte of what waits for it within this, or is cut; 0: no "
                   "limit"),
    OPTION(struct config, max_held, INT, "LULL_MAX_HELD", "max-held", "50000", .min = 1,
           .max = 10000000, .help = "most requests held in all; further ones get 503"),
    OPTION(struct config, max_held_per_revision, INT, "LULL_MAX_HELD_PER_REVISION",
           "max-held-per-revision", "10000", .min = 1, .max = 10000000,
           .help = "most requests held for one revision; further ones get 503"),
    OPTION(struct config, max_held_bytes, BYTES, "LULL_MAX_HELD_BYTES", "max-held-bytes", "512Mi",
           .min = 65536, .max = INT64_MAX, .help = "most memory of held requests in all"),
    OPTION(struct config, max_held_bytes_per_revision, BYTES, "LULL_MAX_HELD_BYTES_PER_REVISION",
           "max-held-bytes-per-revision", "256Mi", .min = 65536, .max = INT64_MAX,
           .help = "most memory of held requests of one revision"),
    OPTION(struct config, hold_ms, DURATION_MS, "LULL_HOLD_TIMEOUT", "hold-timeout", "5m", .min = 1,
           .max = 86400000,
           .help = "longest wait of a request for a replica, if timeoutSeconds is not shorter; "
                   "then 503"),
    OPTION(struct config, fail_grace_ms, DURATION_MS, "LULL_FAIL_GRACE", "fail-grace", "5s",
           .min = 0, .max = 3600000,
           .help = "longest wait of a request while its revision is known to fail; then 503 with "
                   "the reason"),
    OPTION(struct config, drain_ms, DURATION_MS, "LULL_DRAIN", "drain", "30s", .min = 0,
           .max = 3600000, .help = "longest time for running requests after SIGTERM"),
    OPTION(struct config, metrics_revisions, INT, "LULL_METRICS_REVISIONS", "metrics-revisions",
           "1000", .min = 0, .max = 100000,
           .help = "most revisions with metrics of their own, 176 bytes each; the others share "
                   "one line, \"other\""),
    OPTION(struct config, request_log, BOOL, "LULL_REQUEST_LOG", "request-log", "false",
           .help = "write a line per request to the standard output"),
    OPTION(struct config, request_log_template, STRING, "LULL_REQUEST_LOG_TEMPLATE",
           "request-log-template", "",
           .help = "what the line says, as a Go template; empty: Knative's default, JSON"),
    OPTION(struct config, request_log_probes, BOOL, "LULL_REQUEST_LOG_PROBES", "request-log-probes",
           "false", .help = "a line per probe as well"),
};

const struct option_table config_table = {
    .program = "lull-activator",
    .summary = "Takes every request in, holds it while its function starts, and balances.",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

bool config_has_tls(const struct config *config)
{
    return config->tls_listen != NULL && config->tls_listen[0] != '\0';
}

int config_workers(const struct config *config, unsigned *out, struct error *err)
{
    uint64_t n = 1;
    if (strcmp(config->workers, "auto") == 0) {
        cpu_set_t cpus;
        n = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (uint64_t)CPU_COUNT(&cpus) : 1;
        n = n > CONFIG_WORKERS_MAX ? CONFIG_WORKERS_MAX : n;
    } else {
        int rc = num_parse_u64(slice_str(config->workers), 1, CONFIG_WORKERS_MAX, &n, err);
        if (rc < 0) {
            return error_prefix(err, rc, "--workers (a number or auto)");
        }
    }
    *out = (unsigned)n;
    return 0;
}
