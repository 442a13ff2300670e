// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A listening socket (TCP or unix). For each connection on_connection runs; there the owner calls
 * listener_accept with a stream of its own, or listener_refuse. If it calls neither, the
 * listener holds that connection and stops until one of the two is called: that is how an owner
 * at its connection limit pushes back. While the process is out of descriptors or memory,
 * connections wait in the kernel's queue and are tried again.
 */

#include "loop/stream.h"
#include "loop/timer.h"

struct listener;
typedef void (*listener_cb)(struct listener *l);

struct listen_options {
    int backlog;     /* 0: 4096; the kernel allows net.core.somaxconn at most */
    bool reuse_port; /* SO_REUSEPORT (TCP) */
    bool inherited;  /* fd is a bound socket to take over; it is not unlinked at close */
    int fd;          /* only with inherited */
    unsigned mode;   /* of a unix socket; 0: 0600 */
    /* Puts a layer (TLS) onto each accepted stream; NULL for plain. See tls_secure. */
    int (*secure)(void *secure_data, struct stream *s, struct error *err);
    void *secure_data;
};

struct listener {
    struct loop *loop;
    listener_cb on_connection;
    void *data;                /* the owner's */
    struct loop_io io;         /* private */
    struct addr addr;          /* private: as bound */
    struct listen_options opt; /* private */
    bool unix_socket;          /* private */
    bool open;                 /* private */
    bool closing;              /* private */
    bool unlink_path;          /* private */
    bool ready;                /* private: connections may be waiting in the kernel */
    int waiting;               /* private: one that was accepted and not taken yet, -1 none */
    struct loop_task later;    /* private: go on accepting, or say closed */
    struct timer retry;        /* private: the process is out of descriptors */
    listener_cb close_cb;      /* private */
};

/*
 * Binds and listens. opt may be NULL. A unix path where nobody listens any more is taken over;
 * where somebody does: ERR_IN_USE. Non-zero: nothing is open, and listener_close is still fine.
 */
MUST_CHECK int listener_start(struct listener *l, struct loop *loop, const struct addr *addr,
                              const struct listen_options *opt, listener_cb on_connection,
                              void *data, struct error *err);
/*
 * Inside on_connection, or later if that returned without. Initialises s with events and data and
 * opens it. ERR_UNAVAILABLE: no connection is waiting. After a failure s is closed with
 * stream_close before its memory goes.
 */
MUST_CHECK int listener_accept(struct listener *l, struct stream *s,
                               const struct stream_events *events, void *data, struct error *err);
/*
 * Accepts what the kernel holds, all of it at once: before a close that must lose nobody. Runs
 * on_connection from inside.
 */
void listener_take_all(struct listener *l);
/* Accepts and resets the waiting connection. */
void listener_refuse(struct listener *l);
/* Where it listens, with the port that the kernel chose. */
const struct addr *listener_addr(const struct listener *l);
char *listener_text(const struct listener *l, char *buf, size_t size);
int listener_fd(const struct listener *l);
/* Idempotent; removes the path of a unix socket that it made. cb may be NULL. */
void listener_close(struct listener *l, listener_cb cb);
