// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Lines gather in memory and are appended once a turn, with one write. When the file is as
 * large as allowed it becomes the older half, and a new one begins with the form's first line.
 * Failure modes: a disk that does not take it: the lines are lost, which is said once a minute.
 */
#include "autoscaler/traffic_log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define FIRST_LINE  "# lull traffic 1\n"
#define WAITING_MAX (1u << 20)
#define TROUBLE_MS  60000u

static int open_file(struct traffic_log *log, struct error *err)
{
    struct stat st = {0};
    log->fd = open(log->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (log->fd < 0 || fstat(log->fd, &st) < 0) {
        return error_from_errno(err, errno, "cannot open %s", log->path);
    }
    log->size = (uint64_t)st.st_size;
    if (log->size == 0) {
        strbuf_append_str(&log->waiting, FIRST_LINE);
    }
    return 0;
}

int traffic_log_open(struct traffic_log *log, const char *path, struct error *err)
{
    *log = (struct traffic_log){.path = xstrdup(path), .fd = -1};
    strbuf_init(&log->waiting, WAITING_MAX);
    int rc = open_file(log, err);
    if (rc < 0) {
        traffic_log_close(log);
    }
    return rc;
}

void traffic_log_add(struct traffic_log *log, int64_t wall_ns, const char *revision,
                     double requests, double busy_ms)
{
    if (log->path == NULL || !(requests >= 0.5 || busy_ms >= 1)) {
        return;
    }
    size_t before = log->waiting.len;
    strbuf_appendf(&log->waiting, "%lld %s %.0f %.0f\n",
                   (long long)(wall_ns / (int64_t)CLOCK_NS_PER_S - 1), revision, round(requests),
                   round(busy_ms));
    if (!strbuf_ok(&log->waiting)) {
        strbuf_truncate(&log->waiting, before);
    }
}

static int turn_over(struct traffic_log *log, struct error *err)
{
    CLEANUP(cleanup_free) char *older = xasprintf("%s.1", log->path);
    if (rename(log->path, older) < 0) {
        return error_from_errno(err, errno, "cannot rename %s", log->path);
    }
    close(log->fd);
    log->fd = -1;
    return open_file(log, err);
}

static int write_waiting(struct traffic_log *log, struct error *err)
{
    int rc = log->fd < 0 ? open_file(log, err) : 0;
    if (rc < 0) {
        return rc;
    }
    ssize_t n = write(log->fd, log->waiting.ptr, log->waiting.len);
    if (n < 0 || (size_t)n != log->waiting.len) {
        return error_from_errno(err, n < 0 ? errno : ENOSPC, "cannot write to %s", log->path);
    }
    log->size += log->waiting.len;
    return 0;
}

void traffic_log_flush(struct traffic_log *log, uint64_t now_ms)
{
    struct error err = {0};
    uint64_t dropped;
    if (log->path == NULL || log->waiting.len == 0) {
        return;
    }
    int rc = write_waiting(log, &err);
    strbuf_clear(&log->waiting);
    if (rc == 0 && log->size >= TRAFFIC_LOG_BYTES_MAX) {
        rc = turn_over(log, &err);
    }
    if (rc < 0 && log_limit(&log->trouble, now_ms, TROUBLE_MS, &dropped)) {
        LOG_WARN("traffic is not recorded", LOG_ERR(&err));
    }
}

void traffic_log_close(struct traffic_log *log)
{
    if (log->path == NULL) {
        return;
    }
    traffic_log_flush(log, 0);
    if (log->fd >= 0) {
        close(log->fd);
    }
    free(log->path);
    strbuf_fini(&log->waiting);
    *log = (struct traffic_log){.fd = -1};
}
