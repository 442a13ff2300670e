// SPDX-License-Identifier: Apache-2.0
/* The little API server: names are unique per kind, the namespace is always "default". */
#include "fake_world.h"

#include "base/clock.h"
#include "base/mem.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/conditions.h"
#include "controller/meta.h"
#include "controller/subject.h"
#include "test.h"

void world_init(struct world *w)
{
    *w = (struct world){.max_writes = SIZE_MAX, .now_ns = 1000000000000000000};
    settings_init(&w->settings, "", "lull-system");
    clock_format_rfc3339(w->now_ns, 0, w->now, sizeof(w->now));
}

void world_advance(struct world *w, int64_t ns)
{
    w->now_ns += ns;
    clock_format_rfc3339(w->now_ns, 0, w->now, sizeof(w->now));
}

void world_fini(struct world *w)
{
    for (size_t i = 0; i < w->count; i++) {
        json_decref(w->objects[i]);
    }
    settings_fini(&w->settings);
}

static size_t find(const struct world *w, enum kind_id kind, const char *name)
{
    size_t i = 0;
    while (i < w->count && (w->kinds[i] != kind || strcmp(meta_name(w->objects[i]), name) != 0)) {
        i++;
    }
    return i;
}

json_t *world_get(struct world *w, enum kind_id kind, const char *name)
{
    size_t i = find(w, kind, name);
    return i == w->count ? NULL : w->objects[i];
}

void world_put(struct world *w, enum kind_id kind, json_t *object)
{
    char uid[32];
    json_t *meta = json_object_get(object, "metadata");
    assert_true(w->count < WORLD_OBJECTS_MAX);
    snprintf(uid, sizeof(uid), "uid-%zu-%zu", w->count, w->writes);
    json_object_set_new(meta, "uid", json_string(uid));
    json_object_set_new(meta, "namespace", json_string("default"));
    json_object_set_new(meta, "generation", json_integer(1));
    json_object_set_new(meta, "creationTimestamp", json_string(w->now));
    w->kinds[w->count] = kind;
    w->objects[w->count++] = object;
}

void world_delete(struct world *w, enum kind_id kind, const char *name)
{
    size_t i = find(w, kind, name);
    assert_true(i < w->count);
    json_decref(w->objects[i]);
    w->count--;
    w->objects[i] = w->objects[w->count];
    w->kinds[i] = w->kinds[w->count];
}

/* What the caches keep of it. */
static json_t *as_kept(enum kind_id kind, const json_t *object)
{
    return subject_is_workload(kind) ? subject_slim(kind, object) : json_deep_copy(object);
}

static json_t *env_get(void *arg, enum kind_id kind, const char *ns, const char *name)
{
    struct world *w = arg;
    (void)ns;
    const json_t *object = world_get(w, kind, name);
    return object == NULL ? NULL : as_kept(kind, object);
}

static void env_each(void *arg, enum kind_id kind, const char *ns,
                     void (*fn)(void *fn_arg, const json_t *object), void *fn_arg)
{
    struct world *w = arg;
    (void)ns;
    for (size_t i = 0; i < w->count; i++) {
        if (w->kinds[i] == kind) {
            CLEANUP(jfree) json_t *object = as_kept(kind, w->objects[i]);
            fn(fn_arg, object);
        }
    }
}

static enum known env_knows(void *arg, enum kind_id kind, const char **out_trouble)
{
    const struct world *w = arg;
    *out_trouble = w->trouble;
    return subject_is_workload(kind) ? w->known : KNOWN;
}

static void env_replicas(void *arg, const char *ns, const char *revision, struct replicas *out)
{
    struct world *w = arg;
    char deployment[NAME_BUF];
    (void)ns;
    name_deployment(deployment, revision);
    *out = (struct replicas){.ready = 0};
    if (world_get(w, KIND_DEPLOYMENT, deployment) != NULL) {
        bool broken = w->broken != NULL && strcmp(w->broken, revision) == 0;
        *out = broken ? w->broken_replicas : w->replicas;
    }
}

static bool names(const json_t *list, const char *member, const char *name)
{
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        if (slice_eq_str(jpeek_str(item, member), name)) {
            return true;
        }
    }
    return false;
}

static bool refers(enum refs_kind which, enum kind_id kind, const json_t *object, const char *name)
{
    switch (which) {
    case REFS_ROUTES_TO_REVISION:
        return kind == KIND_ROUTE &&
               (names(jpeek_arr(object, "spec.traffic"), "revisionName", name) ||
                names(jpeek_arr(object, "status.traffic"), "revisionName", name));
    case REFS_ROUTES_FOLLOWING:
        return kind == KIND_ROUTE &&
               names(jpeek_arr(object, "spec.traffic"), "configurationName", name);
    case REFS_PLACEHOLDERS:
        return kind == KIND_CORE_SERVICE &&
               slice_eq_str(jpeek_str(meta_controller(object), "name"), name);
    case REFS_COUNT:
        break;
    }
    return false;
}

static void env_refs(void *arg, enum refs_kind which, const char *ns, const char *name,
                     struct strbuf *out)
{
    struct world *w = arg;
    (void)ns;
    for (size_t i = 0; i < w->count; i++) {
        if (refers(which, w->kinds[i], w->objects[i], name)) {
            strbuf_appendf(out, "%s%s", out->len > 0 ? "," : "", meta_name(w->objects[i]));
        }
    }
}

static void change(struct world *w, size_t i, enum plan_verb verb, const json_t *patch)
{
    json_t *now = verb == PLAN_PATCH_LISTS ? w->patch_lists(w->objects[i], patch)
                                           : jmerge_patch(w->objects[i], patch);
    if (!jequal(jget(now, "spec"), jget(w->objects[i], "spec"))) {
        json_int_t generation = jpeek_i64(now, "metadata.generation") + 1;
        json_object_set_new(json_object_get(now, "metadata"), "generation",
                            json_integer(generation));
    }
    json_decref(w->objects[i]);
    w->objects[i] = now;
}

static void apply(struct world *w, const struct plan_op *op)
{
    if (w->writes >= w->max_writes) {
        return;
    }
    w->writes++;
    size_t i = find(w, op->kind, op->name);
    if (op->verb == PLAN_CREATE) {
        assert_true(i == w->count);
        json_t *copy = json_deep_copy(op->body);
        assert_string_equal(meta_name(copy), op->name);
        world_put(w, op->kind, copy);
        return;
    }
    assert_true(i < w->count);
    if (op->verb == PLAN_DELETE) {
        assert_string_equal(jpeek_cstr(op->body, "preconditions.uid"), meta_uid(w->objects[i]));
        world_delete(w, op->kind, op->name);
        return;
    }
    change(w, i, op->verb, op->body);
}

void world_patch(struct world *w, enum kind_id kind, const char *name, const char *patch)
{
    struct error err = {0};
    char *text = xstrdup(patch);
    CLEANUP(jfree) json_t *body = NULL;
    for (char *c = text; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    ASSERT_OK(jparse(slice_str(text), 1 << 20, &body, &err));
    free(text);
    size_t i = find(w, kind, name);
    assert_true(i < w->count);
    change(w, i, PLAN_PATCH, body);
}

/* Times and uids differ from run to run. */
static void blur(json_t *at)
{
    static const char *const keys[] = {"uid",
                                       "creationTimestamp",
                                       "lastTransitionTime",
                                       ANNOTATION_ROUTING_STATE_MODIFIED,
                                       LABEL_REVISION_UID,
                                       LABEL_CONFIGURATION_UID,
                                       LABEL_SERVICE_UID};
    const char *key;
    json_t *value;
    size_t i;
    for (size_t k = 0; json_is_object(at) && k < ARRAY_LEN(keys); k++) {
        json_object_del(at, keys[k]);
    }
    if (json_is_object(at)) {
        json_object_foreach(at, key, value)
        {
            blur(value);
        }
    } else if (json_is_array(at)) {
        json_array_foreach(at, i, value)
        {
            blur(value);
        }
    }
}

char *world_picture(struct world *w)
{
    json_t *all = json_object();
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, 1 << 20);
    for (size_t i = 0; i < w->count; i++) {
        char key[300];
        json_t *copy = json_deep_copy(w->objects[i]);
        blur(copy);
        snprintf(key, sizeof(key), "%s/%s", kind_row(w->kinds[i])->kind, meta_name(copy));
        json_object_set_new(all, key, copy);
    }
    struct error err = {0};
    ASSERT_OK(jdump_canonical(all, &text, &err));
    json_decref(all);
    return strbuf_take(&text, NULL);
}

static void run(const struct reconcile_env *env, enum kind_id kind, const json_t *object,
                struct plan *plan)
{
    if (sink_binding_release(env, kind, object, plan)) {
        return;
    }
    if (kind == KIND_SERVICE) {
        reconcile_service(env, object, plan);
    } else if (kind == KIND_CONFIGURATION) {
        reconcile_configuration(env, object, plan);
    } else if (kind == KIND_REVISION) {
        reconcile_revision(env, object, plan);
    } else if (kind == KIND_ROUTE) {
        reconcile_route(env, object, plan);
    } else if (kind == KIND_BROKER) {
        reconcile_broker(env, object, plan);
    } else if (kind == KIND_TRIGGER) {
        reconcile_trigger(env, object, plan);
    } else if (kind == KIND_WEBHOOKSOURCE || kind == KIND_REDISSOURCE || kind == KIND_FILESOURCE) {
        reconcile_lull_source(env, kind, object, plan);
    } else if (kind == KIND_PINGSOURCE) {
        reconcile_ping_source(env, object, plan);
    } else if (kind == KIND_SINKBINDING) {
        reconcile_sink_binding(env, object, plan);
    }
}

static void env_broker(void *arg, struct broker_ingress *out)
{
    const struct world *w = arg;
    *out = w->broker;
}

static struct reconcile_env env_of(struct world *w)
{
    return (struct reconcile_env){.settings = &w->settings,
                                  .now_ns = w->now_ns,
                                  .now = w->now,
                                  .get = env_get,
                                  .each = env_each,
                                  .knows = env_knows,
                                  .replicas = env_replicas,
                                  .refs = env_refs,
                                  .broker_ingress = env_broker,
                                  .arg = w};
}

void world_dry_pass(struct world *w)
{
    struct reconcile_env env = env_of(w);
    for (size_t i = 0; i < w->count; i++) {
        struct plan plan;
        plan_init(&plan);
        run(&env, w->kinds[i], w->objects[i], &plan);
        plan_fini(&plan);
    }
}

/* As the controller does it: told when all else of the plan was written. Returns the operations. */
static size_t tell_refused(struct world *w, const struct reconcile_env *env, const json_t *object)
{
    struct plan plan;
    plan_init(&plan);
    reconcile_refused_revision(env, object, "quota: no more", &plan);
    size_t count = plan.n_ops;
    for (size_t o = 0; o < count; o++) {
        apply(w, &plan.ops[o]);
    }
    plan_fini(&plan);
    return count;
}

size_t world_pass(struct world *w)
{
    struct reconcile_env env = env_of(w);
    size_t planned = 0;
    w->again_ms = 0;
    for (size_t i = 0; i < w->count; i++) {
        struct plan plan;
        CLEANUP(jfree) json_t *object = as_kept(w->kinds[i], w->objects[i]);
        plan_init(&plan);
        run(&env, w->kinds[i], object, &plan);
        assert_int_equal(plan.err.code, ERR_OK);
        bool killed = false;
        bool refused = false;
        for (size_t o = 0; o < plan.n_ops && !killed; o++) {
            if (plan.ops[o].kind == KIND_REVISION && plan.ops[o].verb == PLAN_CREATE &&
                w->refused != NULL && strcmp(plan.ops[o].name, w->refused) == 0) {
                refused = true;
                continue;
            }
            apply(w, &plan.ops[o]);
            killed = w->writes == w->kill_at;
        }
        planned += plan.n_ops - refused + (refused ? tell_refused(w, &env, object) : 0);
        if (plan.again_ms > 0 && (w->again_ms == 0 || plan.again_ms < w->again_ms)) {
            w->again_ms = plan.again_ms;
        }
        plan_fini(&plan);
        if (killed) {
            w->kill_at = 0;
            return planned; /* a new one begins from the start */
        }
    }
    return planned;
}

void world_settle(struct world *w)
{
    for (int pass = 0; pass < 50; pass++) {
        if (world_pass(w) == 0) {
            return;
        }
    }
    fail_msg("still something to write after 50 passes");
}

const char *world_condition(struct world *w, enum kind_id kind, const char *name, const char *type)
{
    return condition_get(world_get(w, kind, name), type).status;
}
