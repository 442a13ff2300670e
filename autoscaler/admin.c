// SPDX-License-Identifier: Apache-2.0
/* Plan: one page per path, written into a bounded buffer. An unknown revision is a 404 in words. */
#include "autoscaler/admin.h"

#include "base/clock.h"
#include "json/jparse.h"
#include "autoscaler/explain.h"

#define PAGE_MAX (1u << 20)

struct counter_row {
    const char *name;
    const char *help;
    size_t offset; /* in struct engine_counters */
};

#define ROW(member, text)                                                                   \
    {                                                                                       \
        "lull_autoscaler_" #member "_total", text, offsetof(struct engine_counters, member) \
    }

static const struct counter_row rows[] = {
    ROW(decisions, "Decisions made."),
    ROW(pokes, "Wake-ups that activators asked for."),
    ROW(stats, "Stats that were counted."),
    ROW(stats_dropped, "Stats that were not believed or belong to no revision."),
    ROW(scale_writes, "Scales written."),
    ROW(scale_failures, "Scale writes that failed."),
    ROW(status_writes, "PodAutoscaler statuses written."),
    ROW(status_failures, "Status writes that failed."),
};

static void number(struct strbuf *s, const char *type, const char *name, const char *help,
                   uint64_t value)
{
    strbuf_appendf(s, "# HELP %s %s\n# TYPE %s %s\n%s %llu\n", name, help, name, type, name,
                   (unsigned long long)value);
}

static bool caches_connected(const struct engine *e)
{
    return kube_cache_connected(e->pas) && kube_cache_connected(e->deployments) &&
           kube_cache_connected(e->pods) && kube_cache_connected(e->config_maps);
}

static void metrics_page(const struct admin *a, struct strbuf *s)
{
    const struct engine *e = a->engine;
    const char *base = (const char *)&e->counters;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        number(s, "counter", rows[i].name, rows[i].help,
               *(const uint64_t *)(const void *)(base + rows[i].offset));
    }
    number(s, "counter", "lull_autoscaler_scrapes_total", "Rounds of scraping that gave numbers.",
           a->scraper->answered);
    number(s, "counter", "lull_autoscaler_scrape_failures_total",
           "Rounds of scraping in which too few replicas answered.", a->scraper->failed);
    number(s, "counter", "lull_autoscaler_frames_refused_total",
           "Frames of activators that were not understood.", a->stat_server->refused);
    number(s, "gauge", "lull_autoscaler_revisions", "Revisions that are known.",
           map_len(&e->revisions));
    number(s, "gauge", "lull_autoscaler_activators", "Activators that are connected.",
           reports_connected(&e->reports));
    number(s, "gauge", "lull_autoscaler_reports_fresh", "1 while no activator's report is missing.",
           e->reports.fresh ? 1 : 0);
    number(s, "gauge", "lull_autoscaler_config_valid", "1 while config-autoscaler can be used.",
           e->config_err.code == ERR_OK ? 1 : 0);
    number(s, "gauge", "lull_autoscaler_api_connected", "1 while all watches are open.",
           caches_connected(e) ? 1 : 0);
}

static void why_page(const struct admin *a, struct http_simple_request *rq)
{
    const struct engine *e = a->engine;
    CLEANUP(strbuf_fini) struct strbuf ns;
    CLEANUP(strbuf_fini) struct strbuf name;
    strbuf_init(&ns, 256);
    strbuf_init(&name, 256);
    if (!http_query_get(rq->query, "name", &name)) {
        http_simple_respondf(rq, 400,
                             "say which revision: /debug/why?namespace=NS&name=REVISION\n");
        return;
    }
    if (!http_query_get(rq->query, "namespace", &ns)) {
        strbuf_clear(&ns);
        strbuf_append_str(&ns, "default");
    }
    const struct revision *rev = engine_find(e, strbuf_slice(&ns), strbuf_slice(&name));
    if (rev == NULL || !rev->has_pa) {
        http_simple_respondf(rq, 404, "no revision %s in namespace %s is known\n", name.ptr,
                             ns.ptr);
        return;
    }
    struct error err = {0};
    CLEANUP(jfree)
    json_t *json = explain_json(rev, &e->reports, loop_now_ms(e->loop), clock_wall_ns(), &err);
    CLEANUP(strbuf_fini) struct strbuf page;
    strbuf_init(&page, PAGE_MAX);
    if (json == NULL || jdump_pretty(json, &page, &err) < 0) {
        http_simple_respondf(rq, 500, "%s\n", err.msg);
        return;
    }
    strbuf_append_char(&page, '\n');
    http_simple_respond(rq, 200, "application/json", strbuf_slice(&page));
}

static void ready_page(const struct admin *a, struct http_simple_request *rq)
{
    if (a->draining) {
        http_simple_respondf(rq, 503, "shutting down\n");
    } else if (!a->engine->started) {
        http_simple_respondf(rq, 503, "the list of revisions is not loaded yet: %s\n",
                             a->engine->pas == NULL ? "" : kube_cache_trouble(a->engine->pas));
    } else {
        http_simple_respondf(rq, 200, "ok\n");
    }
}

static void handle(struct http_simple_request *rq, void *arg)
{
    const struct admin *a = arg;
    if (slice_eq_str(rq->path, "/healthz")) {
        http_simple_respondf(rq, 200, "ok\n");
    } else if (slice_eq_str(rq->path, "/readyz")) {
        ready_page(a, rq);
    } else if (slice_eq_str(rq->path, "/metrics")) {
        CLEANUP(strbuf_fini) struct strbuf page;
        strbuf_init(&page, PAGE_MAX);
        metrics_page(a, &page);
        http_simple_respond(rq, 200, "text/plain; version=0.0.4; charset=utf-8",
                            strbuf_slice(&page));
    } else if (slice_eq_str(rq->path, "/debug/why")) {
        why_page(a, rq);
    } else {
        http_simple_respondf(rq, 404, "there are /healthz, /readyz, /metrics and /debug/why\n");
    }
}

int admin_start(struct admin *a, struct loop *loop, struct engine *engine,
                const struct scraper *scraper, const struct stat_server *stat_server,
                const char *listen, struct error *err)
{
    *a = (struct admin){.engine = engine, .scraper = scraper, .stat_server = stat_server};
    struct http_simple_options options = http_simple_options_default(handle, a);
    a->http = http_simple_new(loop, &options);
    int rc = http_server_listen_text(http_simple_server(a->http), listen, NULL, err);
    return rc < 0 ? error_prefix(err, rc, "--admin-listen %s", listen) : 0;
}

void admin_close(struct admin *a, void (*cb)(void *arg), void *arg)
{
    if (a->http != NULL) {
        http_simple_close(a->http, cb, arg);
        a->http = NULL;
    } else if (cb != NULL) {
        cb(arg);
    }
}
