// SPDX-License-Identifier: Apache-2.0
/* Plan: one function per page. */
#include "controller/admin.h"

#include "metric/metric.h"
#include "metric/rows.h"

static const struct metric_row counter_rows[] = {
    METRIC_COUNTER(struct controller_counters, runs, "lull_controller_reconciles_total",
                   "Objects looked at."),
    METRIC_COUNTER(struct controller_counters, writes, "lull_controller_writes_total",
                   "Writes that the API took."),
    METRIC_COUNTER(struct controller_counters, conflicts, "lull_controller_conflicts_total",
                   "Writes refused because an object had changed."),
    METRIC_COUNTER(struct controller_counters, failures, "lull_controller_failures_total",
                   "Writes that failed otherwise."),
};

static const struct metric_row webhook_rows[] = {
    METRIC_COUNTER(struct webhook_counters, reviews, "lull_controller_webhook_reviews_total",
                   "Admission reviews answered."),
    METRIC_COUNTER(struct webhook_counters, refused, "lull_controller_webhook_refused_total",
                   "Admission reviews answered with a refusal."),
    METRIC_COUNTER(struct webhook_counters, malformed, "lull_controller_webhook_malformed_total",
                   "Requests to the webhook that were no admission review."),
};

/* What is only known when somebody asks. */
struct gauges {
    uint64_t queue_waiting;
    uint64_t queue_running;
    uint64_t services;
    uint64_t revisions;
    uint64_t api_connected;
    uint64_t leading;
    uint64_t tls_secrets;
    uint64_t tls_secrets_bad;
};

static const struct metric_row gauge_rows[] = {
    METRIC_GAUGE(struct gauges, queue_waiting, "lull_controller_queue_waiting",
                 "Objects that wait to be looked at."),
    METRIC_GAUGE(struct gauges, queue_running, "lull_controller_queue_running",
                 "Objects whose writes are under way."),
    METRIC_GAUGE(struct gauges, services, "lull_controller_services", "Services."),
    METRIC_GAUGE(struct gauges, revisions, "lull_controller_revisions", "Revisions."),
    METRIC_GAUGE(struct gauges, api_connected, "lull_controller_api_connected",
                 "1 while all watches are open."),
    METRIC_GAUGE(struct gauges, leading, "lull_controller_leading",
                 "1 while this replica writes, 0 while it stands by."),
    METRIC_GAUGE(struct gauges, tls_secrets, "lull_controller_tls_secrets",
                 "Secrets that certificates of the ingress come from."),
    METRIC_GAUGE(struct gauges, tls_secrets_bad, "lull_controller_tls_secrets_bad",
                 "Those of them that are not there, or cannot be used."),
};

static int metrics(void *arg, struct strbuf *out, struct error *err)
{
    const struct controller *c = arg;
    struct gauges gauges = {
        .queue_waiting = c->queue == NULL ? 0 : work_queue_waiting(c->queue),
        .queue_running = c->queue == NULL ? 0 : work_queue_running(c->queue),
        .services = objects_count(&c->objects, KIND_SERVICE),
        .revisions = objects_count(&c->objects, KIND_REVISION),
        .leading = c->config->lease[0] == '\0' || elector_leads(c->elector),
        .api_connected = objects_synced(&c->objects) && objects_trouble(&c->objects)[0] == '\0',
    };
    size_t all;
    size_t bad;
    tls_secrets_count(c->tls_secrets, &all, &bad);
    gauges.tls_secrets = all;
    gauges.tls_secrets_bad = bad;
    metric_rows_write(counter_rows, ARRAY_LEN(counter_rows), &c->counters, out);
    metric_rows_write(webhook_rows, ARRAY_LEN(webhook_rows), &c->webhook.counters, out);
    metric_rows_write(gauge_rows, ARRAY_LEN(gauge_rows), &gauges, out);
    return 0;
}

static bool ready(void *arg, struct strbuf *why)
{
    const struct controller *c = arg;
    bool synced = c->objects_started && objects_synced(&c->objects);
    if (!synced) {
        strbuf_appendf(why, "not in sync yet: %s", objects_trouble(&c->objects));
    } else if (c->draining) {
        strbuf_append_str(why, "stopping");
    } else if (c->config->webhook_listen[0] != '\0' && !webhook_ready(&c->webhook)) {
        strbuf_append_str(why, "the webhook has no certificate yet");
    } else {
        return true;
    }
    return false;
}

static const struct http_admin_page pages[] = {
    {.path = "/readyz", .ready = ready},
    {.path = "/metrics", .type = METRIC_CONTENT_TYPE, .write = metrics},
};

int admin_start(struct controller *c, struct error *err)
{
    http_admin_init(&c->admin, pages, ARRAY_LEN(pages), c);
    return http_admin_start(&c->admin, c->loop, c->config->admin_listen, err);
}
