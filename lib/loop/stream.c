// SPDX-License-Identifier: Apache-2.0
/*
 * Streams.
 *
 * States: INIT → (connect) CONNECTING → OPEN → CLOSING → CLOSED; accept and open_fd go from INIT
 * to OPEN. `broken` is a mark beside them: the socket is unusable and on_error is due or given.
 *
 * Writing: while nothing is queued, uv_try_write goes straight to the kernel. What is left is
 * copied into one chunk that libuv sends (in flight); later bytes gather in a second chunk
 * (waiting), which follows when the first has gone. So there are at most two chunks, however
 * small the writes (a third only at a shutdown, after which none comes).
 *
 * Failures: a failed read or write stores its error, stops reading, and gives on_error from a task
 * on the next turn, never from inside a call of the owner. A failed connect goes to its callback.
 * Close: libuv completes connect, shutdown and chunks with UV_ECANCELED before its close callback;
 * there the rest is freed and the owner's callback is the last act.
 */
#include "loop/stream.h"

#include <errno.h>
#include <limits.h>

#include "base/mem.h"
#include "loop/stream_layer.h"
#include "loop/stream_open.h"

#define QUEUE_MAX_DEFAULT (1u << 20)

struct stream_chunk {
    uv_write_t req;
    struct stream *s;
    size_t len;
    size_t cap;
    char bytes[];
};

struct stream_request {
    union {
        uv_connect_t connect;
        uv_shutdown_t shutdown;
        struct loop_task connected; /* to an abstract address: libuv cannot */
    } uv;
    struct stream *s;
    stream_done_cb cb;
};

static void run_later(struct loop_task *task);

void stream_init(struct stream *s, struct loop *loop, const struct stream_events *events,
                 void *data)
{
    *s = (struct stream){.loop = loop,
                         .events = events,
                         .data = data,
                         .queue_max = QUEUE_MAX_DEFAULT,
                         .state = STREAM_INIT};
    loop_task_init(&s->later, run_later, s);
}

void stream_set_events(struct stream *s, const struct stream_events *events, void *data)
{
    s->events = events;
    s->data = data;
}

void stream_set_queue_max(struct stream *s, size_t max_bytes)
{
    s->queue_max = max_bytes;
}

bool stream_is_open(const struct stream *s)
{
    return s->state == STREAM_OPEN && !s->broken;
}

bool stream_is_closing(const struct stream *s)
{
    return s->state == STREAM_CLOSING || s->state == STREAM_CLOSED;
}

/* --- breaking ----------------------------------------------------------------------------------
 */

static void update_reading(struct stream *s);

/* Stores the reason and gives it to the owner on the next turn; the first reason counts. */
static void stream_break(struct stream *s, const struct error *err)
{
    if (s->broken || stream_is_closing(s)) {
        return;
    }
    s->broken = true;
    s->fail = xmalloc(sizeof(*s->fail));
    *s->fail = *err;
    update_reading(s);
    loop_task_post(s->loop, &s->later);
}

static void break_uv(struct stream *s, int uv_code, const char *what)
{
    struct error err;
    error_from_uv(&err, uv_code, "%s", what);
    stream_break(s, &err);
}

static void run_later(struct loop_task *task)
{
    struct stream *s = task->data;
    if (s->state == STREAM_CLOSING) {
        /* There was no handle to close. */
        stream_finish_close(s);
    } else if (s->broken) {
        struct error err = *s->fail;
        if (s->events->on_error != NULL) {
            s->events->on_error(s, &err);
        }
    } else if (s->layer != NULL && s->state == STREAM_OPEN) {
        struct error err;
        if (s->layer->ops->proceed(s->layer, &err) < 0) {
            stream_break(s, &err);
        }
    }
}

/* --- reading -----------------------------------------------------------------------------------
 */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct stream *s = handle->data;
    /* libuv calls the read callback next, whatever happens here: nothing may stop it now. */
    s->in_alloc = true;
    struct stream_buffer b =
        s->layer != NULL ? s->layer->ops->buffer(s->layer) : s->events->on_buffer(s);
    s->in_alloc = false;
    if (s->layer == NULL && !s->reading) {
        b.len = 0;
    }
    *buf = uv_buf_init(b.ptr, b.len > UINT_MAX ? UINT_MAX : (unsigned)b.len);
}

static void give_end(struct stream *s)
{
    s->ended = true;
    update_reading(s);
    if (s->events->on_end != NULL) {
        s->events->on_end(s);
    }
}

static void on_end_of_file(struct stream *s)
{
    struct error err;
    s->raw_ended = true;
    update_reading(s);
    if (s->layer == NULL) {
        give_end(s);
    } else if (!s->ended && s->layer->ops->ended(s->layer, &err) < 0) {
        stream_break(s, &err);
    }
}

static void on_read(uv_stream_t *handle, ssize_t n, const uv_buf_t *buf)
{
    struct stream *s = handle->data;
    if (stream_is_closing(s) || n == 0) {
        return;
    }
    if (n > 0 && s->layer == NULL) {
        s->events->on_read(s, buf->base, (size_t)n);
    } else if (n > 0) {
        struct error err;
        if (s->layer->ops->received(s->layer, (size_t)n, &err) < 0) {
            stream_break(s, &err);
        }
    } else if (n == UV_EOF) {
        on_end_of_file(s);
    } else if (n == UV_ENOBUFS && s->layer == NULL) {
        s->reading = false;
        update_reading(s);
    } else {
        break_uv(s, (int)n, "read");
    }
}

/* Makes libuv read exactly when somebody wants bytes. */
static void update_reading(struct stream *s)
{
    if (s->in_alloc) {
        return;
    }
    bool wanted = s->state == STREAM_OPEN && !s->broken && !s->raw_ended &&
                  ((s->reading && !s->ended) || (s->layer != NULL && s->layer->needs_bytes));
    if (wanted && !s->uv_reading) {
        int rc = uv_read_start(&s->uv.stream, on_alloc, on_read);
        if (rc < 0) {
            break_uv(s, rc, "start to read");
            return;
        }
        s->uv_reading = true;
    } else if (!wanted && s->uv_reading) {
        s->uv_reading = false;
        uv_read_stop(&s->uv.stream);
    }
}

void stream_read_start(struct stream *s)
{
    REQUIRE(s->events->on_buffer != NULL && s->events->on_read != NULL);
    if (s->reading || stream_is_closing(s)) {
        return;
    }
    s->reading = true;
    update_reading(s);
    if (s->layer != NULL && s->state == STREAM_OPEN && !s->broken) {
        loop_task_post(s->loop, &s->later); /* the layer may have bytes already */
    }
}

void stream_read_stop(struct stream *s)
{
    if (s->reading) {
        s->reading = false;
        update_reading(s);
    }
}

/* --- writing -----------------------------------------------------------------------------------
 */

static size_t iov_total(const struct iovec *iov, unsigned count)
{
    size_t total = 0;
    for (unsigned i = 0; i < count; i++) {
        total += iov[i].iov_len;
    }
    return total;
}

/* Appends the pieces, without their first `skip` bytes, to the waiting chunk. */
static void chunk_append(struct stream *s, const struct iovec *iov, unsigned count, size_t skip)
{
    struct stream_chunk *c = s->waiting;
    size_t more = iov_total(iov, count) - skip;
    if (c == NULL || c->cap - c->len < more) {
        size_t len = c == NULL ? 0 : c->len;
        size_t cap = c == NULL ? more : c->cap * 2 > len + more ? c->cap * 2 : len + more;
        c = xrealloc(c, sizeof(*c) + cap);
        c->len = len;
        c->cap = cap;
        s->waiting = c;
    }
    for (unsigned i = 0; i < count; i++) {
        size_t cut = skip < iov[i].iov_len ? skip : iov[i].iov_len;
        skip -= cut;
        size_t n = iov[i].iov_len - cut;
        if (n > 0) {
            memcpy(c->bytes + c->len, (const char *)iov[i].iov_base + cut, n);
            c->len += n;
        }
    }
    s->queued += more;
}

static void on_written(uv_write_t *req, int status);

/* Hands the waiting chunk to libuv. 0 or a libuv code. */
static int send_waiting(struct stream *s)
{
    struct stream_chunk *c = s->waiting;
    s->waiting = NULL;
    c->s = s;
    uv_buf_t buf = uv_buf_init(c->bytes, (unsigned)c->len);
    int rc = uv_write(&c->req, &s->uv.stream, &buf, 1, on_written);
    if (rc < 0) {
        s->queued -= c->len;
        free(c);
        return rc;
    }
    s->in_flight++;
    return 0;
}

static void give_drain(struct stream *s)
{
    if (stream_queued_bytes(s) == 0 && stream_is_open(s) && !s->shut &&
        s->events->on_drain != NULL) {
        s->events->on_drain(s);
    }
}

static void on_written(uv_write_t *req, int status)
{
    struct stream_chunk *c = CONTAINER_OF(req, struct stream_chunk, req);
    struct stream *s = c->s;
    s->queued -= c->len;
    s->in_flight--;
    free(c);
    if (stream_is_closing(s) || s->broken) {
        return;
    }
    if (status == 0 && s->in_flight == 0 && s->waiting != NULL) {
        status = send_waiting(s);
    }
    if (status < 0) {
        break_uv(s, status, "write");
    } else {
        give_drain(s);
    }
}

static int fail_write(struct stream *s, int uv_code, struct error *err)
{
    struct error why;
    error_from_uv(&why, uv_code, "write");
    stream_break(s, &why);
    return error_copy(err, &why);
}

/* Sends at once what the kernel takes and queues the rest; limits were looked at before. */
static int send_pieces(struct stream *s, const struct iovec *iov, unsigned count, struct error *err)
{
    size_t total = iov_total(iov, count);
    size_t sent = 0;
    if (total == 0) {
        return 0;
    }
    if (s->queued == 0 && s->state == STREAM_OPEN) {
        uv_buf_t bufs[STREAM_IOV_MAX];
        for (unsigned i = 0; i < count; i++) {
            bufs[i] = uv_buf_init(iov[i].iov_base, (unsigned)iov[i].iov_len);
        }
        int n = uv_try_write(&s->uv.stream, bufs, count);
        if (n < 0 && n != UV_EAGAIN) {
            return fail_write(s, n, err);
        }
        sent = n < 0 ? 0 : (size_t)n;
    }
    if (sent < total) {
        chunk_append(s, iov, count, sent);
        if (s->in_flight == 0) {
            int rc = send_waiting(s);
            if (rc < 0) {
                return fail_write(s, rc, err);
            }
        }
    }
    return 0;
}

int stream_write(struct stream *s, const struct iovec *iov, unsigned count, struct error *err)
{
    REQUIRE(count <= STREAM_IOV_MAX);
    if ((s->state != STREAM_OPEN && s->state != STREAM_CONNECTING) || s->shut) {
        return error_set(err, ERR_CLOSED, "write: the stream is not open");
    }
    if (s->broken) {
        return error_copy(err, s->fail);
    }
    size_t queued = stream_queued_bytes(s);
    if (queued > s->queue_max || iov_total(iov, count) > s->queue_max - queued) {
        return error_set(err, ERR_OVERLOAD, "write: %zu bytes are queued, at most %zu may be",
                         queued, s->queue_max);
    }
    if (s->layer != NULL) {
        struct error why;
        int rc = s->layer->ops->write(s->layer, iov, count, &why);
        if (rc < 0) {
            stream_break(s, &why);
            return error_copy(err, &why);
        }
        return 0;
    }
    return send_pieces(s, iov, count, err);
}

int stream_write_bytes(struct stream *s, const void *bytes, size_t len, struct error *err)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
    return stream_write(s, &iov, 1, err);
}

size_t stream_queued_bytes(const struct stream *s)
{
    return s->queued + (s->layer != NULL ? s->layer->queued : 0);
}

/* --- connecting and opening ---------------------------------------------------------------------
 */

/* The handle is open and connected; accept, open_fd and connect come here. */
void stream_opened(struct stream *s)
{
    s->state = STREAM_OPEN;
    update_reading(s);
    if (s->layer != NULL) {
        loop_task_post(s->loop, &s->later);
    }
}

static void connect_done(struct stream_request *r, int status)
{
    struct stream *s = r->s;
    stream_done_cb cb = r->cb;
    struct error err;
    s->connect = NULL;
    free(r);
    if (status == 0 && stream_is_closing(s)) {
        status = UV_ECANCELED;
    }
    if (status == 0) {
        stream_opened(s);
        cb(s, NULL);
    } else {
        if (!stream_is_closing(s)) {
            s->state = STREAM_FAILED;
        }
        error_from_uv(&err, status, "connect");
        cb(s, &err);
    }
}

static void on_connected(uv_connect_t *req, int status)
{
    connect_done(CONTAINER_OF(req, struct stream_request, uv.connect), status);
}

static void on_connected_abstract(struct loop_task *task)
{
    connect_done(CONTAINER_OF(task, struct stream_request, uv.connected), 0);
}

/* A connect to a unix socket is over at once; its callback comes on the next turn. */
static int connect_abstract(struct stream_request *r, const struct addr *addr)
{
    struct stream *s = r->s;
    CLEANUP(cleanup_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, &addr->u.any, addr->len) < 0) {
        return uv_translate_sys_error(errno);
    }
    int rc = uv_pipe_open(&s->uv.pipe, fd);
    if (rc == 0) {
        fd = -1;
        s->abstract = true;
        loop_task_init(&r->uv.connected, on_connected_abstract, NULL);
        loop_task_post(s->loop, &r->uv.connected);
    }
    return rc;
}

void stream_init_handle(struct stream *s, bool unix_socket)
{
    REQUIRE(s->state == STREAM_INIT);
    s->unix_socket = unix_socket;
    /* Neither can fail: no system call is made without a descriptor. */
    if (unix_socket) {
        uv_pipe_init(&s->loop->uv, &s->uv.pipe, 0);
    } else {
        uv_tcp_init(&s->loop->uv, &s->uv.tcp);
    }
    s->uv.handle.data = s;
    s->state = STREAM_FAILED; /* until it is connected */
}

int stream_connect(struct stream *s, const struct addr *addr, stream_done_cb cb, struct error *err)
{
    stream_init_handle(s, addr_is_unix(addr));
    struct stream_request *r = NEW(struct stream_request);
    r->s = s;
    r->cb = cb;
    int rc = 0;
    if (addr_is_abstract(addr)) {
        rc = connect_abstract(r, addr);
    } else if (s->unix_socket) {
        uv_pipe_connect(&r->uv.connect, &s->uv.pipe, addr->u.un.sun_path, on_connected);
    } else {
        uv_tcp_nodelay(&s->uv.tcp, 1);
        rc = uv_tcp_connect(&r->uv.connect, &s->uv.tcp, &addr->u.any, on_connected);
    }
    if (rc < 0) {
        free(r);
        return error_from_uv(err, rc, "connect");
    }
    s->connect = r;
    s->state = STREAM_CONNECTING;
    return 0;
}

int stream_open_fd(struct stream *s, int fd, struct error *err)
{
    struct addr own = {.len = sizeof(own.u)};
    if (getsockname(fd, &own.u.any, &own.len) < 0) {
        return error_from_errno(err, errno, "descriptor %d", fd);
    }
    stream_init_handle(s, addr_is_unix(&own));
    int rc = s->unix_socket ? uv_pipe_open(&s->uv.pipe, fd) : uv_tcp_open(&s->uv.tcp, fd);
    if (rc == 0 && !s->unix_socket) {
        uv_tcp_nodelay(&s->uv.tcp, 1);
    }
    if (rc < 0) {
        return error_from_uv(err, rc, "open descriptor %d", fd);
    }
    stream_opened(s);
    return 0;
}

/* --- ending -------------------------------------------------------------------------------------
 */

static void on_shut(uv_shutdown_t *req, int status)
{
    struct stream_request *r = CONTAINER_OF(req, struct stream_request, uv.shutdown);
    struct stream *s = r->s;
    stream_done_cb cb = r->cb;
    struct error err;
    s->finish = NULL;
    free(r);
    if (cb == NULL) {
        return;
    }
    if (status == 0) {
        cb(s, NULL);
    } else {
        error_from_uv(&err, status, "shut down");
        cb(s, &err);
    }
}

/* The last bytes are with libuv or the kernel: ask for the end of file behind them. */
static int shut_socket(struct stream *s)
{
    int rc = s->waiting != NULL ? send_waiting(s) : 0;
    return rc < 0 ? rc : uv_shutdown(&s->finish->uv.shutdown, &s->uv.stream, on_shut);
}

int stream_shutdown(struct stream *s, stream_done_cb cb, struct error *err)
{
    if (!stream_is_open(s) || s->shut) {
        return error_set(err, ERR_CLOSED, "shut down: the stream is not open");
    }
    struct error why;
    int later = s->layer != NULL ? s->layer->ops->shutdown(s->layer, &why) : 0;
    if (later < 0) {
        stream_break(s, &why);
        return error_copy(err, &why);
    }
    s->finish = NEW(struct stream_request);
    s->finish->s = s;
    s->finish->cb = cb;
    s->shut = true;
    int rc = later ? 0 : shut_socket(s);
    if (rc < 0) {
        free(s->finish);
        s->finish = NULL;
        return error_from_uv(err, rc, "shut down");
    }
    return 0;
}

/* Everything of libuv is closed: free what is left; the owner's callback is the last act. */
void stream_finish_close(struct stream *s)
{
    loop_task_cancel(&s->later);
    struct stream_request *r = s->finish; /* one that never reached libuv */
    s->finish = NULL;
    free(s->waiting);
    s->waiting = NULL;
    free(s->fail);
    s->fail = NULL;
    if (s->layer != NULL) {
        s->layer->ops->destroy(s->layer);
        s->layer = NULL;
    }
    s->queued = 0;
    s->state = STREAM_CLOSED;
    stream_close_cb close_cb = s->close_cb;
    if (r != NULL) {
        stream_done_cb cb = r->cb;
        free(r);
        if (cb != NULL) {
            struct error err;
            error_set(&err, ERR_CANCELED, "shut down: the stream was closed");
            cb(s, &err);
        }
    }
    if (close_cb != NULL) {
        close_cb(s);
    }
}

static void on_uv_closed(uv_handle_t *handle)
{
    struct stream *s = handle->data;
    if (s->connect != NULL && s->abstract) {
        loop_task_cancel(&s->connect->uv.connected);
        connect_done(s->connect, UV_ECANCELED);
    }
    stream_finish_close(s);
}

static void close_how(struct stream *s, stream_close_cb cb, bool reset)
{
    if (stream_is_closing(s)) {
        return;
    }
    REQUIRE(!s->in_alloc);
    bool has_handle = s->state != STREAM_INIT;
    loop_task_cancel(&s->later);
    s->state = STREAM_CLOSING;
    s->close_cb = cb;
    if (!has_handle) {
        loop_task_post(s->loop, &s->later);
        return;
    }
    update_reading(s);
    if (!reset || s->unix_socket || uv_tcp_close_reset(&s->uv.tcp, on_uv_closed) < 0) {
        uv_close(&s->uv.handle, on_uv_closed);
    }
}

void stream_close(struct stream *s, stream_close_cb cb)
{
    close_how(s, cb, false);
}

void stream_reset(struct stream *s, stream_close_cb cb)
{
    close_how(s, cb, true);
}

/* --- layers -------------------------------------------------------------------------------------
 */

void stream_layer_attach(struct stream *s, struct stream_layer *layer)
{
    REQUIRE(s->layer == NULL && !stream_is_closing(s));
    s->layer = layer;
    layer->s = s;
    update_reading(s);
    if (s->state == STREAM_OPEN) {
        loop_task_post(s->loop, &s->later);
    }
}

int stream_layer_send(struct stream *s, const struct iovec *iov, unsigned count, struct error *err)
{
    return send_pieces(s, iov, count, err);
}

struct stream_buffer stream_layer_want(struct stream *s)
{
    if (!s->reading || !stream_is_open(s) || s->ended) {
        return (struct stream_buffer){NULL, 0};
    }
    struct stream_buffer b = s->events->on_buffer(s);
    if (b.len == 0) {
        stream_read_stop(s);
    }
    return b;
}

void stream_layer_give(struct stream *s, char *bytes, size_t n)
{
    s->events->on_read(s, bytes, n);
}

void stream_layer_end(struct stream *s)
{
    if (!s->ended && stream_is_open(s)) {
        give_end(s);
    }
}

void stream_layer_changed(struct stream *s)
{
    update_reading(s);
}

void stream_layer_drained(struct stream *s)
{
    give_drain(s);
}

void stream_layer_shut(struct stream *s)
{
    int rc = s->finish == NULL ? 0 : shut_socket(s);
    if (rc < 0) {
        break_uv(s, rc, "shut down");
    }
}

bool stream_is_secure(const struct stream *s)
{
    return s->layer != NULL;
}

struct slice stream_alpn(const struct stream *s)
{
    return s->layer == NULL ? SLICE_EMPTY : s->layer->ops->alpn(s->layer);
}
