// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Watches whether the function is ready. While it is not: a connect attempt every millisecond
 * (in the first 10 ms several in a row), slower with time (20 ms after half a minute); once it
 * listens, the HTTP or gRPC probe if there is one. While it is: one probe per period, not ready
 * after failure_threshold failures in a row, and at once when somebody saw a refused connection
 * (prober_suspect).
 *
 * Owns its timer and a running probe request; not the spec.
 */

#include "loop/addr.h"
#include "loop/timer.h"
#include "http/client.h"
#include "queue-proxy/probe_spec.h"

struct prober {
    struct loop *loop;
    const struct probe_spec *spec;
    struct addr addr;              /* private: what is probed */
    char addr_text[ADDR_TEXT_MAX]; /* private */
    char host[ADDR_TEXT_MAX];      /* private: Host of the HTTP probe */
    struct timer timer;            /* private */
    struct http_client *request;   /* private: probe under way */
    uint64_t since_ms;             /* private: not ready since */
    int64_t successes;             /* private: in a row */
    int64_t failures;              /* private: in a row */
    bool ready;
    bool closing;
    void (*on_change)(struct prober *p); /* ready has changed */
    void *data;                          /* the owner's */
    void (*close_cb)(struct prober *p);
};

/* Starts at once; on_change comes later. spec is borrowed. */
void prober_start(struct prober *p, struct loop *loop, const struct addr *probed,
                  const struct probe_spec *spec, void (*on_change)(struct prober *p), void *data);
/* A connection was refused: probe now. */
void prober_suspect(struct prober *p);
void prober_close(struct prober *p, void (*cb)(struct prober *p));
