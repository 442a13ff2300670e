// SPDX-License-Identifier: Apache-2.0

/* Plan: the numbers are read from store and API when somebody asks. */

#include "local/admin.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/admin.h"
#include "metric/metric.h"

struct admin {
    struct http_admin http;
    const struct store *store;
    const struct api *api;
    struct metric_registry metrics;
    struct metric_hook hook;
    struct metric_family *objects;
    struct metric *version;
    struct metric *requests;
    struct metric *watches;
    struct metric *serialisations;
    double requests_seen;
    double serialisations_seen;
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
    double texts = (double)(store_serialisations(a->store) + api_serialisations(a->api));
    metric_add(a->serialisations, texts - a->serialisations_seen);
    a->serialisations_seen = texts;
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
    a->serialisations = metric_with(
        metric_counter(&a->metrics, "lull_local_serialisations_total",
                       "Objects made into text: one for each version, and one for each row of a "
                       "table.",
                       NULL),
        NULL);
    metric_on_expose(&a->metrics, &a->hook, read_numbers, a);
}

static int metrics(void *arg, struct strbuf *out, struct error *err)
{
    return metric_expose(&((struct admin *)arg)->metrics, out, err);
}

/* It listens only when all is up. */
static bool ready(void *arg, struct strbuf *why)
{
    return true;
}

static const struct http_admin_page pages[] = {
    {.path = "/readyz", .ready = ready},
    {.path = "/metrics", .type = METRIC_CONTENT_TYPE, .write = metrics},
};

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
    http_admin_close(&a->http, on_closed, a);
}

int admin_start(struct admin **out, struct loop *loop, const char *listen,
                const struct store *store, const struct api *api, struct error *err)
{
    struct admin *a = NEW(struct admin);
    a->store = store;
    a->api = api;
    make_metrics(a);
    http_admin_init(&a->http, pages, ARRAY_LEN(pages), a);
    int rc = http_admin_start(&a->http, loop, listen, err);
    if (rc < 0) {
        admin_close(a, NULL, NULL);
        return rc;
    }
    *out = a;
    return 0;
}
