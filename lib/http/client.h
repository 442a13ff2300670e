// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One small request, whole answer: for scrapes, probes and admin calls. No keep-alive, no redirect,
 * no TLS (lib/fetch has it). Everything is bounded: time, head, body.
 *
 *     http_client_start(loop, &(struct http_client_request){
 *         .addr = "unix:/run/x.sock", .method = "GET", .target = "/metrics", .host = "localhost",
 *         .timeout_ms = 1000, .max_body = 65536}, on_answer, me, &client, err);
 */

#include "loop/loop.h"
#include "http/head.h"

struct http_client; /* a running request */

struct http_client_request {
    const char *addr;                  /* "IP:PORT", "[IPv6]:PORT", "unix:/path" */
    bool h2c;                          /* HTTP/2 with prior knowledge, as gRPC servers want it */
    const char *method;                /* NULL: GET */
    const char *target;                /* NULL: "/" */
    const char *host;                  /* Host; NULL: "localhost" */
    const struct http_header *headers; /* names and values; ids are not needed */
    size_t n_headers;
    struct slice body;   /* copied; at most 1 MiB */
    uint32_t timeout_ms; /* for all of it; must not be 0 */
    size_t max_body;     /* ERR_TOO_BIG beyond it */
};

struct http_client_answer {
    const struct http_head *head; /* NULL on failure; borrowed until return */
    struct slice body;            /* NUL-terminated; borrowed until return */
};

/* rc 0 with an answer of any status, else negative and err. The request is over and freed after it.
 */
typedef void (*http_client_cb)(int rc, const struct http_client_answer *answer,
                               const struct error *err, void *arg);

/* Zero: exactly one cb follows, never inside this call. out_client (may be NULL) serves to cancel.
 */
MUST_CHECK int http_client_start(struct loop *loop, const struct http_client_request *request,
                                 http_client_cb cb, void *arg, struct http_client **out_client,
                                 struct error *err);
/* No callback will come. Not after cb. */
void http_client_cancel(struct http_client *client);
