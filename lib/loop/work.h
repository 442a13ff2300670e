// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A blocking job off the loop, on libuv's thread pool; its completion is on the loop. */

#include "loop/loop.h"

struct work;
/* On a pool thread: touch only what the job owns. */
typedef void (*work_run_cb)(struct work *work);
/* On the loop, exactly once. status 0, or ERR_CANCELED when run never ran. */
typedef void (*work_done_cb)(struct work *work, int status);

struct work {
    uv_work_t uv; /* private */
    work_run_cb run;
    work_done_cb done;
    void *data; /* the owner's */
};

MUST_CHECK int work_start(struct work *work, struct loop *loop, work_run_cb run, work_done_cb done,
                          void *data, struct error *err);
/* Takes it out of the queue if it has not begun; done comes in either case. */
void work_cancel(struct work *work);
