// SPDX-License-Identifier: Apache-2.0
/*
 * Happy path: on_request → breaker grants → http_forward → on_done → the next waiter is granted.
 *
 * Failure: refused (full, draining) before any body is read; the function refuses the connection
 * or closes it unanswered: 502, after more tries where the request cannot have run; a deadline:
 * 504, or the answer is ended where it is. The client leaves: without a limit the function is told
 * by the end of its connection; with containerConcurrency the slot stays taken until the function
 * has ended its answer or the connection, at the longest until timeoutSeconds, so that never more
 * than so many run in it. Whatever happens, rq_over runs exactly once per request.
 */

#include "queue-proxy/proxy.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "serving/announce.h"
#include "queue-proxy/log.h"

#define FREE_MAX       128
#define TRIES_MAX      3
#define IDLE_PARTS     4 /* idleTimeoutSeconds is looked at so often; it fires at most 1/4 late */
#define TIMEOUT_TEXT   "request timeout"
#define DEPTH_PER_SLOT 10

struct request {
    struct list link; /* proxy->free */
    struct proxy *proxy;
    struct http_exchange *exchange;
    struct http_forward forward;
    struct breaker_slot slot;
    struct deadline timeout;
    struct deadline start_timeout;
    struct deadline idle_timeout;
    struct request_class cls;
    uint64_t started_ns;
    uint64_t forwarded_ns; /* when it first went to the function; 0: not yet */
    uint64_t seen_bytes;   /* when the idle deadline was set */
    unsigned quiet;        /* idle deadlines in a row in which nothing passed */
    unsigned tries;
    bool upgraded; /* it counts as answered: timeoutSeconds does not cut it */
    int answered;  /* status that we gave while the function goes on; else 0 */
};

static const struct http_forward_hooks forward_hooks;
static const struct http_forward_hooks limited_hooks;
static void start_granted(struct proxy *proxy);

/* ---- request structs ---- */

static struct request *rq_new(struct proxy *proxy, struct http_exchange *ex,
                              const struct request_class *cls)
{
    struct list *node = list_pop_front(&proxy->free);
    struct request *rq;
    if (node != NULL) {
        rq = LIST_ENTRY(node, struct request, link);
        proxy->n_free--;
    } else {
        rq = xmalloc(sizeof(*rq));
    }
    rq->proxy = proxy;
    rq->exchange = ex;
    rq->cls = *cls;
    rq->tries = 0;
    rq->answered = 0;
    rq->upgraded = false;
    rq->forwarded_ns = 0;
    rq->seen_bytes = 0;
    rq->quiet = 0;
    rq->started_ns = loop_now_ns(proxy->loop);
    rq->forward.running = false;
    list_init(&rq->link);
    breaker_slot_init(&rq->slot);
    deadline_init(&rq->timeout);
    deadline_init(&rq->start_timeout);
    deadline_init(&rq->idle_timeout);
    request_stats_in(&proxy->stats, rq->started_ns, cls->proxied);
    proxy->last_request_ms = rq->started_ns / CLOCK_NS_PER_MS;
    proxy->used = proxy->used || cls->proxied;
    return rq;
}

/* The request is over; status 0: no answer reached the client. May start waiting ones. */
static void rq_over(struct request *rq, int status)
{
    struct proxy *proxy = rq->proxy;
    uint64_t now = loop_now_ns(proxy->loop);
    deadline_clear(&rq->timeout);
    deadline_clear(&rq->start_timeout);
    deadline_clear(&rq->idle_timeout);
    request_stats_out(&proxy->stats, now, rq->cls.proxied);
    metric_buckets_observe(&proxy->durations, now - rq->started_ns);
    if (rq->forwarded_ns != 0) {
        metric_buckets_observe(&proxy->invocations, now - rq->forwarded_ns);
    }
    proxy->n_codes[status >= 100 && status < 600 ? status / 100 : 0]++;
    breaker_release(&proxy->breaker, &rq->slot);
    if (proxy->n_free < FREE_MAX) {
        list_push_front(&proxy->free, &rq->link);
        proxy->n_free++;
    } else {
        free(rq);
    }
    start_granted(proxy);
    if (proxy->draining && proxy->stats.in_flight == 0 && proxy->on_idle != NULL) {
        proxy->on_idle(proxy);
    }
}

/* Answers by ourselves; the exchange is not touched afterwards. */
static void answer(struct http_exchange *ex, int status, const char *text)
{
    http_exchange_listen(ex, NULL, NULL);
    http_exchange_respond(ex, status, "text/plain; charset=utf-8", slice_str(text));
}

/* ---- refusals and probes ---- */

static void refuse(struct proxy *proxy, struct http_exchange *ex, bool draining)
{
    struct http_header room[2];
    struct http_head head;
    http_head_init(&head, room, ARRAY_LEN(room));
    head.status = 503;
    proxy->n_refused[draining]++;
    struct slice why = draining ? SLICE_LIT("draining") : SLICE_LIT("full");
    if (http_head_add(&head, SLICE_LIT("K-Lull-Refused"), why) < 0 ||
        http_head_add(&head, SLICE_LIT("Content-Type"), SLICE_LIT("text/plain; charset=utf-8")) <
            0) {
        return; /* there is room for two */
    }
    http_exchange_listen(ex, NULL, NULL);
    http_exchange_respond_head(ex, &head,
                               draining ? SLICE_LIT("shutting down\n")
                                        : SLICE_LIT("pending request queue full\n"));
}

/* The function is ready; an activator may want to know whether this is really its replica. */
static void answer_well(struct proxy *proxy, struct http_exchange *ex)
{
    const struct config *c = proxy->config;
    char proof[SHA256_HEX + 1];
    struct http_header room[2];
    struct http_head head;
    struct slice challenge =
        http_head_get(http_exchange_request(ex), SLICE_LIT(ANNOUNCE_CHALLENGE));
    if (c->announce_key[0] == '\0' || !announce_challenge_valid(challenge)) {
        answer(ex, 200, "queue");
        return;
    }
    announce_proof(slice_str(c->announce_key), challenge, slice_str(c->pod_uid),
                   slice_str(c->pod_ip), proof);
    http_head_init(&head, room, ARRAY_LEN(room));
    head.status = 200;
    if (http_head_add(&head, SLICE_LIT(ANNOUNCE_PROOF), slice_of(proof, SHA256_HEX)) == 0) {
        http_exchange_listen(ex, NULL, NULL);
        http_exchange_respond_head(ex, &head, SLICE_LIT("queue"));
    }
}

static void answer_probe(struct proxy *proxy, struct http_exchange *ex,
                         const struct request_class *cls)
{
    char text[160];
    struct http_header room[1];
    struct http_head head;
    if (proxy->draining) {
        answer(ex, 503, "shutting down");
        return;
    }
    switch (cls->kind) {
    case REQUEST_HEALTH:
        if (!proxy->prober.ready) {
            answer(ex, 503, "the function is not ready");
        } else {
            answer_well(proxy, ex);
        }
        return;
    case REQUEST_HASH_PROBE:
        if (cls->hash.len == 0) {
            answer(ex, 400, "a probe request must contain a non-empty \"K-Network-Hash\" header");
            return;
        }
        http_head_init(&head, room, ARRAY_LEN(room));
        head.status = 200;
        if (http_head_add(&head, SLICE_LIT("K-Network-Hash"), cls->hash) == 0) {
            http_exchange_listen(ex, NULL, NULL);
            http_exchange_respond_head(ex, &head, SLICE_EMPTY);
        }
        return;
    case REQUEST_BAD_PROBE:
    case REQUEST_PLAIN:
        break;
    }
    snprintf(text, sizeof(text), "unexpected probe header value: %.*s",
             cls->probe.len > 100 ? 100 : (int)cls->probe.len, cls->probe.ptr);
    answer(ex, 400, text);
}

/* ---- timeouts ---- */

/* The clocks for the beginning and the flow of the answer. */
static void start_clocks(struct request *rq)
{
    struct proxy *proxy = rq->proxy;
    if (proxy->config->start_timeout_s > 0) {
        deadline_set(&proxy->start_timeouts, &rq->start_timeout);
    }
    if (proxy->config->idle_timeout_s > 0) {
        deadline_set(&proxy->idle_timeouts, &rq->idle_timeout);
    }
}

/* Bytes that are a sign of life, for idleTimeoutSeconds. */
static uint64_t passed(const struct request *rq)
{
    const struct http_forward *f = &rq->forward;
    if (!rq->proxy->config->knative_timeouts) {
        return f->bytes_in + f->bytes_out;
    }
    return f->tunnel ? 0 : f->bytes_out;
}

/* ---- forwarding ---- */

static void fail_request(struct request *rq, const struct error *err)
{
    char text[ERROR_MSG_MAX + 64];
    bool unsupported = err->code == ERR_UNSUPPORTED;
    snprintf(text, sizeof(text), "%s: %s\n",
             unsupported ? "the function's protocol does not allow it"
                         : "the function did not answer",
             err->msg);
    answer(rq->exchange, unsupported ? 501 : 502, text);
    rq_over(rq, unsupported ? 501 : 502);
}

static void start_forward(struct request *rq)
{
    UNINITIALIZED struct error err;
    err.code = ERR_OK;
    struct proxy *proxy = rq->proxy;
    const struct http_forward_hooks *hooks =
        proxy->config->concurrency > 0 ? &limited_hooks : &forward_hooks;
    if (rq->forwarded_ns == 0) {
        rq->forwarded_ns = loop_now_ns(proxy->loop);
    }
    if (rq->tries++ == 0 && !proxy->config->knative_timeouts) {
        start_clocks(rq);
    }
    if (http_forward_start(&rq->forward, rq->exchange, proxy->pool, hooks, rq, &err) < 0) {
        fail_request(rq, &err);
    }
}

static int on_request_head(struct http_forward *f, const struct http_head *in,
                           struct http_head *out, void *arg)
{
    struct request *rq = arg;
    return headers_to_function(in, out, &rq->cls, http_exchange_peer(rq->exchange),
                               &rq->proxy->room);
}

static bool on_response_head(struct http_forward *f, const struct http_head *in,
                             struct http_head *out, void *arg)
{
    struct request *rq = arg;
    struct proxy *proxy = rq->proxy;
    headers_from_function(out);
    if (in->body == HTTP_BODY_TUNNEL && proxy->config->knative_timeouts) {
        return true; /* for Knative such an answer has not begun */
    }
    deadline_clear(&rq->start_timeout);
    rq->upgraded = in->body == HTTP_BODY_TUNNEL;
    rq->quiet = 0;
    if (deadline_is_set(&rq->idle_timeout)) {
        deadline_set(&proxy->idle_timeouts, &rq->idle_timeout);
    }
    return true;
}

/* Whether the request may be sent once more: it cannot have run, or running it twice is harmless.
 */
static bool try_again(const struct request *rq, const struct http_forward_result *r)
{
    const struct http_head *head = http_exchange_request(rq->exchange);
    return rq->tries < TRIES_MAX && r->body_intact &&
           (r->stage == HTTP_STAGE_UNSEEN ||
            (r->stage == HTTP_STAGE_REUSED && http_method_idempotent(head->method_id)));
}

/* At most one line a second: a function that is down fails every request. */
static void warn(struct proxy *proxy, const struct error *err)
{
    uint64_t now = loop_now_ms(proxy->loop);
    if (proxy->warned_ms == 0 || now - proxy->warned_ms >= 1000) {
        proxy->warned_ms = now;
        LOG_WARN("request failed", LOG_ERR(err));
    }
}

static void on_forward_done(struct http_forward *f, const struct http_forward_result *r, void *arg)
{
    struct request *rq = arg;
    if (r->answered) {
        rq_over(rq, r->outcome == HTTP_OUTCOME_OK ? r->status : rq->answered);
        return;
    }
    if (try_again(rq, r)) {
        http_pool_flush_idle(rq->proxy->pool); /* they may be as dead */
        start_forward(rq);
        return;
    }
    if (r->stage == HTTP_STAGE_NOT_SENT) {
        prober_suspect(&rq->proxy->prober);
    }
    warn(rq->proxy, &r->err);
    fail_request(rq, &r->err);
}

static const struct http_forward_hooks forward_hooks = {
    .on_request = on_request_head,
    .on_response = on_response_head,
    .on_done = on_forward_done,
};

/* With containerConcurrency a slot is free when the function has finished, not when its client has
 * gone. */
static const struct http_forward_hooks limited_hooks = {
    .on_request = on_request_head,
    .on_response = on_response_head,
    .on_done = on_forward_done,
    .outlive = true,
};

/* ---- waiting ---- */

static void on_waiting_close(struct http_exchange *ex, enum http_close how, void *arg)
{
    rq_over(arg, 0); /* the client left the queue */
}

static const struct http_exchange_events waiting_events = {.on_close = on_waiting_close};

static void start_granted(struct proxy *proxy)
{
    struct breaker_slot *slot;
    while ((slot = breaker_take_granted(&proxy->breaker)) != NULL) {
        start_forward(CONTAINER_OF(slot, struct request, slot));
    }
}

static void on_timeout(struct deadline *deadline, void *data)
{
    struct request *rq = CONTAINER_OF(deadline, struct request, timeout);
    if (rq->upgraded && !http_forward_left(&rq->forward)) {
        deadline_set(&rq->proxy->timeouts, deadline); /* it bounds what comes after its client */
        return;
    }
    bool left = http_forward_left(&rq->forward);
    if (!http_forward_running(&rq->forward) ||
        !http_forward_cancel(&rq->forward, SLICE_LIT(TIMEOUT_TEXT))) {
        answer(rq->exchange, 504, TIMEOUT_TEXT);
    }
    rq_over(rq, left ? rq->answered : 504);
}

/*
 * The answer does not begin, or does not go on: the client gets its 504, or the end of the answer.
 * The function may still run; until it ends, or timeoutSeconds, it keeps its slot.
 */
static void gave_up(struct request *rq)
{
    if (http_forward_left(&rq->forward)) {
        return; /* nobody waits for it */
    }
    deadline_clear(&rq->start_timeout);
    deadline_clear(&rq->idle_timeout);
    if (!http_forward_running(&rq->forward) ||
        !http_forward_leave(&rq->forward, SLICE_LIT(TIMEOUT_TEXT))) {
        answer(rq->exchange, 504, TIMEOUT_TEXT);
    }
    if (http_forward_running(&rq->forward)) {
        rq->answered = 504;
    } else {
        rq_over(rq, 504);
    }
}

static void on_start_timeout(struct deadline *deadline, void *data)
{
    gave_up(CONTAINER_OF(deadline, struct request, start_timeout));
}

static void on_idle_timeout(struct deadline *deadline, void *data)
{
    struct request *rq = CONTAINER_OF(deadline, struct request, idle_timeout);
    uint64_t bytes = http_forward_running(&rq->forward) ? passed(rq) : 0;
    rq->quiet = bytes == rq->seen_bytes ? rq->quiet + 1 : 0;
    rq->seen_bytes = bytes;
    if (rq->quiet < IDLE_PARTS) {
        deadline_set(&rq->proxy->idle_timeouts, deadline);
        return;
    }
    gave_up(rq);
}

static void on_request(struct http_exchange *ex, void *arg)
{
    struct proxy *proxy = arg;
    struct request_class cls;
    headers_classify(http_exchange_request(ex), &cls);
    if (cls.kind != REQUEST_PLAIN) {
        answer_probe(proxy, ex, &cls);
        return;
    }
    /* The address was another revision's a moment ago, and an activator has not heard of it yet. */
    bool stray = !headers_means(cls.revision, slice_str(proxy->config->namespace_name),
                                slice_str(proxy->config->revision));
    if ((proxy->draining && cls.proxied) || stray) {
        refuse(proxy, ex, true);
        return;
    }
    if (cls.proxied && breaker_busy(&proxy->breaker)) {
        refuse(proxy, ex, false); /* it waits better where other replicas are known */
        return;
    }
    struct request *rq = rq_new(proxy, ex, &cls);
    switch (breaker_acquire(&proxy->breaker, &rq->slot)) {
    case BREAKER_OVERLOAD:
        refuse(proxy, ex, false);
        rq_over(rq, 503);
        return;
    case BREAKER_QUEUED:
        http_exchange_listen(ex, &waiting_events, rq);
        break;
    case BREAKER_GRANTED:
        break;
    }
    if (proxy->config->timeout_s > 0) {
        deadline_set(&proxy->timeouts, &rq->timeout);
    }
    if (proxy->config->knative_timeouts) {
        start_clocks(rq);
    }
    if (rq->slot.state == BREAKER_RUNNING) {
        start_forward(rq);
    }
}

/* ---- life ---- */

static int make_pool(struct proxy *proxy, struct addr *function, struct error *err)
{
    char text[ADDR_TEXT_MAX];
    struct http_pool_options options = http_pool_options_default();
    int rc = addr_from_ip(slice_str(proxy->config->user_host), (uint16_t)proxy->config->user_port,
                          function, err);
    if (rc < 0) {
        return error_prefix(err, rc, "LULL_USER_HOST, the address of the function");
    }
    options.max_idle = 256;
    options.h2c = config_h2c(proxy->config);
    addr_format(function, text, sizeof(text));
    rc = http_pool_new(proxy->loop, text, &options, &proxy->pool, err);
    proxy->open += rc == 0;
    return rc;
}

static int listen_all(struct proxy *proxy, struct error *err)
{
    char port[16];
    const struct config *c = proxy->config;
    bool listed = c->queue_listen[0] != '\0';
    (void)snprintf(port, sizeof(port), ":%d", (int)c->queue_port);
    int rc = http_server_listen_list(proxy->server, listed ? c->queue_listen : port, err);
    return rc == 0 ? 0 : error_prefix(err, rc, listed ? "LULL_QUEUE_LISTEN" : "QUEUE_SERVING_PORT");
}

/* A timeout of 0 means none: its list stays empty, whatever its length. */
static uint64_t length_ms(int64_t seconds)
{
    return seconds > 0 ? (uint64_t)seconds * 1000 : 1;
}

int proxy_start(struct proxy *proxy, struct loop *loop, const struct config *config,
                void (*on_ready)(struct prober *prober), void *data, struct error *err)
{
    struct addr function, probed;
    struct http_limits limits = http_limits_default();
    *proxy = (struct proxy){.loop = loop, .config = config, .data = data};
    list_init(&proxy->free);
    request_stats_init(&proxy->stats, loop_now_ns(loop));
    proxy->last_request_ms = loop_now_ms(loop);
    breaker_init(&proxy->breaker, (uint32_t)config->concurrency,
                 (uint32_t)config->concurrency * DEPTH_PER_SLOT);
    deadlines_init(&proxy->timeouts, loop, length_ms(config->timeout_s), on_timeout, proxy);
    deadlines_init(&proxy->start_timeouts, loop, length_ms(config->start_timeout_s),
                   on_start_timeout, proxy);
    deadlines_init(&proxy->idle_timeouts, loop,
                   (length_ms(config->idle_timeout_s) + IDLE_PARTS - 1) / IDLE_PARTS,
                   on_idle_timeout, proxy);
    limits.idle_ms = (uint32_t)config->client_idle_ms; /* longer than an activator keeps its end */
    limits.head_ms = (uint32_t)config->client_head_ms;
    limits.body_ms = (uint32_t)config->client_body_ms;
    limits.write_ms = (uint32_t)config->client_write_ms;
    proxy->server = http_server_new(
        loop, &(struct http_server_options){.limits = limits,
                                            .h2c = config_h2c(config),
                                            .on_request = on_request,
                                            .on_over = config->request_log ? log_request : NULL,
                                            .arg = proxy});
    proxy->open = 4;
    int rc = log_start(proxy, err);
    if (rc < 0) {
        return rc;
    }
    rc = probe_spec_parse(slice_str(config->probe), &proxy->probe_spec, err);
    rc = rc < 0 ? error_prefix(err, rc, "SERVING_READINESS_PROBE, Kubernetes' probe as JSON")
                : make_pool(proxy, &function, err);
    if (rc == 0) {
        rc = listen_all(proxy, err);
    }
    if (rc < 0) {
        return rc;
    }
    rc = addr_from_ip(slice_str(config->user_host),
                      config->probe_port != 0 ? (uint16_t)config->probe_port : addr_port(&function),
                      &probed, err);
    if (rc < 0) {
        return rc;
    }
    prober_start(&proxy->prober, loop, &probed, &proxy->probe_spec, on_ready, proxy);
    proxy->open++;
    return 0;
}

void proxy_drain(struct proxy *proxy, void (*on_idle)(struct proxy *proxy))
{
    proxy->draining = true;
    proxy->on_idle = on_idle;
    http_server_goaway(proxy->server); /* so that nothing is on its way when it ends */
}

size_t proxy_connections(const struct proxy *proxy)
{
    return http_server_connections(proxy->server);
}

size_t proxy_active(const struct proxy *proxy)
{
    return proxy->stats.in_flight;
}

static void dropped(struct proxy *proxy)
{
    if (--proxy->open > 0) {
        return;
    }
    struct list *node;
    while ((node = list_pop_front(&proxy->free)) != NULL) {
        free(LIST_ENTRY(node, struct request, link));
    }
    if (proxy->close_cb != NULL) {
        proxy->close_cb(proxy);
    }
}

static void on_part_closed(void *arg)
{
    dropped(arg);
}

static void on_deadlines_closed(struct deadlines *d)
{
    dropped(d->data);
}

static void on_log_closed(struct request_log *log)
{
    dropped(CONTAINER_OF(log, struct proxy, log));
}

static void on_prober_closed(struct prober *p)
{
    dropped(p->data);
}

void proxy_close(struct proxy *proxy, void (*cb)(struct proxy *proxy))
{
    proxy->close_cb = cb;
    proxy->on_idle = NULL;
    http_server_close(proxy->server, on_part_closed, proxy);
    if (proxy->pool != NULL) {
        http_pool_close(proxy->pool, on_part_closed, proxy);
    }
    if (proxy->prober.loop != NULL) {
        prober_close(&proxy->prober, on_prober_closed);
    }
    if (request_log_on(&proxy->log)) {
        request_log_close(&proxy->log, on_log_closed);
    }
    deadlines_close(&proxy->timeouts, on_deadlines_closed);
    deadlines_close(&proxy->start_timeouts, on_deadlines_closed);
    deadlines_close(&proxy->idle_timeouts, on_deadlines_closed);
}
