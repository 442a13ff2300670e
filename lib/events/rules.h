// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Private to lib/events: the forms of single attributes, once all are there. Pure. */

#include "events/event.h"

/* time, dataschema and datacontenttype, where given. */
MUST_CHECK int event_check_forms(const struct event *ev, struct error *err);
/* Whether a media type says text that JSON can hold as a string: "text/…", XML. */
bool event_type_is_text(struct slice media_type);
