// SPDX-License-Identifier: Apache-2.0
/* Signals. Each is one uv_signal_t that does not keep the loop running. */
#include "loop/signals.h"

#include <signal.h>

#include "base/mem.h"

static void on_signal(uv_signal_t *uv, int signum)
{
    struct signals *signals = uv->data;
    signals->cb(signals, signum);
}

int signals_add(struct signals *signals, int signum, struct error *err)
{
    REQUIRE(signals->count < SIGNALS_MAX && !signals->closer.closing);
    uv_signal_t *uv = &signals->uv[signals->count];
    int rc = uv_signal_init(&signals->loop->uv, uv);
    if (rc < 0) {
        return error_from_uv(err, rc, "watch signal %d", signum);
    }
    signals->count++;
    closer_hold(&signals->closer);
    uv->data = signals;
    rc = uv_signal_start(uv, on_signal, signum);
    if (rc < 0) {
        return error_from_uv(err, rc, "watch signal %d", signum);
    }
    uv_unref((uv_handle_t *)uv);
    return 0;
}

int signals_start(struct signals *signals, struct loop *loop, signals_cb cb, void *data,
                  struct error *err)
{
    *signals = (struct signals){.loop = loop, .cb = cb, .data = data};
    closer_init(&signals->closer);
    int rc = signals_add(signals, SIGTERM, err);
    return rc < 0 ? rc : signals_add(signals, SIGINT, err);
}

static void on_uv_closed(uv_handle_t *handle)
{
    struct signals *signals = handle->data;
    closer_drop(&signals->closer);
}

static void on_all_closed(void *data)
{
    struct signals *signals = data;
    if (signals->close_cb != NULL) {
        signals->close_cb(signals);
    }
}

void signals_close(struct signals *signals, void (*cb)(struct signals *signals))
{
    if (signals->closer.closing) {
        return;
    }
    signals->close_cb = cb;
    closer_close(&signals->closer, signals->loop, on_all_closed, signals);
    for (unsigned i = 0; i < signals->count; i++) {
        uv_close((uv_handle_t *)&signals->uv[i], on_uv_closed);
    }
}
