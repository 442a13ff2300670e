// SPDX-License-Identifier: Apache-2.0
//
// Deployments: as many Pods as spec.replicas says. A Pod counts from the moment its creation is
// decided, so a burst of events never makes one too many. Too many: those that are not ready go
// first, then the youngest. A creation that fails is tried again by the tick.
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "local/agent/node.h"

void deployment_take(struct deployment *d, struct object *object)
{
    static const char *const members[] = {"spec.replicas", "status"};
    struct object *old = d->object;
    json_t *root = object_only(object, members, ARRAY_LEN(members));
    json_t *replicas = jget(root, "spec.replicas");

    d->want = object->deleting ? 0 : replicas ? json_integer_value(replicas) : 1;
    d->told.generation = jpeek_i64(root, "status.observedGeneration");
    d->told.replicas = jpeek_i64(root, "status.replicas");
    d->told.ready = jpeek_i64(root, "status.readyReplicas");
    d->object = object_ref(object);
    object_unref(old);
    json_decref(root);
}

static void retry_later(struct pod *p)
{
    if (p->owner) {
        p->owner->retry = true;
        agent_tick_soon(p->agent);
    }
}

static void pod_created(int rc, struct object *object, const struct error *err, void *arg)
{
    struct pod *p = arg;
    struct agent *a = p->agent;

    (void)object; // the watch brings it
    if (rc < 0 && p->phase == POD_CREATING) {
        LOG_WARN("cannot create a Pod", LOG_STR("pod", p->key), LOG_ERR(err));
        retry_later(p);
        pod_forget(p);
    }
    pod_unref(p);
    closer_drop(&a->closer);
}

// A name that no Pod of ours has.
static char *pod_name_new(const struct deployment *d)
{
    char suffix[6];

    for (;;) {
        char *name = xasprintf("%s-%s", d->object->name, random_hex(suffix, sizeof suffix - 1));
        CLEANUP(cleanup_free) char *key = xasprintf("%s/%s", d->object->ns, name);
        if (!map_get(&d->agent->pods, slice_str(key))) {
            return name;
        }
        free(name);
    }
}

static int pod_create(struct deployment *d, const json_t *root)
{
    struct agent *a = d->agent;
    struct error err;
    json_t *body = NULL;
    char id[AGENT_ID_LEN + 1];
    CLEANUP(cleanup_free) char *name = pod_name_new(d);

    random_hex(id, AGENT_ID_LEN);
    int rc = pod_build(root, name, id, a->run_dir, &body, &err);
    if (rc < 0) {
        LOG_WARN("the Pod template cannot be used", LOG_STR("deployment", d->object->name),
                 LOG_ERR(&err));
        return rc;
    }
    struct pod *p = pod_new(a, d->object->ns, name, d);
    memcpy(p->id, id, sizeof id);
    p->refs++;
    closer_hold(&a->closer);
    store_hold(a->store, STORE_SOON, AGENT_START_HOLD_MS);
    rc = store_create(a->store, "pods", p->ns, body, STORE_MACHINE, pod_created, p, &err);
    json_decref(body);
    if (rc < 0) {
        LOG_WARN("cannot create a Pod", LOG_STR("pod", p->key), LOG_ERR(&err));
        pod_forget(p);
        pod_unref(p);
        closer_drop(&a->closer);
    }
    return rc;
}

static void pod_deleted(int rc, struct object *object, const struct error *err, void *arg)
{
    struct pod *p = arg;
    struct agent *a = p->agent;

    (void)object;
    if (rc < 0 && rc != ERR_NOT_FOUND) {
        LOG_WARN("cannot delete a Pod", LOG_STR("pod", p->key), LOG_ERR(err));
        p->deleting = false;
        retry_later(p);
        if (p->phase == POD_CREATING && !p->gone) {
            pod_place(p); // it was one too many before it ran; it stays after all
        }
    }
    pod_unref(p);
    closer_drop(&a->closer);
}

// Which of two goes first: the one that is not ready, then the younger one.
static bool goes_before(const struct pod *a, const struct pod *b)
{
    if (a->state.ready != b->state.ready) {
        return !a->state.ready;
    }
    return a->seq > b->seq;
}

// A Pod that is still being created cannot be deleted yet; its ADDED event syncs again.
static void pod_delete_one(struct deployment *d)
{
    struct agent *a = d->agent;
    struct pod *victim = NULL;
    struct error err;

    list_foreach (node, &d->pods) {
        struct pod *p = LIST_ENTRY(node, struct pod, owner_link);
        if (pod_counts(p) && p->object && (!victim || goes_before(p, victim))) {
            victim = p;
        }
    }
    if (!victim) {
        return;
    }
    victim->deleting = true;
    victim->refs++;
    closer_hold(&a->closer);
    if (store_delete(a->store, "pods", victim->ns, victim->name, NULL, STORE_MACHINE, pod_deleted,
                     victim, &err) < 0) {
        pod_deleted(err.code, NULL, &err, victim);
    }
}

// Nobody waits for a Deployment's status as for a Pod's: it is written a little later, so that a
// replica's start is not slowed down by it and its steps become one write.
static void status_later(struct deployment *d)
{
    struct agent *a = d->agent;

    if (!list_linked(&d->dirty_link)) {
        list_push_back(&a->dirty_deployments, &d->dirty_link);
        agent_publish_soon(a);
    }
}

// The tick writes it again.
static void status_retry(struct deployment *d)
{
    if (!list_linked(&d->dirty_link)) {
        list_push_back(&d->agent->dirty_deployments, &d->dirty_link);
    }
    agent_tick_soon(d->agent);
}

static void status_written(int rc, struct object *object, const struct error *err, void *arg)
{
    struct deployment *d = arg;
    struct agent *a = d->agent;

    (void)object;
    d->status_busy = false;
    if (d->gone) {
        deployment_free(d);
    } else if (rc < 0 && rc != ERR_NOT_FOUND) {
        LOG_WARN("cannot write a Deployment's status", LOG_STR("deployment", d->object->name),
                 LOG_ERR(err));
        status_retry(d);
    } else if (d->status_dirty) {
        status_later(d);
    }
    closer_drop(&a->closer);
}

void deployment_write_status(struct deployment *d)
{
    struct agent *a = d->agent;
    struct error err;
    json_t *patch = NULL;
    int64_t replicas = 0, ready = 0;

    list_remove(&d->dirty_link);
    list_foreach (node, &d->pods) {
        struct pod *p = LIST_ENTRY(node, struct pod, owner_link);
        replicas += pod_counts(p);
        ready += pod_counts(p) && p->state.ready;
    }
    bool same = d->told.generation == d->object->generation && d->told.replicas == replicas &&
                d->told.ready == ready;
    d->status_dirty = d->status_busy && !same;
    if (same || d->status_busy || d->gone || a->closer.closing) {
        return;
    }
    CLEANUP(jfree) json_t *root = object_tree(d->object);
    if (deployment_status_build(root, replicas, ready, clock_wall_ns(), &patch, &err) < 0) {
        return;
    }
    d->status_busy = true;
    closer_hold(&a->closer);
    if (store_patch(a->store, "deployments.apps", d->object->ns, d->object->name, STORE_SUB_STATUS,
                    patch, STORE_MACHINE, status_written, d, &err) < 0) {
        d->status_busy = false;
        status_retry(d);
        closer_drop(&a->closer);
    }
    json_decref(patch);
}

void deployment_sync(struct deployment *d)
{
    int64_t have = 0, want = d->gone ? 0 : d->want;
    json_t *root = NULL;

    if (d->agent->closer.closing) {
        return;
    }
    list_foreach (node, &d->pods) {
        have += pod_counts(LIST_ENTRY(node, struct pod, owner_link));
    }
    for (; have < want; have++) {
        root = root ? root : object_tree(d->object);
        if (pod_create(d, root) < 0) {
            d->retry = true;
            agent_tick_soon(d->agent);
            break;
        }
    }
    for (; have > want && !d->gone; have--) {
        pod_delete_one(d);
    }
    json_decref(root);
    status_later(d);
}

void deployment_free(struct deployment *d)
{
    if (d->status_busy) {
        return; // its completion comes back here
    }
    list_foreach_safe (node, &d->pods) {
        struct pod *p = LIST_ENTRY(node, struct pod, owner_link);
        list_remove(&p->owner_link);
        p->owner = NULL;
    }
    list_remove(&d->dirty_link);
    map_remove(&d->agent->deployments, slice_str(d->uid));
    object_unref(d->object);
    free(d->uid);
    free(d);
}

void deployment_event(struct agent *a, const struct store_event *event)
{
    struct deployment *d = map_get(&a->deployments, slice_str(event->object->uid));

    if (event->type == STORE_DELETED) {
        if (d) {
            d->gone = true; // the store's garbage collector deletes its Pods
            deployment_free(d);
        }
        return;
    }
    if (!d) {
        d = NEW(struct deployment);
        d->agent = a;
        d->uid = xstrdup(event->object->uid);
        list_init(&d->pods);
        list_init(&d->dirty_link);
        map_set(&a->deployments, slice_str(d->uid), d);
        spare_refill_soon(a); // as many as there are Deployments
    }
    if (d->object != event->object) {
        deployment_take(d, event->object);
    }
    deployment_sync(d);
}
