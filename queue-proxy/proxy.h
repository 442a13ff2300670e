// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The path of a request through the queue-proxy: probe or request, refusal, breaker, forward,
 * deadlines, numbers. Owns the public server, the pool to the function, the prober and the breaker.
 */

#include "loop/deadline.h"
#include "http/forward.h"
#include "http/request_log.h"
#include "metric/buckets.h"
#include "serving/breaker.h"
#include "queue-proxy/config.h"
#include "queue-proxy/headers.h"
#include "queue-proxy/prober.h"
#include "queue-proxy/request_stats.h"

struct proxy {
    struct loop *loop;
    const struct config *config;
    struct http_server *server;
    struct http_pool *pool;
    struct probe_spec probe_spec;
    struct prober prober;
    struct breaker breaker;
    struct header_room room; /* private: only while a head is written */
    struct request_stats stats;
    struct deadlines timeouts;       /* whole request */
    struct deadlines start_timeouts; /* to the first byte of the answer */
    struct deadlines idle_timeouts;  /* between bytes of the answer */
    struct list free;                /* private: request structs for reuse */
    size_t n_free;
    size_t open; /* private: what must close before proxy_close calls back */
    uint64_t last_request_ms;
    bool draining;
    bool used;             /* an activator has sent a request */
    uint64_t warned_ms;    /* private: when a failed request was last logged */
    uint64_t n_codes[6];   /* answers by first digit; [0]: client gone, broken off */
    uint64_t n_refused[2]; /* full, draining */
    struct request_log log;
    struct metric_buckets durations;      /* arrival to the end of the answer */
    struct metric_buckets invocations;    /* the part of it in the function */
    void (*on_idle)(struct proxy *proxy); /* while draining: no request runs */
    void (*close_cb)(struct proxy *proxy);
    void *data; /* the owner's */
};

/* config is borrowed. Listens and starts to probe. After an error call proxy_close all the same. */
MUST_CHECK int proxy_start(struct proxy *proxy, struct loop *loop, const struct config *config,
                           void (*on_ready)(struct prober *prober), void *data, struct error *err);
/* From now on requests from activators are refused, so that they go elsewhere; others are served.
 */
void proxy_drain(struct proxy *proxy, void (*on_idle)(struct proxy *proxy));
/* Requests waiting or running. */
size_t proxy_active(const struct proxy *proxy);
/* Connections that clients keep. */
size_t proxy_connections(const struct proxy *proxy);
void proxy_close(struct proxy *proxy, void (*cb)(struct proxy *proxy));
