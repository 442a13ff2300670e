// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One byte stream over TCP, unix socket or TLS: who uses it does not know which.
 *
 * Life:   stream_init → stream_connect (or listener_accept) → stream_read_start, stream_write …
 *         → stream_close; in the close callback the owner may free.
 * Owns:   the descriptor and the bytes that could not be written at once. Not the read buffer.
 * Does not: set deadlines (use loop/deadline.h and stream_close), resolve names, retry.
 *
 * Events (all optional but on_error when reading or writing; never called from inside a call
 * of the owner into this module, except on_read … from stream_read_start's later turns):
 *   on_buffer  where the next bytes go; on_read need not follow. Length 0 pauses reading (as
 *              stream_read_stop).
 *   on_read    n > 0 bytes are in that buffer.
 *   on_end     the peer sent its last byte (half-close). Writing goes on. Reading has stopped.
 *   on_hangup  reading is stopped and the peer has sent its last byte, or is gone; what it sent may
 *              still be unread. May come more than once.
 *   on_drain   bytes had been queued by stream_write, and now all are with the kernel.
 *   on_error   the stream is broken; comes at most once; close it.
 * stream_close may be called inside each of them but on_buffer; then none follows but the close
 * callback (and a pending connect or shutdown completes with ERR_CANCELED before it).
 *
 * A TLS layer is put in by listener options or loop/tls.h before the first read or write.
 */

#include <sys/uio.h>

#include "loop/addr.h"
#include "loop/closer.h"

struct stream;
struct stream_chunk; /* private */
struct stream_layer; /* loop/stream_layer.h: what TLS puts between */

struct stream_buffer {
    char *ptr;
    size_t len;
};

struct stream_events {
    struct stream_buffer (*on_buffer)(struct stream *s);
    void (*on_read)(struct stream *s, char *bytes, size_t n);
    void (*on_end)(struct stream *s);
    void (*on_drain)(struct stream *s);
    void (*on_error)(struct stream *s, const struct error *err);
    void (*on_hangup)(struct stream *s);
};

/* err is NULL on success. */
typedef void (*stream_done_cb)(struct stream *s, const struct error *err);
typedef void (*stream_close_cb)(struct stream *s);

struct stream {
    struct loop *loop;
    const struct stream_events *events; /* set with stream_set_events; may change at any time */
    void *data;                         /* the owner's */
    struct loop_io io;                  /* private: the descriptor */
    struct stream_layer *layer;         /* private: NULL for plain bytes */
    struct stream_chunk *queue;         /* private: bytes that wait for the kernel */
    struct error *fail;                 /* private: why it is broken */
    stream_done_cb done;                /* private: of the connect, later of the shutdown */
    stream_close_cb close_cb;           /* private */
    struct loop_task later;             /* private: what must not happen inside a call */
    uint32_t queue_max;                 /* private */
    int done_rc;                        /* private: 0 or an errno, for done */
    unsigned char state;                /* private */
    bool unix_socket   : 1;             /* private */
    bool reading       : 1;             /* private: the owner wants bytes */
    bool readable      : 1;             /* private: the kernel may have some */
    bool hung          : 1;             /* private: it has the end or an error behind them */
    bool in_read       : 1;             /* private: inside read_on */
    bool write_watched : 1;             /* private: room to write is told */
    bool broken        : 1;             /* private: on_error is due or was given */
    bool told          : 1;             /* private: on_error was given */
    bool ended         : 1;             /* private: on_end was given */
    bool raw_ended     : 1;             /* private: the socket's end of file has come */
    bool shut          : 1;             /* private: stream_shutdown was called */
    bool fin_due       : 1;             /* private: end of file follows the queue */
    bool done_wanted   : 1;             /* private: a connect or shutdown is not completed */
    bool done_due      : 1;             /* private: it is over, its callback comes next */
};
/* No handle is open yet: a stream that was only initialised need not be closed. */
void stream_init(struct stream *s, struct loop *loop, const struct stream_events *events,
                 void *data);
/* Other events from now on: a connection changes its owner (a pool, an upgrade). */
void stream_set_events(struct stream *s, const struct stream_events *events, void *data);
/* Most bytes that stream_write may queue (default 1 MiB). */
void stream_set_queue_max(struct stream *s, size_t max_bytes);

/*
 * Starts to connect, once after stream_init. Zero: cb comes once, later (ERR_REFUSED,
 * ERR_UNAVAILABLE, ERR_NOT_FOUND for an absent unix socket, ERR_CANCELED by close, …). Non-zero: no
 * cb. After any return the stream is closed with stream_close as usual. TCP_NODELAY is set.
 */
MUST_CHECK int stream_connect(struct stream *s, const struct addr *addr, stream_done_cb cb,
                              struct error *err);
/* Takes over a connected socket (socketpair, inherited descriptor). On an error fd stays open. */
MUST_CHECK int stream_open_fd(struct stream *s, int fd, struct error *err);

/* Connected and neither broken nor closing. */
bool stream_is_open(const struct stream *s);
bool stream_is_closing(const struct stream *s);

/* Idempotent. Without on_buffer and on_read in events it is a programmer error. */
void stream_read_start(struct stream *s);
/* Idempotent. No on_read comes any more, not even for bytes that TLS has decrypted already. */
void stream_read_stop(struct stream *s);

/*
 * Sends all of the pieces: at once as far as the kernel takes them, the rest is copied and queued
 * (stream_queued_bytes; on_drain). The pieces are the caller's again on return.
 * 0: all sent or queued; also while it still connects. ERR_OVERLOAD: nothing was taken, because
 * what is queued and these bytes together pass the queue's maximum. ERR_CLOSED and others: the
 * stream is broken (on_error comes too, if it had not come), or was never open, or is shut down.
 * At most STREAM_IOV_MAX pieces.
 */
#define STREAM_IOV_MAX 64
MUST_CHECK int stream_write(struct stream *s, const struct iovec *iov, unsigned count,
                            struct error *err);
/* One piece. */
MUST_CHECK int stream_write_bytes(struct stream *s, const void *bytes, size_t len,
                                  struct error *err);
/* Bytes that wait for the kernel; 0 means a write goes out at once. */
size_t stream_queued_bytes(const struct stream *s);

/*
 * Half-close: after all that is queued, end of file for the peer. cb (may be NULL) comes once.
 * No stream_write afterwards. Non-zero: no cb.
 */
MUST_CHECK int stream_shutdown(struct stream *s, stream_done_cb cb, struct error *err);

/* Idempotent; drops what is queued. cb comes later, once; a stream never opened gets it too. */
void stream_close(struct stream *s, stream_close_cb cb);
/* As close, but the peer of a TCP connection sees a reset instead of an end of file. */
void stream_reset(struct stream *s, stream_close_cb cb);

/* Text of the far or near end ("10.0.0.7:4711", "unix:/path", "unix:"). buf of ADDR_TEXT_MAX. */
char *stream_peer(const struct stream *s, char *buf, size_t size);
char *stream_local(const struct stream *s, char *buf, size_t size);
MUST_CHECK int stream_peer_addr(const struct stream *s, struct addr *out, struct error *err);
MUST_CHECK int stream_local_addr(const struct stream *s, struct addr *out, struct error *err);
/* Who connected, by the kernel's word; unix sockets only (ERR_UNSUPPORTED). */
MUST_CHECK int stream_peer_cred(const struct stream *s, struct ucred *out, struct error *err);
/* Whether a TLS layer is in. */
bool stream_is_secure(const struct stream *s);
/* Protocol that TLS negotiated (ALPN), "" when none. Borrowed until close. */
struct slice stream_alpn(const struct stream *s);
/*
 * Acknowledge now what has come over TCP, instead of with the next bytes that we send: a peer
 * without TCP_NODELAY holds the rest of a message back until then (40 ms). Cheap; nothing on other
 * sockets.
 */
void stream_ack_now(const struct stream *s);
/* The descriptor, -1 when there is none. Stays the stream's. */
int stream_fd(const struct stream *s);
