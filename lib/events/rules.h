// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Private to lib/events: the forms of single attributes. Pure. */

#include "events/event.h"

/* time, dataschema and datacontenttype, where given. */
MUST_CHECK int event_check_forms(const struct event *ev, struct error *err);
/* Whether a media type says text that JSON can hold as a string: "text/…", XML. */
bool event_type_is_text(struct slice media_type);

/* A header as it came, for an attribute that the event has; borrowed. Setting the attribute forgets
 * it. */
void event_keep_wire(struct event *ev, struct slice name, struct slice text);
/* ptr NULL: none is kept. */
struct slice event_wire(const struct event *ev, struct slice name);
