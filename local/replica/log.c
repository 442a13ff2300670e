// SPDX-License-Identifier: Apache-2.0
//
// Bounded output files. A write that would pass the limit renames the file to `.1` (replacing the
// older one) and starts again, so a replica's output never takes more than twice the limit. A write
// that fails (full disk) is dropped and counted: the function must never block on its own log.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "local/replica/replica.h"

int replica_log_open(struct replica_log *log, const char *path, uint64_t max_bytes)
{
    struct stat st;

    *log = (struct replica_log){.path = path, .max_bytes = max_bytes, .fd = -1};
    log->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log->fd < 0) {
        return -errno;
    }
    log->size_bytes = fstat(log->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    return 0;
}

static void log_rotate(struct replica_log *log)
{
    char old[4096];

    if ((size_t)snprintf(old, sizeof old, "%s.1", log->path) >= sizeof old) {
        return;
    }
    int fd = -1;
    if (rename(log->path, old) == 0) {
        fd = open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    }
    if (fd < 0) { // keep the bound even so
        if (ftruncate(log->fd, 0) == 0) {
            log->size_bytes = 0;
        }
        return;
    }
    close(log->fd);
    log->fd = fd;
    log->size_bytes = 0;
}

void replica_log_end_line(struct replica_log *log)
{
    if (log->pending > 0) {
        memcpy(log->last_line, log->partial, log->pending);
        log->last_line[log->pending] = '\0';
    }
    log->pending = 0;
}

void replica_log_forget(struct replica_log *log)
{
    log->pending = 0;
    log->last_line[0] = '\0';
}

// Remembers the newest non-empty line, for the message of an exit.
static void last_line_feed(struct replica_log *log, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = data[i];
        if (c == '\n') {
            replica_log_end_line(log);
        } else if (log->pending < sizeof log->partial - 1 && c != '\r') {
            log->partial[log->pending++] = c;
        }
    }
}

void replica_log_write(struct replica_log *log, const char *data, size_t len)
{
    // Only the tail of a large piece can hold the newest line.
    size_t tail = len > 4096 ? 4096 : len;
    log->pending = len > 4096 ? 0 : log->pending;
    last_line_feed(log, data + (len - tail), tail);
    if (log->size_bytes + len > log->max_bytes && log->size_bytes > 0) {
        log_rotate(log);
    }
    ssize_t n = write(log->fd, data, len);
    log->size_bytes += n > 0 ? (uint64_t)n : 0;
    log->dropped_bytes += n < 0 ? len : len - (size_t)n;
}
