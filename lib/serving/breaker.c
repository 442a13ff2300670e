// SPDX-License-Identifier: Apache-2.0
/* Counting and one queue: running never passes the limit, a waiter never overtakes another. */

#include "serving/breaker.h"

#include "base/mem.h"

void breaker_init(struct breaker *b, uint32_t limit, uint32_t depth)
{
    *b = (struct breaker){.limit = limit, .depth = depth};
    list_init(&b->queue);
    list_init(&b->granted);
}

void breaker_slot_init(struct breaker_slot *slot)
{
    list_init(&slot->link);
    slot->state = BREAKER_IDLE;
}

bool breaker_busy(const struct breaker *b)
{
    return b->limit > 0 && b->running >= b->limit;
}

enum breaker_answer breaker_acquire(struct breaker *b, struct breaker_slot *slot)
{
    REQUIRE(slot->state == BREAKER_IDLE);
    if (!breaker_busy(b)) {
        b->running++;
        slot->state = BREAKER_RUNNING;
        return BREAKER_GRANTED;
    }
    if (b->waiting >= b->depth) {
        return BREAKER_OVERLOAD;
    }
    b->waiting++;
    slot->state = BREAKER_WAITING;
    list_push_back(&b->queue, &slot->link);
    return BREAKER_QUEUED;
}

void breaker_release(struct breaker *b, struct breaker_slot *slot)
{
    if (slot->state == BREAKER_WAITING) {
        b->waiting--;
    } else if (slot->state == BREAKER_RUNNING) {
        b->running--;
    }
    list_remove(&slot->link);
    slot->state = BREAKER_IDLE;
    while (b->waiting > 0 && !breaker_busy(b)) {
        struct list *node = list_pop_front(&b->queue);
        struct breaker_slot *next = LIST_ENTRY(node, struct breaker_slot, link);
        b->waiting--;
        b->running++;
        next->state = BREAKER_RUNNING;
        list_push_back(&b->granted, &next->link);
    }
}

struct breaker_slot *breaker_take_granted(struct breaker *b)
{
    struct list *node = list_pop_front(&b->granted);
    return node == NULL ? NULL : LIST_ENTRY(node, struct breaker_slot, link);
}
