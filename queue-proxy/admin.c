// SPDX-License-Identifier: Apache-2.0
#include "queue-proxy/admin.h"

#include "base/clock.h"
#include "base/mem.h"
#include "serving/stat.h"

#define DRAIN_BEGINS_MS 1000
#define TEXT_MAX        (64 * 1024)

struct waiter {
    struct list link;
    struct http_simple_request *rq;
    bool answered;
};

/* ---- metrics ---- */

enum gauge { GAUGE_CONCURRENCY, GAUGE_RUNNING, GAUGE_WAITING, GAUGE_LIMIT, GAUGE_READY, GAUGE_N };

static const struct {
    const char *name;
    const char *help;
} gauge_rows[GAUGE_N] = {
    [GAUGE_CONCURRENCY] = {"lull_queue_concurrency_average",
                           "Requests waiting or running, averaged over the last whole second."},
    [GAUGE_RUNNING] = {"lull_queue_running", "Requests in the function now."},
    [GAUGE_WAITING] = {"lull_queue_depth", "Requests waiting for a slot now."},
    [GAUGE_LIMIT] = {"lull_queue_limit", "Requests that may run at once; 0: no limit."},
    [GAUGE_READY] = {"lull_queue_function_ready", "1 while the function answers its probe."},
};

static void set_metrics(void *data)
{
    struct admin *admin = data;
    struct proxy *p = admin->proxy;
    struct request_numbers n = request_stats_read(&p->stats, loop_now_ns(p->loop));
    metric_set(admin->gauges[GAUGE_CONCURRENCY], n.concurrency);
    metric_set(admin->gauges[GAUGE_RUNNING], p->breaker.running);
    metric_set(admin->gauges[GAUGE_WAITING], p->breaker.waiting);
    metric_set(admin->gauges[GAUGE_LIMIT], p->breaker.limit);
    metric_set(admin->gauges[GAUGE_READY], p->prober.ready);
    for (size_t i = 0; i < ARRAY_LEN(admin->codes); i++) {
        metric_add(admin->codes[i], (double)p->n_codes[i] - metric_value(admin->codes[i]));
    }
    for (size_t i = 0; i < ARRAY_LEN(admin->refused); i++) {
        metric_add(admin->refused[i], (double)p->n_refused[i] - metric_value(admin->refused[i]));
    }
}

static void make_metrics(struct admin *admin)
{
    static const char *const code_label[] = {"code", NULL};
    static const char *const why_label[] = {"reason", NULL};
    static const char *const codes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    static const char *const whys[] = {"full", "draining"};
    struct metric_registry *reg = &admin->proxy->metrics;
    for (size_t i = 0; i < GAUGE_N; i++) {
        admin->gauges[i] =
            metric_with(metric_gauge(reg, gauge_rows[i].name, gauge_rows[i].help, NULL), NULL);
    }
    struct metric_family *f = metric_counter(
        reg, "lull_queue_requests_total",
        "Requests by class of answer; none: the client left or it was cut off.", code_label);
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        admin->codes[i] = metric_with(f, &codes[i]);
    }
    f = metric_counter(reg, "lull_queue_refused_total",
                       "Requests refused before their body was read.", why_label);
    for (size_t i = 0; i < ARRAY_LEN(whys); i++) {
        admin->refused[i] = metric_with(f, &whys[i]);
    }
    metric_on_expose(reg, &admin->hook, set_metrics, admin);
}

static void answer_stat(struct admin *admin, struct http_simple_request *rq)
{
    struct proxy *p = admin->proxy;
    uint64_t now = loop_now_ns(p->loop);
    struct request_numbers n = request_stats_read(&p->stats, now);
    CLEANUP(strbuf_fini) struct strbuf out;
    struct error err;
    strbuf_init(&out, STAT_SAMPLE_BYTES);
    struct stat_sample sample = {
        .pod_name = slice_str(p->config->pod),
        .concurrency = n.concurrency,
        .proxied_concurrency = n.proxied_concurrency,
        .request_count = n.count,
        .proxied_request_count = n.proxied_count,
        .process_uptime_s = (double)(now - p->stats.started_ns) / 1e9,
        .timestamp = clock_wall_ns() / (int64_t)CLOCK_NS_PER_S,
    };
    if (stat_encode(&sample, &out, &err) < 0) {
        http_simple_respondf(rq, 500, "%s\n", err.msg);
        return;
    }
    http_simple_respond(rq, 200, "application/protobuf", strbuf_slice(&out));
}

static void answer_text(struct admin *admin, struct http_simple_request *rq)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    struct error err;
    strbuf_init(&out, TEXT_MAX);
    if (metric_expose(&admin->proxy->metrics, &out, &err) < 0) {
        http_simple_respondf(rq, 500, "%s\n", err.msg);
        return;
    }
    http_simple_respond(rq, 200, METRIC_CONTENT_TYPE, strbuf_slice(&out));
}

/* ---- drain ---- */

static void on_waiter_close(struct http_simple_request *rq, void *data)
{
    struct waiter *w = data;
    list_remove(&w->link);
    free(w);
}

static void answer_waiters(struct admin *admin, const char *text)
{
    list_foreach (node, &admin->waiting) {
        struct waiter *w = LIST_ENTRY(node, struct waiter, link);
        if (!w->answered) {
            w->answered = true;
            http_simple_respondf(w->rq, 200, "%s", text);
        }
    }
}

static void on_no_drain(struct timer *timer)
{
    struct admin *admin = timer->data;
    if (!admin->proxy->draining) {
        answer_waiters(admin, "no drain has begun\n");
    }
}

void admin_drained(struct admin *admin)
{
    answer_waiters(admin, "drained\n");
}

/* ---- pages ---- */

static void metrics(struct http_simple_request *rq, void *arg)
{
    struct slice accept = http_head_get(rq->head, SLICE_LIT("accept"));
    if (http_list_has(accept, SLICE_LIT("application/protobuf"))) {
        answer_stat(arg, rq);
    } else {
        answer_text(arg, rq);
    }
}

static bool ready(void *arg, struct strbuf *why)
{
    const struct admin *admin = arg;
    const struct proxy *p = admin->proxy;
    strbuf_append_str(why, p->draining ? "shutting down" : "the function is not ready");
    return p->prober.ready && !p->draining;
}

static void wait_for_drain(struct http_simple_request *rq, void *arg)
{
    struct admin *admin = arg;
    struct waiter *w = NEW(struct waiter);
    w->rq = rq;
    rq->data = w;
    rq->on_close = on_waiter_close;
    list_push_back(&admin->waiting, &w->link);
    if (!admin->proxy->draining) {
        timer_start(&admin->drain_begins, DRAIN_BEGINS_MS);
    }
}

static const struct http_admin_page pages[] = {
    {.path = "/readyz", .ready = ready},
    {.path = "/metrics", .answer = metrics},
    {.path = "/wait-for-drain", .answer = wait_for_drain},
};

/* ---- life ---- */

int admin_start(struct admin *admin, struct loop *loop, struct proxy *proxy, const char *listen,
                struct error *err)
{
    *admin = (struct admin){.proxy = proxy, .open = 2};
    list_init(&admin->waiting);
    make_metrics(admin);
    timer_init(&admin->drain_begins, loop, on_no_drain, admin);
    http_admin_init(&admin->http, pages, ARRAY_LEN(pages), admin);
    return http_admin_start(&admin->http, loop, listen, err);
}

static void dropped(struct admin *admin)
{
    if (--admin->open == 0 && admin->close_cb != NULL) {
        admin->close_cb(admin);
    }
}

static void on_http_closed(void *arg)
{
    dropped(arg);
}

static void on_timer_closed(struct timer *timer)
{
    dropped(timer->data);
}

void admin_close(struct admin *admin, void (*cb)(struct admin *admin))
{
    admin->close_cb = cb;
    http_admin_close(&admin->http, on_http_closed, admin);
    timer_close(&admin->drain_begins, on_timer_closed);
}
