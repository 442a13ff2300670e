// SPDX-License-Identifier: Apache-2.0
//
// Spare folders for replicas: `replicas/.spare-N`, complete with the files that a replica will
// have, so that a start renames one and makes no inode (which takes a file system far longer than
// all else that a start does on it). Some are made ahead, again a little after each start, on a
// pool thread. Failures: none is fatal; a start that finds no spare makes its folder itself.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "local/agent/launch.h"
#include "local/agent/node.h"

#define SPARES    4
#define REFILL_MS 10 // after a start: by then the function answers

static int make_file(const char *folder, const char *name, mode_t mode)
{
    CLEANUP(cleanup_free) char *path = fs_join(folder, name);
    CLEANUP(cleanup_close) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    return fd < 0 ? -1 : 0;
}

// The same modes as launch.c and lull-replica give.
static int make_folder(const char *folder)
{
    CLEANUP(cleanup_free) char *tmp = fs_join(folder, "tmp");
    bool made = mkdir(folder, 0711) == 0 && mkdir(tmp, 0700) == 0 &&
                make_file(folder, "spec", 0600) == 0 && make_file(folder, "log", 0644) == 0 &&
                make_file(folder, "proxy.log", 0644) == 0;
    return made ? 0 : -1;
}

bool spare_take(const char *home, const char *id)
{
    char from[4096], to[4096];
    snprintf(to, sizeof to, "%s/replicas/%s", home, id);
    for (unsigned i = 0; i < SPARES; i++) {
        snprintf(from, sizeof from, "%s/replicas/.spare-%u", home, i);
        if (rename(from, to) == 0) {
            return true;
        }
        if (errno != ENOENT) { // the replica has its folder: it is started again
            return false;
        }
    }
    return false;
}

struct refill {
    struct work work;
    struct agent *agent;
    char *folder;
};

static void refill_run(struct work *work)
{
    struct refill *r = work->data;
    CLEANUP(cleanup_free) char *making = fs_join(r->folder, ".making");
    (void)!fs_remove_tree(making, NULL);
    for (unsigned i = 0; i < SPARES; i++) {
        CLEANUP(cleanup_free) char *spare = xasprintf("%s/.spare-%u", r->folder, i);
        if (!fs_exists(spare) && (make_folder(making) < 0 || rename(making, spare) < 0)) {
            return;
        }
    }
}

static void refill_done(struct work *work, int status)
{
    struct refill *r = work->data;
    struct agent *a = r->agent;

    (void)status;
    a->refilling = false;
    free(r->folder);
    free(r);
    closer_drop(&a->closer);
}

void spare_on_timer(struct timer *timer)
{
    struct agent *a = timer->data;
    if (a->refilling) {
        spare_refill_soon(a);
        return;
    }
    struct refill *r = NEW(struct refill);
    struct error err;
    r->agent = a;
    r->folder = xasprintf("%s/replicas", a->home);
    a->refilling = true;
    closer_hold(&a->closer);
    if (work_start(&r->work, a->loop, refill_run, refill_done, r, &err) < 0) {
        refill_done(&r->work, ERR_CANCELED);
    }
}

void spare_refill_soon(struct agent *a)
{
    if (!a->closer.closing) {
        timer_start(&a->refill, REFILL_MS);
    }
}
