// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Why a revision has the scale it has, in words and as JSON: for `lull why`. Pure: reads a revision
 * and the reports, changes nothing. What would happen without further traffic is found by running
 * the same decisions on a copy, in virtual time.
 */

#include <jansson.h>

#include "autoscaler/revision.h"

/* The next change that would come without any further traffic. */
struct forecast {
    bool changes;     /* false: nothing would change within two hours */
    int32_t to;       /* the scale after it */
    uint64_t in_ms;   /* from now */
    bool zero;        /* it would reach zero … */
    uint64_t zero_ms; /* … after this time from now */
};

/* Requires that the revision has a PodAutoscaler and was started. */
struct forecast explain_forecast(const struct revision *rev, const struct reports *reports,
                                 uint64_t now_ms);

/*
 * {"namespace","name","scale":{…},"why":{"rule","text","until…"},"next":{…},"changes":[…],
 *  "settings":{…},"reports":{…},"text":"…"}: a new reference, NULL with err on bad data.
 */
json_t *explain_json(const struct revision *rev, const struct reports *reports, uint64_t now_ms,
                     int64_t wall_ns, struct error *err);
