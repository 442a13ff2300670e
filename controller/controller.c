// SPDX-License-Identifier: Apache-2.0
/*
 * Keys in, writes out.
 *
 * Happy path: a watch event puts keys into the queue; a run makes the plan of one key and starts
 * all its writes at once; when the last is answered the key is done. What the writes change comes
 * back as events. Failure modes: a conflict or an object that exists already means that our picture
 * is old: again after a short back-off. Other failures are logged (a few a second at most) and
 * tried again with back-off.
 */
#include "controller/controller.h"

#include <malloc.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/notify.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "kube/event.h"
#include "controller/admin.h"
#include "controller/gateway.h"
#include "controller/meta.h"

enum {
    RUNS_MAX = 32,
    CALL_TIMEOUT_MS = 10000,
    LOG_INTERVAL_MS = 200,
    LINK_CHECK_MS = 2000,
    TRIM_RUNS = 500,
    AWAY_MS = 1000,    /* when nothing was answered for so long, the first answer is news */
    MINOR_MS = 25,     /* so long must nothing happen before a minor status is written */
    CATCH_UP_MS = 500, /* a write that is not seen after so long was undone by someone else */
    CONNECTIONS_MAX = 64,
};

struct run;

/* One write of a run. */
struct write {
    struct run *run;
    enum plan_verb verb;
    enum kind_id kind;
    const char *ns; /* of settings or of the run's key; NULL: cluster-scoped */
    char name[OBJECT_BUF];
};

/* One key's run: its writes under way. */
struct run {
    struct controller *c;
    struct work_item *token;
    struct work_key key;
    struct write writes[PLAN_OPS_MAX];
    size_t pending;
    bool failed;
    uint64_t again_ms;
    json_t *object; /* for its events */
    struct plan_event events[PLAN_EVENTS_MAX];
    size_t n_events;
    char refused[ERROR_MSG_MAX]; /* why the API does not take a Revision; "": it does */
};

static bool run_write_refused(struct run *run);

static void run_post_event(const struct run *run, bool warning, const char *reason,
                           const char *message)
{
    const struct kind *kind = kind_row(run->key.kind);
    struct kube_event event = {
        .api_version = kind_api_version(kind),
        .kind = kind->kind,
        .ns = run->key.ns,
        .name = run->key.name,
        .uid = meta_uid(run->object),
        .warning = warning,
        .reason = reason,
        .message = message,
        .component = "lull-controller",
    };
    kube_event_post(run->c->client, &event);
}

static void run_post_events(const struct run *run)
{
    for (size_t i = 0; i < run->n_events; i++) {
        run_post_event(run, run->events[i].warning, run->events[i].reason, run->events[i].message);
    }
}

static void run_drop(struct run *run)
{
    if (--run->pending > 0 || run_write_refused(run)) {
        return;
    }
    if (!run->failed && !run->c->stopping) {
        run_post_events(run);
    }
    struct work_item *token = run->token;
    bool failed = run->failed;
    uint64_t again_ms = run->again_ms;
    json_decref(run->object);
    free(run);
    work_queue_done(token, failed, again_ms);
}

static void complain(struct controller *c, const struct work_key *key, const struct error *err)
{
    uint64_t dropped = 0;
    if (log_limit(&c->complaints, loop_now_ms(c->loop), LOG_INTERVAL_MS, &dropped)) {
        LOG_WARN("cannot reconcile", LOG_STR("kind", kind_row(key->kind)->kind),
                 LOG_STR("namespace", key->ns), LOG_STR("name", key->name), LOG_ERR(err),
                 LOG_UINT("dropped", dropped));
    }
}

/* The server, or the way to it, is the trouble. */
static bool is_away(int code)
{
    return code == ERR_REFUSED || code == ERR_CLOSED || code == ERR_UNAVAILABLE;
}

/* One failure among answers is its key's affair; after a time without any answer, what failed in it
 * is tried again at once. */
static void note_answer(struct controller *c, bool answered)
{
    uint64_t now_ms = loop_now_ms(c->loop);
    if (!answered) {
        c->away_since_ms = c->away_since_ms > 0 ? c->away_since_ms : now_ms;
        return;
    }
    if (c->away_since_ms > 0 && now_ms - c->away_since_ms >= AWAY_MS) {
        work_queue_retry(c->queue);
    }
    c->away_since_ms = 0;
}

/* An object that the API server does not take: told where its owner is looked at. */
static void tell_refused(const struct write *write, const struct error *err)
{
    char message[3 * ERROR_MSG_MAX];
    struct run *run = write->run;
    const char *what =
        write->kind == KIND_CORE_SERVICE ? "placeholder service" : kind_row(write->kind)->kind;
    if (write->kind == KIND_REVISION) {
        snprintf(run->refused, sizeof(run->refused), "%s", err->msg);
        snprintf(message, sizeof(message), "Failed to create %s: %s", what, err->msg);
    } else {
        snprintf(message, sizeof(message), "Failed to create %s \"%s\": %s", what, write->name,
                 err->msg);
    }
    run_post_event(run, true, "CreationFailed", message);
}

static void on_written(void *arg, json_t *object, const struct error *err)
{
    const struct write *write = arg;
    struct run *run = write->run;
    struct controller *c = run->c;
    if (err == NULL || err->code != ERR_CANCELED) {
        note_answer(c, err == NULL || !is_away(err->code));
    }
    if (err == NULL) {
        c->counters.writes++;
        if (write->verb != PLAN_DELETE) {
            expect_add(&c->expectations, run->key, write->kind, write->ns == NULL ? "" : write->ns,
                       write->name, jpeek_cstr(object, "metadata.resourceVersion"));
        }
    } else if (err->code == ERR_CONFLICT || err->code == ERR_EXISTS) {
        c->counters.conflicts++;
        run->failed = true;
    } else if (err->code != ERR_NOT_FOUND) { /* deleted meanwhile: its event is on the way */
        c->counters.failures++;
        run->failed = true;
        if (err->code != ERR_CANCELED) {
            complain(c, &run->key, err);
        }
        if (write->verb == PLAN_CREATE && (err->code == ERR_INVALID || err->code == ERR_DENIED)) {
            tell_refused(write, err);
        }
    }
    run_drop(run);
}

static int op_start(struct run *run, struct write *write, const struct plan_op *op,
                    struct error *err)
{
    write->run = run;
    write->verb = op->verb;
    write->kind = op->kind;
    write->ns = !kind_row(op->kind)->namespaced ? NULL : op->ns != NULL ? op->ns : run->key.ns;
    slice_copy(slice_str(op->name), write->name, sizeof(write->name));
    struct kube_call call = {
        .kind = KUBE_KIND(kind_row(op->kind)),
        .ns = write->ns,
        .name = op->verb == PLAN_CREATE ? NULL : op->name,
        .subresource = op->verb == PLAN_PATCH_STATUS ? "status" : NULL,
        .body = op->body,
        .timeout_ms = CALL_TIMEOUT_MS,
        .cb = on_written,
        .arg = write,
    };
    kube_verb_fn start = op->verb == PLAN_CREATE   ? kube_create
                         : op->verb == PLAN_DELETE ? kube_delete
                                                   : kube_patch;
    return start(run->c->client, &call, NULL, err);
}

static void run_execute(struct run *run, struct plan *plan)
{
    struct error err = plan->err;
    for (size_t i = 0; i < plan->n_ops && err.code == ERR_OK; i++) {
        if (plan->ops[i].minor && !work_item_waited(run->token)) {
            plan_again(plan, MINOR_MS);
        } else if (op_start(run, &run->writes[i], &plan->ops[i], &err) == 0) {
            run->pending++;
        }
    }
    if (err.code != ERR_OK) {
        run->failed = true;
        complain(run->c, &run->key, &err);
    }
    run->again_ms = plan->again_ms;
    run->n_events = plan->n_events;
    memcpy(run->events, plan->events, sizeof(run->events));
}

static void ask_digests(void *arg, const json_t *revision, struct digests *out)
{
    const struct controller *c = CONTAINER_OF(arg, struct controller, objects);
    resolver_ask(c->resolver, revision, out);
}

static void ask_tls_secret(void *arg, const char *ns, const char *name, struct tls_secret *out)
{
    const struct controller *c = CONTAINER_OF(arg, struct controller, objects);
    tls_secrets_ask(c->tls_secrets, ns, name, out);
}

static void ask_broker(void *arg, struct broker_ingress *out)
{
    struct controller *c = CONTAINER_OF(arg, struct controller, objects);
    broker_part_ask(&c->broker, out);
}

static struct reconcile_env env_of(struct controller *c, char now[static CLOCK_RFC3339_MAX])
{
    struct reconcile_env env = {
        .settings = &c->settings,
        .now_ns = clock_wall_ns(),
        .get = objects_get,
        .version = objects_version,
        .replicas = objects_replicas,
        .refs = objects_refs,
        .revisions_of = objects_revisions_of,
        .digests = c->resolver == NULL ? NULL : ask_digests,
        .tls_secret = c->tls_secrets == NULL ? NULL : ask_tls_secret,
        .broker_ingress = ask_broker,
        .gateway = objects_knows(&c->objects, gateway_kind(&c->settings)),
        .arg = &c->objects,
    };
    env.now = clock_format_rfc3339(env.now_ns, 0, now, CLOCK_RFC3339_MAX);
    return env;
}

/* After all other writes of the run, among them a status that does not know of it. True: started.
 */
static bool run_write_refused(struct run *run)
{
    if (run->refused[0] == '\0' || run->c->stopping) {
        return false;
    }
    char now[CLOCK_RFC3339_MAX];
    struct error err = {0};
    struct plan plan;
    plan_init(&plan);
    const struct reconcile_env env = env_of(run->c, now);
    reconcile_refused_revision(&env, run->object, run->refused, &plan);
    run->refused[0] = '\0';
    bool started = plan.n_ops > 0 && op_start(run, &run->writes[0], &plan.ops[0], &err) == 0;
    run->pending += started;
    plan_fini(&plan);
    return started;
}

static void reconcile(const struct reconcile_env *env, enum kind_id kind, const json_t *object,
                      struct plan *plan)
{
    switch ((int)kind) {
    case KIND_SERVICE:
        if (!sink_binding_release(env, object, plan)) {
            reconcile_service(env, object, plan);
        }
        break;
    case KIND_CONFIGURATION:
        reconcile_configuration(env, object, plan);
        reconcile_gc(env, object, plan);
        break;
    case KIND_REVISION:
        reconcile_revision(env, object, plan);
        break;
    case KIND_ROUTE:
        reconcile_route(env, object, plan);
        break;
    case KIND_DOMAINMAPPING:
        reconcile_domain_mapping(env, object, plan);
        break;
    case KIND_BROKER:
        reconcile_broker(env, object, plan);
        break;
    case KIND_TRIGGER:
        reconcile_trigger(env, object, plan);
        break;
    case KIND_PINGSOURCE:
        reconcile_ping_source(env, object, plan);
        break;
    case KIND_SINKBINDING:
        reconcile_sink_binding(env, object, plan);
        break;
    case KIND_WEBHOOKSOURCE:
    case KIND_REDISSOURCE:
    case KIND_FILESOURCE:
        reconcile_lull_source(env, kind, object, plan);
        break;
    case KIND_CLUSTERDOMAINCLAIM:
        reconcile_domain_claim(env, object, plan);
        break;
    case KIND_SECRET:
        reconcile_certificate(env, object, plan);
        break;
    case KIND_CONFIGMAP:
        reconcile_network(env, object, plan);
        break;
    case KIND_INGRESS:
    case KIND_HTTPROUTE:
        reconcile_gateway(env, kind, object, plan);
        break;
    default:
        break;
    }
}

/* Our last writes for this key are in the caches. Their events bring the key back. */
static bool caught_up(struct controller *c, struct work_key key, bool waited)
{
    if (expect_met(&c->expectations, key, objects_version, &c->objects)) {
        return true;
    }
    if (waited) {
        expect_drop(&c->expectations, key);
    }
    return waited;
}

/* Gone, or its status has them: nobody will ask again. */
static void forget_digests(struct controller *c, const struct work_key *key, const json_t *object)
{
    if (c->resolver != NULL && key->kind == KIND_REVISION &&
        (object == NULL || jpeek_arr(object, "status.containerStatuses") != NULL)) {
        resolver_forget(c->resolver, key->ns, key->name);
    }
}

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

static void on_run(void *arg, struct work_key key, struct work_item *token)
{
    struct controller *c = arg;
    if (!caught_up(c, key, work_item_waited(token))) {
        work_queue_done(token, false, CATCH_UP_MS);
        return;
    }
    json_t *object = objects_get(&c->objects, key.kind, key.ns, key.name);
    c->counters.runs++;
    forget_digests(c, &key, object);
    if (object == NULL) {
        work_queue_done(token, false, 0);
        return;
    }
    char now[CLOCK_RFC3339_MAX];
    const struct reconcile_env env = env_of(c, now);
    struct plan plan;
    plan_init(&plan);
    reconcile(&env, key.kind, object, &plan);
    struct run *run = NEW(struct run);
    run->c = c;
    run->token = token;
    run->key = key;
    run->object = object;
    run->pending = 1; /* this call */
    run_execute(run, &plan);
    plan_fini(&plan);
    run_drop(run);
}

/* --- events of the caches
 * --------------------------------------------------------------------------------- */

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
    bool changed = n > 0 && broker_part_changed(&c->broker);
    for (size_t i = 0; changed && i < ARRAY_LEN(kinds); i++) {
        objects_each(&c->objects, kinds[i]);
    }
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
    c->queue = work_queue_new(c->loop, RUNS_MAX, on_run, c);
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
    c->broker =
        (struct broker_part){.url = c->config->broker_ingress, .file = c->config->broker_state};
    rc = objects_start(&c->objects, c->client, c->settings.sidecar_image[0] != '\0', &c->settings,
                       &events, err);
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

static void on_lease_given_back(void *arg)
{
    struct controller *c = arg;
    objects_close(&c->objects, on_objects_closed, c);
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
