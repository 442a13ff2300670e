// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The status of a PodAutoscaler, and the notes to activators, as JSON. Pure.
 */

#include "autoscaler/revision.h"

/* {"status": {...}}: a merge patch. A new reference; NULL with err when the JSON cannot be made. */
json_t *status_patch_json(const struct revision *rev, struct error *err);

/* {"namespace","name","phase","message"} into out (cleared first). */
MUST_CHECK int status_note_json(const struct revision *rev, const char *phase, const char *message,
                                struct strbuf *out, struct error *err);
