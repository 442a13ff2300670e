// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Every sync period: ask for what is used, then for each object: read it, its Deployment and
 * the Deployment's Pods; each metric proposes a number (calculate.c), the largest counts; limit.c
 * makes of it what may be set now. Another number than before: the Deployment is patched, then the
 * status and an Event say so; else the status alone is written, when it says something new.
 * Failure modes: no Deployment, no numbers, no request, a metric of another kind: the condition
 * says so, and nothing is scaled (down, when another metric has a proposal). A write that fails:
 * the next period decides anew.
 */
#include "local/hpa/controller.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"
#include "loop/closer.h"
#include "loop/timer.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "local/hpa/object.h"
#include "local/hpa/rivals.h"

#define DEPLOYMENTS  "deployments.apps"
#define SELECTOR_MAX 16384
#define WHY_MAX      192

struct hpa_controller {
    struct hpa_options options;
    struct timer timer;
    struct map scalers; /* "namespace/name" -> struct scaler */
    uint64_t round;
    json_t *rivals; /* of this round (rivals.h) */
    struct closer closer;
    void (*close_cb)(void *arg);
    void *close_arg;
};

/* What is remembered of one object. */
struct scaler {
    char *uid;
    struct hpa_memory memory;
    uint64_t round; /* in which it was seen last */
    bool busy;      /* its scale is being written */
};

enum { ABLE, ACTIVE, LIMITED, CONDITIONS };

/* One decision on its way into the store. */
struct outcome {
    struct hpa_controller *h;
    json_t *hpa; /* owned reference */
    char *key, *ns, *name;
    struct hpa_bounds bounds;
    int32_t current, desired;
    char why[WHY_MAX];
    json_t *metrics; /* owned */
    struct hpa_condition conditions[CONDITIONS];
};

static void outcome_free(struct outcome *o)
{
    json_decref(o->hpa);
    json_decref(o->metrics);
    free(o->key);
    free(o->ns);
    free(o->name);
    free(o);
}

static void say(struct outcome *o, int which, const char *status, const char *reason,
                const char *message)
{
    struct hpa_condition *c = &o->conditions[which];
    c->status = status;
    c->reason = reason;
    (void)slice_copy(slice_sub(slice_str(message), 0, sizeof(c->message) - 1), c->message,
                     sizeof(c->message));
}

/* --- into the store ------------------------------------------------------------------------ */

static void on_written(int rc, struct object *object, const struct error *err, void *arg)
{
    struct hpa_controller *h = arg;
    if (rc < 0 && rc != ERR_NOT_FOUND) {
        LOG_DEBUG("cannot write what a HorizontalPodAutoscaler is told", LOG_ERR(err));
    }
    closer_drop(&h->closer);
}

static void write_status(struct outcome *o, bool changed)
{
    struct hpa_controller *h = o->h;
    struct error err;
    json_t *patch = hpa_status(o->hpa, o->current, o->desired, changed, json_incref(o->metrics),
                               o->conditions, CONDITIONS, clock_wall_ns());
    if (patch == NULL || h->closer.closing) {
        json_decref(patch);
        return;
    }
    closer_hold(&h->closer);
    if (store_patch(h->options.store, HPA_RESOURCE, o->ns, o->name, STORE_SUB_STATUS, patch,
                    STORE_MACHINE, on_written, h, &err) < 0) {
        on_written(err.code, NULL, &err, h);
    }
    json_decref(patch);
}

static void write_event(struct outcome *o, bool failed, const char *message)
{
    struct hpa_controller *h = o->h;
    char now[CLOCK_RFC3339_MAX], suffix[17];
    struct error err;
    clock_format_rfc3339(clock_wall_ns(), 0, now, sizeof(now));
    CLEANUP(cleanup_free)
    char *name = xasprintf("%.200s.%s", o->name, random_hex(suffix, sizeof(suffix) - 1));
    json_t *body = json_pack(
        "{s:{s:s}, s:{s:s,s:s,s:s,s:s,s:s}, s:s,s:s,s:s,s:s,s:s,s:i,s:{s:s}}", "metadata", "name",
        name, "involvedObject", "apiVersion", "autoscaling/v2", "kind", "HorizontalPodAutoscaler",
        "namespace", o->ns, "name", o->name, "uid", jpeek_cstr(o->hpa, "metadata.uid"), "type",
        failed ? "Warning" : "Normal", "reason", failed ? "FailedRescale" : "SuccessfulRescale",
        "message", message, "firstTimestamp", now, "lastTimestamp", now, "count", 1, "source",
        "component", "horizontal-pod-autoscaler");
    if (body == NULL || h->closer.closing) {
        json_decref(body);
        return;
    }
    closer_hold(&h->closer);
    if (store_create(h->options.store, "events", o->ns, body, STORE_MACHINE, on_written, h, &err) <
        0) {
        on_written(err.code, NULL, &err, h);
    }
    json_decref(body);
}

static void on_rescaled(int rc, struct object *object, const struct error *err, void *arg)
{
    struct outcome *o = arg;
    struct hpa_controller *h = o->h;
    struct scaler *s = map_get(&h->scalers, slice_str(o->key));
    char text[ERROR_MSG_MAX];
    if (s != NULL) {
        s->busy = false;
    }
    if (rc < 0) {
        (void)snprintf(text, sizeof(text),
                       "the HPA controller was unable to update the target scale: %.400s",
                       err->msg);
        say(o, ABLE, "False", "FailedUpdateScale", text);
        (void)snprintf(text, sizeof(text), "New size: %d; reason: %s; error: %.400s", o->desired,
                       o->why, err->msg);
        o->desired = o->current;
    } else {
        (void)snprintf(text, sizeof(text),
                       "the HPA controller was able to update the target scale to %d", o->desired);
        say(o, ABLE, "True", "SucceededRescale", text);
        (void)snprintf(text, sizeof(text), "New size: %d; reason: %s", o->desired, o->why);
        LOG_INFO("scaled by a HorizontalPodAutoscaler", LOG_STR("object", o->key),
                 LOG_INT("from", o->current), LOG_INT("to", o->desired), LOG_STR("reason", o->why));
        if (s != NULL) {
            hpa_changed(&s->memory, &o->bounds, o->current, o->desired, (int64_t)clock_mono_ns());
        }
    }
    write_event(o, rc < 0, text);
    write_status(o, rc == 0);
    outcome_free(o);
    closer_drop(&h->closer);
}

/* Takes the outcome. */
static void rescale(struct outcome *o, struct scaler *s, const char *deployment)
{
    struct hpa_controller *h = o->h;
    struct error err;
    json_t *patch = json_pack("{s:{s:i}}", "spec", "replicas", o->desired);
    s->busy = true;
    closer_hold(&h->closer);
    if (store_patch(h->options.store, DEPLOYMENTS, o->ns, deployment, STORE_SUB_NONE, patch,
                    STORE_MACHINE, on_rescaled, o, &err) < 0) {
        on_rescaled(err.code, NULL, &err, o);
    }
    json_decref(patch);
}

/* --- what the metrics propose -------------------------------------------------------------- */

struct pods {
    json_t **trees; /* owned references */
    struct usage *usages;
    bool *known;
    struct hpa_pod *pods; /* for the metric that is looked at */
    size_t count, room;
    struct hpa_controller *h;
};

static bool on_pod(struct object *object, void *arg)
{
    struct pods *p = arg;
    const struct usage_provider *usage = p->h->options.usage;
    if (p->count == p->room) {
        p->room = p->room == 0 ? 16 : p->room * 2;
        p->trees = xreallocarray(p->trees, p->room, sizeof(*p->trees));
        p->usages = xreallocarray(p->usages, p->room, sizeof(*p->usages));
        p->known = xreallocarray(p->known, p->room, sizeof(*p->known));
        p->pods = xreallocarray(p->pods, p->room, sizeof(*p->pods));
    }
    p->trees[p->count] = object_tree(object);
    p->known[p->count] = usage->get(usage->self, object->ns, object->name, &p->usages[p->count]);
    p->count++;
    return true;
}

static int pods_read(struct pods *p, const json_t *deployment, const char *ns, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf labels;
    strbuf_init(&labels, SELECTOR_MAX);
    if (!hpa_selector(deployment, &labels)) {
        return error_set(err, ERR_INVALID, "the HPA target's scale is missing a selector");
    }
    return store_list(p->h->options.store,
                      &(struct store_selector){.resource = "pods", .ns = ns, .labels = labels.ptr},
                      on_pod, p, err);
}

static void pods_fini(struct pods *p)
{
    for (size_t i = 0; i < p->count; i++) {
        json_decref(p->trees[i]);
    }
    free(p->trees);
    free(p->usages);
    free(p->known);
    free(p->pods);
}

static int propose_one(struct pods *p, const struct hpa_metric *metric, int32_t current,
                       struct hpa_proposal *out, struct error *err)
{
    if (!metric->resource) {
        return error_set(err, ERR_UNSUPPORTED,
                         "unable to get metric %.100s: one machine has numbers of cpu and memory "
                         "only, of type Resource, not of type %.40s",
                         metric->name, metric->type);
    }
    for (size_t i = 0; i < p->count; i++) {
        hpa_pod_read(p->trees[i], p->known[i] ? &p->usages[i] : NULL, metric->measure.cpu,
                     &p->pods[i]);
    }
    int rc = hpa_calculate(p->pods, p->count, current, &metric->measure, &p->h->options.settings,
                           clock_wall_ns(), out, err);
    return rc < 0 ? error_prefix(err, rc, "failed to get %s %s", metric->name,
                                 metric->measure.utilization ? "utilization" : "usage")
                  : 0;
}

/* False: no proposal, and the condition says why. */
static bool propose(struct outcome *o, const struct hpa_spec *spec, struct pods *p,
                    int32_t *out_replicas)
{
    struct error err, first = {0};
    const struct hpa_metric *invalid = NULL;
    char text[ERROR_MSG_MAX];
    size_t found = 0;
    double near = 0; /* the ratio of the one that counts, within the tolerance */
    *out_replicas = 0;
    for (size_t i = 0; i < spec->count; i++) {
        const struct hpa_metric *metric = &spec->metrics[i];
        struct hpa_proposal one;
        if (propose_one(p, metric, o->current, &one, &err) < 0) {
            first = invalid == NULL ? err : first;
            invalid = invalid == NULL ? metric : invalid;
            continue;
        }
        REQUIRE(json_array_append_new(o->metrics, hpa_metric_status(metric, &one)) == 0);
        if (found++ == 0 || one.replicas > *out_replicas) {
            *out_replicas = one.replicas;
            near = one.tolerated ? one.ratio : 0;
            (void)snprintf(o->why, sizeof(o->why), "%.60s resource%s", metric->name,
                           metric->measure.utilization ? " utilization (percentage of request)"
                                                       : "");
        }
    }
    if (invalid != NULL && (found == 0 || *out_replicas < o->current)) {
        (void)snprintf(text, sizeof(text),
                       "the HPA was unable to compute the replica count: %.400s", first.msg);
        say(o, ACTIVE, "False", invalid->reason, text);
        return false;
    }
    (void)snprintf(text, sizeof(text),
                   "the HPA was able to successfully calculate a replica count from %s", o->why);
    if (near > 0) {
        size_t len = strlen(text);
        (void)snprintf(text + len, sizeof(text) - len,
                       "; %.2f of what is wanted is used, which is within the tolerance of %.2f",
                       near, o->h->options.settings.tolerance);
    }
    say(o, ACTIVE, "True", "ValidMetricFound", text);
    return true;
}

/* --- one object ---------------------------------------------------------------------------- */

/* The proposal within what may be set now. */
static void limit(struct outcome *o, struct scaler *s, int32_t proposal)
{
    struct hpa_verdict v;
    char text[ERROR_MSG_MAX], until[CLOCK_RFC3339_MAX];
    hpa_limit(&s->memory, &o->bounds, o->current, proposal, (int64_t)clock_mono_ns(), &v);
    o->desired = v.replicas;
    (void)snprintf(text, sizeof(text), "%s", v.able_message);
    if (v.held_ns > 0) {
        clock_format_rfc3339(clock_wall_ns() + v.held_ns, 0, until, sizeof(until));
        (void)snprintf(text, sizeof(text), "%s; it holds until %s", v.able_message, until);
    }
    say(o, ABLE, "True", v.able_reason, text);
    say(o, LIMITED, v.limited ? "True" : "False", v.limit_reason, v.limit_message);
    if (v.replicas < o->current) {
        (void)snprintf(o->why, sizeof(o->why), "All metrics below target");
    } else {
        size_t len = strlen(o->why);
        (void)snprintf(o->why + len, sizeof(o->why) - len, " above target");
    }
}

/* Sets o->desired; false: nothing can be decided. */
static bool decide(struct outcome *o, struct scaler *s, const struct hpa_spec *spec,
                   const json_t *deployment)
{
    struct pods pods = {.h = o->h};
    char text[ERROR_MSG_MAX];
    struct error err;
    int32_t proposal = 0;
    if (o->current == 0) {
        say(o, ACTIVE, "False", "ScalingDisabled",
            "scaling is disabled since the replica count of the target is zero");
        return false;
    }
    if (o->current > spec->bounds.max || o->current < spec->bounds.min) {
        bool above = o->current > spec->bounds.max;
        o->desired = above ? spec->bounds.max : spec->bounds.min;
        (void)snprintf(o->why, sizeof(o->why), "Current number of replicas %s",
                       above ? "above Spec.MaxReplicas" : "below Spec.MinReplicas");
        return true;
    }
    bool decided = false;
    if (hpa_rivals_say(o->h->rivals, o->ns, spec, text)) {
        say(o, ACTIVE, "False", "AmbiguousSelector", text);
    } else if (pods_read(&pods, deployment, o->ns, &err) < 0) {
        say(o, ACTIVE, "False", "InvalidSelector", err.msg);
    } else {
        decided = propose(o, spec, &pods, &proposal);
    }
    pods_fini(&pods);
    if (decided) {
        limit(o, s, proposal);
    }
    return decided;
}

static struct scaler *scaler_of(struct hpa_controller *h, const char *key, const char *uid)
{
    struct scaler *s = map_get(&h->scalers, slice_str(key));
    if (s != NULL && strcmp(s->uid, uid) != 0) { /* another one of the same name */
        hpa_memory_fini(&s->memory);
        free(s->uid);
        s->uid = xstrdup(uid);
    }
    if (s == NULL) {
        s = NEW(struct scaler);
        s->uid = xstrdup(uid);
        (void)map_set(&h->scalers, slice_str(key), s);
    }
    s->round = h->round;
    return s;
}

static struct object *target_of(const struct hpa_controller *h, const struct hpa_spec *spec,
                                const char *ns, char *why, size_t size)
{
    const char *version = spec->target_version;
    struct object *found = NULL;
    if (strcmp(spec->target_kind, "Deployment") == 0 &&
        (version[0] == '\0' || strncmp(version, "apps/", 5) == 0)) {
        found = store_get(h->options.store, DEPLOYMENTS, ns, spec->target_name);
    }
    (void)snprintf(
        why, size,
        "the HPA controller was unable to get the target's current scale: %.60s \"%.253s\" "
        "not found",
        spec->target_kind, spec->target_name);
    return found;
}

static void sync_one(struct hpa_controller *h, struct object *object)
{
    CLEANUP(cleanup_free) char *key = xasprintf("%s/%s", object->ns, object->name);
    struct scaler *s = scaler_of(h, key, object->uid);
    char text[ERROR_MSG_MAX];
    struct hpa_spec spec;
    if (s->busy || object->deleting) {
        return;
    }
    struct outcome *o = NEW(struct outcome);
    *o = (struct outcome){.h = h,
                          .hpa = object_tree(object),
                          .key = xstrdup(key),
                          .ns = xstrdup(object->ns),
                          .name = xstrdup(object->name),
                          .metrics = json_array(),
                          .conditions = {[ABLE].type = "AbleToScale",
                                         [ACTIVE].type = "ScalingActive",
                                         [LIMITED].type = "ScalingLimited"}};
    hpa_spec_read(o->hpa, &h->options.settings, &spec);
    o->bounds = spec.bounds;
    struct object *target = target_of(h, &spec, o->ns, text, sizeof(text));
    if (target == NULL) { /* what was measured last stands */
        say(o, ABLE, "False", "FailedGetScale", text);
        o->current = (int32_t)jpeek_i64(o->hpa, "status.currentReplicas");
        o->desired = (int32_t)jpeek_i64(o->hpa, "status.desiredReplicas");
        json_decref(o->metrics);
        o->metrics = json_incref(jget(o->hpa, "status.currentMetrics"));
        write_status(o, false);
        outcome_free(o);
        return;
    }
    json_t *deployment = object_tree(target);
    say(o, ABLE, "True", "SucceededGetScale",
        "the HPA controller was able to get the target's current scale");
    json_t *replicas = jget(deployment, "spec.replicas");
    o->current = replicas == NULL ? 1 : (int32_t)json_integer_value(replicas);
    o->desired = o->current;
    hpa_begin(&s->memory, o->current, (int64_t)clock_mono_ns());
    if (decide(o, s, &spec, deployment) && o->desired != o->current) {
        rescale(o, s, spec.target_name);
    } else {
        write_status(o, false);
        outcome_free(o);
    }
    json_decref(deployment);
}

/* --- rounds -------------------------------------------------------------------------------- */

static void forget_gone(struct hpa_controller *h)
{
    map_foreach (it, &h->scalers) {
        struct scaler *s = it.value;
        if (s->round != h->round) {
            (void)map_remove(&h->scalers, it.key);
            hpa_memory_fini(&s->memory);
            free(s->uid);
            free(s);
        }
    }
}

static void sync_named(struct hpa_controller *h, const char *key)
{
    struct slice rest = slice_str(key), ns;
    (void)slice_split(&rest, '/', &ns);
    CLEANUP(cleanup_free) char *space = xstrndup(ns.ptr, ns.len);
    struct object *object = store_get(h->options.store, HPA_RESOURCE, space, rest.ptr);
    if (object != NULL) {
        (void)object_ref(object);
        sync_one(h, object);
        object_unref(object);
    }
}

/* Writes may end at once, so the store is not walked meanwhile: names first. */
static void on_usage(void *arg)
{
    struct hpa_controller *h = arg;
    struct error err;
    const char *target;
    size_t i;
    json_t *names, *one;
    h->round++;
    h->rivals = hpa_rivals(h->options.store, &err);
    if (h->rivals == NULL) {
        LOG_ERROR("cannot list HorizontalPodAutoscalers", LOG_ERR(&err));
    }
    json_object_foreach(h->rivals, target, names)
    {
        json_array_foreach(names, i, one)
        {
            sync_named(h, json_string_value(one));
        }
    }
    json_decref(h->rivals);
    h->rivals = NULL;
    forget_gone(h);
}

static void on_timer(struct timer *timer)
{
    struct hpa_controller *h = timer->data;
    const struct usage_provider *usage = h->options.usage;
    if (store_count(h->options.store, HPA_RESOURCE) == 0) {
        h->round++;
        forget_gone(h);
        return;
    }
    if (!usage->ask(usage->self, h->options.sync_ms / 2, on_usage, h)) {
        LOG_DEBUG("nobody can be asked what replicas use");
    }
}

/* --- life ---------------------------------------------------------------------------------- */

struct hpa_controller *hpa_controller_start(const struct hpa_options *options)
{
    struct hpa_controller *h = NEW(struct hpa_controller);
    h->options = *options;
    map_init(&h->scalers, MAP_COPY_KEYS);
    closer_init(&h->closer);
    timer_init(&h->timer, options->loop, on_timer, h);
    closer_hold(&h->closer);
    timer_start_every(&h->timer, options->sync_ms);
    return h;
}

static void on_closed(void *data)
{
    struct hpa_controller *h = data;
    void (*cb)(void *) = h->close_cb;
    void *arg = h->close_arg;
    h->round++;
    forget_gone(h);
    map_fini(&h->scalers);
    free(h);
    if (cb != NULL) {
        cb(arg);
    }
}

static void on_timer_closed(struct timer *timer)
{
    closer_drop(&((struct hpa_controller *)timer->data)->closer);
}

void hpa_controller_close(struct hpa_controller *h, void (*cb)(void *arg), void *arg)
{
    if (h->closer.closing) {
        return;
    }
    h->close_cb = cb;
    h->close_arg = arg;
    if (closer_close(&h->closer, h->options.loop, on_closed, h)) {
        h->options.usage->forget(h->options.usage->self, h);
        timer_close(&h->timer, on_timer_closed);
    }
}
