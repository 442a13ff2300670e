// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The admin port: /healthz, /readyz, /metrics, /debug/why?namespace=&name=. Owns its
 * listener. May not: change anything.
 */

#include "http/admin.h"
#include "autoscaler/engine.h"
#include "autoscaler/scraper.h"
#include "autoscaler/stat_server.h"

struct admin {
    struct engine *engine;
    const struct scraper *scraper;
    const struct stat_server *stat_server;
    struct http_admin http;
    bool draining; /* /readyz says no */
};

MUST_CHECK int admin_start(struct admin *a, struct loop *loop, struct engine *engine,
                           const struct scraper *scraper, const struct stat_server *stat_server,
                           const char *listen, struct error *err);
void admin_close(struct admin *a, void (*cb)(void *arg), void *arg);
