// SPDX-License-Identifier: Apache-2.0
#include "fault.h"

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

WRAP(uv_tcp_connect,
     (uv_connect_t * req, uv_tcp_t *h, const struct sockaddr *addr, uv_connect_cb cb),
     (req, h, addr, cb))
WRAP(uv_tcp_open, (uv_tcp_t * h, uv_os_sock_t fd), (h, fd))
WRAP(uv_pipe_open, (uv_pipe_t * h, uv_file fd), (h, fd))
WRAP(uv_listen, (uv_stream_t * h, int backlog, uv_connection_cb cb), (h, backlog, cb))
WRAP(uv_read_start, (uv_stream_t * h, uv_alloc_cb alloc_cb, uv_read_cb read_cb),
     (h, alloc_cb, read_cb))
WRAP(uv_write,
     (uv_write_t * req, uv_stream_t *h, const uv_buf_t bufs[], unsigned n, uv_write_cb cb),
     (req, h, bufs, n, cb))
WRAP(uv_try_write, (uv_stream_t * h, const uv_buf_t bufs[], unsigned n), (h, bufs, n))
WRAP(uv_shutdown, (uv_shutdown_t * req, uv_stream_t *h, uv_shutdown_cb cb), (req, h, cb))
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

/* A uv_accept that fails has used up the waiting connection all the same. */
int __real_uv_accept(uv_stream_t *server, uv_stream_t *client);
int __wrap_uv_accept(uv_stream_t *server, uv_stream_t *client);
int __wrap_uv_accept(uv_stream_t *server, uv_stream_t *client)
{
    int rc = fault_next();
    int real = __real_uv_accept(server, client);
    return rc != 0 ? rc : real;
}
