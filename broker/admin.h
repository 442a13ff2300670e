// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The admin port: /healthz, /readyz, /metrics, /state as JSON, and /events/… (query.h), of which
 * only what comes as PUT changes anything.
 */

#include "http/admin.h"
#include "broker/model.h"

struct admin {
    struct http_admin http;
    struct worker *worker;
    bool draining;
};

/* After an error close is still due. */
MUST_CHECK int admin_start(struct admin *a, struct worker *w, const char *listen,
                           struct error *err);
/* Of the first TCP listener; 0: none. */
uint16_t admin_port(const struct admin *a);
void admin_close(struct admin *a, void (*cb)(void *arg), void *arg);
