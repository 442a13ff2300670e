// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: bind → admin → watch → (first lists) listen → READY=1. On SIGTERM: STOPPING=1, drain,
 * close; a second signal or the end of the drain time closes at once, a cut lifeline ends the
 * process.
 *
 * Failure modes: no port, no credentials, no admin port: start fails with a sentence. API or
 * autoscaler away: we go on, and say so on the admin port.
 */
#include "activator/activator.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "loop/notify.h"
#include "activator/instance.h"
#include "activator/log.h"
#include "activator/ports.h"

/* --- end ------------------------------------------------------------------------------------ */

static void drop_one(void *arg)
{
    closer_drop(arg);
}

static void on_client_closed(void *arg)
{
    closer_drop(arg);
}

/* The caches are closed: their client may go. */
static void on_caches_closed(void *arg)
{
    struct activator *a = arg;
    if (a->client != NULL) {
        kube_client_close(a->client, on_client_closed, &a->closer);
    } else {
        closer_drop(&a->closer);
    }
}

static void on_peer_pods_closed(void *arg)
{
    struct activator *a = arg;
    part_pods_close(&a->autoscaler_pods, on_caches_closed, a);
}

static void on_front_closed(void *arg)
{
    struct activator *a = arg;
    part_pods_close(&a->peer_pods, on_peer_pods_closed, a);
}

static void on_watch_closed(void *arg)
{
    struct activator *a = arg;
    if (a->front_up) {
        front_close(&a->front, on_front_closed, a);
    } else {
        on_front_closed(a);
    }
}

static void on_timer_closed(struct timer *timer)
{
    struct activator *a = timer->data;
    closer_drop(&a->closer);
}

static void on_lifeline_closed(struct lifeline *l)
{
    struct activator *a = l->data;
    closer_drop(&a->closer);
}

static void on_signals_closed(struct signals *s)
{
    struct activator *a = s->data;
    closer_drop(&a->closer);
}

static void on_closed(void *arg)
{
    struct activator *a = arg;
    sharing_fini(&a->mesh.sharing);
    front_fini(&a->front);
    LOG_INFO("stopped");
}

/* Whoever started us hears of it. */
static void tell(struct activator *a, enum worker_state state, const char *text)
{
    struct error err;
    if (a->worker_up) {
        worker_tell(&a->worker, state);
    } else if (notify_send(text, &err) < 0) {
        LOG_WARN("cannot say how we are", LOG_STR("state", text), LOG_ERR(&err));
    }
}

static void close_all(struct activator *a)
{
    if (a->closing) {
        return;
    }
    a->closing = true;
    ports_close(a->bound, PORT_COUNT);
    if (a->worker_up) {
        worker_farewell(&a->worker);
        worker_close(&a->worker, drop_one, &a->closer);
    }
    timer_close(&a->drain_timer, on_timer_closed);
    signals_close(&a->signals, on_signals_closed);
    lifeline_close(&a->lifeline, on_lifeline_closed);
    if (a->reporter_up) {
        reporter_close(&a->reporter, drop_one, &a->closer);
    }
    if (a->admin_up) {
        admin_close(&a->admin, drop_one, &a->closer);
    }
    if (a->announce_up) {
        announce_close(&a->announce, drop_one, &a->closer);
    }
    if (a->watch_up) {
        watch_close(&a->watch, on_watch_closed, a);
    } else if (a->client != NULL) {
        on_watch_closed(a);
    }
    if (a->mesh_up) {
        mesh_close(&a->mesh, drop_one, &a->closer); /* what it has lent ends before its throttler */
    }
    if (a->handler_up) {
        handler_close(&a->handler, drop_one, &a->closer);
    }
    (void)closer_close(&a->closer, a->loop, on_closed, a);
}

static void on_drained(void *arg)
{
    close_all(arg);
}

static void on_drain_timer(struct timer *timer)
{
    struct activator *a = timer->data;
    LOG_WARN("requests were still running at the end of the drain time",
             LOG_UINT("held", a->handler.throttler.held_count));
    close_all(a);
}

void activator_stop(struct activator *a)
{
    if (a->stopping || !a->listening || a->config->drain_ms == 0) {
        a->stopping = true;
        close_all(a);
        return;
    }
    a->stopping = true;
    mesh_leave(&a->mesh); /* before another one takes our place */
    tell(a, WORKER_DRAINING, NOTIFY_STOPPING);
    LOG_INFO("draining", LOG_UINT("ms", a->config->drain_ms));
    timer_start(&a->drain_timer, a->config->drain_ms);
    handler_drain(&a->handler, on_drained, a);
}

static void on_signal(struct signals *signals, int signum)
{
    activator_stop(signals->data);
}

static void on_lifeline(struct lifeline *l)
{
    LOG_WARN("the supervisor is gone");
    _exit(0); /* everything ends at once; nothing of ours has to be put away */
}

/* --- start ---------------------------------------------------------------------------------- */

/* The first lists are in: take requests. */
static void on_synced(void *arg)
{
    struct activator *a = arg;
    struct error err;
    if (--a->syncs_due > 0 || a->stopping) {
        return;
    }
    unsigned tls_port = ports_number(a->bound[PORT_TLS]);
    int rc = handler_listen(&a->handler, a->bound, &err);
    for (int i = 0; i < PORT_COUNT; i++) {
        a->bound[i] = -1; /* the listeners' now */
    }
    if (rc < 0) {
        LOG_ERROR("cannot take requests", LOG_ERR(&err));
        activator_stop(a);
        return;
    }
    a->listening = true;
    if (a->worker_id != NULL) {
        LOG_INFO("this worker takes requests", LOG_UINT("worker", a->worker_id->index));
    } else {
        LOG_INFO("ready", LOG_INT("public_port", handler_port(&a->handler, ROUTE_PUBLIC)),
                 LOG_INT("local_port", handler_port(&a->handler, ROUTE_LOCAL)),
                 LOG_UINT("tls_port", tls_port));
    }
    tell(a, WORKER_READY, NOTIFY_READY);
}

static void on_poke(void *arg, const struct revision *r)
{
    struct activator *a = arg;
    if (a->reporter_up) {
        reporter_poke(&a->reporter, r);
    }
}

static int start_client(struct activator *a, struct error *err)
{
    struct kube_config kc = {0};
    int rc = kube_config_load(a->config->kubeconfig, &kc, err);
    struct kube_client_options options = {.user_agent = "lull-activator/" LULL_VERSION};
    rc = rc < 0 ? rc : kube_client_new(a->loop, &kc, &options, &a->client, err);
    kube_config_fini(&kc);
    if (rc == 0) {
        closer_hold(&a->closer);
    }
    return rc;
}

static int bind_ports(struct activator *a, struct error *err)
{
    const struct config *c = a->config;
    if (a->worker_id != NULL) {
        a->bound[PORT_PUBLIC] = WORKER_FD_PUBLIC;
        a->bound[PORT_LOCAL] = WORKER_FD_LOCAL;
        a->bound[PORT_TLS] = config_has_tls(c) ? WORKER_FD_TLS : -1;
        return 0;
    }
    int rc = ports_bind(c->public_listen, 1, &a->bound[PORT_PUBLIC], err);
    rc = rc < 0 ? rc : ports_bind(c->local_listen, 1, &a->bound[PORT_LOCAL], err);
    return rc < 0 ? rc : ports_bind(c->tls_listen, 1, &a->bound[PORT_TLS], err);
}

/* The other shards. */
static int start_mesh(struct activator *a, struct error *err)
{
    const struct worker_id *id = a->worker_id;
    CLEANUP(cleanup_free)
    char *instance = id != NULL ? xstrdup(id->instance) : instance_name(a->config->name);
    a->mesh_up = true;
    closer_hold(&a->closer);
    return mesh_start(&a->mesh, a->loop, a->config, id, instance, &a->handler, err);
}

static void on_peer(void *arg, const char *address)
{
    mesh_add(&((struct activator *)arg)->mesh, address);
}

static void on_peer_gone(void *arg, const char *address)
{
    mesh_remove(&((struct activator *)arg)->mesh, address);
}

/* On Kubernetes the other activators are found by their Pods. */
static int start_peer_pods(struct activator *a, struct error *err)
{
    const struct config *c = a->config;
    struct addr own;
    if (c->peer_listen == NULL || c->peer_listen[0] == '\0' || c->peers != NULL) {
        return 0;
    }
    int rc = addr_parse(slice_str(c->peer_listen), &own, err);
    struct part_pods_options options = {.app = "lull-activator",
                                        .ns = c->system_namespace,
                                        .port = addr_port(&own),
                                        .on_add = on_peer,
                                        .on_remove = on_peer_gone,
                                        .arg = a};
    return rc < 0 ? rc : part_pods_start(&a->peer_pods, a->client, &options, err);
}

static void on_autoscaler(void *arg, const char *address)
{
    struct activator *a = arg;
    struct error err;
    if (reporter_add(&a->reporter, address, &err) < 0) {
        LOG_ERROR("an autoscaler is not told", LOG_ERR(&err));
    }
}

static void on_autoscaler_gone(void *arg, const char *address)
{
    reporter_remove(&((struct activator *)arg)->reporter, address);
}

static int start_reporter(struct activator *a, struct error *err)
{
    const struct config *c = a->config;
    const struct worker_id *id = a->worker_id;
    if (c->autoscaler == NULL || c->autoscaler[0] == '\0') {
        return 0;
    }
    a->reporter_up = true;
    closer_hold(&a->closer);
    CLEANUP(cleanup_free) char *name = id != NULL ? worker_name(id) : instance_name(c->name);
    int rc = reporter_start(&a->reporter, a->loop, c, name, &a->handler.throttler, err);
    struct part_pods_options options = {.app = "lull-autoscaler",
                                        .ns = c->system_namespace,
                                        .port = link_group_pods_port(c->autoscaler),
                                        .on_add = on_autoscaler,
                                        .on_remove = on_autoscaler_gone,
                                        .arg = a};
    return rc < 0 || options.port == 0
               ? rc
               : part_pods_start(&a->autoscaler_pods, a->client, &options, err);
}

static void on_announced(void *arg, struct slice text)
{
    announce_heard(arg, text);
}

static void relay(void *arg, struct slice text)
{
    mesh_tell(arg, text);
}

/* Replicas that announce themselves. */
static int start_announce(struct activator *a, struct error *err)
{
    struct announce_hooks hooks;
    watch_announce_hooks(&a->watch, &hooks);
    a->announce_up = true;
    closer_hold(&a->closer);
    int rc = announce_start(&a->announce, a->loop, a->config, &hooks, err);
    a->announce.relay = relay;
    a->announce.relay_arg = &a->mesh;
    a->mesh.announced = on_announced;
    a->mesh.announced_arg = &a->announce;
    a->handler.announce = &a->announce;
    return rc;
}

/* TLS at the public listener. */
static int start_front(struct activator *a, struct error *err)
{
    if (!config_has_tls(a->config)) {
        return 0;
    }
    a->front_up = true;
    a->handler.front = &a->front;
    return front_start(&a->front, a->loop, a->client, a->config, on_synced, a, err);
}

/* The admin port; of several workers the parent has it, and asks us. */
static int start_admin(struct activator *a, struct error *err)
{
    if (a->worker_id != NULL) {
        admin_init(&a->admin, a->loop, &a->handler, &a->watch, &a->reporter);
        a->worker_up = true;
        closer_hold(&a->closer);
        return worker_start(&a->worker, a->loop, a->worker_id, &a->admin, err);
    }
    a->admin_up = true;
    closer_hold(&a->closer);
    return admin_start(&a->admin, a->loop, a->config->admin_listen, &a->handler, &a->watch,
                       &a->reporter, err);
}

int activator_start(struct activator *a, struct loop *loop, const struct config *c,
                    const struct worker_id *id, struct error *err)
{
    *a = (struct activator){.loop = loop, .config = c, .worker_id = id, .bound = {-1, -1, -1}};
    closer_init(&a->closer);
    timer_init(&a->drain_timer, loop, on_drain_timer, a);
    closer_hold(&a->closer); /* the timer */
    closer_hold(&a->closer); /* signals */
    closer_hold(&a->closer); /* lifeline */
    int rc_signals = signals_start(&a->signals, loop, on_signal, a, err);
    int rc = lifeline_start(&a->lifeline, loop, on_lifeline, a, err);
    rc = rc_signals < 0 ? rc_signals : rc;
    rc = rc < 0 ? rc : bind_ports(a, err);
    if (rc < 0) {
        return rc;
    }
    handler_init(&a->handler, &(struct handler_options){
                                  .loop = loop, .config = c, .poke = on_poke, .poke_arg = a});
    a->handler_up = true;
    closer_hold(&a->closer);
    rc = log_start(&a->handler, err);
    rc = rc < 0 ? rc : events_start(&a->handler.events, err);
    rc = rc < 0 ? rc : start_mesh(a, err);
    rc = rc < 0 ? rc : start_client(a, err);
    rc = rc < 0 ? rc : start_peer_pods(a, err);
    rc = rc < 0 ? rc : start_reporter(a, err);
    rc = rc < 0 ? rc : start_announce(a, err);
    if (rc < 0) {
        return rc;
    }
    a->syncs_due = config_has_tls(c) ? 2 : 1;
    rc = start_front(a, err);
    if (rc < 0) {
        return rc;
    }
    a->watch_up = true;
    rc = watch_start(&a->watch,
                     &(struct watch_options){.client = a->client,
                                             .handler = &a->handler,
                                             .config = c,
                                             .synced = on_synced,
                                             .arg = a},
                     err);
    if (rc < 0) {
        return rc;
    }
    return start_admin(a, err);
}
