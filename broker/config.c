// SPDX-License-Identifier: Apache-2.0
/* Plan: the table, nothing else. */
#include "broker/config.h"

static const struct option_row rows[] = {
    OPTION(struct config, listen, STRING, "LULL_LISTEN", "listen", "127.0.0.1:8085",
           .help = "addresses of the ingress (POST /NAMESPACE/BROKER), comma-separated: IP:PORT, "
                   ":PORT or unix:/path"),
    OPTION(struct config, admin_listen, STRING, "LULL_ADMIN_LISTEN", "admin-listen",
           "127.0.0.1:9090",
           .help = "address of /healthz, /readyz, /metrics and /state, IP:PORT or unix:/path"),
    OPTION(struct config, kubeconfig, STRING, "LULL_KUBECONFIG", "kubeconfig", NULL,
           .optional = true,
           .help = "kubeconfig file; absent: KUBECONFIG, else the Pod's service account"),
    OPTION(struct config, system_namespace, STRING, "LULL_SYSTEM_NAMESPACE", "system-namespace",
           "lull-system", .help = "namespace of Lull's own settings"),
    OPTION(struct config, redis, STRING, "LULL_REDIS", "redis", "redis://127.0.0.1:6379",
           .secret = true,
           .help = "where the events are kept: unix:/path, redis://USER:PASSWORD@HOST:PORT/DB, "
                   "rediss:// for TLS, or redis+sentinel://HOST:PORT,HOST:PORT/MASTER"),
    OPTION(struct config, redis_file, STRING, "LULL_REDIS_FILE", "redis-file", NULL,
           .optional = true,
           .help = "file with that address, instead; this and the next ones are read again for "
                   "each connection. ca.crt, tls.crt with tls.key, and sentinel-password beside it "
                   "count where no option names another file"),
    OPTION(struct config, redis_user_file, STRING, "LULL_REDIS_USER_FILE", "redis-user-file", NULL,
           .optional = true, .help = "file with the user's name, instead of the address' own"),
    OPTION(struct config, redis_password_file, STRING, "LULL_REDIS_PASSWORD_FILE",
           "redis-password-file", NULL, .optional = true,
           .help = "file with the password, instead of the address' own"),
    OPTION(struct config, redis_sentinel_password_file, STRING, "LULL_REDIS_SENTINEL_PASSWORD_FILE",
           "redis-sentinel-password-file", NULL, .optional = true,
           .help = "file with the password of the Sentinels; absent: they ask for none"),
    OPTION(struct config, redis_ca, STRING, "LULL_REDIS_CA", "redis-ca", NULL, .optional = true,
           .help = "file with the certificates that a rediss:// server is checked against; absent: "
                   "the system's"),
    OPTION(struct config, redis_cert, STRING, "LULL_REDIS_CERT", "redis-cert", NULL,
           .optional = true,
           .help = "file with the certificate that we show to a rediss:// server (its "
                   "tls-auth-clients); absent: none"),
    OPTION(struct config, redis_key, STRING, "LULL_REDIS_KEY", "redis-key", NULL, .optional = true,
           .help = "file with the key of --redis-cert"),
    OPTION(struct config, redis_server_name, STRING, "LULL_REDIS_SERVER_NAME", "redis-server-name",
           NULL, .optional = true,
           .help = "name that the server's certificate must have; absent: the address' host (with "
                   "Sentinel, what it says)"),
    OPTION(struct config, redis_wait, STRING, "LULL_REDIS_WAIT", "redis-wait", "",
           .help = "N or N:MS: accept an event only when N replicas have it within MS (1000) "
                   "milliseconds, else 503; the event may come all the same"),
    OPTION(struct config, redis_timeout_ms, DURATION_MS, "LULL_REDIS_TIMEOUT", "redis-timeout",
           "10s", .min = 100, .max = 300000,
           .help = "longest wait for an answer of Redis; then the connection is made anew"),
    OPTION(struct config, name, STRING, "LULL_NAME", "name", "",
           .help = "name of this worker among those that share a Redis; the same name after a "
                   "restart goes on with what it held; empty: the machine's name"),
    OPTION(struct config, worker_silence_ms, DURATION_MS, "LULL_WORKER_SILENCE", "worker-silence",
           "5s", .min = 1000, .max = 600000,
           .help = "a worker that is silent for so long is dead: others take what it held"),
    OPTION(struct config, local_gateway, STRING, "LULL_LOCAL_GATEWAY", "local-gateway", "",
           .help = "where names that end in .svc.cluster.local are called, IP:PORT or unix:/path "
                   "(one machine: the activator's local listener); empty: DNS knows them"),
    OPTION(struct config, autoscaler, STRING, "LULL_AUTOSCALER", "autoscaler", NULL,
           .optional = true,
           .help = "address of the autoscaler's stat link, IP:PORT or unix:/path, of several "
                   "with commas; pods:PORT: Pods of the system namespace with the label "
                   "app=lull-autoscaler; absent: nobody is told how many events wait"),
    OPTION(struct config, install_secret_file, STRING, "LULL_INSTALL_SECRET_FILE",
           "install-secret-file", NULL, .optional = true,
           .help = "file with the secret that authenticates the parts to each other"),
    OPTION(struct config, event_bytes_max, BYTES, "LULL_MAX_EVENT", "max-event", "1Mi", .min = 1024,
           .max = 16 << 20, .help = "bytes of the largest event; beyond it 413"),
    OPTION(struct config, body_bytes_max, BYTES, "LULL_MAX_BODY", "max-body", "8Mi", .min = 1024,
           .max = 64 << 20, .help = "bytes of the largest request (a batch); beyond it 413"),
    OPTION(struct config, memory_bytes_max, BYTES, "LULL_MAX_MEMORY", "max-memory", "24Mi",
           .min = 1 << 20, .max = 1ll << 32,
           .help = "bytes of events that are on their way in at once, and as many on their way "
                   "out; beyond it 503, and deliveries wait"),
    OPTION(struct config, events_max, INT, "LULL_MAX_EVENTS", "max-events", "10000000", .min = 1,
           .max = 1000000000, .help = "events that one broker holds; beyond it 429"),
    OPTION(struct config, events_kept, INT, "LULL_KEEP_EVENTS", "keep-events", "10000", .min = 0,
           .max = 1000000000, .help = "events that a broker keeps when all triggers have them"),
    OPTION(struct config, dead_kept, INT, "LULL_KEEP_DEAD", "keep-dead", "1000", .min = 1,
           .max = 1000000,
           .help = "events that nobody took which are kept per trigger, the newest"),
    OPTION(struct config, parallelism, INT, "LULL_PARALLELISM", "parallelism", "100", .min = 1,
           .max = 10000, .help = "deliveries of one trigger under way at once in one worker"),
    OPTION(struct config, delivery_timeout_ms, DURATION_MS, "LULL_DELIVERY_TIMEOUT",
           "delivery-timeout", "60s", .min = 100, .max = 3600000,
           .help = "longest wait for a sink's whole answer where delivery.timeout says nothing"),
    OPTION(struct config, reply_bytes_max, BYTES, "LULL_MAX_REPLY", "max-reply", "1Mi", .min = 0,
           .max = 16 << 20,
           .help = "bytes of the largest reply; a larger one counts as a failed delivery"),
    OPTION(struct config, async_body_max, BYTES, "LULL_ASYNC_MAX_BODY", "async-max-body", "1Mi",
           .min = 0, .max = 16 << 20,
           .help = "bytes of the largest body of an asynchronous call (--max-body bounds it too); "
                   "beyond it 413"),
    OPTION(struct config, async_result_max, BYTES, "LULL_ASYNC_MAX_RESULT", "async-max-result",
           "1Mi", .min = 0, .max = 16 << 20,
           .help = "bytes of the largest result that is kept; of a larger one only that it was"),
    OPTION(struct config, async_result_ttl_ms, DURATION_MS, "LULL_ASYNC_KEEP_RESULT",
           "async-keep-result", "1h", .min = 1000, .max = 2592000000,
           .help = "how long the result of an asynchronous call is kept"),
    OPTION(struct config, async_calls_max, INT, "LULL_ASYNC_MAX_CALLS", "async-max-calls", "100000",
           .min = 1, .max = 100000000,
           .help = "asynchronous calls of one function that are kept, results too; beyond it 429"),
    OPTION(struct config, async_retries, INT, "LULL_ASYNC_RETRIES", "async-retries", "5", .min = 0,
           .max = 1000,
           .help =
               "how often an asynchronous call is tried again after no answer, 408, 429 or 5xx; "
               "the last answer is its result"),
    OPTION(struct config, async_retry_delay_ms, DURATION_MS, "LULL_ASYNC_RETRY_DELAY",
           "async-retry-delay", "1s", .min = 0, .max = 3600000,
           .help = "before the first retry; each further one waits twice as long, at most six "
                   "hours"),
    OPTION(struct config, async_timeout_ms, DURATION_MS, "LULL_ASYNC_TIMEOUT", "async-timeout",
           "15m", .min = 100, .max = 86400000,
           .help = "longest wait for the whole answer to one try of an asynchronous call"),
    OPTION(struct config, async_lifetime_ms, DURATION_MS, "LULL_ASYNC_LIFETIME", "async-lifetime",
           "24h", .min = 1000, .max = 2592000000,
           .help = "a call that has no result by then is not tried again"),
    OPTION(struct config, async_parallelism, INT, "LULL_ASYNC_PARALLELISM", "async-parallelism",
           "100", .min = 1, .max = 10000,
           .help = "asynchronous calls of one function under way at once in one worker"),
    OPTION(struct config, deliver_private, BOOL, "LULL_DELIVER_PRIVATE", "deliver-private", "true",
           .help = "deliver to private addresses (10/8, 172.16/12, 192.168/16, fc00::/7)"),
    OPTION(struct config, deliver_loopback, BOOL, "LULL_DELIVER_LOOPBACK", "deliver-loopback",
           "true", .help = "deliver to loopback addresses"),
    OPTION(struct config, deliver_ca, STRING, "LULL_DELIVER_CA", "deliver-ca", NULL,
           .optional = true,
           .help = "file with the certificates that https sinks are checked against; absent: the "
                   "system's"),
    OPTION(struct config, refuse_ports, STRING, "LULL_REFUSE_PORTS", "refuse-ports", "8070,9090",
           .help = "ports on loopback to which nothing is delivered (the API, admin ports), "
                   "comma-separated; our own admin port is always one"),
    OPTION(struct config, wake_ahead_ms, DURATION_MS, "LULL_WAKE_AHEAD", "wake-ahead", "5s",
           .min = 0, .max = 600000,
           .help = "so long before a PingSource's time the function that is its sink is woken; 0s: "
                   "not at all"),
    OPTION(struct config, missed_runs_ms, DURATION_MS, "LULL_MISSED_RUNS", "missed-runs", "1h",
           .min = 0, .max = 604800000,
           .help = "of a PingSource's times that were missed, the last one is made up for when it "
                   "is not older; 0s: none is"),
    OPTION(struct config, drain_ms, DURATION_MS, "LULL_DRAIN", "drain", "10s", .min = 0,
           .max = 600000, .help = "after SIGTERM: longest wait for deliveries that are under way"),
};

const struct option_table config_table = {
    .program = "lull-broker",
    .summary = "Takes CloudEvents, keeps them in Redis, delivers them.",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};
