// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. inotify says that something was written or moved in (and now and then it is looked all the
 * same); a job on the pool lists the folder. A file that has not changed for `settle` is complete:
 * a job reads it, a push delivers it, a job moves it, or Redis gets a note. What is known of each
 * name stands in `seen`.
 *
 * Failure: a file that changes while it is read settles anew; one that cannot be read is looked at
 * again later. A folder that is not there is waited for. A file that cannot be moved is written
 * down instead: it must not be sent for ever. After a crash a file that was sent and not yet moved
 * is sent again, with the same id.
 */
#include "broker/source_file.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "loop/work.h"
#include "json/jbuild.h"
#include "broker/file_event.h"

#define INNER_NS      "source/file/"
#define LOOK_MS       30000 /* without a reason */
#define LOOK_BLIND_MS 1000  /* without inotify */
#define AGAIN_MS      1000
#define UNREADABLE_MS 30000
#define NOTES_MAX     20000
#define EVENTS_BYTES  4096

/* What is known of a name. */
struct seen {
    char *name;
    struct folder_file file;    /* name not owned */
    uint64_t since_ms;          /* unchanged */
    uint64_t again_ms;          /* not before */
    char taken[FILE_STAMP_MAX]; /* this version is done with; "": none */
    bool here;                  /* of the last look */
    bool busy;
    struct list ready;
};

struct file_source {
    struct worker *worker;
    char *ns;
    char *name;
    char *taken_key;
    struct file_object object;
    struct push_route route;
    struct map seen; /* name → struct seen */
    struct list ready;
    struct list items;
    unsigned n_items;
    int inotify; /* -1: none */
    int watch;   /* -1: none */
    struct loop_io io;
    bool used;
    bool dirty;
    bool looking;
    bool look_failed;
    bool noted;  /* the notes are read */
    bool asking; /* they are asked for */
    uint64_t look_ms;
    uint64_t taken;
    uint64_t dead;
    uint64_t others;
    struct error trouble;
    bool gone;
    unsigned refs; /* jobs, and questions to Redis */
};

enum stage { READING, PUSHING, MOVING, NOTING };

struct item {
    struct list link;
    struct file_source *source; /* NULL: free it when the answer comes */
    char *name;
    struct folder_file file; /* name is that */
    enum stage stage;
    bool waits; /* for a job or Redis */
    bool failed;
    uint64_t again_ms; /* NOTING */
    struct push push;
};

/* A job on the pool; owns all that it touches there. */
struct job {
    struct work work;
    struct file_source *source;
    struct item *item; /* NULL: a look */
    char *path;
    char *pattern;
    char *name;
    const char *to; /* NULL: read */
    struct folder_file file;
    bool with_data;
    struct folder_list list;
    struct strbuf data;
    int rc;
    struct error err;
};

/* --- life ---------------------------------------------------------------------------------- */

struct file_source *file_source_new(struct worker *w, const char *ns, const char *name)
{
    CLEANUP(cleanup_free) char *inner = xasprintf(INNER_NS "%s", ns);
    struct file_source *f = NEW(struct file_source);
    f->worker = w;
    f->ns = xstrdup(ns);
    f->name = xstrdup(name);
    f->taken_key = stream_key(inner, name, "taken");
    f->route = (struct push_route){.sender = &w->sender,
                                   .ns = f->ns,
                                   .common = &f->object.common,
                                   .timeout_ms = w->config->delivery_timeout_ms};
    map_init(&f->seen, MAP_BORROW_KEYS);
    list_init(&f->ready);
    list_init(&f->items);
    loop_io_init(&f->io);
    f->inotify = f->watch = -1;
    return f;
}

static void free_now(struct file_source *f)
{
    file_object_release(NULL, &f->object);
    free(f->taken_key);
    free(f->name);
    free(f->ns);
    free(f);
}

static void unref(struct file_source *f)
{
    if (--f->refs == 0 && f->gone) {
        free_now(f);
    }
}

static void item_free(struct item *it)
{
    if (it->source != NULL) {
        list_remove(&it->link);
        it->source->n_items--;
    }
    push_fini(&it->push);
    free(it->name);
    free(it);
}

static void forget(struct file_source *f, struct seen *s)
{
    map_remove(&f->seen, slice_str(s->name));
    list_remove(&s->ready);
    free(s->name);
    free(s);
}

static void stop_watching(struct file_source *f)
{
    if (f->inotify >= 0) {
        loop_io_remove(f->worker->loop, &f->io);
        close(f->inotify);
    }
    f->inotify = f->watch = -1;
}

/* Deliveries are broken off; what is known of the files goes. */
static void stop(struct file_source *f)
{
    stop_watching(f);
    list_foreach_safe (node, &f->items) {
        struct item *it = LIST_ENTRY(node, struct item, link);
        push_fini(&it->push);
        if (it->waits) {
            list_remove(&it->link);
            it->source = NULL;
        } else {
            item_free(it);
        }
    }
    f->n_items = 0;
    map_foreach (it, &f->seen) {
        forget(f, it.value);
    }
    f->noted = false;
    f->trouble = (struct error){0};
}

void file_source_use(struct file_source *f, const char *uid, struct file_object *object)
{
    bool same = f->used && same_text(f->object.path, object->path) &&
                same_text(f->object.pattern, object->pattern);
    if (!same) {
        stop(f);
    }
    list_foreach (node, &f->items) {
        push_pause(&LIST_ENTRY(node, struct item, link)->push);
    }
    file_object_release(NULL, &f->object);
    f->object = *object;
    *object = (struct file_object){0};
    f->used = true;
    f->dirty = true;
    if (f->object.common.trouble.code == ERR_OK && f->worker->config->local_gateway[0] == '\0') {
        error_set(&f->object.common.trouble, ERR_UNSUPPORTED,
                  "a FileSource runs on one machine only: nodes of a cluster have no folder in "
                  "common");
    }
}

void file_source_drop(struct file_source *f)
{
    const struct slice args[] = {SLICE_LIT("UNLINK"), slice_str(f->taken_key)};
    stop(f);
    (void)!redis_conn_send(f->worker->db, args, ARRAY_LEN(args), NULL, NULL, NULL);
}

void file_source_free(struct file_source *f)
{
    f->refs++;
    stop(f);
    map_fini(&f->seen);
    f->gone = true;
    unref(f);
}

/* --- jobs ---------------------------------------------------------------------------------- */

static void job_free(struct job *j)
{
    folder_list_fini(&j->list);
    strbuf_fini(&j->data);
    free(j->path);
    free(j->pattern);
    free(j->name);
    free(j);
}

static void on_run(struct work *work)
{
    struct job *j = work->data;
    if (j->item == NULL) {
        j->rc = folder_look(j->path, j->pattern, &j->list, &j->err);
    } else if (j->to != NULL) {
        j->rc = folder_move(j->path, j->name, j->to, &j->err);
    } else {
        j->rc = folder_read(j->path, &j->file, j->with_data ? &j->data : NULL, &j->err);
    }
}

static void begin_ready(struct file_source *f);
static void looked(struct file_source *f, struct job *j);
static void was_read(struct item *it, struct job *j);
static void moved(struct item *it, const struct job *j);

static void on_done(struct work *work, int status)
{
    struct job *j = work->data;
    struct file_source *f = j->source;
    struct item *it = j->item;
    if (status < 0) {
        j->rc = error_set(&j->err, ERR_CANCELED, "canceled");
    }
    if (it == NULL) {
        f->looking = false;
        if (!f->gone) {
            looked(f, j);
        }
    } else if (it->source == NULL) {
        item_free(it);
    } else {
        it->waits = false;
        if (j->to != NULL) {
            moved(it, j);
        } else {
            was_read(it, j);
        }
        begin_ready(f);
    }
    job_free(j);
    unref(f);
}

/* False: it could not be begun; err says why. */
static bool start_job(struct file_source *f, struct item *it, const char *to, struct error *err)
{
    struct job *j = NEW(struct job);
    j->source = f;
    j->item = it;
    j->path = xstrdup(f->object.path);
    j->pattern = f->object.pattern == NULL ? NULL : xstrdup(f->object.pattern);
    j->to = to;
    strbuf_init(&j->data, 0);
    if (it != NULL) {
        j->name = xstrdup(it->name);
        j->file = it->file;
        j->file.name = j->name;
        j->with_data = !file_by_reference(&f->object, &it->file);
    }
    if (work_start(&j->work, f->worker->loop, on_run, on_done, j, err) < 0) {
        job_free(j);
        return false;
    }
    f->refs++;
    f->looking = f->looking || it == NULL;
    if (it != NULL) {
        it->waits = true;
    }
    return true;
}

/* --- one file ------------------------------------------------------------------------------ */

static struct seen *seen_of(const struct item *it)
{
    return map_get(&it->source->seen, slice_str(it->name));
}

/* It is done with, or is to be looked at anew. */
static void end(struct item *it, uint64_t again_ms)
{
    struct file_source *f = it->source;
    struct seen *s = seen_of(it);
    if (s != NULL) {
        s->busy = false;
        s->again_ms = loop_now_ms(f->worker->loop) + again_ms;
        s->since_ms = again_ms > 0 ? loop_now_ms(f->worker->loop) : s->since_ms;
    }
    f->dirty = f->dirty || again_ms > 0;
    item_free(it);
}

static void note(struct file_source *f, const char *what, const char *name, const struct error *err)
{
    if (strcmp(f->trouble.msg, err->msg) != 0) {
        LOG_WARN("a FileSource has trouble", LOG_STR("source", f->object.common.source),
                 LOG_STR("what", what), LOG_STR("file", name), LOG_ERR(err));
    }
    error_copy(&f->trouble, err);
}

static void on_noted(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct item *it = arg;
    struct file_source *f = it->source;
    it->waits = false;
    if (f == NULL) {
        item_free(it);
        return;
    }
    if (err != NULL) {
        note(f, "writing it down", it->name, err);
        it->again_ms = loop_now_ms(f->worker->loop) + AGAIN_MS;
        return;
    }
    struct seen *s = seen_of(it);
    if (s != NULL) {
        file_stamp(&it->file, s->taken);
    }
    end(it, 0);
    begin_ready(f);
}

static void write_down(struct item *it)
{
    struct file_source *f = it->source;
    char stamp[FILE_STAMP_MAX];
    struct error err;
    const struct slice args[] = {SLICE_LIT("HSET"), slice_str(f->taken_key), slice_str(it->name),
                                 slice_str(file_stamp(&it->file, stamp))};
    it->stage = NOTING;
    it->waits = true;
    if (redis_conn_send(f->worker->db, args, ARRAY_LEN(args), on_noted, it, &err) < 0) {
        on_noted(it, NULL, &err);
    }
}

static void moved(struct item *it, const struct job *j)
{
    if (j->rc == 0 || j->err.code == ERR_NOT_FOUND) {
        end(it, 0);
        return;
    }
    note(it->source, "moving it", it->name, &j->err);
    write_down(it);
}

/* The last thing that is done with a file that was sent, or cannot be. */
static void finish(struct item *it, bool by_reference)
{
    struct file_source *f = it->source;
    struct error err;
    if (by_reference || f->object.keep) {
        write_down(it);
        return;
    }
    it->stage = MOVING;
    if (!start_job(f, it, it->failed ? "failed" : "done", &err)) {
        write_down(it);
    }
}

static void on_pushed(struct push *p, enum push_outcome outcome)
{
    struct item *it = CONTAINER_OF(p, struct item, push);
    struct file_source *f = it->source;
    it->failed = outcome != PUSH_TAKEN;
    if (it->failed) {
        f->dead++;
        note(f, outcome == PUSH_REFUSED ? "nobody took it" : "the dead letter sink took it",
             it->name, &p->why);
    } else {
        f->taken++;
        f->trouble = (struct error){0};
    }
    finish(it, file_by_reference(&f->object, &it->file));
}

static void was_read(struct item *it, struct job *j)
{
    struct file_source *f = it->source;
    struct event event = {0};
    if (j->rc < 0) {
        bool other = j->err.code == ERR_CONFLICT || j->err.code == ERR_NOT_FOUND;
        if (!other) {
            note(f, "reading it", it->name, &j->err);
        }
        end(it, other ? 1 : UNREADABLE_MS);
        return;
    }
    int rc = file_event(&f->object, &it->file, j->with_data ? &j->data : NULL, &event, &j->err);
    if (rc < 0) {
        event_fini(&event);
        f->dead++;
        it->failed = true;
        note(f, "making an event of it", it->name, &j->err);
        finish(it, !j->with_data);
        return;
    }
    it->stage = PUSHING;
    push_start(&it->push, &f->route, &event, on_pushed);
}

static void begin(struct file_source *f, struct seen *s)
{
    struct error err = {0};
    struct item *it = NEW(struct item);
    int64_t most = (int64_t)f->worker->config->event_bytes_max;
    it->source = f;
    it->name = xstrdup(s->name);
    it->file = s->file;
    it->file.name = it->name;
    list_push_back(&f->items, &it->link);
    f->n_items++;
    s->busy = true;
    if (!file_by_reference(&f->object, &s->file) && s->file.size > most) {
        error_set(&err, ERR_TOO_BIG,
                  "it has %lld bytes, an event has at most %lld: use mode auto or reference",
                  (long long)s->file.size, (long long)most);
        note(f, "making an event of it", it->name, &err);
        f->dead++;
        it->failed = true;
        finish(it, false);
    } else if (!start_job(f, it, NULL, &err)) {
        end(it, AGAIN_MS);
    }
}

static void begin_ready(struct file_source *f)
{
    while (!f->worker->stopping && f->n_items < f->object.parallelism && !list_empty(&f->ready)) {
        struct seen *s = LIST_ENTRY(list_pop_front(&f->ready), struct seen, ready);
        begin(f, s);
    }
}

/* --- the folder ---------------------------------------------------------------------------- */

static bool is_other(const struct folder_file *a, const struct folder_file *b)
{
    return a->inode != b->inode || a->size != b->size || a->modified_ns != b->modified_ns;
}

static struct seen *see(struct file_source *f, const char *name)
{
    struct seen *s = map_get(&f->seen, slice_str(name));
    if (s == NULL) {
        s = NEW(struct seen);
        s->name = xstrdup(name);
        list_init(&s->ready);
        map_set(&f->seen, slice_str(s->name), s);
    }
    return s;
}

/* Ms until it is complete by what is known now. */
static uint64_t unsettled_ms(const struct file_source *f, const struct seen *s, uint64_t now_ms)
{
    uint64_t settle_ms = (uint64_t)f->object.settle_ms;
    int64_t age_ms = (clock_wall_ns() - s->file.modified_ns) / (int64_t)CLOCK_NS_PER_MS;
    uint64_t watched_ms = now_ms - s->since_ms;
    uint64_t age = age_ms > 0 && (uint64_t)age_ms > watched_ms ? (uint64_t)age_ms : watched_ms;
    return age >= settle_ms ? 0 : settle_ms - age;
}

static void take_note_of(struct file_source *f, const struct folder_file *file, uint64_t now_ms)
{
    char stamp[FILE_STAMP_MAX];
    struct seen *s = see(f, file->name);
    s->here = true;
    if (s->busy) {
        return;
    }
    if (s->file.inode == 0 || is_other(&s->file, file)) {
        s->file = *file;
        s->file.name = s->name;
        s->since_ms = now_ms;
        list_remove(&s->ready);
    }
    if (strcmp(s->taken, file_stamp(file, stamp)) == 0 || list_linked(&s->ready)) {
        return;
    }
    uint64_t wait_ms = unsettled_ms(f, s, now_ms);
    uint64_t held_ms = s->again_ms > now_ms ? s->again_ms - now_ms : 0;
    wait_ms = wait_ms > held_ms ? wait_ms : held_ms;
    if (wait_ms == 0) {
        list_push_back(&f->ready, &s->ready);
    } else if (now_ms + wait_ms < f->look_ms) {
        f->look_ms = now_ms + wait_ms;
    }
}

/* What is not there any more; notes stay as long as there is room: a folder that is empty because
 * nothing is mounted there today is full tomorrow. */
static void forget_absent(struct file_source *f)
{
    bool crowded = map_len(&f->seen) > NOTES_MAX;
    map_foreach (it, &f->seen) {
        struct seen *s = it.value;
        const struct slice args[] = {SLICE_LIT("HDEL"), slice_str(f->taken_key),
                                     slice_str(s->name)};
        if (s->here || s->busy || (s->taken[0] != '\0' && !crowded)) {
            continue;
        }
        if (s->taken[0] != '\0') {
            (void)!redis_conn_send(f->worker->db, args, ARRAY_LEN(args), NULL, NULL, NULL);
        }
        forget(f, s);
    }
}

static void looked(struct file_source *f, struct job *j)
{
    uint64_t now_ms = loop_now_ms(f->worker->loop);
    if (!same_text(j->path, f->object.path) || !same_text(j->pattern, f->object.pattern)) {
        f->dirty = true; /* it was another folder's */
        return;
    }
    bool failed_before = f->look_failed;
    f->look_failed = j->rc < 0;
    if (j->rc < 0) {
        note(f, "looking into the folder", "", &j->err);
        stop_watching(f);
        f->look_ms = now_ms + AGAIN_MS;
        return;
    }
    f->look_ms = now_ms + (f->watch >= 0 ? LOOK_MS : LOOK_BLIND_MS);
    f->others = j->list.others;
    if (failed_before) {
        f->trouble = (struct error){0};
    }
    map_foreach (it, &f->seen) {
        ((struct seen *)it.value)->here = false;
    }
    for (size_t i = 0; f->noted && i < j->list.n; i++) {
        take_note_of(f, &j->list.items[i], now_ms);
    }
    if (j->list.more) {
        struct error err;
        error_set(&err, ERR_TOO_BIG, "the folder has more than %d files; the rest waits",
                  FOLDER_FILES_MAX);
        note(f, "looking into the folder", "", &err);
        f->look_ms = now_ms + AGAIN_MS;
    } else {
        forget_absent(f);
    }
    begin_ready(f);
}

static void on_inotify(struct loop_io *io, unsigned events)
{
    struct file_source *f = CONTAINER_OF(io, struct file_source, io);
    _Alignas(struct inotify_event) char bytes[EVENTS_BYTES];
    bool lost = false;
    for (;;) {
        ssize_t n = read(f->inotify, bytes, sizeof(bytes));
        if (n <= 0) {
            break;
        }
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *one = (const void *)(bytes + at);
            lost = lost || (one->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT));
            at += (ssize_t)(sizeof(*one) + one->len);
        }
        f->dirty = true;
    }
    if (lost) {
        stop_watching(f);
    }
}

static void watch(struct file_source *f)
{
    struct error err;
    if (f->inotify >= 0) {
        return;
    }
    f->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (f->inotify < 0) {
        return; /* no descriptors: it is looked every second */
    }
    f->watch = inotify_add_watch(f->inotify, f->object.path,
                                 IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF |
                                     IN_ONLYDIR);
    if (f->watch < 0 ||
        loop_io_add(f->worker->loop, &f->io, f->inotify, false, on_inotify, &err) < 0) {
        close(f->inotify);
        f->inotify = f->watch = -1;
        return;
    }
    f->dirty = true;
}

static void on_notes(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct file_source *f = arg;
    f->asking = false;
    if (!f->gone && err == NULL) {
        for (size_t i = 0; i + 1 < redis_reply_len(reply); i += 2) {
            CLEANUP(cleanup_free)
            char *name = slice_dup(redis_reply_text(redis_reply_at(reply, i)));
            struct seen *s = see(f, name);
            (void)slice_copy(redis_reply_text(redis_reply_at(reply, i + 1)), s->taken,
                             sizeof(s->taken));
        }
        f->noted = true;
        f->dirty = true;
    }
    unref(f);
}

static void ask_notes(struct file_source *f)
{
    struct error err;
    const struct slice args[] = {SLICE_LIT("HGETALL"), slice_str(f->taken_key)};
    if (f->noted || f->asking) {
        return;
    }
    f->refs++;
    f->asking = true;
    if (redis_conn_send(f->worker->db, args, ARRAY_LEN(args), on_notes, f, &err) < 0) {
        on_notes(f, NULL, &err);
    }
}

void file_source_tick(struct file_source *f, uint64_t now_ms, size_t crowd)
{
    struct error err;
    list_foreach_safe (node, &f->items) {
        struct item *it = LIST_ENTRY(node, struct item, link);
        if (it->stage == PUSHING && !it->waits) {
            push_tick(&it->push, now_ms);
        } else if (it->stage == NOTING && !it->waits && now_ms >= it->again_ms) {
            write_down(it);
        }
    }
    if (!f->used || f->object.common.trouble.code != ERR_OK || f->object.common.sink == NULL ||
        f->worker->stopping) {
        return;
    }
    ask_notes(f);
    if (!f->noted) {
        return;
    }
    watch(f);
    if (!f->looking && (f->dirty || now_ms >= f->look_ms)) {
        f->dirty = false;
        if (!start_job(f, NULL, NULL, &err)) {
            f->look_ms = now_ms + AGAIN_MS;
        }
    }
    begin_ready(f);
}

json_t *file_source_state(const struct file_source *f)
{
    const struct error *why =
        f->object.common.trouble.code != ERR_OK ? &f->object.common.trouble : &f->trouble;
    return json_pack("{s:s,s:s,s:b,s:I,s:I,s:I,s:I,s:o}", "namespace", f->ns, "name", f->name,
                     "running", f->watch >= 0, "delivering", (json_int_t)f->n_items, "taken",
                     (json_int_t)f->taken, "dead", (json_int_t)f->dead, "others",
                     (json_int_t)f->others, "trouble",
                     jstring_lossy(slice_str(why->code == ERR_OK ? "" : why->msg)));
}
