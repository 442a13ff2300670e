// SPDX-License-Identifier: Apache-2.0
/*
 * The parts, wired.
 *
 * Happy path: a watch event puts keys into the queue, which has them run (run.c); a
 * change of the settings, of what takes events or of a certificate puts all keys in that it may
 * concern. A standby waits for the lease with its caches full. Failure modes: a ConfigMap that
 * cannot be read is told in an Event, and what was read last goes on to count; an API server that
 * is away is told once, and what failed meanwhile is tried again when it is back.
 */
#include "controller/controller.h"

#include <malloc.h>

#include "base/log.h"
#include "base/mem.h"
#include "loop/notify.h"
#include "kube/event.h"
#include "controller/admin.h"
#include "controller/gateway.h"
#include "controller/run.h"

enum {
    RUNS_MAX = 32,
    LINK_CHECK_MS = 2000,
    TRIM_RUNS = 500,
    CONNECTIONS_MAX = 64,
};

/* --- events of the caches, and of what is asked beside them
 * -----------------------------------------------------------------------------------------------
 */

static void on_digests(void *arg, const char *ns, const char *revision)
{
    struct controller *c = arg;
    work_queue_add(c->queue, KIND_REVISION, ns, revision);
}

/* A TLS Secret of a user; one of the system namespace may count for any host. */
static void on_tls_secret(void *arg, const char *ns, const char *name)
{
    struct controller *c = arg;
    (void)name;
    objects_each(&c->objects, KIND_DOMAINMAPPING);
    if (strcmp(ns, c->config->system_namespace) == 0) {
        objects_each(&c->objects, KIND_ROUTE);
        work_queue_add(c->queue, KIND_CONFIGMAP, ns, CONFIG_NETWORK);
    }
}

static void on_key(void *arg, enum kind_id kind, const char *ns, const char *name, bool later)
{
    struct controller *c = arg;
    (later ? work_queue_add_later : work_queue_add)(c->queue, kind, ns, name);
}

static bool leads(const struct controller *c)
{
    return c->config->lease[0] == '\0' || elector_leads(c->elector);
}

static void bad_config(struct controller *c, const char *name, const struct error *err)
{
    LOG_WARN("a ConfigMap is ignored", LOG_STR("name", name), LOG_ERR(err));
    if (!leads(c)) {
        return; /* one Event is enough */
    }
    struct kube_event event = {
        .api_version = "v1",
        .kind = "ConfigMap",
        .ns = c->config->system_namespace,
        .name = name,
        .warning = true,
        .reason = "InvalidConfig",
        .message = err->msg,
        .component = "lull-controller",
    };
    kube_event_post(c->client, &event);
}

/* The objects of another gateway, once somebody asks for them. */
static void watch_gateway(struct controller *c)
{
    struct error err = {0};
    enum kind_id kind = gateway_kind(&c->settings);
    if (kind != KIND_COUNT && objects_gateway(&c->objects, kind, &err) < 0) {
        LOG_ERROR("cannot watch the gateway's kind", LOG_ERR(&err));
    }
}

static void on_gateway(void *arg)
{
    struct controller *c = arg;
    if (objects_synced(&c->objects)) {
        objects_each(&c->objects, KIND_ROUTE);
        objects_each(&c->objects, KIND_DOMAINMAPPING);
    }
}

/* Says once that the gateway's kind is not there, or not for us. */
static void check_gateway(struct controller *c)
{
    enum kind_id kind = gateway_kind(&c->settings);
    const char *trouble = kind == KIND_COUNT ? "" : objects_gateway_trouble(&c->objects, kind);
    bool lost = trouble[0] != '\0' && !c->link_lost;
    if (lost && !c->gateway_lost) {
        struct error err = {.code = ERR_NOT_FOUND};
        (void)error_set(&err, ERR_NOT_FOUND,
                        "gateway-kind: %s of %s/%s cannot be watched (is the kind installed, and "
                        "gateway.kind set in the chart?): %.200s",
                        kind_row(kind)->plural, kind_row(kind)->group, kind_row(kind)->version,
                        trouble);
        bad_config(c, CONFIG_NETWORK, &err);
    }
    c->gateway_lost = lost;
}

static void on_config(void *arg, const char *name, const json_t *data)
{
    struct controller *c = arg;
    struct error err = {0};
    if (!settings_wants(name)) {
        return;
    }
    if (settings_read(&c->settings, name, data, &err) < 0) {
        bad_config(c, name, &err);
        return;
    }
    LOG_INFO("settings read", LOG_STR("name", name));
    watch_gateway(c);
    if (objects_synced(&c->objects)) {
        objects_each(&c->objects, KIND_SERVICE);
        objects_each(&c->objects, KIND_CONFIGURATION);
        objects_each(&c->objects, KIND_ROUTE);
        objects_each(&c->objects, KIND_DOMAINMAPPING);
        objects_each(&c->objects, KIND_SECRET);
        objects_each(&c->objects, KIND_INGRESS);
        objects_each(&c->objects, KIND_HTTPROUTE);
    }
    if (strcmp(name, CONFIG_NETWORK) == 0 && data != NULL) {
        work_queue_add(c->queue, KIND_CONFIGMAP, c->config->system_namespace, name);
    }
}

/* A standby keeps its caches and its queue, and writes nothing. */
static void on_leads(void *arg, bool leads_now)
{
    struct controller *c = arg;
    if (!leads_now) {
        work_queue_hold(c->queue);
    } else if (objects_synced(&c->objects) && !c->draining) {
        work_queue_open(c->queue);
    }
}

static void on_synced(void *arg)
{
    struct controller *c = arg;
    struct error err = {0};
    on_leads(c, leads(c));
    malloc_trim(0); /* the first lists were large; what they took is free again */
    LOG_INFO("ready", LOG_UINT("services", objects_count(&c->objects, KIND_SERVICE)));
    if (notify_send(NOTIFY_READY, &err) < 0) {
        LOG_WARN("cannot say that we are ready", LOG_ERR(&err));
    }
}

/* --- life
 * ----------------------------------------------------------------------------------------------------
 */

static void on_drained(struct timer *timer)
{
    controller_stop(timer->data);
}

/* Another replica may begin now; what we have under way is fenced by the versions that we saw. */
static void give_back_lease(struct controller *c, void (*cb)(void *arg))
{
    struct elector *elector = c->elector;
    c->elector = NULL;
    elector_close(elector, cb, c);
}

/* The API server may ask the webhook until it has heard that this replica goes. */
static void on_signal(struct signals *signals, int signum)
{
    struct controller *c = signals->data;
    LOG_INFO("stopping", LOG_INT("signal", signum));
    if (!webhook_ready(&c->webhook) || c->draining) {
        controller_stop(c);
        return;
    }
    c->draining = true;
    work_queue_hold(c->queue);
    give_back_lease(c, NULL);
    timer_start(&c->drain, c->config->webhook_drain_ms);
}

static void on_lifeline(struct lifeline *lifeline)
{
    LOG_INFO("stopping: the supervisor is gone");
    controller_stop(lifeline->data);
}

/* After much work much memory is free, but still ours: given back when the work is over. */
static void give_back(struct controller *c)
{
    bool idle = work_queue_waiting(c->queue) == 0 && work_queue_running(c->queue) == 0;
    if (idle && c->counters.runs - c->trimmed_at_run >= TRIM_RUNS) {
        c->trimmed_at_run = c->counters.runs;
        malloc_trim(0);
    }
}

/* What waits for lull-broker is looked at again when its state is another one. */
static void look_at_broker_part(struct controller *c)
{
    static const enum kind_id kinds[] = {KIND_BROKER, KIND_PINGSOURCE, KIND_WEBHOOKSOURCE,
                                         KIND_REDISSOURCE, KIND_FILESOURCE};
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        n += objects_count(&c->objects, kinds[i]);
    }
    if (n == 0 && c->broker_watch == NULL) {
        broker_part_forget(&c->broker); /* nobody waits: a file costs a read */
        return;
    }
    bool changed = broker_part_changed(&c->broker, loop_now_ms(c->loop));
    for (size_t i = 0; changed && i < ARRAY_LEN(kinds); i++) {
        objects_each(&c->objects, kinds[i]);
    }
}

static void on_broker_pods(void *arg)
{
    struct controller *c = arg;
    if (objects_synced(&c->objects) && !c->stopping) {
        look_at_broker_part(c);
    }
}

static void see_broker_pods(void *arg, struct broker_seen *out)
{
    const struct controller *c = arg;
    broker_watch_ask(c->broker_watch, out);
}

/* Says once when the API cannot be reached, and once when it can again. */
static void on_link_check(struct timer *timer)
{
    struct controller *c = timer->data;
    const char *trouble = objects_trouble(&c->objects);
    bool lost = trouble[0] != '\0';
    if (lost && !c->link_lost) {
        LOG_WARN("no watch on the API server; trying again", LOG_STR("error", trouble));
    } else if (!lost && c->link_lost) {
        LOG_INFO("the API server is back");
        work_queue_retry(c->queue);
    }
    c->link_lost = lost;
    check_gateway(c);
    look_at_broker_part(c);
    give_back(c);
}

static bool is_synced(void *arg)
{
    const struct controller *c = arg;
    return objects_synced(&c->objects);
}

static int start_webhook(struct controller *c, struct error *err)
{
    struct webhook_options options = {
        .client = c->client,
        .listen = c->config->webhook_listen,
        .system_namespace = c->config->system_namespace,
        .config = &c->settings.defaults,
        .synced = is_synced,
        .arg = c,
    };
    return options.listen[0] == '\0' ? 0 : webhook_start(&c->webhook, c->loop, &options, err);
}

/* On a cluster tags are fixed to digests. */
static int start_resolver(struct controller *c, struct error *err)
{
    struct resolver_options options = {
        .client = c->client,
        .ca_file = c->config->registry_ca,
        .settings = &c->settings,
        .on_done = on_digests,
        .arg = c,
    };
    return c->settings.sidecar_image[0] == '\0'
               ? 0
               : resolver_new(c->loop, &options, &c->resolver, err);
}

static void start_tls_secrets(struct controller *c)
{
    struct tls_secrets_options options = {
        .client = c->client,
        .check_ms = c->config->certificate_check_ms,
        .on_change = on_tls_secret,
        .arg = c,
    };
    slice_copy(slice_str(c->config->certificate_namespace), c->settings.certificate_namespace,
               sizeof(c->settings.certificate_namespace));
    if (c->settings.certificate_namespace[0] != '\0') {
        c->tls_secrets = tls_secrets_new(c->loop, &options);
    }
}

static int start_elector(struct controller *c, struct error *err)
{
    struct elector_options options = {
        .client = c->client,
        .ns = c->config->system_namespace,
        .name = c->config->lease,
        .duration_ms = c->config->lease_duration_ms,
        .on_change = on_leads,
        .arg = c,
    };
    return options.name[0] == '\0' ? 0 : elector_start(&options, &c->elector, err);
}

static int start_broker_part(struct controller *c, struct error *err)
{
    c->broker =
        (struct broker_part){.url = c->config->broker_ingress, .file = c->config->broker_state};
    struct broker_watch_options options = {
        .client = c->client,
        .ns = c->config->system_namespace,
        .name = c->config->broker_deployment,
        .on_change = on_broker_pods,
        .arg = c,
    };
    if (options.name[0] == '\0') {
        return 0;
    }
    c->broker.see = see_broker_pods;
    c->broker.arg = c;
    return broker_watch_new(&options, &c->broker_watch, err);
}

static int start_api(struct controller *c, struct error *err)
{
    struct kube_config config = {0};
    int rc = kube_config_load(c->config->kubeconfig, &config, err);
    if (rc < 0) {
        return rc;
    }
    struct kube_client_options options = {.max_connections = CONNECTIONS_MAX};
    rc = kube_client_new(c->loop, &config, &options, &c->client, err);
    kube_config_fini(&config);
    if (rc < 0) {
        return rc;
    }
    c->queue = work_queue_new(c->loop, RUNS_MAX, run_key, c);
    struct objects_events events = {.on_key = on_key,
                                    .on_config = on_config,
                                    .on_synced = on_synced,
                                    .on_gateway = on_gateway,
                                    .arg = c};
    c->objects_started = true;
    c->link_started = true;
    timer_init(&c->link, c->loop, on_link_check, c);
    timer_start_every(&c->link, LINK_CHECK_MS);
    timer_init(&c->drain, c->loop, on_drained, c);
    start_tls_secrets(c);
    rc = objects_start(&c->objects, c->client, c->settings.sidecar_image[0] != '\0', &c->settings,
                       &events, err);
    rc = rc < 0 ? rc : start_broker_part(c, err);
    rc = rc < 0 ? rc : start_resolver(c, err);
    rc = rc < 0 ? rc : start_webhook(c, err);
    return rc < 0 ? rc : start_elector(c, err);
}

int controller_start(struct controller *c, struct loop *loop,
                     const struct controller_config *config, struct error *err)
{
    *c = (struct controller){.loop = loop, .config = config};
    expect_init(&c->expectations);
    settings_init(&c->settings, config->queue_proxy_image, config->system_namespace);
    int rc = settings_announce(&c->settings, config->announce, config->install_secret_file, err);
    if (rc < 0) {
        return rc;
    }
    c->lifeline_started = true;
    rc = lifeline_start(&c->lifeline, loop, on_lifeline, c, err);
    if (rc == 0) {
        c->signals_started = true;
        rc = signals_start(&c->signals, loop, on_signal, c, err);
    }
    if (rc == 0) {
        rc = admin_start(c, err);
    }
    return rc == 0 ? start_api(c, err) : rc;
}

static void on_objects_closed(void *arg)
{
    struct controller *c = arg;
    expect_fini(&c->expectations);
    settings_fini(&c->settings);
    kube_client_close(c->client, NULL, NULL);
    c->client = NULL;
}

static void on_broker_watch_closed(void *arg)
{
    struct controller *c = arg;
    objects_close(&c->objects, on_objects_closed, c);
}

static void on_lease_given_back(void *arg)
{
    struct controller *c = arg;
    broker_watch_close(c->broker_watch, on_broker_watch_closed, c);
}

static void on_webhook_closed(void *arg)
{
    give_back_lease(arg, on_lease_given_back);
}

static void on_tls_secrets_closed(void *arg)
{
    struct controller *c = arg;
    webhook_close(&c->webhook, on_webhook_closed, c);
}

static void on_resolver_closed(void *arg)
{
    struct controller *c = arg;
    struct tls_secrets *secrets = c->tls_secrets;
    c->tls_secrets = NULL;
    tls_secrets_close(secrets, on_tls_secrets_closed, c);
}

static void on_queue_closed(void *arg)
{
    struct controller *c = arg;
    struct resolver *resolver = c->resolver;
    c->resolver = NULL;
    resolver_close(resolver, on_resolver_closed, c);
}

void controller_stop(struct controller *c)
{
    if (c->stopping) {
        return;
    }
    c->stopping = true;
    (void)!notify_send(NOTIFY_STOPPING, NULL);
    http_admin_close(&c->admin, NULL, NULL);
    if (c->signals_started) {
        signals_close(&c->signals, NULL);
    }
    if (c->link_started) {
        timer_close(&c->link, NULL);
        timer_close(&c->drain, NULL);
    }
    if (c->lifeline_started) {
        lifeline_close(&c->lifeline, NULL);
    }
    if (c->queue != NULL && c->objects_started) {
        work_queue_close(c->queue, on_queue_closed, c);
    }
}
