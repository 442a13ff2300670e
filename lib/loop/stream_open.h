// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Private to lib/loop: what the listener and stream_info.c need of a stream's inside. */

#include "loop/stream.h"

enum stream_state {
    STREAM_INIT,       /* no descriptor */
    STREAM_CONNECTING, /* a connect is under way */
    STREAM_OPEN,
    STREAM_FAILED,  /* no connection: only close is left */
    STREAM_CLOSING, /* the close callback will come */
    STREAM_CLOSED,
};

/* A connected, non-blocking socket becomes an initialised stream's. On an error it stays the
   caller's; close the stream all the same. */
MUST_CHECK int stream_take_fd(struct stream *s, int fd, bool unix_socket, struct error *err);
/* Frees the inside, and calls the close callback. */
void stream_finish_close(struct stream *s);
