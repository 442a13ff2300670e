// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The scenario of the stream tests: a client sends more than the kernel buffers and ends its
 * direction; the server echoes with back-pressure and ends its own; the client compares. Each
 * step may fail (faults) and the whole may be closed at any turn; it always ends closed.
 */

#include "loop/deadline.h"
#include "loop/listener.h"

#define ECHO_CHUNK 65536

struct echo;

struct echo_end {
    struct stream s;
    struct echo *echo;
    const char *name;
    bool started; /* needs a close */
    bool closed;
    char buf[ECHO_CHUNK];
};

struct echo {
    struct loop *loop;
    struct listener listener;
    bool listener_closed;
    struct listen_options listen;
    int (*secure_client)(void *arg, struct stream *s, struct error *err); /* NULL: plain */
    void *secure_arg;
    struct echo_end client;
    struct echo_end server;
    size_t total;         /* bytes to send */
    size_t sent;          /* by the client */
    size_t received;      /* by the client, each checked */
    size_t paused;        /* how often the server had to stop reading */
    bool shut;            /* the client asked for its shutdown */
    unsigned completions; /* of connect and shutdowns: exactly one each */
    unsigned starts;
    bool ok;     /* the client has seen every byte and the end */
    bool failed; /* something went wrong: all is being closed */
    bool verbose;
    struct error err; /* what went wrong first */
};

/* Starts; later failures close everything by themselves. */
void echo_start(struct echo *e, struct loop *loop, const char *address, size_t total);
/* Closes everything; idempotent. */
void echo_close(struct echo *e);
bool echo_closed(const struct echo *e);
