// SPDX-License-Identifier: Apache-2.0
/*
 * Listening. The socket is made and bound by hand, because the order matters: a unix socket gets
 * its mode before it has a name, a TCP socket its options before it has a port.
 *
 * A unix path that exists: when nobody answers a connect there, the file is left over from a
 * process that was killed, and is replaced; when somebody does, ERR_IN_USE. A path that is no
 * socket is never removed.
 * Happy path: the loop tells that connections wait, and they are taken until there are no more, a
 * bounded number in one turn. Failures: of one connection, it is passed over; for want of
 * descriptors or memory, the rest waits for a moment. Until the loop watches it, a failure closes
 * the descriptor; later listener_close does.
 */
#include "loop/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "loop/stream_open.h"

#define BACKLOG_DEFAULT 4096
#define TAKE_ALL_MAX    65536 /* no backlog is longer */
#define ACCEPT_MAX      64    /* in one turn */
#define RETRY_MS        50

static int fail(struct error *err, int errnum, const struct addr *addr)
{
    char text[ADDR_TEXT_MAX];
    return error_from_errno(err, errnum, "listen on %s", addr_format(addr, text, sizeof(text)));
}

/* Removes a socket file that nobody listens on. */
static int remove_stale(const struct addr *addr, struct error *err)
{
    const char *path = addr->u.un.sun_path;
    struct stat st;
    if (lstat(path, &st) < 0) {
        return errno == ENOENT ? 0 : fail(err, errno, addr);
    }
    if (!S_ISSOCK(st.st_mode)) {
        return error_set(err, ERR_EXISTS, "listen on unix:%s: the file there is not a socket",
                         path);
    }
    CLEANUP(cleanup_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return fail(err, errno, addr);
    }
    if (connect(fd, &addr->u.any, addr->len) == 0 || errno == EAGAIN) {
        return error_set(err, ERR_IN_USE, "listen on unix:%s: another process listens there", path);
    }
    if (errno != ECONNREFUSED && errno != ENOENT) {
        return fail(err, errno, addr);
    }
    return unlink(path) < 0 && errno != ENOENT ? fail(err, errno, addr) : 0;
}

static int set_options(int fd, const struct addr *addr, const struct listen_options *opt)
{
    int on = 1;
    if (addr_is_unix(addr)) {
        return fchmod(fd, opt->mode == 0 ? 0600 : opt->mode);
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        (opt->reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)) {
        return -1;
    }
    /* Accepted connections inherit it. */
    return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static int make_socket(const struct addr *addr, const struct listen_options *opt, int *out_fd,
                       struct error *err)
{
    if (addr_is_unix(addr) && !addr_is_abstract(addr)) {
        int rc = remove_stale(addr, err);
        if (rc < 0) {
            return rc;
        }
    }
    CLEANUP(cleanup_close)
    int fd = socket(addr->u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || set_options(fd, addr, opt) < 0 || bind(fd, &addr->u.any, addr->len) < 0) {
        return fail(err, errno, addr);
    }
    *out_fd = fd;
    fd = -1;
    return 0;
}

/* --- accepting --- */

/* Accepts one. False: there is none, or none can be had now. */
static bool accept_one(struct listener *l)
{
    int fd = accept4(l->io.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        l->waiting = fd;
        l->on_connection(l);
        return !l->closing && l->waiting < 0;
    }
    switch (errno) {
    case EAGAIN:
        l->ready = false;
        return false;
    case EINTR:
    case EPERM:
    case EPROTO:
    case ECONNABORTED:
    case ECONNRESET: /* that connection is gone already */
        return true;
    default: /* EMFILE, ENFILE, ENOBUFS, ENOMEM, or a network that is away */
        LOG_DEBUG("connections wait to be accepted", LOG_STR("error", strerrordesc_np(errno)));
        timer_start(&l->retry, RETRY_MS);
        return false;
    }
}

static void accept_all(struct listener *l)
{
    for (int i = 0; l->ready && l->waiting < 0 && !l->closing; i++) {
        if (i == ACCEPT_MAX) {
            loop_task_post(l->loop, &l->later);
            return;
        }
        if (!accept_one(l)) {
            return;
        }
    }
}

void listener_take_all(struct listener *l)
{
    l->ready = l->open;
    for (int i = 0; i < TAKE_ALL_MAX && l->ready && l->waiting < 0 && !l->closing; i++) {
        if (!accept_one(l)) {
            return;
        }
    }
}

static void on_ready(struct loop_io *io, unsigned events)
{
    struct listener *l = CONTAINER_OF(io, struct listener, io);
    l->ready = true;
    accept_all(l);
}

static void on_retry(struct timer *timer)
{
    accept_all(timer->data);
}

static void on_later(struct loop_task *task)
{
    struct listener *l = task->data;
    if (!l->closing) {
        accept_all(l);
    } else if (l->close_cb != NULL) {
        l->close_cb(l);
    }
}

/* The connection that waited is taken: go on, if this is not on_connection. */
static int take_waiting(struct listener *l)
{
    int fd = l->waiting;
    l->waiting = -1;
    if (fd >= 0) {
        loop_task_post(l->loop, &l->later);
    }
    return fd;
}

/* --- opening --- */

static int start_listening(struct listener *l, int fd, struct error *err)
{
    int on = 1;
    int rc = 0;
    if (l->opt.inherited && !l->unix_socket) { /* accepted connections inherit it */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        listen(fd, l->opt.backlog == 0 ? BACKLOG_DEFAULT : l->opt.backlog) < 0) {
        rc = fail(err, errno, &l->addr);
    }
    if (rc == 0) {
        rc = loop_io_add(l->loop, &l->io, fd, false, on_ready, err);
    }
    if (rc < 0) {
        close(fd);
        return rc;
    }
    timer_init(&l->retry, l->loop, on_retry, l);
    l->open = true;
    return 0;
}

int listener_start(struct listener *l, struct loop *loop, const struct addr *addr,
                   const struct listen_options *opt, listener_cb on_connection, void *data,
                   struct error *err)
{
    *l = (struct listener){
        .loop = loop, .on_connection = on_connection, .data = data, .waiting = -1};
    loop_io_init(&l->io);
    loop_task_init(&l->later, on_later, l);
    l->addr = *addr;
    if (opt != NULL) {
        l->opt = *opt;
    }
    int fd = l->opt.fd;
    if (!l->opt.inherited) {
        int rc = make_socket(addr, &l->opt, &fd, err);
        if (rc < 0) {
            return rc;
        }
        l->unlink_path = addr_is_unix(addr) && !addr_is_abstract(addr);
    }
    struct addr own = {.len = sizeof(own.u)};
    if (getsockname(fd, &own.u.any, &own.len) < 0) {
        return error_from_errno(err, errno, "listen on descriptor %d", fd);
    }
    l->addr = own;
    l->unix_socket = addr_is_unix(&own);
    return start_listening(l, fd, err);
}

int listener_accept(struct listener *l, struct stream *s, const struct stream_events *events,
                    void *data, struct error *err)
{
    stream_init(s, l->loop, events, data);
    if (!l->open || l->closing) {
        return error_set(err, ERR_CLOSED, "accept: the listener is closed");
    }
    int fd = take_waiting(l);
    if (fd < 0) {
        return error_set(err, ERR_UNAVAILABLE, "accept: no connection is waiting");
    }
    int rc = stream_take_fd(s, fd, l->unix_socket, err);
    if (rc < 0) {
        close(fd);
        return error_prefix(err, rc, "accept");
    }
    return l->opt.secure == NULL ? 0 : l->opt.secure(l->opt.secure_data, s, err);
}

/* Closes a connection so that its peer sees a reset. */
static void reset_fd(int fd)
{
    const struct linger now = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
}

void listener_refuse(struct listener *l)
{
    int fd = take_waiting(l);
    if (fd >= 0) {
        reset_fd(fd);
    }
}

const struct addr *listener_addr(const struct listener *l)
{
    return &l->addr;
}

char *listener_text(const struct listener *l, char *buf, size_t size)
{
    return addr_format(&l->addr, buf, size);
}

int listener_fd(const struct listener *l)
{
    return l->io.fd;
}

static void on_retry_closed(struct timer *timer)
{
    on_later(&((struct listener *)timer->data)->later);
}

void listener_close(struct listener *l, listener_cb cb)
{
    if (l->closing) {
        return;
    }
    l->closing = true;
    l->close_cb = cb;
    if (l->unlink_path) {
        unlink(l->addr.u.un.sun_path);
    }
    if (l->waiting >= 0) {
        reset_fd(l->waiting);
        l->waiting = -1;
    }
    if (!l->open) {
        loop_task_post(l->loop, &l->later);
        return;
    }
    int fd = l->io.fd;
    loop_task_cancel(&l->later);
    loop_io_remove(l->loop, &l->io);
    close(fd);
    l->open = false;
    timer_close(&l->retry, on_retry_closed);
}
