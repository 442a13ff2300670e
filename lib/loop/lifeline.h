// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The lifeline: a pipe whose only write end the supervisor holds. End of file on it means that the
 * supervisor is gone, and so is our reason to run. Where no descriptor is named (Kubernetes, a part
 * started by hand) it does nothing.
 *
 * Owns the descriptor from lifeline_start on and makes it close-on-exec. Does not keep the loop
 * running.
 */

#include "loop/loop.h"

#define LIFELINE_ENV "LULL_LIFELINE_FD"

struct lifeline;
typedef void (*lifeline_cb)(struct lifeline *lifeline);

struct lifeline {
    struct loop *loop;
    uv_poll_t poll;          /* private */
    int fd;                  /* private: -1 when there is none */
    bool open;               /* private */
    bool closing;            /* private */
    lifeline_cb cb;          /* private: the supervisor is gone; comes once */
    lifeline_cb close_cb;    /* private */
    struct loop_task closed; /* private */
    void *data;              /* the owner's */
};

/*
 * Watches the descriptor that the environment names. No such variable: success, and cb never
 * comes. ERR_INVALID: the variable is no number, or no open descriptor has that number.
 */
MUST_CHECK int lifeline_start(struct lifeline *lifeline, struct loop *loop, lifeline_cb cb,
                              void *data, struct error *err);
/* Idempotent; cb (may be NULL) comes later. Fine after a start that failed. */
void lifeline_close(struct lifeline *lifeline, lifeline_cb cb);
