// SPDX-License-Identifier: Apache-2.0
//
// Reading a replica's log: `log.1`, then `log`, from the start or from the last N lines, and on as
// it grows. All reading is on a pool thread, one chunk at a time; a rotation seen while following
// (the file at the path is another one) goes on at the new file's start. The source ends when
// everything was given, or, following, when the replica's folder is gone.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "loop/work.h"
#include "local/agent/node.h"

#define CHUNK_BYTES 65536
#define FOLLOW_MS   100

struct logs_source {
    struct agent *agent;
    struct logs_sink sink;
    struct work work;
    struct timer timer;
    char *path; // of the newer file
    bool follow;
    bool older; // reading log.1
    bool working, paused, ended, closed, timer_closed;
    int64_t tail_lines; // -1 once the start was found
    uint64_t left;      // bytes that may still be given
    ino_t inode;        // of the file that `offset` is in
    off_t offset;
    ssize_t got; // of the last read: bytes, 0 at the end, -errno
    bool gone;   // the file is not there any more
    char chunk[CHUNK_BYTES];
};

// ---- on the pool thread

static off_t tail_start(int fd, off_t size, int64_t *lines)
{
    char buf[4096];
    off_t at = size;

    // The newline that ends the last line does not count as one more.
    for (int64_t need = *lines + 1; at > 0;) {
        size_t n = at > (off_t)sizeof buf ? sizeof buf : (size_t)at;
        if (pread(fd, buf, n, at - (off_t)n) != (ssize_t)n) {
            return 0;
        }
        for (size_t i = n; i > 0; i--) {
            if (buf[i - 1] == '\n' && --need == 0) {
                *lines = 0;
                return at - (off_t)n + (off_t)i;
            }
        }
        at -= (off_t)n;
        *lines = need - 1;
    }
    return 0;
}

static int file_open(struct logs_source *s, bool older)
{
    char path[4096];
    snprintf(path, sizeof path, "%s%s", s->path, older ? ".1" : "");
    return open(path, O_RDONLY | O_CLOEXEC);
}

// Where to begin: in the newer file when it has enough lines, else in the older one.
static void start_find(struct logs_source *s)
{
    struct stat st;
    CLEANUP(cleanup_close) int fd = file_open(s, false);
    CLEANUP(cleanup_close) int old = file_open(s, true);
    int64_t lines = s->tail_lines;

    s->older = old >= 0;
    s->offset = 0;
    if (s->tail_lines >= 0 && fd >= 0 && fstat(fd, &st) == 0) {
        off_t at = lines == 0 ? st.st_size : tail_start(fd, st.st_size, &lines);
        if (lines <= 0 || old < 0) {
            s->older = false;
            s->offset = at;
        } else if (fstat(old, &st) == 0) {
            s->offset = tail_start(old, st.st_size, &lines);
        }
    }
    s->tail_lines = -1;
}

static bool folder_there(const struct logs_source *s)
{
    CLEANUP(cleanup_free) char *folder = xstrdup(s->path);

    *strrchr(folder, '/') = '\0';
    return fs_is_dir(folder);
}

static void source_run(struct work *work)
{
    struct logs_source *s = work->data;
    struct stat st;

    if (s->inode == 0) {
        start_find(s);
    }
    CLEANUP(cleanup_close) int fd = file_open(s, s->older);
    s->gone = fd < 0 && !folder_there(s); // between two names of a rotation it is not gone
    s->got = 0;
    if (fd < 0 || fstat(fd, &st) != 0) {
        return;
    }
    if (s->inode != 0 && st.st_ino != s->inode) { // rotated: the rest of ours is in log.1 now
        CLEANUP(cleanup_close) int old = file_open(s, true);
        struct stat old_st;
        if (old >= 0 && fstat(old, &old_st) == 0 && old_st.st_ino == s->inode) {
            s->got = pread(old, s->chunk, sizeof s->chunk, s->offset);
            if (s->got > 0) {
                return;
            }
        }
        s->offset = 0;
    } else if (s->offset > st.st_size) { // another file with the same number
        s->offset = 0;
    }
    s->inode = st.st_ino;
    s->got = pread(fd, s->chunk, sizeof s->chunk, s->offset);
    if (s->got == 0 && s->older) { // go on with the newer file
        s->older = false;
        s->offset = 0;
        CLEANUP(cleanup_close) int newer = file_open(s, false);
        if (newer >= 0 && fstat(newer, &st) == 0) {
            s->inode = st.st_ino;
            s->got = pread(newer, s->chunk, sizeof s->chunk, 0);
        }
    }
}

// ---- on the loop

static void source_next(struct logs_source *s);

static void source_free_maybe(struct logs_source *s)
{
    if (s->closed && !s->working && s->timer_closed) {
        struct agent *a = s->agent;
        free(s->path);
        free(s);
        closer_drop(&a->closer);
    }
}

static void source_end(struct logs_source *s, int rc)
{
    struct error err;

    s->ended = true;
    if (rc < 0) {
        error_from_errno(&err, -rc, "cannot read the log");
    }
    s->sink.end(rc < 0 ? err.code : 0, rc < 0 ? &err : NULL, s->sink.arg);
}

static void source_done(struct work *work, int status)
{
    struct logs_source *s = work->data;

    (void)status;
    s->working = false;
    if (s->closed) {
        source_free_maybe(s);
        return;
    }
    if (s->got > 0) {
        size_t n = (uint64_t)s->got > s->left ? (size_t)s->left : (size_t)s->got;
        s->offset += s->got;
        s->left -= n;
        s->paused = !s->sink.data(slice_of(s->chunk, n), s->sink.arg);
        if (s->left == 0) {
            source_end(s, 0);
        } else if (!s->paused) {
            source_next(s);
        }
    } else if (s->got < 0 || !s->follow || s->gone || s->agent->closer.closing) {
        source_end(s, s->got < 0 ? (int)s->got : 0);
    } else {
        timer_start(&s->timer, FOLLOW_MS);
    }
}

static void source_next(struct logs_source *s)
{
    if (s->closed || s->ended || s->working) {
        return;
    }
    s->working = true;
    if (work_start(&s->work, s->agent->loop, source_run, source_done, s, NULL) < 0) {
        s->working = false;
        timer_start(&s->timer, FOLLOW_MS);
    }
}

static void on_follow(struct timer *timer)
{
    source_next(timer->data);
}

static int logs_open(void *self, const struct logs_query *q, const struct logs_sink *sink,
                     struct logs_source **out, struct error *err)
{
    struct agent *a = self;
    CLEANUP(cleanup_free) char *key = xasprintf("%s/%s", q->ns, q->pod);
    struct pod *p = map_get(&a->pods, slice_str(key));
    bool proxy = q->container && strcmp(q->container, POD_PROXY_NAME) == 0;

    if (!p || p->phase < POD_UP) {
        return error_set(err, ERR_NOT_FOUND, "Pod %s has no log yet: %s", key,
                         p && p->trouble.reason ? p->trouble.reason : "it is being started");
    }
    if (q->previous) {
        return error_set(err, ERR_UNSUPPORTED,
                         "one log holds all runs of a replica: ask without previous");
    }
    struct logs_source *s = NEW(struct logs_source);
    s->agent = a;
    s->sink = *sink;
    s->path = xasprintf("%s/replicas/%s/%s", a->home, p->id, proxy ? "proxy.log" : "log");
    s->follow = q->follow;
    s->tail_lines = q->tail_lines;
    s->left = q->limit_bytes ? q->limit_bytes : UINT64_MAX;
    closer_hold(&a->closer);
    timer_init(&s->timer, a->loop, on_follow, s);
    timer_start(&s->timer, 0);
    *out = s;
    return 0;
}

static void logs_resume(struct logs_source *s)
{
    s->paused = false;
    source_next(s);
}

static void on_source_timer_closed(struct timer *timer)
{
    struct logs_source *s = timer->data;
    s->timer_closed = true;
    source_free_maybe(s);
}

static void logs_close(struct logs_source *s)
{
    if (!s->closed) {
        s->closed = true;
        timer_close(&s->timer, on_source_timer_closed);
    }
}

void podlog_init(struct agent *a)
{
    a->logs = (struct logs_provider){
        .open = logs_open, .resume = logs_resume, .close = logs_close, .self = a};
}
