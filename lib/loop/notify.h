// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * "READY=1" to whoever started us: one datagram to the unix socket that NOTIFY_SOCKET names (a
 * leading '@' means the abstract name space). Unset: nothing is sent. Never blocks.
 */

#include "base/error.h"

#define NOTIFY_ENV      "NOTIFY_SOCKET"
#define NOTIFY_READY    "READY=1"
#define NOTIFY_STOPPING "STOPPING=1"
#define NOTIFY_UNREADY  "X_READY=0"
#define NOTIFY_STATUS   "STATUS="    /* …and why it is not ready yet, one line */
#define NOTIFY_BROKER   "X_BROKER=1" /* a Broker, a source, a call: start what takes them */

/* Sends state (several lines may be joined by '\n'). 0 also when nobody wants to know. */
MUST_CHECK int notify_send(const char *state, struct error *err);
