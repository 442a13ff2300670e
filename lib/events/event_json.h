// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Private to lib/events: one event of a text that may have others behind it. */

#include "json/jscan.h"
#include "events/event_http.h"

/* Reads the object that follows; borrows from its text. Nothing to release on failure. */
MUST_CHECK int event_json_walk(struct jscan *s, struct event *out, struct error *err);
