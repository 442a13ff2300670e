// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The whole queue-proxy in one object: proxy, admin port, signals, lifeline, drain.
 *
 * READY=1 when the function listens; an activator is then told, where the settings name one.
 * SIGTERM: STOPPING=1, activators are refused from now on,
 * running requests go on; it ends when no request ran or came for drain-quiet, at the latest after
 * drain-timeout. A second signal or the end of the lifeline: at once. SIGHUP: the function was
 * started again, so it is probed anew and READY=1 is said again.
 */

#include "loop/lifeline.h"
#include "loop/signals.h"
#include "queue-proxy/admin.h"
#include "queue-proxy/announce.h"

struct app {
    struct loop *loop; /* private, like the rest */
    const struct config *config;
    struct proxy proxy;
    struct admin admin;
    struct announcer announcer;
    struct signals signals;
    struct lifeline lifeline;
    struct timer drain;
    uint64_t drain_since_ms;
    bool proxy_started;
    bool admin_started;
    bool stopping;
};

/* config outlives it. After an error app_stop is due all the same. */
MUST_CHECK int app_start(struct app *app, struct loop *loop, const struct config *config,
                         struct error *err);
/* Closes everything without a drain; the loop runs empty then. Idempotent. */
void app_stop(struct app *app);
