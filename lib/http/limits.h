// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The bounds of HTTP connections, in one place, each with what happens when it is reached.
 * http_limits_default() gives values for a listener that faces the world.
 */

#include "base/attr.h"

/* The most that max_headers may be. */
#define HTTP_MAX_HEADERS 256

struct http_limits {
    uint32_t max_head_bytes;   /* target, names and values together: 431 (of an answer: 502) */
    uint32_t max_target_bytes; /* 414 */
    uint32_t max_headers;      /* count: 431; at most HTTP_MAX_HEADERS */
    uint64_t max_body_bytes;   /* 413; 0: no limit */
    uint32_t
        hold_body_bytes; /* body kept for a handler that does not read yet; then reading stops */
    uint32_t out_high_bytes;  /* unsent bytes at which writes say HTTP_FULL */
    uint32_t out_burst_bytes; /* most bytes written at once beyond that; 0: 1 MiB; more: closed */
    /* times; 0: no limit */
    uint32_t idle_ms;         /* keep-alive without a request: closed */
    uint32_t head_ms;         /* first byte of a head to its end, and connect to first byte: 408 */
    uint32_t body_ms;         /* no byte of a body that is being read: 408 */
    uint32_t write_ms;        /* the peer takes no byte of what waits for it: closed */
    uint32_t max_connections; /* per server: further ones get 503 and are closed */
    uint32_t max_requests;    /* per connection, then Connection: close; 0: no limit */
};

/*
 * 32 KiB of head, 16 KiB of target, 100 headers, bodies unlimited, 64 KiB held, 64 KiB unsent;
 * idle 75 s, head 15 s, body 60 s, write 60 s; 15,000 connections.
 */
struct http_limits http_limits_default(void);
