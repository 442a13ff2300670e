// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Private to lib/loop: what the listener and stream_info.c need of a stream's inside. */

#include "loop/stream.h"

enum stream_state {
    STREAM_INIT,       /* no handle */
    STREAM_CONNECTING, /* a connect is under way */
    STREAM_OPEN,
    STREAM_FAILED,  /* a handle without a connection: only close is left */
    STREAM_CLOSING, /* the close callback will come */
    STREAM_CLOSED,
};

/* Makes the handle; the stream is FAILED until stream_opened. */
void stream_init_handle(struct stream *s, bool unix_socket);
void stream_opened(struct stream *s);
/* Frees the inside, and calls the close callback. */
void stream_finish_close(struct stream *s);
