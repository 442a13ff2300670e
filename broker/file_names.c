// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: a file that has not changed for so long is complete, unless that version is done with.
 * Notes of files that went are not kept for ever: whoever looks finds them gone for a while.
 */
#include "broker/file_names.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

void file_names_init(struct file_names *n)
{
    map_init(&n->all, MAP_BORROW_KEYS);
    list_init(&n->ready);
}

static void forget(struct file_names *n, struct file_name *f)
{
    map_remove(&n->all, slice_str(f->name));
    list_remove(&f->ready);
    free(f->name);
    free(f);
}

void file_names_clear(struct file_names *n)
{
    map_foreach (it, &n->all) {
        forget(n, it.value);
    }
    n->home = (struct file_place){0};
}

void file_names_fini(struct file_names *n)
{
    file_names_clear(n);
    map_fini(&n->all);
}

struct file_name *file_names_get(const struct file_names *n, const char *name)
{
    return map_get(&n->all, slice_str(name));
}

static struct file_name *know(struct file_names *n, const char *name)
{
    struct file_name *f = file_names_get(n, name);
    if (f == NULL) {
        f = NEW(struct file_name);
        f->name = xstrdup(name);
        list_init(&f->ready);
        map_set(&n->all, slice_str(f->name), f);
    }
    return f;
}

void file_names_note(struct file_names *n, const char *name, struct slice stamp)
{
    struct file_name *f = know(n, name);
    (void)slice_copy(stamp, f->taken, sizeof(f->taken));
}

void file_names_noted(struct file_names *n, struct file_name *name, const char *stamp)
{
    (void)slice_copy(slice_str(stamp), name->taken, sizeof(name->taken));
    n->home = n->place;
}

void file_names_look_begin(struct file_names *n, struct file_place place)
{
    n->place = place;
    map_foreach (it, &n->all) {
        ((struct file_name *)it.value)->here = false;
    }
}

static bool is_other(const struct folder_file *a, const struct folder_file *b)
{
    return a->inode != b->inode || a->size != b->size || a->modified_ns != b->modified_ns;
}

/* Ms until it is complete by what is known now. */
static uint64_t unsettled_ms(const struct file_name *f, uint64_t settle_ms, uint64_t now_ms,
                             int64_t wall_ns)
{
    int64_t age_ms = (wall_ns - f->file.modified_ns) / (int64_t)CLOCK_NS_PER_MS;
    uint64_t watched_ms = now_ms - f->since_ms;
    uint64_t age = age_ms > 0 && (uint64_t)age_ms > watched_ms ? (uint64_t)age_ms : watched_ms;
    return age >= settle_ms ? 0 : settle_ms - age;
}

uint64_t file_names_look(struct file_names *n, const struct folder_file *file, uint64_t settle_ms,
                         uint64_t now_ms, int64_t wall_ns)
{
    char stamp[FILE_STAMP_MAX];
    struct file_name *f = know(n, file->name);
    f->here = true;
    f->gone_ms = 0;
    if (f->busy) {
        return 0;
    }
    if (f->file.inode == 0 || is_other(&f->file, file)) {
        f->file = *file;
        f->file.name = f->name;
        f->since_ms = now_ms;
        list_remove(&f->ready);
    }
    if (strcmp(f->taken, file_stamp(file, stamp)) == 0) {
        n->home = n->place; /* the notes are of this folder */
        return 0;
    }
    if (list_linked(&f->ready)) {
        return 0;
    }
    uint64_t wait_ms = unsettled_ms(f, settle_ms, now_ms, wall_ns);
    uint64_t held_ms = f->again_ms > now_ms ? f->again_ms - now_ms : 0;
    wait_ms = wait_ms > held_ms ? wait_ms : held_ms;
    if (wait_ms == 0) {
        list_push_back(&n->ready, &f->ready);
    }
    return wait_ms;
}

static bool may_forget(struct file_names *n, struct file_name *f, bool whole, uint64_t now_ms)
{
    if (f->here || f->busy) {
        return false;
    }
    if (map_len(&n->all) > FILE_NOTES_MAX) {
        return true;
    }
    if (!whole || f->taken[0] == '\0') {
        return whole;
    }
    f->gone_ms = f->gone_ms == 0 ? now_ms : f->gone_ms;
    return now_ms - f->gone_ms >= FILE_NOTE_GONE_MS && n->home.device == n->place.device &&
           n->home.inode == n->place.inode;
}

void file_names_look_end(struct file_names *n, bool whole, uint64_t now_ms,
                         void (*on_note_gone)(void *arg, const char *name), void *arg)
{
    map_foreach (it, &n->all) {
        struct file_name *f = it.value;
        if (!may_forget(n, f, whole, now_ms)) {
            continue;
        }
        if (f->taken[0] != '\0') {
            on_note_gone(arg, f->name);
        }
        forget(n, f);
    }
}

struct file_name *file_names_next(struct file_names *n)
{
    return list_empty(&n->ready) ? NULL
                                 : LIST_ENTRY(list_pop_front(&n->ready), struct file_name, ready);
}

size_t file_names_waiting(const struct file_names *n)
{
    size_t count = 0;
    list_foreach (node, &n->ready) {
        count++;
    }
    return count;
}
