// SPDX-License-Identifier: Apache-2.0

/*
 * GET …/pods/NAME/log. Plan: ask the node agent for a source and pass its bytes on as the client
 * takes them. The client's going closes the source; the source's end closes the answer.
 */

#include <stdlib.h>
#include <string.h>

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

static int read_number(const struct http_simple_request *rq, const char *name, uint64_t *out,
                       bool *out_given, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf buf;
    strbuf_init(&buf, 64);
    const char *text = query_get(rq, name, &buf);
    *out_given = text[0] != '\0';
    if (!*out_given) {
        return 0;
    }
    int rc = num_parse_u64(slice_str(text), 0, INT64_MAX, out, err);
    return rc < 0 ? error_set(err, ERR_PROTOCOL, "%s: Invalid value: \"%.40s\"", name, text) : 0;
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
    uint64_t tail = 0, limit = 0;
    bool has_tail, has_limit;
    int rc = read_number(rq, "tailLines", &tail, &has_tail, &err);
    if (rc == 0) {
        rc = read_number(rq, "limitBytes", &limit, &has_limit, &err);
    }
    struct podlog *p = NEW(struct podlog);
    p->rq = rq;
    p->logs = api->logs;
    if (rc == 0) {
        struct logs_query query = {
            .ns = route->ns,
            .pod = route->name,
            .pod_uid = pod->uid,
            .container = query_get(rq, "container", &container),
            .follow = query_is_true(rq, "follow"),
            .previous = query_is_true(rq, "previous"),
            .tail_lines = has_tail ? (int64_t)tail : -1,
            .limit_bytes = limit,
        };
        struct logs_sink sink = {.data = on_data, .end = on_end, .arg = p};
        rc = p->logs->open(p->logs->self, &query, &sink, &p->source, &err);
    }
    if (rc < 0) {
        err.code = err.code == ERR_INVALID ? ERR_PROTOCOL : err.code;
        respond_error(rq, &err, NULL);
        free(p);
        return;
    }
    rq->data = p;
    rq->on_close = on_closed;
    rq->on_writable = on_writable;
    http_simple_stream(rq, 200, "text/plain");
}
