// SPDX-License-Identifier: Apache-2.0
/*
 * Listening. The socket is made and bound by hand, because the order matters: a unix socket gets
 * its mode before it has a name, a TCP socket its options before it has a port. Then libuv takes
 * the descriptor over.
 *
 * A unix path that exists: when nobody answers a connect there, the file is left over from a
 * process that was killed, and is replaced; when somebody does, ERR_IN_USE. A path that is no
 * socket is never removed.
 * Failures before libuv has the descriptor close it; later listener_close does.
 */
#include "loop/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "loop/stream_open.h"

#define BACKLOG_DEFAULT 1024

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

static void on_uv_connection(uv_stream_t *handle, int status)
{
    struct listener *l = handle->data;
    if (status < 0) {
        LOG_DEBUG("a connection could not be accepted", LOG_STR("error", uv_strerror(status)));
        return;
    }
    l->on_connection(l);
}

/* libuv takes the descriptor and listens. */
static int open_handle(struct listener *l, int fd, struct error *err)
{
    char text[ADDR_TEXT_MAX];
    int rc;
    if (l->unix_socket) {
        uv_pipe_init(&l->loop->uv, &l->uv.pipe, 0);
        rc = uv_pipe_open(&l->uv.pipe, fd);
    } else {
        uv_tcp_init(&l->loop->uv, &l->uv.tcp);
        rc = uv_tcp_open(&l->uv.tcp, fd);
    }
    l->open = true;
    l->uv.handle.data = l;
    addr_format(&l->addr, text, sizeof(text));
    if (rc < 0) {
        close(fd);
        return error_from_uv(err, rc, "listen on %s", text);
    }
    rc = uv_listen(&l->uv.stream, l->opt.backlog == 0 ? BACKLOG_DEFAULT : l->opt.backlog,
                   on_uv_connection);
    return rc < 0 ? error_from_uv(err, rc, "listen on %s", text) : 0;
}

static void on_never_open(struct loop_task *task)
{
    struct listener *l = task->data;
    if (l->close_cb != NULL) {
        l->close_cb(l);
    }
}

int listener_start(struct listener *l, struct loop *loop, const struct addr *addr,
                   const struct listen_options *opt, listener_cb on_connection, void *data,
                   struct error *err)
{
    *l = (struct listener){.loop = loop, .on_connection = on_connection, .data = data};
    loop_task_init(&l->closed, on_never_open, l);
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
    return open_handle(l, fd, err);
}

int listener_accept(struct listener *l, struct stream *s, const struct stream_events *events,
                    void *data, struct error *err)
{
    stream_init(s, l->loop, events, data);
    if (!l->open || l->closing) {
        return error_set(err, ERR_CLOSED, "accept: the listener is closed");
    }
    stream_init_handle(s, l->unix_socket);
    int rc = uv_accept(&l->uv.stream, &s->uv.stream);
    if (rc == UV_EAGAIN) {
        return error_set(err, ERR_UNAVAILABLE, "accept: no connection is waiting");
    }
    if (rc < 0) {
        return error_from_uv(err, rc, "accept");
    }
    stream_opened(s);
    return l->opt.secure == NULL ? 0 : l->opt.secure(l->opt.secure_data, s, err);
}

static void free_refused(struct stream *s)
{
    free(s);
}

void listener_refuse(struct listener *l)
{
    struct stream *s = NEW(struct stream);
    static const struct stream_events none = {.on_error = NULL};
    stream_init(s, l->loop, &none, NULL);
    if (l->open && !l->closing) {
        stream_init_handle(s, l->unix_socket);
        if (uv_accept(&l->uv.stream, &s->uv.stream) == 0) {
            stream_opened(s);
        }
    }
    stream_reset(s, free_refused);
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
    uv_os_fd_t fd;
    return l->open && uv_fileno(&l->uv.handle, &fd) == 0 ? fd : -1;
}

static void on_uv_closed(uv_handle_t *handle)
{
    struct listener *l = handle->data;
    l->open = false;
    if (l->close_cb != NULL) {
        l->close_cb(l);
    }
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
    if (l->open) {
        uv_close(&l->uv.handle, on_uv_closed);
    } else {
        loop_task_post(l->loop, &l->closed);
    }
}
