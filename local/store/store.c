// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: open loads every row of the journal into one map per kind; reads walk these maps and
 * nothing else. Close ends the watches, lets the journal finish, then frees.
 * Failures: whatever the journal refuses at open; a row that is no object of a known kind means
 * a damaged database and is refused with the row's name.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "local/store/state.h"

#define HISTORY_MAX      16384
#define HISTORY_BYTES    (32u << 20)
#define OBJECT_BYTES_MAX (3u << 19) /* 1.5 MiB */
#define OBJECTS_MAX      200000
#define PENDING_MAX      4096

/* --- rooms and entries --------------------------------------------------------------------- */

struct room *room_find(const struct store *s, const char *resource)
{
    return map_get(&s->by_resource, slice_str(resource));
}

const struct store_kind *store_kind_find(const struct store *s, const char *resource)
{
    struct room *room = room_find(s, resource);
    return room == NULL ? NULL : room->kind;
}

static char *make_key(const struct room *room, const char *ns, const char *name)
{
    return xasprintf("%s/%s", room->kind->namespaced && ns != NULL ? ns : "", name);
}

struct entry *entry_find(struct room *room, const char *ns, const char *name)
{
    CLEANUP(cleanup_free) char *key = make_key(room, ns, name);
    return map_get(&room->entries, slice_str(key));
}

static struct tenancy *tenancy_get(struct store *s, struct slice ns)
{
    struct tenancy *t = map_get(&s->tenancies, ns);
    if (t == NULL) {
        t = NEW(struct tenancy);
        (void)map_set(&s->tenancies, ns, t);
    }
    return t;
}

static struct slice key_namespace(const char *key)
{
    return slice_of(key, (size_t)(strchr(key, '/') - key));
}

static void room_unsort(struct room *room)
{
    free(room->sorted);
    room->sorted = NULL;
    room->sorted_count = 0;
}

struct entry *entry_get(struct store *s, struct room *room, const char *ns, const char *name)
{
    CLEANUP(cleanup_free) char *key = make_key(room, ns, name);
    struct entry *e = map_get(&room->entries, slice_str(key));
    if (e != NULL) {
        return e;
    }
    size_t size = strlen(key) + 1;
    e = xcalloc(1, sizeof(*e) + size);
    memcpy(e->key, key, size);
    e->room = room;
    e->row = ++s->last_row;
    (void)map_set(&room->entries, slice_str(e->key), e);
    s->entries_count++;
    if (room->kind->namespaced) {
        tenancy_get(s, key_namespace(key))->entries++;
    }
    room_unsort(room);
    return e;
}

void entry_drop(struct store *s, struct entry *e)
{
    if (e->visible != NULL || e->latest != NULL || e->pending > 0) {
        return;
    }
    struct room *room = e->room;
    if (room->kind->namespaced) {
        struct slice ns = key_namespace(e->key);
        struct tenancy *t = tenancy_get(s, ns);
        if (--t->entries == 0) {
            free(map_remove(&s->tenancies, ns));
        }
    }
    (void)map_remove(&room->entries, slice_str(e->key));
    s->entries_count--;
    room_unsort(room);
    free(e);
}

static void bonds_remove(struct store *s, struct entry *e, const struct object *o)
{
    const char *owner = object_owners(o);
    for (uint32_t i = 0; i < object_full(o)->owners_count; i++, owner = object_next_text(owner)) {
        struct slice uid = slice_str(owner);
        struct estate *estate = map_get(&s->estates, uid);
        if (estate == NULL) {
            continue;
        }
        list_foreach_safe (node, &estate->links) {
            struct bond *bond = LIST_ENTRY(node, struct bond, owner_link);
            if (bond->entry == e) {
                list_remove(&bond->owner_link);
                free(bond);
                break;
            }
        }
        if (list_empty(&estate->links)) {
            free(map_remove(&s->estates, uid));
        }
    }
}

static void bonds_add(struct store *s, struct entry *e, const struct object *o)
{
    const char *owner = object_owners(o);
    for (uint32_t i = 0; i < object_full(o)->owners_count; i++, owner = object_next_text(owner)) {
        struct slice uid = slice_str(owner);
        struct estate *estate = map_get(&s->estates, uid);
        if (estate == NULL) {
            estate = NEW(struct estate);
            list_init(&estate->links);
            (void)map_set(&s->estates, uid, estate);
        }
        struct bond *bond = NEW(struct bond);
        bond->entry = e;
        list_push_back(&estate->links, &bond->owner_link);
    }
}

void entry_show(struct store *s, struct entry *e, struct object *next)
{
    struct object *before = e->visible;
    if (before != NULL) {
        bonds_remove(s, e, before);
        if (next == NULL || strcmp(before->uid, next->uid) != 0) {
            (void)map_remove(&s->uids, slice_str(before->uid));
        }
        e->room->visible--;
    }
    e->visible = next;
    if (next != NULL) {
        bonds_add(s, e, next);
        (void)map_set(&s->uids, slice_str(next->uid), e);
        e->room->visible++;
    }
    object_unref(before);
}

/* --- open and close ------------------------------------------------------------------------ */

static int load_row(const struct database_row *row, void *arg, struct error *err)
{
    struct store *s = arg;
    struct room *room = room_find(s, row->resource);
    if (room == NULL) {
        return error_set(err, ERR_UNSUPPORTED,
                         "the database holds %.80s \"%.80s\", a kind that this version does not "
                         "know: start the newer version, or choose another state directory",
                         row->resource, row->name);
    }
    struct object *o;
    int rc = object_load(room->kind, row->body, &o, err);
    if (rc < 0) {
        return error_prefix(err, rc,
                            "the database is damaged (%.60s \"%.60s\"): bring a backup back with "
                            "`lull restore FILE`, or start again with an empty state directory",
                            row->resource, row->name);
    }
    small_pack(&room->small, o);
    struct entry *e = entry_get(s, room, o->ns, o->name);
    e->row = row->row;
    s->last_row = row->row > s->last_row ? row->row : s->last_row;
    e->latest = object_ref(o);
    entry_show(s, e, o);
    return 0;
}

static void set_defaults(struct store_options *o)
{
    o->history_max = o->history_max > 0 ? o->history_max : HISTORY_MAX;
    o->history_bytes_max = o->history_bytes_max > 0 ? o->history_bytes_max : HISTORY_BYTES;
    o->object_bytes_max = o->object_bytes_max > 0 ? o->object_bytes_max : OBJECT_BYTES_MAX;
    o->objects_max = o->objects_max > 0 ? o->objects_max : OBJECTS_MAX;
    o->pending_max = o->pending_max > 0 ? o->pending_max : PENDING_MAX;
}

static void on_dispatch_task(struct loop_task *task)
{
    watch_dispatch(task->data);
}

static void init_rooms(struct store *s)
{
    s->rooms_count = s->options.kinds_count;
    s->rooms = xcalloc(s->rooms_count, sizeof(*s->rooms));
    map_init(&s->by_resource, MAP_BORROW_KEYS);
    for (size_t i = 0; i < s->rooms_count; i++) {
        s->rooms[i].kind = &s->options.kinds[i];
        map_init(&s->rooms[i].entries, MAP_BORROW_KEYS);
        (void)map_set(&s->by_resource, slice_str(s->rooms[i].kind->resource), &s->rooms[i]);
    }
}

static void free_rooms(struct store *s)
{
    for (size_t i = 0; i < s->rooms_count; i++) {
        struct room *room = &s->rooms[i];
        map_foreach (it, &room->entries) {
            struct entry *e = it.value;
            object_unref(e->latest);
            e->latest = NULL;
            entry_show(s, e, NULL);
            free(e);
        }
        map_fini(&room->entries);
        room_unsort(room);
        small_kind_fini(&room->small);
    }
    map_foreach (it, &s->tenancies) {
        free(it.value);
    }
    map_fini(&s->tenancies);
    map_fini(&s->estates);
    map_fini(&s->uids);
    map_fini(&s->by_resource);
    free(s->rooms);
}

static void free_store(struct store *s)
{
    collect_fini(s);
    history_fini(&s->history);
    object_trees_fini(&s->trees);
    small_latest_fini(&s->latest);
    free_rooms(s);
    free(s);
}

int store_open(struct store **out, struct loop *loop, const struct store_options *options,
               struct error *err)
{
    struct store *s = NEW(struct store);
    s->loop = loop;
    s->options = *options;
    set_defaults(&s->options);
    list_init(&s->watches);
    list_init(&s->dead_watches);
    list_init(&s->doomed);
    map_init(&s->uids, MAP_BORROW_KEYS);
    map_init(&s->estates, MAP_COPY_KEYS);
    map_init(&s->tenancies, MAP_COPY_KEYS);
    loop_task_init(&s->dispatch_task, on_dispatch_task, s);
    loop_task_init(&s->collect_task, collect_on_task, s);
    s->held = STORE_HOLD_NONE;
    init_rooms(s);
    int rc = journal_open(&s->journal, loop, s->options.path, s->options.pending_max, load_row, s,
                          &s->version, err);
    if (rc < 0) {
        free_store(s);
        return rc;
    }
    timer_init(&s->hold_timer, loop, watch_on_hold_timer, s);
    timer_init(&s->trees_timer, loop, write_on_trees_timer, s);
    s->assigned = s->version;
    history_init(&s->history, s->options.history_max, s->options.history_bytes_max, s->version);
    collect_sweep(s);
    *out = s;
    return 0;
}

static void on_trees_timer_closed(struct timer *timer)
{
    struct store *s = timer->data;
    store_close_cb cb = s->close_cb;
    void *cb_arg = s->close_arg;
    loop_task_cancel(&s->dispatch_task);
    loop_task_cancel(&s->collect_task);
    free_store(s);
    if (cb != NULL) {
        cb(cb_arg);
    }
}

static void on_hold_timer_closed(struct timer *timer)
{
    struct store *s = timer->data;
    timer_close(&s->trees_timer, on_trees_timer_closed);
}

static void on_journal_closed(void *arg)
{
    struct store *s = arg;
    timer_close(&s->hold_timer, on_hold_timer_closed);
}

void store_close(struct store *s, store_close_cb cb, void *arg)
{
    if (s->closing) {
        return;
    }
    s->closing = true;
    s->close_cb = cb;
    s->close_arg = arg;
    watch_close_all(s);
    journal_close(s->journal, on_journal_closed, s);
}

/* --- reads --------------------------------------------------------------------------------- */

uint64_t store_version(const struct store *s)
{
    return s->version;
}

uint64_t store_serialisations(const struct store *s)
{
    return s->serialisations;
}

size_t store_count(const struct store *s, const char *resource)
{
    struct room *room = room_find(s, resource);
    return room == NULL ? 0 : room->visible;
}

struct object *store_get(const struct store *s, const char *resource, const char *ns,
                         const char *name)
{
    struct room *room = room_find(s, resource);
    struct entry *e = room == NULL ? NULL : entry_find(room, ns, name);
    return e == NULL ? NULL : e->visible;
}

/* '/' sorts before every byte of a name but '-' and '.', so the parts are compared one by one. */
static int compare_keys(const char *a, const char *b)
{
    int order = slice_cmp(key_namespace(a), key_namespace(b));
    return order != 0 ? order : strcmp(strchr(a, '/') + 1, strchr(b, '/') + 1);
}

static int compare_entries(const void *a, const void *b)
{
    return compare_keys((*(struct entry *const *)a)->key, (*(struct entry *const *)b)->key);
}

static void room_sort(struct room *room)
{
    if (room->sorted != NULL || map_len(&room->entries) == 0) {
        return;
    }
    room->sorted = xcalloc(map_len(&room->entries), sizeof(struct entry *));
    map_foreach (it, &room->entries) {
        room->sorted[room->sorted_count++] = it.value;
    }
    qsort(room->sorted, room->sorted_count, sizeof(struct entry *), compare_entries);
}

/* The first entry after key in sorted order. */
static size_t first_after(const struct room *room, const char *key)
{
    size_t low = 0, high = room->sorted_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (compare_keys(room->sorted[mid]->key, key) <= 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

int store_list_after(const struct store *s, const struct store_selector *sel, const char *after_ns,
                     const char *after_name, store_each_cb cb, void *arg, struct error *err)
{
    struct room *room = room_find(s, sel->resource);
    if (room == NULL) {
        return error_set(err, ERR_NOT_FOUND, "there is no kind \"%s\"", sel->resource);
    }
    struct selector selector;
    int rc = selector_init(&selector, room->kind, sel->labels, sel->fields, err);
    if (rc < 0) {
        return rc;
    }
    room_sort(room);
    size_t i = 0;
    bool one_ns = room->kind->namespaced && sel->ns != NULL && sel->ns[0] != '\0';
    if (after_name != NULL) {
        CLEANUP(cleanup_free) char *key = make_key(room, after_ns, after_name);
        i = first_after(room, key);
    } else if (one_ns) {
        CLEANUP(cleanup_free) char *key = make_key(room, sel->ns, "");
        i = first_after(room, key);
    }
    for (; i < room->sorted_count; i++) {
        struct entry *e = room->sorted[i];
        if (one_ns && !slice_eq_str(key_namespace(e->key), sel->ns)) {
            break;
        }
        if (e->visible != NULL && selector_match(&selector, e->visible) && !cb(e->visible, arg)) {
            break;
        }
    }
    selector_fini(&selector);
    return 0;
}

int store_list(const struct store *s, const struct store_selector *sel, store_each_cb cb, void *arg,
               struct error *err)
{
    return store_list_after(s, sel, NULL, NULL, cb, arg, err);
}
