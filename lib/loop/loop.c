// SPDX-License-Identifier: Apache-2.0
/*
 * The loop. The clock: libuv has no hook between waking up and the first callback, so a prepare
 * handle marks the time as not read before each wait, and the first caller afterwards reads it.
 * Tasks run from an idle handle, which is active only while tasks wait; tasks that are posted by
 * a task run one turn later.
 */
#include "loop/loop.h"

#include <signal.h>
#include <stdarg.h>

#include "base/clock.h"
#include "base/mem.h"

static void on_prepare(uv_prepare_t *handle)
{
    struct loop *loop = handle->data;
    loop->now_ns = 0;
}

static void on_idle(uv_idle_t *handle)
{
    struct loop *loop = handle->data;
    struct list batch;
    list_init(&batch);
    list_splice_back(&batch, &loop->tasks);
    struct list *node;
    while ((node = list_pop_front(&batch)) != NULL) {
        struct loop_task *task = LIST_ENTRY(node, struct loop_task, link);
        task->cb(task);
    }
    if (list_empty(&loop->tasks)) {
        uv_idle_stop(handle);
    }
}

int loop_init(struct loop *loop, struct error *err)
{
    *loop = (struct loop){.now_ns = 0};
    list_init(&loop->tasks);
    signal(SIGPIPE, SIG_IGN);
    int rc = uv_loop_init(&loop->uv);
    if (rc < 0) {
        return error_from_uv(err, rc, "make the event loop");
    }
    loop->uv.data = loop;
    uv_prepare_init(&loop->uv, &loop->stale);
    loop->stale.data = loop;
    uv_prepare_start(&loop->stale, on_prepare);
    uv_unref((uv_handle_t *)&loop->stale);
    uv_idle_init(&loop->uv, &loop->idle);
    loop->idle.data = loop;
    return 0;
}

void loop_run(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

bool loop_turn(struct loop *loop, bool wait)
{
    return uv_run(&loop->uv, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT) != 0;
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

struct walk {
    const struct loop *loop;
    const uv_handle_t *left;
    unsigned count;
};

static void count_foreign(uv_handle_t *handle, void *arg)
{
    struct walk *w = arg;
    if (handle != (const uv_handle_t *)&w->loop->stale &&
        handle != (const uv_handle_t *)&w->loop->idle) {
        w->left = handle;
        w->count++;
    }
}

int loop_fini(struct loop *loop, struct error *err)
{
    struct walk w = {.loop = loop};
    uv_walk(&loop->uv, count_foreign, &w);
    if (w.count > 0) {
        return error_set(err, ERR_IN_USE, "%u handles are still open (one is a %s)", w.count,
                         uv_handle_type_name(w.left->type));
    }
    if (!list_empty(&loop->tasks)) {
        return error_set(err, ERR_IN_USE, "tasks are still waiting");
    }
    uv_close((uv_handle_t *)&loop->stale, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&loop->uv);
    return rc < 0 ? error_from_uv(err, rc, "close the event loop") : 0;
}

uint64_t loop_now_fresh_ns(struct loop *loop)
{
    loop->now_ns = clock_mono_ns();
    return loop->now_ns;
}

uint64_t loop_now_ns(struct loop *loop)
{
    return loop->now_ns != 0 ? loop->now_ns : loop_now_fresh_ns(loop);
}

uint64_t loop_now_us(struct loop *loop)
{
    return loop_now_ns(loop) / 1000;
}

uint64_t loop_now_ms(struct loop *loop)
{
    return loop_now_ns(loop) / CLOCK_NS_PER_MS;
}

void loop_task_init(struct loop_task *task, loop_task_cb cb, void *data)
{
    list_init(&task->link);
    task->cb = cb;
    task->data = data;
}

void loop_task_post(struct loop *loop, struct loop_task *task)
{
    if (!list_linked(&task->link)) {
        list_push_back(&loop->tasks, &task->link);
        uv_idle_start(&loop->idle, on_idle);
    }
}

void loop_task_cancel(struct loop_task *task)
{
    list_remove(&task->link);
}

static enum err_code code_of_uv(int uv_code)
{
    switch (uv_code) {
    case UV_EOF:
        return ERR_CLOSED;
    case UV_ECANCELED:
    case UV_EAI_CANCELED:
        return ERR_CANCELED;
    case UV_EAI_NONAME:
    case UV_EAI_NODATA:
        return ERR_NOT_FOUND;
    case UV_EAI_AGAIN:
        return ERR_UNAVAILABLE;
    default:
        return uv_code > -1000 ? error_code_of_errno(-uv_code) : ERR_IO;
    }
}

int error_from_uv(struct error *err, int uv_code, const char *fmt, ...)
{
    enum err_code code = uv_code >= 0 ? ERR_INTERNAL : code_of_uv(uv_code);
    if (err != NULL) {
        char what[ERROR_MSG_MAX / 2];
        char why[80];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(what, sizeof(what), fmt, ap);
        va_end(ap);
        error_set(err, code, "%s: %s", what, uv_strerror_r(uv_code, why, sizeof(why)));
    }
    return code;
}
