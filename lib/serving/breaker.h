// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The hard limit of requests that run at once, with a bounded queue in front, first come first
 * served. Pure: answers by return value, never calls back. A release puts the next waiter on the
 * granted list; the owner takes it from there (breaker_take_granted) when it is ready to start it.
 *
 * A slot is embedded in the request and belongs to the breaker only while it waits or runs.
 */

#include "base/list.h"

enum breaker_state {
    BREAKER_IDLE,    /* not in the breaker */
    BREAKER_WAITING, /* in the queue */
    BREAKER_RUNNING, /* counts as running; also while on the granted list */
};

enum breaker_answer {
    BREAKER_GRANTED,
    BREAKER_QUEUED,
    BREAKER_OVERLOAD, /* the queue is full: nothing was taken */
};

struct breaker_slot {
    struct list link; /* private */
    enum breaker_state state;
};

struct breaker {
    uint32_t limit; /* running at once; 0: no limit */
    uint32_t depth; /* most waiters */
    uint32_t running;
    uint32_t waiting;
    struct list queue;   /* private: waiters, first come first */
    struct list granted; /* private: running, not yet taken by the owner */
};

void breaker_init(struct breaker *b, uint32_t limit, uint32_t depth);
void breaker_slot_init(struct breaker_slot *slot);
/* Whether breaker_acquire would not grant at once. */
bool breaker_busy(const struct breaker *b);
/* The slot must be idle. */
enum breaker_answer breaker_acquire(struct breaker *b, struct breaker_slot *slot);
/* Ends running or waiting; fine when idle. May grant waiters. */
void breaker_release(struct breaker *b, struct breaker_slot *slot);
/* The next slot that waited and may run now, in order; NULL when there is none. */
struct breaker_slot *breaker_take_granted(struct breaker *b);
