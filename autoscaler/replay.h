// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Decisions from a recording: lines of JSON in, one decision per tick out, by the code that decides
 * live (autoscaler/revision.h) and in the recording's own time. docs/replay.md has the format.
 * Pure but for replay_run. Owns the revision that it plays.
 */

#include <stdio.h>

#include "autoscaler/revision.h"

#define REPLAY_LINE_MAX     (1u << 20)         /* bytes */
#define REPLAY_TIME_MAX     9007199254740991ll /* milliseconds: what every JSON reader takes */
#define REPLAY_SCENARIO_MAX 200
#define REPLAY_DECISION_MAX 4096 /* bytes of one decision's line, at most */

struct replay {
    struct revision *rev; /* NULL before the first config */
    struct reports reports;
    struct autoscaler_config config;
    char scenario[REPLAY_SCENARIO_MAX + 1];
    uint64_t ticked_ms; /* of the last tick */
    bool follow;        /* ready replicas follow the plan at once */
    bool reporting;     /* lines speak of reports: what is missing is no data */
};

void replay_init(struct replay *r);
void replay_fini(struct replay *r);

/*
 * One line. A tick appends a decision and a newline to out. ERR_INVALID: the field that cannot be
 * used and why; what was played so far stays.
 */
MUST_CHECK int replay_line(struct replay *r, struct slice line, struct strbuf *out,
                           struct error *err);

/* A whole file to a whole file; errors begin with the line's number. */
MUST_CHECK int replay_run(FILE *in, FILE *out, struct error *err);

/* lull-autoscaler replay FILE: the exit status. "-" is the standard input. */
MUST_CHECK int replay_main(int argc, char *const *argv);
