// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A child process: start, signal, exit callback. The child leads its own session and process
 * group, has default signal handling, and inherits only the descriptors that are named.
 */

#include <sys/types.h>

#include "loop/closer.h"

struct process;
/* signum is 0 when it exited by itself with exit_status. */
typedef void (*process_exit_cb)(struct process *p, int exit_status, int signum);

struct process_options {
    const char *file;  /* looked up in PATH when it has no slash */
    char *const *argv; /* with argv[0], NULL-terminated */
    char *const *env;  /* NULL-terminated; NULL: ours */
    const char *cwd;   /* NULL: ours */
    const int *fds;    /* child descriptor i is our fds[i]; -1: /dev/null */
    unsigned fd_count; /* at most PROCESS_FDS_MAX; 0..2 default to /dev/null */
    bool set_ids;      /* change to uid and gid below, drop supplementary groups */
    uid_t uid;
    gid_t gid;
};
#define PROCESS_FDS_MAX 8

struct process {
    uv_process_t uv; /* private */
    struct loop *loop;
    process_exit_cb on_exit;
    void *data;              /* the owner's */
    bool spawned;            /* private */
    bool exited;             /* private */
    bool closing;            /* private */
    struct loop_task closed; /* private */
    void (*close_cb)(struct process *p);
};

/* Non-zero: not started (the error names the file), close is still fine. */
MUST_CHECK int process_start(struct process *p, struct loop *loop,
                             const struct process_options *opt, process_exit_cb on_exit, void *data,
                             struct error *err);
pid_t process_pid(const struct process *p);
/* Signals the process, or its whole group. ERR_NOT_FOUND when it is gone. */
MUST_CHECK int process_kill(struct process *p, int signum, bool group, struct error *err);
/* Stops watching; does not end the child. Idempotent. */
void process_close(struct process *p, void (*cb)(struct process *p));
