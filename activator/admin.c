// SPDX-License-Identifier: Apache-2.0
/* Plan: one page per path, written into a bounded buffer. */
#include "activator/admin.h"

#include <stddef.h>

#include "base/clock.h"

struct counter_row {
    const char *name;
    const char *help;
    size_t offset; /* in struct handler_counters */
};

#define ROW(member, text)                                                                   \
    {                                                                                       \
        "lull_activator_" #member "_total", text, offsetof(struct handler_counters, member) \
    }

static const struct counter_row rows[] = {
    ROW(requests, "Request heads that came in, probes included."),
    ROW(forwarded, "Requests that a replica answered."),
    ROW(held, "Requests that had to wait for a replica."),
    ROW(pokes, "Times that the autoscaler was told of a revision without a replica."),
    ROW(given_back, "Requests that came back from a replica unserved and kept their place."),
    ROW(unknown, "Requests for a host or path that no function has (404)."),
    ROW(refused_full, "Requests turned away because a queue was full (503)."),
    ROW(pushed_out, "Requests that gave their place to a function that holds fewer (503)."),
    ROW(probes, "Probes of replicas that were set aside."),
    ROW(expired, "Requests that waited too long or whose revision fails (503)."),
    ROW(upstream_errors, "Requests that a replica broke off (502, 504)."),
    ROW(client_gone, "Requests whose client went away first."),
};

static void gauge(struct strbuf *s, const char *name, const char *help, uint64_t value)
{
    strbuf_appendf(s, "# HELP lull_activator_%s %s\n# TYPE lull_activator_%s gauge\n", name, help,
                   name);
    strbuf_appendf(s, "lull_activator_%s %llu\n", name, (unsigned long long)value);
}

static void metrics(const struct admin *a, struct strbuf *s)
{
    const char *base = (const char *)&a->handler->counters;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t value = *(const uint64_t *)(const void *)(base + rows[i].offset);
        strbuf_appendf(s, "# HELP %s %s\n# TYPE %s counter\n", rows[i].name, rows[i].help,
                       rows[i].name);
        strbuf_appendf(s, "%s %llu\n", rows[i].name, (unsigned long long)value);
    }
    const struct throttler *t = &a->handler->throttler;
    gauge(s, "held", "Requests that wait right now.", t->held_count);
    gauge(s, "held_bytes", "Estimated memory of the requests that wait.", t->held_bytes);
    gauge(s, "routes", "Routes that are known.", route_table_len(&a->handler->routes));
    gauge(s, "revisions", "Revisions that are known.", map_len(&t->revisions));
    gauge(s, "autoscaler_connected", "1 while the stat link is up.",
          reporter_connected(a->reporter) ? 1 : 0);
    gauge(s, "api_connected", "1 while all watches are open.",
          watch_trouble(a->watch)[0] == '\0' ? 1 : 0);
}

static void state(const struct admin *a, struct strbuf *s)
{
    const struct handler *h = a->handler;
    uint64_t now = loop_now_ns(a->loop);
    strbuf_appendf(s, "{\"version\":\"%s\",\"uptimeSeconds\":%llu,\"synced\":%s,\"draining\":%s,",
                   LULL_VERSION, (unsigned long long)((now - a->started_ns) / CLOCK_NS_PER_S),
                   h->synced ? "true" : "false", h->draining ? "true" : "false");
    strbuf_append_str(s, "\"apiTrouble\":");
    strbuf_append_json(s, slice_str(watch_trouble(a->watch)));
    strbuf_appendf(s, ",\"autoscalerConnected\":%s,\"held\":%u,\"heldBytes\":%llu,\"revisions\":[",
                   reporter_connected(a->reporter) ? "true" : "false", h->throttler.held_count,
                   (unsigned long long)h->throttler.held_bytes);
    throttler_dump(&h->throttler, now, s);
    strbuf_append_str(s, "],\"routes\":[");
    route_table_dump(&h->routes, s);
    strbuf_append_str(s, "]}\n");
}

static int ready(const struct admin *a, struct strbuf *s)
{
    if (a->handler->draining) {
        strbuf_append_str(s, "shutting down\n");
        return 503;
    }
    if (!a->handler->synced) {
        strbuf_appendf(s, "the list of functions is not loaded yet: %s\n", watch_trouble(a->watch));
        return 503;
    }
    strbuf_append_str(s, "ok\n");
    return 200;
}

int admin_page(const struct admin *a, struct slice path, const char **out_type, struct strbuf *out)
{
    *out_type = "text/plain";
    if (slice_eq_str(path, "/healthz")) {
        strbuf_append_str(out, "ok\n");
        return 200;
    }
    if (slice_eq_str(path, "/readyz")) {
        return ready(a, out);
    }
    if (slice_eq_str(path, "/metrics")) {
        *out_type = "text/plain; version=0.0.4";
        metrics(a, out);
        return 200;
    }
    if (slice_eq_str(path, "/debug/state")) {
        *out_type = "application/json";
        state(a, out);
        return 200;
    }
    strbuf_append_str(out,
                      "no such page; there are /healthz, /readyz, /metrics and /debug/state\n");
    return 404;
}

static void handle(struct http_simple_request *rq, void *arg)
{
    CLEANUP(strbuf_fini) struct strbuf s;
    strbuf_init(&s, ADMIN_PAGE_MAX);
    const char *type;
    int status = admin_page(arg, rq->path, &type, &s);
    if (!strbuf_ok(&s)) {
        http_simple_respondf(rq, 500, "the page would be larger than %u bytes\n", ADMIN_PAGE_MAX);
        return;
    }
    http_simple_respond(rq, status, type, strbuf_slice(&s));
}

int admin_start(struct admin *a, struct loop *loop, const char *addr, const struct handler *handler,
                const struct watch *watch, const struct reporter *reporter, struct error *err)
{
    *a = (struct admin){.handler = handler,
                        .watch = watch,
                        .reporter = reporter,
                        .loop = loop,
                        .started_ns = loop_now_ns(loop)};
    struct http_simple_options o = http_simple_options_default(handle, a);
    a->simple = http_simple_new(loop, &o);
    int rc = http_server_listen_text(http_simple_server(a->simple), addr, NULL, err);
    return rc < 0 ? error_prefix(err, rc, "admin port %s", addr) : 0;
}

void admin_close(struct admin *a, void (*cb)(void *arg), void *arg)
{
    http_simple_close(a->simple, cb, arg);
    a->simple = NULL;
}
