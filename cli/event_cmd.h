// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What the three verbs of `lull event` share: their options, and where the other two are. */

#include "cli/cli.h"
#include "cli/filter_args.h"

struct event_options {
    struct cli_common common;
    /* send */
    char *broker, *type, *source, *id, *subject, *content_type, *data, *file;
    char *extension; /* row for --help */
    int64_t timeout_s;
    struct cli_words extensions;
    /* tail, replay */
    char *trigger, *since, *until, *cesql;
    char *filter, *prefix, *suffix; /* rows for --help */
    struct filter_args filters;
    int64_t count;
    bool dry_run;
};

/* event_tail.c: prints events as they come, until interrupted or --count of them. */
MUST_CHECK int event_tail(struct cli *cli, const struct event_options *o, struct error *err);
/* event_replay.c: kept events to one trigger again. */
MUST_CHECK int event_replay(struct cli *cli, const struct event_options *o, struct error *err);
