// SPDX-License-Identifier: Apache-2.0
/*
 * How a stream gets its descriptor, and gives it up.
 *
 * Happy path: connect, or take one that is connected; stream.c does the rest. Close: the descriptor
 * goes at once; a task gives ERR_CANCELED to a connect or shutdown that is not completed, frees the
 * rest, and the owner's callback is the last act. Failures: a connect that cannot be begun leaves
 * the stream FAILED; one that fails later goes to its callback.
 */
#include "loop/stream_open.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/mem.h"
#include "loop/stream_layer.h"

int stream_connect(struct stream *s, const struct addr *addr, stream_done_cb cb, struct error *err)
{
    int on = 1;
    REQUIRE(s->state == STREAM_INIT);
    s->unix_socket = addr_is_unix(addr);
    s->state = STREAM_FAILED; /* until it connects */
    CLEANUP(cleanup_close)
    int fd = socket(addr->u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return error_from_uv(err, -errno, "connect");
    }
    if (!s->unix_socket) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    int rc = connect(fd, &addr->u.any, addr->len) < 0 ? errno : 0;
    bool pending = rc == EINPROGRESS || rc == EINTR;
    int failed = loop_io_add(s->loop, &s->io, fd, pending, stream_on_ready, err);
    if (failed < 0) {
        return failed;
    }
    fd = -1;
    s->write_watched = pending;
    s->state = STREAM_CONNECTING;
    s->done = cb;
    s->done_wanted = true;
    if (!pending) { /* over at once; told on the next turn */
        s->done_rc = rc;
        s->done_due = true;
        loop_task_post(s->loop, &s->later);
    }
    return 0;
}

int stream_take_fd(struct stream *s, int fd, bool unix_socket, struct error *err)
{
    REQUIRE(s->state == STREAM_INIT);
    s->unix_socket = unix_socket;
    int rc = loop_io_add(s->loop, &s->io, fd, false, stream_on_ready, err);
    if (rc < 0) {
        s->state = STREAM_FAILED;
        return rc;
    }
    stream_opened(s);
    return 0;
}

int stream_open_fd(struct stream *s, int fd, struct error *err)
{
    struct addr own = {.len = sizeof(own.u)};
    int on = 1;
    int flags = fcntl(fd, F_GETFL);
    if (getsockname(fd, &own.u.any, &own.len) < 0 || flags < 0 ||
        fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        return error_from_errno(err, errno, "descriptor %d", fd);
    }
    if (!addr_is_unix(&own)) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    return stream_take_fd(s, fd, addr_is_unix(&own), err);
}

/* --- closing
 * ------------------------------------------------------------------------------------ */

/* Frees what is left; the owner's callback is the last act. */
void stream_finish_close(struct stream *s)
{
    loop_task_cancel(&s->later);
    free(s->queue);
    s->queue = NULL;
    free(s->fail);
    s->fail = NULL;
    if (s->layer != NULL) {
        s->layer->ops->destroy(s->layer);
        s->layer = NULL;
    }
    s->state = STREAM_CLOSED;
    stream_close_cb close_cb = s->close_cb;
    stream_done_cb done = s->done;
    if (s->done_wanted && done != NULL) {
        struct error err;
        error_set(&err, ERR_CANCELED,
                  s->shut ? "shut down: the stream was closed" : "connect: the stream was closed");
        s->done = NULL;
        s->done_wanted = false;
        done(s, &err);
    }
    if (close_cb != NULL) {
        close_cb(s);
    }
}

static void close_how(struct stream *s, stream_close_cb cb, bool reset)
{
    if (stream_is_closing(s)) {
        return;
    }
    if (!reset && s->layer != NULL && stream_is_open(s) && !s->shut && s->queue == NULL) {
        (void)s->layer->ops->shutdown(s->layer, NULL); /* else the end would look like a cut */
    }
    s->state = STREAM_CLOSING;
    s->close_cb = cb;
    int fd = s->io.fd;
    if (fd >= 0) {
        loop_io_remove(s->loop, &s->io);
        if (reset && !s->unix_socket) {
            const struct linger now = {.l_onoff = 1};
            (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        }
        close(fd);
    }
    loop_task_cancel(&s->later);
    loop_task_post_last(s->loop, &s->later);
}

void stream_close(struct stream *s, stream_close_cb cb)
{
    close_how(s, cb, false);
}

void stream_reset(struct stream *s, stream_close_cb cb)
{
    close_how(s, cb, true);
}
