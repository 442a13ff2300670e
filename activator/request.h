// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One request inside the activator: from admission to its end. Internal to handler.c, request.c and
 * answer.c.
 *
 * It is the listener of its exchange except while the forwarder runs. It goes back to the handler's
 * spare list when the exchange closes, or when the forwarder reports an answered request.
 */

#include "http/forward.h"
#include "activator/handler.h"

struct request {
    struct handler *h;
    struct http_exchange *ex;
    struct ticket ticket;
    struct http_forward forward;
    struct list link;      /* in handler.spare or handler.running */
    uint32_t path_skip;    /* bytes of the target that named the function */
    uint8_t listener;      /* enum route_listener */
    uint8_t hops;          /* that it came with */
    uint8_t stale_retries; /* kept connections that had died under it */
    bool was_held;
    bool upgraded; /* it became a tunnel */
    bool refused;  /* the replica answered with a refusal */
    bool wake;     /* it only wants a replica to be there: answered, never forwarded */
    enum give_back refusal;
    char timing[PHASES_TEXT_MAX]; /* Server-Timing of a request that was held */
};

struct request *request_new(struct handler *h, struct http_exchange *ex,
                            enum route_listener listener);
/* Gives the memory back; the ticket must be idle. */
void request_free(struct request *rq);
/* It came to its end with this status (0: none reached the client); while r is there. */
void request_count(struct request *rq, struct revision *r, int status);
/* Sends a request that was granted a slot on its way. */
void request_forward(struct request *rq);

/* It ran too long: 504, or its answer ends where it is. Takes it off handler.running. */
void request_overdue(struct request *rq);

/* --- answer.c: the answers that the activator gives by itself ------------------------------- */

/* Plain text; retry_after_s 0: no such header. */
void answer_text(struct http_exchange *ex, int status, unsigned retry_after_s, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* 301 to the same URL with https; tls_port: where that is reached from outside. */
void answer_redirect(struct http_exchange *ex, unsigned tls_port);
void answer_unknown(struct request *rq, struct slice host, struct slice path);
void answer_expired(struct request *rq, const struct revision *r, enum expiry why);
/* The answer to a probe of the platform; false when it is none. */
bool answer_probe(const struct handler *h, struct http_exchange *ex);
