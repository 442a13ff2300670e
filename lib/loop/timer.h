// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One timer. For many short-lived timeouts of equal length use loop/deadline.h instead.
 * Delays count from now as read at the call, not from the loop's cached time.
 */

#include "loop/loop.h"

struct timer;
typedef void (*timer_cb)(struct timer *timer);

struct timer {
    uv_timer_t uv; /* private */
    struct loop *loop;
    timer_cb cb;
    void *data;        /* the owner's */
    timer_cb close_cb; /* private */
};

void timer_init(struct timer *timer, struct loop *loop, timer_cb cb, void *data);
/*
 * Fires once, after delay_ms; restarts when it runs. A timer that its own callback starts again
 * with 0 runs in the same turn, without end: for "on the next turn" use loop_task_post.
 */
void timer_start(struct timer *timer, uint64_t delay_ms);
/* Fires every period_ms. period_ms > 0. */
void timer_start_every(struct timer *timer, uint64_t period_ms);
void timer_stop(struct timer *timer);
bool timer_active(const struct timer *timer);
/* Does not keep the loop running. */
void timer_unref(struct timer *timer);
/* Idempotent; cb (may be NULL) comes later, then the memory is the owner's again. */
void timer_close(struct timer *timer, timer_cb cb);
