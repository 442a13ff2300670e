// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The admin port: /healthz, /readyz, /metrics, /debug/state. Reads the other modules; changes
 * nothing.
 */

#include "http/simple.h"
#include "activator/handler.h"
#include "activator/reporter.h"
#include "activator/watch.h"

struct admin {
    struct http_simple *simple; /* private, like the rest */
    const struct handler *handler;
    const struct watch *watch;
    const struct reporter *reporter;
    struct loop *loop;
    uint64_t started_ns;
};

/* The others outlive it. watch and reporter may still be zeroed. */
MUST_CHECK int admin_start(struct admin *a, struct loop *loop, const char *addr,
                           const struct handler *handler, const struct watch *watch,
                           const struct reporter *reporter, struct error *err);
/* cb comes later; also after a start that failed. */
void admin_close(struct admin *a, void (*cb)(void *arg), void *arg);
