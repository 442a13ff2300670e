// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. inotify says that something was written or moved in (and now and then it is looked all the
 * same); a job on the pool lists the folder. A file that has not changed for `settle` is complete
 * (file_names.h) and is sent (file_items.h).
 *
 * Failure: a folder that is not there is waited for. Nothing is sent before the notes in Redis are
 * read, which say what was.
 */
#include "broker/source_file.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "loop/work.h"
#include "json/jbuild.h"
#include "broker/file_items.h"
#include "broker/file_names.h"
#include "broker/file_watch.h"

#define LOOK_MS       30000 /* without a reason */
#define LOOK_BLIND_MS 1000  /* without inotify */
#define AGAIN_MS      1000

struct file_source {
    struct worker *worker;
    char *ns;
    char *name;
    char *inner; /* namespace of its outlet */
    char *taken_key;
    struct outlet_ref outlet;
    struct file_object object;
    struct push_route route;
    struct file_names names;
    struct file_items items;
    struct file_watch watch;
    bool used;
    bool dirty;
    bool looking;
    bool look_failed;
    bool noted;  /* the notes are read */
    bool asking; /* they are asked for */
    uint64_t look_ms;
    uint64_t others;
    bool gone;
    unsigned refs; /* looks, and questions to Redis */
};

/* A look on the pool; owns all that it touches there. */
struct look {
    struct work work;
    struct file_source *source;
    char *path;
    char *pattern;
    struct folder_list list;
    int rc;
    struct error err;
};

/* --- sending ------------------------------------------------------------------------------- */

static void on_over(void *arg, const char *name, const char *stamp, uint64_t again_ms)
{
    struct file_source *f = arg;
    uint64_t now_ms = loop_now_ms(f->worker->loop);
    struct file_name *known = file_names_get(&f->names, name);
    if (known != NULL) {
        known->busy = false;
        known->again_ms = now_ms + again_ms;
        known->since_ms = again_ms > 0 ? now_ms : known->since_ms;
    }
    if (known != NULL && stamp != NULL) {
        file_names_noted(&f->names, known, stamp);
    }
    f->dirty = f->dirty || again_ms > 0;
}

static void begin_ready(void *arg)
{
    struct file_source *f = arg;
    while (!f->worker->stopping && f->items.n < f->object.parallelism) {
        struct file_name *next = file_names_next(&f->names);
        if (next == NULL) {
            return;
        }
        next->busy = true;
        file_items_begin(&f->items, &next->file);
    }
}

/* --- life ---------------------------------------------------------------------------------- */

static void on_change(void *arg)
{
    ((struct file_source *)arg)->dirty = true;
}

void *file_source_new(struct worker *w, const char *ns, const char *name)
{
    struct file_source *f = NEW(struct file_source);
    f->worker = w;
    f->ns = xstrdup(ns);
    f->name = xstrdup(name);
    f->inner = outlet_ns("file", ns);
    f->outlet = (struct outlet_ref){w, f->inner, f->name};
    f->route = (struct push_route){.sender = &w->sender,
                                   .ns = f->ns,
                                   .common = &f->object.common,
                                   .timeout_ms = w->config->delivery_timeout_ms,
                                   .on_try = outlet_tried,
                                   .arg = &f->outlet};
    f->items = (struct file_items){.worker = w,
                                   .object = &f->object,
                                   .route = &f->route,
                                   .outlet = &f->outlet,
                                   .on_over = on_over,
                                   .on_room = begin_ready,
                                   .arg = f};
    file_names_init(&f->names);
    file_items_init(&f->items);
    file_watch_init(&f->watch, w->loop, on_change, f);
    return f;
}

static void free_now(struct file_source *f)
{
    file_object_release(NULL, &f->object);
    free(f->taken_key);
    free(f->inner);
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

/* Deliveries are broken off; what is known of the files goes. */
static void stop(struct file_source *f)
{
    file_watch_stop(&f->watch);
    file_items_stop(&f->items);
    file_names_clear(&f->names);
    f->noted = false;
    f->items.trouble = (struct error){0};
}

void file_source_use(void *one, const char *uid, void *value)
{
    struct file_source *f = one;
    struct file_object *object = value;
    char *taken_key = stream_trigger_key(f->inner, f->name, uid, ":taken");
    bool same = f->used && same_text(f->object.path, object->path) &&
                same_text(f->object.pattern, object->pattern) && same_text(f->taken_key, taken_key);
    if (!same) {
        stop(f);
    }
    free(f->taken_key);
    f->taken_key = taken_key;
    f->items.taken_key = taken_key;
    file_items_pause(&f->items);
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
    outlet_use(
        f->worker,
        &(struct outlet){.ns = f->inner, .name = f->name, .uid = uid, .common = &f->object.common});
}

void file_source_drop(void *one)
{
    struct file_source *f = one;
    stop(f);
    outlet_drop(f->worker, f->inner, f->name); /* and what is written down */
}

void file_source_free(void *one)
{
    struct file_source *f = one;
    f->refs++;
    stop(f);
    file_names_fini(&f->names);
    f->gone = true;
    unref(f);
}

/* --- the folder ---------------------------------------------------------------------------- */

static void on_note_gone(void *arg, const char *name)
{
    const struct file_source *f = arg;
    const struct slice args[] = {SLICE_LIT("HDEL"), slice_str(f->taken_key), slice_str(name)};
    (void)!redis_conn_send(f->worker->db, args, ARRAY_LEN(args), NULL, NULL, NULL);
}

static void take_in(struct file_source *f, const struct folder_list *list, uint64_t now_ms)
{
    file_names_look_begin(&f->names, (struct file_place){list->device, list->inode});
    for (size_t i = 0; f->noted && i < list->n; i++) {
        uint64_t wait_ms = file_names_look(&f->names, &list->items[i],
                                           (uint64_t)f->object.settle_ms, now_ms, clock_wall_ns());
        if (wait_ms > 0 && now_ms + wait_ms < f->look_ms) {
            f->look_ms = now_ms + wait_ms;
        }
    }
    if (list->more) {
        struct error err;
        error_set(&err, ERR_TOO_BIG, "the folder has more than %d files; the rest waits",
                  FOLDER_FILES_MAX);
        file_items_trouble(&f->items, "looking into the folder", "", &err);
        f->look_ms = now_ms + AGAIN_MS;
    }
    file_names_look_end(&f->names, !list->more, now_ms, on_note_gone, f);
}

static void looked(struct file_source *f, const struct look *l)
{
    uint64_t now_ms = loop_now_ms(f->worker->loop);
    if (!same_text(l->path, f->object.path) || !same_text(l->pattern, f->object.pattern)) {
        f->dirty = true; /* it was another folder's */
        return;
    }
    bool failed_before = f->look_failed;
    f->look_failed = l->rc < 0;
    if (l->rc < 0) {
        file_items_trouble(&f->items, "looking into the folder", "", &l->err);
        file_watch_stop(&f->watch);
        f->look_ms = now_ms + AGAIN_MS;
        return;
    }
    f->look_ms = now_ms + (file_watch_works(&f->watch) ? LOOK_MS : LOOK_BLIND_MS);
    f->others = l->list.others;
    if (failed_before) {
        f->items.trouble = (struct error){0};
    }
    take_in(f, &l->list, now_ms);
    begin_ready(f);
}

static void look_free(struct look *l)
{
    folder_list_fini(&l->list);
    free(l->path);
    free(l->pattern);
    free(l);
}

static void on_look(struct work *work)
{
    struct look *l = work->data;
    l->rc = folder_look(l->path, l->pattern, &l->list, &l->err);
}

static void on_looked(struct work *work, int status)
{
    struct look *l = work->data;
    struct file_source *f = l->source;
    if (status < 0) {
        l->rc = error_set(&l->err, ERR_CANCELED, "canceled");
    }
    f->looking = false;
    if (!f->gone) {
        looked(f, l);
    }
    look_free(l);
    unref(f);
}

static void look(struct file_source *f, uint64_t now_ms)
{
    struct error err;
    struct look *l = NEW(struct look);
    l->source = f;
    l->path = xstrdup(f->object.path);
    l->pattern = f->object.pattern == NULL ? NULL : xstrdup(f->object.pattern);
    f->dirty = false;
    if (work_start(&l->work, f->worker->loop, on_look, on_looked, l, &err) < 0) {
        look_free(l);
        f->look_ms = now_ms + AGAIN_MS;
        return;
    }
    f->refs++;
    f->looking = true;
}

/* --- notes --------------------------------------------------------------------------------- */

static void on_notes(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct file_source *f = arg;
    f->asking = false;
    if (!f->gone && err == NULL) {
        for (size_t i = 0; i + 1 < redis_reply_len(reply); i += 2) {
            CLEANUP(cleanup_free)
            char *name = slice_dup(redis_reply_text(redis_reply_at(reply, i)));
            file_names_note(&f->names, name, redis_reply_text(redis_reply_at(reply, i + 1)));
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

/* ------------------------------------------------------------------------------------------- */

void file_source_tick(void *one, uint64_t now_ms, size_t crowd)
{
    struct file_source *f = one;
    file_items_tick(&f->items, now_ms);
    outlet_holds(&f->outlet, f->items.n + (unsigned)file_names_waiting(&f->names));
    if (!f->used || f->object.common.trouble.code != ERR_OK || f->object.common.sink == NULL ||
        f->worker->stopping) {
        return;
    }
    ask_notes(f);
    if (!f->noted) {
        return;
    }
    f->dirty = file_watch_start(&f->watch, f->object.path) || f->dirty;
    if (!f->looking && (f->dirty || now_ms >= f->look_ms)) {
        look(f, now_ms);
    }
    begin_ready(f);
}

json_t *file_source_state(const void *one)
{
    const struct file_source *f = one;
    const struct error *why =
        f->object.common.trouble.code != ERR_OK ? &f->object.common.trouble : &f->items.trouble;
    return json_pack("{s:s,s:s,s:b,s:I,s:I,s:I,s:I,s:o}", "namespace", f->ns, "name", f->name,
                     "running", file_watch_works(&f->watch), "delivering", (json_int_t)f->items.n,
                     "taken", (json_int_t)f->items.taken, "dead", (json_int_t)f->items.dead,
                     "others", (json_int_t)f->others, "trouble",
                     jstring_lossy(slice_str(why->code == ERR_OK ? "" : why->msg)));
}
