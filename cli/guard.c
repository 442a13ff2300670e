// SPDX-License-Identifier: Apache-2.0
//
// Happy path: our end is tied to that of our parent, the lock is taken and stays with the program
// that we become. Failure modes: the parent is gone already; one that the kernel is still ending
// has the lock: waited for, a while.
#include "cli/guard.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "loop/lifeline.h"
#include "cli/cli.h"

#define LOCK_TRIES   100
#define LOCK_WAIT_MS 100

// The supervisor may have ended before we asked to be told.
static bool parent_is_gone(void)
{
    const char *text = getenv(LIFELINE_ENV);
    struct pollfd lifeline = {.fd = text ? (int)strtol(text, NULL, 10) : -1, .events = POLLIN};

    return lifeline.fd >= 0 && poll(&lifeline, 1, 0) > 0;
}

int guard_run(char **argv)
{
    struct error err;
    int fd = -1;

    if (!argv[0] || !argv[1]) {
        return cli_usage("usage: lull " GUARD_FLAG " LOCK PROGRAM ARGUMENT…");
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (parent_is_gone()) {
        return 1;
    }
    int rc = fs_lock(argv[0], &fd, &err);
    for (int again = 0; rc == ERR_IN_USE && again < LOCK_TRIES; again++) {
        poll(NULL, 0, LOCK_WAIT_MS);
        rc = fs_lock(argv[0], &fd, &err);
    }
    rc = rc < 0 ? rc : fs_set_cloexec(fd, false, &err);
    if (rc < 0) {
        return cli_fail(&err);
    }
    execv(argv[1], argv + 1);
    return cli_failf("cannot execute %s: %s", argv[1], strerror(errno));
}
