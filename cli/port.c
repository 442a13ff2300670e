// SPDX-License-Identifier: Apache-2.0
//
// Bound and let go again: what would otherwise be a part's end is found out now, in words.
#include "cli/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"

int port_hold(unsigned *port, const char *flag, int *out, struct error *err)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)*port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int on = 1;
    CLEANUP(cleanup_close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return error_from_errno(err, errno, "socket");
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 1) != 0) {
        return error_set(
            err, ERR_IN_USE,
            "port %u on 127.0.0.1 cannot be used (%s): stop what listens there, or choose "
            "another with %s",
            *port, strerror(errno), flag);
    }
    getsockname(fd, (struct sockaddr *)&address, &len);
    *port = ntohs(address.sin_port);
    *out = fd;
    fd = -1;
    return 0;
}

int port_check(unsigned *port, const char *flag, struct error *err)
{
    CLEANUP(cleanup_close) int fd = -1;
    return port_hold(port, flag, &fd, err);
}
