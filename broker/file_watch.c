// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: what inotify tells is read to the end and forgotten. Failure: the folder itself went: it is
 * not watched any more, until somebody begins again.
 */
#include "broker/file_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include "base/mem.h"

#define EVENTS_BYTES 4096

void file_watch_init(struct file_watch *w, struct loop *loop, void (*on_change)(void *arg),
                     void *arg)
{
    *w = (struct file_watch){
        .loop = loop, .inotify = -1, .watch = -1, .on_change = on_change, .arg = arg};
    loop_io_init(&w->io);
}

bool file_watch_works(const struct file_watch *w)
{
    return w->watch >= 0;
}

void file_watch_stop(struct file_watch *w)
{
    if (w->inotify >= 0) {
        loop_io_remove(w->loop, &w->io);
        close(w->inotify);
    }
    w->inotify = w->watch = -1;
}

static void on_inotify(struct loop_io *io, unsigned events)
{
    struct file_watch *w = CONTAINER_OF(io, struct file_watch, io);
    _Alignas(struct inotify_event) char bytes[EVENTS_BYTES];
    bool lost = false, changed = false;
    for (;;) {
        ssize_t n = read(w->inotify, bytes, sizeof(bytes));
        if (n <= 0) {
            break;
        }
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *one = (const void *)(bytes + at);
            lost = lost || (one->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT));
            at += (ssize_t)(sizeof(*one) + one->len);
        }
        changed = true;
    }
    if (lost) {
        file_watch_stop(w);
    }
    if (changed) {
        w->on_change(w->arg);
    }
}

bool file_watch_start(struct file_watch *w, const char *path)
{
    struct error err;
    if (w->inotify >= 0) {
        return false;
    }
    w->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->inotify < 0) {
        return false;
    }
    w->watch = inotify_add_watch(w->inotify, path,
                                 IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF |
                                     IN_ONLYDIR);
    if (w->watch < 0 || loop_io_add(w->loop, &w->io, w->inotify, false, on_inotify, &err) < 0) {
        close(w->inotify);
        w->inotify = w->watch = -1;
        return false;
    }
    return true;
}
