// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: a write is checked against the newest accepted version of its object (`latest`), gets the
 * next version, and goes to the journal. When it is written it becomes visible (apply): the entry
 * shows it, the history takes it, watches and the collector run, and then its completion, for
 * STORE_USER after the journal has synced.
 * Failures: before the journal, an error and nothing happened. In the journal, the entry falls
 * back to what is visible; the journal fails everything behind it too, and is repaired when the
 * last of them has come back.
 */

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "local/store/rules.h"
#include "local/store/state.h"

#define POD_GRACE_S 30
#define TREES_MS    1000u

struct write {
    struct journal_write jw; /* first in line for CONTAINER_OF */
    struct store *store;
    struct entry *entry;
    struct object *object; /* the new version; for a removal the last one; owned */
    bool shows;            /* the object becomes visible; else a removal (or nothing) */
    enum store_class class;
    store_done_cb cb;
    void *arg;
};

/* --- completion ---------------------------------------------------------------------------- */

static void complete(struct write *w)
{
    struct store *s = w->store;
    s->pending--;
    if (!list_empty(&s->doomed)) {
        loop_task_post(s->loop, &s->collect_task);
    }
    int rc = w->jw.job.status;
    if (w->cb != NULL) {
        w->cb(rc, rc < 0 ? NULL : w->object, rc < 0 ? &w->jw.job.err : NULL, w->arg);
    }
    object_unref(w->object);
    free(w);
}

static void on_synced(struct journal_write *jw)
{
    if (jw->job.status < 0) {
        LOG_ERROR("an object may not be on the disk", LOG_STR("kind", jw->row.resource),
                  LOG_STR("name", jw->row.name), LOG_ERR(&jw->job.err));
    }
    complete(jw->data);
}

static void fall_back(struct write *w)
{
    struct entry *e = w->entry;
    object_unref(e->latest);
    e->latest = e->visible == NULL ? NULL : object_ref(e->visible);
}

static void apply(struct write *w)
{
    struct store *s = w->store;
    struct entry *e = w->entry;
    struct room *room = e->room;
    if (w->jw.op == JOURNAL_NOTHING) {
        return;
    }
    struct object *before = e->visible == NULL ? NULL : object_ref(e->visible);
    struct object *after = w->shows ? w->object : NULL;
    entry_show(s, e, after == NULL ? NULL : object_ref(after));
    s->version = w->jw.row.version;
    history_push(s, room, s->version, before, after);
    if (after != NULL) {
        small_add(&s->latest, &room->small, after);
    }
    collect_after(s, room, before, after);
    object_unref(before);
}

static void on_written(struct journal_write *jw)
{
    struct write *w = jw->data;
    struct store *s = w->store;
    bool failed = jw->job.status < 0;
    s->writing--;
    w->entry->pending--;
    if (failed) {
        fall_back(w);
    } else {
        apply(w);
    }
    entry_drop(s, w->entry);
    w->entry = NULL;
    if (!failed && jw->op != JOURNAL_NOTHING) {
        watch_dispatch(s);
    }
    bool sync = !failed && w->class == STORE_USER && s->options.path != NULL;
    if (sync) {
        sync = journal_sync(s->journal, jw, on_synced, &jw->job.err) == 0;
        if (!sync) {
            jw->job.status = error_set(&jw->job.err, ERR_UNAVAILABLE, "cannot reach the disk");
        }
    }
    if (!sync) {
        complete(w);
    }
}

/* --- submission ---------------------------------------------------------------------------- */

struct done {
    enum store_class class;
    store_done_cb cb;
    void *arg;
};

static int check_open(const struct store *s, struct error *err)
{
    if (s->closing) {
        return error_set(err, ERR_UNAVAILABLE, "the API server is shutting down");
    }
    if (journal_is_broken(s->journal)) {
        return error_set(err, ERR_UNAVAILABLE, "the last write failed; try again");
    }
    if (s->pending >= s->options.pending_max) {
        return error_set(err, ERR_OVERLOAD, "too many writes are under way (%u); try again",
                         s->options.pending_max);
    }
    return 0;
}

/* Takes `object`. check_open() was asked. */
static int submit(struct store *s, struct entry *e, enum journal_op op, struct object *object,
                  const struct done *done, struct error *err)
{
    op = done->class == STORE_DRY ? JOURNAL_NOTHING : op;
    struct write *w = NEW(struct write);
    w->store = s;
    w->entry = e;
    w->object = object;
    w->shows = op == JOURNAL_PUT;
    w->class = done->class;
    w->cb = done->cb;
    w->arg = done->arg;
    w->jw.op = op;
    w->jw.machine = done->class == STORE_MACHINE;
    w->jw.row = (struct database_row){
        .row = e->row,
        .version = op == JOURNAL_NOTHING ? s->assigned : s->assigned + 1,
        .resource = object->resource,
        .ns = object->ns,
        .name = object->name,
        .body = op == JOURNAL_PUT ? object_json(object, NULL) : SLICE_EMPTY, /* not packed yet */
    };
    w->jw.data = w;
    int rc = journal_write(s->journal, &w->jw, on_written, err);
    if (rc < 0) {
        object_unref(object);
        free(w);
        entry_drop(s, e);
        return rc;
    }
    s->assigned = w->jw.row.version;
    s->pending++;
    s->writing++;
    e->pending++;
    if (op == JOURNAL_PUT) {
        object_unref(e->latest);
        e->latest = object_ref(object);
    } else if (op == JOURNAL_DELETE) {
        object_unref(e->latest);
        e->latest = NULL;
    }
    return 0;
}

static void trees_later(struct store *s)
{
    s->trees_seen = s->trees.next;
    timer_start(&s->trees_timer, TREES_MS);
}

void write_on_trees_timer(struct timer *timer)
{
    struct store *s = timer->data;
    if (s->trees.next - s->trees_seen > OBJECT_TREES_REST) {
        trees_later(s);
    } else {
        object_trees_rest(&s->trees);
    }
}

/* Takes `root`. */
static int submit_tree(struct store *s, struct entry *e, json_t *root, const struct done *done,
                       struct error *err)
{
    rules_set_version(root, s->assigned + 1);
    struct object *object;
    s->serialisations++;
    int rc = object_make(e->room->kind, root, s->options.object_bytes_max, &object, err);
    if (rc == 0) {
        object_trees_add(&s->trees, object, root);
        if (!timer_active(&s->trees_timer)) {
            trees_later(s);
        }
    }
    json_decref(root);
    if (rc < 0) {
        entry_drop(s, e);
        return rc;
    }
    return submit(s, e, JOURNAL_PUT, object, done, err);
}

static int find_latest(struct store *s, const char *resource, const char *ns, const char *name,
                       struct entry **out, struct error *err)
{
    struct room *room = room_find(s, resource);
    if (room == NULL) {
        return error_set(err, ERR_NOT_FOUND, "there is no kind \"%s\"", resource);
    }
    struct entry *e = entry_find(room, ns, name);
    if (e == NULL || e->latest == NULL) {
        return rules_not_found(err, room->kind, name);
    }
    *out = e;
    return check_open(s, err);
}

/* --- create -------------------------------------------------------------------------------- */

static int check_namespace(struct store *s, const struct room *room, const char *ns,
                           const char *name, struct error *err)
{
    struct room *namespaces = room_find(s, "namespaces");
    if (!room->kind->namespaced || namespaces == NULL) {
        return 0;
    }
    struct entry *e = entry_find(namespaces, "", ns);
    if (e == NULL || e->latest == NULL) {
        return rules_not_found(err, namespaces->kind, ns);
    }
    if (e->latest->deleting) {
        return error_set(err, ERR_DENIED,
                         "%s \"%s\" is forbidden: unable to create new content in namespace %s "
                         "because it is being terminated",
                         room->kind->resource, name, ns);
    }
    return 0;
}

int store_create(struct store *s, const char *resource, const char *ns, const json_t *body,
                 enum store_class class, store_done_cb cb, void *arg, struct error *err)
{
    struct room *room = room_find(s, resource);
    if (room == NULL) {
        return error_set(err, ERR_NOT_FOUND, "there is no kind \"%s\"", resource);
    }
    int rc = check_open(s, err);
    if (rc < 0) {
        return rc;
    }
    if (s->entries_count >= s->options.objects_max) {
        return error_set(err, ERR_DENIED,
                         "%s is forbidden: exceeded quota: %u objects are the most of this machine",
                         resource, s->options.objects_max);
    }
    json_t *root;
    rc = rules_create(room->kind, ns == NULL ? "" : ns, body, clock_wall_ns(), &root, err);
    if (rc < 0) {
        return rc;
    }
    const char *name = jpeek_cstr(root, "metadata.name");
    rc = check_namespace(s, room, ns == NULL ? "" : ns, name, err);
    if (rc == 0) {
        struct entry *there = entry_find(room, ns, name);
        if (there != NULL && there->latest != NULL) {
            rc =
                there->latest->deleting
                    ? error_set(err, ERR_EXISTS,
                                "object is being deleted: %s \"%s\" already exists", resource, name)
                    : error_set(err, ERR_EXISTS, "%s \"%s\" already exists", resource, name);
        }
    }
    if (rc < 0) {
        json_decref(root);
        return rc;
    }
    struct entry *e = entry_get(s, room, ns, name);
    return submit_tree(s, e, root, &(struct done){class, cb, arg}, err);
}

/* --- update -------------------------------------------------------------------------------- */

/* What `body` makes of the latest version `old`. */
static int update_entry(struct store *s, struct entry *e, const json_t *old, enum store_sub sub,
                        const json_t *body, const struct done *done, struct error *err)
{
    json_t *root = NULL;
    bool changed;
    int rc = rules_update(e->room->kind, old, sub, body, &root, &changed, err);
    if (rc < 0) {
        return rc;
    }
    if (!changed) {
        return submit(s, e, JOURNAL_NOTHING, object_ref(e->latest), done, err);
    }
    bool is_namespace = strcmp(e->room->kind->resource, "namespaces") == 0;
    if (rules_is_finished(root) && !is_namespace) {
        json_decref(root);
        return submit(s, e, JOURNAL_DELETE, object_ref(e->latest), done, err);
    }
    return submit_tree(s, e, root, done, err);
}

int store_update(struct store *s, const char *resource, const char *ns, const char *name,
                 enum store_sub sub, const json_t *body, enum store_class class, store_done_cb cb,
                 void *arg, struct error *err)
{
    struct entry *e;
    int rc = find_latest(s, resource, ns, name, &e, err);
    if (rc < 0) {
        return rc;
    }
    json_t *old = object_tree(e->latest);
    rc = update_entry(s, e, old, sub, body, &(struct done){class, cb, arg}, err);
    json_decref(old);
    return rc;
}

int store_patch(struct store *s, const char *resource, const char *ns, const char *name,
                enum store_sub sub, const json_t *patch, enum store_class class, store_done_cb cb,
                void *arg, struct error *err)
{
    struct entry *e;
    int rc = find_latest(s, resource, ns, name, &e, err);
    if (rc < 0) {
        return rc;
    }
    if (!json_is_object(patch)) {
        return error_set(err, ERR_PROTOCOL, "a merge patch must be a JSON object");
    }
    json_t *old = object_tree(e->latest);
    json_t *body = jmerge_patch_shared(old, patch);
    rc = update_entry(s, e, old, sub, body, &(struct done){class, cb, arg}, err);
    json_decref(body);
    json_decref(old);
    return rc;
}

/* A copy with metadata of its own and a spec whose members can be set; the rest is shared. */
static json_t *copy_for_change(const json_t *old)
{
    json_t *root = json_copy((json_t *)(uintptr_t)old);
    json_t *metadata = json_deep_copy(json_object_get(old, "metadata"));
    json_t *spec = json_object_get(old, "spec");
    REQUIRE(root != NULL && json_object_set_new(root, "metadata", metadata) == 0);
    if (json_is_object(spec)) {
        REQUIRE(json_object_set_new(root, "spec", json_copy(spec)) == 0);
    }
    return root;
}

int store_change(struct store *s, const char *resource, const char *ns, const char *name,
                 enum store_sub sub, store_change_cb change, void *change_arg,
                 enum store_class class, store_done_cb cb, void *arg, struct error *err)
{
    struct entry *e;
    int rc = find_latest(s, resource, ns, name, &e, err);
    if (rc < 0) {
        return rc;
    }
    json_t *old = object_tree(e->latest);
    json_t *body = copy_for_change(old);
    rc = change(body, change_arg, err);
    if (rc == 0) {
        rc = update_entry(s, e, old, sub, body, &(struct done){class, cb, arg}, err);
    }
    json_decref(body);
    json_decref(old);
    return rc;
}

/* --- delete -------------------------------------------------------------------------------- */

static int check_preconditions(const struct entry *e, const struct store_delete_options *o,
                               struct error *err)
{
    const struct object *latest = e->latest;
    char kind[RULES_KIND_MAX];
    rules_kind_text(e->room->kind, kind, sizeof(kind));
    if (o->uid != NULL && o->uid[0] != '\0' && strcmp(o->uid, latest->uid) != 0) {
        return error_set(err, ERR_CONFLICT,
                         "Operation cannot be fulfilled on %s \"%s\": the UID in the precondition "
                         "(%.40s) does not match the UID in record (%s). The object might have "
                         "been deleted and then recreated",
                         kind, latest->name, o->uid, latest->uid);
    }
    if (o->version != 0 && o->version != latest->version) {
        return error_set(err, ERR_CONFLICT,
                         "Operation cannot be fulfilled on %s \"%s\": the ResourceVersion in the "
                         "precondition (%llu) does not match the ResourceVersion in record (%llu). "
                         "The object might have been modified",
                         kind, latest->name, (unsigned long long)o->version,
                         (unsigned long long)latest->version);
    }
    return 0;
}

/* How long a Pod may take to end: 0 when nothing runs that would have to end. */
static int64_t pod_grace(const json_t *pod, int64_t asked_s)
{
    struct slice phase = jpeek_str(pod, "status.phase");
    bool runs = jpeek_str(pod, "spec.nodeName").len > 0 && !slice_eq_str(phase, "Succeeded") &&
                !slice_eq_str(phase, "Failed");
    if (!runs) {
        return 0;
    }
    if (asked_s >= 0) {
        return asked_s;
    }
    json_t *own = jget(pod, "spec.terminationGracePeriodSeconds");
    return json_is_integer(own) ? json_integer_value(own) : POD_GRACE_S;
}

static int drop_owner_change(json_t *object, void *arg, struct error *err)
{
    json_t *fresh = NULL;
    bool changed;
    rules_drop_owner(object, arg, &fresh, &changed);
    if (changed) {
        (void)json_object_set(object, "metadata", json_object_get(fresh, "metadata"));
        json_decref(fresh);
    }
    return 0;
}

/* The dependents of an object that is about to go stay: they lose their owner first. */
static void orphan_dependents(struct store *s, const struct object *owner)
{
    struct estate *estate = map_get(&s->estates, slice_str(owner->uid));
    if (estate == NULL) {
        return;
    }
    list_foreach (node, &estate->links) {
        struct object *o = LIST_ENTRY(node, struct bond, owner_link)->entry->latest;
        if (o != NULL) {
            struct error err;
            int rc = store_change(s, o->resource, o->ns, o->name, STORE_SUB_NONE, drop_owner_change,
                                  (void *)(uintptr_t)owner->uid, STORE_MACHINE, NULL, NULL, &err);
            if (rc < 0) {
                LOG_WARN("cannot orphan an object", LOG_STR("kind", o->resource),
                         LOG_STR("name", o->name), LOG_ERR(&err));
            }
        }
    }
}

static int mark_namespace(json_t **root)
{
    json_t *status = json_pack("{s:s}", "phase", "Terminating");
    return json_object_set_new(*root, "status", status);
}

/* Marks it and leaves it there; *out_done false: it was marked before. */
static int mark_entry(struct store *s, struct entry *e, const json_t *old, int64_t grace_s,
                      bool foreground, const struct done *done, struct error *err)
{
    json_t *root = NULL;
    bool changed;
    rules_mark(old, clock_wall_ns(), grace_s, &root, &changed);
    if (!changed) {
        return submit(s, e, JOURNAL_NOTHING, object_ref(e->latest), done, err);
    }
    if (strcmp(e->room->kind->resource, "namespaces") == 0) {
        REQUIRE(mark_namespace(&root) == 0);
    }
    if (foreground) {
        rules_add_finalizer(root, OBJECT_FOREGROUND);
    }
    return submit_tree(s, e, root, done, err);
}

int store_delete(struct store *s, const char *resource, const char *ns, const char *name,
                 const struct store_delete_options *options, enum store_class class,
                 store_done_cb cb, void *arg, struct error *err)
{
    static const struct store_delete_options plain = {.grace_s = -1};
    const struct store_delete_options *o = options == NULL ? &plain : options;
    struct done done = {class, cb, arg};
    struct entry *e;
    int rc = find_latest(s, resource, ns, name, &e, err);
    if (rc == 0) {
        rc = check_preconditions(e, o, err);
    }
    if (rc < 0) {
        return rc;
    }
    bool is_namespace = strcmp(resource, "namespaces") == 0;
    bool is_pod = strcmp(resource, "pods") == 0;
    /* Only the first delete can ask for it: nothing is added to an object under deletion. */
    bool foreground = o->propagation == STORE_FOREGROUND && !is_namespace && !e->latest->deleting &&
                      map_get(&s->estates, slice_str(e->latest->uid)) != NULL;
    if (!is_namespace && !is_pod && !foreground && !object_full(e->latest)->finalizers) {
        if (o->propagation == STORE_ORPHAN && class != STORE_DRY) {
            orphan_dependents(s, e->latest);
        }
        return submit(s, e, JOURNAL_DELETE, object_ref(e->latest), &done, err);
    }
    json_t *old = object_tree(e->latest);
    int64_t grace_s = is_pod ? pod_grace(old, o->grace_s) : 0;
    struct tenancy *t = is_namespace ? map_get(&s->tenancies, slice_str(name)) : NULL;
    bool holds = foreground || object_full(e->latest)->finalizers || grace_s > 0 ||
                 (t != NULL && t->entries > 0);
    if (o->propagation == STORE_ORPHAN && class != STORE_DRY) {
        orphan_dependents(s, e->latest);
    }
    rc = holds ? mark_entry(s, e, old, grace_s, foreground, &done, err)
               : submit(s, e, JOURNAL_DELETE, object_ref(e->latest), &done, err);
    json_decref(old);
    return rc;
}
