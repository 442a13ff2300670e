// SPDX-License-Identifier: Apache-2.0
//
// What a Pod's status says, and when it is written.
//
// Happy path: a change of readiness is written at once, anything else together with what comes in
// the next moment (agent_publish_soon); one write of a Pod is under way at a time, and what changed
// meanwhile follows it. Failure modes: a write that fails is tried again by the tick; a Pod that is
// gone is not written.
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "local/agent/node.h"

// The tick writes it again.
static void status_retry(struct pod *p)
{
    if (!p->gone && !list_linked(&p->dirty_link)) {
        list_push_back(&p->agent->dirty, &p->dirty_link);
    }
    agent_tick_soon(p->agent);
}

static void status_written(int rc, struct object *object, const struct error *err, void *arg)
{
    struct pod *p = arg;
    struct agent *a = p->agent;

    (void)object;
    p->status_busy = false;
    if (rc < 0 && rc != ERR_NOT_FOUND) {
        LOG_WARN("cannot write a Pod's status", LOG_STR("pod", p->key), LOG_ERR(err));
        status_retry(p);
    } else if (p->status_dirty) {
        pod_write_status(p);
    }
    pod_unref(p);
    closer_drop(&a->closer);
}

void pod_write_status(struct pod *p)
{
    struct agent *a = p->agent;
    struct error err;
    json_t *patch = NULL;

    list_remove(&p->dirty_link);
    p->status_dirty = p->status_busy;
    if (p->status_busy || p->gone || !p->object || a->closer.closing) {
        return;
    }
    json_t *root = object_tree(p->object);
    int rc = pod_status_build(root, &p->state, &p->trouble, clock_wall_ns(), &patch, &err);
    json_decref(root);
    if (rc < 0) {
        LOG_WARN("cannot build a Pod's status", LOG_STR("pod", p->key), LOG_ERR(&err));
        return;
    }
    p->status_busy = true;
    p->refs++;
    closer_hold(&a->closer);
    rc = store_patch(a->store, "pods", p->ns, p->name, STORE_SUB_STATUS, patch, STORE_MACHINE,
                     status_written, p, &err);
    json_decref(patch);
    if (rc < 0) {
        p->status_busy = false;
        if (rc != ERR_NOT_FOUND) {
            status_retry(p);
        }
        pod_unref(p);
        closer_drop(&a->closer);
    }
}

void pod_publish(struct pod *p, bool now)
{
    struct agent *a = p->agent;

    if (now) {
        pod_write_status(p);
        if (p->owner) {
            deployment_sync(p->owner);
        }
    } else if (!list_linked(&p->dirty_link)) {
        list_push_back(&a->dirty, &p->dirty_link);
        agent_publish_soon(a);
    }
}

void pod_state(struct pod *p, const struct replica_state *state)
{
    bool changed = p->state.ready != state->ready;

    if (p->phase == POD_UP && state->ready && !p->state.ready) {
        LOG_INFO("replica ready", LOG_STR("pod", p->key), LOG_INT("pid", state->pid));
    }
    p->state = *state;
    p->state.restarts += p->restarts_before;
    p->trouble = (struct pod_trouble){0};
    if (state->ready) {
        p->delay_ms = POD_RETRY_MIN_MS; // a later failure has nothing to do with earlier ones
    }
    if (p->phase == POD_UP) {
        if (changed && state->ready) {
            store_hold(p->agent->store, STORE_PATIENT, AGENT_READY_HOLD_MS);
        }
        pod_publish(p, changed);
    }
}

void pod_trouble_set(struct pod *p, const char *reason, const char *message, bool unschedulable)
{
    bool same = p->trouble.reason && strcmp(p->trouble.reason, reason) == 0 &&
                strncmp(p->trouble.message, message, sizeof p->trouble.message - 1) == 0;
    p->trouble.reason = reason;
    p->trouble.unschedulable = unschedulable;
    (void)slice_copy(slice_sub(slice_str(message), 0, sizeof p->trouble.message - 1),
                     p->trouble.message, sizeof p->trouble.message);
    if (!same) {
        LOG_WARN("a Pod cannot run", LOG_STR("pod", p->key), LOG_STR("reason", reason),
                 LOG_STR("message", message));
        pod_publish(p, true);
    }
}
