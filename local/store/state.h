// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The inside of struct store, shared by the files of local/store and nobody else.
 *
 *   store.c    open, close, get, list            write.c    create, update, delete, what follows
 *   watch.c    history and watches               collect.c  owners, namespaces, bounds of a kind
 *   past.c     lists of an earlier version
 *
 * An entry is one (kind, namespace, name). `visible` is what reads and watches see; `latest` is the
 * newest version that was accepted, the same one when nothing is on its way to the journal.
 */

#include "base/list.h"
#include "base/map.h"
#include "loop/timer.h"
#include "local/store.h"
#include "local/store/journal.h"
#include "local/store/object.h"
#include "local/store/selector.h"
#include "local/store/small.h"

struct room {
    const struct store_kind *kind;
    struct map entries; /* "namespace/name" -> struct entry, in order of creation */
    size_t visible;     /* entries that are visible */
    struct small_kind small;
    struct entry **sorted; /* by namespace and name; NULL: to be made again */
    size_t sorted_count;
};

struct entry {
    struct room *room;
    int64_t row;
    struct object *visible; /* NULL: not yet, or no more */
    struct object *latest;  /* NULL: being removed */
    unsigned pending;       /* writes on their way */
    char key[];             /* "namespace/name" */
};

/* One change, kept so that watches can resume. */
struct change {
    uint64_t version;
    struct room *room;
    struct object *before; /* NULL: created */
    struct object *after;  /* NULL: removed */
};

struct history {
    struct change *ring;
    uint32_t max;
    size_t bytes_max;
    size_t bytes;
    uint64_t first; /* sequence numbers: first kept, and next to be given */
    uint64_t next;
    uint64_t floor_version; /* changes up to this one are no longer kept */
};

/* Objects of one namespace, for its deletion. */
struct tenancy {
    size_t entries;
};

/* What an owner has: entries whose visible version names its uid. */
struct estate {
    struct list links; /* of struct bond by owner_link */
};

struct bond {
    struct list owner_link;
    struct entry *entry;
};

/* What is to be done with an object, when the journal has room. */
enum doom { DOOM_DELETE, DOOM_DELETE_FOREGROUND, DOOM_RELEASE };

struct doomed {
    struct list link;
    enum doom what; /* RELEASE: what it owned has gone, its finalizer goes */
    struct room *room;
    char *key;
    char *uid;
};

struct store {
    struct loop *loop;
    struct journal *journal;
    struct store_options options;
    struct room *rooms;
    size_t rooms_count;
    struct map by_resource; /* -> struct room */
    struct map uids;        /* uid (of that version) -> struct entry with that visible version */
    struct map estates;     /* owner's uid -> struct estate */
    struct map tenancies;   /* namespace -> struct tenancy */
    uint64_t version;       /* visible */
    uint64_t assigned;      /* given to a write */
    int64_t last_row;
    size_t entries_count;
    size_t pending; /* writes whose completion has not run */
    size_t writing; /* of these, not yet written */
    struct history history;
    struct object_trees trees;
    struct timer trees_timer; /* runs after writes */
    unsigned trees_seen;      /* trees.next when it was started */
    struct small_latest latest;
    uint64_t serialisations;
    struct list watches;
    struct list dead_watches; /* closed during dispatch */
    bool dispatching;
    enum store_patience held; /* watches of this patience or more wait for hold_timer */
    uint64_t held_since_ms;
    struct timer hold_timer;
    struct loop_task dispatch_task;
    struct list doomed;
    struct loop_task collect_task;
    bool closing;
    store_close_cb close_cb;
    void *close_arg;
};

/* --- store.c --- */
struct room *room_find(const struct store *s, const char *resource);
struct entry *entry_find(struct room *room, const char *ns, const char *name);
/* The entry, made when absent. */
struct entry *entry_get(struct store *s, struct room *room, const char *ns, const char *name);
/* Frees the entry when nothing is left of it. */
void entry_drop(struct store *s, struct entry *e);
/* The visible version changes; keeps the counts, the uids and the owners. Takes `next`. */
void entry_show(struct store *s, struct entry *e, struct object *next);

/* --- watch.c --- */
void history_init(struct history *h, uint32_t max, size_t bytes_max, uint64_t version);
void history_fini(struct history *h);
void history_push(struct store *s, struct room *room, uint64_t version, struct object *before,
                  struct object *after);
struct change *history_at(const struct history *h, uint64_t sequence);
/* Sequence number of the first change with a version > from. */
uint64_t history_first_newer(const struct history *h, uint64_t from);
void watch_dispatch(struct store *s);
void watch_close_all(struct store *s);
void watch_on_hold_timer(struct timer *timer);
/* write.c: when little was written for a while, few trees are kept. */
void write_on_trees_timer(struct timer *timer);

/* --- collect.c --- */
/* After a change became visible. */
void collect_after(struct store *s, struct room *room, struct object *before, struct object *after);
/* Everything once, after the start. */
void collect_sweep(struct store *s);
void collect_fini(struct store *s);
void collect_on_task(struct loop_task *task);
/* Owners of the visible object that are there. */
bool collect_has_owner(const struct store *s, const struct object *o);
