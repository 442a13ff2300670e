// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Connections to Redis and the API, the watches, the ingress, the admin port; READY=1 when
 * both lists are in and Redis has answered. The end: nothing is read or taken in any more, what is
 * being delivered may end within the drain, then all is closed. What is cut off is still pending in
 * our name in Redis: the next start under the same name, or another worker, goes on with it.
 */
#include "broker/worker.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"
#include "loop/notify.h"
#include "broker/async.h"
#include "broker/backlog.h"
#include "broker/capacity.h"
#include "broker/ingress.h"
#include "broker/owner.h"
#include "broker/redis_setup.h"
#include "broker/routes.h"
#include "broker/sources.h"
#include "broker/watch.h"

#define TICK_MS       250
#define DRAIN_LOOK_MS 50
#define COMMAND_MAX   (64u << 20)
#define PACKED_MAX    (2u << 20)
#define IDLE_BYTES    (8u << 20)

static void notify(const char *state)
{
    struct error err;
    if (notify_send(state, &err) < 0) {
        LOG_WARN("cannot tell the supervisor", LOG_ERR(&err));
    }
}

static void tell_ready(struct part *p)
{
    if (!p->ready_told && p->worker.synced && redis_conn_is_up(p->worker.db) &&
        redis_conn_is_up(p->worker.in)) {
        p->ready_told = true;
        notify(NOTIFY_READY);
        LOG_INFO("ready");
    }
}

/* --- Redis --------------------------------------------------------------------------------- */

static void on_db_up(void *arg)
{
    struct part *p = arg;
    LOG_INFO("redis is there", LOG_STR("connection", "events"));
    map_foreach (it, &p->worker.brokers) { /* after a fail-over an id may stand for another event */
        payload_set_forget(&((struct broker *)it.value)->payloads);
    }
    upkeep_anew(&p->worker);
    upkeep_up(&p->worker);
    async_up(p->worker.async);
    tell_ready(p);
}

static void on_in_up(void *arg)
{
    tell_ready(arg);
}

/* What does not go away by waiting for a redis-server that starts; of somebody else's all. */
static void tell_trouble(const struct worker *w, const struct error *err)
{
    bool ours = strncmp(w->config->redis, "unix:", 5) == 0; /* it is being made */
    if (err->code == ERR_DENIED || err->code == ERR_UNSUPPORTED || err->code == ERR_INVALID ||
        !ours) {
        CLEANUP(cleanup_free) char *status = xasprintf(NOTIFY_STATUS "%s", err->msg);
        notify(status);
    }
}

static void on_down(void *arg, const struct error *err)
{
    struct part *p = arg;
    struct worker *w = &p->worker;
    uint64_t dropped;
    w->counters.redis_downs++;
    if (log_limit(&w->redis_log, loop_now_ms(w->loop), 1000, &dropped)) {
        LOG_WARN("redis is not there, events are refused and wait", LOG_ERR(err));
        if (!p->ready_told) {
            tell_trouble(w, err);
        }
    }
}

static void on_warning(void *arg, const char *text)
{
    LOG_WARN("the redis of the events may lose some", LOG_STR("why", text));
}

static int start_redis(struct part *p, struct error *err)
{
    struct worker *w = &p->worker;
    CLEANUP(cleanup_free) char *name = xasprintf("lull-broker/%s", w->name);
    for (char *c = name; *c != '\0'; c++) {
        *c = *c <= ' ' || *c == 0x7f ? '-' : *c; /* CLIENT SETNAME takes no spaces */
    }
    struct redis_conn_options options;
    int rc = redis_setup(w->config, &options, err);
    if (rc < 0) {
        return rc;
    }
    options.client_name = name;
    options.on_up = on_db_up;
    options.on_down = on_down;
    options.on_warning = on_warning;
    options.arg = p;
    unsigned wait = options.wait_replicas;
    options.wait_replicas = 0;
    rc = redis_conn_new(w->loop, &options, &w->db, err);
    options.wait_replicas = wait;
    options.on_up = on_in_up;
    options.on_down = NULL;
    options.on_warning = NULL;
    rc = rc < 0 ? rc : redis_conn_new(w->loop, &options, &w->in, err);
    return rc < 0 ? error_prefix(err, rc, "--redis") : 0;
}

/* --- the end of a turn, and the tick ------------------------------------------------------- */

static void on_dirty(struct loop_task *task)
{
    struct worker *w = task->data;
    struct list now;
    list_init(&now);
    list_splice_back(&now, &w->dirty);
    for (struct list *node; (node = list_pop_front(&now)) != NULL;) {
        struct trigger *t = LIST_ENTRY(node, struct trigger, dirty);
        trigger_ref(t);
        trigger_settle(t);
        trigger_send_ready(t);
        trigger_read(t);
        trigger_unref(t);
    }
}

static void on_tick(struct timer *timer)
{
    struct worker *w = timer->data;
    upkeep_tick(w);
    sources_tick(w->sources);
    async_tick(w->async, w->ticks % (1000 / TICK_MS) == 0);
}

static void on_synced(void *arg)
{
    struct part *p = arg;
    if (redis_conn_is_up(p->worker.db)) {
        upkeep_up(&p->worker);
    }
    tell_ready(p);
}

/* --- start --------------------------------------------------------------------------------- */

static void add_port(struct worker *w, uint16_t port)
{
    if (port != 0 && w->n_own_ports < ARRAY_LEN(w->own_ports)) {
        w->own_ports[w->n_own_ports++] = port;
    }
}

static int read_ports(struct worker *w, struct error *err)
{
    struct slice rest = slice_str(w->config->refuse_ports);
    struct slice part;
    uint64_t port;
    while (slice_split(&rest, ',', &part)) {
        part = slice_trim(part);
        if (slice_empty(part)) {
            continue;
        }
        int rc = num_parse_u64(part, 1, 65535, &port, err);
        if (rc < 0) {
            return error_prefix(err, rc, "--refuse-ports");
        }
        add_port(w, (uint16_t)port);
    }
    return 0;
}

static void init_worker(struct worker *w, struct loop *loop, const struct config *config)
{
    char host[256] = "";
    w->loop = loop;
    w->config = config;
    (void)gethostname(host, sizeof(host) - 1);
    w->name = xstrdup(config->name[0] != '\0' ? config->name : host[0] != '\0' ? host : "broker");
    map_init(&w->brokers, MAP_BORROW_KEYS);
    map_init(&w->triggers, MAP_BORROW_KEYS);
    payloads_init(&w->payloads, IDLE_BYTES);
    list_init(&w->dirty);
    list_init(&w->tails);
    loop_task_init(&w->dirty_task, on_dirty, w);
    strbuf_init(&w->command, COMMAND_MAX);
    strbuf_init(&w->packed, PACKED_MAX);
    timer_init(&w->tick, loop, on_tick, w);
    timer_start_every(&w->tick, TICK_MS);
    w->async = async_new(w);
}

static int start_kube(struct part *p, struct error *err)
{
    struct worker *w = &p->worker;
    struct kube_config kube = {0};
    int rc = kube_config_load(w->config->kubeconfig, &kube, err);
    if (rc < 0) {
        return rc;
    }
    rc = kube_client_new(w->loop, &kube, NULL, &w->client, err);
    kube_config_fini(&kube);
    rc = rc < 0 ? rc : capacity_start(w, err);
    rc = rc < 0 ? rc : routes_start(w, err);
    rc = rc < 0 ? rc : watch_start(w, on_synced, p, err);
    return rc < 0 ? rc : backlog_start(w, err);
}

static void on_signal(struct signals *signals, int signum)
{
    LOG_INFO("stopping", LOG_INT("signal", signum));
    part_stop(signals->data);
}

static void on_lifeline(struct lifeline *lifeline)
{
    struct part *p = lifeline->data;
    LOG_INFO("the supervisor is gone, stopping");
    p->drain_until_ms = loop_now_ms(p->worker.loop) + DRAIN_LOOK_MS;
    part_stop(p);
}

static void on_drain(struct timer *timer);

int part_start(struct part *p, struct loop *loop, const struct config *config, struct error *err)
{
    struct worker *w = &p->worker;
    init_worker(w, loop, config);
    timer_init(&p->drain, loop, on_drain, p);
    p->started = true;
    int rc = signals_start(&p->signals, loop, on_signal, p, err);
    p->signals_started = true;
    if (rc < 0) {
        return rc;
    }
    rc = lifeline_start(&p->lifeline, loop, on_lifeline, p, err);
    p->lifeline_started = true;
    rc = rc < 0 ? rc : read_ports(w, err);
    w->n_own_ports += redis_setup_ports(config, w->own_ports + w->n_own_ports,
                                        ARRAY_LEN(w->own_ports) - w->n_own_ports);
    sender_init(&w->sender, loop,
                &(struct sender_options){
                    .gateway = config->local_gateway,
                    .rules = (config->deliver_private ? TARGET_PRIVATE_OK : 0u) |
                             (config->deliver_loopback ? TARGET_LOOPBACK_OK : 0u),
                    .own_ports = w->own_ports,
                    .n_own = 0,
                    .reply_max = config->reply_bytes_max,
                    .event_max = config->event_bytes_max > config->async_body_max
                                     ? config->event_bytes_max
                                     : config->async_body_max,
                    .ca_file = config->deliver_ca,
                });
    rc = rc < 0 ? rc : start_redis(p, err);
    rc = rc < 0 ? rc : ingress_start(w, err);
    rc = rc < 0 ? rc : admin_start(&p->admin, w, config->admin_listen, err);
    if (rc == 0) {
        add_port(w, admin_port(&p->admin));
        w->sender.options.n_own = w->n_own_ports;
        rc = start_kube(p, err);
    }
    if (rc == 0) {
        LOG_INFO("started", LOG_STR("listen", config->listen), LOG_STR("name", w->name),
                 LOG_STR("version", LULL_VERSION));
    }
    return rc;
}

/* --- end ----------------------------------------------------------------------------------- */

static void on_sender_closed(void *arg)
{
    struct worker *w = &((struct part *)arg)->worker;
    async_free(w->async);
    map_fini(&w->brokers);
    map_fini(&w->triggers);
    capacity_free(w);
    routes_free(w);
    strbuf_fini(&w->command);
    strbuf_fini(&w->packed);
    free(w->name);
}

static void on_db_closed(void *arg)
{
    struct part *p = arg;
    sender_close(&p->worker.sender, on_sender_closed, p);
}

static void on_in_closed(void *arg)
{
    struct part *p = arg;
    struct worker *w = &p->worker;
    /* Commands that name triggers and brokers are completed by now, or with the close. */
    sources_free(w->sources);
    worker_forget(w);
    async_stop(w->async);
    if (w->db != NULL) {
        redis_conn_close(w->db, on_db_closed, p);
    } else {
        on_db_closed(p);
    }
}

static void close_all(struct part *p)
{
    struct worker *w = &p->worker;
    timer_close(&p->drain, NULL);
    timer_close(&w->tick, NULL);
    watch_close(w);
    capacity_close(w);
    routes_close(w);
    backlog_close(w);
    if (w->client != NULL) {
        kube_client_close(w->client, NULL, NULL);
    }
    admin_close(&p->admin, NULL, NULL);
    if (w->front != NULL) {
        http_simple_close(w->front, NULL, NULL);
    }
    if (w->in != NULL) {
        redis_conn_close(w->in, on_in_closed, p);
    } else {
        on_in_closed(p);
    }
}

/* Deliveries that will end by themselves. */
static bool is_busy(const struct worker *w)
{
    map_foreach (it, &w->triggers) {
        const struct trigger *t = it.value;
        list_foreach (node, &t->deliveries) {
            const struct delivery *d = LIST_ENTRY(node, struct delivery, link);
            if (d->state == DELIVERY_SENDING || d->state == DELIVERY_REPLYING ||
                d->state == DELIVERY_SETTLING) {
                return true;
            }
        }
    }
    return w->in_bytes > 0 || async_busy(w->async);
}

static void on_drain(struct timer *timer)
{
    struct part *p = timer->data;
    bool late = loop_now_ms(p->worker.loop) >= p->drain_until_ms;
    if (late || (!is_busy(&p->worker) && !owner_release(&p->worker))) {
        close_all(p);
    }
}

void part_stop(struct part *p)
{
    struct worker *w = &p->worker;
    if (p->stopping || !p->started) {
        return;
    }
    p->stopping = true;
    w->stopping = true;
    p->admin.draining = true;
    notify(NOTIFY_STOPPING);
    if (w->front != NULL) {
        http_server_drain(http_simple_server(w->front), NULL, NULL);
    }
    if (p->lifeline_started) {
        lifeline_close(&p->lifeline, NULL);
    }
    if (p->signals_started) {
        signals_close(&p->signals, NULL);
    }
    if (p->drain_until_ms == 0) {
        p->drain_until_ms = loop_now_ms(w->loop) + w->config->drain_ms;
    }
    timer_start_every(&p->drain, DRAIN_LOOK_MS);
}
