// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The inside of struct api, shared by the files of local/api and nobody else.
 *
 *   api.c      listener, authentication, dispatch     respond.c  answers and Status objects
 *   objects.c  get, create, update, patch, delete     list.c     lists and watches
 *   scale.c    the Scale form                         podlog.c   logs
 *   admit.c    defaults and rules of a kind           patch.c    the patch formats
 *   metrics.c  metrics.k8s.io
 *   coerce.c   unknown fields and wrong types         documents.c  /version and /openapi
 */

#include "loop/timer.h"
#include "http/simple.h"
#include "serving/defaults.h"
#include "local/api/api.h"
#include "local/api/cells.h"
#include "local/api/route.h"

struct openapi_hashes; /* openapi.h */

struct api {
    struct api_options options;
    char *token;
    char *user;
    char *system_namespace;
    struct http_simple *http;
    struct tls_context *tls;
    const struct logs_provider *logs;
    const struct usage_provider *usage;
    struct serving_config serving;
    uint64_t serving_version;    /* of the ConfigMap that it was read from */
    uint64_t autoscaler_version; /* the same for config-autoscaler */
    uint64_t features_version;   /* and for config-features */
    struct list watches;         /* of struct feed, list.c */
    size_t watches_count;
    struct timer bookmarks;
    struct store_watch *namespaces, *accounts; /* accounts.c */
    uint64_t requests;
    uint64_t serialisations;
    struct openapi_hashes *openapi; /* owned; NULL: nobody has asked yet */
    bool closing;
    unsigned closers;
    void (*close_cb)(void *arg);
    void *close_arg;
};

/* How a client wants objects. */
struct form {
    enum { FORM_OBJECT, FORM_TABLE, FORM_META } what;
    enum cells_include include; /* of FORM_TABLE */
    const json_t *warnings;     /* sentences for Warning headers; borrowed, may be NULL */
};

/* A request whose answer comes later. Freed when both the answer and the request are over. */
struct call {
    struct api *api;
    struct http_simple_request *rq; /* NULL: the client has gone */
    struct route route;
    const char *resource; /* group-resource */
    struct form form;
    int ok_status; /* 200, 201 */
    bool scale;    /* answer in the Scale form */
    bool deleting; /* answer as for a delete */
    bool dry;      /* nothing is written */
    bool strict;   /* fieldValidation=Strict */
    bool silent;   /* fieldValidation=Ignore */
    bool answered;
    json_t *body;            /* owned; parsed request body or NULL */
    json_t *duplicates;      /* owned; names that stand twice in the body, or NULL */
    json_t *warnings;        /* owned; sentences about unknown and duplicate fields, or NULL */
    json_t *causes;          /* owned; of a refusal, or NULL */
    char *refusal;           /* owned; the sentence of an error that may be long, or NULL */
    struct victims *victims; /* of a delete of a collection, while it is under way */
};

/* --- respond.c --- */
void respond_text(struct http_simple_request *rq, int status, const struct strbuf *json);
/* The details are made from the message. */
void respond_status(struct http_simple_request *rq, int status, const char *reason,
                    const char *message);
/* prefix may be NULL. */
void respond_error(struct http_simple_request *rq, const struct error *err, const char *prefix);
/* As respond_error, with a sentence of any length. */
void respond_refusal(struct http_simple_request *rq, enum err_code code, const char *message,
                     const json_t *causes);
/* Status Success of a delete. */
void respond_deleted(struct http_simple_request *rq, const struct route *route,
                     const struct object *object);
void respond_object(struct http_simple_request *rq, int status, const struct form *form,
                    const struct kind *kind, const struct object *object);
struct form respond_form(const struct http_simple_request *rq);
/* Appends the row (FORM_TABLE) or the metadata (FORM_META) of an object as if it had this version.
 */
void respond_append(const struct kind *kind, const struct form *form, const struct object *object,
                    uint64_t version, struct strbuf *out);

/* --- api.c --- */
/* The call lives until both its request is closed and call_finish() was called. */
struct call *call_new(struct api *api, struct http_simple_request *rq, const struct route *route);
void call_finish(struct call *c);
/* The body as a tree, from JSON or protobuf; the caller's. */
MUST_CHECK int body_read(const struct http_simple_request *rq, json_t **out, struct error *err);
/* Parses the body into c->body; false: it was answered (and the call finished). */
bool call_body(struct call *c);
/* Value of a query parameter, or "" (borrowed until `buf` changes). */
const char *query_get(const struct http_simple_request *rq, const char *name, struct strbuf *buf);
/* Whether a header's value has these bytes somewhere. */
bool header_has(const struct http_simple_request *rq, const char *name, const char *part);
bool query_is_true(const struct http_simple_request *rq, const char *name);

/* --- objects.c --- */
void objects_get(struct call *c);
void objects_create(struct call *c);
void objects_update(struct call *c);
void objects_patch(struct call *c);
void objects_delete(struct call *c);
void objects_delete_collection(struct call *c);

/* --- list.c: these own the request from here on --- */
void list_start(struct api *api, struct http_simple_request *rq, const struct route *route);
void watch_start(struct api *api, struct http_simple_request *rq, const struct route *route);
void watch_send_bookmarks(struct api *api);

/* --- scale.c --- */
void scale_write(const struct object *object, struct strbuf *out);
json_t *scale_of(const json_t *object);
/* Sets what the Scale `wanted` asks for. */
MUST_CHECK int scale_apply(json_t *object, const json_t *wanted, struct error *err);

/* --- podlog.c --- */
void podlog_start(struct api *api, struct http_simple_request *rq, const struct route *route);

/* --- accounts.c --- */
void accounts_start(struct api *api);
void accounts_stop(struct api *api);

/* --- admit.c --- */
/*
 * Defaults and checks `object`, of the call's kind, in place. old: NULL on a create. What the rules
 * of a kind refuse stands in c->refusal.
 */
MUST_CHECK int admit(struct call *c, json_t *object, const json_t *old, struct error *err);

/* --- documents.c --- */
/* /version and /openapi/…; false: it is another path. */
bool documents_handle(struct api *api, struct http_simple_request *rq);

/* --- coerce.c --- */
/* Whether the body of a custom kind says what it is. On an error c->refusal may have the sentence.
 */
MUST_CHECK int check_kind(struct call *c, struct error *err);
/*
 * Brings `object`, the body or what a patch made, into the form of its kind: what is unknown goes.
 * Sets c->warnings. On an error c->refusal has the sentence.
 */
MUST_CHECK int coerce(struct call *c, json_t *object, bool patched, struct error *err);

/* --- patch.c --- */
/* Whether a kind takes patches of this content type; ERR_UNSUPPORTED with what to use. */
MUST_CHECK int patch_check(enum kind_id id, struct slice content_type, struct error *err);
/* The new object that a patch of this content type makes of `target`; the caller's. */
MUST_CHECK int patch_apply(enum kind_id id, struct slice content_type, const json_t *target,
                           const json_t *patch, json_t **out, struct error *err);
