// SPDX-License-Identifier: Apache-2.0
#pragma once

/* All revisions with their numbers of the moment, as JSON: what `lull top` shows. Pure. */

#include <jansson.h>

#include "autoscaler/engine.h"

/*
 * {"revisions": [{"namespace","name","ready","wanted","concurrency","rps","panicMode"}],
 * "events": {"NS/SERVICE[/REVISION]": number}}: averages over the panic window; a revision without
 * a PodAutoscaler is left out, "wanted" where nobody has decided yet, "events" (that wait, whatever
 * the metric) where lull-broker does not tell. A new reference.
 */
json_t *overview_json(const struct engine *e, uint64_t now_ms);
