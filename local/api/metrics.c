// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: cut namespace and name off the path, have the agent look, answer with what it saw: of one
 * Pod, or of all that the selector names, in the store's order. Failure modes: no such Pod, or one
 * without numbers yet (404, as a metrics server says it); nobody who could look (503).
 */

#include "local/api/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "serving/quantity.h"
#include "local/api/call.h"

#define GROUP      "metrics.k8s.io"
#define VERSION    "v1beta1"
#define PREFIX     "/apis/" GROUP "/" VERSION "/"
#define PROXY_NAME "queue-proxy"
#define MAX_AGE_MS 15000u
#define ANSWER_MAX (64u << 20)
#define LABELS_MAX 16384
#define TEXT_MAX   96

struct metrics_call {
    struct call *call;
    char *labels; /* owned; "" for all */
    struct strbuf out;
    int64_t now_ns;
    size_t count;
};

/* --- answers ------------------------------------------------------------------------------- */

static void append_container(struct strbuf *out, const char *name, int64_t cpu_nano,
                             int64_t memory_bytes, bool first)
{
    char cpu[QUANTITY_TEXT], memory[QUANTITY_TEXT];
    struct quantity cores = {.nano = cpu_nano, .format = QUANTITY_DECIMAL};
    struct quantity bytes = {.nano = (__int128)memory_bytes / 1024 * 1024 * 1000000000,
                             .format = QUANTITY_BINARY};
    (void)strbuf_append_str(out, first ? "{\"name\":" : ",{\"name\":");
    (void)strbuf_append_json(out, slice_str(name));
    (void)strbuf_appendf(out, ",\"usage\":{\"cpu\":\"%s\",\"memory\":\"%s\"}}",
                         quantity_print(&cores, cpu), quantity_print(&bytes, memory));
}

static void append_containers(struct strbuf *out, const json_t *pod, const struct usage *usage)
{
    size_t i;
    json_t *container;
    bool first = true;
    json_array_foreach(jpeek_arr(pod, "spec.containers"), i, container)
    {
        const char *name = jpeek_cstr(container, "name");
        int part = strcmp(name, PROXY_NAME) == 0 ? USAGE_PROXY : USAGE_FUNCTION;
        if (usage->parts[part].known) {
            append_container(out, name, usage->parts[part].cpu_nano,
                             usage->parts[part].memory_bytes, first);
            first = false;
        }
    }
}

/* false: nothing is known of it. */
static bool append_pod(struct metrics_call *m, struct object *object, bool whole)
{
    static const char *const members[] = {"metadata", "spec.containers"};
    const struct usage_provider *provider = m->call->api->usage;
    struct strbuf *out = &m->out;
    struct usage usage;
    char time[CLOCK_RFC3339_MAX];
    struct error err;
    if (!provider->get(provider->self, object->ns, object->name, &usage)) {
        return false;
    }
    json_t *pod = object_only(object, members, ARRAY_LEN(members));
    (void)strbuf_append_str(out, m->count++ > 0 ? ",{" : "{");
    if (whole) {
        (void)strbuf_append_str(out, "\"kind\":\"PodMetrics\",\"apiVersion\":\"" GROUP "/" VERSION
                                     "\",");
    }
    (void)strbuf_append_str(out, "\"metadata\":{\"name\":");
    (void)strbuf_append_json(out, slice_str(object->name));
    (void)strbuf_append_str(out, ",\"namespace\":");
    (void)strbuf_append_json(out, slice_str(object->ns));
    (void)strbuf_appendf(out, ",\"creationTimestamp\":\"%s\"",
                         clock_format_rfc3339(m->now_ns, 0, time, sizeof(time)));
    const json_t *labels = jpeek_obj(pod, "metadata.labels");
    if (labels != NULL) {
        (void)strbuf_append_str(out, ",\"labels\":");
        (void)!jdump(labels, out, &err); /* too big: the buffer knows */
    }
    (void)strbuf_appendf(
        out, "},\"timestamp\":\"%s\",\"window\":\"%" PRId64 ".%03" PRId64 "s\",\"containers\":[",
        clock_format_rfc3339(usage.at_ns, 0, time, sizeof(time)), usage.window_ns / 1000000000,
        usage.window_ns / 1000000 % 1000);
    append_containers(out, pod, &usage);
    (void)strbuf_append_str(out, "]}");
    json_decref(pod);
    return true;
}

static bool on_pod(struct object *object, void *arg)
{
    (void)append_pod(arg, object, false);
    return true;
}

static int write_list(struct metrics_call *m, struct error *err)
{
    struct store_selector selector = {
        .resource = "pods", .ns = m->call->route.ns, .labels = m->labels};
    (void)strbuf_append_str(&m->out, "{\"kind\":\"PodMetricsList\",\"apiVersion\":\"" GROUP
                                     "/" VERSION "\",\"metadata\":{},\"items\":[");
    int rc = store_list(m->call->api->options.store, &selector, on_pod, m, err);
    (void)strbuf_append_str(&m->out, "]}");
    return rc;
}

static int write_one(struct metrics_call *m, struct error *err)
{
    const struct route *route = &m->call->route;
    struct object *object = store_get(m->call->api->options.store, "pods", route->ns, route->name);
    if (object == NULL || !append_pod(m, object, true)) {
        return error_set(err, ERR_NOT_FOUND, "podmetrics." GROUP " \"%s/%s\" not found", route->ns,
                         route->name);
    }
    return 0;
}

static void on_usage(void *arg)
{
    struct metrics_call *m = arg;
    struct call *c = m->call;
    struct error err;
    if (c->rq != NULL) {
        m->now_ns = clock_wall_ns();
        int rc = c->route.name[0] == '\0' ? write_list(m, &err) : write_one(m, &err);
        if (rc < 0) {
            respond_error(c->rq, &err, NULL);
        } else {
            respond_text(c->rq, 200, &m->out);
        }
    }
    strbuf_fini(&m->out);
    free(m->labels);
    free(m);
    call_finish(c);
}

/* --- requests ------------------------------------------------------------------------------ */

static bool take_name(struct slice text, char out[ROUTE_NAME_MAX])
{
    return text.len > 0 && slice_copy(text, out, ROUTE_NAME_MAX);
}

/* pods, namespaces/NS/pods, namespaces/NS/pods/NAME */
static bool parse(struct slice path, struct route *out)
{
    struct slice part;
    *out = (struct route){.what = ROUTE_COLLECTION, .kind = kind_row(KIND_POD)};
    if (!slice_split(&path, '/', &part)) {
        return false;
    }
    if (slice_eq_str(part, "namespaces") &&
        (!slice_split(&path, '/', &part) || !take_name(part, out->ns) ||
         !slice_split(&path, '/', &part))) {
        return false;
    }
    if (!slice_eq_str(part, "pods")) {
        return false;
    }
    if (!slice_split(&path, '/', &part)) {
        return true;
    }
    out->what = ROUTE_OBJECT;
    return out->ns[0] != '\0' && take_name(part, out->name) && !slice_split(&path, '/', &part);
}

static void start(struct api *api, struct http_simple_request *rq, const struct route *route)
{
    CLEANUP(strbuf_fini) struct strbuf labels;
    strbuf_init(&labels, LABELS_MAX);
    struct metrics_call *m = NEW(struct metrics_call);
    strbuf_init(&m->out, ANSWER_MAX);
    m->labels = xstrdup(query_get(rq, "labelSelector", &labels));
    m->call = call_new(api, rq, route);
    if (api->usage == NULL || !api->usage->ask(api->usage->self, MAX_AGE_MS, on_usage, m)) {
        respond_status(rq, 503, "ServiceUnavailable", "nothing runs here that could be measured");
        strbuf_fini(&m->out);
        free(m->labels);
        call_finish(m->call);
        free(m);
    }
}

bool metrics_handle(struct api *api, struct http_simple_request *rq)
{
    struct route route;
    if (!slice_starts_with(rq->path, SLICE_LIT(PREFIX))) {
        return false;
    }
    if (!parse(slice_sub(rq->path, sizeof(PREFIX) - 1, rq->path.len), &route)) {
        respond_status(rq, 404, "NotFound", "the server could not find the requested resource");
    } else if (!slice_eq_str(rq->method, "GET") || query_is_true(rq, "watch")) {
        respond_status(rq, 405, "MethodNotAllowed",
                       "the server does not allow this method on the requested resource");
    } else {
        start(api, rq, &route);
    }
    return true;
}

/* --- discovery ----------------------------------------------------------------------------- */

#define GROUP_BODY                                                                                 \
    "\"name\":\"" GROUP "\",\"versions\":[{\"groupVersion\":\"" GROUP "/" VERSION                  \
    "\",\"version\":\"" VERSION "\"}],\"preferredVersion\":{\"groupVersion\":\"" GROUP "/" VERSION \
    "\",\"version\":\"" VERSION "\"}}"

void metrics_append_group(struct strbuf *out, bool first)
{
    (void)strbuf_append_str(out, first ? "{" GROUP_BODY : ",{" GROUP_BODY);
}

bool metrics_append_own_group(struct strbuf *out, const char *group)
{
    if (strcmp(group, GROUP) != 0) {
        return false;
    }
    (void)strbuf_append_str(out, "{\"kind\":\"APIGroup\",\"apiVersion\":\"v1\"," GROUP_BODY);
    return true;
}

bool metrics_append_resources(struct strbuf *out, const char *group, const char *version)
{
    if (strcmp(group, GROUP) != 0 || strcmp(version, VERSION) != 0) {
        return false;
    }
    (void)strbuf_append_str(out, "{\"name\":\"pods\",\"singularName\":\"\",\"namespaced\":true,"
                                 "\"kind\":\"PodMetrics\",\"verbs\":[\"get\",\"list\"]}");
    return true;
}

void metrics_append_discovered(struct strbuf *out, bool first)
{
    (void)strbuf_append_str(out, first ? "" : ",");
    (void)strbuf_append_str(
        out, "{\"metadata\":{\"name\":\"" GROUP "\"},\"versions\":[{\"version\":\"" VERSION
             "\",\"resources\":[{\"resource\":\"pods\",\"responseKind\":{\"group\":\"" GROUP
             "\",\"version\":\"" VERSION "\",\"kind\":\"PodMetrics\"},\"scope\":\"Namespaced\","
             "\"singularResource\":\"\",\"verbs\":[\"get\",\"list\"]}],\"freshness\":"
             "\"Current\"}]}");
}
