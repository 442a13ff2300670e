// SPDX-License-Identifier: Apache-2.0
/* One uv_timer_t. uv_timer_start cannot fail with a callback and an open handle. */
#include "loop/timer.h"

#include "base/mem.h"

static void on_timer(uv_timer_t *uv)
{
    struct timer *timer = uv->data;
    timer->cb(timer);
}

static void on_closed(uv_handle_t *handle)
{
    struct timer *timer = handle->data;
    if (timer->close_cb != NULL) {
        timer->close_cb(timer);
    }
}

void timer_init(struct timer *timer, struct loop *loop, timer_cb cb, void *data)
{
    *timer = (struct timer){.loop = loop, .cb = cb, .data = data};
    uv_timer_init(&loop->uv, &timer->uv);
    timer->uv.data = timer;
}

static void start(struct timer *timer, uint64_t delay_ms, uint64_t period_ms)
{
    REQUIRE(!uv_is_closing((const uv_handle_t *)&timer->uv));
    uv_update_time(&timer->loop->uv); /* libuv counts from its own cached time */
    uv_timer_start(&timer->uv, on_timer, delay_ms, period_ms);
}

void timer_start(struct timer *timer, uint64_t delay_ms)
{
    start(timer, delay_ms, 0);
}

void timer_start_every(struct timer *timer, uint64_t period_ms)
{
    REQUIRE(period_ms > 0);
    start(timer, period_ms, period_ms);
}

void timer_stop(struct timer *timer)
{
    uv_timer_stop(&timer->uv);
}

bool timer_active(const struct timer *timer)
{
    return uv_is_active((const uv_handle_t *)&timer->uv) != 0;
}

void timer_unref(struct timer *timer)
{
    uv_unref((uv_handle_t *)&timer->uv);
}

void timer_close(struct timer *timer, timer_cb cb)
{
    if (!uv_is_closing((const uv_handle_t *)&timer->uv)) {
        timer->close_cb = cb;
        uv_close((uv_handle_t *)&timer->uv, on_closed);
    }
}
