// SPDX-License-Identifier: Apache-2.0
//
// Bounded output files, in the form that container runtimes write (so that collectors of logs know
// it): "2006-01-02T15:04:05.000000000Z stdout F the line". P instead of F: the line goes on in the
// next entry. Entries of one write are never torn: one that does not fit is taken back.
//
// A write that would pass the limit renames the file to `.1` (replacing the older one) and starts
// again, and a program's next run does the same with both to `.previous`: so a replica's output
// never takes more than four times the limit. A write that fails (full disk) is dropped and
// counted: the function must never block on its own log.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "local/replica/replica.h"

#define ENTRIES_AT_ONCE 64

static int file_made(const struct replica_log *log)
{
    return open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

// Renames the file `path``from` to `path``to`.
static bool file_move(const struct replica_log *log, const char *from, const char *to)
{
    char a[REPLICA_PATH_MAX], b[REPLICA_PATH_MAX];

    return (size_t)snprintf(a, sizeof a, "%s%s", log->path, from) < sizeof a &&
           (size_t)snprintf(b, sizeof b, "%s%s", log->path, to) < sizeof b && rename(a, b) == 0;
}

// Goes on in a new file at `path`, which was moved away.
static bool file_next(struct replica_log *log)
{
    int fd = file_made(log);
    if (fd < 0) {
        return false;
    }
    close(log->fd);
    log->fd = fd;
    log->size_bytes = 0;
    return true;
}

static void log_rotate(struct replica_log *log)
{
    if (!file_move(log, "", ".1") || !file_next(log)) { // keep the bound even so
        log->size_bytes = ftruncate(log->fd, 0) == 0 ? 0 : log->size_bytes;
    }
}

void replica_log_next_run(struct replica_log *log)
{
    char old[REPLICA_PATH_MAX];

    log->pending = 0;
    log->last_line[0] = '\0';
    if (log->path == NULL) { // its first run, not open yet
        return;
    }
    if (!file_move(log, ".1", ".previous.1") &&
        (size_t)snprintf(old, sizeof old, "%s.previous.1", log->path) < sizeof old) {
        unlink(old);
    }
    if (file_move(log, "", ".previous")) {
        (void)file_next(log); // else its new lines follow the old ones there
    }
}

int replica_log_open(struct replica_log *log, const char *path, uint64_t max_bytes)
{
    struct stat st;

    *log = (struct replica_log){.path = path, .max_bytes = max_bytes, .fd = -1};
    log->fd = file_made(log);
    if (log->fd < 0) {
        return -errno;
    }
    log->size_bytes = fstat(log->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    if (log->size_bytes > 0) {
        replica_log_next_run(log);
    }
    return 0;
}

void replica_log_copy(struct replica_log *log, int fd, int reads)
{
    char buf[16384];
    ssize_t n;
    while (reads-- > 0 && (n = read(fd, buf, sizeof buf)) > 0) {
        replica_log_write(log, buf, (size_t)n);
    }
}

void replica_log_end_line(struct replica_log *log)
{
    if (log->pending > 0) {
        memcpy(log->last_line, log->partial, log->pending);
        log->last_line[log->pending] = '\0';
    }
    log->pending = 0;
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

// What stands before each entry that is written now; F or P comes behind.
static void stamp_make(char stamp[REPLICA_STAMP_LEN + 1])
{
    struct timespec now;
    struct tm t = {0};

    clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &t);
    (void)snprintf(stamp, REPLICA_STAMP_LEN + 1, "%04u-%02u-%02uT%02u:%02u:%02u.%09luZ stdout ",
                   (unsigned)(t.tm_year + 1900) % 10000, (unsigned)(t.tm_mon + 1) % 100,
                   (unsigned)t.tm_mday % 100, (unsigned)t.tm_hour % 100, (unsigned)t.tm_min % 100,
                   (unsigned)t.tm_sec % 100, (unsigned long)now.tv_nsec % 1000000000ul);
}

static void entries_write(struct replica_log *log, const struct iovec *parts, int count)
{
    size_t len = 0;

    for (int i = 0; i < count; i++) {
        len += parts[i].iov_len;
    }
    if (log->size_bytes + len > log->max_bytes && log->size_bytes > 0) {
        log_rotate(log);
    }
    ssize_t n = writev(log->fd, parts, count);
    if (n == (ssize_t)len) {
        log->size_bytes += len;
        return;
    }
    log->dropped_bytes += len;
    if (n > 0 && ftruncate(log->fd, (off_t)log->size_bytes) != 0) {
        log->size_bytes += (uint64_t)n;
    }
}

void replica_log_write(struct replica_log *log, const char *data, size_t len)
{
    // Only the tail of a large piece can hold the newest line.
    size_t tail = len > 4096 ? 4096 : len;
    log->pending = len > 4096 ? 0 : log->pending;
    last_line_feed(log, data + (len - tail), tail);

    char stamp[REPLICA_STAMP_LEN + 1], full[] = "F ", part[] = "P ", end[] = "\n";
    struct iovec parts[ENTRIES_AT_ONCE * 3 + 1];
    int count = 0;
    stamp_make(stamp);
    while (len > 0) {
        const char *newline = memchr(data, '\n', len);
        size_t n = newline != NULL ? (size_t)(newline - data) + 1 : len;
        parts[count++] = (struct iovec){.iov_base = stamp, .iov_len = REPLICA_STAMP_LEN};
        parts[count++] = (struct iovec){.iov_base = newline != NULL ? full : part, .iov_len = 2};
        // writev reads only.
        parts[count++] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = n};
        if (newline == NULL) {
            parts[count++] = (struct iovec){.iov_base = end, .iov_len = 1};
        }
        data += n;
        len -= n;
        if (count >= ENTRIES_AT_ONCE * 3 || len == 0) {
            entries_write(log, parts, count);
            count = 0;
        }
    }
}
