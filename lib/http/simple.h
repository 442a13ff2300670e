// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A small server over http/server.h for admin ports and the local API: the handler gets a request
 * with its whole body (up to max_body_bytes, else 413), and answers at once, later, or in a stream.
 *
 *     static void handle(struct http_simple_request *rq, void *arg)
 *     {
 *         if (slice_eq_str(rq->path, "/healthz")) {
 *             http_simple_respond(rq, 200, "text/plain", SLICE_LIT("ok\n"));
 *         } else {
 *             http_simple_respondf(rq, 404, "no such page: %.*s\n", SLICE_FMT(rq->path));
 *         }
 *     }
 *
 * A request lives until its on_close (set it when the answer comes later): exactly once, last.
 * After http_simple_respond the request must not be touched, except in on_close if one was set.
 */

#include "base/strbuf.h"
#include "http/server.h"

struct http_simple;

struct http_simple_request {
    const struct http_head *head;
    struct slice method;
    struct slice path;  /* as sent, not decoded */
    struct slice query; /* as sent, without '?' */
    struct slice body;  /* whole; NUL-terminated behind its end */
    struct http_exchange *exchange;
    void *data; /* the handler's */
    /* Set these when the answer is not given at once. */
    void (*on_close)(struct http_simple_request *rq, void *data);    /* client gone or all sent */
    void (*on_writable)(struct http_simple_request *rq, void *data); /* stream: room again */
};

typedef void (*http_simple_cb)(struct http_simple_request *rq, void *arg);

struct http_simple_options {
    struct http_limits limits; /* max_body_bytes must not be 0 */
    http_simple_cb handle;
    void *arg;
};

/* Defaults for an admin port: bodies up to 1 MiB, 256 connections. */
struct http_simple_options http_simple_options_default(http_simple_cb handle, void *arg);

struct http_simple *http_simple_new(struct loop *loop, const struct http_simple_options *options);
/* The server below: listen, port, drain, counts. Closing goes through http_simple_close. */
struct http_server *http_simple_server(struct http_simple *simple);
void http_simple_close(struct http_simple *simple, void (*cb)(void *arg), void *arg);

void http_simple_respond(struct http_simple_request *rq, int status, const char *content_type,
                         struct slice body);
/* text/plain, at most 4 KiB */
void http_simple_respondf(struct http_simple_request *rq, int status, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* With own headers. */
void http_simple_respond_head(struct http_simple_request *rq, const struct http_head *head,
                              struct slice body);

/* A stream (watch, log): the head goes out at once. */
void http_simple_stream(struct http_simple_request *rq, int status, const char *content_type);
/* HTTP_FULL: stop until on_writable. */
enum http_flow http_simple_write(struct http_simple_request *rq, struct slice chunk);
void http_simple_end(struct http_simple_request *rq);
/* Cut the stream off. */
void http_simple_abort(struct http_simple_request *rq);

/*
 * Value of a query parameter, %XX and '+' decoded into out (cleared first). false when it is absent
 * or badly encoded (or has a NUL).
 */
bool http_query_get(struct slice query, const char *name, struct strbuf *out);
/* Decodes %XX of a path segment into out (cleared first); false on bad escapes or NUL. */
bool http_path_decode(struct slice text, struct strbuf *out);
