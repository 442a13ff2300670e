// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Start the parts in the order of their dependence, say READY=1 when the first lists are in,
 * close them in reverse. There is nothing to drain: a write that is under way at SIGTERM reaches
 * the API or does not, and the successor decides anew.
 */
#include "autoscaler/autoscaler.h"

#include "base/fs.h"
#include "base/mem.h"
#include "loop/notify.h"

#define SECRET_BYTES_MAX 4096

static void notify(const char *state)
{
    struct error err;
    if (notify_send(state, &err) < 0) {
        LOG_WARN("cannot tell the supervisor", LOG_ERR(&err));
    }
}

static void on_ready(void *arg)
{
    notify(NOTIFY_READY);
}

static void on_note(void *arg, struct slice payload)
{
    stat_server_note(&((struct autoscaler *)arg)->stat_server, payload);
}

static void on_tick(void *arg, unsigned slot)
{
    scraper_tick(&((struct autoscaler *)arg)->scraper, slot);
}

static void on_signal(struct signals *signals, int signum)
{
    LOG_INFO("stopping", LOG_INT("signal", signum));
    autoscaler_stop(signals->data);
}

static void on_lifeline(struct lifeline *lifeline)
{
    LOG_INFO("the supervisor is gone, stopping");
    autoscaler_stop(lifeline->data);
}

static int start_engine(struct autoscaler *a, const struct config *config, struct error *err)
{
    struct kube_config kube = {0};
    int rc = kube_config_load(config->kubeconfig, &kube, err);
    if (rc < 0) {
        return rc;
    }
    struct engine_options options = {
        .kube = &kube,
        .system_namespace = config->system_namespace,
        .pod_address = config->pod_address == 1 ? POD_ADDRESS_UNIX : POD_ADDRESS_IP,
        .on_note = on_note,
        .on_tick = on_tick,
        .on_ready = on_ready,
        .traffic = &a->traffic,
        .arg = a,
    };
    a->engine_started = true;
    rc = engine_start(&a->engine, a->loop, &options, err);
    kube_config_fini(&kube);
    return rc;
}

static void on_leads(void *arg, bool leads)
{
    engine_lead(&((struct autoscaler *)arg)->engine, leads);
}

/* With a lease it stands by until it has it. */
static int start_elector(struct autoscaler *a, const struct config *config, struct error *err)
{
    struct elector_options options = {
        .client = a->engine.client,
        .ns = config->system_namespace,
        .name = config->lease,
        .duration_ms = config->lease_duration_ms,
        .on_change = on_leads,
        .arg = a,
    };
    if (config->lease[0] == '\0') {
        return 0;
    }
    engine_lead(&a->engine, false);
    return elector_start(&options, &a->elector, err);
}

static int start_stat_server(struct autoscaler *a, const struct config *config, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf secret;
    strbuf_init(&secret, SECRET_BYTES_MAX);
    if (config->install_secret_file != NULL) {
        int rc = fs_read_file(config->install_secret_file, SECRET_BYTES_MAX, &secret, err);
        if (rc < 0) {
            return error_prefix(err, rc, "--install-secret-file");
        }
    }
    return stat_server_start(&a->stat_server, a->loop, &a->engine, slice_str(config->link_listen),
                             slice_trim(strbuf_slice(&secret)), err);
}

int autoscaler_start(struct autoscaler *a, struct loop *loop, const struct config *config,
                     struct error *err)
{
    a->loop = loop;
    int rc = signals_start(&a->signals, loop, on_signal, a, err);
    a->signals_started = true;
    if (rc < 0) {
        return rc;
    }
    rc = lifeline_start(&a->lifeline, loop, on_lifeline, a, err);
    a->lifeline_started = true;
    if (rc < 0) {
        return rc;
    }
    scraper_init(&a->scraper, &a->engine);
    if (config->traffic_log[0] != '\0') {
        rc = traffic_log_open(&a->traffic, config->traffic_log, err);
        if (rc < 0) {
            return error_prefix(err, rc, "--traffic-log");
        }
    }
    rc = start_engine(a, config, err);
    rc = rc < 0 ? rc : start_elector(a, config, err);
    rc = rc < 0 ? rc : start_stat_server(a, config, err);
    rc = rc < 0 ? rc
                : admin_start(&a->admin, loop, &a->engine, &a->scraper, &a->stat_server,
                              config->admin_listen, err);
    if (rc == 0) {
        LOG_INFO("started", LOG_STR("link", config->link_listen),
                 LOG_STR("admin", config->admin_listen), LOG_STR("version", LULL_VERSION));
    }
    return rc;
}

/* The client that gave it back goes last. */
static void on_lease_given_back(void *arg)
{
    struct autoscaler *a = arg;
    if (a->engine_started) {
        engine_close(&a->engine, NULL, NULL);
    }
}

void autoscaler_stop(struct autoscaler *a)
{
    if (a->stopping) {
        return;
    }
    a->stopping = true;
    notify(NOTIFY_STOPPING);
    a->admin.draining = true;
    admin_close(&a->admin, NULL, NULL);
    stat_server_close(&a->stat_server, NULL, NULL);
    traffic_log_close(&a->traffic);
    if (a->engine_started) {
        scraper_close(&a->scraper);
        engine_lead(&a->engine, false);
    }
    elector_close(a->elector, on_lease_given_back, a);
    if (a->lifeline_started) {
        lifeline_close(&a->lifeline, NULL);
    }
    if (a->signals_started) {
        signals_close(&a->signals, NULL);
    }
}
