// SPDX-License-Identifier: Apache-2.0
//
// Reading a replica's log: `log.1`, then `log` (or `log.previous.1`, `log.previous`), from the
// start or from the last N lines, and on as it grows. All reading is on a pool thread, one chunk at
// a time; files stay open, so what is renamed or removed meanwhile is read to its end. Following
// goes on with the new file after a rotation. The source ends when everything was given, or,
// following, when this run of the program has ended.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "loop/work.h"
#include "json/jget.h"
#include "serving/names.h"
#include "local/agent/log_entries.h"
#include "local/agent/node.h"

#define CHUNK_BYTES 65536
#define FOLLOW_MS   100

enum found { FOUND_BYTES, FOUND_END, FOUND_OVER }; // END: of what is there; OVER: another run began

struct logs_source {
    struct agent *agent;
    struct logs_sink sink;
    struct work work;
    struct timer timer;
    char *key, *id; // of the Pod
    char *path;     // of the newer file
    bool proxy;
    bool follow;
    bool working, paused, ended, closed, timer_closed;
    bool last; // the run is over: what is there now is all
    int64_t tail_lines;
    uint64_t left; // bytes that may still be given
    struct log_reader reader;
    // The pool thread's while working.
    bool begun;
    bool leaving;     // the file at the path is another one: once more to the end of ours
    int older_fd, fd; // -1: none
    off_t offset;     // in the older one while that is open
    enum found found;
    int failed; // -errno
    size_t len; // of what is to be given
    char chunk[CHUNK_BYTES];
};

// ---- on the pool thread

static int file_open(const struct logs_source *s, const char *suffix)
{
    CLEANUP(cleanup_free) char *path = xasprintf("%s%s", s->path, suffix);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static off_t file_tail(int fd, int64_t *lines)
{
    struct stat st;
    return fd >= 0 && fstat(fd, &st) == 0 ? log_tail(fd, st.st_size, lines) : 0;
}

// Where to begin: in the newer file when it has enough lines, else in the older one.
static void source_begin(struct logs_source *s)
{
    int64_t lines = s->tail_lines;

    s->begun = true;
    s->fd = file_open(s, "");
    s->older_fd = file_open(s, ".1");
    if (lines < 0) {
        return;
    }
    s->offset = file_tail(s->fd, &lines);
    if (lines > 0 && s->older_fd >= 0) {
        s->offset = file_tail(s->older_fd, &lines);
    } else {
        cleanup_close(&s->older_fd);
        s->older_fd = -1;
    }
}

// One chunk of an open file; false: there is nothing (more) in it. `whole`: nothing will follow.
static bool chunk_read(struct logs_source *s, int fd, bool whole)
{
    ssize_t n = pread(fd, s->chunk, sizeof s->chunk, s->offset);
    if (n <= 0) {
        s->failed = n < 0 ? -errno : 0;
        return false;
    }
    size_t done = log_read(&s->reader, s->chunk, (size_t)n, whole && n < CHUNK_BYTES, &s->len);
    if (done == 0 && n == CHUNK_BYTES) { // no entry is so long: not one of ours
        done = log_read(&s->reader, s->chunk, (size_t)n, true, &s->len);
    }
    s->offset += (off_t)done;
    return done > 0;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

// The end of our file: whether another one stands at its path, and why.
static enum found source_turn(struct logs_source *s)
{
    struct stat ours, now, old;

    if (fstat(s->fd, &ours) != 0 || stat(s->path, &now) != 0 || same_file(&ours, &now)) {
        return FOUND_END;
    }
    if (!s->leaving) { // its last lines may be newer than our look at them
        s->leaving = true;
        return FOUND_BYTES;
    }
    CLEANUP(cleanup_free) char *path = xasprintf("%s.1", s->path);
    bool rotated = ours.st_nlink == 0 || (stat(path, &old) == 0 && same_file(&ours, &old));
    int fd = rotated ? file_open(s, "") : -1;
    if (fd < 0) {
        return FOUND_OVER;
    }
    close(s->fd);
    s->fd = fd;
    s->offset = 0;
    s->leaving = false;
    return FOUND_BYTES;
}

static void source_run(struct work *work)
{
    struct logs_source *s = work->data;

    if (!s->begun) {
        source_begin(s);
    }
    s->len = 0;
    s->failed = 0;
    s->found = FOUND_BYTES;
    if (s->older_fd >= 0) {
        if (!chunk_read(s, s->older_fd, true)) {
            close(s->older_fd);
            s->older_fd = -1;
            s->offset = 0;
        }
        return;
    }
    if (s->fd < 0) {
        s->fd = file_open(s, ""); // it may not have been made yet
    }
    if (s->fd < 0) {
        s->found = FOUND_END;
    } else if (!chunk_read(s, s->fd, !s->follow)) {
        s->found = s->follow && s->failed == 0 ? source_turn(s) : FOUND_END;
    }
}

// ---- on the loop

static void source_next(struct logs_source *s);

static void source_free_maybe(struct logs_source *s)
{
    if (s->closed && !s->working && s->timer_closed) {
        struct agent *a = s->agent;
        cleanup_close(&s->fd);
        cleanup_close(&s->older_fd);
        free(s->key);
        free(s->id);
        free(s->path);
        free(s);
        closer_drop(&a->closer);
    }
}

static void source_end(struct logs_source *s, int failed)
{
    struct error err;

    s->ended = true;
    if (failed < 0) {
        error_from_errno(&err, -failed, "cannot read the log");
    }
    s->sink.end(failed < 0 ? err.code : 0, failed < 0 ? &err : NULL, s->sink.arg);
}

// Whether more may come from the run that is being read.
static bool program_runs(const struct logs_source *s)
{
    const struct pod *p = map_get(&s->agent->pods, slice_str(s->key));

    return p != NULL && strcmp(p->id, s->id) == 0 && !s->agent->closer.closing &&
           (s->proxy || p->state.running || !p->state.up);
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
    if (s->len > 0) {
        size_t n = s->len > s->left ? (size_t)s->left : s->len;
        s->left -= n;
        s->paused = !s->sink.data(slice_of(s->chunk, n), s->sink.arg);
    }
    if (s->failed < 0 || s->left == 0 || s->found == FOUND_OVER ||
        (s->found == FOUND_END && (!s->follow || s->last))) {
        source_end(s, s->failed);
    } else if (s->found == FOUND_BYTES) {
        if (!s->paused) {
            source_next(s);
        }
    } else if (program_runs(s)) {
        timer_start(&s->timer, FOLLOW_MS);
    } else { // once more: its last words may be newer than our look at them
        s->last = true;
        source_next(s);
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

static struct logs_source *source_new(struct agent *a, const struct pod *p,
                                      const struct logs_query *q, bool proxy)
{
    struct logs_source *s = NEW(struct logs_source);
    // Of one that waits to be started again, the newest files are those of its last run.
    bool before = q->previous && (proxy || p->state.running);

    s->agent = a;
    s->key = xstrdup(p->key);
    s->id = xstrdup(p->id);
    s->path = xasprintf("%s/replicas/%s/%s%s", a->home, p->id, proxy ? "proxy.log" : "log",
                        before ? ".previous" : "");
    s->proxy = proxy;
    s->follow = q->follow && !q->previous;
    s->tail_lines = q->tail_lines;
    s->left = q->limit_bytes ? q->limit_bytes : UINT64_MAX;
    s->reader.timestamps = q->timestamps;
    if (q->since_ns > 0) {
        char text[CLOCK_RFC3339_MAX];
        clock_format_rfc3339(q->since_ns, 9, text, sizeof text);
        (void)snprintf(s->reader.since, sizeof s->reader.since, "%.*s", LOG_STAMP_LEN, text);
    }
    s->fd = s->older_fd = -1;
    return s;
}

static bool container_there(const struct pod *p, const char *container)
{
    json_t *tree = p->object == NULL ? NULL : object_parse(p->object);
    json_t *c;
    size_t i;
    bool found = false;
    json_array_foreach(jpeek_arr(tree, "spec.containers"), i, c)
    {
        found = found || slice_eq_str(jpeek_str(c, "name"), container);
    }
    json_decref(tree);
    return found;
}

static int logs_open(void *self, const struct logs_query *q, const struct logs_sink *sink,
                     struct logs_source **out, struct error *err)
{
    struct agent *a = self;
    CLEANUP(cleanup_free) char *key = xasprintf("%s/%s", q->ns, q->pod);
    struct pod *p = map_get(&a->pods, slice_str(key));
    bool named = q->container != NULL && q->container[0] != '\0';
    const char *container = named ? q->container : USER_CONTAINER_NAME;
    bool proxy = strcmp(container, POD_PROXY_NAME) == 0;

    if (p != NULL && named && !container_there(p, container)) {
        return error_set(err, ERR_PROTOCOL, "container %s is not valid for pod %s", container,
                         q->pod);
    }
    if (p == NULL || p->phase < POD_UP) {
        return error_set(err, ERR_PROTOCOL,
                         "container \"%s\" in pod \"%s\" is waiting to start: %s", container,
                         q->pod, p && p->trouble.reason ? p->trouble.reason : "ContainerCreating");
    }
    struct logs_source *s = source_new(a, p, q, proxy);
    if (q->previous && ((!proxy && p->state.restarts == 0) || !fs_exists(s->path))) {
        free(s->key);
        free(s->id);
        free(s->path);
        free(s);
        return error_set(err, ERR_PROTOCOL,
                         "previous terminated container \"%s\" in pod \"%s\" not found", container,
                         q->pod);
    }
    s->sink = *sink;
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
