// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The objects of one machine: what etcd and the generic part of an API server are on Kubernetes.
 * The API server (local/api) and the node agent (local/agent) live in one process and both use
 * this interface; there is no socket between them.
 *
 * Memory is the truth for reads and watches; a SQLite write-ahead log stands behind it. Every
 * write gets the next resourceVersion, is checked against the newest version of its object (also
 * one that is still on its way to the log), and becomes visible to reads and watches, in order of
 * resourceVersion, when it is in the log. Two classes differ in when the *completion* runs:
 *
 *   STORE_USER     on disk (fsync, shared by all that wait) before the completion;
 *   STORE_MACHINE  in the write-ahead log before the completion: survives kill -9, not a power cut.
 *
 * Objects are kept as serialised JSON and a few projected fields, never as JSON trees; the text of
 * one that was not written lately is packed (small.h). Objects are immutable and counted: a new
 * version is a new object.
 *
 * All functions are for the loop's thread. A function that starts a write returns 0 and then runs
 * exactly one completion later, never inside the call; or it returns an error and runs none.
 * Errors use the sentences of Kubernetes; the codes say the reason:
 *   ERR_NOT_FOUND NotFound, ERR_EXISTS AlreadyExists, ERR_CONFLICT Conflict, ERR_GONE Expired,
 *   ERR_INVALID Invalid (422), ERR_PROTOCOL BadRequest (400), ERR_DENIED Forbidden,
 *   ERR_TOO_BIG RequestEntityTooLarge, ERR_UNAVAILABLE the log cannot be written.
 *
 * A kind is named by its group-resource: "pods", "deployments.apps",
 * "services.serving.knative.dev". Namespace is "" for kinds without one.
 *
 * The node agent, in outline:
 *
 *     store_list(store, &(struct store_selector){.resource = "deployments.apps"}, on_each, a, &e);
 *     w = store_watch_start(store, &sel, store_version(store), on_event, a, &e);
 *     json_t *pod = …;                         metadata.name, labels, ownerReferences, spec, status
 *     store_create(store, "pods", "default", pod, STORE_MACHINE, on_done, a, &e);
 *     store_patch(store, key_of(pod), STORE_SUB_STATUS, patch, STORE_MACHINE, on_done, a, &e);
 */

#include <jansson.h>

#include "base/error.h"
#include "base/slice.h"
#include "loop/loop.h"

struct store;
struct store_watch;

/* --- objects ------------------------------------------------------------------------------- */

/* One version of one object. Immutable. All texts are owned by the object, NUL-terminated. */
struct object {
    const char *resource; /* "pods"; lives as long as the store */
    const char *ns;       /* "" when the kind has no namespaces */
    const char *name;
    const char *uid;
    uint64_t version;   /* metadata.resourceVersion */
    int64_t generation; /* metadata.generation; 0 when absent */
    bool deleting;      /* metadata.deletionTimestamp is set */
};

struct object *object_ref(struct object *o);
/* NULL is fine. */
void object_unref(struct object *o);

#define OBJECT_VERSION_MAX 21 /* digits of a resourceVersion, and the NUL */

/* Where a text that is kept packed comes back to. Zeroed at first; serves one object at a time. */
struct object_room {
    char *text;                      /* private */
    size_t size;                     /* private */
    char number[OBJECT_VERSION_MAX]; /* private */
};
void object_room_fini(struct object_room *room);
/* The object as compact JSON: borrowed from it, or from room, until the loop turns. */
struct slice object_json(const struct object *o, struct object_room *room);
size_t object_json_len(const struct object *o);
/*
 * The JSON text with another resourceVersion in it, in three parts: out[0] out[1] out[2]. For the
 * object of a DELETED event.
 */
void object_json_at(const struct object *o, uint64_t version, struct object_room *room,
                    struct slice out[3]);

/* A new tree; the caller json_decref()s. Never NULL: the text was made by us. */
json_t *object_parse(const struct object *o);
/*
 * A tree to read only: the one that is at hand for an object that was just written, else as
 * object_parse(). The caller json_decref()s it and must not change it, others read the same one.
 */
json_t *object_tree(const struct object *o);
/* As object_tree(), but perhaps only with what is at these paths (jread_only()). */
json_t *object_only(const struct object *o, const char *const *paths, size_t count);

/* --- the store ----------------------------------------------------------------------------- */

struct store_kind {
    const char *resource;    /* group-resource */
    const char *api_version; /* "apps/v1" */
    const char *kind;        /* "Deployment" */
    bool namespaced;
    bool status;           /* has a status subresource: spec writes leave status alone */
    bool generation;       /* metadata.generation counts the changes of what is wanted */
    const char *fields[8]; /* JSON paths that field selectors may use besides metadata.name and
                              metadata.namespace, e.g. "status.phase"; NULL ends */
    uint32_t keep_newest;  /* at most so many objects, the oldest go; 0: no bound (Events) */
};

struct store_options {
    const char *path;               /* the database file; its folder exists. NULL: memory only */
    const struct store_kind *kinds; /* borrowed as long as the store */
    size_t kinds_count;
    uint32_t history_max;     /* events kept for watches to resume; 0: 16384 */
    size_t history_bytes_max; /* and their bytes; 0: 32 MiB */
    size_t object_bytes_max;  /* 0: 1.5 MiB */
    uint32_t objects_max;     /* 0: 200000 */
    uint32_t pending_max;     /* writes on their way; 0: 4096; beyond: ERR_OVERLOAD */
};

/*
 * Opens or makes the database, loads every object, starts the writer threads. Blocks: for start.
 * Errors say what to do: another process has the file, it is damaged, it was written by a newer
 * version, the folder cannot be written.
 */
MUST_CHECK int store_open(struct store **out, struct loop *loop,
                          const struct store_options *options, struct error *err);
typedef void (*store_close_cb)(void *arg);
/*
 * Writes under way are finished and completed first. Watches give nothing any more and must be
 * closed before cb runs. Idempotent.
 */
void store_close(struct store *s, store_close_cb cb, void *arg);

/* The newest resourceVersion that reads and watches show. */
uint64_t store_version(const struct store *s);
/* Number of objects of a kind (visible ones). */
size_t store_count(const struct store *s, const char *resource);
/* Objects that were made into text since the start: one for each version, whoever watches. */
uint64_t store_serialisations(const struct store *s);
/* NULL when the store has no such kind. */
const struct store_kind *store_kind_find(const struct store *s, const char *resource);

/* --- reads --------------------------------------------------------------------------------- */

/* Borrowed until the loop turns; object_ref() to keep it. NULL: there is none. */
struct object *store_get(const struct store *s, const char *resource, const char *ns,
                         const char *name);

struct store_selector {
    const char *resource;
    const char *ns;     /* NULL or "": all namespaces */
    const char *labels; /* Kubernetes' label selector; NULL or "": all */
    const char *fields; /* field selector, "a=b,c!=d"; NULL or "": all */
};

/* Called per object in order of namespace and name. Return false to stop. Must not write. */
typedef bool (*store_each_cb)(struct object *o, void *arg);
/* ERR_PROTOCOL: a selector cannot be read or names a field that the kind does not offer. */
MUST_CHECK int store_list(const struct store *s, const struct store_selector *sel, store_each_cb cb,
                          void *arg, struct error *err);
/* As store_list, after (namespace, name); NULL: from the start. For lists in pages. */
MUST_CHECK int store_list_after(const struct store *s, const struct store_selector *sel,
                                const char *after_ns, const char *after_name, store_each_cb cb,
                                void *arg, struct error *err);

/*
 * As store_list_after, but what was visible at an earlier version: the pages of one list agree with
 * each other whatever was written meanwhile. ERR_GONE when the history does not reach back to it.
 */
MUST_CHECK int store_list_past(const struct store *s, const struct store_selector *sel,
                               uint64_t version, const char *after_ns, const char *after_name,
                               store_each_cb cb, void *arg, struct error *err);

/* --- watches ------------------------------------------------------------------------------- */

enum store_event_type { STORE_ADDED, STORE_MODIFIED, STORE_DELETED, STORE_GONE };

struct store_event {
    enum store_event_type type;
    uint64_t version;      /* resourceVersion of the change */
    struct object *object; /* borrowed. For DELETED the last version, whose own resourceVersion is
                              older than `version`. NULL for GONE */
};
/*
 * Returns false to have no more for now (see store_watch_resume). After GONE (the watch fell
 * behind the history: list again) nothing comes any more; close it. The callback may call any
 * function of the store, store_watch_close() on its own watch included.
 */
typedef bool (*store_watch_cb)(const struct store_event *e, void *arg);

/*
 * All changes with a resourceVersion > from, in order; never inside the call. An object that comes
 * into the selector is ADDED, one that leaves it DELETED. ERR_GONE when `from` is older than the
 * history, ERR_PROTOCOL as store_list.
 */
MUST_CHECK int store_watch_start(struct store *s, const struct store_selector *sel, uint64_t from,
                                 store_watch_cb cb, void *arg, struct store_watch **out,
                                 struct error *err);
/*
 * Who hears of changes first when something more urgent is under way: a replica that starts needs
 * the processors, and only the activator waits for it. Order and content of what comes do not
 * change.
 */
enum store_patience {
    STORE_AT_ONCE,  /* never waits; a new watch is this */
    STORE_SOON,     /* waits for a start, not for its end */
    STORE_PATIENT,  /* waits for both */
    STORE_HOLD_NONE /* no watch: the value of store_hold that ends it */
};
void store_watch_set_patience(struct store_watch *w, enum store_patience patience);
/*
 * Watches with this patience or more hear nothing for ms, or until the next call changes it; holds
 * that follow each other last STORE_HOLD_MAX_MS in all, then everybody hears everything.
 */
#define STORE_HOLD_MAX_MS 20
void store_hold(struct store *s, enum store_patience least, uint64_t ms);
/* As if the callback had returned false: nothing comes until store_watch_resume(). */
void store_watch_pause(struct store_watch *w);
/* Go on after the callback returned false, or after a pause. */
void store_watch_resume(struct store_watch *w);
/* Every change up to this resourceVersion was given to the callback (or did not match). */
uint64_t store_watch_version(const struct store_watch *w);
/* No callback follows. Frees the watch. NULL is fine. */
void store_watch_close(struct store_watch *w);

/* --- writes -------------------------------------------------------------------------------- */

enum store_class {
    STORE_USER,
    STORE_MACHINE,
    STORE_DRY, /* all checks, and a completion with what it would become; nothing is written */
};

enum store_sub {
    STORE_SUB_NONE,   /* all but status (for kinds with a status subresource; else everything) */
    STORE_SUB_STATUS, /* status only */
};

/*
 * rc 0: `object` (borrowed) is the version that was written; for a delete the last version, whose
 * `deleting` says that it still exists and waits (finalizers, grace). Negative: `err` says why
 * (the log could not be written) and nothing was changed.
 */
typedef void (*store_done_cb)(int rc, struct object *object, const struct error *err, void *arg);

/*
 * Writes a new object. `body` is borrowed and not changed. The store sets apiVersion, kind, uid,
 * resourceVersion, generation, creationTimestamp, and the name from generateName. metadata.name
 * must be there (or generateName). The namespace must exist and not be terminating. A status in
 * the body is kept (the API server drops it first where Kubernetes would).
 */
MUST_CHECK int store_create(struct store *s, const char *resource, const char *ns,
                            const json_t *body, enum store_class class, store_done_cb cb, void *arg,
                            struct error *err);

/*
 * Replaces an object (or its status). When body has metadata.resourceVersion it must be that of
 * the newest version (ERR_CONFLICT), when it has a uid it must be the object's. The generation
 * rises when something else than metadata and status changed. Nothing changed: the completion
 * gets the version that is there. The last finalizer gone from an object under deletion removes it.
 */
MUST_CHECK int store_update(struct store *s, const char *resource, const char *ns, const char *name,
                            enum store_sub sub, const json_t *body, enum store_class class,
                            store_done_cb cb, void *arg, struct error *err);

/* As store_update with a JSON merge patch (RFC 7396) over the newest version. */
MUST_CHECK int store_patch(struct store *s, const char *resource, const char *ns, const char *name,
                           enum store_sub sub, const json_t *patch, enum store_class class,
                           store_done_cb cb, void *arg, struct error *err);

/*
 * As store_update with the newest version (pending ones included) as the caller sees fit:
 * change() edits a copy in place, inside the call: metadata and the members of the object and of
 * its spec are the copy's own; what is below them is shared with what is stored and may be replaced
 * only. It returns 0, or an error that ends it.
 */
typedef int (*store_change_cb)(json_t *object, void *arg, struct error *err);
MUST_CHECK int store_change(struct store *s, const char *resource, const char *ns, const char *name,
                            enum store_sub sub, store_change_cb change, void *change_arg,
                            enum store_class class, store_done_cb cb, void *arg, struct error *err);

enum store_propagation {
    STORE_BACKGROUND, /* what it owns goes after it */
    STORE_FOREGROUND, /* it is marked and stays until what it owns has gone */
    STORE_ORPHAN,     /* what it owns stays and loses its owner */
};

struct store_delete_options {
    const char *uid;  /* precondition, or NULL */
    uint64_t version; /* precondition, or 0 */
    int64_t grace_s;  /* Pods: -1 the Pod's own; 0 removes at once */
    enum store_propagation propagation;
};

/*
 * Removes an object; what it owns (ownerReferences) follows by itself, and so does the content of
 * a Namespace. With finalizers, or for a Pod that is bound to a node and has a grace period, it is
 * marked (deletionTimestamp) and stays: a Pod until its node deletes it with grace_s 0. options
 * may be NULL (grace -1, background).
 */
MUST_CHECK int store_delete(struct store *s, const char *resource, const char *ns, const char *name,
                            const struct store_delete_options *options, enum store_class class,
                            store_done_cb cb, void *arg, struct error *err);
