// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One event loop per process, one thread. A thin cover over uv_loop_t: a clock that is read at
 * most once per turn, and tasks that run on the next turn.
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

struct loop {
    uv_loop_t uv;       /* for rooms that talk to libuv themselves */
    uv_prepare_t stale; /* private: forgets the clock before each poll */
    uv_idle_t idle;     /* private: runs while there are tasks */
    struct list tasks;  /* private */
    void *http;         /* lib/http's: the buffers that its connections share; NULL at first */
    uint64_t now_ns;    /* private: 0 = not read in this turn */
};

/* Work for the next turn; embed it. */
struct loop_task;
typedef void (*loop_task_cb)(struct loop_task *task);
struct loop_task {
    struct list link; /* private */
    loop_task_cb cb;
    void *data; /* the owner's */
};

/* Ignores SIGPIPE for the process. */
MUST_CHECK int loop_init(struct loop *loop, struct error *err);
/* Runs until nothing is left or loop_stop. */
void loop_run(struct loop *loop);
/* One turn; waits for an event when wait is set. Returns whether anything is left. */
bool loop_turn(struct loop *loop, bool wait);
void loop_stop(struct loop *loop);
/* All handles must be closed by now; ERR_IN_USE when one is left (the loop stays usable). */
MUST_CHECK int loop_fini(struct loop *loop, struct error *err);

/* Monotonic time of this turn: read on first use after the loop waited. */
uint64_t loop_now_ns(struct loop *loop);
uint64_t loop_now_us(struct loop *loop);
uint64_t loop_now_ms(struct loop *loop);
/* Monotonic time, read now. Renews the time of this turn. */
uint64_t loop_now_fresh_ns(struct loop *loop);

void loop_task_init(struct loop_task *task, loop_task_cb cb, void *data);
/* Runs the task once on the next turn; nothing happens when it is waiting already. */
void loop_task_post(struct loop *loop, struct loop_task *task);
/* Fine when it is not waiting. */
void loop_task_cancel(struct loop_task *task);

/* The error of a libuv code (negative): as error_from_errno, also for UV_EOF and UV_EAI_*. */
int error_from_uv(struct error *err, int uv_code, const char *fmt, ...) PRINTF_LIKE(3, 4);
