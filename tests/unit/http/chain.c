// SPDX-License-Identifier: Apache-2.0
#include "chain.h"

#include "base/mem.h"

#ifndef CHAIN_H2C
#define CHAIN_H2C 0 /* 1: HTTP/2 between the forwarder and the second server */
#endif

/* ---- back: echo ---- */

static void back_body(struct http_exchange *ex, struct slice chunk, void *arg)
{
    if (http_exchange_write(ex, chunk) == HTTP_FULL) {
        http_exchange_pause(ex);
    }
}

static void back_end(struct http_exchange *ex, void *arg)
{
    http_exchange_end(ex);
}

static void back_room(struct http_exchange *ex, void *arg)
{
    http_exchange_resume(ex);
}

static const struct http_exchange_events back_events = {
    .on_body = back_body, .on_end = back_end, .on_writable = back_room};

static void back_request(struct http_exchange *ex, void *arg)
{
    struct chain *c = arg;
    struct http_head head;
    http_head_init(&head, NULL, 0);
    head.status = 200;
    head.body = HTTP_BODY_STREAM;
    c->requests++;
    http_exchange_listen(ex, &back_events, c);
    http_exchange_start(ex, &head);
    http_exchange_resume(ex);
}

/* ---- front: forward ---- */

struct forwarded {
    struct http_forward forward;
    struct http_exchange *ex;
    struct chain *chain;
};

static void on_done(struct http_forward *f, const struct http_forward_result *r, void *arg)
{
    struct forwarded *fw = arg;
    fw->chain->dones++;
    if (!r->answered) {
        http_exchange_respond(fw->ex, 502, "text/plain", SLICE_LIT("failed\n"));
    }
    free(fw);
}

static const struct http_forward_hooks hooks = {.on_done = on_done};

static void forward(struct forwarded *fw)
{
    struct chain *c = fw->chain;
    struct error err;
    if (http_forward_start(&fw->forward, fw->ex, c->pool, &hooks, fw, &err) < 0) {
        http_exchange_respond(fw->ex, 502, NULL, SLICE_EMPTY);
        free(fw);
        return;
    }
    c->forwards++;
}

static void held_close(struct http_exchange *ex, enum http_close how, void *arg)
{
    struct forwarded *fw = arg;
    fw->chain->held = NULL;
    fw->chain->closes++;
    free(fw);
}

static const struct http_exchange_events held_events = {.on_close = held_close};

static void front_request(struct http_exchange *ex, void *arg)
{
    struct chain *c = arg;
    if (c->pool == NULL || c->closing) {
        http_exchange_respond(ex, 503, NULL, SLICE_EMPTY);
        return;
    }
    struct forwarded *fw = NEW(struct forwarded);
    fw->ex = ex;
    fw->chain = c;
    if (c->hold) {
        c->held = fw;
        http_exchange_listen(ex, &held_events, fw);
        return;
    }
    forward(fw);
}

void chain_release(struct chain *c)
{
    struct forwarded *fw = c->held;
    if (fw != NULL && !c->closing && ++c->held_turns >= 3) {
        c->held = NULL;
        http_exchange_listen(fw->ex, NULL, NULL);
        forward(fw);
    }
}

static void on_drained(void *arg)
{
    struct chain *c = arg;
    c->drained = true;
}

void chain_drain(struct chain *c)
{
    if (!c->draining) {
        c->draining = true;
        http_server_drain(c->front, on_drained, c);
    }
}

/* ---- client ---- */

static struct stream_buffer on_buffer(struct stream *s)
{
    struct chain *c = s->data;
    return (struct stream_buffer){c->buf, sizeof(c->buf)};
}

static void on_read(struct stream *s, char *bytes, size_t n)
{
    struct chain *c = s->data;
    strbuf_append(&c->answer, bytes, n);
}

static void on_end(struct stream *s)
{
    struct chain *c = s->data;
    c->client_done = true;
}

static void on_error(struct stream *s, const struct error *err)
{
    struct chain *c = s->data;
    c->client_done = true;
}

static const struct stream_events client_events = {
    .on_buffer = on_buffer, .on_read = on_read, .on_end = on_end, .on_error = on_error};

static void on_connect(struct stream *s, const struct error *err)
{
    struct chain *c = s->data;
    if (err != NULL) {
        c->client_done = true;
        return;
    }
    stream_read_start(s);
    if (stream_write_bytes(s, c->request.ptr, c->request.len, NULL) < 0) {
        c->client_done = true;
    }
}

/* ---- life ---- */

static struct http_server *make_server(struct chain *c,
                                       void (*on_request)(struct http_exchange *, void *))
{
    c->open++;
    return http_server_new(c->loop, &(struct http_server_options){.limits = http_limits_default(),
                                                                  .h2c = CHAIN_H2C,
                                                                  .on_request = on_request,
                                                                  .arg = c});
}

bool chain_start(struct chain *c, struct loop *loop, struct slice request)
{
    char text[ADDR_TEXT_MAX];
    struct addr addr;
    struct http_pool_options options = http_pool_options_default();
    *c = (struct chain){.loop = loop};
    strbuf_init(&c->answer, 16 << 20);
    strbuf_init(&c->request, 16 << 20);
    strbuf_append_slice(&c->request, request);
    options.h2c = CHAIN_H2C;
    c->back = make_server(c, back_request);
    c->front = make_server(c, front_request);
    if (http_server_listen_text(c->back, "127.0.0.1:0", NULL, NULL) < 0 ||
        http_server_listen_text(c->front, "127.0.0.1:0", NULL, NULL) < 0) {
        return false;
    }
    snprintf(text, sizeof(text), "127.0.0.1:%u", http_server_port(c->back));
    if (http_pool_new(loop, text, &options, &c->pool, NULL) < 0) {
        return false;
    }
    c->open++;
    stream_init(&c->client, loop, &client_events, c);
    stream_set_queue_max(&c->client, 32 << 20);
    c->open++;
    c->client_open = true;
    return addr_from_ip(SLICE_LIT("127.0.0.1"), http_server_port(c->front), &addr, NULL) == 0 &&
           stream_connect(&c->client, &addr, on_connect, NULL) == 0;
}

static void on_closed(void *arg)
{
    struct chain *c = arg;
    c->open--;
}

static void on_client_closed(struct stream *s)
{
    on_closed(s->data);
}

void chain_close(struct chain *c)
{
    if (c->closing) {
        return;
    }
    c->closing = true;
    http_server_close(c->front, on_closed, c);
    http_server_close(c->back, on_closed, c);
    if (c->pool != NULL) {
        http_pool_close(c->pool, on_closed, c);
    }
    if (c->client_open) {
        stream_close(&c->client, on_client_closed);
    }
}

bool chain_closed(const struct chain *c)
{
    return c->open == 0;
}

void chain_fini(struct chain *c)
{
    strbuf_fini(&c->answer);
    strbuf_fini(&c->request);
}
