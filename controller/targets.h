// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A Route's spec.traffic with the revision that each target means now. Pure.
 * Owns: its copies and texts. May not: write, or know what is routed.
 */

#include "controller/conditions.h"
#include "controller/reconcile.h"
#include "controller/rollout.h"

/* One target. Names are borrowed from the Route's spec, but revision. */
struct target {
    const char *tag; /* "" without */
    char revision[OBJECT_BUF];
    char configuration[OBJECT_BUF]; /* that it follows or, of a pinned one, that it comes from */
    bool latest;                    /* follows its Configuration */
    int64_t percent;
};

struct targets {
    struct target *list; /* in the order of spec; what is the same twice is one */
    size_t count;
    const char *status; /* STATUS_TRUE: all are known and ready */
    const char *reason;
    char message[2 * ERROR_MSG_MAX];
};

/* route is borrowed as long as the targets live. */
void targets_init(struct targets *t, const struct reconcile_env *env, const json_t *route);
void targets_fini(struct targets *t);

/*
 * What status.traffic is to say; shares: of the targets that a rollout has split, may be NULL.
 * url_of writes the URL of a tag.
 */
json_t *targets_status(const struct targets *t, const struct rollout *shares,
                       void (*url_of)(void *arg, const char *tag, struct strbuf *out), void *arg);
/* Each latest target with a percent, all of it with its revision: the goal of a rollout. */
void targets_goal(const struct targets *t, struct rollout *out);
