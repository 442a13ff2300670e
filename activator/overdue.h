// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Requests that a replica has had for too long. The queue-proxy holds a request to the times of its
 * revision; one that is still there some seconds later has a queue-proxy that hangs or a network
 * that swallows, and is answered 504 here. With --knative-timeouts the clock is Knative's: it runs
 * from the request's arrival, waiting for a replica included, and upgraded connections are cut too.
 *
 * Owns handler.running and handler.clock. The clock ticks only while requests run.
 */

#include "activator/request.h"

#define OVERDUE_TEXT "activator request timeout"

void overdue_init(struct handler *h);
/* The request is with a replica / is not any more. */
void overdue_watch(struct request *rq);
void overdue_forget(struct request *rq);
void overdue_close(struct handler *h, void (*cb)(struct timer *timer));
