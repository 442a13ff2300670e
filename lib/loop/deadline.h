// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Many timeouts of one length behind one libuv timer: a list in deadline order. Setting, moving
 * and clearing cost a few pointer writes; the timer is touched only when it fires or when the
 * first deadline is set. A deadline fires at most 2 ms late plus the turn in which it falls.
 *
 *     struct deadlines idle;   deadlines_init(&idle, loop, 60000, on_idle, server);
 *     deadline_init(&conn->idle);
 *     deadline_set(&idle, &conn->idle);       again: moves it to a full length from now
 *     deadline_clear(&conn->idle);
 */

#include "loop/timer.h"

struct deadline {
    struct list link; /* private */
    uint64_t due_ms;  /* private */
};

/* The deadline is off the list when this runs; it may be set again, freed, or others cleared. */
typedef void (*deadline_cb)(struct deadline *deadline, void *data);

struct deadlines {
    struct timer timer; /* private */
    struct list list;   /* private: soonest first */
    uint64_t length_ms;
    deadline_cb cb;
    void *data;
    void (*close_cb)(struct deadlines *d); /* private */
};

void deadlines_init(struct deadlines *d, struct loop *loop, uint64_t length_ms, deadline_cb cb,
                    void *data);
/* New length for deadlines that are set from now on; those that wait are set anew. */
void deadlines_set_length(struct deadlines *d, uint64_t length_ms);
/* Idempotent. Waiting deadlines are taken off and never fire. */
void deadlines_close(struct deadlines *d, void (*cb)(struct deadlines *d));

void deadline_init(struct deadline *deadline);
void deadline_set(struct deadlines *d, struct deadline *deadline);
/* Fine when it is not set. */
void deadline_clear(struct deadline *deadline);
bool deadline_is_set(const struct deadline *deadline);
