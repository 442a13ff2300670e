// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Whether and when a delivery is tried again: the delivery spec of a Trigger or Broker, the answer
 * that came, and nothing else. Pure; jitter is the caller's number.
 */

#include <jansson.h>

#include "base/error.h"
#include "base/slice.h"

enum retry_backoff { RETRY_EXPONENTIAL, RETRY_LINEAR };

struct retry_policy {
    uint32_t retries; /* tries after the first */
    enum retry_backoff backoff;
    uint64_t delay_ms;
    uint64_t timeout_ms;         /* of one try; 0: not said */
    uint64_t retry_after_max_ms; /* bounds what the sink asks for; 0: Retry-After does not count */
    bool structured;             /* format: json */
};

/* What the spec says, the defaults for what it does not say: 10 times, exponential, 0.2 s. */
void retry_policy_default(struct retry_policy *p);
/* delivery may be NULL. ERR_INVALID with the path. */
MUST_CHECK int retry_policy_read(const json_t *delivery, struct retry_policy *out,
                                 struct error *err);

/* Whether a try with this answer is worth another one. 0: no answer came. */
bool retry_wanted(int status);

#define RETRY_DELAY_MAX_MS (6ull * 3600 * 1000) /* no delay is longer */

/*
 * How long to wait before try number attempt + 1 (attempt 0: the first retry comes next).
 * retry_after_ms: what the answer asked for, 0: nothing. jitter: 0 … 1, of a tenth of the delay.
 */
uint64_t retry_delay_ms(const struct retry_policy *p, uint32_t attempt, uint64_t retry_after_ms,
                        double jitter);

/* The milliseconds of a Retry-After value (seconds, or an HTTP date); 0: none, or in the past. */
uint64_t retry_after_ms(struct slice value, int64_t wall_ns);
