// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The whole autoscaler on a loop: engine, stat server, scraper, admin port, signals, lifeline.
 * main.c starts it; it ends by a signal or when the supervisor is gone.
 */

#include "loop/lifeline.h"
#include "loop/signals.h"
#include "kube/elector.h"
#include "autoscaler/admin.h"
#include "autoscaler/config.h"

struct autoscaler {
    struct loop *loop;
    struct engine engine;
    struct elector *elector; /* NULL: no lease, we lead */
    struct stat_server stat_server;
    struct scraper scraper;
    struct admin admin;
    struct traffic_log traffic;
    struct signals signals;
    struct lifeline lifeline;
    bool engine_started; /* private: parts that are to be closed */
    bool signals_started;
    bool lifeline_started;
    bool stopping;
};

/* Zeroed by the caller. On failure autoscaler_stop is still due. */
MUST_CHECK int autoscaler_start(struct autoscaler *a, struct loop *loop,
                                const struct config *config, struct error *err);
/* Closes everything; the loop then runs out. Idempotent. */
void autoscaler_stop(struct autoscaler *a);
