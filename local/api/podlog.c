// SPDX-License-Identifier: Apache-2.0

/*
 * GET …/pods/NAME/log. Plan: ask the node agent for a source and pass its bytes on as the client
 * takes them. The client's going closes the source; the source's end closes the answer.
 */

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "local/api/call.h"

struct podlog {
    struct http_simple_request *rq;
    const struct logs_provider *logs;
    struct logs_source *source;
    bool ended;
};

static void close_source(struct podlog *p)
{
    if (p->source != NULL) {
        p->logs->close(p->source);
        p->source = NULL;
    }
}

static void on_closed(struct http_simple_request *rq, void *data)
{
    struct podlog *p = data;
    close_source(p);
    free(p);
}

static void on_writable(struct http_simple_request *rq, void *data)
{
    struct podlog *p = data;
    if (p->source != NULL && !p->ended) {
        p->logs->resume(p->source);
    }
}

static bool on_data(struct slice data, void *arg)
{
    struct podlog *p = arg;
    return http_simple_write(p->rq, data) != HTTP_FULL;
}

static void on_end(int rc, const struct error *err, void *arg)
{
    struct podlog *p = arg;
    p->ended = true;
    if (rc < 0 && err != NULL) {
        (void)http_simple_write(p->rq, slice_str(err->msg));
        (void)http_simple_write(p->rq, SLICE_LIT("\n"));
    }
    http_simple_end(p->rq);
}

/* --- what is asked for ---------------------------------------------------------------------- */

/* "tailLines: Invalid value: -1: …", as the validation of PodLogOptions says it. */
static int refuse(const struct route *route, const char *why, struct error *err)
{
    return error_set(err, ERR_INVALID, "PodLogOptions \"%s\" is invalid: %s", route->name, why);
}

/* -1: it was not given. */
static int read_number(const struct http_simple_request *rq, const struct route *route,
                       const char *name, int64_t min, int64_t *out, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf buf;
    strbuf_init(&buf, 64);
    const char *text = query_get(rq, name, &buf);
    *out = -1;
    if (text[0] == '\0') {
        return 0;
    }
    if (num_parse_i64(slice_str(text), INT64_MIN, INT64_MAX, out, NULL) < 0) {
        return error_set(err, ERR_PROTOCOL, "strconv.ParseInt: parsing \"%.40s\": invalid syntax",
                         text);
    }
    if (*out < min) {
        char why[128];
        snprintf(why, sizeof(why), "%s: Invalid value: %lld: must be greater than %s0", name,
                 (long long)*out, min == 0 ? "or equal to " : "");
        return refuse(route, why, err);
    }
    return 0;
}

static int read_since(const struct http_simple_request *rq, const struct route *route,
                      int64_t *out_ns, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf buf;
    strbuf_init(&buf, 128);
    int64_t seconds, now_ns = clock_wall_ns();
    int rc = read_number(rq, route, "sinceSeconds", 1, &seconds, err);
    const char *text = query_get(rq, "sinceTime", &buf);
    *out_ns = 0;
    if (rc < 0) {
        return rc;
    }
    if (seconds > 0 && text[0] != '\0') {
        return refuse(
            route, "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified", err);
    }
    if (text[0] != '\0') {
        rc = clock_parse_rfc3339(slice_str(text), out_ns, err);
        return rc < 0 ? error_set(err, ERR_PROTOCOL,
                                  "sinceTime: \"%.60s\" is not a time as "
                                  "2006-01-02T15:04:05Z",
                                  text)
                      : 0;
    }
    if (seconds > 0 && seconds < now_ns / (int64_t)CLOCK_NS_PER_S) {
        *out_ns = now_ns - seconds * (int64_t)CLOCK_NS_PER_S;
    }
    return 0;
}

static int read_query(const struct http_simple_request *rq, const struct route *route,
                      struct logs_query *q, struct error *err)
{
    int64_t limit = -1;
    int rc = read_number(rq, route, "tailLines", 0, &q->tail_lines, err);
    rc = rc ? rc : read_number(rq, route, "limitBytes", 1, &limit, err);
    rc = rc ? rc : read_since(rq, route, &q->since_ns, err);
    q->limit_bytes = limit > 0 ? (uint64_t)limit : 0;
    q->follow = query_is_true(rq, "follow");
    q->previous = query_is_true(rq, "previous");
    q->timestamps = query_is_true(rq, "timestamps");
    return rc;
}

void podlog_start(struct api *api, struct http_simple_request *rq, const struct route *route)
{
    struct error err;
    struct object *pod = store_get(api->options.store, "pods", route->ns, route->name);
    if (pod == NULL) {
        (void)error_set(&err, ERR_NOT_FOUND, "pods \"%s\" not found", route->name);
        respond_error(rq, &err, NULL);
        return;
    }
    if (api->logs == NULL) {
        respond_status(rq, 501, "NotImplemented", "this server has no node agent");
        return;
    }
    CLEANUP(strbuf_fini) struct strbuf container;
    strbuf_init(&container, 256);
    struct logs_query query = {
        .ns = route->ns,
        .pod = route->name,
        .pod_uid = pod->uid,
        .container = query_get(rq, "container", &container),
    };
    int rc = read_query(rq, route, &query, &err);
    struct podlog *p = NEW(struct podlog);
    p->rq = rq;
    p->logs = api->logs;
    if (rc == 0) {
        struct logs_sink sink = {.data = on_data, .end = on_end, .arg = p};
        rc = p->logs->open(p->logs->self, &query, &sink, &p->source, &err);
    }
    if (rc < 0) {
        respond_error(rq, &err, NULL);
        free(p);
        return;
    }
    rq->data = p;
    rq->on_close = on_closed;
    rq->on_writable = on_writable;
    http_simple_stream(rq, 200, "text/plain");
}
