// SPDX-License-Identifier: Apache-2.0
//
// Spare folders for replicas: `replicas/.spare-N`, complete with the files that a replica will
// have, so that a start renames one and makes no inode (which takes a file system far longer than
// all else that a start does on it). As many as there are Deployments are made ahead, a few at a
// time while nothing is started, on a pool thread. Failures: none is fatal; a start that finds no
// spare makes its folder itself.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "local/agent/launch.h"
#include "local/agent/node.h"

#define SPARES_MIN 4
#define SPARES_MAX 512
#define BATCH      8
#define TAKE_TRIES 4
#define REFILL_MS  10 // after a start: by then the function answers
#define NEXT_MS    40 // between batches

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

bool spare_take(struct spares *s, const char *home, const char *id)
{
    char from[4096], to[4096];
    snprintf(to, sizeof to, "%s/replicas/%s", home, id);
    for (unsigned i = 0; i < TAKE_TRIES; i++) {
        unsigned ready = atomic_load(&s->ready);
        while (ready > 0 && !atomic_compare_exchange_weak(&s->ready, &ready, ready - 1)) {
        }
        if (ready == 0) {
            return false;
        }
        snprintf(from, sizeof from, "%s/replicas/.spare-%u", home, ready - 1);
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
    unsigned wanted;
    bool more; // another batch is due
};

static void refill_run(struct work *work)
{
    struct refill *r = work->data;
    struct spares *s = &r->agent->spares;
    CLEANUP(cleanup_free) char *making = fs_join(r->folder, ".making");
    (void)!fs_remove_tree(making, NULL);
    for (unsigned made = 0; atomic_load(&s->ready) < r->wanted;) {
        if (made == BATCH) {
            r->more = true;
            return;
        }
        CLEANUP(cleanup_free)
        char *spare = xasprintf("%s/.spare-%u", r->folder, atomic_load(&s->ready));
        if (!fs_exists(spare)) { // else one of a former process, or one that is just being taken
            if (make_folder(making) < 0 || rename(making, spare) < 0) {
                return;
            }
            made++;
        }
        atomic_fetch_add(&s->ready, 1);
    }
}

static void refill_done(struct work *work, int status)
{
    struct refill *r = work->data;
    struct agent *a = r->agent;

    (void)status;
    a->refilling = false;
    if (r->more && !a->closer.closing) {
        timer_start(&a->refill, NEXT_MS);
    }
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
    size_t wanted = map_len(&a->deployments);
    r->wanted = wanted < SPARES_MIN   ? SPARES_MIN
                : wanted > SPARES_MAX ? SPARES_MAX
                                      : (unsigned)wanted;
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
