// SPDX-License-Identifier: Apache-2.0
/*
 * The loop. A turn: the tasks, one wait for the descriptors of our own, their callbacks, libuv's
 * turn when something of libuv is due, and what was closed. libuv's epoll descriptor is one of
 * those that are waited for, and its next timer bounds the wait.
 *
 * A process that was stopped and continued looks at its descriptors before its timers: who sent in
 * time is not late.
 *
 * The clock is forgotten by each wait, and read again by whoever asks first. Tasks that are posted
 * by a task run one turn later.
 *
 * Failure: a descriptor that is removed while its event waits in the batch is struck from it; so no
 * callback comes for memory that may be gone.
 */
#include "loop/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define BATCH_MAX 256

struct loop_batch {
    int n;
    int next; /* the first that was not told yet */
    struct epoll_event events[BATCH_MAX];
};

/* --- descriptors --- */

void loop_io_init(struct loop_io *io)
{
    *io = (struct loop_io){.fd = -1};
}

static int watch(struct loop *loop, int how, int fd, bool write, struct loop_io *io,
                 struct error *err)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = io};
    if (write) {
        event.events |= EPOLLOUT;
    }
    return epoll_ctl(loop->epoll, how, fd, &event) < 0
               ? error_from_errno(err, errno, "watch descriptor %d", fd)
               : 0;
}

int loop_io_add(struct loop *loop, struct loop_io *io, int fd, bool write, loop_io_cb cb,
                struct error *err)
{
    int rc = watch(loop, EPOLL_CTL_ADD, fd, write, io, err);
    if (rc == 0) {
        *io = (struct loop_io){.cb = cb, .fd = fd};
        if (loop->n_io++ == 0) {
            uv_ref((uv_handle_t *)&loop->alive);
        }
    }
    return rc;
}

int loop_io_write(struct loop *loop, struct loop_io *io, bool write, struct error *err)
{
    return watch(loop, EPOLL_CTL_MOD, io->fd, write, io, err);
}

void loop_io_remove(struct loop *loop, struct loop_io *io)
{
    if (io->fd < 0) {
        return;
    }
    epoll_ctl(loop->epoll, EPOLL_CTL_DEL, io->fd, NULL);
    io->fd = -1;
    if (--loop->n_io == 0) {
        uv_unref((uv_handle_t *)&loop->alive);
    }
    struct loop_batch *b = loop->batch;
    for (int i = b == NULL ? 0 : b->next; b != NULL && i < b->n; i++) {
        if (b->events[i].data.ptr == io) {
            b->events[i].events = 0;
        }
    }
}

/* --- turns --- */

static void run_tasks(struct list *tasks)
{
    struct list batch;
    if (list_empty(tasks)) {
        return;
    }
    list_init(&batch);
    list_splice_back(&batch, tasks);
    struct list *node;
    while ((node = list_pop_front(&batch)) != NULL) {
        struct loop_task *task = LIST_ENTRY(node, struct loop_task, link);
        task->cb(task);
    }
}

static bool anything_left(const struct loop *loop)
{
    return !list_empty(&loop->tasks) || !list_empty(&loop->closing) ||
           uv_loop_alive(&loop->uv) != 0;
}

int loop_poll_fd(const struct loop *loop)
{
    return loop->epoll;
}

/* By the time that libuv read after the last wait: a timer may be late by the work of one turn. */
static int wait_ms(const struct loop *loop)
{
    if (loop->stopped || !list_empty(&loop->tasks) || !list_empty(&loop->closing)) {
        return 0;
    }
    return uv_backend_timeout(&loop->uv); /* 0 too when libuv has nothing left */
}

int loop_poll_ms(struct loop *loop)
{
    uv_update_time(&loop->uv);
    return wait_ms(loop);
}

/* Tells the events of one wait; whether libuv's descriptor is among them. */
static bool tell(struct loop *loop, struct loop_batch *batch)
{
    bool uv_ready = false;
    loop->batch = batch;
    while (batch->next < batch->n) {
        const struct epoll_event *e = &batch->events[batch->next++];
        struct loop_io *io = e->data.ptr;
        if (io == NULL) {
            uv_ready = true;
        } else if (e->events != 0) {
            io->cb(io, e->events);
        }
    }
    loop->batch = NULL;
    return uv_ready;
}

bool loop_turn(struct loop *loop, bool wait)
{
    UNINITIALIZED struct loop_batch batch;
    run_tasks(&loop->tasks);
    int timeout = wait ? wait_ms(loop) : 0;
    batch.n = epoll_wait(loop->epoll, batch.events, BATCH_MAX, timeout);
    if (batch.n < 0) { /* we were stopped: what came in meanwhile goes before what is late */
        batch.n = epoll_wait(loop->epoll, batch.events, BATCH_MAX, 0);
    }
    batch.next = 0;
    loop->now_ns = 0;
    uv_update_time(&loop->uv);
    bool uv_ready = tell(loop, &batch);
    if (uv_ready || uv_backend_timeout(&loop->uv) == 0) {
        uv_run(&loop->uv, UV_RUN_NOWAIT);
    }
    run_tasks(&loop->closing);
    return anything_left(loop);
}

void loop_run(struct loop *loop)
{
    while (anything_left(loop) && !loop->stopped) {
        loop_turn(loop, true);
    }
    loop->stopped = false;
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}

/* --- life --- */

/* libuv runs nothing, and no timer, while no handle is active: this one is when descriptors are. */
static void on_prepare(uv_prepare_t *handle)
{
    (void)handle;
}

/* libuv's own descriptor is the one without a loop_io. */
static int watch_uv(struct loop *loop, struct error *err)
{
    struct epoll_event event = {.events = EPOLLIN};
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll < 0 ||
        epoll_ctl(loop->epoll, EPOLL_CTL_ADD, uv_backend_fd(&loop->uv), &event) < 0) {
        return error_from_errno(err, errno, "make the event loop");
    }
    return 0;
}

int loop_init(struct loop *loop, struct error *err)
{
    *loop = (struct loop){.epoll = -1};
    list_init(&loop->tasks);
    list_init(&loop->closing);
    signal(SIGPIPE, SIG_IGN);
    int rc = uv_loop_init(&loop->uv);
    if (rc < 0) {
        return error_from_uv(err, rc, "make the event loop");
    }
    loop->uv.data = loop;
    rc = watch_uv(loop, err);
    if (rc < 0) {
        if (loop->epoll >= 0) {
            close(loop->epoll);
        }
        uv_loop_close(&loop->uv);
        return rc;
    }
    uv_prepare_init(&loop->uv, &loop->alive);
    uv_prepare_start(&loop->alive, on_prepare);
    uv_unref((uv_handle_t *)&loop->alive);
    return 0;
}

struct walk {
    const struct loop *loop;
    const uv_handle_t *left;
    unsigned count;
};

static void count_foreign(uv_handle_t *handle, void *arg)
{
    struct walk *w = arg;
    if (handle != (const uv_handle_t *)&w->loop->alive) {
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
    if (loop->n_io > 0) {
        return error_set(err, ERR_IN_USE, "%zu sockets are still open", loop->n_io);
    }
    if (!list_empty(&loop->tasks) || !list_empty(&loop->closing)) {
        return error_set(err, ERR_IN_USE, "tasks are still waiting");
    }
    uv_close((uv_handle_t *)&loop->alive, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    close(loop->epoll);
    int rc = uv_loop_close(&loop->uv);
    return rc < 0 ? error_from_uv(err, rc, "close the event loop") : 0;
}

uint64_t loop_now_fresh_ns(struct loop *loop)
{
    loop->now_ns = clock_mono_ns();
    return loop->now_ns;
}

uint64_t loop_now_us(struct loop *loop)
{
    return loop_now_ns(loop) / 1000;
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
    }
}

void loop_task_post_last(struct loop *loop, struct loop_task *task)
{
    if (!list_linked(&task->link)) {
        list_push_back(&loop->closing, &task->link);
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
