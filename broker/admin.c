// SPDX-License-Identifier: Apache-2.0
/* Plan: rows for the counters, lines per trigger, and the same as JSON for people and
 * the CLI. What people ask of events is query.h's. */
#include "broker/admin.h"

#include "base/mem.h"
#include "json/jbuild.h"
#include "json/jparse.h"
#include "metric/metric.h"
#include "metric/rows.h"
#include "broker/async.h"
#include "broker/capacity.h"
#include "broker/outlet.h"
#include "broker/query.h"
#include "broker/sources.h"
#include "broker/watch.h"

#define STATE_MAX (16u << 20)

static const struct metric_row counter_rows[] = {
    METRIC_COUNTER(struct counters, accepted, "lull_broker_accepted_total",
                   "Events that Redis has, sent to the ingress."),
    METRIC_COUNTER(struct counters, repeated, "lull_broker_repeated_total",
                   "Web hooks whose id came before, and which were not taken again."),
    METRIC_COUNTER(struct counters, refused_invalid, "lull_broker_refused_invalid_total",
                   "Requests that are no event, or go nowhere (4xx)."),
    METRIC_COUNTER(struct counters, refused_full, "lull_broker_refused_full_total",
                   "Requests refused because the broker or Redis is full (429)."),
    METRIC_COUNTER(struct counters, refused_away, "lull_broker_refused_away_total",
                   "Requests refused because Redis or the API is away (503)."),
    METRIC_COUNTER(struct counters, dispatched, "lull_broker_dispatched_total",
                   "Events that were matched against all triggers."),
    METRIC_COUNTER(struct counters, references, "lull_broker_references_total",
                   "Deliveries that were written for triggers."),
    METRIC_COUNTER(struct counters, unmatched, "lull_broker_unmatched_total",
                   "Events that no trigger wanted."),
    METRIC_COUNTER(struct counters, poison, "lull_broker_poison_total",
                   "Entries of streams that could not be read and were passed over."),
    METRIC_COUNTER(struct counters, delivered, "lull_broker_delivered_total",
                   "Events that a subscriber took."),
    METRIC_COUNTER(struct counters, failed, "lull_broker_failed_total",
                   "Deliveries that failed; each may be tried again."),
    METRIC_COUNTER(struct counters, retried, "lull_broker_retried_total",
                   "Deliveries that are tried again."),
    METRIC_COUNTER(struct counters, dead_lettered, "lull_broker_dead_lettered_total",
                   "Events that a dead letter sink took."),
    METRIC_COUNTER(struct counters, dead, "lull_broker_dead_total",
                   "Events that nobody took; the newest are kept."),
    METRIC_COUNTER(struct counters, replies, "lull_broker_replies_total",
                   "Replies of subscribers that became events."),
    METRIC_COUNTER(struct counters, replies_looped, "lull_broker_replies_looped_total",
                   "Replies that were dropped because they had been round too often."),
    METRIC_COUNTER(struct counters, missing, "lull_broker_missing_total",
                   "Deliveries whose event was gone from Redis."),
    METRIC_COUNTER(struct counters, taken_over, "lull_broker_taken_over_total",
                   "Entries taken over from workers that were silent."),
    METRIC_COUNTER(struct counters, trimmed, "lull_broker_trimmed_total",
                   "Events that were done and went."),
    METRIC_COUNTER(struct counters, redis_errors, "lull_broker_redis_errors_total",
                   "Commands that Redis refused or did not answer."),
    METRIC_COUNTER(struct counters, redis_downs, "lull_broker_redis_downs_total",
                   "Times that the connection was lost or could not be made."),
};

struct numbers {
    uint64_t redis_up;
    uint64_t brokers;
    uint64_t triggers;
    uint64_t used_bytes;
    uint64_t refused_addresses;
};

static const struct metric_row number_rows[] = {
    METRIC_GAUGE(struct numbers, redis_up, "lull_broker_redis_up", "1 while Redis answers."),
    METRIC_GAUGE(struct numbers, brokers, "lull_broker_brokers", "Brokers that are known."),
    METRIC_GAUGE(struct numbers, triggers, "lull_broker_triggers", "Triggers that are known."),
    METRIC_GAUGE(struct numbers, used_bytes, "lull_broker_event_bytes",
                 "Bytes of events that are being delivered."),
    METRIC_COUNTER(struct numbers, refused_addresses, "lull_broker_refused_addresses_total",
                   "Deliveries to addresses that may not be called."),
};

/* One metric of all triggers: its name, and where the number is. */
struct trigger_row {
    const char *name;
    const char *type;
    const char *help;
    int64_t (*value)(const struct trigger *t);
};

static int64_t value_backlog(const struct trigger *t)
{
    return t->backlog + t->retries;
}

static int64_t value_running(const struct trigger *t)
{
    return t->n_deliveries;
}

static int64_t value_delivered(const struct trigger *t)
{
    return (int64_t)t->counters.delivered;
}

static int64_t value_failed(const struct trigger *t)
{
    return (int64_t)t->counters.failed;
}

static int64_t value_dead(const struct trigger *t)
{
    return (int64_t)t->counters.dead;
}

static const struct trigger_row trigger_rows[] = {
    {"lull_broker_trigger_backlog", "gauge", "Events that a trigger has not done.", value_backlog},
    {"lull_broker_trigger_running", "gauge", "Deliveries under way.", value_running},
    {"lull_broker_trigger_delivered_total", "counter", "Events its subscriber took.",
     value_delivered},
    {"lull_broker_trigger_failed_total", "counter", "Tries that failed.", value_failed},
    {"lull_broker_trigger_dead_total", "counter", "Events its subscriber never took.", value_dead},
};

static void trigger_labels(const struct trigger *t, struct strbuf *out)
{
    struct slice kind, ns = slice_str(t->ns);
    bool is_source = outlet_split(t->ns, &kind, &ns);
    metric_write_label(out, true, "namespace", ns);
    if (is_source) {
        CLEANUP(cleanup_free) char *source = xasprintf("%.*s/%s", SLICE_FMT(kind), t->name);
        metric_write_label(out, false, "source", slice_str(source));
        return;
    }
    metric_write_label(out, false, "broker", slice_str(t->broker->name));
    metric_write_label(out, false, "trigger", slice_str(t->name));
}

/* Of sources: each is a broker and a trigger that the API does not have. */
static size_t count_outlets(const struct worker *w)
{
    struct slice kind, ns;
    size_t count = 0;
    map_foreach (it, &w->triggers) {
        count += outlet_split(((const struct trigger *)it.value)->ns, &kind, &ns) ? 1 : 0;
    }
    return count;
}

static void write_triggers(const struct worker *w, struct strbuf *out)
{
    CLEANUP(strbuf_fini) struct strbuf labels;
    strbuf_init(&labels, 4096);
    for (size_t i = 0; i < ARRAY_LEN(trigger_rows); i++) {
        const struct trigger_row *row = &trigger_rows[i];
        metric_write_head(out, row->type, row->name, row->help);
        map_foreach (it, &w->triggers) {
            const struct trigger *t = it.value;
            strbuf_clear(&labels);
            trigger_labels(t, &labels);
            strbuf_appendf(out, "%s{%s} %lld\n", row->name, labels.ptr, (long long)row->value(t));
        }
    }
    metric_write_head(out, "histogram", "lull_broker_trigger_seconds",
                      "How long subscribers took to answer.");
    map_foreach (it, &w->triggers) {
        const struct trigger *t = it.value;
        if (metric_buckets_count(&t->duration) == 0) {
            continue; /* most of many */
        }
        strbuf_clear(&labels);
        trigger_labels(t, &labels);
        metric_buckets_write(&t->duration, "lull_broker_trigger_seconds", labels.ptr, out);
    }
}

static int metrics(void *arg, struct strbuf *out, struct error *err)
{
    const struct worker *w = ((struct admin *)arg)->worker;
    size_t outlets = count_outlets(w);
    struct numbers numbers = {
        .redis_up = w->db != NULL && redis_conn_is_up(w->db),
        .brokers = map_len(&w->brokers) - outlets,
        .triggers = map_len(&w->triggers) - outlets,
        .used_bytes = w->payloads.used_bytes,
        .refused_addresses = w->sender.refused,
    };
    metric_rows_write(counter_rows, ARRAY_LEN(counter_rows), &w->counters, out);
    metric_rows_write(number_rows, ARRAY_LEN(number_rows), &numbers, out);
    write_triggers(w, out);
    async_write_metrics(w->async, out);
    return 0;
}

static json_t *trigger_json(const struct trigger *t)
{
    struct jbuild b;
    json_t *out = NULL;
    jbuild_init(&b);
    jbuild_str(&b, "namespace", t->ns);
    jbuild_str(&b, "name", t->name);
    jbuild_str(&b, "uid", t->uid);
    jbuild_bool(&b, "ready", t->ready);
    jbuild_json(&b, "subscriber", jstring_lossy(slice_str(t->object.subscriber)));
    jbuild_json(&b, "trouble",
                jstring_lossy(slice_str(t->trouble.code == ERR_OK ? "" : t->trouble.msg)));
    jbuild_i64(&b, "backlog", t->backlog);
    jbuild_i64(&b, "waitingForRetry", t->retries);
    jbuild_i64(&b, "running", t->n_deliveries);
    if (capacity_share(t) != CAPACITY_UNLIMITED) {
        jbuild_i64(&b, "atOnce", capacity_share(t));
    }
    jbuild_i64(&b, "delivered", (int64_t)t->counters.delivered);
    jbuild_i64(&b, "failed", (int64_t)t->counters.failed);
    jbuild_i64(&b, "retried", (int64_t)t->counters.retried);
    jbuild_i64(&b, "dead", (int64_t)t->counters.dead);
    jbuild_i64(&b, "replies", (int64_t)t->counters.replies);
    return jbuild_take(&b, &out, NULL) < 0 ? NULL : out;
}

static json_t *broker_json(const struct broker *b)
{
    struct jbuild j;
    json_t *out = NULL;
    jbuild_init(&j);
    jbuild_str(&j, "namespace", b->ns);
    jbuild_str(&j, "name", b->name);
    jbuild_bool(&j, "known", b->known);
    jbuild_i64(&j, "events", (int64_t)b->length);
    jbuild_i64(&j, "accepted", (int64_t)b->accepted);
    jbuild_arr(&j, "triggers");
    list_foreach (node, &b->triggers) {
        jbuild_json(&j, "triggers[+]", trigger_json(LIST_ENTRY(node, struct trigger, link)));
    }
    return jbuild_take(&j, &out, NULL) < 0 ? NULL : out;
}

static int state(void *arg, struct strbuf *out, struct error *err)
{
    const struct worker *w = ((struct admin *)arg)->worker;
    struct jbuild b;
    CLEANUP(jfree) json_t *json = NULL;
    jbuild_init(&b);
    jbuild_str(&b, "worker", w->name);
    jbuild_bool(&b, "redis.up", redis_conn_is_up(w->db));
    jbuild_json(&b, "redis.trouble", jstring_lossy(slice_str(redis_conn_trouble(w->db))));
    jbuild_arr(&b, "brokers");
    map_foreach (it, &w->brokers) {
        jbuild_json(&b, "brokers[+]", broker_json(it.value));
    }
    jbuild_json(&b, "sources", sources_state(w->sources));
    int rc = jbuild_take(&b, &json, err);
    return rc < 0 ? rc : jdump_pretty(json, out, err);
}

static bool ready(void *arg, struct strbuf *why_not)
{
    const struct admin *a = arg;
    const struct worker *w = a->worker;
    if (a->draining) {
        strbuf_append_str(why_not, "shutting down");
    } else if (!w->synced) {
        strbuf_appendf(why_not, "the lists of brokers and triggers are not loaded yet: %s",
                       watch_trouble(w));
    } else if (!redis_conn_is_up(w->db)) {
        strbuf_appendf(why_not, "redis is not there: %s", redis_conn_trouble(w->db));
    } else if (!redis_conn_is_up(w->in)) { /* what takes events has a connection of its own */
        strbuf_appendf(why_not, "redis is not there: %s", redis_conn_trouble(w->in));
    }
    return why_not->len == 0;
}

static void answer_numbers(struct http_simple_request *rq, void *arg)
{
    query_numbers(rq, ((struct admin *)arg)->worker);
}

static void answer_dead(struct http_simple_request *rq, void *arg)
{
    query_dead(rq, ((struct admin *)arg)->worker);
}

static void answer_dead_retry(struct http_simple_request *rq, void *arg)
{
    query_dead_retry(rq, ((struct admin *)arg)->worker);
}

static void answer_dead_drop(struct http_simple_request *rq, void *arg)
{
    query_dead_drop(rq, ((struct admin *)arg)->worker);
}

static void answer_replay(struct http_simple_request *rq, void *arg)
{
    query_replay(rq, ((struct admin *)arg)->worker);
}

static void answer_tail(struct http_simple_request *rq, void *arg)
{
    query_tail(rq, ((struct admin *)arg)->worker);
}

static const struct http_admin_page pages[] = {
    {.path = "/readyz", .ready = ready},
    {.path = "/metrics", .type = METRIC_CONTENT_TYPE, .write = metrics},
    {.path = "/state", .type = "application/json", .write = state},
    {.path = "/events/numbers", .answer = answer_numbers},
    {.path = "/events/dead", .answer = answer_dead},
    {.path = "/events/dead/retry", .answer = answer_dead_retry, .changes = true},
    {.path = "/events/dead/drop", .answer = answer_dead_drop, .changes = true},
    {.path = "/events/replay", .answer = answer_replay, .changes = true},
    {.path = "/events/tail", .answer = answer_tail},
};

int admin_start(struct admin *a, struct worker *w, const char *listen, struct error *err)
{
    a->worker = w;
    http_admin_init(&a->http, pages, ARRAY_LEN(pages), a);
    return http_admin_start(&a->http, w->loop, listen, err);
}

uint16_t admin_port(const struct admin *a)
{
    return a->http.simple == NULL ? 0 : http_server_port(http_simple_server(a->http.simple));
}

void admin_close(struct admin *a, void (*cb)(void *arg), void *arg)
{
    http_admin_close(&a->http, cb, arg);
}
