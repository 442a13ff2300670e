// SPDX-License-Identifier: Apache-2.0
#include "fault.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <uv.h>

static struct {
    unsigned left;
    int code;
    bool fired;
} fault;

void fault_arm(unsigned n, int uv_code)
{
    fault.left = n;
    fault.code = uv_code;
    fault.fired = false;
}

bool fault_disarm(void)
{
    fault.left = 0;
    return fault.fired;
}

static int fault_next(void)
{
    if (fault.left == 0 || --fault.left > 0) {
        return 0;
    }
    fault.fired = true;
    return fault.code;
}

#define WRAP(name, params, args)                  \
    int __real_##name params;                     \
    int __wrap_##name params;                     \
    int __wrap_##name params                      \
    {                                             \
        int rc = fault_next();                    \
        return rc != 0 ? rc : __real_##name args; \
    }

/* The same for a system call: -1 and errno. */
#define WRAP_CALL(type, name, params, args) \
    type __real_##name params;              \
    type __wrap_##name params;              \
    type __wrap_##name params               \
    {                                       \
        int rc = fault_next();              \
        if (rc != 0) {                      \
            errno = -rc;                    \
            return -1;                      \
        }                                   \
        return __real_##name args;          \
    }

WRAP_CALL(int, socket, (int domain, int type, int protocol), (domain, type, protocol))
WRAP_CALL(int, connect, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len))
WRAP_CALL(int, listen, (int fd, int backlog), (fd, backlog))
WRAP_CALL(int, accept4, (int fd, struct sockaddr *addr, socklen_t *len, int flags),
          (fd, addr, len, flags))
WRAP_CALL(int, epoll_ctl, (int epoll, int how, int fd, struct epoll_event *event),
          (epoll, how, fd, event))
WRAP_CALL(ssize_t, recv, (int fd, void *bytes, size_t n, int flags), (fd, bytes, n, flags))
WRAP_CALL(ssize_t, send, (int fd, const void *bytes, size_t n, int flags), (fd, bytes, n, flags))
WRAP_CALL(ssize_t, sendmsg, (int fd, const struct msghdr *msg, int flags), (fd, msg, flags))
WRAP_CALL(int, shutdown, (int fd, int how), (fd, how))
WRAP(uv_async_init, (uv_loop_t * loop, uv_async_t *h, uv_async_cb cb), (loop, h, cb))
WRAP(uv_signal_init, (uv_loop_t * loop, uv_signal_t *h), (loop, h))
WRAP(uv_signal_start, (uv_signal_t * h, uv_signal_cb cb, int signum), (h, cb, signum))
WRAP(uv_queue_work,
     (uv_loop_t * loop, uv_work_t *req, uv_work_cb work_cb, uv_after_work_cb after_cb),
     (loop, req, work_cb, after_cb))
WRAP(uv_getaddrinfo,
     (uv_loop_t * loop, uv_getaddrinfo_t *req, uv_getaddrinfo_cb cb, const char *node,
      const char *service, const struct addrinfo *hints),
     (loop, req, cb, node, service, hints))
