// SPDX-License-Identifier: Apache-2.0

/*
 * The verbs on one object. Plan: read the body, let the kind's rules look at what would be stored,
 * start the write in the store, answer when it completes. An error before the write is answered at
 * once. Updates and patches run as one change on the newest version, so nothing can come between
 * reading and writing.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "local/api/call.h"

static struct store *store_of(const struct call *c)
{
    return c->api->options.store;
}

/* What machines write is rebuilt after a power cut; the rest is on the disk before the answer. */
static enum store_class class_of(const struct call *c)
{
    if (c->dry) {
        return STORE_DRY;
    }
    enum kind_id id = c->route.kind->id;
    bool machine = c->route.sub != ROUTE_SUB_NONE || id == KIND_POD || id == KIND_EVENT;
    return machine ? STORE_MACHINE : STORE_USER;
}

static void answer_error(struct call *c, const struct error *err, const char *prefix)
{
    if (c->rq != NULL && c->refusal != NULL) {
        respond_refusal(c->rq, err->code, c->refusal, c->unrelated ? NULL : &c->route);
    } else if (c->rq != NULL) {
        respond_error(c->rq, err, prefix, c->unrelated ? NULL : &c->route);
    }
    call_finish(c);
}

static void answer_scale(struct call *c, const struct object *object)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 64 << 10);
    scale_write(object, &out);
    respond_text(c->rq, 200, &out);
}

static void answer_object(struct call *c, const struct object *object)
{
    if (c->rq == NULL) {
        return;
    }
    c->form.warnings = c->warnings;
    if (c->scale) {
        answer_scale(c, object);
    } else if (c->deleting && !object->deleting) {
        respond_deleted(c->rq, &c->route, object);
    } else {
        respond_object(c->rq, c->ok_status, &c->form, c->route.kind, object);
    }
}

static void on_done(int rc, struct object *object, const struct error *err, void *arg)
{
    struct call *c = arg;
    if (rc < 0) {
        answer_error(c, err, NULL);
        return;
    }
    answer_object(c, object);
    call_finish(c);
}

/* Reads dryRun; false: it was answered. A dry run that stored would be worse than none. */
static bool read_dry_run(struct call *c)
{
    CLEANUP(strbuf_fini) struct strbuf buf;
    strbuf_init(&buf, 64);
    const char *dry = query_get(c->rq, "dryRun", &buf);
    c->dry = strcmp(dry, "All") == 0;
    if (dry[0] == '\0' || c->dry) {
        return true;
    }
    respond_status(c->rq, 400, "BadRequest", "dryRun: Unsupported value: supported values: \"All\"",
                   &c->route);
    call_finish(c);
    return false;
}

/* --- get ----------------------------------------------------------------------------------- */

void objects_get(struct call *c)
{
    struct object *o = store_get(store_of(c), c->resource, c->route.ns, c->route.name);
    if (o == NULL) {
        struct error err;
        (void)error_set(&err, ERR_NOT_FOUND, "%s \"%s\" not found", c->resource, c->route.name);
        answer_error(c, &err, NULL);
        return;
    }
    c->scale = c->route.sub == ROUTE_SUB_SCALE;
    answer_object(c, o);
    call_finish(c);
}

/* --- create -------------------------------------------------------------------------------- */

void objects_create(struct call *c)
{
    if (!read_dry_run(c) || !coerce_ask(c) || !call_body(c)) {
        return;
    }
    json_t *metadata = json_object_get(c->body, "metadata");
    if (c->route.kind->namespaced && json_is_object(metadata) &&
        jpeek_str(metadata, "namespace").len == 0) {
        (void)json_object_set_new(metadata, "namespace", json_string(c->route.ns));
    }
    /* Where status is a subresource nobody sets it at birth; Pods' status is their node's. */
    if ((c->route.kind->subresources & KIND_SUB_STATUS) != 0) {
        (void)json_object_del(c->body, "status");
    }
    const char *prefix = NULL;
    struct error err;
    int rc = coerce(c, c->body, false, &err);
    if (rc == 0) {
        rc = admit(c->api, c->route.kind, c->body, NULL, &prefix, &err);
    }
    if (rc < 0) {
        answer_error(c, &err, prefix);
        return;
    }
    c->ok_status = 201;
    rc =
        store_create(store_of(c), c->resource, c->route.ns, c->body, class_of(c), on_done, c, &err);
    if (rc < 0) {
        snprintf(c->route.name, sizeof(c->route.name), "%s", jpeek_cstr(c->body, "metadata.name"));
        answer_error(c, &err, NULL);
    }
}

/* --- update and patch ---------------------------------------------------------------------- */

struct edit {
    struct call *call;
    const char *prefix;      /* of an error that the kind's rules raised */
    struct slice patch_type; /* empty: a whole object */
};

static void replace_content(json_t *object, json_t *with)
{
    json_t *keep = json_incref(with);
    (void)json_object_clear(object);
    REQUIRE(json_object_update(object, keep) == 0);
    json_decref(keep);
}

static int need_version(const struct call *c, const json_t *body, struct error *err)
{
    bool custom = strstr(c->route.kind->group, "knative.dev") != NULL;
    if (!custom || jpeek_str(body, "metadata.resourceVersion").len > 0) {
        return 0;
    }
    return error_set(err, ERR_INVALID,
                     "%s.%s \"%s\" is invalid: metadata.resourceVersion: Invalid value: 0x0: must "
                     "be specified for an update",
                     c->route.kind->plural, c->route.kind->group, c->route.name);
}

/* The body as the new object, or the patch over the newest one; then the kind's rules. */
static int change_object(json_t *object, void *arg, struct error *err)
{
    struct edit *edit = arg;
    struct call *c = edit->call;
    json_t *fresh = NULL;
    int rc = 0;
    if (edit->patch_type.len > 0) {
        rc = patch_apply(c->route.kind->id, edit->patch_type, object, c->body, &fresh, err);
        c->unrelated = rc < 0;
    } else {
        rc = need_version(c, c->body, err);
        fresh = json_incref(c->body);
    }
    if (rc == 0 && !json_is_object(fresh)) {
        rc = error_set(err, ERR_INVALID, "the patch makes something of it that is no object");
    }
    if (rc == 0) {
        rc = coerce(c, fresh, edit->patch_type.len > 0, err);
    }
    if (rc == 0 && c->route.sub == ROUTE_SUB_NONE) {
        json_t *old = json_copy(object);
        rc = admit(c->api, c->route.kind, fresh, old, &edit->prefix, err);
        json_decref(old);
    }
    if (rc == 0) {
        replace_content(object, fresh);
    }
    json_decref(fresh);
    return rc;
}

static int change_scale(json_t *object, void *arg, struct error *err)
{
    struct edit *edit = arg;
    struct call *c = edit->call;
    if (edit->patch_type.len == 0) {
        return scale_apply(object, c->body, err);
    }
    json_t *scale = scale_of(object), *wanted = NULL;
    int rc = patch_apply(c->route.kind->id, edit->patch_type, scale, c->body, &wanted, err);
    c->unrelated = rc < 0;
    if (rc == 0) {
        rc = scale_apply(object, wanted, err);
    }
    json_decref(wanted);
    json_decref(scale);
    return rc;
}

static void start_change(struct call *c, struct slice patch_type)
{
    struct edit edit = {.call = c, .patch_type = patch_type};
    c->scale = c->route.sub == ROUTE_SUB_SCALE;
    enum store_sub sub = c->route.sub == ROUTE_SUB_STATUS ? STORE_SUB_STATUS : STORE_SUB_NONE;
    struct error err;
    int rc =
        store_change(store_of(c), c->resource, c->route.ns, c->route.name, sub,
                     c->scale ? change_scale : change_object, &edit, class_of(c), on_done, c, &err);
    if (rc < 0) {
        answer_error(c, &err, edit.prefix);
    }
}

void objects_update(struct call *c)
{
    if (read_dry_run(c) && coerce_ask(c) && call_body(c)) {
        start_change(c, SLICE_EMPTY);
    }
}

void objects_patch(struct call *c)
{
    if (read_dry_run(c) && coerce_ask(c) && call_body(c)) {
        struct slice type = http_head_get(c->rq->head, SLICE_LIT("content-type"));
        start_change(c, type.len > 0 ? type : SLICE_LIT("none"));
    }
}

/* --- delete -------------------------------------------------------------------------------- */

static void read_delete_options(struct call *c, struct strbuf *uid,
                                struct store_delete_options *out)
{
    CLEANUP(strbuf_fini) struct strbuf buf;
    strbuf_init(&buf, 256);
    *out = (struct store_delete_options){.grace_s = -1};
    json_t *grace = jget(c->body, "gracePeriodSeconds");
    if (json_is_integer(grace)) {
        out->grace_s = json_integer_value(grace);
    }
    const char *query = query_get(c->rq, "gracePeriodSeconds", &buf);
    if (query[0] >= '0' && query[0] <= '9') {
        out->grace_s = strtoll(query, NULL, 10);
    }
    const char *policy = jpeek_cstr(c->body, "propagationPolicy");
    if (policy[0] == '\0') {
        policy = query_get(c->rq, "propagationPolicy", &buf);
    }
    bool orphan = strcmp(policy, "Orphan") == 0 || jpeek_bool(c->body, "orphanDependents");
    out->propagation = orphan                              ? STORE_ORPHAN
                       : strcmp(policy, "Foreground") == 0 ? STORE_FOREGROUND
                                                           : STORE_BACKGROUND;
    (void)strbuf_append_slice(uid, jpeek_str(c->body, "preconditions.uid"));
    out->uid = uid->ptr;
    out->version = strtoull(jpeek_cstr(c->body, "preconditions.resourceVersion"), NULL, 10);
}

/* DeleteOptions are optional. */
static bool delete_body(struct call *c)
{
    if (c->rq->body.len == 0) {
        return true;
    }
    if (!call_body(c)) {
        return false;
    }
    c->dry = c->dry || json_array_size(jget(c->body, "dryRun")) > 0;
    return true;
}

static bool is_immortal(const struct call *c)
{
    return c->route.kind->id == KIND_NAMESPACE &&
           (strcmp(c->route.name, "default") == 0 ||
            strcmp(c->route.name, c->api->system_namespace) == 0);
}

void objects_delete(struct call *c)
{
    if (!read_dry_run(c) || !delete_body(c)) {
        return;
    }
    CLEANUP(strbuf_fini) struct strbuf uid;
    strbuf_init(&uid, 256);
    struct store_delete_options options;
    read_delete_options(c, &uid, &options);
    c->deleting = true;
    struct error err;
    if (is_immortal(c)) {
        (void)error_set(&err, ERR_DENIED,
                        "namespaces \"%s\" is forbidden: this namespace may not be deleted",
                        c->route.name);
        answer_error(c, &err, NULL);
        return;
    }
    int rc = store_delete(store_of(c), c->resource, c->route.ns, c->route.name, &options,
                          class_of(c), on_done, c, &err);
    if (rc < 0) {
        answer_error(c, &err, NULL);
    }
}

struct victims {
    struct object **objects;
    size_t count;
};

static bool add_victim(struct object *o, void *arg)
{
    struct victims *v = arg;
    v->objects = xreallocarray(v->objects, v->count + 1, sizeof(struct object *));
    v->objects[v->count++] = object_ref(o);
    return true;
}

static void answer_collection(struct call *c)
{
    if (c->rq != NULL) {
        CLEANUP(strbuf_fini) struct strbuf out;
        strbuf_init(&out, 256);
        (void)strbuf_append_str(&out, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},"
                                      "\"status\":\"Success\"}");
        respond_text(c->rq, 200, &out);
    }
    call_finish(c);
}

static void on_victim_done(int rc, struct object *object, const struct error *err, void *arg)
{
    struct call *c = arg;
    if (--c->waiting == 0) {
        answer_collection(c);
    }
}

void objects_delete_collection(struct call *c)
{
    if (!read_dry_run(c) || !delete_body(c)) {
        return;
    }
    CLEANUP(strbuf_fini) struct strbuf labels, fields, uid;
    strbuf_init(&labels, 8 << 10);
    strbuf_init(&fields, 8 << 10);
    strbuf_init(&uid, 256);
    struct store_selector sel = {.resource = c->resource,
                                 .ns = c->route.ns,
                                 .labels = query_get(c->rq, "labelSelector", &labels),
                                 .fields = query_get(c->rq, "fieldSelector", &fields)};
    struct victims victims = {0};
    struct error err;
    int rc = store_list(store_of(c), &sel, add_victim, &victims, &err);
    if (rc < 0) {
        answer_error(c, &err, NULL);
        return;
    }
    struct store_delete_options options;
    read_delete_options(c, &uid, &options);
    options.uid = NULL;
    options.version = 0;
    c->waiting = 1; /* ours, so that the answer comes after the loop */
    for (size_t i = 0; i < victims.count; i++) {
        struct object *o = victims.objects[i];
        if (store_delete(store_of(c), c->resource, o->ns, o->name, &options, class_of(c),
                         on_victim_done, c, &err) == 0) {
            c->waiting++;
        } else if (err.code != ERR_NOT_FOUND) {
            rc = err.code;
        }
        object_unref(o);
    }
    free(victims.objects);
    if (--c->waiting == 0) {
        if (rc < 0) {
            answer_error(c, &err, NULL);
        } else {
            answer_collection(c);
        }
    }
}
