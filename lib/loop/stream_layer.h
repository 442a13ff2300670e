// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Private to lib/loop: what stands between a stream's owner and its socket (TLS). The stream
 * calls the table; the layer calls the stream_layer_* functions back.
 */

#include "loop/stream.h"

struct stream_layer {
    /* n bytes have come from the socket, in the buffer of `buffer`. 0 or a code (broken). */
    int (*received)(struct stream_layer *layer, struct stream *s, size_t n, struct error *err);
    /* Where the next bytes from the socket go. */
    struct stream_buffer (*buffer)(struct stream_layer *layer);
    /* The socket's last byte has come. 0, or a code when that was too early. */
    int (*ended)(struct stream_layer *layer, struct stream *s, struct error *err);
    /* The owner wants bytes (again): deliver what is there already. */
    int (*deliver)(struct stream_layer *layer, struct stream *s, struct error *err);
    int (*write)(struct stream_layer *layer, struct stream *s, const struct iovec *iov,
                 unsigned count, struct error *err);
    /* Say goodbye in the layer's own words; the stream then shuts the socket down. */
    int (*shutdown)(struct stream_layer *layer, struct stream *s, struct error *err);
    /* Bytes of the owner that wait inside the layer. */
    size_t (*queued)(const struct stream_layer *layer);
    struct slice (*alpn)(const struct stream_layer *layer);
    void (*destroy)(struct stream_layer *layer);
};

/* Bytes for the socket. As stream_write, without asking the layer. */
MUST_CHECK int stream_layer_send(struct stream *s, const struct iovec *iov, unsigned count,
                                 struct error *err);
/* The owner's buffer, len 0 when it wants nothing now. */
struct stream_buffer stream_layer_want(struct stream *s);
/* n bytes are in the buffer that stream_layer_want gave. Returns false when s was closed. */
bool stream_layer_give(struct stream *s, char *bytes, size_t n);
/* The peer's last byte, in the layer's own words. */
void stream_layer_end(struct stream *s);
