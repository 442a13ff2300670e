// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: what was visible at a version is what is visible now, with the changes since then undone:
 * for each object the oldest change after that version says what it was before. Without a change
 * of the kind since then it is the list of now.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "local/store/state.h"

struct past {
    struct map undone; /* "namespace/name" -> the first change after the version */
    struct object **objects;
    size_t count;
    size_t room_for;
};

static void add_object(struct past *p, struct object *o, const char *ns)
{
    if (o == NULL || (ns != NULL && strcmp(o->ns, ns) != 0)) {
        return;
    }
    if (p->count == p->room_for) {
        p->room_for = p->room_for == 0 ? 64 : p->room_for * 2;
        p->objects = xreallocarray(p->objects, p->room_for, sizeof(struct object *));
    }
    p->objects[p->count++] = o;
}

static struct slice key_of(const struct object *o, char buf[600])
{
    int n = snprintf(buf, 600, "%s/%s", o->ns, o->name);
    return slice_of(buf, (size_t)n);
}

static void undo(const struct store *s, const struct room *room, uint64_t version, struct past *p)
{
    const struct history *h = &s->history;
    for (uint64_t i = history_first_newer(h, version); i < h->next; i++) {
        struct change *c = history_at(h, i);
        char buf[600];
        struct slice key = key_of(c->after != NULL ? c->after : c->before, buf);
        if (c->room == room && map_get(&p->undone, key) == NULL) {
            (void)map_set(&p->undone, key, c);
        }
    }
}

static void gather(const struct room *room, const char *ns, struct past *p)
{
    map_foreach (it, &room->entries) {
        struct entry *e = it.value;
        char buf[600];
        if (e->visible != NULL && map_get(&p->undone, key_of(e->visible, buf)) == NULL) {
            add_object(p, e->visible, ns);
        }
    }
    map_foreach (it, &p->undone) {
        add_object(p, ((struct change *)it.value)->before, ns);
    }
}

static int compare(const struct object *o, const char *ns, const char *name)
{
    int order = strcmp(o->ns, ns);
    return order != 0 ? order : strcmp(o->name, name);
}

static int by_name(const void *a, const void *b)
{
    const struct object *left = *(struct object *const *)a, *right = *(struct object *const *)b;
    return compare(left, right->ns, right->name);
}

int store_list_past(const struct store *s, const struct store_selector *sel, uint64_t version,
                    const char *after_ns, const char *after_name, store_each_cb cb, void *arg,
                    struct error *err)
{
    struct room *room = room_find(s, sel->resource);
    if (room == NULL) {
        return error_set(err, ERR_NOT_FOUND, "there is no kind \"%s\"", sel->resource);
    }
    if (version < s->history.floor_version || version > s->version) {
        return error_set(err, ERR_GONE, "The resourceVersion for the provided list is too old.");
    }
    struct past p = {0};
    map_init(&p.undone, MAP_COPY_KEYS);
    undo(s, room, version, &p);
    if (map_len(&p.undone) == 0) {
        map_fini(&p.undone);
        return store_list_after(s, sel, after_ns, after_name, cb, arg, err);
    }
    struct selector selector;
    int rc = selector_init(&selector, room->kind, sel->labels, sel->fields, err);
    if (rc == 0) {
        bool one = room->kind->namespaced && sel->ns != NULL && sel->ns[0] != '\0';
        gather(room, one ? sel->ns : NULL, &p);
        if (p.count > 1) {
            qsort(p.objects, p.count, sizeof(struct object *), by_name);
        }
        for (size_t i = 0; i < p.count; i++) {
            struct object *o = p.objects[i];
            bool later = after_name == NULL || compare(o, after_ns, after_name) > 0;
            if (later && selector_match(&selector, o) && !cb(o, arg)) {
                break;
            }
        }
        selector_fini(&selector);
    }
    free(p.objects);
    map_fini(&p.undone);
    return rc;
}
