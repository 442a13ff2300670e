// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Private to lib/http: the HTTP/2 half of http/upstream.h. A pool whose options say so has one of
 * these and nothing else; its calls have `h2` set. The contracts are those of upstream.h.
 */

#include "http/upstream.h"

struct h2_pool;

/* addr is what text says. */
struct h2_pool *h2_pool_new(struct loop *loop, const struct addr *addr, const char *text,
                            const struct http_pool_options *options);
void h2_pool_close(struct h2_pool *pool, void (*cb)(void *arg), void *arg);
/* Calls that run; connections without one. */
size_t h2_pool_active(const struct h2_pool *pool);
size_t h2_pool_idle(const struct h2_pool *pool);
void h2_pool_flush_idle(struct h2_pool *pool);

MUST_CHECK int h2_call_start(struct h2_pool *pool, struct http_call *call,
                             const struct http_head *head, const struct http_call_events *events,
                             void *arg, struct error *err);
enum http_flow h2_call_write(struct http_call *call, struct slice chunk);
enum http_flow h2_call_flush(struct http_call *call);
void h2_call_trailers(struct http_call *call, const struct http_head *trailers);
void h2_call_end(struct http_call *call);
void h2_call_pause(struct http_call *call);
void h2_call_resume(struct http_call *call);
void h2_call_cut(struct http_call *call);
bool h2_call_reached(const struct http_call *call);
void h2_call_cancel(struct http_call *call);
bool h2_call_sent(const struct http_call *call);
