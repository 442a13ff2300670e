// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. A job reads the file, a push delivers it, a job moves it, or Redis gets a note. An event
 * that nobody took goes among the dead first.
 *
 * Failure: a file that changes while it is read is looked at anew; one that cannot be read later. A
 * file that cannot be moved is written down instead: it must not be sent for ever. After a crash a
 * file that was sent and not yet moved is sent again, with the same id.
 */
#include "broker/file_items.h"

#include <stdlib.h>

#include "base/mem.h"
#include "loop/work.h"

#define AGAIN_MS      1000
#define UNREADABLE_MS 30000

enum stage { READING, PUSHING, BURYING, MOVING, NOTING };

struct item {
    struct list link;
    struct file_items *items; /* NULL: free it when the answer comes */
    char *name;
    struct folder_file file; /* name is that */
    enum stage stage;
    bool waits; /* for a job or Redis */
    bool failed;
    bool whole;        /* it is an event with its data */
    bool by_reference; /* it stays where it is */
    uint64_t again_ms; /* BURYING, NOTING */
    struct push push;
};

/* A job on the pool; owns all that it touches there. */
struct job {
    struct work work;
    struct item *item;
    char *path;
    char *name;
    const char *to; /* NULL: read */
    struct folder_file file;
    bool with_data;
    struct strbuf data;
    int rc;
    struct error err;
};

void file_items_init(struct file_items *items)
{
    list_init(&items->list);
}

static void item_free(struct item *it)
{
    if (it->items != NULL) {
        list_remove(&it->link);
        it->items->n--;
    }
    push_fini(&it->push);
    free(it->name);
    free(it);
}

void file_items_stop(struct file_items *items)
{
    list_foreach_safe (node, &items->list) {
        struct item *it = LIST_ENTRY(node, struct item, link);
        push_fini(&it->push);
        if (it->waits) {
            list_remove(&it->link);
            it->items = NULL;
        } else {
            item_free(it);
        }
    }
    items->n = 0;
}

void file_items_pause(struct file_items *items)
{
    list_foreach (node, &items->list) {
        push_pause(&LIST_ENTRY(node, struct item, link)->push);
    }
}

void file_items_trouble(struct file_items *items, const char *what, const char *name,
                        const struct error *err)
{
    if (strcmp(items->trouble.msg, err->msg) != 0) {
        LOG_WARN("a FileSource has trouble", LOG_STR("source", items->object->common.source),
                 LOG_STR("what", what), LOG_STR("file", name), LOG_ERR(err));
    }
    error_copy(&items->trouble, err);
}

static uint64_t now_of(const struct item *it)
{
    return loop_now_ms(it->items->worker->loop);
}

static void end(struct item *it, const char *stamp, uint64_t again_ms)
{
    struct file_items *items = it->items;
    items->on_over(items->arg, it->name, stamp, again_ms);
    item_free(it);
}

/* --- jobs ---------------------------------------------------------------------------------- */

static void job_free(struct job *j)
{
    strbuf_fini(&j->data);
    free(j->path);
    free(j->name);
    free(j);
}

static void on_run(struct work *work)
{
    struct job *j = work->data;
    if (j->to != NULL) {
        j->rc = folder_move(j->path, j->name, j->to, &j->err);
    } else {
        j->rc = folder_read(j->path, &j->file, j->with_data ? &j->data : NULL, &j->err);
    }
}

static void was_read(struct item *it, struct job *j);
static void moved(struct item *it, const struct job *j);

static void on_done(struct work *work, int status)
{
    struct job *j = work->data;
    struct item *it = j->item;
    struct file_items *items = it->items;
    if (status < 0) {
        j->rc = error_set(&j->err, ERR_CANCELED, "canceled");
    }
    if (items == NULL) {
        item_free(it);
    } else {
        it->waits = false;
        if (j->to != NULL) {
            moved(it, j);
        } else {
            was_read(it, j);
        }
        items->on_room(items->arg);
    }
    job_free(j);
}

/* False: it could not be begun; err says why. */
static bool start_job(struct item *it, const char *to, struct error *err)
{
    const struct file_items *items = it->items;
    struct job *j = NEW(struct job);
    j->item = it;
    j->path = xstrdup(items->object->path);
    j->name = xstrdup(it->name);
    j->to = to;
    j->file = it->file;
    j->file.name = j->name;
    j->with_data = !it->by_reference;
    strbuf_init(&j->data, 0);
    if (work_start(&j->work, items->worker->loop, on_run, on_done, j, err) < 0) {
        job_free(j);
        return false;
    }
    it->waits = true;
    return true;
}

/* --- one file ------------------------------------------------------------------------------ */

static void on_noted(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct item *it = arg;
    struct file_items *items = it->items;
    char stamp[FILE_STAMP_MAX];
    it->waits = false;
    if (items == NULL) {
        item_free(it);
        return;
    }
    if (err != NULL) {
        file_items_trouble(items, "writing it down", it->name, err);
        it->again_ms = now_of(it) + AGAIN_MS;
        return;
    }
    end(it, file_stamp(&it->file, stamp), 0);
    items->on_room(items->arg);
}

static void write_down(struct item *it)
{
    const struct file_items *items = it->items;
    char stamp[FILE_STAMP_MAX];
    struct error err;
    const struct slice args[] = {SLICE_LIT("HSET"), slice_str(items->taken_key),
                                 slice_str(it->name), slice_str(file_stamp(&it->file, stamp))};
    it->stage = NOTING;
    it->waits = true;
    if (redis_conn_send(items->worker->db, args, ARRAY_LEN(args), on_noted, it, &err) < 0) {
        on_noted(it, NULL, &err);
    }
}

static void moved(struct item *it, const struct job *j)
{
    if (j->rc == 0 || j->err.code == ERR_NOT_FOUND) {
        end(it, NULL, 0);
        return;
    }
    file_items_trouble(it->items, "moving it", it->name, &j->err);
    write_down(it);
}

/* The last thing that is done with a file that was sent, or cannot be. */
static void finish(struct item *it)
{
    struct error err;
    if (it->by_reference || it->items->object->keep) {
        write_down(it);
        return;
    }
    it->stage = MOVING;
    if (!start_job(it, it->failed ? "failed" : "done", &err)) {
        write_down(it);
    }
}

static void on_buried(void *arg, const struct redisReply *reply, const struct error *err)
{
    struct item *it = arg;
    it->waits = false;
    if (it->items == NULL) {
        item_free(it);
    } else if (err != NULL) {
        file_items_trouble(it->items, "keeping it among the dead", it->name, err);
        it->again_ms = now_of(it) + AGAIN_MS;
    } else {
        finish(it);
    }
}

static void bury(struct item *it)
{
    struct error err;
    it->stage = BURYING;
    it->waits = true;
    if (outlet_bury(it->items->outlet, &it->push, it->whole, on_buried, it, &err) < 0) {
        on_buried(it, NULL, &err);
    }
}

static void on_pushed(struct push *p, enum push_outcome outcome)
{
    struct item *it = CONTAINER_OF(p, struct item, push);
    struct file_items *items = it->items;
    it->failed = outcome != PUSH_TAKEN;
    if (it->failed) {
        items->dead++;
        file_items_trouble(
            items, outcome == PUSH_REFUSED ? "nobody took it" : "the dead letter sink took it",
            it->name, &p->why);
    } else {
        items->taken++;
        items->trouble = (struct error){0};
    }
    if (outcome == PUSH_REFUSED) {
        bury(it);
    } else {
        finish(it);
    }
}

/* No event can be made of it: what can be said of it is kept. */
static void give_up(struct item *it, struct event *event, const struct error *why)
{
    it->items->dead++;
    it->failed = true;
    it->push.event = *event;
    it->push.event.data = (struct slice){0};
    event_init(event);
    error_copy(&it->push.why, why);
    file_items_trouble(it->items, "making an event of it", it->name, why);
    bury(it);
}

static void was_read(struct item *it, struct job *j)
{
    struct file_items *items = it->items;
    struct event event = {0};
    if (j->rc < 0) {
        bool other = j->err.code == ERR_CONFLICT || j->err.code == ERR_NOT_FOUND;
        if (!other) {
            file_items_trouble(items, "reading it", it->name, &j->err);
        }
        end(it, NULL, other ? 1 : UNREADABLE_MS);
        return;
    }
    int rc = file_event(items->object, &it->file, j->with_data ? &j->data : NULL, &event, &j->err);
    if (rc < 0) {
        give_up(it, &event, &j->err);
        return;
    }
    it->whole = true;
    it->stage = PUSHING;
    push_start(&it->push, items->route, &event, on_pushed);
}

static void is_too_large(struct item *it, int64_t most)
{
    struct event event = {0};
    struct error err, ignored;
    error_set(&err, ERR_TOO_BIG,
              "it has %lld bytes, an event has at most %lld: use mode auto or reference",
              (long long)it->file.size, (long long)most);
    (void)!file_event(it->items->object, &it->file, NULL, &event, &ignored);
    (void)event_remove(&event, SLICE_LIT("dataref")); /* it does not stay there */
    give_up(it, &event, &err);
}

void file_items_begin(struct file_items *items, const struct folder_file *file)
{
    struct error err = {0};
    struct item *it = NEW(struct item);
    int64_t most = (int64_t)items->worker->config->event_bytes_max;
    it->items = items;
    it->name = xstrdup(file->name);
    it->file = *file;
    it->file.name = it->name;
    it->by_reference = file_by_reference(items->object, file);
    list_push_back(&items->list, &it->link);
    items->n++;
    if (!it->by_reference && file->size > most) {
        is_too_large(it, most);
    } else if (!start_job(it, NULL, &err)) {
        end(it, NULL, AGAIN_MS);
    }
}

void file_items_tick(struct file_items *items, uint64_t now_ms)
{
    list_foreach_safe (node, &items->list) {
        struct item *it = LIST_ENTRY(node, struct item, link);
        if (it->waits) {
            continue;
        }
        if (it->stage == PUSHING) {
            push_tick(&it->push, now_ms);
        } else if (it->stage == BURYING && now_ms >= it->again_ms) {
            bury(it);
        } else if (it->stage == NOTING && now_ms >= it->again_ms) {
            write_down(it);
        }
    }
}
