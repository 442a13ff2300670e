// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * inotify on one folder: says that something in it was written or moved in, not what. Owns: the
 * descriptor. Embed it; the callback may end it.
 */

#include "loop/loop.h"

struct file_watch {
    struct loop *loop;
    int inotify; /* private; -1: none */
    int watch;   /* private; -1: none */
    struct loop_io io;
    void (*on_change)(void *arg);
    void *arg;
};

void file_watch_init(struct file_watch *w, struct loop *loop, void (*on_change)(void *arg),
                     void *arg);
/* Watches it, unless it is watched already; true: it has just begun. */
bool file_watch_start(struct file_watch *w, const char *path);
/* Idempotent. */
void file_watch_stop(struct file_watch *w);
/* False: there is no such folder (any more), or no descriptors are left. */
bool file_watch_works(const struct file_watch *w);
