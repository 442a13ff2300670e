// SPDX-License-Identifier: Apache-2.0
/*
 * The listening end. A peer lives from its accept to the close callback of its stream; on_down is
 * given there, so it never comes from inside a call of the owner. Strangers are dropped, counted,
 * and logged at most once in ten seconds.
 * Peers that are up and strangers in their handshake are limited apart; one stranger too many
 * pushes the oldest out, so that silent connections keep nobody from shaking hands.
 */
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/deadline.h"
#include "loop/listener.h"
#include "link/conn.h"

#define MAX_PEERS_DEFAULT    64
#define QUEUE_MAX_DEFAULT    (4u << 20)
#define HANDSHAKE_DEFAULT_MS 5000
#define LOG_EVERY_MS         10000

struct link_server {
    struct loop *loop;
    struct link_server_options opt;
    char *secret; /* owned copy; opt.secret points at it */
    struct listener listener;
    struct deadlines handshakes;
    struct closer closer; /* listener, handshakes, each peer */
    struct list peers;
    unsigned up_count;
    unsigned shaking_count;
    struct link_server_counts counts;
    struct log_limit limit;
    void (*close_cb)(void *data);
    void *close_data;
};

struct link_peer {
    struct link_conn conn;
    struct link_server *server;
    struct list link;
    struct deadline handshake;
    bool up;
    bool going;
    struct error why;
    void *data;
    char name[ADDR_TEXT_MAX];
};

static struct link_peer *peer_of(struct link_conn *conn)
{
    return CONTAINER_OF(conn, struct link_peer, conn);
}

static void drop(struct link_peer *peer, const struct error *why)
{
    if (!peer->going) {
        peer->server->shaking_count -= peer->up ? 0 : 1;
        peer->going = true;
        peer->why = *why;
        deadline_clear(&peer->handshake);
        link_conn_close(&peer->conn);
    }
}

static void note_stranger(struct link_server *server, const struct link_peer *peer,
                          const struct error *why)
{
    uint64_t dropped = 0;
    if (log_limit(&server->limit, loop_now_ms(server->loop), LOG_EVERY_MS, &dropped)) {
        LOG_WARN("a link peer was dropped", LOG_STR("peer", peer->name), LOG_ERR(why),
                 LOG_UINT("moreSinceLastLine", dropped));
    }
}

/* --- events of a connection ----------------------------------------------------------------------
 */

static void on_conn_up(struct link_conn *conn)
{
    struct link_peer *peer = peer_of(conn);
    struct link_server *server = peer->server;
    if (server->up_count >= server->opt.max_peers) {
        struct error err;
        server->counts.refused_full++;
        error_set(&err, ERR_OVERLOAD, "link: %u peers are connected already", server->up_count);
        drop(peer, &err);
        return;
    }
    deadline_clear(&peer->handshake);
    peer->up = true;
    server->shaking_count--;
    server->up_count++;
    server->counts.accepted++;
    server->opt.events->on_up(peer, server->opt.data);
}

static void on_conn_frame(struct link_conn *conn, uint8_t type, struct slice payload)
{
    struct link_peer *peer = peer_of(conn);
    peer->server->opt.events->on_frame(peer, type, payload, peer->server->opt.data);
}

static void on_conn_down(struct link_conn *conn, const struct error *why)
{
    struct link_peer *peer = peer_of(conn);
    struct link_server *server = peer->server;
    if (!peer->up) {
        server->counts.refused_auth++;
        note_stranger(server, peer, why);
    } else if (why->code == ERR_PROTOCOL || why->code == ERR_DENIED || why->code == ERR_TOO_BIG) {
        server->counts.refused_frames++;
        note_stranger(server, peer, why);
    }
    drop(peer, why);
}

static void on_conn_closed(struct link_conn *conn)
{
    struct link_peer *peer = peer_of(conn);
    struct link_server *server = peer->server;
    list_remove(&peer->link);
    if (peer->up) {
        server->up_count--;
        server->opt.events->on_down(peer, &peer->why, server->opt.data);
    }
    free(peer);
    closer_drop(&server->closer);
}

static const struct link_conn_events conn_events = {on_conn_up, on_conn_frame, on_conn_down,
                                                    on_conn_closed};

static void on_handshake_late(struct deadline *deadline, void *data)
{
    struct link_peer *peer = CONTAINER_OF(deadline, struct link_peer, handshake);
    struct error err;
    error_set(&err, ERR_TIMEOUT, "link: the handshake took longer than %llu ms",
              (unsigned long long)peer->server->opt.handshake_ms);
    on_conn_down(&peer->conn, &err);
}

/* --- accepting -----------------------------------------------------------------------------------
 */

static void name_peer(struct link_peer *peer)
{
    struct ucred who;
    if (stream_peer_cred(&peer->conn.stream, &who, NULL) == 0) {
        snprintf(peer->name, sizeof(peer->name), "unix: process %ld of user %u", (long)who.pid,
                 (unsigned)who.uid);
    } else {
        stream_peer(&peer->conn.stream, peer->name, sizeof(peer->name));
    }
}

/* Makes room for one more stranger. */
static void push_out_oldest(struct link_server *server)
{
    struct error err;
    error_set(&err, ERR_OVERLOAD, "link: too many strangers are in their handshake");
    list_foreach (node, &server->peers) {
        struct link_peer *peer = LIST_ENTRY(node, struct link_peer, link);
        if (!peer->up && !peer->going) {
            on_conn_down(&peer->conn, &err);
            return;
        }
    }
}

static void on_connection(struct listener *l)
{
    struct link_server *server = l->data;
    struct error err;
    if (server->up_count >= server->opt.max_peers) {
        server->counts.refused_full++;
        listener_refuse(l);
        return;
    }
    if (server->shaking_count >= server->opt.max_peers) {
        push_out_oldest(server);
    }
    struct link_peer *peer = NEW(struct link_peer);
    peer->server = server;
    deadline_init(&peer->handshake);
    link_conn_init(&peer->conn, true, server->opt.secret, &conn_events);
    list_init(&peer->link);
    list_push_back(&server->peers, &peer->link);
    server->shaking_count++;
    closer_hold(&server->closer);
    if (listener_accept(l, &peer->conn.stream, &link_conn_stream_events, &peer->conn, &err) < 0) {
        drop(peer, &err);
        return;
    }
    name_peer(peer);
    deadline_set(&server->handshakes, &peer->handshake);
    link_conn_begin(&peer->conn, server->opt.queue_max_bytes);
}

/* --- life of the server
 * --------------------------------------------------------------------------- */

static void part_closed(void *server)
{
    closer_drop(&((struct link_server *)server)->closer);
}

static void listener_closed(struct listener *l)
{
    part_closed(l->data);
}

static void deadlines_closed(struct deadlines *d)
{
    part_closed(d->data);
}

static void all_closed(void *data)
{
    struct link_server *server = data;
    void (*cb)(void *) = server->close_cb;
    void *cb_data = server->close_data;
    free(server->secret);
    free(server);
    if (cb != NULL) {
        cb(cb_data);
    }
}

int link_server_start(struct loop *loop, const struct link_server_options *opt,
                      struct link_server **out, struct error *err)
{
    if (!addr_is_unix(&opt->addr) && opt->secret.len < LINK_SECRET_MIN) {
        return error_set(err, ERR_INVALID, "link: TCP needs a secret of at least %u bytes",
                         LINK_SECRET_MIN);
    }
    struct link_server *server = NEW(struct link_server);
    server->loop = loop;
    server->opt = *opt;
    server->secret = slice_dup(opt->secret);
    server->opt.secret = slice_of(server->secret, opt->secret.len);
    server->opt.max_peers = opt->max_peers == 0 ? MAX_PEERS_DEFAULT : opt->max_peers;
    server->opt.queue_max_bytes =
        opt->queue_max_bytes == 0 ? QUEUE_MAX_DEFAULT : opt->queue_max_bytes;
    server->opt.handshake_ms = opt->handshake_ms == 0 ? HANDSHAKE_DEFAULT_MS : opt->handshake_ms;
    list_init(&server->peers);
    closer_init(&server->closer);
    closer_hold(&server->closer);
    closer_hold(&server->closer);
    deadlines_init(&server->handshakes, loop, server->opt.handshake_ms, on_handshake_late, server);
    int rc = listener_start(&server->listener, loop, &opt->addr, NULL, on_connection, server, err);
    if (rc < 0) {
        link_server_close(server, NULL, NULL);
        return rc;
    }
    *out = server;
    return 0;
}

const struct addr *link_server_addr(const struct link_server *server)
{
    return listener_addr(&server->listener);
}

struct link_server_counts link_server_counts(const struct link_server *server)
{
    return server->counts;
}

unsigned link_server_peers(const struct link_server *server)
{
    return server->up_count + server->shaking_count;
}

void link_server_close(struct link_server *server, void (*cb)(void *data), void *data)
{
    struct error err;
    if (!closer_close(&server->closer, server->loop, all_closed, server)) {
        return;
    }
    server->close_cb = cb;
    server->close_data = data;
    error_set(&err, ERR_CANCELED, "link: the server is closing");
    list_foreach_safe (node, &server->peers) {
        drop(LIST_ENTRY(node, struct link_peer, link), &err);
    }
    listener_close(&server->listener, listener_closed);
    deadlines_close(&server->handshakes, deadlines_closed);
}

/* --- peers
 * ---------------------------------------------------------------------------------------- */

int link_peer_send(struct link_peer *peer, uint8_t type, struct slice payload, struct error *err)
{
    return link_conn_send(&peer->conn, type, payload, err);
}

void link_peer_close(struct link_peer *peer)
{
    struct error err;
    error_set(&err, ERR_CANCELED, "link: closed by us");
    drop(peer, &err);
}

const char *link_peer_name(const struct link_peer *peer)
{
    return peer->name;
}

void link_peer_set_data(struct link_peer *peer, void *data)
{
    peer->data = data;
}

void *link_peer_data(const struct link_peer *peer)
{
    return peer->data;
}
