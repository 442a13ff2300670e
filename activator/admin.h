// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The admin port: /healthz, /readyz, /metrics, /debug/state. Reads the other modules; changes
 * nothing.
 */

#include "http/admin.h"
#include "activator/handler.h"
#include "activator/reporter.h"
#include "activator/watch.h"

struct admin {
    struct http_admin http; /* private, like the rest */
    const struct handler *handler;
    const struct watch *watch;
    const struct reporter *reporter;
    struct loop *loop;
    uint64_t started_ns;
};

#define ADMIN_PAGE_MAX HTTP_ADMIN_PAGE_MAX

/*
 * Appends the page at this path to out (max ADMIN_PAGE_MAX); *out_type is static text. Returns the
 * HTTP status. A page that does not fit leaves out failed. One worker of several hands its pages
 * to the process that adds them up: whatever the admin port shows comes through here.
 */
int admin_page(const struct admin *a, struct slice path, const char **out_type, struct strbuf *out);
/* For a worker without an admin port of its own: only admin_page() may be called. */
void admin_init(struct admin *a, struct loop *loop, const struct handler *handler,
                const struct watch *watch, const struct reporter *reporter);
/* The others outlive it. watch and reporter may still be zeroed. */
MUST_CHECK int admin_start(struct admin *a, struct loop *loop, const char *addr,
                           const struct handler *handler, const struct watch *watch,
                           const struct reporter *reporter, struct error *err);
/* cb comes later; also after a start that failed. */
void admin_close(struct admin *a, void (*cb)(void *arg), void *arg);
