// SPDX-License-Identifier: Apache-2.0
/* Counting what is open. The close callback comes from the last drop, or from a task on the next
 * turn when nothing was open at the time of the close. */
#include "loop/closer.h"

#include "base/mem.h"

static void on_nothing_open(struct loop_task *task)
{
    struct closer *c = task->data;
    if (c->open == 0 && c->cb != NULL) {
        c->cb(c->data);
    }
}

void closer_init(struct closer *c)
{
    *c = (struct closer){.open = 0};
    loop_task_init(&c->now, on_nothing_open, c);
}

void closer_hold(struct closer *c)
{
    c->open++;
}

void closer_drop(struct closer *c)
{
    REQUIRE(c->open > 0);
    c->open--;
    if (c->open == 0 && c->closing) {
        loop_task_cancel(&c->now);
        if (c->cb != NULL) {
            c->cb(c->data);
        }
    }
}

bool closer_close(struct closer *c, struct loop *loop, closer_cb cb, void *data)
{
    if (c->closing) {
        return false;
    }
    c->closing = true;
    c->cb = cb;
    c->data = data;
    if (c->open == 0) {
        loop_task_post(loop, &c->now);
    }
    return true;
}
