// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The admin port: /metrics (Knative's Stat as protobuf where asked for, else text), /healthz,
 * /readyz, /wait-for-drain (answers when the drain is over, or after a second if none begins).
 */

#include "loop/timer.h"
#include "http/admin.h"
#include "queue-proxy/proxy.h"

struct admin {
    struct proxy *proxy;
    struct http_admin http;    /* private */
    struct list waiting;       /* private: /wait-for-drain requests */
    struct timer drain_begins; /* private */
    void (*close_cb)(struct admin *admin);
    size_t open; /* private */
};

MUST_CHECK int admin_start(struct admin *admin, struct loop *loop, struct proxy *proxy,
                           const char *listen, struct error *err);
/* The drain is over: /wait-for-drain answers. */
void admin_drained(struct admin *admin);
void admin_close(struct admin *admin, void (*cb)(struct admin *admin));
