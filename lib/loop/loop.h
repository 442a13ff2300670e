// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One event loop per process, one thread: an epoll set of our own for sockets, libuv for all the
 * rest (timers, signals, processes, thread pool, DNS), a clock that is read at most once per turn,
 * and tasks that run on the next turn.
 *
 * The rules of everything on the loop (docs/async.md):
 *  - x_start: non-zero means nothing is pending; zero means exactly one completion will come,
 *    never from inside x_start itself.
 *  - x_close is idempotent and asynchronous; pending requests complete with ERR_CANCELED first;
 *    the close callback is the last one, and there the owner may free.
 *  - The user's callback is the last statement: nothing touches the object after it.
 *  - Every wait has a deadline; the owner sets it (loop/deadline.h, loop/timer.h).
 */

#include <uv.h>

#include "base/error.h"
#include "base/list.h"

struct loop_batch;

struct loop {
    uv_loop_t uv;             /* for rooms that talk to libuv themselves */
    uv_prepare_t alive;       /* private: keeps libuv running while descriptors are watched */
    struct list tasks;        /* private */
    struct list closing;      /* private: tasks for the end of this turn */
    void *http;               /* lib/http's: what its connections share; NULL at first */
    uint64_t now_ns;          /* private: 0 = not read in this turn */
    struct loop_batch *batch; /* private: the events that are being told */
    size_t n_io;              /* private: descriptors that are watched */
    int epoll;                /* private */
    bool stopped;             /* private: loop_stop was called */
};

/*
 * Readiness of one socket; embed it. It is told once per change (edge-triggered): whoever is told
 * that bytes are there must remember it until the kernel has no more, or will never hear again.
 * That is why neither pausing nor going on costs a system call.
 */
struct loop_io;
typedef void (*loop_io_cb)(struct loop_io *io, unsigned events); /* EPOLL… bits */
struct loop_io {
    loop_io_cb cb; /* private */
    int fd;        /* -1: not watched */
};

/* Work for the next turn; embed it. */
struct loop_task;
typedef void (*loop_task_cb)(struct loop_task *task);
struct loop_task {
    struct list link; /* private */
    loop_task_cb cb;
    void *data; /* the owner's */
};

/* Not watched. */
void loop_io_init(struct loop_io *io);
/*
 * Watches fd, which stays the caller's, for bytes and hang-ups; with `write` also for room to
 * write. What is there already is told on the next turn. ERR_…: not watched.
 */
MUST_CHECK int loop_io_add(struct loop *loop, struct loop_io *io, int fd, bool write, loop_io_cb cb,
                           struct error *err);
/* Turns `write` on or off; room that is there already is told. */
MUST_CHECK int loop_io_write(struct loop *loop, struct loop_io *io, bool write, struct error *err);
/* No event comes any more; before the descriptor is closed. Fine when it is not watched. */
void loop_io_remove(struct loop *loop, struct loop_io *io);

/* Ignores SIGPIPE for the process. */
MUST_CHECK int loop_init(struct loop *loop, struct error *err);
/* Runs until nothing is left or loop_stop. */
void loop_run(struct loop *loop);
/* One turn; waits for an event when wait is set. Returns whether anything is left. */
bool loop_turn(struct loop *loop, bool wait);
void loop_stop(struct loop *loop);
/* For whoever waits for the loop from outside: a descriptor to poll, and ms for which (-1: ever).
 */
int loop_poll_fd(const struct loop *loop);
int loop_poll_ms(struct loop *loop);
/* All handles must be closed by now; ERR_IN_USE when one is left (the loop stays usable). */
MUST_CHECK int loop_fini(struct loop *loop, struct error *err);

/* Monotonic time, read now. Renews the time of this turn. */
uint64_t loop_now_fresh_ns(struct loop *loop);
/* Monotonic time of this turn: read on first use after the loop waited. */
static inline uint64_t loop_now_ns(struct loop *loop)
{
    return loop->now_ns != 0 ? loop->now_ns : loop_now_fresh_ns(loop);
}
uint64_t loop_now_us(struct loop *loop);
static inline uint64_t loop_now_ms(struct loop *loop)
{
    return loop_now_ns(loop) / 1000000;
}

void loop_task_init(struct loop_task *task, loop_task_cb cb, void *data);
/* Runs the task once on the next turn; nothing happens when it is waiting already. */
void loop_task_post(struct loop *loop, struct loop_task *task);
/* Runs it once at the end of this turn, after all events: for what closes. */
void loop_task_post_last(struct loop *loop, struct loop_task *task);
/* Fine when it is not waiting. */
void loop_task_cancel(struct loop_task *task);

/* The error of a libuv code (negative): as error_from_errno, also for UV_EOF and UV_EAI_*. */
int error_from_uv(struct error *err, int uv_code, const char *fmt, ...) PRINTF_LIKE(3, 4);
