// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Counts what an object has open (handles, requests in flight, children), so that its close
 * callback comes once, after the last of them, whatever their order.
 *
 *     closer_init(&c);  closer_hold(&c);              per handle or request that was started
 *     closer_drop(&c);                                in its close callback or completion
 *     closer_close(&c, loop, cb, data);               in x_close
 */

#include "loop/loop.h"

typedef void (*closer_cb)(void *data);

struct closer {
    unsigned open;        /* held and not dropped yet */
    bool closing;         /* closer_close was called */
    closer_cb cb;         /* private */
    void *data;           /* private */
    struct loop_task now; /* private: for a close with nothing open */
};

void closer_init(struct closer *c);
void closer_hold(struct closer *c);
/* May run the close callback as its last act: touch nothing afterwards. */
void closer_drop(struct closer *c);
/* True the first time. The callback comes later, when all has been dropped. */
bool closer_close(struct closer *c, struct loop *loop, closer_cb cb, void *data);
