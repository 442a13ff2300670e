// SPDX-License-Identifier: Apache-2.0
/* One page per path, written into a bounded buffer. */
#include "controller/admin.h"

#include <stddef.h>

enum { PAGE_MAX = 64 << 10 };

static void sample(struct strbuf *s, const char *name, const char *type, const char *help,
                   uint64_t value)
{
    strbuf_appendf(s, "# HELP lull_controller_%s %s\n# TYPE lull_controller_%s %s\n", name, help,
                   name, type);
    strbuf_appendf(s, "lull_controller_%s %llu\n", name, (unsigned long long)value);
}

static void metrics(const struct controller *c, struct strbuf *s)
{
    static const struct {
        const char *name;
        const char *help;
        size_t offset;
    } counters[] = {
        {"reconciles_total", "Objects looked at.", offsetof(struct controller_counters, runs)},
        {"writes_total", "Writes that the API took.", offsetof(struct controller_counters, writes)},
        {"conflicts_total", "Writes refused because an object had changed.",
         offsetof(struct controller_counters, conflicts)},
        {"failures_total", "Writes that failed otherwise.",
         offsetof(struct controller_counters, failures)},
    };
    const char *base = (const char *)&c->counters;
    for (size_t i = 0; i < ARRAY_LEN(counters); i++) {
        sample(s, counters[i].name, "counter", counters[i].help,
               *(const uint64_t *)(const void *)(base + counters[i].offset));
    }
    if (c->queue != NULL) {
        sample(s, "queue_waiting", "gauge", "Objects that wait to be looked at.",
               work_queue_waiting(c->queue));
        sample(s, "queue_running", "gauge", "Objects whose writes are under way.",
               work_queue_running(c->queue));
    }
    sample(s, "services", "gauge", "Services.", objects_count(&c->objects, KIND_SERVICE));
    sample(s, "revisions", "gauge", "Revisions.", objects_count(&c->objects, KIND_REVISION));
    sample(s, "api_connected", "gauge", "1 while all watches are open.",
           objects_synced(&c->objects) && objects_trouble(&c->objects)[0] == '\0');
}

static void handle(struct http_simple_request *rq, void *arg)
{
    const struct controller *c = arg;
    if (slice_eq_str(rq->path, "/healthz")) {
        http_simple_respondf(rq, 200, "ok\n");
    } else if (slice_eq_str(rq->path, "/readyz")) {
        bool synced = c->objects_started && objects_synced(&c->objects);
        http_simple_respondf(rq, synced ? 200 : 503, synced ? "ok\n" : "not in sync yet: %s\n",
                             objects_trouble(&c->objects));
    } else if (slice_eq_str(rq->path, "/metrics")) {
        CLEANUP(strbuf_fini) struct strbuf s;
        strbuf_init(&s, PAGE_MAX);
        metrics(c, &s);
        http_simple_respond(rq, 200, "text/plain; version=0.0.4", strbuf_slice(&s));
    } else {
        http_simple_respondf(rq, 404, "no such page; there are /healthz, /readyz and /metrics\n");
    }
}

int admin_start(struct controller *c, struct error *err)
{
    struct http_simple_options options = http_simple_options_default(handle, c);
    c->admin = http_simple_new(c->loop, &options);
    int rc =
        http_server_listen_text(http_simple_server(c->admin), c->config->admin_listen, NULL, err);
    return rc < 0 ? error_prefix(err, rc, "admin port %s", c->config->admin_listen) : 0;
}
