// SPDX-License-Identifier: Apache-2.0
/* The scripted server: one buffer per connection, requests with Content-Length only. */
#include "fake_api.h"

#include "base/mem.h"
#include "test.h"

enum { IN_MAX = 1 << 20 };

struct fake_conn {
    uv_tcp_t tcp;
    struct fake_api *api;
    size_t slot;
    size_t len;
    char in[IN_MAX];
};

struct fake_write {
    uv_write_t req;
    char *text;
};

static void conn_closed(uv_handle_t *handle)
{
    struct fake_conn *conn = handle->data;
    free(conn);
}

static void conn_close(struct fake_conn *conn)
{
    struct fake_api *api = conn->api;
    if (uv_is_closing((uv_handle_t *)&conn->tcp)) {
        return;
    }
    api->conns[conn->slot] = NULL;
    if (api->stream == conn) {
        api->stream = NULL;
    }
    uv_close((uv_handle_t *)&conn->tcp, conn_closed);
}

static void on_written(uv_write_t *req, int status)
{
    struct fake_write *w = (struct fake_write *)req;
    (void)status;
    free(w->text);
    free(w);
}

static void conn_write(struct fake_conn *conn, char *text)
{
    struct fake_write *w = NEW(struct fake_write);
    w->text = text;
    uv_buf_t buf = uv_buf_init(text, (unsigned)strlen(text));
    if (uv_write(&w->req, (uv_stream_t *)&conn->tcp, &buf, 1, on_written) != 0) {
        on_written(&w->req, 0);
    }
}

static void conn_answer(struct fake_conn *conn, const struct fake_step *step)
{
    struct fake_api *api = conn->api;
    if (step->hang) {
        return;
    }
    if (step->status == 0) {
        conn_close(conn);
        return;
    }
    if (step->stream) {
        api->stream = conn;
        conn_write(conn,
                   xasprintf("HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\n", step->status));
        if (step->body != NULL) {
            fake_api_send(api, step->body);
        }
        return;
    }
    const char *body = step->body == NULL ? "" : step->body;
    conn_write(conn,
               xasprintf("HTTP/1.1 %d X\r\nContent-Type: application/json\r\n"
                         "%sContent-Length: %zu\r\n\r\n%s",
                         step->status, step->head == NULL ? "" : step->head, strlen(body), body));
    if (step->close_after) {
        conn_close(conn);
    }
}

/* Takes one request off the buffer; false when none is complete. */
static bool conn_take(struct fake_conn *conn)
{
    struct fake_api *api = conn->api;
    conn->in[conn->len] = '\0';
    char *end = strstr(conn->in, "\r\n\r\n");
    if (end == NULL) {
        return false;
    }
    size_t head = (size_t)(end - conn->in) + 4;
    const char *length = strcasestr(conn->in, "\r\nContent-Length:");
    size_t body = length == NULL || length > end ? 0 : strtoul(length + 17, NULL, 10);
    if (conn->len < head + body) {
        return false;
    }
    size_t n = api->n_requests;
    assert_true(n < FAKE_REQUESTS_MAX);
    char *line_end = strstr(conn->in, " HTTP/1.1\r\n");
    assert_non_null(line_end);
    snprintf(api->lines[n], sizeof(api->lines[n]), "%.*s", (int)(line_end - conn->in), conn->in);
    api->heads[n] = xstrndup(line_end, (size_t)(end - line_end));
    api->bodies[n] = xstrndup(conn->in + head, body);
    api->n_requests++;
    conn->len -= head + body;
    memmove(conn->in, conn->in + head + body, conn->len);
    const struct fake_step *step = n < api->n_steps ? &api->steps[n] : NULL;
    if (step == NULL ||
        (step->want != NULL && strncmp(api->lines[n], step->want, strlen(step->want)) != 0)) {
        print_message("fake API: request %zu is \"%s\", the step wants \"%s\"\n", n, api->lines[n],
                      step == NULL ? "(no more)" : step->want);
        api->unexpected = true;
        conn_close(conn);
        return false;
    }
    conn_answer(conn, step);
    return !uv_is_closing((uv_handle_t *)&conn->tcp);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct fake_conn *conn = handle->data;
    (void)suggested;
    *buf = uv_buf_init(conn->in + conn->len, (unsigned)(IN_MAX - 1 - conn->len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct fake_conn *conn = stream->data;
    (void)buf;
    if (n < 0) {
        conn_close(conn);
        return;
    }
    conn->len += (size_t)n;
    while (conn_take(conn)) {
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct fake_api *api = listener->data;
    assert_int_equal(status, 0);
    struct fake_conn *conn = NEW(struct fake_conn);
    conn->api = api;
    while (conn->slot < FAKE_CONNS_MAX && api->conns[conn->slot] != NULL) {
        conn->slot++;
    }
    assert_true(conn->slot < FAKE_CONNS_MAX);
    api->conns[conn->slot] = conn;
    api->n_accepted++;
    assert_int_equal(uv_tcp_init(&api->loop->uv, &conn->tcp), 0);
    conn->tcp.data = conn;
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&conn->tcp), 0);
    assert_int_equal(uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read), 0);
}

void fake_api_start(struct fake_api *api, struct loop *loop, const struct fake_step *steps,
                    size_t n_steps)
{
    *api = (struct fake_api){.loop = loop, .steps = steps, .n_steps = n_steps};
    struct sockaddr_in any;
    assert_int_equal(uv_ip4_addr("127.0.0.1", 0, &any), 0);
    assert_int_equal(uv_tcp_init(&loop->uv, &api->listener), 0);
    api->listener.data = api;
    assert_int_equal(uv_tcp_bind(&api->listener, (const struct sockaddr *)&any, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&api->listener, 16, on_connection), 0);
    struct sockaddr_in bound;
    int len = sizeof(bound);
    uv_tcp_getsockname(&api->listener, (struct sockaddr *)&bound, &len);
    snprintf(api->url, sizeof(api->url), "http://127.0.0.1:%u", (unsigned)ntohs(bound.sin_port));
}

void fake_api_send(struct fake_api *api, const char *text)
{
    assert_non_null(api->stream);
    conn_write(api->stream, xasprintf("%zx\r\n%s\r\n", strlen(text), text));
}

void fake_api_end(struct fake_api *api)
{
    assert_non_null(api->stream);
    conn_write(api->stream, xstrdup("0\r\n\r\n"));
    api->stream = NULL;
}

void fake_api_cut(struct fake_api *api)
{
    assert_non_null(api->stream);
    conn_close(api->stream);
}

void fake_api_close(struct fake_api *api)
{
    for (size_t i = 0; i < FAKE_CONNS_MAX; i++) {
        if (api->conns[i] != NULL) {
            conn_close(api->conns[i]);
        }
    }
    uv_close((uv_handle_t *)&api->listener, NULL);
}

void fake_api_free(struct fake_api *api)
{
    for (size_t i = 0; i < FAKE_REQUESTS_MAX; i++) {
        free(api->bodies[i]);
        free(api->heads[i]);
    }
}

static void on_tick(uv_timer_t *tick)
{
    (void)tick;
}

uv_timer_t *fake_tick_start(struct loop *loop)
{
    uv_timer_t *tick = NEW(uv_timer_t);
    uv_timer_init(&loop->uv, tick);
    uv_timer_start(tick, on_tick, 1, 1);
    return tick;
}

static void tick_closed(uv_handle_t *handle)
{
    free(handle);
}

void fake_tick_stop(uv_timer_t *tick)
{
    uv_close((uv_handle_t *)tick, tick_closed);
}
