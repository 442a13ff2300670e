// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Private to lib/loop: what stream.c, stream_open.c, stream_info.c and the listener share of a
 * stream's inside. */

#include "loop/stream.h"

enum stream_state {
    STREAM_INIT,       /* no descriptor */
    STREAM_CONNECTING, /* a connect is under way */
    STREAM_OPEN,
    STREAM_FAILED,  /* no connection: only close is left */
    STREAM_CLOSING, /* the close callback will come */
    STREAM_CLOSED,
};

/* --- stream_open.c */
/* A connected, non-blocking socket becomes an initialised stream's. On an error it stays the
   caller's; close the stream all the same. */
MUST_CHECK int stream_take_fd(struct stream *s, int fd, bool unix_socket, struct error *err);
/* Frees the inside, and calls the close callback. */
void stream_finish_close(struct stream *s);

/* --- stream.c */
/* The descriptor is connected: bytes may go. */
void stream_opened(struct stream *s);
/* The loop's callback for the descriptor. */
void stream_on_ready(struct loop_io *io, unsigned events);
