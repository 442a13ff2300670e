// SPDX-License-Identifier: Apache-2.0
/*
 * One request on a pool of its own that keeps nothing: call, collect, answer, close.
 * The callback comes when the outcome is known; the memory goes when the pool is closed.
 */

#include "http/client.h"

#include "base/mem.h"
#include "base/strbuf.h"
#include "loop/timer.h"
#include "http/upstream.h"

#define HEADERS_MAX 32

struct http_client {
    struct http_pool *pool;
    struct http_call call;
    struct timer timer;
    struct strbuf body;
    struct http_head head; /* of the answer, with own memory */
    struct strbuf text;    /* where its slices point */
    struct http_header headers[HTTP_MAX_HEADERS];
    http_client_cb cb;
    void *arg;
    unsigned open; /* timer and pool */
    uint32_t timeout_ms;
    bool over;
};

static void drop(struct http_client *c)
{
    if (--c->open == 0) {
        strbuf_fini(&c->body);
        strbuf_fini(&c->text);
        free(c);
    }
}

static void on_timer_closed(struct timer *timer)
{
    drop(timer->data);
}

static void on_pool_closed(void *arg)
{
    drop(arg);
}

/* Ends it: no callback from here on but the closing ones. */
static void over(struct http_client *c)
{
    c->over = true;
    http_call_cancel(&c->call);
    timer_close(&c->timer, on_timer_closed);
    http_pool_close(c->pool, on_pool_closed, c);
}

static void finish(struct http_client *c, int rc, const struct error *err)
{
    if (c->over) {
        return;
    }
    struct http_client_answer answer = {.head = rc < 0 ? NULL : &c->head,
                                        .body = strbuf_slice(&c->body)};
    over(c);
    c->cb(rc, &answer, err, c->arg);
}

static void on_timeout(struct timer *timer)
{
    struct http_client *c = timer->data;
    struct error err;
    error_set(&err, ERR_TIMEOUT, "%s: no answer within %u ms", http_pool_addr(c->pool),
              c->timeout_ms);
    finish(c, ERR_TIMEOUT, &err);
}

static struct slice keep(struct http_client *c, struct slice s)
{
    size_t at = c->text.len;
    strbuf_append_slice(&c->text, s);
    return slice_of(c->text.ptr + at, s.len);
}

static void on_head(struct http_call *call, const struct http_head *head, void *arg)
{
    struct http_client *c = arg;
    size_t size = 1;
    for (size_t i = 0; i < head->n_headers; i++) {
        size += head->headers[i].name.len + head->headers[i].value.len;
    }
    strbuf_init(&c->text, size);
    if (strbuf_reserve(&c->text, size) == NULL) {
        return;
    }
    c->head = *head;
    c->head.headers = c->headers;
    c->head.cap_headers = ARRAY_LEN(c->headers);
    for (size_t i = 0; i < head->n_headers; i++) {
        c->headers[i].id = head->headers[i].id;
        c->headers[i].name = keep(c, head->headers[i].name);
        c->headers[i].value = keep(c, head->headers[i].value);
    }
}

static void on_body(struct http_call *call, struct slice chunk, void *arg)
{
    struct http_client *c = arg;
    if (strbuf_append_slice(&c->body, chunk) < 0) {
        struct error err;
        error_set(&err, ERR_TOO_BIG, "%s: the answer is over %zu bytes", http_pool_addr(c->pool),
                  c->body.max);
        finish(c, ERR_TOO_BIG, &err);
    }
}

static void on_end(struct http_call *call, void *arg)
{
    finish(arg, 0, NULL);
}

static void on_fail(struct http_call *call, enum http_stage stage, const struct error *err,
                    void *arg)
{
    finish(arg, (int)err->code, err);
}

static const struct http_call_events call_events = {
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_fail = on_fail,
};

static int fill_head(const struct http_client_request *rq, struct http_head *head,
                     struct error *err)
{
    head->method = slice_str(rq->method == NULL ? "GET" : rq->method);
    head->method_id = http_method_id(head->method);
    head->target = slice_str(rq->target == NULL ? "/" : rq->target);
    head->authority = slice_str(rq->host == NULL ? "localhost" : rq->host);
    head->content_length = rq->body.len;
    bool has_body = rq->body.len > 0 || head->method_id == HTTP_METHOD_POST ||
                    head->method_id == HTTP_METHOD_PUT || head->method_id == HTTP_METHOD_PATCH;
    head->body = has_body ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
    head->takes_trailers = rq->h2c; /* gRPC insists */
    for (size_t i = 0; i < rq->n_headers; i++) {
        const struct http_header *h = &rq->headers[i];
        if (!http_name_valid(h->name) || !http_value_valid(h->value)) {
            return error_set(err, ERR_INVALID, "header %zu of the request is malformed", i + 1);
        }
        if (http_head_add(head, h->name, h->value) < 0) {
            return error_set(err, ERR_TOO_BIG, "more than %d headers", HEADERS_MAX);
        }
    }
    if (!http_value_valid(head->target) || !http_value_valid(head->authority) ||
        slice_find(head->target, ' ') >= 0) {
        return error_set(err, ERR_INVALID, "the request target or host is malformed");
    }
    return 0;
}

int http_client_start(struct loop *loop, const struct http_client_request *rq, http_client_cb cb,
                      void *arg, struct http_client **out_client, struct error *err)
{
    struct http_header room[HEADERS_MAX];
    struct http_head head;
    struct error own;
    REQUIRE(rq->timeout_ms > 0);
    err = err == NULL ? &own : err;
    http_head_init(&head, room, ARRAY_LEN(room));
    int rc = fill_head(rq, &head, err);
    if (rc < 0) {
        return rc;
    }
    struct http_pool_options options = http_pool_options_default();
    options.max_idle = 0;
    options.h2c = rq->h2c;
    options.connect_ms = rq->timeout_ms + 1000; /* our own timer is the one that counts */
    options.limits.max_headers = HTTP_MAX_HEADERS;
    struct http_client *c = NEW(struct http_client);
    rc = http_pool_new(loop, rq->addr, &options, &c->pool, err);
    if (rc < 0) {
        free(c);
        return rc;
    }
    c->cb = cb;
    c->arg = arg;
    c->timeout_ms = rq->timeout_ms;
    c->open = 2;
    strbuf_init(&c->body, rq->max_body);
    timer_init(&c->timer, loop, on_timeout, c);
    rc = http_call_start(c->pool, &c->call, &head, &call_events, c, err);
    if (rc < 0) {
        over(c);
        return rc;
    }
    if (rq->body.len > 0) {
        http_call_write(&c->call, rq->body);
    }
    http_call_end(&c->call);
    timer_start(&c->timer, rq->timeout_ms);
    if (out_client != NULL) {
        *out_client = c;
    }
    return 0;
}

void http_client_cancel(struct http_client *client)
{
    if (client != NULL && !client->over) {
        over(client);
    }
}
