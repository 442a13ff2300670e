// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Headers beside an event that go with it to whoever gets it: they name the request and its place
 * in a trace. They are no attributes: filters do not see them, and no JSON has them. Which: see
 * event_carries. Pure.
 */

#include "events/event.h"

#define EVENT_CARRIED_MAX       16   /* headers of one event */
#define EVENT_CARRIED_VALUE_MAX 1024 /* bytes of one; longer ones stay behind */

struct event_carried {
    struct slice name; /* lower case */
    struct slice value;
};

/*
 * Whether a header (any case) goes with an event: x-request-id, traceparent, tracestate, b3,
 * x-b3-*, knative-*.
 */
bool event_carries(struct slice header);

/*
 * Puts one on the event; both texts must live as long as the event. Of a name that stands twice the
 * first counts; two traceparents are none. What is too long, too much or has control characters is
 * left out: it is nothing that the sender promised us.
 */
void event_carry(struct event *ev, struct slice header, struct slice value);
