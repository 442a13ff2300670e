// SPDX-License-Identifier: Apache-2.0
/* Plan: one function per page. */
#include "activator/admin.h"

#include "base/clock.h"
#include "metric/metric.h"
#include "metric/rows.h"
#include "activator/announce.h"
#include "activator/front.h"
#include "activator/sharing.h"

/* What is counted, and what is only known when somebody asks. */
static const struct metric_row counter_rows[] = {
    METRIC_COUNTER(struct handler_counters, requests, "lull_activator_requests_total",
                   "Request heads that came in, probes included."),
    METRIC_COUNTER(struct handler_counters, forwarded, "lull_activator_forwarded_total",
                   "Requests that a replica answered."),
    METRIC_COUNTER(struct handler_counters, held, "lull_activator_held_total",
                   "Requests that had to wait for a replica."),
    METRIC_COUNTER(struct handler_counters, pokes, "lull_activator_pokes_total",
                   "Times that the autoscaler was told of a revision without a replica."),
    METRIC_COUNTER(struct handler_counters, given_back, "lull_activator_given_back_total",
                   "Requests that came back from a replica unserved and kept their place."),
    METRIC_COUNTER(struct handler_counters, unknown, "lull_activator_unknown_total",
                   "Requests for a host or path that no function has (404)."),
    METRIC_COUNTER(struct handler_counters, refused_full, "lull_activator_refused_full_total",
                   "Requests turned away because a queue was full (503)."),
    METRIC_COUNTER(struct handler_counters, pushed_out, "lull_activator_pushed_out_total",
                   "Requests that gave their place to a function that holds fewer (503)."),
    METRIC_COUNTER(struct handler_counters, redirected, "lull_activator_redirected_total",
                   "Requests in the clear that were sent on to HTTPS (301)."),
    METRIC_COUNTER(struct handler_counters, probes, "lull_activator_probes_total",
                   "Probes of replicas that were set aside."),
    METRIC_COUNTER(struct handler_counters, wakes, "lull_activator_wakes_total",
                   "Requests that only wanted a replica to be there (Lull-Wake)."),
    METRIC_COUNTER(struct handler_counters, expired, "lull_activator_expired_total",
                   "Requests that waited too long or whose revision fails (503)."),
    METRIC_COUNTER(struct handler_counters, upstream_errors, "lull_activator_upstream_errors_total",
                   "Requests that a replica broke off (502, 504)."),
    METRIC_COUNTER(struct handler_counters, client_gone, "lull_activator_client_gone_total",
                   "Requests whose client went away first."),
};

static const struct metric_row events_rows[] = {
    METRIC_COUNTER(struct events_counters, passed, "lull_activator_broker_passed_total",
                   "Requests for lull-broker (asynchronous calls, web hooks) that it answered."),
    METRIC_COUNTER(struct events_counters, refused, "lull_activator_broker_refused_total",
                   "Requests for lull-broker turned away because it was not there (503)."),
    METRIC_COUNTER(struct events_counters, failed, "lull_activator_broker_failed_total",
                   "Requests that lull-broker broke off or did not answer (502, 504)."),
};

struct gauges {
    uint64_t held;
    uint64_t held_bytes;
    uint64_t routes;
    uint64_t revisions;
    uint64_t autoscaler_connected;
    uint64_t api_connected;
    uint64_t shards;
    uint64_t slots_lent;
    uint64_t slots_waiting;
    uint64_t broker_passing;
};

static const struct metric_row gauge_rows[] = {
    METRIC_GAUGE(struct gauges, held, "lull_activator_held", "Requests that wait right now."),
    METRIC_GAUGE(struct gauges, held_bytes, "lull_activator_held_bytes",
                 "Estimated memory of the requests that wait."),
    METRIC_GAUGE(struct gauges, routes, "lull_activator_routes", "Routes that are known."),
    METRIC_GAUGE(struct gauges, revisions, "lull_activator_revisions", "Revisions that are known."),
    METRIC_GAUGE(struct gauges, autoscaler_connected, "lull_activator_autoscaler_connected",
                 "1 while the stat link is up."),
    METRIC_GAUGE(struct gauges, api_connected, "lull_activator_api_connected",
                 "1 while all watches are open."),
    METRIC_GAUGE(struct gauges, shards, "lull_activator_shards",
                 "Workers, of other activators too, that limits are shared with; this one counts."),
    METRIC_GAUGE(struct gauges, slots_lent, "lull_activator_slots_lent",
                 "Slots of limited revisions that requests of other workers have."),
    METRIC_GAUGE(struct gauges, slots_waiting, "lull_activator_slots_waiting",
                 "Requests of other workers that wait for a slot here."),
    METRIC_GAUGE(struct gauges, broker_passing, "lull_activator_broker_passing",
                 "Requests on their way to lull-broker, or waiting for it."),
};

/* Ourselves and the shards that we can ask. */
static unsigned shards_of(const struct sharing *sharing)
{
    return sharing == NULL ? 1 : 1 + shards_up(&sharing->shards);
}

static int metrics(void *arg, struct strbuf *out, struct error *err)
{
    const struct admin *a = arg;
    const struct throttler *t = &a->handler->throttler;
    const struct sharing *sharing = a->handler->sharing;
    struct gauges gauges = {
        .held = t->held_count,
        .held_bytes = t->held_bytes,
        .routes = route_table_len(&a->handler->routes),
        .revisions = map_len(&t->revisions),
        .autoscaler_connected = reporter_connected(a->reporter),
        .api_connected = watch_trouble(a->watch)[0] == '\0' &&
                         (a->handler->front == NULL || front_trouble(a->handler->front)[0] == '\0'),
        .shards = shards_of(sharing),
        .slots_lent = sharing == NULL ? 0 : sharing->lender.lent,
        .slots_waiting = sharing == NULL ? 0 : sharing->lender.waiting,
        .broker_passing = a->handler->events.count,
    };
    metric_rows_write(counter_rows, ARRAY_LEN(counter_rows), &a->handler->counters, out);
    metric_rows_write(events_rows, ARRAY_LEN(events_rows), &a->handler->events.counters, out);
    metric_rows_write(gauge_rows, ARRAY_LEN(gauge_rows), &gauges, out);
    metric_write_number(out, "counter", "lull_activator_request_log_dropped_total",
                        "Lines of the request log for which there was no room.",
                        a->handler->log.dropped);
    if (a->handler->announce != NULL) {
        announce_write(a->handler->announce, out);
    }
    if (a->handler->front != NULL) {
        front_write_metrics(a->handler->front, t->numbers.max, out);
    }
    numbers_write(&t->numbers, t, loop_now_ns(a->loop), out);
    return 0;
}

static int state(void *arg, struct strbuf *s, struct error *err)
{
    const struct admin *a = arg;
    const struct handler *h = a->handler;
    const struct sharing *sharing = h->sharing;
    uint64_t now = loop_now_ns(a->loop);
    strbuf_appendf(s, "{\"version\":\"%s\",\"uptimeSeconds\":%llu,\"synced\":%s,\"draining\":%s,",
                   LULL_VERSION, (unsigned long long)((now - a->started_ns) / CLOCK_NS_PER_S),
                   h->synced ? "true" : "false", h->draining ? "true" : "false");
    strbuf_append_str(s, "\"apiTrouble\":");
    strbuf_append_json(s, slice_str(watch_trouble(a->watch)));
    strbuf_appendf(s, ",\"autoscalerConnected\":%s,\"shards\":%u,\"slotsLent\":%u,",
                   reporter_connected(a->reporter) ? "true" : "false", shards_of(sharing),
                   sharing == NULL ? 0 : sharing->lender.lent);
    strbuf_appendf(s, "\"slotsWaiting\":%u,\"held\":%u,\"heldBytes\":%llu,\"revisions\":[",
                   sharing == NULL ? 0 : sharing->lender.waiting, h->throttler.held_count,
                   (unsigned long long)h->throttler.held_bytes);
    throttler_dump(&h->throttler, now, s);
    strbuf_append_str(s, "],\"routes\":[");
    route_table_dump(&h->routes, s);
    strbuf_append_str(s, "]}\n");
    return 0;
}

static bool ready(void *arg, struct strbuf *why)
{
    const struct admin *a = arg;
    if (a->handler->draining) {
        strbuf_append_str(why, "shutting down");
    } else if (!a->handler->synced) {
        strbuf_appendf(why, "the list of functions is not loaded yet: %s", watch_trouble(a->watch));
    }
    return a->handler->synced && !a->handler->draining;
}

static const struct http_admin_page pages[] = {
    {.path = "/readyz", .ready = ready},
    {.path = "/metrics", .type = METRIC_CONTENT_TYPE, .write = metrics},
    {.path = "/debug/state", .type = "application/json", .write = state},
};

int admin_page(const struct admin *a, struct slice path, const char **out_type, struct strbuf *out)
{
    return http_admin_page(&a->http, path, out_type, out);
}

void admin_init(struct admin *a, struct loop *loop, const struct handler *handler,
                const struct watch *watch, const struct reporter *reporter)
{
    *a = (struct admin){.handler = handler,
                        .watch = watch,
                        .reporter = reporter,
                        .loop = loop,
                        .started_ns = loop_now_ns(loop)};
    http_admin_init(&a->http, pages, ARRAY_LEN(pages), a);
}

int admin_start(struct admin *a, struct loop *loop, const char *addr, const struct handler *handler,
                const struct watch *watch, const struct reporter *reporter, struct error *err)
{
    admin_init(a, loop, handler, watch, reporter);
    return http_admin_start(&a->http, loop, addr, err);
}

void admin_close(struct admin *a, void (*cb)(void *arg), void *arg)
{
    http_admin_close(&a->http, cb, arg);
}
