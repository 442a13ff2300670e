// SPDX-License-Identifier: Apache-2.0
/* What can be asked about a stream's two ends. All of it comes from the kernel. */
#include <errno.h>
#include <netinet/tcp.h>

#include "loop/stream.h"
#include "loop/stream_open.h"

int stream_fd(const struct stream *s)
{
    return s->state == STREAM_OPEN ? s->io.fd : -1;
}

void stream_ack_now(const struct stream *s)
{
    int on = 1;
    if (!s->unix_socket) {
        (void)setsockopt(stream_fd(s), IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
    }
}

int stream_peer_addr(const struct stream *s, struct addr *out, struct error *err)
{
    struct addr a = {.len = sizeof(a.u)};
    if (getpeername(stream_fd(s), &a.u.any, &a.len) < 0) {
        return error_from_errno(err, errno, "address of the peer");
    }
    *out = a;
    return 0;
}

int stream_local_addr(const struct stream *s, struct addr *out, struct error *err)
{
    struct addr a = {.len = sizeof(a.u)};
    if (getsockname(stream_fd(s), &a.u.any, &a.len) < 0) {
        return error_from_errno(err, errno, "address of the near end");
    }
    *out = a;
    return 0;
}

char *stream_peer(const struct stream *s, char *buf, size_t size)
{
    struct addr a;
    if (stream_peer_addr(s, &a, NULL) < 0) {
        snprintf(buf, size, "(not connected)");
        return buf;
    }
    return addr_format(&a, buf, size);
}

char *stream_local(const struct stream *s, char *buf, size_t size)
{
    struct addr a;
    if (stream_local_addr(s, &a, NULL) < 0) {
        snprintf(buf, size, "(not connected)");
        return buf;
    }
    return addr_format(&a, buf, size);
}

int stream_peer_cred(const struct stream *s, struct ucred *out, struct error *err)
{
    socklen_t len = sizeof(*out);
    if (!s->unix_socket) {
        return error_set(err, ERR_UNSUPPORTED, "only a unix socket knows who its peer is");
    }
    if (getsockopt(stream_fd(s), SOL_SOCKET, SO_PEERCRED, out, &len) < 0) {
        return error_from_errno(err, errno, "credentials of the peer");
    }
    return 0;
}
