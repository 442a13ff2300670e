// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Files of a FileSource on their way: each is read on the pool, pushed to the sink, and then moved,
 * or written down in Redis where it stays. Owns: what is under way. May not: choose the files.
 */

#include "broker/file_event.h"
#include "broker/model.h"
#include "broker/outlet.h"

/* Open to its owner, who reads the numbers and keeps up to date what the pointers name. */
struct file_items {
    struct worker *worker;
    const struct file_object *object; /* file_items_pause before its texts change */
    const struct push_route *route;   /* likewise */
    const char *taken_key;            /* where it is written down */
    const struct outlet_ref *outlet;  /* where events go that nobody took */
    /*
     * One is over. stamp: this version was written down (NULL: it was not); again_ms: to be looked
     * at again after so long (0: it is done with). Maybe inside file_items_begin.
     */
    void (*on_over)(void *arg, const char *name, const char *stamp, uint64_t again_ms);
    void (*on_room)(void *arg); /* perhaps others can begin; never inside a call */
    void *arg;
    struct list list; /* private */
    unsigned n;
    uint64_t taken;
    uint64_t dead;
    struct error trouble;
};

/* list is made; the rest is set by the owner before. */
void file_items_init(struct file_items *items);
/* file is copied. */
void file_items_begin(struct file_items *items, const struct folder_file *file);
void file_items_pause(struct file_items *items);
void file_items_tick(struct file_items *items, uint64_t now_ms);
/* Breaks all off; no callback comes any more. */
void file_items_stop(struct file_items *items);
/* Notes the trouble, and logs it when it is news. */
void file_items_trouble(struct file_items *items, const char *what, const char *name,
                        const struct error *err);
