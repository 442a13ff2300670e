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
        respond_refusal(c->rq, err->code, c->refusal, c->causes);
    } else if (c->rq != NULL) {
        respond_error(c->rq, err, prefix);
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

/* An option has a value that is not known: as Kubernetes, 422 about CreateOptions and the like. */
static bool refuse_option(struct call *c, const char *what)
{
    struct slice method = c->rq->method;
    const char *verb = slice_eq_str(method, "POST")    ? "Create"
                       : slice_eq_str(method, "PUT")   ? "Update"
                       : slice_eq_str(method, "PATCH") ? "Patch"
                                                       : "Delete";
    struct error err;
    (void)error_set(&err, ERR_INVALID, "%sOptions.meta.k8s.io \"\" is invalid: %s", verb, what);
    answer_error(c, &err, NULL);
    return false;
}

/* Reads dryRun and fieldValidation; false: it was answered. A dry run that stored would be worse
 * than none. */
static bool read_options(struct call *c)
{
    CLEANUP(strbuf_fini) struct strbuf buf;
    strbuf_init(&buf, 64);
    char what[200];
    const char *dry = query_get(c->rq, "dryRun", &buf);
    c->dry = strcmp(dry, "All") == 0;
    if (dry[0] != '\0' && !c->dry) {
        (void)snprintf(what, sizeof(what),
                       "dryRun: Unsupported value: [\"%.60s\"]: supported values: \"All\"", dry);
        return refuse_option(c, what);
    }
    const char *check = query_get(c->rq, "fieldValidation", &buf);
    c->strict = strcmp(check, "Strict") == 0;
    c->silent = strcmp(check, "Ignore") == 0;
    if (check[0] != '\0' && !c->strict && !c->silent && strcmp(check, "Warn") != 0) {
        (void)snprintf(what, sizeof(what),
                       "fieldValidation: Unsupported value: \"%.60s\": supported values: \"\", "
                       "\"Ignore\", \"Strict\", \"Warn\"",
                       check);
        return refuse_option(c, what);
    }
    return true;
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
    if (!read_options(c) || !call_body(c)) {
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
    struct error err;
    int rc = check_kind(c, &err);
    if (rc == 0) {
        rc = coerce(c, c->body, false, &err);
    }
    if (rc == 0) {
        rc = admit(c, c->body, NULL, &err);
    }
    if (rc < 0) {
        answer_error(c, &err, NULL);
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
    bool custom = kind_is_custom(c->route.kind);
    if (!custom || jpeek_str(body, "metadata.resourceVersion").len > 0) {
        return 0;
    }
    return error_set(err, ERR_INVALID,
                     "%s.%s \"%s\" is invalid: metadata.resourceVersion: Invalid value: 0: must "
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
        rc = admit(c, fresh, old, err);
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
        answer_error(c, &err, NULL);
    }
}

void objects_update(struct call *c)
{
    struct error err;
    if (!read_options(c) || !call_body(c)) {
        return;
    }
    if (check_kind(c, &err) < 0) {
        answer_error(c, &err, NULL);
        return;
    }
    start_change(c, SLICE_EMPTY);
}

void objects_patch(struct call *c)
{
    struct slice type = http_head_get(c->rq->head, SLICE_LIT("content-type"));
    struct error err;
    if (!read_options(c)) {
        return;
    }
    if (patch_check(c->route.kind->id, type, &err) < 0) {
        answer_error(c, &err, NULL);
    } else if (call_body(c)) {
        start_change(c, type);
    }
}

/* --- delete -------------------------------------------------------------------------------- */

/* false: it was answered. */
static bool read_delete_options(struct call *c, struct strbuf *uid,
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
    bool known = policy[0] == '\0' || strcmp(policy, "Orphan") == 0 ||
                 strcmp(policy, "Foreground") == 0 || strcmp(policy, "Background") == 0;
    char what[240];
    if (!known) {
        (void)snprintf(what, sizeof(what),
                       "propagationPolicy: Unsupported value: \"%.60s\": supported values: "
                       "\"Foreground\", \"Background\", \"Orphan\", \"nil\"",
                       policy);
        return refuse_option(c, what);
    }
    if (policy[0] != '\0' && json_is_boolean(jget(c->body, "orphanDependents"))) {
        (void)snprintf(what, sizeof(what),
                       "propagationPolicy: Invalid value: \"%s\": orphanDependents and "
                       "deletionPropagation cannot be both set",
                       policy);
        return refuse_option(c, what);
    }
    bool orphan = strcmp(policy, "Orphan") == 0 || jpeek_bool(c->body, "orphanDependents");
    out->propagation = orphan                              ? STORE_ORPHAN
                       : strcmp(policy, "Foreground") == 0 ? STORE_FOREGROUND
                                                           : STORE_BACKGROUND;
    (void)strbuf_append_slice(uid, jpeek_str(c->body, "preconditions.uid"));
    out->uid = uid->ptr;
    out->version = strtoull(jpeek_cstr(c->body, "preconditions.resourceVersion"), NULL, 10);
    return true;
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
    if (!read_options(c) || !delete_body(c)) {
        return;
    }
    CLEANUP(strbuf_fini) struct strbuf uid;
    strbuf_init(&uid, 256);
    struct store_delete_options options;
    if (!read_delete_options(c, &uid, &options)) {
        return;
    }
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

/* --- delete of a collection ---------------------------------------------------------------- */

/* What is deleted; references. Lives as long as the call. */
struct victims {
    struct object **objects;
    size_t count;
    size_t waiting; /* deletes under way, and one for the loop that starts them */
    uint64_t version;
    struct error err; /* the first that is not "not found" */
};

static bool add_victim(struct object *o, void *arg)
{
    struct victims *v = arg;
    if ((v->count & (v->count - 1)) == 0) {
        v->objects =
            xreallocarray(v->objects, v->count == 0 ? 1 : v->count * 2, sizeof(*v->objects));
    }
    v->objects[v->count++] = object_ref(o);
    return true;
}

static void free_victims(struct victims *v)
{
    for (size_t i = 0; i < v->count; i++) {
        object_unref(v->objects[i]);
    }
    free(v->objects);
    free(v);
}

/* The list of what was there, as Kubernetes answers. */
static void answer_victims(struct call *c, const struct victims *v)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    CLEANUP(object_room_fini) struct object_room room = {0};
    strbuf_init(&out, 256u << 20);
    (void)strbuf_appendf(&out,
                         "{\"kind\":\"%sList\",\"apiVersion\":\"%s\",\"metadata\":{"
                         "\"resourceVersion\":\"%llu\"},\"items\":[",
                         c->route.kind->kind, kind_api_version(c->route.kind),
                         (unsigned long long)v->version);
    for (size_t i = 0; i < v->count; i++) {
        (void)strbuf_append_str(&out, i == 0 ? "" : ",");
        (void)strbuf_append_slice(&out, object_json(v->objects[i], &room));
    }
    (void)strbuf_append_str(&out, "]}");
    respond_text(c->rq, 200, &out);
}

static void drop_waiting(struct call *c)
{
    struct victims *v = c->victims;
    if (--v->waiting > 0) {
        return;
    }
    c->victims = NULL;
    if (v->err.code != ERR_OK) {
        answer_error(c, &v->err, NULL);
    } else {
        if (c->rq != NULL) {
            answer_victims(c, v);
        }
        call_finish(c);
    }
    free_victims(v);
}

static void on_victim_done(int rc, struct object *object, const struct error *err, void *arg)
{
    struct call *c = arg;
    if (rc < 0 && rc != ERR_NOT_FOUND && c->victims->err.code == ERR_OK) {
        c->victims->err = *err;
    }
    drop_waiting(c);
}

static int list_victims(struct call *c)
{
    CLEANUP(strbuf_fini) struct strbuf labels, fields;
    strbuf_init(&labels, 8 << 10);
    strbuf_init(&fields, 8 << 10);
    struct store_selector sel = {.resource = c->resource,
                                 .ns = c->route.ns,
                                 .labels = query_get(c->rq, "labelSelector", &labels),
                                 .fields = query_get(c->rq, "fieldSelector", &fields)};
    c->victims->version = store_version(store_of(c));
    return store_list(store_of(c), &sel, add_victim, c->victims, &c->victims->err);
}

void objects_delete_collection(struct call *c)
{
    CLEANUP(strbuf_fini) struct strbuf uid;
    strbuf_init(&uid, 256);
    struct store_delete_options options;
    if (!read_options(c) || !delete_body(c) || !read_delete_options(c, &uid, &options)) {
        return;
    }
    options.uid = NULL;
    options.version = 0;
    c->victims = NEW(struct victims);
    c->victims->waiting = 1;
    int rc = list_victims(c);
    for (size_t i = 0; rc == 0 && i < c->victims->count; i++) {
        struct object *o = c->victims->objects[i];
        struct error err;
        c->victims->waiting++;
        int started = store_delete(store_of(c), c->resource, o->ns, o->name, &options, class_of(c),
                                   on_victim_done, c, &err);
        if (started < 0) {
            on_victim_done(started, NULL, &err, c);
        }
    }
    drop_waiting(c);
}
