// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: socket, sendto, close. A full receiver is an error that the caller may log: the message is
 * lost then, and the receiver's own time limit decides.
 */
#include "loop/notify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

int notify_send(const char *state, struct error *err)
{
    const char *path = getenv(NOTIFY_ENV);
    if (path == NULL || path[0] == '\0') {
        return 0;
    }
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len >= sizeof(un.sun_path)) {
        return error_set(err, ERR_TOO_BIG, NOTIFY_ENV "=%s: longer than %zu bytes", path,
                         sizeof(un.sun_path) - 1);
    }
    memcpy(un.sun_path, path, len);
    if (path[0] == '@') {
        un.sun_path[0] = '\0';
    }
    CLEANUP(cleanup_close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return error_from_errno(err, errno, "socket for " NOTIFY_ENV);
    }
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&un, size) < 0) {
        return error_from_errno(err, errno, "send \"%s\" to %s", state, path);
    }
    return 0;
}
