// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Signals as callbacks on the loop. Does not keep the loop running. */

#include "loop/closer.h"

#define SIGNALS_MAX 4

struct signals;
typedef void (*signals_cb)(struct signals *signals, int signum);

struct signals {
    struct loop *loop;
    uv_signal_t uv[SIGNALS_MAX]; /* private */
    unsigned count;              /* private: handles that were initialised */
    struct closer closer;        /* private */
    signals_cb cb;
    void *data; /* the owner's */
    void (*close_cb)(struct signals *signals);
};

/* SIGTERM and SIGINT. On an error nothing stays open after a later signals_close. */
MUST_CHECK int signals_start(struct signals *signals, struct loop *loop, signals_cb cb, void *data,
                             struct error *err);
/* One more signal (SIGHUP, SIGUSR1, …); at most SIGNALS_MAX in all. */
MUST_CHECK int signals_add(struct signals *signals, int signum, struct error *err);
void signals_close(struct signals *signals, void (*cb)(struct signals *signals));
