// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Requests to the Kubernetes API: get, list, create, update, merge patch, apply, delete,
 * sub-resources.
 * Owns: one fetch pool and the credentials. May not: know what the objects mean.
 *
 *     struct kube_call call = {.kind = KUBE_KIND(kind_row(KIND_SERVICE)), .ns = "default",
 *                              .name = "hello", .cb = got, .arg = me};
 *     rc = kube_get(client, &call, NULL, err);
 *
 * Non-zero from a start: nothing is pending. Zero: exactly one cb, never inside the start.
 * Strings and JSON of a call are read during the start only. JSON given to cb is borrowed during cb
 * (json_incref keeps it).
 */

#include <jansson.h>

#include "base/error.h"
#include "base/slice.h"
#include "loop/loop.h"
#include "kube/config.h"

struct kube_client;
struct kube_request;

/* A resource as it stands in a path. Strings are borrowed: constants, usually. */
struct kube_kind {
    const char *group; /* "" for core */
    const char *version;
    const char *plural; /* NULL: discovery, the list of what the group and version have */
};

/* From any row that has these members (serving/kinds.h has). */
#define KUBE_KIND(row) ((struct kube_kind){(row)->group, (row)->version, (row)->plural})

/* Exactly one of object and err is NULL. A list is the List object; a delete brings the Status or
 * the object. */
typedef void (*kube_cb)(void *arg, json_t *object, const struct error *err);

struct kube_call {
    struct kube_kind kind;
    const char *ns;               /* NULL: cluster-scoped, or (list) all namespaces */
    const char *name;             /* NULL: list and create */
    const char *subresource;      /* "status", "scale", …; NULL: the object */
    const char *label_selector;   /* list; NULL: all */
    const char *field_selector;   /* list; NULL: all */
    int64_t limit;                /* list: at most so many; 0: all */
    const char *continue_token;   /* list: of the page before; NULL: the first */
    json_t *body;                 /* create, update, patch; delete: DeleteOptions or NULL */
    bool dry_run;                 /* create, update, patch, delete: change nothing */
    const char *field_manager;    /* apply: who has the fields */
    const char *field_validation; /* create, update, patch: "Strict", …; NULL: the server's */
    const char *accept;           /* the media type wanted; NULL: application/json */
    uint64_t timeout_ms;          /* 0: the client's */
    /* list: gets each item (borrowed) as it is read, and the List that cb gets has none of them;
     * NULL: all come with cb. kube_cancel in it ends the reading. */
    void (*on_item)(void *arg, const json_t *item);
    const char *const *without; /* of an item, see json/jread.h; borrowed until cb */
    kube_cb cb;
    void *arg;
};

/* A warning that the server sent with an answer, before the call's cb. May call nothing here. */
typedef void (*kube_warning_cb)(void *arg, const char *text);

struct kube_client_options {
    const char *user_agent;     /* NULL: lull/VERSION */
    uint64_t timeout_ms;        /* of a call; 0: 15 s */
    unsigned max_connections;   /* 0: 64; every watch takes one */
    kube_warning_cb on_warning; /* NULL: they are left unread */
    void *warning_arg;
};

/* config is copied; options may be NULL. Connects to nothing yet. */
MUST_CHECK int kube_client_new(struct loop *loop, const struct kube_config *config,
                               const struct kube_client_options *options, struct kube_client **out,
                               struct error *err);
/* Pending calls complete with ERR_CANCELED, then cb (may be NULL). Close caches first. Idempotent.
 */
typedef void (*kube_close_cb)(void *arg);
void kube_client_close(struct kube_client *client, kube_close_cb cb, void *arg);
struct loop *kube_client_loop(const struct kube_client *client);

/*
 * The verbs. *out (may be NULL) is for kube_cancel and valid until cb returns.
 * Errors: ERR_NOT_FOUND, ERR_EXISTS (create), ERR_CONFLICT (stale resourceVersion), ERR_GONE (410),
 * ERR_INVALID (400, 422), ERR_UNAUTHORIZED, ERR_DENIED, ERR_OVERLOAD (429), ERR_UNAVAILABLE (503),
 * ERR_TIMEOUT, ERR_REFUSED, ERR_CLOSED, ERR_PROTOCOL, ERR_CANCELED; msg is the Status' message.
 */
MUST_CHECK int kube_get(struct kube_client *client, const struct kube_call *call,
                        struct kube_request **out, struct error *err);
MUST_CHECK int kube_list(struct kube_client *client, const struct kube_call *call,
                         struct kube_request **out, struct error *err);
MUST_CHECK int kube_create(struct kube_client *client, const struct kube_call *call,
                           struct kube_request **out, struct error *err);
MUST_CHECK int kube_update(struct kube_client *client, const struct kube_call *call,
                           struct kube_request **out, struct error *err);
/* application/merge-patch+json */
MUST_CHECK int kube_patch(struct kube_client *client, const struct kube_call *call,
                          struct kube_request **out, struct error *err);
/* application/strategic-merge-patch+json: Kubernetes' own kinds only; lists merge by their keys. */
MUST_CHECK int kube_strategic_patch(struct kube_client *client, const struct kube_call *call,
                                    struct kube_request **out, struct error *err);
/* Server-side apply: creates or changes, and takes the fields of body from whoever had them. Real
 * clusters only. */
MUST_CHECK int kube_apply(struct kube_client *client, const struct kube_call *call,
                          struct kube_request **out, struct error *err);
MUST_CHECK int kube_delete(struct kube_client *client, const struct kube_call *call,
                           struct kube_request **out, struct error *err);
/* cb follows with ERR_CANCELED from the loop. The server may have done the work. Idempotent. */
void kube_cancel(struct kube_request *req);

/*
 * Read, change, write, and again from the start while the write meets a conflict (at most 8 times).
 * change gets the object as it is now and edits it in place: 0 writes it, 1 means that nothing is
 * to be done (cb gets the object as read), a negative code ends with that error. It may run several
 * times. call: kind, ns, name, subresource ("status" reads the object and writes its status),
 * timeout_ms for each step, cb, arg.
 */
typedef int (*kube_change_cb)(void *arg, json_t *object, struct error *err);
MUST_CHECK int kube_retry_on_conflict(struct kube_client *client, const struct kube_call *call,
                                      kube_change_cb change, struct kube_request **out,
                                      struct error *err);

/*
 * For the CLI: runs the loop until the call is answered. verb is one of the functions above; cb and
 * arg of the call are not used. *out_object (may be NULL) is a new reference.
 */
typedef int (*kube_verb_fn)(struct kube_client *client, const struct kube_call *call,
                            struct kube_request **out, struct error *err);
MUST_CHECK int kube_call_sync(struct kube_client *client, kube_verb_fn verb,
                              const struct kube_call *call, json_t **out_object, struct error *err);

/*
 * A GET whose answer is not one object: watches, logs, /version, /readyz. path begins with '/', may
 * have a query. on_data gets the body as it comes (only of a 2xx answer); on_done comes once, err
 * NULL when the server ended the stream in order. timeout_ms 0: no limit, then idle_ms counts.
 */
struct kube_stream_spec {
    const char *method; /* NULL: GET; PUT, without a body, for the proxy to a Pod */
    const char *path;
    const char *accept; /* the media type wanted; NULL: JSON, else anything */
    uint64_t timeout_ms;
    uint64_t idle_ms;
    void (*on_open)(void *arg); /* a 2xx head came; optional */
    void (*on_data)(void *arg, struct slice data);
    void (*on_done)(void *arg, const struct error *err);
    void *arg;
};
MUST_CHECK int kube_stream(struct kube_client *client, const struct kube_stream_spec *spec,
                           struct kube_request **out, struct error *err);

/*
 * The path of a call, in new memory (the caller frees):
 * "/apis/GROUP/VERSION/namespaces/NS/PLURAL/NAME/SUBRESOURCE?labelSelector=…".
 */
char *kube_path(const struct kube_call *call);
