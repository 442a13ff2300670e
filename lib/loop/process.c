// SPDX-License-Identifier: Apache-2.0
/*
 * Child processes by uv_spawn. A child that could not be started is reported by process_start; its
 * handle is closed by process_close like that of any other.
 */
#include "loop/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/mem.h"

static void on_uv_exit(uv_process_t *uv, int64_t status, int signum)
{
    struct process *p = uv->data;
    p->exited = true;
    p->on_exit(p, (int)status, signum);
}

static void on_uv_closed(uv_handle_t *handle)
{
    struct process *p = handle->data;
    if (p->close_cb != NULL) {
        p->close_cb(p);
    }
}

static void on_never_spawned(struct loop_task *task)
{
    struct process *p = task->data;
    if (p->close_cb != NULL) {
        p->close_cb(p);
    }
}

int process_start(struct process *p, struct loop *loop, const struct process_options *opt,
                  process_exit_cb on_exit, void *data, struct error *err)
{
    REQUIRE(opt->fd_count <= PROCESS_FDS_MAX);
    *p = (struct process){.loop = loop, .on_exit = on_exit, .data = data};
    loop_task_init(&p->closed, on_never_spawned, p);
    CLEANUP(cleanup_close) int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0) {
        return error_from_errno(err, errno, "open /dev/null");
    }
    uv_stdio_container_t stdio[PROCESS_FDS_MAX];
    unsigned count = opt->fd_count < 3 ? 3 : opt->fd_count;
    for (unsigned i = 0; i < count; i++) {
        stdio[i].flags = UV_INHERIT_FD;
        stdio[i].data.fd = i < opt->fd_count && opt->fds[i] >= 0 ? opt->fds[i] : null_fd;
    }
    uv_process_options_t o = {
        .exit_cb = on_uv_exit,
        .file = opt->file,
        .args = (char **)(uintptr_t)opt->argv,
        .env = (char **)(uintptr_t)opt->env,
        .cwd = opt->cwd,
        .flags = UV_PROCESS_DETACHED | (opt->set_ids ? UV_PROCESS_SETUID | UV_PROCESS_SETGID : 0),
        .stdio_count = (int)count,
        .stdio = stdio,
        .uid = opt->uid,
        .gid = opt->gid,
    };
    p->uv.data = p;
    int rc = uv_spawn(&loop->uv, &p->uv, &o);
    p->spawned = true; /* uv_spawn has initialised the handle, whatever its result */
    return rc < 0 ? error_from_uv(err, rc, "start %s", opt->file) : 0;
}

pid_t process_pid(const struct process *p)
{
    return p->uv.pid;
}

int process_kill(struct process *p, int signum, bool group, struct error *err)
{
    if (p->exited || !p->spawned || p->uv.pid <= 0) {
        return error_set(err, ERR_NOT_FOUND, "the process has ended");
    }
    if (kill(group ? -p->uv.pid : p->uv.pid, signum) < 0) {
        return error_from_errno(err, errno, "signal %d to process %d", signum, p->uv.pid);
    }
    return 0;
}

void process_close(struct process *p, void (*cb)(struct process *p))
{
    if (p->closing) {
        return;
    }
    p->closing = true;
    p->close_cb = cb;
    if (p->spawned) {
        uv_close((uv_handle_t *)&p->uv, on_uv_closed);
    } else {
        loop_task_post(p->loop, &p->closed);
    }
}
