// SPDX-License-Identifier: Apache-2.0
/*
 * The small server: a request struct per exchange, its body collected, then the handler.
 *
 * The request is freed in the exchange's on_close, after the user's. The server's max_body_bytes
 * bounds what is collected, so the strbuf's own maximum is never reached.
 */

#include "http/simple.h"

#include "base/mem.h"

#define TEXT_MAX 4096

struct http_simple {
    struct http_server *server;
    http_simple_cb handle;
    void *arg;
    uint64_t max_body;
    void (*close_cb)(void *arg);
    void *close_arg;
};

struct request {
    struct http_simple_request rq;
    struct http_simple *simple;
    struct strbuf body;
};

static struct request *of(struct http_simple_request *rq)
{
    return CONTAINER_OF(rq, struct request, rq);
}

static void on_body(struct http_exchange *ex, struct slice chunk, void *arg)
{
    struct request *r = arg;
    if (strbuf_append_slice(&r->body, chunk) < 0) {
        http_exchange_respond(ex, 413, "text/plain", SLICE_LIT("the body is too large\n"));
    }
}

static void on_end(struct http_exchange *ex, void *arg)
{
    struct request *r = arg;
    if (strbuf_ok(&r->body)) {
        r->rq.body = strbuf_slice(&r->body);
        r->simple->handle(&r->rq, r->simple->arg);
    }
}

static void on_writable(struct http_exchange *ex, void *arg)
{
    struct request *r = arg;
    if (r->rq.on_writable != NULL) {
        r->rq.on_writable(&r->rq, r->rq.data);
    }
}

static void on_close(struct http_exchange *ex, enum http_close how, void *arg)
{
    struct request *r = arg;
    if (r->rq.on_close != NULL) {
        r->rq.on_close(&r->rq, r->rq.data);
    }
    strbuf_fini(&r->body);
    free(r);
}

static const struct http_exchange_events events = {
    .on_body = on_body,
    .on_end = on_end,
    .on_writable = on_writable,
    .on_close = on_close,
};

static void on_request(struct http_exchange *ex, void *arg)
{
    struct http_simple *simple = arg;
    struct request *r = NEW(struct request);
    const struct http_head *head = http_exchange_request(ex);
    r->simple = simple;
    r->rq = (struct http_simple_request){
        .head = head,
        .method = head->method,
        .path = http_head_path(head),
        .query = http_head_query(head),
        .body = SLICE_EMPTY,
        .exchange = ex,
    };
    strbuf_init(&r->body, (size_t)simple->max_body);
    http_exchange_listen(ex, &events, r);
    http_exchange_resume(ex);
}

struct http_simple_options http_simple_options_default(http_simple_cb handle, void *arg)
{
    struct http_limits limits = http_limits_default();
    limits.max_body_bytes = 1024 * 1024;
    limits.max_connections = 256;
    return (struct http_simple_options){.limits = limits, .handle = handle, .arg = arg};
}

struct http_simple *http_simple_new(struct loop *loop, const struct http_simple_options *options)
{
    REQUIRE(options->handle != NULL && options->limits.max_body_bytes > 0);
    struct http_simple *simple = NEW(struct http_simple);
    simple->handle = options->handle;
    simple->arg = options->arg;
    simple->max_body = options->limits.max_body_bytes;
    simple->server = http_server_new(loop, &(struct http_server_options){.limits = options->limits,
                                                                         .on_request = on_request,
                                                                         .arg = simple});
    return simple;
}

struct http_server *http_simple_server(struct http_simple *simple)
{
    return simple->server;
}

static void on_server_closed(void *arg)
{
    struct http_simple *simple = arg;
    void (*cb)(void *) = simple->close_cb;
    void *cb_arg = simple->close_arg;
    free(simple);
    if (cb != NULL) {
        cb(cb_arg);
    }
}

void http_simple_close(struct http_simple *simple, void (*cb)(void *arg), void *arg)
{
    simple->close_cb = cb;
    simple->close_arg = arg;
    http_server_close(simple->server, on_server_closed, simple);
}

void http_simple_respond(struct http_simple_request *rq, int status, const char *content_type,
                         struct slice body)
{
    http_exchange_respond(of(rq)->rq.exchange, status, content_type, body);
}

void http_simple_respondf(struct http_simple_request *rq, int status, const char *fmt, ...)
{
    char text[TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
    http_exchange_respond(rq->exchange, status, "text/plain; charset=utf-8", slice_of(text, len));
}

void http_simple_respond_head(struct http_simple_request *rq, const struct http_head *head,
                              struct slice body)
{
    http_exchange_respond_head(rq->exchange, head, body);
}

void http_simple_stream(struct http_simple_request *rq, int status, const char *content_type)
{
    struct http_header room[1];
    struct http_head head;
    http_head_init(&head, room, ARRAY_LEN(room));
    head.status = status;
    head.body = HTTP_BODY_STREAM;
    if (content_type != NULL &&
        http_head_add(&head, SLICE_LIT("Content-Type"), slice_str(content_type)) < 0) {
        return;
    }
    http_exchange_start(rq->exchange, &head);
    http_exchange_flush(rq->exchange);
}

enum http_flow http_simple_write(struct http_simple_request *rq, struct slice chunk)
{
    return http_exchange_write(rq->exchange, chunk);
}

void http_simple_end(struct http_simple_request *rq)
{
    http_exchange_end(rq->exchange);
}

void http_simple_abort(struct http_simple_request *rq)
{
    http_exchange_abort(rq->exchange);
}

/* ---- query and path ---- */

static int hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool decode(struct slice text, bool plus, struct strbuf *out)
{
    strbuf_clear(out);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '+' && plus) {
            c = ' ';
        } else if (c == '%') {
            int high = i + 2 < text.len ? hex(text.ptr[i + 1]) : -1;
            int low = i + 2 < text.len ? hex(text.ptr[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0' || strbuf_append_char(out, c) < 0) {
            return false;
        }
    }
    return true;
}

bool http_path_decode(struct slice text, struct strbuf *out)
{
    return decode(text, false, out);
}

bool http_query_get(struct slice query, const char *name, struct strbuf *out)
{
    struct slice part;
    while (slice_split(&query, '&', &part)) {
        ptrdiff_t at = slice_find(part, '=');
        struct slice key = at < 0 ? part : slice_of(part.ptr, (size_t)at);
        if (slice_eq_str(key, name)) {
            struct slice value = at < 0 ? SLICE_EMPTY : slice_sub(part, (size_t)at + 1, part.len);
            return decode(value, true, out);
        }
    }
    return false;
}
