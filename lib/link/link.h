// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Authenticated frames between our own parts. A server listens; clients connect, and connect
 * again by themselves. Over a unix socket (mode 0600) the kernel says who the peer is: our own
 * user or root. Over TCP both ends prove that they know the install secret, and each frame
 * carries a code made with a key of this connection (see link/proto.h for the bytes).
 *
 * A frame is a type (1..239) and a payload. Nothing here knows what is in it. Frames that cannot
 * be sent now are not kept for later connections: the sender asks again with fresher numbers.
 */

#include "base/slice.h"
#include "loop/stream.h"

#define LINK_PAYLOAD_MAX ((1u << 20) - 64)
#define LINK_TYPE_MAX    239

/* --- server --------------------------------------------------------------------------------- */

struct link_server;
struct link_peer; /* one client of a server; valid from on_up until on_down has returned */

struct link_server_events {
    void (*on_up)(struct link_peer *peer, void *data);
    /* payload is borrowed until return. The peer may be closed here. */
    void (*on_frame)(struct link_peer *peer, uint8_t type, struct slice payload, void *data);
    void (*on_down)(struct link_peer *peer, const struct error *why, void *data);
};

struct link_server_options {
    struct addr addr;
    struct slice secret;    /* needed for TCP; copied */
    unsigned max_peers;     /* that are up, and as many strangers in their handshake; 0: 64 */
    size_t queue_max_bytes; /* to one peer; 0: 4 MiB */
    uint64_t handshake_ms;  /* 0: 5000 */
    const struct link_server_events *events;
    void *data;
};

/* What happened to strangers; for metrics. */
struct link_server_counts {
    uint64_t accepted;
    uint64_t refused_auth;   /* wrong user, wrong secret, handshake too slow or pushed out */
    uint64_t refused_full;   /* over max_peers */
    uint64_t refused_frames; /* a peer broke the protocol */
};

MUST_CHECK int link_server_start(struct loop *loop, const struct link_server_options *opt,
                                 struct link_server **out, struct error *err);
/* Where it listens. Borrowed. */
const struct addr *link_server_addr(const struct link_server *server);
struct link_server_counts link_server_counts(const struct link_server *server);
unsigned link_server_peers(const struct link_server *server);
/* Every peer gets on_down (ERR_CANCELED), then the server frees itself, then cb (may be NULL). */
void link_server_close(struct link_server *server, void (*cb)(void *data), void *data);

/* ERR_OVERLOAD: the peer does not keep up, the frame was dropped. ERR_CLOSED: it is going. */
MUST_CHECK int link_peer_send(struct link_peer *peer, uint8_t type, struct slice payload,
                              struct error *err);
/* on_down follows later. */
void link_peer_close(struct link_peer *peer);
/* "10.0.0.7:4711", "unix: process 123 of user 0". Borrowed. */
const char *link_peer_name(const struct link_peer *peer);
void link_peer_set_data(struct link_peer *peer, void *data);
void *link_peer_data(const struct link_peer *peer);

/* --- client --------------------------------------------------------------------------------- */

struct link_client;

struct link_client_events {
    void (*on_up)(struct link_client *client, void *data);
    void (*on_frame)(struct link_client *client, uint8_t type, struct slice payload, void *data);
    /* After an on_up only. */
    void (*on_down)(struct link_client *client, const struct error *why, void *data);
};

struct link_client_options {
    const char *address;     /* "unix:/path", "IP:PORT" or "name:PORT" (asked at each connect) */
    struct slice secret;     /* needed for TCP; copied */
    size_t queue_max_bytes;  /* 0: 4 MiB */
    uint64_t handshake_ms;   /* connect and handshake together; 0: 5000 */
    uint64_t backoff_min_ms; /* 0: 20 */
    uint64_t backoff_max_ms; /* 0: 5000 */
    const struct link_client_events *events;
    void *data;
};

/* Starts to connect, for as long as it lives. Fails only on a bad address or a missing secret. */
MUST_CHECK int link_client_start(struct loop *loop, const struct link_client_options *opt,
                                 struct link_client **out, struct error *err);
bool link_client_is_up(const struct link_client *client);
/* Why the last attempt failed; an empty sentence after an on_up. Borrowed. */
const struct error *link_client_last_error(const struct link_client *client);
/* ERR_UNAVAILABLE while it is not up. ERR_OVERLOAD: dropped, the server does not keep up. */
MUST_CHECK int link_client_send(struct link_client *client, uint8_t type, struct slice payload,
                                struct error *err);
/* on_down if it was up (ERR_CANCELED), then it frees itself, then cb (may be NULL). */
void link_client_close(struct link_client *client, void (*cb)(void *data), void *data);
