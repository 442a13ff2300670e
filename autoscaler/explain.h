// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Why a revision has the scale it has, in words and as JSON: for `lull why`. Pure: reads a revision
 * and the reports, changes nothing. What would happen without further traffic is in forecast.h.
 */

#include <jansson.h>

#include "autoscaler/forecast.h"

/*
 * {"namespace","name","scale":{…},"why":{"rule","text","lastsSeconds"…},"next":{…},
 *  "holds":[{"reason","text","lastsSeconds","without":{…}}],"changes":[…],
 *  "settings":{…},"reports":{…},"text":"…"}: a new reference, NULL with err on bad data.
 */
json_t *explain_json(const struct revision *rev, const struct reports *reports, uint64_t now_ms,
                     int64_t wall_ns, struct error *err);

/*
 * The recorded changes computed again from their inputs (change_recompute):
 * [{"time","from","to","rule","recomputed":{"to","rule"},"same"}]. A new reference.
 */
json_t *explain_replay(const struct revision *rev);
