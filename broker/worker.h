// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The whole of lull-broker: its connections, watches, listeners, and how they begin and end.
 */

#include "loop/lifeline.h"
#include "loop/signals.h"
#include "broker/admin.h"
#include "broker/model.h"

struct part {
    struct worker worker;
    struct admin admin;
    struct signals signals;
    bool signals_started;
    struct lifeline lifeline;
    bool lifeline_started;
    bool ready_told;
    bool stopping;
    bool started;
    struct timer drain; /* ends the wait for deliveries */
    uint64_t drain_until_ms;
};

/* After an error stop is called all the same. */
MUST_CHECK int part_start(struct part *p, struct loop *loop, const struct config *config,
                          struct error *err);
/* Idempotent; the loop runs empty afterwards. */
void part_stop(struct part *p);
