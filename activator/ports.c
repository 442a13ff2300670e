// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: one socket alone takes the port for itself. Of several, each says SO_REUSEPORT; a socket
 * without it is bound first and closed again, because a group would also join another process's.
 *
 * Failure modes: every failure names the address, and leaves nothing open.
 */
#include "activator/ports.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "loop/addr.h"

#define LISTEN_BACKLOG 4096

static int bind_one(const struct addr *addr, bool shared, int *out_fd)
{
    int on = 1;
    CLEANUP(cleanup_close)
    int fd = socket(addr->u.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0) ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
        bind(fd, &addr->u.any, addr->len) < 0) {
        return -1;
    }
    *out_fd = fd;
    fd = -1;
    return 0;
}

static int own_addr(int fd, struct addr *out)
{
    struct addr own = {.len = sizeof(own.u)};
    if (getsockname(fd, &own.u.any, &own.len) < 0) {
        return -1;
    }
    *out = own;
    return 0;
}

static int bind_all(struct addr *addr, unsigned count, int *fds)
{
    bool shared = count > 1;
    if (shared && addr_port(addr) != 0) {
        CLEANUP(cleanup_close) int alone = -1;
        if (bind_one(addr, false, &alone) < 0) {
            return -1;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        if (bind_one(addr, shared, &fds[i]) < 0 || own_addr(fds[i], addr) < 0) {
            return -1;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        if (listen(fds[i], LISTEN_BACKLOG) < 0) {
            return -1;
        }
    }
    return 0;
}

int ports_bind(const char *text, unsigned count, int *fds, struct error *err)
{
    struct addr addr;
    for (unsigned i = 0; i < count; i++) {
        fds[i] = -1;
    }
    if (text == NULL || text[0] == '\0') {
        return 0;
    }
    int rc = addr_parse(slice_str(text), &addr, err);
    if (rc < 0) {
        return rc;
    }
    if (addr_is_unix(&addr)) {
        return count == 1 ? 0
                          : error_set(err, ERR_INVALID,
                                      "listen on %s: several workers need an IP:PORT", text);
    }
    if (bind_all(&addr, count, fds) == 0) {
        return 0;
    }
    int saved = errno;
    ports_close(fds, count);
    return error_from_errno(err, saved, "listen on %s", text);
}

void ports_close(int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
            fds[i] = -1;
        }
    }
}

unsigned ports_number(int fd)
{
    struct addr own;
    return fd >= 0 && own_addr(fd, &own) == 0 ? addr_port(&own) : 0;
}
