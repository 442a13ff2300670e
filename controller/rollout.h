// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Gradual rollout: how the percent of a target that follows a Configuration is shared between the
 * revision that it goes to and those that it comes from. Pure: state, wish and time in, state out.
 * Owns: copies of all names. May not: know of Routes, or wait.
 *
 * Each target goes through
 *   one revision          nothing to do
 *   started               the new revision has 1 %, taken from the newest older one; start_ns is
 * set stepping              rollout_observe() saw that the 1 % is routed: step_ns, step_size,
 * next_ns one revision          after the last step A newer revision begins it again; what the
 * older ones had stays until it is their turn.
 */

#include "base/error.h"
#include "base/slice.h"

struct rollout_share {
    char *revision;
    int64_t percent;
};

/* One target of spec.traffic, known by tag and Configuration. */
struct rollout_target {
    char *configuration;
    char *tag; /* "" without */
    int64_t percent;
    struct rollout_share *shares; /* from the oldest to the newest revision */
    size_t count;
    int64_t start_ns; /* wall time; 0: no rollout */
    int64_t next_ns;
    int64_t step_ns; /* 0: not known yet */
    int64_t step_size;
};

struct rollout {
    struct rollout_target *targets; /* by tag, then Configuration */
    size_t count;
};

void rollout_init(struct rollout *r);
void rollout_fini(struct rollout *r);

/* The target has percent; a share of its own for this revision. Adds both as needed. */
void rollout_add(struct rollout *r, const char *configuration, const char *tag,
                 const char *revision, int64_t percent);
/* Takes the share at index away; what it had goes to the newest that is left. count > 1. */
void rollout_drop(struct rollout_target *t, size_t index);
/* NULL when there is none. Borrowed. */
const struct rollout_target *rollout_find(const struct rollout *r, const char *configuration,
                                          const char *tag);
/* No target has more than one revision. */
bool rollout_done(const struct rollout *r);

/*
 * The state as the annotation has it; the caller frees. rollout_parse: ERR_INVALID, and r is empty,
 * for a text that is no state, or one whose numbers do not fit together.
 */
char *rollout_text(const struct rollout *r);
MUST_CHECK int rollout_parse(struct rollout *r, struct slice text, struct error *err);

/* Times that got lost: what has several shares starts now, from the shares that it has. */
void rollout_restart(struct rollout *r, int64_t now_ns);
/* The shares in prev are routed now: targets that have just started get their steps. */
void rollout_observe(struct rollout *prev, int64_t now_ns, int64_t duration_s);
/*
 * goal: every target with its one wanted revision; it becomes the state to route. prev: the state
 * that is routed; changed. Returns when to step again (wall time), 0 when there is no need.
 */
int64_t rollout_step(struct rollout *goal, struct rollout *prev, int64_t now_ns);
