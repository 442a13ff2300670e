// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: poll the read end. Nobody ever writes into the pipe, so readable means end of file; a byte
 * that comes all the same is read away and means nothing.
 */
#include "loop/lifeline.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/num.h"

static void on_closed(struct lifeline *l)
{
    if (l->fd >= 0) {
        (void)close(l->fd);
        l->fd = -1;
    }
    if (l->close_cb != NULL) {
        l->close_cb(l);
    }
}

static void on_closed_handle(uv_handle_t *handle)
{
    on_closed(handle->data);
}

static void on_closed_task(struct loop_task *task)
{
    on_closed(task->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct lifeline *l = poll->data;
    char byte;
    if (status == 0) {
        ssize_t n = read(l->fd, &byte, 1);
        if (n != 0 && !(n < 0 && errno != EAGAIN && errno != EINTR)) {
            return;
        }
    }
    (void)events;
    (void)uv_poll_stop(&l->poll);
    l->cb(l);
}

int lifeline_start(struct lifeline *l, struct loop *loop, lifeline_cb cb, void *data,
                   struct error *err)
{
    *l = (struct lifeline){.loop = loop, .fd = -1, .cb = cb, .data = data};
    const char *text = getenv(LIFELINE_ENV);
    if (text == NULL || text[0] == '\0') {
        return 0;
    }
    int64_t fd;
    int rc = num_parse_i64(slice_str(text), 0, 1 << 20, &fd, err);
    if (rc < 0) {
        return error_prefix(err, rc, LIFELINE_ENV);
    }
    if (fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0) {
        return error_set(err, ERR_INVALID, LIFELINE_ENV "=%s: no such open descriptor", text);
    }
    rc = uv_poll_init(&loop->uv, &l->poll, (int)fd);
    if (rc < 0) {
        return error_from_uv(err, rc, "watch the lifeline (descriptor %s)", text);
    }
    l->fd = (int)fd;
    l->open = true;
    l->poll.data = l;
    uv_unref((uv_handle_t *)&l->poll);
    rc = uv_poll_start(&l->poll, UV_READABLE | UV_DISCONNECT, on_poll);
    return rc < 0 ? error_from_uv(err, rc, "watch the lifeline (descriptor %s)", text) : 0;
}

void lifeline_close(struct lifeline *l, lifeline_cb cb)
{
    if (l->closing) {
        return;
    }
    l->closing = true;
    l->close_cb = cb;
    if (l->open) {
        uv_close((uv_handle_t *)&l->poll, on_closed_handle);
        return;
    }
    loop_task_init(&l->closed, on_closed_task, l);
    loop_task_post(l->loop, &l->closed);
}
