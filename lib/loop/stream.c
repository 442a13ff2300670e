// SPDX-License-Identifier: Apache-2.0
/*
 * Streams.
 *
 * States: INIT → (connect) CONNECTING → OPEN → CLOSING → CLOSED; accept and open_fd go from INIT
 * to OPEN. `broken` is a mark beside them: the socket is unusable and on_error is due or given.
 *
 * Reading: the loop tells once that bytes are there; `readable` remembers it until the kernel has
 * no more, which a read that does not fill its buffer shows as well (unless the end stands behind
 * it). So to pause and to go on is a flag, and costs no system call.
 *
 * Writing: while nothing is queued, bytes go straight to the kernel. The rest is copied into the
 * queue, one growing chunk, and follows when the loop tells that there is room. On TCP room is
 * watched from the first time that it was missing; on a unix socket, which tells of room after
 * every byte that the peer takes, only while something is queued.
 *
 * Failures: a failed read or write stores its error, stops reading, and gives on_error from a task
 * on the next turn, never from inside a call of the owner. A failed connect goes to its callback.
 *
 * How a descriptor comes and goes stands in stream_open.c.
 */
#include "loop/stream.h"

#include <errno.h>
#include <sys/epoll.h>

#include "base/mem.h"
#include "loop/stream_layer.h"
#include "loop/stream_open.h"

#define QUEUE_MAX_DEFAULT (1u << 20)
#define READS_MAX         8 /* reads of one stream in one turn, so that one does not starve others */
#define CHUNK_MIN         4096

struct stream_chunk {
    size_t pos; /* bytes before it are with the kernel */
    size_t len;
    size_t cap;
    char bytes[];
};

/* An idle connection pays for it. */
_Static_assert(sizeof(struct stream) <= 152, "struct stream has grown");

static void run_later(struct loop_task *task);

void stream_init(struct stream *s, struct loop *loop, const struct stream_events *events,
                 void *data)
{
    *s = (struct stream){.loop = loop,
                         .events = events,
                         .data = data,
                         .queue_max = QUEUE_MAX_DEFAULT,
                         .state = STREAM_INIT};
    loop_io_init(&s->io);
    loop_task_init(&s->later, run_later, s);
}

void stream_set_events(struct stream *s, const struct stream_events *events, void *data)
{
    s->events = events;
    s->data = data;
}

void stream_set_queue_max(struct stream *s, size_t max_bytes)
{
    s->queue_max = max_bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)max_bytes;
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

/* Stores the reason and gives it to the owner on the next turn; the first reason counts. */
static void stream_break(struct stream *s, const struct error *err)
{
    if (s->broken || stream_is_closing(s)) {
        return;
    }
    s->broken = true;
    s->fail = xmalloc(sizeof(*s->fail));
    *s->fail = *err;
    loop_task_post(s->loop, &s->later);
}

static void break_errno(struct stream *s, int errnum, const char *what)
{
    struct error err;
    error_from_uv(&err, -errnum, "%s", what);
    stream_break(s, &err);
}

/* --- reading -----------------------------------------------------------------------------------
 */

static bool wants_bytes(const struct stream *s)
{
    return stream_is_open(s) && !s->raw_ended &&
           ((s->reading && !s->ended) || (s->layer != NULL && s->layer->needs_bytes));
}

/* Somebody wants bytes (again): what is there already is told on the next turn. */
static void read_later(struct stream *s)
{
    if (s->readable && !s->in_read && wants_bytes(s)) {
        loop_task_post(s->loop, &s->later);
    }
}

static void give_end(struct stream *s)
{
    s->ended = true;
    if (s->events->on_end != NULL) {
        s->events->on_end(s);
    }
}

static void on_end_of_file(struct stream *s)
{
    struct error err;
    s->raw_ended = true;
    if (s->layer == NULL) {
        give_end(s);
    } else if (!s->ended && s->layer->ops->ended(s->layer, &err) < 0) {
        stream_break(s, &err);
    }
}

static void got_bytes(struct stream *s, char *bytes, size_t n)
{
    if (s->layer == NULL) {
        s->events->on_read(s, bytes, n);
        return;
    }
    struct error err;
    if (s->layer->ops->received(s->layer, n, &err) < 0) {
        stream_break(s, &err);
    }
}

/* One read. The callbacks may close the stream, but its memory stays. */
static void read_once(struct stream *s)
{
    struct stream_buffer b =
        s->layer != NULL ? s->layer->ops->buffer(s->layer) : s->events->on_buffer(s);
    if (b.len == 0) {
        s->reading = false;
        return;
    }
    ssize_t n = recv(s->io.fd, b.ptr, b.len, MSG_DONTWAIT);
    if (n > 0) {
        if ((size_t)n < b.len && !s->hung) {
            s->readable = false;
        }
        got_bytes(s, b.ptr, (size_t)n);
    } else if (n == 0) {
        on_end_of_file(s);
    } else if (errno == EAGAIN) {
        s->readable = false;
    } else if (errno != EINTR) {
        break_errno(s, errno, "read");
    }
}

static void read_on(struct stream *s)
{
    s->in_read = true;
    for (int i = 0; s->readable && wants_bytes(s); i++) {
        if (i == READS_MAX) {
            loop_task_post(s->loop, &s->later);
            break;
        }
        read_once(s);
    }
    s->in_read = false;
}

void stream_read_start(struct stream *s)
{
    REQUIRE(s->events->on_buffer != NULL && s->events->on_read != NULL);
    if (s->reading || stream_is_closing(s)) {
        return;
    }
    s->reading = true;
    read_later(s);
    if (s->layer != NULL && stream_is_open(s)) {
        loop_task_post(s->loop, &s->later); /* the layer may have bytes already */
    }
}

void stream_read_stop(struct stream *s)
{
    s->reading = false;
}

/* --- writing -----------------------------------------------------------------------------------
 */

static size_t queue_len(const struct stream *s)
{
    return s->queue == NULL ? 0 : s->queue->len - s->queue->pos;
}

size_t stream_queued_bytes(const struct stream *s)
{
    return queue_len(s) + (s->layer != NULL ? s->layer->queued : 0);
}

static size_t iov_total(const struct iovec *iov, unsigned count)
{
    size_t total = 0;
    for (unsigned i = 0; i < count; i++) {
        total += iov[i].iov_len;
    }
    return total;
}

/* The queue with room for `more` bytes at its end. */
static struct stream_chunk *queue_reserve(struct stream *s, size_t more)
{
    struct stream_chunk *c = s->queue;
    if (c == NULL) {
        size_t cap = more > CHUNK_MIN ? more : CHUNK_MIN;
        c = xmalloc(sizeof(*c) + cap);
        *c = (struct stream_chunk){.cap = cap};
    } else if (c->cap - c->len < more) {
        c->len -= c->pos;
        memmove(c->bytes, c->bytes + c->pos, c->len);
        c->pos = 0;
        if (c->cap - c->len < more) {
            c->cap = c->cap * 2 > c->len + more ? c->cap * 2 : c->len + more;
            c = xrealloc(c, sizeof(*c) + c->cap);
        }
    }
    s->queue = c;
    return c;
}

/* Appends the pieces, without their first `skip` bytes. */
static void queue_append(struct stream *s, const struct iovec *iov, unsigned count, size_t skip)
{
    struct stream_chunk *c = queue_reserve(s, iov_total(iov, count) - skip);
    for (unsigned i = 0; i < count; i++) {
        size_t cut = skip < iov[i].iov_len ? skip : iov[i].iov_len;
        skip -= cut;
        size_t n = iov[i].iov_len - cut;
        if (n > 0) {
            memcpy(c->bytes + c->len, (const char *)iov[i].iov_base + cut, n);
            c->len += n;
        }
    }
}

static int watch_room(struct stream *s, bool on, struct error *err)
{
    if (s->write_watched == on) {
        return 0;
    }
    int rc = loop_io_write(s->loop, &s->io, on, err);
    if (rc == 0) {
        s->write_watched = on;
    }
    return rc;
}

/* The last byte is with the kernel: the end of file behind it. */
static void send_fin(struct stream *s)
{
    s->fin_due = false;
    s->done_rc = shutdown(s->io.fd, SHUT_WR) < 0 ? errno : 0;
    s->done_due = true;
    loop_task_post(s->loop, &s->later);
}

static void give_drain(struct stream *s)
{
    if (stream_queued_bytes(s) == 0 && stream_is_open(s) && !s->shut &&
        s->events->on_drain != NULL) {
        s->events->on_drain(s);
    }
}

/* There is room: the queue goes on its way. */
static void write_on(struct stream *s)
{
    struct stream_chunk *c = s->queue;
    UNINITIALIZED struct error err;
    if (c == NULL || !stream_is_open(s)) {
        return;
    }
    while (c->pos < c->len) {
        ssize_t n = send(s->io.fd, c->bytes + c->pos, c->len - c->pos, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            c->pos += (size_t)n;
        } else if (errno == EAGAIN) {
            if (watch_room(s, true, &err) < 0) {
                stream_break(s, &err);
            }
            return;
        } else if (errno != EINTR) {
            break_errno(s, errno, "write");
            return;
        }
    }
    s->queue = NULL;
    free(c);
    if (s->unix_socket && watch_room(s, false, &err) < 0) {
        stream_break(s, &err);
    } else if (s->fin_due) {
        send_fin(s);
    } else {
        give_drain(s);
    }
}

static int fail_write(struct stream *s, int errnum, struct error *err)
{
    break_errno(s, errnum, "write");
    return error_copy(err, s->fail);
}

/* What the kernel takes at once, or a negative errno. */
static ssize_t send_now(struct stream *s, const struct iovec *iov, unsigned count)
{
    ssize_t n;
    do {
        if (count == 1) {
            n = send(s->io.fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        } else {
            union {
                const struct iovec *in;
                struct iovec *out;
            } u = {.in = iov}; /* msghdr has no const; nothing writes through it */
            struct msghdr msg = {.msg_iov = u.out, .msg_iovlen = count};
            n = sendmsg(s->io.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
    } while (n < 0 && errno == EINTR);
    return n >= 0 ? n : errno == EAGAIN ? 0 : -errno;
}

/* Sends at once what the kernel takes and queues the rest; limits were looked at before. */
static int send_pieces(struct stream *s, const struct iovec *iov, unsigned count, struct error *err)
{
    size_t total = iov_total(iov, count);
    ssize_t sent = 0;
    if (total == 0) {
        return 0;
    }
    bool direct = s->queue == NULL && s->state == STREAM_OPEN;
    if (direct) {
        sent = send_now(s, iov, count);
        if (sent < 0) {
            return fail_write(s, (int)-sent, err);
        }
        if ((size_t)sent == total) {
            return 0;
        }
    }
    queue_append(s, iov, count, (size_t)sent);
    struct error why;
    if (direct && watch_room(s, true, &why) < 0) {
        stream_break(s, &why);
        return error_copy(err, &why);
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
        return error_set(err, ERR_OVERLOAD, "write: %zu bytes are queued, at most %u may be",
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

/* --- what the loop tells ---------------------------------------------------------------------
 */

void stream_opened(struct stream *s)
{
    s->state = STREAM_OPEN;
    read_later(s);
    if (s->layer != NULL) {
        loop_task_post(s->loop, &s->later);
    }
}

/* The connect or the shutdown is over. */
static void give_done(struct stream *s)
{
    bool connecting = s->state == STREAM_CONNECTING;
    stream_done_cb cb = s->done;
    int rc = s->done_rc;
    s->done = NULL;
    s->done_wanted = false;
    s->done_due = false;
    if (connecting && rc == 0) {
        stream_opened(s);
    } else if (connecting) {
        s->state = STREAM_FAILED;
    }
    if (cb != NULL && rc == 0) {
        cb(s, NULL);
    } else if (cb != NULL) {
        struct error err;
        error_from_uv(&err, -rc, connecting ? "connect" : "shut down");
        cb(s, &err);
    }
    if (connecting) {
        write_on(s); /* what was written meanwhile */
    }
}

static void connect_ready(struct stream *s, unsigned events)
{
    socklen_t len = sizeof(s->done_rc);
    if (s->done_due || (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) {
        return;
    }
    if (getsockopt(s->io.fd, SOL_SOCKET, SO_ERROR, &s->done_rc, &len) < 0) {
        s->done_rc = errno;
    }
    give_done(s);
}

void stream_on_ready(struct loop_io *io, unsigned events)
{
    struct stream *s = CONTAINER_OF(io, struct stream, io);
    if ((events & ~(unsigned)EPOLLOUT) != 0) {
        s->readable = true;
    }
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        s->hung = true;
    }
    if (s->state == STREAM_CONNECTING) {
        connect_ready(s, events);
    }
    read_on(s);
    if (s->hung && !s->reading && stream_is_open(s) && !s->ended && s->events->on_hangup != NULL) {
        s->events->on_hangup(s);
    }
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) {
        write_on(s);
    }
}

static void run_later(struct loop_task *task)
{
    struct stream *s = task->data;
    if (s->state == STREAM_CLOSING) {
        stream_finish_close(s);
        return;
    }
    if (s->done_due) {
        give_done(s);
    }
    if (stream_is_closing(s) || s->told) {
        return;
    }
    if (s->broken) {
        struct error err = *s->fail;
        s->told = true;
        if (s->events->on_error != NULL) {
            s->events->on_error(s, &err);
        }
        return;
    }
    if (s->layer != NULL && s->state == STREAM_OPEN) {
        struct error err;
        if (s->layer->ops->proceed(s->layer, &err) < 0) {
            stream_break(s, &err);
        }
    }
    read_on(s);
}

/* --- ending -------------------------------------------------------------------------------------
 */

/* All that is written is in the queue or with the kernel: the end of file follows it. */
static void shut_socket(struct stream *s)
{
    s->fin_due = true;
    if (s->queue == NULL) {
        send_fin(s);
    }
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
    s->shut = true;
    s->done = cb;
    s->done_wanted = true;
    if (!later) {
        shut_socket(s);
    }
    return 0;
}

/* --- layers -------------------------------------------------------------------------------------
 */

void stream_layer_attach(struct stream *s, struct stream_layer *layer)
{
    REQUIRE(s->layer == NULL && !stream_is_closing(s));
    s->layer = layer;
    layer->s = s;
    read_later(s);
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
    read_later(s);
}

void stream_layer_drained(struct stream *s)
{
    give_drain(s);
}

void stream_layer_shut(struct stream *s)
{
    if (s->shut && stream_is_open(s)) {
        shut_socket(s);
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
