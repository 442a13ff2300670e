// SPDX-License-Identifier: Apache-2.0

/* Plan: three pages; the numbers are read from store and API when somebody asks. */

#include "local/admin.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/simple.h"
#include "metric/metric.h"

struct admin {
    struct http_simple *http;
    const struct store *store;
    const struct api *api;
    struct metric_registry metrics;
    struct metric_hook hook;
    struct metric_family *objects;
    struct metric *version;
    struct metric *requests;
    struct metric *watches;
    double requests_seen;
    void (*close_cb)(void *arg);
    void *close_arg;
};

static void read_numbers(void *data)
{
    struct admin *a = data;
    for (int i = 0; i < KIND_COUNT; i++) {
        const struct kind *kind = kind_row((enum kind_id)i);
        char resource[192];
        (void)snprintf(resource, sizeof(resource), "%s%s%s", kind->plural,
                       kind->group[0] == '\0' ? "" : ".", kind->group);
        const char *const values[] = {resource};
        metric_set(metric_with(a->objects, values), (double)store_count(a->store, resource));
    }
    double requests = (double)api_requests(a->api);
    metric_add(a->requests, requests - a->requests_seen);
    a->requests_seen = requests;
    metric_set(a->version, (double)store_version(a->store));
    metric_set(a->watches, (double)api_watches(a->api));
}

static void make_metrics(struct admin *a)
{
    static const char *const by_kind[] = {"resource", NULL};
    metric_registry_init(&a->metrics);
    a->objects = metric_gauge(&a->metrics, "lull_local_objects", "Objects in the store.", by_kind);
    a->version = metric_with(
        metric_gauge(&a->metrics, "lull_local_resource_version", "Newest resourceVersion.", NULL),
        NULL);
    a->requests = metric_with(
        metric_counter(&a->metrics, "lull_local_api_requests_total", "Requests to the API.", NULL),
        NULL);
    a->watches = metric_with(
        metric_gauge(&a->metrics, "lull_local_api_watches", "Watches that are open.", NULL), NULL);
    metric_on_expose(&a->metrics, &a->hook, read_numbers, a);
}

static void on_request(struct http_simple_request *rq, void *arg)
{
    struct admin *a = arg;
    if (slice_eq_str(rq->path, "/healthz") || slice_eq_str(rq->path, "/readyz")) {
        http_simple_respond(rq, 200, "text/plain", SLICE_LIT("ok\n"));
        return;
    }
    if (!slice_eq_str(rq->path, "/metrics")) {
        http_simple_respondf(rq, 404, "no such page: /healthz, /readyz and /metrics are here\n");
        return;
    }
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 1u << 20);
    struct error err;
    if (metric_expose(&a->metrics, &out, &err) < 0) {
        http_simple_respondf(rq, 500, "%s\n", err.msg);
        return;
    }
    http_simple_respond(rq, 200, METRIC_CONTENT_TYPE, strbuf_slice(&out));
}

static void on_closed(void *arg)
{
    struct admin *a = arg;
    void (*cb)(void *) = a->close_cb;
    void *cb_arg = a->close_arg;
    metric_registry_fini(&a->metrics);
    free(a);
    if (cb != NULL) {
        cb(cb_arg);
    }
}

void admin_close(struct admin *a, void (*cb)(void *arg), void *arg)
{
    a->close_cb = cb;
    a->close_arg = arg;
    http_simple_close(a->http, on_closed, a);
}

int admin_start(struct admin **out, struct loop *loop, const char *listen,
                const struct store *store, const struct api *api, struct error *err)
{
    struct admin *a = NEW(struct admin);
    a->store = store;
    a->api = api;
    struct http_simple_options options = http_simple_options_default(on_request, a);
    a->http = http_simple_new(loop, &options);
    make_metrics(a);
    int rc = http_server_listen_text(http_simple_server(a->http), listen, NULL, err);
    if (rc < 0) {
        admin_close(a, NULL, NULL);
        return error_prefix(err, rc, "the admin port");
    }
    *out = a;
    return 0;
}
