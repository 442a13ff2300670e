// SPDX-License-Identifier: Apache-2.0
#include "queue-proxy/config.h"

#include "serving/names.h"

static const struct option_row rows[] = {
    OPTION(struct config, concurrency, INT, "CONTAINER_CONCURRENCY", "container-concurrency", "0",
           .min = 0, .max = 100000,
           .help = "requests that may run in the function at once; 0: no limit"),
    OPTION(struct config, queue_port, INT, "QUEUE_SERVING_PORT", "port", "8012", .min = 0,
           .max = 65535, .help = "port for requests, on every address"),
    OPTION(struct config, queue_listen, STRING, "LULL_QUEUE_LISTEN", "listen", "",
           .help =
               "addresses for requests instead of the port, comma-separated: IP:PORT, unix:/path"),
    OPTION(struct config, admin_listen, STRING, "LULL_ADMIN_LISTEN", "admin-listen",
           ":8022,:9090,:9091", .help = "addresses for probes, metrics and drain, comma-separated"),
    OPTION(struct config, user_host, STRING, "LULL_USER_HOST", "user-host", "127.0.0.1",
           .help = "numeric address of the function"),
    OPTION(struct config, user_port, INT, "USER_PORT", "user-port", "8080", .min = 1, .max = 65535,
           .help = "port of the function"),
    OPTION(struct config, user_protocol, CHOICE, "LULL_USER_PROTOCOL", "user-protocol", "auto",
           .choices = "auto|http1|h2c",
           .help = "what the function speaks: h2c is HTTP/2 without TLS from the first byte, then "
                   "taken on the port for requests too; auto: h2c when that is 8013"),
    OPTION(struct config, timeout_s, INT, "REVISION_TIMEOUT_SECONDS", "timeout-seconds", "300",
           .min = 0, .max = 86400, .help = "seconds for a whole request, then 504; 0: no limit"),
    OPTION(struct config, start_timeout_s, INT, "REVISION_RESPONSE_START_TIMEOUT_SECONDS",
           "response-start-timeout-seconds", "0", .min = 0, .max = 86400,
           .help = "seconds until an answer must have begun, then 504; 0: no limit"),
    OPTION(struct config, idle_timeout_s, INT, "REVISION_IDLE_TIMEOUT_SECONDS",
           "idle-timeout-seconds", "0", .min = 0, .max = 86400,
           .help = "seconds in which no byte passes, then 504 or the answer's end; 0: no limit"),
    OPTION(struct config, knative_timeouts, BOOL, "LULL_KNATIVE_TIMEOUTS", "knative-timeouts",
           "false",
           .help = "count the three timeouts exactly as Knative does: upgraded connections are cut "
                   "too, waiting for a slot counts, only bytes of the answer are a sign of life"),
    OPTION(struct config, client_idle_ms, DURATION_MS, "LULL_CLIENT_IDLE", "client-idle", "120s",
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
    OPTION(struct config, probe, STRING, "SERVING_READINESS_PROBE", "readiness-probe", "",
           .help = "the function's readiness probe as Kubernetes JSON; empty: TCP connect"),
    OPTION(struct config, probe_port, INT, "LULL_PROBE_PORT", "probe-port", "0", .min = 0,
           .max = 65535, .help = "the port that is probed; 0: the function's"),
    OPTION(struct config, namespace_name, STRING, "SERVING_NAMESPACE", "namespace", "",
           .help = "namespace of the Revision, for metrics"),
    OPTION(struct config, service, STRING, "SERVING_SERVICE", "service", "",
           .help = "name of the Service, for metrics"),
    OPTION(struct config, configuration, STRING, "SERVING_CONFIGURATION", "configuration", "",
           .help = "name of the Configuration, for metrics"),
    OPTION(struct config, revision, STRING, "SERVING_REVISION", "revision", "",
           .help = "name of the Revision, for metrics"),
    OPTION(struct config, pod, STRING, "SERVING_POD", "pod", "",
           .help = "name of the Pod, reported with the numbers"),
    OPTION(struct config, pod_ip, STRING, "SERVING_POD_IP", "pod-ip", "",
           .help = "address of the Pod, for the request log and announcements"),
    OPTION(struct config, announce, STRING, "LULL_ANNOUNCE", "announce", "",
           .help = "IP:PORT of the activators' cluster-local ingress, which is told when the "
                   "function listens; empty: nobody is told"),
    OPTION(struct config, announce_key, STRING, "LULL_ANNOUNCE_KEY", "announce-key", "",
           .help = "the Revision's key for announcements"),
    OPTION(struct config, revision_uid, STRING, "LULL_REVISION_UID", "revision-uid", "",
           .help = "UID of the Revision, for announcements"),
    OPTION(struct config, pod_uid, STRING, "LULL_POD_UID", "pod-uid", "",
           .help = "UID of the Pod, for announcements"),
    OPTION(struct config, request_log, BOOL, "SERVING_ENABLE_REQUEST_LOG", "request-log", "false",
           .help = "write a line per request to the standard output"),
    OPTION(struct config, request_log_template, STRING, "SERVING_REQUEST_LOG_TEMPLATE",
           "request-log-template", "",
           .help = "what the line says, as a Go template; empty: Knative's default, JSON"),
    OPTION(struct config, request_log_probes, BOOL, "SERVING_ENABLE_PROBE_REQUEST_LOG",
           "request-log-probes", "false", .help = "a line per probe as well"),
    OPTION(struct config, log_level, CHOICE, "SERVING_LOGGING_LEVEL", "log-level", "unset",
           .choices = "unset|debug|info|warn|error|dpanic|panic|fatal",
           .help = "least level of the log lines on the standard error; unset: LULL_LOG"),
    OPTION(struct config, drain_quiet_ms, DURATION_MS, "LULL_DRAIN_QUIET", "drain-quiet", "1s",
           .min = 0, .max = 600000,
           .help = "after SIGTERM: how long no request may have come before it ends"),
    OPTION(struct config, drain_timeout_ms, DURATION_MS, "LULL_DRAIN_TIMEOUT", "drain-timeout",
           "300s", .min = 0, .max = 86400000,
           .help = "after SIGTERM: the longest wait for requests"),
};

const struct option_table config_table = {
    .program = "lull-queue-proxy",
    .summary = "stands in front of one replica: limits, queues, probes, counts, drains",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

bool config_h2c(const struct config *config)
{
    return config->user_protocol == USER_PROTOCOL_H2C ||
           (config->user_protocol == USER_PROTOCOL_AUTO && config->queue_port == QUEUE_PORT_H2C);
}
