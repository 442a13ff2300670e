// SPDX-License-Identifier: Apache-2.0
/*
 * One connection.
 *
 * Unix socket: the kernel names the peer's user; ours or root's is up at once. TCP: server sends
 * CHALLENGE, client answers RESPONSE, server checks and sends WELCOME, client checks. Whoever is
 * not convinced drops the connection without a word.
 * Any failure (a bad frame, a wrong code, the socket) gives `down` once and silences the
 * connection; the owner closes it.
 */
#include "link/conn.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"

/* A dead peer is noticed after this, though we have nothing to say (ms). */
#define PEER_TIMEOUT_MS 15000
#define READ_BYTES      16384

static void conn_down(struct link_conn *conn, const struct error *why)
{
    if (conn->state != LINK_CONN_DOWN) {
        conn->state = LINK_CONN_DOWN;
        stream_read_stop(&conn->stream);
        conn->events->down(conn, why);
    }
}

static int send_frame(struct link_conn *conn, uint8_t type, struct slice payload, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, LINK_LENGTH_MAX + 4);
    uint64_t sent = conn->session.sent;
    int rc = link_encode(&conn->session, type, payload, &out, err);
    if (rc == 0) {
        rc = stream_write_bytes(&conn->stream, out.ptr, out.len, err);
    }
    if (rc == ERR_OVERLOAD) {
        conn->session.sent = sent; /* the frame was not taken: its number is free again */
    }
    return rc;
}

int link_conn_send(struct link_conn *conn, uint8_t type, struct slice payload, struct error *err)
{
    REQUIRE(type > 0 && type <= LINK_TYPE_MAX);
    if (conn->state != LINK_CONN_UP) {
        return error_set(err, ERR_CLOSED, "link: the connection is not up");
    }
    if (payload.len > LINK_PAYLOAD_MAX) {
        return error_set(err, ERR_TOO_BIG, "link: a payload of %zu bytes, at most %u are allowed",
                         payload.len, LINK_PAYLOAD_MAX);
    }
    return send_frame(conn, type, payload, err);
}

/* --- handshake ---------------------------------------------------------------------------------
 */

static int on_challenge(struct link_conn *conn, struct slice payload, struct error *err)
{
    unsigned char answer[LINK_NONCE_BYTES + LINK_PROOF_BYTES];
    if (payload.len != LINK_NONCE_BYTES) {
        return error_set(err, ERR_PROTOCOL, "link: a challenge of %zu bytes", payload.len);
    }
    memcpy(conn->nonces.server, payload.ptr, LINK_NONCE_BYTES);
    memcpy(answer, conn->nonces.client, LINK_NONCE_BYTES);
    link_proof(conn->secret, false, &conn->nonces, answer + LINK_NONCE_BYTES);
    return send_frame(conn, LINK_RESPONSE, slice_of((char *)answer, sizeof(answer)), err);
}

static int on_response(struct link_conn *conn, struct slice payload, struct error *err)
{
    unsigned char proof[LINK_PROOF_BYTES];
    if (payload.len != LINK_NONCE_BYTES + LINK_PROOF_BYTES) {
        return error_set(err, ERR_PROTOCOL, "link: a response of %zu bytes", payload.len);
    }
    memcpy(conn->nonces.client, payload.ptr, LINK_NONCE_BYTES);
    link_proof(conn->secret, false, &conn->nonces, proof);
    if (!link_proof_ok(proof, (const unsigned char *)payload.ptr + LINK_NONCE_BYTES)) {
        return error_set(err, ERR_DENIED, "link: the peer does not know the secret");
    }
    link_proof(conn->secret, true, &conn->nonces, proof);
    int rc = send_frame(conn, LINK_WELCOME, slice_of((char *)proof, sizeof(proof)), err);
    return rc < 0 ? rc : link_session_begin(&conn->session, conn->secret, true, &conn->nonces, err);
}

static int on_welcome(struct link_conn *conn, struct slice payload, struct error *err)
{
    unsigned char proof[LINK_PROOF_BYTES];
    link_proof(conn->secret, true, &conn->nonces, proof);
    if (payload.len != LINK_PROOF_BYTES ||
        !link_proof_ok(proof, (const unsigned char *)payload.ptr)) {
        return error_set(err, ERR_DENIED, "link: the server does not know the secret");
    }
    return link_session_begin(&conn->session, conn->secret, false, &conn->nonces, err);
}

/* 1: the handshake is done. */
static int shake(struct link_conn *conn, const struct link_frame *frame, struct error *err)
{
    int rc;
    if (conn->server && frame->type == LINK_RESPONSE) {
        rc = on_response(conn, frame->payload, err);
        return rc < 0 ? rc : 1;
    }
    if (!conn->server && frame->type == LINK_CHALLENGE) {
        return on_challenge(conn, frame->payload, err);
    }
    if (!conn->server && frame->type == LINK_WELCOME) {
        rc = on_welcome(conn, frame->payload, err);
        return rc < 0 ? rc : 1;
    }
    return error_set(err, ERR_PROTOCOL, "link: a frame of type %u in the handshake", frame->type);
}

/* --- frames ------------------------------------------------------------------------------------
 */

static void conn_up(struct link_conn *conn)
{
    conn->state = LINK_CONN_UP;
    conn->events->up(conn);
}

static void handle_frame(struct link_conn *conn, const struct link_frame *frame)
{
    struct error err;
    if (conn->state == LINK_CONN_SHAKING) {
        int rc = shake(conn, frame, &err);
        if (rc < 0) {
            conn_down(conn, &err);
        } else if (rc == 1) {
            conn_up(conn);
        }
    } else if (frame->type == 0 || frame->type > LINK_TYPE_MAX) {
        error_set(&err, ERR_PROTOCOL, "link: a frame of type %u", frame->type);
        conn_down(conn, &err);
    } else {
        conn->events->frame(conn, frame->type, frame->payload);
    }
}

/* Gives out every whole frame, then drops their bytes. */
static void handle_bytes(struct link_conn *conn)
{
    size_t done = 0;
    while (conn->state == LINK_CONN_SHAKING || conn->state == LINK_CONN_UP) {
        struct error err;
        struct link_frame frame;
        size_t used = 0;
        struct slice rest = slice_of(conn->in.ptr + done, conn->in.len - done);
        int rc = link_decode(&conn->session, rest, &frame, &used, &err);
        if (rc < 0) {
            conn_down(conn, &err);
        } else if (rc == 0) {
            break;
        } else {
            done += used;
            handle_frame(conn, &frame);
        }
    }
    strbuf_consume(&conn->in, done);
    if (conn->in.len == 0 && conn->in.cap > 4 * READ_BYTES) {
        strbuf_fini(&conn->in); /* a rare big frame keeps no memory */
    }
}

static struct stream_buffer conn_buffer(struct stream *s)
{
    struct link_conn *conn = s->data;
    char *at = strbuf_reserve(&conn->in, READ_BYTES);
    /* There is always room: whole frames are dropped, and a longer one has been refused. */
    REQUIRE(at != NULL);
    return (struct stream_buffer){at, READ_BYTES};
}

static void conn_read(struct stream *s, char *bytes, size_t n)
{
    struct link_conn *conn = s->data;
    strbuf_commit(&conn->in, n);
    handle_bytes(conn);
}

static void conn_end(struct stream *s)
{
    struct link_conn *conn = s->data;
    struct error err;
    error_set(&err, ERR_CLOSED, "link: the peer closed the connection");
    conn_down(conn, &err);
}

static void conn_error(struct stream *s, const struct error *why)
{
    struct link_conn *conn = s->data;
    conn_down(conn, why);
}

const struct stream_events link_conn_stream_events = {
    .on_buffer = conn_buffer, .on_read = conn_read, .on_end = conn_end, .on_error = conn_error};

/* --- life --------------------------------------------------------------------------------------
 */

void link_conn_init(struct link_conn *conn, bool server, struct slice secret,
                    const struct link_conn_events *events)
{
    *conn = (struct link_conn){.events = events, .secret = secret, .server = server};
    strbuf_init(&conn->in, LINK_LENGTH_MAX + 4 + READ_BYTES);
    random_bytes(server ? conn->nonces.server : conn->nonces.client, LINK_NONCE_BYTES);
}

static int check_user(struct link_conn *conn, struct error *err)
{
    struct ucred who;
    int rc = stream_peer_cred(&conn->stream, &who, err);
    if (rc == 0 && who.uid != geteuid() && who.uid != 0) {
        rc = error_set(err, ERR_DENIED, "link: process %ld of user %u is a stranger", (long)who.pid,
                       (unsigned)who.uid);
    }
    return rc;
}

/* Notice a peer that is gone without a word. */
static void watch_peer(const struct link_conn *conn)
{
    int fd = stream_fd(&conn->stream);
    int on = 1;
    int idle_s = PEER_TIMEOUT_MS / 3000;
    unsigned timeout_ms = PEER_TIMEOUT_MS;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle_s, sizeof(idle_s));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
}

void link_conn_begin(struct link_conn *conn, size_t queue_max)
{
    struct error err;
    struct addr own;
    int rc = stream_local_addr(&conn->stream, &own, &err);
    stream_set_queue_max(&conn->stream, queue_max);
    conn->state = LINK_CONN_SHAKING;
    if (rc == 0 && addr_is_unix(&own)) {
        rc = check_user(conn, &err);
        if (rc == 0) {
            stream_read_start(&conn->stream);
            conn_up(conn);
            return;
        }
    } else if (rc == 0) {
        watch_peer(conn);
        stream_read_start(&conn->stream);
        rc = conn->server
                 ? send_frame(conn, LINK_CHALLENGE,
                              slice_of((char *)conn->nonces.server, LINK_NONCE_BYTES), &err)
                 : 0;
    }
    if (rc < 0) {
        conn_down(conn, &err);
    }
}

static void conn_closed(struct stream *s)
{
    struct link_conn *conn = s->data;
    link_session_fini(&conn->session);
    strbuf_fini(&conn->in);
    conn->events->closed(conn);
}

void link_conn_close(struct link_conn *conn)
{
    conn->state = LINK_CONN_DOWN;
    stream_close(&conn->stream, conn_closed);
}
