// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Private to lib/events: one event of a text that may have others behind it. */

#include "json/jscan.h"
#include "events/event_http.h"

/* Reads the object that follows; borrows from its text. Nothing to release on failure. */
MUST_CHECK int event_json_walk(struct jscan *s, struct event *out, struct error *err);

/* Data out of base64; member: where it stood, for errors. */
MUST_CHECK int event_decode_data(struct event *ev, const char *member, struct slice text,
                                 struct error *err);
/*
 * Whether a 0.3 event says that its data is base64; it no longer does then. ERR_INVALID: it is
 * something else, which nobody can read.
 */
MUST_CHECK int event_take_encoding(struct event *ev, bool *out_base64, struct error *err);
