// SPDX-License-Identifier: Apache-2.0
/*
 * Routing state: a set of names is put together, compared with what the object says, and patched.
 * Failure mode: more names than ROUTES_TEXT_MAX holds; those that fit are kept.
 */
#include "controller/routing.h"

#include <stdlib.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/conditions.h"
#include "controller/meta.h"

enum { UNSETTLED_AGAIN_MS = 5000 };

/* --- sets of names, written as a list ----------------------------------------------------------
 */

static int by_text(const void *a, const void *b)
{
    const struct slice *one = a;
    const struct slice *two = b;
    size_t len = one->len < two->len ? one->len : two->len;
    int diff = memcmp(one->ptr, two->ptr, len);
    return diff != 0 ? diff : (one->len > two->len) - (one->len < two->len);
}

/* The list's names, sorted, each once. */
static void sort_list(const char *list, struct strbuf *out)
{
    size_t count = 0;
    size_t room = 1;
    for (const char *c = list; *c != '\0'; c++) {
        room += *c == ',' ? 1 : 0;
    }
    struct slice *names = xcalloc(room, sizeof(*names));
    for (const char *at = list; *at != '\0';) {
        size_t len = strcspn(at, ",");
        if (len > 0) {
            names[count++] = slice_of(at, len);
        }
        at += len + (at[len] == ',' ? 1 : 0);
    }
    qsort(names, count, sizeof(*names), by_text);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || !slice_eq(names[i], names[i - 1])) {
            strbuf_appendf(out, "%s%.*s", out->len > 0 ? "," : "", SLICE_FMT(names[i]));
        }
    }
    free(names);
}

void routing_with(const char *list, const char *name, struct strbuf *out)
{
    CLEANUP(strbuf_fini) struct strbuf all;
    strbuf_init(&all, ROUTES_TEXT_MAX);
    strbuf_appendf(&all, "%s,%s", name, list);
    sort_list(all.ptr, out);
}

/* --- who uses it -------------------------------------------------------------------------------
 */

static bool list_has(const char *list, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = list; *at != '\0';) {
        size_t n = strcspn(at, ",");
        if (n == len && memcmp(at, name, n) == 0) {
            return true;
        }
        at += n + (at[n] == ',' ? 1 : 0);
    }
    return false;
}

/* Routes of the annotation that still make up their mind go on counting. True: there is one. */
static bool add_unsettled(const struct reconcile_env *env, const json_t *revision,
                          struct strbuf *all)
{
    bool any = false;
    const char *list = meta_annotation(revision, ANNOTATION_ROUTES);
    for (const char *at = list; *at != '\0';) {
        char name[OBJECT_BUF];
        size_t len = strcspn(at, ",");
        if (len > 0 && slice_copy(slice_of(at, len), name, sizeof(name)) &&
            !list_has(all->ptr, name)) {
            CLEANUP(jfree) json_t *route = env->get(env->arg, KIND_ROUTE, meta_ns(revision), name);
            if (route != NULL && !object_is_ready(route) &&
                !condition_is(route, "Ready", STATUS_FALSE)) {
                strbuf_appendf(all, ",%s", name);
                any = true;
            }
        }
        at += len + (at[len] == ',' ? 1 : 0);
    }
    return any;
}

/* Whether it is the newest of its Configuration, made or being made. */
static bool is_latest(const json_t *revision, const json_t *configuration)
{
    char wanted[NAME_BUF];
    meta_revision_name(configuration, wanted);
    return strcmp(wanted, meta_name(revision)) == 0 ||
           slice_eq_str(jpeek_str(configuration, "status.latestCreatedRevisionName"),
                        meta_name(revision));
}

bool routing_of_revision(const struct reconcile_env *env, const json_t *revision,
                         struct strbuf *out)
{
    CLEANUP(strbuf_fini) struct strbuf all;
    const char *ns = meta_ns(revision);
    const char *owner = meta_label(revision, LABEL_CONFIGURATION);
    strbuf_init(&all, ROUTES_TEXT_MAX);
    env->refs(env->arg, REFS_ROUTES_TO_REVISION, ns, meta_name(revision), &all);
    CLEANUP(jfree)
    json_t *configuration =
        owner[0] == '\0' ? NULL : env->get(env->arg, KIND_CONFIGURATION, ns, owner);
    if (configuration != NULL && is_latest(revision, configuration)) {
        strbuf_append_char(&all, ',');
        routing_of_configuration(env, configuration, &all);
    }
    bool unsettled = add_unsettled(env, revision, &all);
    sort_list(all.ptr, out);
    return unsettled;
}

void routing_of_configuration(const struct reconcile_env *env, const json_t *configuration,
                              struct strbuf *out)
{
    CLEANUP(strbuf_fini) struct strbuf all;
    const json_t *owner = meta_controller(configuration);
    strbuf_init(&all, ROUTES_TEXT_MAX);
    env->refs(env->arg, REFS_ROUTES_FOLLOWING, meta_ns(configuration), meta_name(configuration),
              &all);
    if (slice_eq_str(jpeek_str(owner, "kind"), "Service")) {
        strbuf_appendf(&all, ",%s", jpeek_cstr(owner, "name"));
    }
    sort_list(all.ptr, out);
}

void routing_sync_revision(const struct reconcile_env *env, const json_t *revision,
                           struct plan *plan)
{
    CLEANUP(strbuf_fini) struct strbuf routes;
    strbuf_init(&routes, ROUTES_TEXT_MAX);
    if (routing_of_revision(env, revision, &routes)) {
        plan_again(plan, UNSETTLED_AGAIN_MS);
    }
    const char *list = routes.ptr;
    const char *state = meta_label(revision, LABEL_ROUTING_STATE);
    const char *wanted = list[0] != '\0'                ? "active"
                         : strcmp(state, "active") == 0 ? "reserve"
                                                        : state;
    bool same_state = strcmp(state, wanted) == 0;
    if (same_state && strcmp(meta_annotation(revision, ANNOTATION_ROUTES), list) == 0) {
        return;
    }
    json_t *annotations =
        json_pack("{s:o}", ANNOTATION_ROUTES, list[0] != '\0' ? json_string(list) : json_null());
    if (!same_state) {
        json_object_set_new(annotations, ANNOTATION_ROUTING_STATE_MODIFIED, json_string(env->now));
    }
    json_t *metadata = json_pack("{s:o}", "annotations", annotations);
    if (!same_state) {
        json_object_set_new(metadata, "labels", json_pack("{s:s}", LABEL_ROUTING_STATE, wanted));
    }
    plan_patch(plan, KIND_REVISION, meta_name(revision), json_pack("{s:o}", "metadata", metadata));
}
