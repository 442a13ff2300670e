// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: a list of what runs, looked through a few times a second; a request costs two list
 * operations and no timer. So a limit is kept to a tick.
 */
#include "activator/overdue.h"

#include "base/clock.h"
#include "base/log.h"

#define TICK_MS   250u
#define MARGIN_NS (5 * CLOCK_NS_PER_S) /* the queue-proxy answers first */

static bool is_overdue(const struct request *rq, uint64_t now_ns)
{
    uint64_t limit_ns = rq->ticket.revision->timeout_ms * CLOCK_NS_PER_MS;
    if (limit_ns == 0) {
        return false;
    }
    if (rq->h->config->knative_timeouts) {
        return now_ns >= rq->ticket.enter_ns + limit_ns;
    }
    return !rq->upgraded && now_ns >= rq->ticket.granted_ns + limit_ns + MARGIN_NS;
}

static void on_tick(struct timer *timer)
{
    struct handler *h = timer->data;
    uint64_t now_ns = loop_now_ns(h->loop);
    bool any = false;
    list_foreach_safe (node, &h->running) {
        struct request *rq = LIST_ENTRY(node, struct request, link);
        if (is_overdue(rq, now_ns)) {
            any = true;
            request_overdue(rq);
        }
    }
    h->clock_on = !list_empty(&h->running);
    if (h->clock_on) {
        timer_start(&h->clock, TICK_MS);
    }
    if (any) {
        handler_pump(h);
    }
}

void overdue_init(struct handler *h)
{
    list_init(&h->running);
    timer_init(&h->clock, h->loop, on_tick, h);
}

void overdue_watch(struct request *rq)
{
    struct handler *h = rq->h;
    list_push_back(&h->running, &rq->link);
    if (!h->clock_on) {
        h->clock_on = true;
        timer_start(&h->clock, TICK_MS);
    }
}

void overdue_forget(struct request *rq)
{
    list_remove(&rq->link);
}

void overdue_close(struct handler *h, void (*cb)(struct timer *timer))
{
    h->clock_on = true; /* it does not start again */
    timer_close(&h->clock, cb);
}
