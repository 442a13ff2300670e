// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Private to lib/loop: what stands between a stream's owner and its socket (TLS). The stream
 * calls the table; the layer calls the stream_layer_* functions back. The table's functions are
 * never called after destroy, nor after stream_close (but for destroy).
 */

#include "loop/stream.h"

struct stream_layer_ops {
    /* Where the next bytes from the socket go. */
    struct stream_buffer (*buffer)(struct stream_layer *layer);
    /* n bytes are in that buffer. 0, or a code: the stream is broken. */
    int (*received)(struct stream_layer *layer, size_t n, struct error *err);
    /* The socket's last byte has come. 0, or a code when that was too early. */
    int (*ended)(struct stream_layer *layer, struct error *err);
    /* The socket is connected, or the owner wants bytes (again): go on. 0 or a code. */
    int (*proceed)(struct stream_layer *layer, struct error *err);
    /* As stream_write; has looked at nothing yet. */
    int (*write)(struct stream_layer *layer, const struct iovec *iov, unsigned count,
                 struct error *err);
    /* Says goodbye. 0: said, shut the socket down. 1: later, with stream_layer_shut. Or a code. */
    int (*shutdown)(struct stream_layer *layer, struct error *err);
    struct slice (*alpn)(const struct stream_layer *layer);
    void (*destroy)(struct stream_layer *layer);
};

struct stream_layer {
    const struct stream_layer_ops *ops;
    struct stream *s;
    size_t queued;    /* bytes of the owner that wait inside the layer */
    bool needs_bytes; /* read from the socket even when the owner does not want bytes */
};

/* Puts the layer in; the stream owns it from now on. */
void stream_layer_attach(struct stream *s, struct stream_layer *layer);
/* Bytes for the socket, without a limit: the layer has looked at the limit already. */
MUST_CHECK int stream_layer_send(struct stream *s, const struct iovec *iov, unsigned count,
                                 struct error *err);
/* The owner's buffer; len 0 when it wants nothing now. */
struct stream_buffer stream_layer_want(struct stream *s);
/* n bytes are in the buffer that stream_layer_want gave. */
void stream_layer_give(struct stream *s, char *bytes, size_t n);
/* The peer's last byte, in the layer's own words. */
void stream_layer_end(struct stream *s);
/* needs_bytes or queued has changed. */
void stream_layer_changed(struct stream *s);
/* Bytes that waited in the layer are out of it: gives on_drain if none waits for the kernel. */
void stream_layer_drained(struct stream *s);
/* The goodbye that was put off has been said. */
void stream_layer_shut(struct stream *s);
