// SPDX-License-Identifier: Apache-2.0
/*
 * Deadlines of one length. Because all are equally long, appending keeps the list in order of
 * time. The timer is armed for the first one; when that was moved or cleared meanwhile, the timer
 * fires once for nothing and is armed for the one that is first then.
 */
#include "loop/deadline.h"

#include "base/mem.h"

static void arm(struct deadlines *d)
{
    struct list *first = list_first(&d->list);
    if (first != NULL) {
        uint64_t now_ms = loop_now_ms(d->timer.loop);
        uint64_t due_ms = LIST_ENTRY(first, struct deadline, link)->due_ms;
        timer_start(&d->timer, due_ms > now_ms ? due_ms - now_ms : 1);
    }
}

static void on_tick(struct timer *timer)
{
    struct deadlines *d = timer->data;
    uint64_t now_ms = loop_now_fresh_ns(timer->loop) / 1000000;
    struct list *first;
    while ((first = list_first(&d->list)) != NULL) {
        struct deadline *deadline = LIST_ENTRY(first, struct deadline, link);
        if (deadline->due_ms > now_ms) {
            break;
        }
        list_remove(first);
        d->cb(deadline, d->data);
    }
    if (!timer_active(timer)) {
        arm(d); /* nothing to do after a close: the list is empty then */
    }
}

void deadlines_init(struct deadlines *d, struct loop *loop, uint64_t length_ms, deadline_cb cb,
                    void *data)
{
    REQUIRE(length_ms > 0);
    *d = (struct deadlines){.length_ms = length_ms, .cb = cb, .data = data};
    list_init(&d->list);
    timer_init(&d->timer, loop, on_tick, d);
}

void deadlines_set_length(struct deadlines *d, uint64_t length_ms)
{
    REQUIRE(length_ms > 0);
    if (d->length_ms == length_ms) {
        return;
    }
    d->length_ms = length_ms;
    uint64_t due_ms = loop_now_ms(d->timer.loop) + length_ms;
    list_foreach (node, &d->list) {
        LIST_ENTRY(node, struct deadline, link)->due_ms = due_ms;
    }
    arm(d);
}

static void on_timer_closed(struct timer *timer)
{
    struct deadlines *d = timer->data;
    if (d->close_cb != NULL) {
        d->close_cb(d);
    }
}

void deadlines_close(struct deadlines *d, void (*cb)(struct deadlines *d))
{
    if (!uv_is_closing((const uv_handle_t *)&d->timer.uv)) {
        while (list_pop_front(&d->list) != NULL) {
        }
        d->close_cb = cb;
        timer_close(&d->timer, on_timer_closed);
    }
}

void deadline_init(struct deadline *deadline)
{
    list_init(&deadline->link);
    deadline->due_ms = 0;
}

void deadline_set(struct deadlines *d, struct deadline *deadline)
{
    REQUIRE(!uv_is_closing((const uv_handle_t *)&d->timer.uv));
    list_remove(&deadline->link);
    deadline->due_ms = loop_now_ms(d->timer.loop) + d->length_ms;
    bool first = list_empty(&d->list);
    list_push_back(&d->list, &deadline->link);
    if (first &&
        !timer_active(&d->timer)) { /* behind another one the timer runs, or on_tick arms */
        timer_start(&d->timer, d->length_ms);
    }
}

void deadline_clear(struct deadline *deadline)
{
    list_remove(&deadline->link);
}

bool deadline_is_set(const struct deadline *deadline)
{
    return list_linked(&deadline->link);
}
