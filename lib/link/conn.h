// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Private to lib/link: one connection, of either end. Runs the handshake, cuts the bytes into
 * frames. After link_conn_begin: `up` at most once; frames while up; `down` once, when it broke by
 * itself. The owner then closes it; link_conn_close may come at any time and ends all events.
 */

#include "link/link.h"
#include "link/proto.h"

struct link_conn;

struct link_conn_events {
    void (*up)(struct link_conn *conn);
    void (*frame)(struct link_conn *conn, uint8_t type, struct slice payload);
    void (*down)(struct link_conn *conn, const struct error *why);
    void (*closed)(struct link_conn *conn);
};

enum link_conn_state { LINK_CONN_NEW, LINK_CONN_SHAKING, LINK_CONN_UP, LINK_CONN_DOWN };

struct link_conn {
    struct stream stream; /* the owner connects or accepts it, with link_conn_stream_events */
    const struct link_conn_events *events;
    struct slice secret; /* borrowed from the owner */
    bool server;
    enum link_conn_state state;
    struct link_session session;
    struct link_nonces nonces;
    struct strbuf in;
};

extern const struct stream_events link_conn_stream_events;

/* queue_max: most bytes that may wait for the peer. Then connect or accept conn->stream. */
void link_conn_init(struct link_conn *conn, bool server, struct slice secret,
                    const struct link_conn_events *events);
/* The stream is open: checks the peer's user, or begins the handshake. `up` may come at once. */
void link_conn_begin(struct link_conn *conn, size_t queue_max);
MUST_CHECK int link_conn_send(struct link_conn *conn, uint8_t type, struct slice payload,
                              struct error *err);
/* Idempotent; events->closed comes later. */
void link_conn_close(struct link_conn *conn);
