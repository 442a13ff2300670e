// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * `lull up` itself: owns the state directory's lock, the lifeline and the parts. lull-local first,
 * the others when it is ready; on SIGTERM the other way round. It is the child subreaper, so a
 * replica whose agent died stays its descendant, and it ends only when nothing that it started is
 * left.
 */

#include "cli/cli.h"

enum up_fsync { UP_FSYNC_ALWAYS, UP_FSYNC_EVERYSEC };

struct up_options {
    struct cli_common common;
    int64_t port, local_port, api_port, tls_port, max_replicas, broker_port;
    char *redis;
    int events_fsync; /* enum up_fsync */
    uint64_t max_memory;
    uint64_t events_memory; /* 0: a share of the machine's */
    bool detach;
};

/* Blocks until Lull has ended. `ready_fd` (-1: none) gets "ready\n", or the sentence why not. Exit
 * status. */
int supervisor_run(struct cli *cli, const struct up_options *options, int ready_fd);
