// SPDX-License-Identifier: Apache-2.0
/*
 * Keys in, writes out.
 *
 * Happy path: the plan of the key is made and all its writes start at once; when the last is
 * answered the key is done. What the writes change comes back as events. Failure modes: a conflict
 * or an object that exists already means that our picture is old: again after a short back-off.
 * Other failures are logged (a few a second at most) and tried again with back-off.
 */
#include "controller/run.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "kube/event.h"
#include "controller/gateway.h"
#include "controller/meta.h"

enum {
    CALL_TIMEOUT_MS = 10000,
    LOG_INTERVAL_MS = 200,
    AWAY_MS = 1000,    /* when nothing was answered for so long, the first answer is news */
    MINOR_MS = 25,     /* so long must nothing happen before a minor status is written */
    CATCH_UP_MS = 500, /* a write that is not seen after so long was undone by someone else */
};

struct run;

/* One write of a run. */
struct write {
    struct run *run;
    enum plan_verb verb;
    enum kind_id kind;
    const char *ns; /* of settings or of the run's key; NULL: cluster-scoped */
    char name[OBJECT_BUF];
};

/* One key's run: its writes under way. */
struct run {
    struct controller *c;
    struct work_item *token;
    struct work_key key;
    struct write writes[PLAN_OPS_MAX];
    size_t pending;
    bool failed;
    uint64_t again_ms;
    json_t *object; /* for its events */
    struct plan_event events[PLAN_EVENTS_MAX];
    size_t n_events;
    char refused[ERROR_MSG_MAX]; /* why the API does not take a Revision; "": it does */
};

static bool run_write_refused(struct run *run);

static void run_post_event(const struct run *run, bool warning, const char *reason,
                           const char *message)
{
    const struct kind *kind = kind_row(run->key.kind);
    struct kube_event event = {
        .api_version = kind_api_version(kind),
        .kind = kind->kind,
        .ns = run->key.ns,
        .name = run->key.name,
        .uid = meta_uid(run->object),
        .warning = warning,
        .reason = reason,
        .message = message,
        .component = "lull-controller",
    };
    kube_event_post(run->c->client, &event);
}

static void run_post_events(const struct run *run)
{
    for (size_t i = 0; i < run->n_events; i++) {
        run_post_event(run, run->events[i].warning, run->events[i].reason, run->events[i].message);
    }
}

static void run_drop(struct run *run)
{
    if (--run->pending > 0 || run_write_refused(run)) {
        return;
    }
    if (!run->failed && !run->c->stopping) {
        run_post_events(run);
    }
    struct work_item *token = run->token;
    bool failed = run->failed;
    uint64_t again_ms = run->again_ms;
    json_decref(run->object);
    free(run);
    work_queue_done(token, failed, again_ms);
}

static void complain(struct controller *c, const struct work_key *key, const struct error *err)
{
    uint64_t dropped = 0;
    if (log_limit(&c->complaints, loop_now_ms(c->loop), LOG_INTERVAL_MS, &dropped)) {
        LOG_WARN("cannot reconcile", LOG_STR("kind", kind_row(key->kind)->kind),
                 LOG_STR("namespace", key->ns), LOG_STR("name", key->name), LOG_ERR(err),
                 LOG_UINT("dropped", dropped));
    }
}

/* The server, or the way to it, is the trouble. */
static bool is_away(int code)
{
    return code == ERR_REFUSED || code == ERR_CLOSED || code == ERR_UNAVAILABLE;
}

/* One failure among answers is its key's affair; after a time without any answer, what failed in it
 * is tried again at once. */
static void note_answer(struct controller *c, bool answered)
{
    uint64_t now_ms = loop_now_ms(c->loop);
    if (!answered) {
        c->away_since_ms = c->away_since_ms > 0 ? c->away_since_ms : now_ms;
        return;
    }
    if (c->away_since_ms > 0 && now_ms - c->away_since_ms >= AWAY_MS) {
        work_queue_retry(c->queue);
    }
    c->away_since_ms = 0;
}

/* A subject that the API server, or somebody's webhook, does not let be bound. */
static void tell_not_bound(const struct write *write, const struct error *err)
{
    char message[3 * ERROR_MSG_MAX];
    snprintf(message, sizeof(message), "Failed to bind %s \"%s\": %s", kind_row(write->kind)->kind,
             write->name, err->msg);
    run_post_event(write->run, true, "BindingFailed", message);
}

/* An object that the API server does not take: told where its owner is looked at. */
static void tell_refused(const struct write *write, const struct error *err)
{
    char message[3 * ERROR_MSG_MAX];
    struct run *run = write->run;
    bool patch = write->verb == PLAN_PATCH || write->verb == PLAN_PATCH_LISTS;
    if (patch && run->key.kind == KIND_SINKBINDING) {
        tell_not_bound(write, err);
        return;
    }
    if (write->verb != PLAN_CREATE) {
        return;
    }
    const char *what =
        write->kind == KIND_CORE_SERVICE ? "placeholder service" : kind_row(write->kind)->kind;
    if (write->kind == KIND_REVISION) {
        snprintf(run->refused, sizeof(run->refused), "%s", err->msg);
        snprintf(message, sizeof(message), "Failed to create %s: %s", what, err->msg);
    } else {
        snprintf(message, sizeof(message), "Failed to create %s \"%s\": %s", what, write->name,
                 err->msg);
    }
    run_post_event(run, true, "CreationFailed", message);
}

static void on_written(void *arg, json_t *object, const struct error *err)
{
    const struct write *write = arg;
    struct run *run = write->run;
    struct controller *c = run->c;
    if (err == NULL || err->code != ERR_CANCELED) {
        note_answer(c, err == NULL || !is_away(err->code));
    }
    if (err == NULL) {
        c->counters.writes++;
        if (write->verb != PLAN_DELETE) {
            expect_add(&c->expectations, run->key, write->kind, write->ns == NULL ? "" : write->ns,
                       write->name, jpeek_cstr(object, "metadata.resourceVersion"));
        }
    } else if (err->code == ERR_CONFLICT || err->code == ERR_EXISTS) {
        c->counters.conflicts++;
        run->failed = true;
    } else if (err->code != ERR_NOT_FOUND) { /* deleted meanwhile: its event is on the way */
        c->counters.failures++;
        run->failed = true;
        if (err->code != ERR_CANCELED) {
            complain(c, &run->key, err);
        }
        if (err->code == ERR_INVALID || err->code == ERR_DENIED) {
            tell_refused(write, err);
        }
    }
    run_drop(run);
}

static int op_start(struct run *run, struct write *write, const struct plan_op *op,
                    struct error *err)
{
    write->run = run;
    write->verb = op->verb;
    write->kind = op->kind;
    write->ns = !kind_row(op->kind)->namespaced ? NULL : op->ns != NULL ? op->ns : run->key.ns;
    slice_copy(slice_str(op->name), write->name, sizeof(write->name));
    struct kube_call call = {
        .kind = KUBE_KIND(kind_row(op->kind)),
        .ns = write->ns,
        .name = op->verb == PLAN_CREATE ? NULL : op->name,
        .subresource = op->verb == PLAN_PATCH_STATUS ? "status" : NULL,
        .body = op->body,
        .timeout_ms = CALL_TIMEOUT_MS,
        .cb = on_written,
        .arg = write,
    };
    kube_verb_fn start = op->verb == PLAN_CREATE        ? kube_create
                         : op->verb == PLAN_DELETE      ? kube_delete
                         : op->verb == PLAN_PATCH_LISTS ? kube_strategic_patch
                                                        : kube_patch;
    return start(run->c->client, &call, NULL, err);
}

static void run_execute(struct run *run, struct plan *plan)
{
    struct error err = plan->err;
    for (size_t i = 0; i < plan->n_ops && err.code == ERR_OK; i++) {
        if (plan->ops[i].minor && !work_item_waited(run->token)) {
            plan_again(plan, MINOR_MS);
        } else if (op_start(run, &run->writes[i], &plan->ops[i], &err) == 0) {
            run->pending++;
        }
    }
    if (err.code != ERR_OK) {
        run->failed = true;
        complain(run->c, &run->key, &err);
    }
    run->again_ms = plan->again_ms;
    run->n_events = plan->n_events;
    memcpy(run->events, plan->events, sizeof(run->events));
}

static void ask_digests(void *arg, const json_t *revision, struct digests *out)
{
    const struct controller *c = CONTAINER_OF(arg, struct controller, objects);
    resolver_ask(c->resolver, revision, out);
}

static void ask_tls_secret(void *arg, const char *ns, const char *name, struct tls_secret *out)
{
    const struct controller *c = CONTAINER_OF(arg, struct controller, objects);
    tls_secrets_ask(c->tls_secrets, ns, name, out);
}

static void ask_broker(void *arg, struct broker_ingress *out)
{
    struct controller *c = CONTAINER_OF(arg, struct controller, objects);
    broker_part_ask(&c->broker, loop_now_ms(c->loop), out);
}

static struct reconcile_env env_of(struct controller *c, char now[static CLOCK_RFC3339_MAX])
{
    struct reconcile_env env = {
        .settings = &c->settings,
        .now_ns = clock_wall_ns(),
        .get = objects_get,
        .each = objects_each_of,
        .knows = objects_known,
        .version = objects_version,
        .replicas = objects_replicas,
        .refs = objects_refs,
        .revisions_of = objects_revisions_of,
        .digests = c->resolver == NULL ? NULL : ask_digests,
        .tls_secret = c->tls_secrets == NULL ? NULL : ask_tls_secret,
        .broker_ingress = ask_broker,
        .gateway = objects_knows(&c->objects, gateway_kind(&c->settings)),
        .arg = &c->objects,
    };
    env.now = clock_format_rfc3339(env.now_ns, 0, now, CLOCK_RFC3339_MAX);
    return env;
}

/* After all other writes of the run, among them a status that does not know of it. True: started.
 */
static bool run_write_refused(struct run *run)
{
    if (run->refused[0] == '\0' || run->c->stopping) {
        return false;
    }
    char now[CLOCK_RFC3339_MAX];
    struct error err = {0};
    struct plan plan;
    plan_init(&plan);
    const struct reconcile_env env = env_of(run->c, now);
    reconcile_refused_revision(&env, run->object, run->refused, &plan);
    run->refused[0] = '\0';
    bool started = plan.n_ops > 0 && op_start(run, &run->writes[0], &plan.ops[0], &err) == 0;
    run->pending += started;
    plan_fini(&plan);
    return started;
}

static void reconcile(const struct reconcile_env *env, enum kind_id kind, const json_t *object,
                      struct plan *plan)
{
    switch ((int)kind) {
    case KIND_SERVICE:
        if (!sink_binding_release(env, kind, object, plan)) {
            reconcile_service(env, object, plan);
        }
        break;
    case KIND_CONFIGURATION:
        if (!sink_binding_release(env, kind, object, plan)) {
            reconcile_configuration(env, object, plan);
            reconcile_gc(env, object, plan);
        }
        break;
    case KIND_WORKLOAD:
    case KIND_STATEFULSET:
    case KIND_DAEMONSET:
    case KIND_CRONJOB:
        (void)sink_binding_release(env, kind, object, plan);
        break;
    case KIND_REVISION:
        reconcile_revision(env, object, plan);
        break;
    case KIND_ROUTE:
        reconcile_route(env, object, plan);
        break;
    case KIND_DOMAINMAPPING:
        reconcile_domain_mapping(env, object, plan);
        break;
    case KIND_BROKER:
        reconcile_broker(env, object, plan);
        break;
    case KIND_TRIGGER:
        reconcile_trigger(env, object, plan);
        break;
    case KIND_PINGSOURCE:
        reconcile_ping_source(env, object, plan);
        break;
    case KIND_SINKBINDING:
        reconcile_sink_binding(env, object, plan);
        break;
    case KIND_WEBHOOKSOURCE:
    case KIND_REDISSOURCE:
    case KIND_FILESOURCE:
        reconcile_lull_source(env, kind, object, plan);
        break;
    case KIND_CLUSTERDOMAINCLAIM:
        reconcile_domain_claim(env, object, plan);
        break;
    case KIND_SECRET:
        reconcile_certificate(env, object, plan);
        break;
    case KIND_CONFIGMAP:
        reconcile_network(env, object, plan);
        break;
    case KIND_INGRESS:
    case KIND_HTTPROUTE:
        reconcile_gateway(env, kind, object, plan);
        break;
    default:
        break;
    }
}

/* Our last writes for this key are in the caches. Their events bring the key back. */
static bool caught_up(struct controller *c, struct work_key key, bool waited)
{
    if (expect_met(&c->expectations, key, objects_version, &c->objects)) {
        return true;
    }
    if (waited) {
        expect_drop(&c->expectations, key);
    }
    return waited;
}

/* Gone, or its status has them: nobody will ask again. */
static void forget_digests(struct controller *c, const struct work_key *key, const json_t *object)
{
    if (c->resolver != NULL && key->kind == KIND_REVISION &&
        (object == NULL || jpeek_arr(object, "status.containerStatuses") != NULL)) {
        resolver_forget(c->resolver, key->ns, key->name);
    }
}

void run_key(void *arg, struct work_key key, struct work_item *token)
{
    struct controller *c = arg;
    if (!caught_up(c, key, work_item_waited(token))) {
        work_queue_done(token, false, CATCH_UP_MS);
        return;
    }
    json_t *object = objects_get(&c->objects, key.kind, key.ns, key.name);
    c->counters.runs++;
    forget_digests(c, &key, object);
    if (object == NULL) {
        work_queue_done(token, false, 0);
        return;
    }
    char now[CLOCK_RFC3339_MAX];
    const struct reconcile_env env = env_of(c, now);
    struct plan plan;
    plan_init(&plan);
    reconcile(&env, key.kind, object, &plan);
    struct run *run = NEW(struct run);
    run->c = c;
    run->token = token;
    run->key = key;
    run->object = object;
    run->pending = 1; /* this call */
    run_execute(run, &plan);
    plan_fini(&plan);
    run_drop(run);
}
