// SPDX-License-Identifier: Apache-2.0

/*
 * lull-local: API server, store and node agent of one machine. Reads the options, brings the parts
 * up in order (certificates, store, objects that are always there, node agent, API), says READY,
 * and takes them down in the opposite order on SIGTERM or when the lifeline ends.
 */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/options.h"
#include "loop/lifeline.h"
#include "loop/notify.h"
#include "loop/signals.h"
#include "local/admin.h"
#include "local/agent/agent.h"
#include "local/agent/bundle_gc.h"
#include "local/api/api.h"
#include "local/bootstrap.h"
#include "local/hpa/controller.h"
#include "local/pki.h"
#include "local/store/backup.h"

#define USER "lull-admin"

struct config {
    char *home;
    char *api_listen;
    char *admin_listen;
    char *system_namespace;
    char *libexec;
    int64_t public_port;
    int64_t local_port;
    int64_t tls_port;
    int64_t max_replicas;
    uint64_t max_memory;
    uint64_t bundle_grace;
    uint64_t hpa_sync;
    uint64_t hpa_downscale;
    uint64_t hpa_cpu_initialization;
    uint64_t hpa_initial_readiness;
    double hpa_tolerance;
    char *backup;
    char *restore;
};

static const struct option_row rows[] = {
    OPTION(struct config, home, STRING, "LULL_HOME", "home", NULL,
           .help = "state directory: objects, certificates, bundles, replicas"),
    OPTION(struct config, api_listen, STRING, "LULL_API_LISTEN", "api-listen", "127.0.0.1:8070",
           .help = "address of the API (HTTPS)"),
    OPTION(struct config, admin_listen, STRING, "LULL_ADMIN_LISTEN", "admin-listen", NULL,
           .optional = true, .help = "address of /healthz, /readyz and /metrics"),
    OPTION(struct config, system_namespace, STRING, "LULL_SYSTEM_NAMESPACE", "system-namespace",
           "lull-system", .help = "namespace of the config-* ConfigMaps"),
    OPTION(struct config, libexec, STRING, "LULL_LIBEXEC", "libexec", NULL, .optional = true,
           .help = "folder of lull-replica and lull-queue-proxy; absent: no node agent, API only"),
    OPTION(struct config, public_port, INT, "LULL_PUBLIC_PORT", "public-port", "8080", .min = 1,
           .max = 65535, .help = "port of the public ingress, for the URLs of functions"),
    OPTION(struct config, local_port, INT, "LULL_LOCAL_PORT", "local-port", "8081", .min = 1,
           .max = 65535, .help = "port of the cluster-local ingress"),
    OPTION(struct config, tls_port, INT, "LULL_TLS_PORT", "tls-port", "0", .min = 0, .max = 65535,
           .help = "port of the public ingress that speaks TLS; 0: none"),
    OPTION(struct config, max_replicas, INT, "LULL_MAX_REPLICAS", "max-replicas", "256", .min = 1,
           .max = 100000, .help = "replicas that run at once; more stay Pending"),
    OPTION(struct config, max_memory, BYTES, "LULL_MAX_MEMORY", "max-memory", "0",
           .help = "sum of the replicas' memory requests; 0: no bound"),
    OPTION(struct config, bundle_grace, DURATION_MS, "LULL_BUNDLE_GRACE", "bundle-grace", "1h",
           .min = 1, .max = INT64_C(365) * 24 * 3600 * 1000,
           .help = "how long a bundle stays that nothing refers to, after it was deployed last"),
    OPTION(struct config, hpa_sync, DURATION_MS, "LULL_HORIZONTAL_POD_AUTOSCALER_SYNC_PERIOD",
           "horizontal-pod-autoscaler-sync-period", "15s", .min = 100, .max = 3600000,
           .help = "how often HorizontalPodAutoscalers are looked at; less than 15s is for tests"),
    OPTION(struct config, hpa_downscale, DURATION_MS,
           "LULL_HORIZONTAL_POD_AUTOSCALER_DOWNSCALE_STABILIZATION",
           "horizontal-pod-autoscaler-downscale-stabilization", "5m", .min = 0, .max = 3600000,
           .help = "how long an earlier, larger number of replicas holds, where an object does not "
                   "say it"),
    OPTION(struct config, hpa_tolerance, DOUBLE, "LULL_HORIZONTAL_POD_AUTOSCALER_TOLERANCE",
           "horizontal-pod-autoscaler-tolerance", "0.1", .min = 0, .max = 1,
           .help = "by how much the used share may differ from the wanted one without scaling"),
    OPTION(struct config, hpa_cpu_initialization, DURATION_MS,
           "LULL_HORIZONTAL_POD_AUTOSCALER_CPU_INITIALIZATION_PERIOD",
           "horizontal-pod-autoscaler-cpu-initialization-period", "5m", .min = 0, .max = 3600000,
           .help = "how long after a Pod's start its processor time may be that of the start"),
    OPTION(struct config, hpa_initial_readiness, DURATION_MS,
           "LULL_HORIZONTAL_POD_AUTOSCALER_INITIAL_READINESS_DELAY",
           "horizontal-pod-autoscaler-initial-readiness-delay", "30s", .min = 0, .max = 3600000,
           .help = "a Pod that was not ready so long after its start never was"),
    OPTION(struct config, backup, STRING, NULL, "backup", NULL, .optional = true,
           .help = "write the state to this file and exit; also while another lull-local runs"),
    OPTION(struct config, restore, STRING, NULL, "restore", NULL, .optional = true,
           .help = "replace the state by that of this file and exit; Lull must be stopped"),
};

static const struct option_table table = {
    .program = "lull-local",
    .summary = "API server and node agent of one machine",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

struct app {
    struct config config;
    struct loop loop;
    struct pki pki;
    struct local_kinds *kinds;
    struct store *store;
    struct api *api;
    struct admin *admin;
    struct agent *agent;
    struct bundle_gc *bundle_gc;
    struct hpa_controller *hpa;
    struct signals signals;
    struct lifeline lifeline;
    int lifeline_fd; /* borrowed from the lifeline, for the replicas; -1: none */
    bool closing;
    int exit_code;
};

/* --- down ---------------------------------------------------------------------------------- */

static void on_store_closed(void *arg)
{
    struct app *app = arg;
    app->store = NULL;
    signals_close(&app->signals, NULL);
    lifeline_close(&app->lifeline, NULL);
}

static void close_store(struct app *app)
{
    store_close(app->store, on_store_closed, app);
}

static void on_bundle_gc_closed(void *arg)
{
    struct app *app = arg;
    app->bundle_gc = NULL;
    close_store(app);
}

static void on_agent_closed(void *arg)
{
    struct app *app = arg;
    app->agent = NULL;
    if (app->bundle_gc != NULL) {
        bundle_gc_close(app->bundle_gc, on_bundle_gc_closed, app);
    } else {
        close_store(app);
    }
}

static void on_hpa_closed(void *arg)
{
    struct app *app = arg;
    app->hpa = NULL;
    if (app->agent != NULL) {
        agent_close(app->agent, on_agent_closed, app);
    } else {
        close_store(app);
    }
}

static void on_api_closed(void *arg)
{
    struct app *app = arg;
    app->api = NULL;
    if (app->hpa != NULL) {
        hpa_controller_close(app->hpa, on_hpa_closed, app);
    } else {
        on_hpa_closed(app);
    }
}

static void on_admin_closed(void *arg)
{
    struct app *app = arg;
    app->admin = NULL;
    if (app->api != NULL) {
        api_close(app->api, on_api_closed, app);
    } else {
        on_api_closed(app);
    }
}

static void app_close(struct app *app)
{
    if (app->closing) {
        return;
    }
    app->closing = true;
    struct error err;
    if (notify_send(NOTIFY_STOPPING, &err) < 0) {
        LOG_DEBUG("nobody was told that we stop", LOG_ERR(&err));
    }
    if (app->admin != NULL) {
        admin_close(app->admin, on_admin_closed, app);
    } else {
        on_admin_closed(app);
    }
}

static void app_fail(struct app *app, const struct error *err)
{
    LOG_ERROR("cannot start", LOG_ERR(err));
    app->exit_code = 1;
    app_close(app);
}

static void on_signal(struct signals *signals, int signum)
{
    LOG_INFO("stopping", LOG_INT("signal", signum));
    app_close(signals->data);
}

static void on_lifeline(struct lifeline *lifeline)
{
    LOG_INFO("the supervisor is gone, stopping");
    app_close(lifeline->data);
}

/* --- up ------------------------------------------------------------------------------------ */

static int start_agent(struct app *app, struct error *err)
{
    if (app->config.libexec == NULL) {
        return 0;
    }
    struct agent_options options = {
        .loop = &app->loop,
        .store = app->store,
        .home = app->config.home,
        .libexec = app->config.libexec,
        .max_replicas = (uint32_t)app->config.max_replicas,
        .max_memory_bytes = app->config.max_memory,
        .lifeline_fd = app->lifeline_fd,
    };
    int rc = agent_start(&app->agent, &options, err);
    if (rc == 0) {
        app->bundle_gc =
            bundle_gc_start(&(struct bundle_gc_options){.loop = &app->loop,
                                                        .store = app->store,
                                                        .home = app->config.home,
                                                        .grace_ms = app->config.bundle_grace});
    }
    return rc;
}

static void start_hpa(struct app *app)
{
    const struct config *c = &app->config;
    struct hpa_options options = {
        .loop = &app->loop,
        .store = app->store,
        .usage = agent_usage(app->agent),
        .sync_ms = c->hpa_sync,
        .settings = {.tolerance = c->hpa_tolerance,
                     .cpu_initialization_ns =
                         (int64_t)(c->hpa_cpu_initialization * CLOCK_NS_PER_MS),
                     .initial_readiness_ns = (int64_t)(c->hpa_initial_readiness * CLOCK_NS_PER_MS),
                     .downscale_window_s = (int32_t)(c->hpa_downscale / 1000)},
    };
    app->hpa = hpa_controller_start(&options);
}

static int start_api(struct app *app, struct error *err)
{
    struct api_options options = {
        .loop = &app->loop,
        .store = app->store,
        .kinds = app->kinds,
        .listen = app->config.api_listen,
        .cert_file = app->pki.cert_file,
        .key_file = app->pki.key_file,
        .token = app->pki.token,
        .user = USER,
        .system_namespace = app->config.system_namespace,
    };
    int rc = api_start(&app->api, &options, err);
    if (rc == 0 && app->agent != NULL) {
        api_set_logs(app->api, agent_logs(app->agent));
        api_set_usage(app->api, agent_usage(app->agent));
        start_hpa(app);
    }
    if (rc == 0) {
        rc = pki_write_kubeconfig(&app->pki, app->config.home, api_port(app->api), USER, err);
    }
    if (rc == 0 && app->config.admin_listen != NULL) {
        rc = admin_start(&app->admin, &app->loop, app->config.admin_listen, app->store, app->api,
                         err);
    }
    return rc;
}

static void on_bootstrapped(int rc, const struct error *problem, void *arg)
{
    struct app *app = arg;
    if (app->closing) {
        return;
    }
    if (rc < 0) {
        app_fail(app, problem);
        return;
    }
    struct error err;
    if (start_agent(app, &err) < 0 || start_api(app, &err) < 0) {
        app_fail(app, &err);
        return;
    }
    LOG_INFO("ready", LOG_INT("api_port", api_port(app->api)),
             LOG_UINT("version", store_version(app->store)));
    if (notify_send(NOTIFY_READY, &err) < 0) {
        LOG_WARN("nobody was told that we are ready", LOG_ERR(&err));
    }
}

/* The descriptor that lifeline_start() found good; replicas get copies of it. */
static int lifeline_descriptor(void)
{
    int64_t fd;
    struct error err;
    struct slice text = slice_str(getenv(LIFELINE_ENV));
    return text.len > 0 && num_parse_i64(text, 0, INT32_MAX, &fd, &err) == 0 ? (int)fd : -1;
}

static int make_home(const char *home, struct error *err)
{
    struct error why;
    int rc = fs_mkdir_p(home, 0711, &why);
    if (rc == 0 && access(home, R_OK | W_OK | X_OK) != 0) {
        rc = error_from_errno(&why, errno, "%s", home);
    }
    return rc == 0 ? 0
                   : error_set(err, why.code,
                               "cannot use the state directory (%s): choose one that this user can "
                               "write, with --home or LULL_HOME",
                               why.msg);
}

static int start_all(struct app *app, struct error *err)
{
    struct certificate ingress = {0};
    int rc = signals_start(&app->signals, &app->loop, on_signal, app, err);
    if (rc == 0) {
        rc = lifeline_start(&app->lifeline, &app->loop, on_lifeline, app, err);
    }
    if (rc == 0) {
        app->lifeline_fd = lifeline_descriptor();
        rc = make_home(app->config.home, err);
    }
    CLEANUP(cleanup_free) char *run = fs_join(app->config.home, "run");
    CLEANUP(cleanup_free) char *database = fs_join(app->config.home, "lull.db");
    if (rc == 0) {
        rc = fs_mkdir_p(run, 0700, err);
    }
    if (rc == 0) {
        rc = pki_init(&app->pki, app->config.home, err);
    }
    if (rc == 0) {
        struct store_options options = {
            .path = database, .kinds = app->kinds->rows, .kinds_count = KIND_COUNT};
        rc = store_open(&app->store, &app->loop, &options, err);
    }
    if (rc == 0) {
        rc = app->config.tls_port == 0
                 ? 0
                 : pki_make_ingress(&app->pki, app->config.home, &ingress, err);
    }
    if (rc == 0) {
        struct bootstrap_options options = {
            .tls_port = (uint16_t)app->config.tls_port,
            .ingress = &ingress,
            .store = app->store,
            .system_namespace = app->config.system_namespace,
            .public_port = (uint16_t)app->config.public_port,
            .local_port = (uint16_t)app->config.local_port,
        };
        rc = bootstrap_start(&options, on_bootstrapped, app, err);
    }
    certificate_fini(&ingress);
    return rc;
}

/* What `lull backup` and `lull restore` run: their answer goes to people. */
static int run_copy(struct app *app, struct error *err)
{
    const struct config *c = &app->config;
    struct backup_report told;
    char taken[CLOCK_RFC3339_MAX];
    int rc = make_home(c->home, err);
    if (rc == 0 && c->backup != NULL) {
        rc = backup_write(c->home, c->backup, &told, err);
    } else if (rc == 0) {
        rc = backup_restore(c->home, c->restore, app->kinds->rows, KIND_COUNT, &told, err);
    }
    if (rc < 0) {
        (void)fprintf(stderr, "lull: %s\n", err->msg);
        return 1;
    }
    clock_format_rfc3339(told.taken_s * 1000000000, 0, taken, sizeof(taken));
    (void)printf("%" PRId64 " objects and %" PRId64 " bundles ", told.objects, told.bundles);
    if (told.event_bytes > 0) {
        (void)printf("and %" PRId64 " bytes of events ", told.event_bytes);
    }
    if (c->backup != NULL) {
        (void)printf("are in %s\n", c->backup);
        if (told.brokers > 0 && told.event_bytes == 0) {
            (void)printf("Events in another Redis (lull up --redis) are not in it.\n");
        }
        return 0;
    }
    (void)printf("restored from %s (%s%s); the state before is in %s/lull.db-before-restore and "
                 "%s/events-before-restore, if there was one\n",
                 c->restore, told.taken_s > 0 ? "taken " : "a database",
                 told.taken_s > 0 ? taken : "", c->home, c->home);
    return 0;
}

static void run_all(struct app *app)
{
    struct error err;
    if (start_all(app, &err) < 0) {
        LOG_ERROR("cannot start", LOG_ERR(&err));
        app->exit_code = 1;
        app->closing = true;
        if (app->store != NULL) {
            close_store(app);
        } else {
            on_store_closed(app);
        }
    }
    loop_run(&app->loop);
}

int main(int argc, char **argv)
{
    struct app app = {.lifeline_fd = -1};
    struct error err = {0};
    (void)options_main(&table, LULL_VERSION, argc, argv, &app.config);
    log_init("local");
    if (loop_init(&app.loop, &err) < 0) {
        LOG_ERROR("cannot start", LOG_ERR(&err));
        return 1;
    }
    app.kinds = local_kinds_new();
    if (app.config.backup != NULL || app.config.restore != NULL) {
        app.exit_code = run_copy(&app, &err);
    } else {
        run_all(&app);
    }
    if (loop_fini(&app.loop, &err) < 0) {
        LOG_WARN("something was left open", LOG_ERR(&err));
    }
    pki_fini(&app.pki);
    free(app.kinds);
    options_fini(&table, &app.config);
    return app.exit_code;
}
