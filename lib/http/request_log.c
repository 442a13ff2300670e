// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: lines gather in a buffer; a task at the end of the turn writes them in pieces that a pipe
 * takes without blocking (the descriptor is shared with others, so it is not made non-blocking).
 * Failure: no room: the line is dropped and counted; the reader is gone: everything is.
 */
#include "http/request_log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define WAITING_MAX    (256u * 1024u)
#define LINE_MAX_BYTES (64u * 1024u)
#define AGAIN_MS       10

static bool writable(const struct request_log *log)
{
    struct pollfd p = {.fd = log->fd, .events = POLLOUT};
    return log->whole || (poll(&p, 1, 0) == 1 && (p.revents & (POLLOUT | POLLERR | POLLHUP)) != 0);
}

/* Whole lines where that is possible: several processes may write to one pipe, and we may end. */
static size_t piece(const struct request_log *log, struct slice left)
{
    size_t n = left.len;
    if (log->whole || n <= PIPE_BUF) {
        return n;
    }
    for (n = PIPE_BUF; n > 0 && left.ptr[n - 1] != '\n'; n--) {
    }
    return n > 0 ? n : PIPE_BUF;
}

/* True when nothing is left to write. */
static bool flush(struct request_log *log)
{
    size_t done = 0;
    while (done < log->waiting.len && writable(log)) {
        size_t n = piece(log, slice_sub(strbuf_slice(&log->waiting), done, log->waiting.len));
        ssize_t wrote = write(log->fd, log->waiting.ptr + done, n);
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote < 0 && errno == EAGAIN) {
            break;
        }
        if (wrote < 0) { /* nobody reads any more */
            log->dropped++;
            done = log->waiting.len;
            break;
        }
        done += (size_t)wrote;
    }
    strbuf_consume(&log->waiting, done);
    return log->waiting.len == 0;
}

static void go_on(struct request_log *log)
{
    log->scheduled = false;
    if (!flush(log)) {
        log->scheduled = true;
        timer_start(&log->timer, AGAIN_MS);
    }
}

static void on_task(struct loop_task *task)
{
    go_on(task->data);
}

static void on_timer(struct timer *timer)
{
    go_on(timer->data);
}

int request_log_start(struct request_log *log, struct loop *loop, int fd, struct slice text,
                      struct error *err)
{
    struct stat st;
    struct slice format = text.len > 0 ? text : slice_str(log_template_default);
    *log = (struct request_log){.fd = fd};
    int rc = log_template_new(format, &log->format, err);
    if (rc < 0) {
        return rc;
    }
    log->loop = loop;
    log->whole = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    strbuf_init(&log->waiting, WAITING_MAX);
    strbuf_init(&log->line, LINE_MAX_BYTES);
    loop_task_init(&log->task, on_task, log);
    timer_init(&log->timer, loop, on_timer, log);
    return 0;
}

void request_log_write(struct request_log *log, const struct log_entry *entry)
{
    strbuf_clear(&log->line);
    log_template_write(log->format, entry, &log->line);
    if (!strbuf_ok(&log->line) || log->line.len > log->waiting.max - log->waiting.len) {
        log->dropped++;
        return;
    }
    log->written++;
    strbuf_append_slice(&log->waiting, strbuf_slice(&log->line));
    if (!log->scheduled) {
        log->scheduled = true;
        loop_task_post(log->loop, &log->task);
    }
}

static void on_closed(struct timer *timer)
{
    struct request_log *log = timer->data;
    if (log->close_cb != NULL) {
        log->close_cb(log);
    }
}

void request_log_close(struct request_log *log, void (*cb)(struct request_log *log))
{
    if (log->loop == NULL) {
        REQUIRE(cb == NULL);
        return;
    }
    (void)flush(log);
    log->loop = NULL;
    log->close_cb = cb;
    loop_task_cancel(&log->task);
    log_template_free(log->format);
    log->format = NULL;
    strbuf_fini(&log->waiting);
    strbuf_fini(&log->line);
    timer_close(&log->timer, on_closed);
}
