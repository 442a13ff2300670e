// SPDX-License-Identifier: Apache-2.0
/* Plan: one function per page. An unknown revision is a 404 in words. */
#include "autoscaler/admin.h"

#include "base/clock.h"
#include "json/jparse.h"
#include "metric/metric.h"
#include "metric/rows.h"
#include "autoscaler/explain.h"
#include "autoscaler/overview.h"
#include "autoscaler/replay_state.h"

#define PAGE_MAX     (1u << 20)
#define OVERVIEW_MAX (16u << 20)

static const struct metric_row counter_rows[] = {
    METRIC_COUNTER(struct engine_counters, decisions, "lull_autoscaler_decisions_total",
                   "Decisions made."),
    METRIC_COUNTER(struct engine_counters, pokes, "lull_autoscaler_pokes_total",
                   "Wake-ups that activators asked for."),
    METRIC_COUNTER(struct engine_counters, stats, "lull_autoscaler_stats_total",
                   "Stats that were counted."),
    METRIC_COUNTER(struct engine_counters, stats_dropped, "lull_autoscaler_stats_dropped_total",
                   "Stats that were not believed or belong to no revision."),
    METRIC_COUNTER(struct engine_counters, scale_writes, "lull_autoscaler_scale_writes_total",
                   "Scales written."),
    METRIC_COUNTER(struct engine_counters, scale_failures, "lull_autoscaler_scale_failures_total",
                   "Scale writes that failed."),
    METRIC_COUNTER(struct engine_counters, status_writes, "lull_autoscaler_status_writes_total",
                   "PodAutoscaler statuses written."),
    METRIC_COUNTER(struct engine_counters, status_failures, "lull_autoscaler_status_failures_total",
                   "Status writes that failed."),
};

/* What others count, and what is only known when somebody asks. */
struct numbers {
    uint64_t scrapes;
    uint64_t scrape_failures;
    uint64_t answers_refused;
    uint64_t frames_refused;
    uint64_t duplicates;
    uint64_t revisions;
    uint64_t activators;
    uint64_t reports_fresh;
    uint64_t config_valid;
    uint64_t api_connected;
    uint64_t leading;
};

static const struct metric_row number_rows[] = {
    METRIC_COUNTER(struct numbers, scrapes, "lull_autoscaler_scrapes_total",
                   "Rounds of scraping that gave numbers."),
    METRIC_COUNTER(struct numbers, scrape_failures, "lull_autoscaler_scrape_failures_total",
                   "Rounds of scraping in which too few replicas answered."),
    METRIC_COUNTER(struct numbers, answers_refused, "lull_autoscaler_scrape_answers_refused_total",
                   "Answers of replicas that were no stat, or one that cannot be true."),
    METRIC_COUNTER(struct numbers, duplicates, "lull_autoscaler_reports_duplicate_total",
                   "Reports of activators, or parts of them, that came twice or too late."),
    METRIC_COUNTER(struct numbers, frames_refused, "lull_autoscaler_frames_refused_total",
                   "Frames of activators that were not understood."),
    METRIC_GAUGE(struct numbers, revisions, "lull_autoscaler_revisions",
                 "Revisions that are known."),
    METRIC_GAUGE(struct numbers, activators, "lull_autoscaler_activators",
                 "Activators that are connected."),
    METRIC_GAUGE(struct numbers, reports_fresh, "lull_autoscaler_reports_fresh",
                 "1 while no activator's report is missing."),
    METRIC_GAUGE(struct numbers, config_valid, "lull_autoscaler_config_valid",
                 "1 while config-autoscaler can be used."),
    METRIC_GAUGE(struct numbers, api_connected, "lull_autoscaler_api_connected",
                 "1 while all watches are open."),
    METRIC_GAUGE(struct numbers, leading, "lull_autoscaler_leading",
                 "1 while this replica decides, 0 while it stands by."),
};

static bool caches_connected(const struct engine *e)
{
    return kube_cache_connected(e->pas) && kube_cache_connected(e->deployments) &&
           kube_cache_connected(e->pods) && kube_cache_connected(e->config_maps);
}

static int metrics(void *arg, struct strbuf *out, struct error *err)
{
    const struct admin *a = arg;
    const struct engine *e = a->engine;
    struct numbers numbers = {
        .scrapes = a->scraper->answered,
        .scrape_failures = a->scraper->failed,
        .answers_refused = a->scraper->refused,
        .frames_refused = a->stat_server->refused,
        .duplicates = e->reports.duplicates,
        .revisions = map_len(&e->revisions),
        .activators = reports_connected(&e->reports),
        .reports_fresh = e->reports.fresh,
        .leading = !e->standby,
        .config_valid = e->config_err.code == ERR_OK,
        .api_connected = caches_connected(e),
    };
    metric_rows_write(counter_rows, ARRAY_LEN(counter_rows), &e->counters, out);
    metric_rows_write(number_rows, ARRAY_LEN(number_rows), &numbers, out);
    metric_write_head(out, "histogram", "lull_autoscaler_tick_seconds",
                      "How long a tick took; there are four in a second.");
    metric_buckets_write(&e->ticks, "lull_autoscaler_tick_seconds", "", out);
    return 0;
}

struct count {
    struct slice ns, revision;
    double most;
};

static void count_one(void *arg, struct slice key, double waiting)
{
    struct count *c = arg;
    bool ours = slice_starts_with(key, c->ns) && key.len > c->ns.len && key.ptr[c->ns.len] == '/' &&
                slice_ends_with(key, c->revision) && key.len > c->ns.len + 1 + c->revision.len &&
                key.ptr[key.len - c->revision.len - 1] == '/';
    c->most = ours && waiting > c->most ? waiting : c->most;
}

/* Of a revision whose replicas do not follow them its Service is not kept: the name tells. */
static void count_events(const struct engine *e, struct revision *rev, uint64_t now_ms)
{
    struct count c = {.ns = slice_str(rev->ns), .revision = slice_str(rev->name)};
    bool known =
        rev->spec.metric != SCALING_BACKLOG && backlogs_each(&e->backlogs, now_ms, count_one, &c);
    rev->others = known ? c.most : 0;
}

static void why(struct http_simple_request *rq, void *arg)
{
    const struct admin *a = arg;
    struct engine *e = a->engine;
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
    struct revision *rev = engine_find(e, strbuf_slice(&ns), strbuf_slice(&name));
    if (rev == NULL || !rev->has_pa) {
        http_simple_respondf(rq, 404, "no revision %s in namespace %s is known\n", name.ptr,
                             ns.ptr);
        return;
    }
    engine_wake(e, rev);
    struct error err = {0};
    uint64_t now_ms = loop_now_ms(e->loop);
    count_events(e, rev, now_ms);
    CLEANUP(jfree) json_t *json = explain_json(rev, &e->reports, now_ms, clock_wall_ns(), &err);
    if (json != NULL && http_query_get(rq->query, "recording", &ns)) {
        json_object_set_new(json, "recording", replay_record(rev, &e->reports, now_ms));
    }
    if (json != NULL && http_query_get(rq->query, "replay", &ns)) {
        json_object_set_new(json, "replay", explain_replay(rev));
    }
    CLEANUP(strbuf_fini) struct strbuf page;
    strbuf_init(&page, PAGE_MAX);
    if (json == NULL || jdump_pretty(json, &page, &err) < 0) {
        http_simple_respondf(rq, 500, "%s\n", err.msg);
        return;
    }
    strbuf_append_char(&page, '\n');
    http_simple_respond(rq, 200, "application/json", strbuf_slice(&page));
}

static void revisions(struct http_simple_request *rq, void *arg)
{
    const struct admin *a = arg;
    struct error err = {0};
    CLEANUP(jfree) json_t *json = overview_json(a->engine, loop_now_ms(a->engine->loop));
    CLEANUP(strbuf_fini) struct strbuf page;
    strbuf_init(&page, OVERVIEW_MAX);
    if (json == NULL || jdump(json, &page, &err) < 0) {
        http_simple_respondf(rq, 500, "%s\n", err.msg);
        return;
    }
    http_simple_respond(rq, 200, "application/json", strbuf_slice(&page));
}

static bool ready(void *arg, struct strbuf *why_not)
{
    const struct admin *a = arg;
    if (a->draining) {
        strbuf_append_str(why_not, "shutting down");
    } else if (!a->engine->started) {
        strbuf_appendf(why_not, "the list of revisions is not loaded yet: %s",
                       a->engine->pas == NULL ? "" : kube_cache_trouble(a->engine->pas));
    }
    return a->engine->started && !a->draining;
}

static const struct http_admin_page pages[] = {
    {.path = "/readyz", .ready = ready},
    {.path = "/metrics", .type = METRIC_CONTENT_TYPE, .write = metrics},
    {.path = "/debug/why", .answer = why},
    {.path = "/debug/revisions", .answer = revisions},
};

int admin_start(struct admin *a, struct loop *loop, struct engine *engine,
                const struct scraper *scraper, const struct stat_server *stat_server,
                const char *listen, struct error *err)
{
    *a = (struct admin){.engine = engine, .scraper = scraper, .stat_server = stat_server};
    http_admin_init(&a->http, pages, ARRAY_LEN(pages), a);
    return http_admin_start(&a->http, loop, listen, err);
}

void admin_close(struct admin *a, void (*cb)(void *arg), void *arg)
{
    http_admin_close(&a->http, cb, arg);
}
