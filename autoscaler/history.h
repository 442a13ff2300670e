// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The last changes of one revision's scale, each with its rule and its inputs, newest first; and
 * their form in the PodAutoscaler's status (lullDecisions). Pure. Owns its memory, no more of it
 * than there are changes.
 */

#include <jansson.h>

#include "autoscaler/plan.h"

#define HISTORY_MAX 10

struct change {
    int64_t wall_ns;
    int32_t from; /* -1: was not known */
    int32_t to;
    enum plan_rule plan_rule; /* PLAN_AS_DECIDED: decider_rule gave the number */
    enum decider_rule decider_rule;
    bool panicking;
    int32_t ready;
    double stable;
    double panic;
    double target;
    /* What else the decision depended on; present: it was written down by a release that does so.
     */
    bool complete;
    bool reachable;
    float held;
    double backlog;        /* events that waited, below 0: not known; with a target only */
    double backlog_target; /* 0: another metric */
    int32_t backlog_most;
    int32_t panic_before;
    int32_t delay_most;
    uint32_t stable_window_s;
    uint32_t panic_window_s;
};

/* Zeroed is empty. */
struct history {
    struct change *changes; /* owned */
    size_t count;           /* at most HISTORY_MAX */
};

void history_fini(struct history *h); /* leaves it empty */

void history_add(struct history *h, const struct change *change);

/* "min-scale", "panic-window", …: the one rule that counts. */
const char *change_rule(const struct change *change);

/*
 * What this change would become today: the same numbers through the same code, with the settings of
 * now but the recorded target and windows. False: too little was written down.
 */
bool change_recompute(const struct change *change, const struct scaling_spec *spec, int32_t *out_to,
                      const char **out_rule);

/* The array lullDecisions; a new reference, NULL only when memory is gone. */
json_t *history_to_json(const struct history *h);
/* Reads back what is there and makes sense; skips the rest. h: not initialized. */
void history_from_json(struct history *h, const json_t *decisions);
