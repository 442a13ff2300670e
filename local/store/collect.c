// SPDX-License-Identifier: Apache-2.0

/*
 * What follows from a change without being asked for:
 *   an object goes: what it owned, and no living object owns beside it, goes too;
 *   an object is deleted in the foreground: what it owns and says so (blockOwnerDeletion) goes
 *     first, then the object, then the rest;
 *   an object comes whose owners are all gone: it goes;
 *   a Namespace is marked: its content goes, and then the Namespace;
 *   a kind has more objects than it may keep: the oldest go.
 * Plan: collect_after() only appends to a queue of doomed objects (by key and uid); a task on the
 * loop deletes them as the journal has room. After a start collect_sweep() looks at everything
 * once, because a kill may have come between a cause and its effects.
 */

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "local/store/rules.h"
#include "local/store/state.h"

static void doom(struct store *s, struct entry *e, enum doom what)
{
    if (e->latest == NULL) {
        return;
    }
    struct doomed *d = NEW(struct doomed);
    d->what = what;
    d->room = e->room;
    d->key = xstrdup(e->key);
    d->uid = xstrdup(e->latest->uid);
    list_push_back(&s->doomed, &d->link);
    loop_task_post(s->loop, &s->collect_task);
}

static void free_doomed(struct doomed *d)
{
    list_remove(&d->link);
    free(d->key);
    free(d->uid);
    free(d);
}

void collect_fini(struct store *s)
{
    list_foreach_safe (node, &s->doomed) {
        free_doomed(LIST_ENTRY(node, struct doomed, link));
    }
}

bool collect_has_owner(const struct store *s, const struct object *o)
{
    const char *uid = object_owners(o);
    for (uint32_t i = 0; i < object_full(o)->owners_count; i++, uid = object_next_text(uid)) {
        struct entry *owner = map_get(&s->uids, slice_str(uid));
        if (owner != NULL && owner->visible != NULL &&
            (owner->visible->ns[0] == '\0' || strcmp(owner->visible->ns, o->ns) == 0)) {
            return true;
        }
    }
    return false;
}

static bool is_orphan(const struct store *s, const struct object *o)
{
    return object_full(o)->owners_count > 0 && !collect_has_owner(s, o);
}

static void doom_dependents(struct store *s, const struct object *owner)
{
    struct estate *estate = map_get(&s->estates, slice_str(owner->uid));
    if (estate == NULL) {
        return;
    }
    list_foreach (node, &estate->links) {
        struct entry *e = LIST_ENTRY(node, struct bond, owner_link)->entry;
        if (is_orphan(s, e->visible)) {
            doom(s, e, DOOM_DELETE);
        }
    }
}

/* Whether the owner with this uid waits for the object. */
static bool is_blocker(const struct object *o, const char *uid)
{
    const struct object_full *f = object_full(o);
    const char *owner = object_owners(o);
    for (uint32_t i = 0; i < f->owners_count && i < 32; i++, owner = object_next_text(owner)) {
        if ((f->blocks & 1u << i) != 0 && strcmp(owner, uid) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_blockers(const struct store *s, const char *uid)
{
    struct estate *estate = map_get(&s->estates, slice_str(uid));
    if (estate == NULL) {
        return false;
    }
    list_foreach (node, &estate->links) {
        if (is_blocker(LIST_ENTRY(node, struct bond, owner_link)->entry->visible, uid)) {
            return true;
        }
    }
    return false;
}

/* What the object waits for goes; when there is nothing of the kind it is let go. */
static void doom_estate(struct store *s, struct entry *owner)
{
    const char *uid = owner->visible->uid;
    struct estate *estate = map_get(&s->estates, slice_str(uid));
    bool any = false;
    if (estate != NULL) {
        list_foreach (node, &estate->links) {
            struct entry *e = LIST_ENTRY(node, struct bond, owner_link)->entry;
            if (is_blocker(e->visible, uid)) {
                doom(s, e, DOOM_DELETE_FOREGROUND);
                any = true;
            }
        }
    }
    if (!any) {
        doom(s, owner, DOOM_RELEASE);
    }
}

/* Owners that waited for this one last are let go: it has gone, or is not theirs any more. */
static void release_owners(struct store *s, const struct object *before)
{
    const char *uid = object_owners(before);
    for (uint32_t i = 0; i < object_full(before)->owners_count; i++, uid = object_next_text(uid)) {
        struct entry *owner = map_get(&s->uids, slice_str(uid));
        if (owner != NULL && object_full(owner->visible)->foreground && !has_blockers(s, uid)) {
            doom(s, owner, DOOM_RELEASE);
        }
    }
}

/* It came when an owner was already waiting for what it owns. */
static bool is_late(const struct store *s, const struct object *o)
{
    const char *uid = object_owners(o);
    for (uint32_t i = 0; i < object_full(o)->owners_count; i++, uid = object_next_text(uid)) {
        struct entry *owner = map_get(&s->uids, slice_str(uid));
        if (owner != NULL && object_full(owner->visible)->foreground) {
            return is_blocker(o, uid);
        }
    }
    return false;
}

static void doom_content(struct store *s, const char *ns)
{
    for (size_t i = 0; i < s->rooms_count; i++) {
        struct room *room = &s->rooms[i];
        if (!room->kind->namespaced) {
            continue;
        }
        map_foreach (it, &room->entries) {
            struct entry *e = it.value;
            if (e->latest != NULL && strcmp(e->latest->ns, ns) == 0) {
                doom(s, e, DOOM_DELETE);
            }
        }
    }
}

/* A Namespace under deletion goes when no more than `left` entries (those just going) are in it. */
static void doom_empty_namespace(struct store *s, const char *ns, size_t left)
{
    struct tenancy *t = map_get(&s->tenancies, slice_str(ns));
    struct room *namespaces = room_find(s, "namespaces");
    struct entry *e = namespaces == NULL ? NULL : entry_find(namespaces, "", ns);
    if (e == NULL || e->visible == NULL || !e->visible->deleting ||
        (t != NULL && t->entries > left)) {
        return;
    }
    doom(s, e, DOOM_DELETE);
}

static void doom_oldest(struct store *s, struct room *room)
{
    size_t surplus = room->visible - room->kind->keep_newest;
    map_foreach (it, &room->entries) {
        struct entry *e = it.value;
        if (e->visible == NULL || e->latest == NULL) {
            continue;
        }
        doom(s, e, DOOM_DELETE);
        if (--surplus == 0) {
            return;
        }
    }
}

void collect_after(struct store *s, struct room *room, struct object *before, struct object *after)
{
    bool is_namespace = strcmp(room->kind->resource, "namespaces") == 0;
    if (after == NULL) {
        doom_dependents(s, before);
        release_owners(s, before);
        if (room->kind->namespaced) {
            doom_empty_namespace(s, before->ns, 1);
        }
        return;
    }
    if (before == NULL && (is_orphan(s, after) || is_late(s, after))) {
        doom(s, entry_find(room, after->ns, after->name), DOOM_DELETE);
    }
    if (before != NULL) {
        release_owners(s, before);
    }
    if (before == NULL && room->kind->keep_newest > 0 && room->visible > room->kind->keep_newest) {
        doom_oldest(s, room);
    }
    if (object_full(after)->foreground && (before == NULL || !object_full(before)->foreground)) {
        doom_estate(s, entry_find(room, after->ns, after->name));
    }
    if (is_namespace && after->deleting && (before == NULL || !before->deleting)) {
        doom_content(s, after->name);
        doom_empty_namespace(s, after->name, 0);
    }
}

static int drop_foreground(json_t *object, void *arg, struct error *err)
{
    rules_drop_finalizer(object, OBJECT_FOREGROUND);
    return 0;
}

static int run_doom(struct store *s, const struct doomed *d, const struct object *o,
                    struct error *err)
{
    if (d->what == DOOM_RELEASE) {
        return store_change(s, o->resource, o->ns, o->name, STORE_SUB_NONE, drop_foreground, NULL,
                            STORE_MACHINE, NULL, NULL, err);
    }
    struct store_delete_options options = {
        .grace_s = -1,
        .propagation = d->what == DOOM_DELETE_FOREGROUND ? STORE_FOREGROUND : STORE_BACKGROUND,
    };
    return store_delete(s, o->resource, o->ns, o->name, &options, STORE_MACHINE, NULL, NULL, err);
}

/* 0, or an error after which the doomed object is kept for later. */
static int delete_doomed(struct store *s, const struct doomed *d)
{
    struct entry *e = map_get(&d->room->entries, slice_str(d->key));
    if (e == NULL || e->latest == NULL || strcmp(e->latest->uid, d->uid) != 0) {
        return 0;
    }
    if (d->what != DOOM_RELEASE && e->visible != NULL && e->latest->deleting &&
        strcmp(d->room->kind->resource, "namespaces") != 0) {
        return 0; /* marked already; a finalizer or its node holds it */
    }
    struct error err = {0};
    struct object *o = object_ref(e->latest);
    int rc = run_doom(s, d, o, &err);
    object_unref(o);
    if (rc < 0 && rc != ERR_OVERLOAD && rc != ERR_UNAVAILABLE) {
        LOG_WARN("cannot collect an object", LOG_STR("kind", d->room->kind->resource),
                 LOG_STR("key", d->key), LOG_ERR(&err));
        return 0;
    }
    return rc;
}

void collect_on_task(struct loop_task *task)
{
    struct store *s = task->data;
    size_t room_for = s->options.pending_max / 2;
    while (!list_empty(&s->doomed) && !s->closing) {
        struct doomed *d = LIST_ENTRY(list_first(&s->doomed), struct doomed, link);
        if (s->pending >= room_for || delete_doomed(s, d) < 0) {
            if (s->pending == 0) {
                loop_task_post(s->loop, &s->collect_task); /* nothing else would wake us */
            }
            return;
        }
        free_doomed(d);
    }
}

void collect_sweep(struct store *s)
{
    for (size_t i = 0; i < s->rooms_count; i++) {
        struct room *room = &s->rooms[i];
        map_foreach (it, &room->entries) {
            struct entry *e = it.value;
            if (e->visible == NULL) {
                continue;
            }
            if (is_orphan(s, e->visible)) {
                doom(s, e, DOOM_DELETE);
            }
            if (object_full(e->visible)->foreground) {
                doom_estate(s, e);
            }
        }
        if (room->kind->keep_newest > 0 && room->visible > room->kind->keep_newest) {
            doom_oldest(s, room);
        }
    }
    struct room *namespaces = room_find(s, "namespaces");
    if (namespaces == NULL) {
        return;
    }
    map_foreach (it, &namespaces->entries) {
        struct entry *e = it.value;
        if (e->visible != NULL && e->visible->deleting) {
            doom_content(s, e->visible->name);
            doom_empty_namespace(s, e->visible->name, 0);
        }
    }
}
