// SPDX-License-Identifier: Apache-2.0
#include "queue-proxy/admin.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "metric/metric.h"
#include "metric/rows.h"
#include "serving/stat.h"
#include "queue-proxy/headers.h"

#define DRAIN_BEGINS_MS 1000
#define TEXT_MAX        (64 * 1024)

struct waiter {
    struct list link;
    struct http_simple_request *rq;
    bool answered;
};

/* ---- metrics ---- */

static void put_double(struct strbuf *out, const char *type, const char *name, const char *help,
                       double value)
{
    char text[NUM_DOUBLE_MAX];
    metric_write_head(out, type, name, help);
    strbuf_appendf(out, "%s %s\n", name, num_format_double(value, text, sizeof(text)));
}

/* One line per label value. */
static void put_each(struct strbuf *out, const char *name, const char *label,
                     const char *const *values, const uint64_t *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        strbuf_appendf(out, "%s{%s=\"%s\"} %llu\n", name, label, values[i],
                       (unsigned long long)numbers[i]);
    }
}

static void put_histogram(struct strbuf *out, const char *name, const char *help,
                          const struct metric_buckets *buckets)
{
    metric_write_head(out, "histogram", name, help);
    metric_buckets_write(buckets, name, "", out);
}

/* Whose numbers these are, in OpenTelemetry's form. */
static void put_target(struct strbuf *out, const struct config *c)
{
    metric_write_head(out, "gauge", "target_info", "Whose numbers these are.");
    strbuf_append_str(out, "target_info{");
    metric_write_label(out, true, "k8s_namespace_name", slice_str(c->namespace_name));
    metric_write_label(out, false, "k8s_pod_name", slice_str(c->pod));
    metric_write_label(out, false, "kn_configuration_name", slice_str(c->configuration));
    metric_write_label(out, false, "kn_revision_name", slice_str(c->revision));
    metric_write_label(out, false, "kn_service_name", slice_str(c->service));
    strbuf_append_str(out, "} 1\n");
}

static void write_metrics(struct proxy *p, struct strbuf *out)
{
    static const char *const codes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    static const char *const whys[] = {"full", "draining"};
    uint64_t now = loop_now_ns(p->loop);
    struct request_numbers n = request_stats_read(&p->stats, now);
    put_target(out, p->config);
    put_double(out, "gauge", "lull_queue_concurrency_average",
               "Requests waiting or running, averaged over the last whole second.", n.concurrency);
    put_double(out, "gauge", "lull_queue_request_rate",
               "Requests that came in the last whole second.", n.count);
    put_double(out, "counter", "lull_queue_busy_seconds_total",
               "Requests waiting or running, summed over time: its rate is the exact average "
               "concurrency.",
               request_stats_busy_s(&p->stats, now));
    metric_write_number(out, "gauge", "lull_queue_running", "Requests in the function now.",
                        p->breaker.running);
    metric_write_number(out, "gauge", "lull_queue_depth", "Requests waiting for a slot now.",
                        p->breaker.waiting);
    metric_write_number(out, "gauge", "kn_serving_queue_depth",
                        "Requests waiting for a slot now, under Knative's name.",
                        p->breaker.waiting);
    metric_write_number(out, "gauge", "lull_queue_limit",
                        "Requests that may run at once; 0: no limit.", p->breaker.limit);
    metric_write_number(out, "gauge", "lull_queue_function_ready",
                        "1 while the function answers its probe.", p->prober.ready);
    metric_write_head(out, "counter", "lull_queue_requests_total",
                      "Requests by class of answer; none: the client left or it was cut off.");
    put_each(out, "lull_queue_requests_total", "code", codes, p->n_codes, ARRAY_LEN(codes));
    metric_write_head(out, "counter", "lull_queue_refused_total",
                      "Requests refused before their body was read.");
    put_each(out, "lull_queue_refused_total", "reason", whys, p->n_refused, ARRAY_LEN(whys));
    metric_write_number(out, "counter", "lull_queue_request_log_dropped_total",
                        "Lines of the request log for which there was no room.", p->log.dropped);
    put_histogram(out, "lull_queue_request_seconds",
                  "Seconds from a request's arrival to the end of its answer, queue included.",
                  &p->durations);
    put_histogram(out, "kn_serving_invocation_duration_seconds",
                  "Seconds from a request's way into the function to the end of its answer.",
                  &p->invocations);
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
    strbuf_init(&out, TEXT_MAX);
    write_metrics(admin->proxy, &out);
    if (!strbuf_ok(&out)) {
        http_simple_respondf(rq, 500, "the page would be larger than %d bytes\n", TEXT_MAX);
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
    struct admin *admin = arg;
    const struct config *c = admin->proxy->config;
    struct slice accept = http_head_get(rq->head, SLICE_LIT("accept"));
    struct slice whose = http_head_get(rq->head, SLICE_LIT("k-lull-revision"));
    if (!headers_means(whose, slice_str(c->namespace_name), slice_str(c->revision))) {
        http_simple_respondf(rq, 421, "this is a replica of %s/%s\n", c->namespace_name,
                             c->revision);
    } else if (http_list_has(accept, SLICE_LIT("application/protobuf"))) {
        answer_stat(admin, rq);
    } else {
        answer_text(admin, rq);
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
