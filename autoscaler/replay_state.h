// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * All that decisions about a revision read, as JSON and back: the `state` of a recording
 * (docs/replay.md). Pure. Times are those of the process, seconds and milliseconds.
 */

#include <jansson.h>

#include "autoscaler/revision.h"

/* A new reference. */
json_t *replay_state_to_json(const struct revision *rev, const struct reports *reports);

/*
 * Puts a state over the revision, which has settings already (of a config), and over reports. Times
 * are moved by origin_ms. ERR_INVALID names the field; what was read so far stays.
 */
MUST_CHECK int replay_state_from_json(const json_t *state, uint64_t origin_ms, struct revision *rev,
                                      struct reports *reports, struct error *err);

/*
 * A recording that begins with the revision as it is now and goes on in silence until nothing
 * changes any more, or for an hour and a half: an array of lines. A new reference.
 */
json_t *replay_record(const struct revision *rev, const struct reports *reports, uint64_t now_ms);
