// SPDX-License-Identifier: Apache-2.0
//
// One Pod's life on this node (the phases stand in node.h).
//
// Happy path: the watch brings a new Pod; it gets a place, a launch starts its replica; each line
// of the replica's control socket becomes Pod status (pod_status.c); a deletion stops the replica,
// and when it is gone the Pod is removed from the store. Failure modes:
//   no capacity             -> WAITING, Unschedulable, in order; tried when a place is given back
//   launch fails            -> FAILED with Kubernetes' reason, tried again with back-off
//   replica process dies    -> what it left is swept, launched again
//   a removal fails         -> tried again by the tick
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "json/jget.h"
#include "local/agent/launch.h"
#include "local/agent/node.h"

#define RETRY_MAX_MS    60000
#define GRACE_DEFAULT_S 30
#define GRACE_MAX_S     86400
#define PORT_TRIES      100

static void pod_remove(struct pod *p);

bool pod_counts(const struct pod *p)
{
    return !p->gone && !p->deleting && p->phase < POD_STOPPING;
}

struct pod *pod_new(struct agent *a, const char *ns, const char *name, struct deployment *owner)
{
    struct pod *p = NEW(struct pod);

    p->agent = a;
    p->refs = 1;
    p->seq = a->next_seq++;
    p->ns = xstrdup(ns);
    p->name = xstrdup(name);
    p->key = xasprintf("%s/%s", ns, name);
    p->owner = owner;
    p->delay_ms = POD_RETRY_MIN_MS;
    p->slot = -1;
    list_init(&p->owner_link);
    list_init(&p->wait_link);
    list_init(&p->dirty_link);
    if (owner) {
        list_push_back(&owner->pods, &p->owner_link);
    }
    map_set(&a->pods, slice_str(p->key), p);
    return p;
}

void pod_unref(struct pod *p)
{
    if (--p->refs > 0) {
        return;
    }
    object_unref(p->object);
    free(p->key);
    free(p->ns);
    free(p->name);
    free(p->references);
    free(p);
}

void pod_forget(struct pod *p)
{
    struct agent *a = p->agent;
    struct deployment *owner = p->owner;

    if (map_get(&a->pods, slice_str(p->key)) != p) {
        return;
    }
    map_remove(&a->pods, slice_str(p->key));
    p->gone = true;
    list_remove(&p->owner_link);
    list_remove(&p->wait_link);
    list_remove(&p->dirty_link);
    p->owner = NULL;
    if (p->link) {
        replica_link_close(p->link);
        p->link = NULL;
    }
    place_give_back(p);
    if (owner && !owner->retry) { // a failed creation is tried again by the tick, not at once
        deployment_sync(owner);
    }
    pod_unref(p);
}

// ---- launch

static void launch_failed(struct pod *p, const char *reason, const struct error *err)
{
    p->phase = POD_FAILED;
    p->retry_ms = loop_now_ms(p->agent->loop) + p->delay_ms;
    p->delay_ms = p->delay_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : p->delay_ms * 2;
    pod_trouble_set(p, reason, err->msg, false);
    agent_tick_soon(p->agent);
}

static void stop_send(struct pod *p)
{
    char line[64];
    int64_t grace_s = GRACE_DEFAULT_S;

    if (p->object) {
        json_t *root = object_tree(p->object);
        json_t *g = jget(root, "metadata.deletionGracePeriodSeconds");
        g = g ? g : jget(root, "spec.terminationGracePeriodSeconds");
        grace_s = g ? json_integer_value(g) : grace_s;
        json_decref(root);
    }
    if (p->gone || grace_s <= 0) {
        replica_link_send(p->link, "kill\n");
    } else {
        grace_s = grace_s > GRACE_MAX_S ? GRACE_MAX_S : grace_s;
        snprintf(line, sizeof line, "stop %" PRId64 "\n", grace_s * 1000);
        replica_link_send(p->link, line);
    }
}

void pod_stop_again(struct pod *p)
{
    if (p->phase == POD_STOPPING && p->link) {
        stop_send(p);
    }
}

static void pod_stop(struct pod *p)
{
    if (p->phase == POD_STOPPING && p->link && p->gone) {
        stop_send(p); // an ordinary stop becomes a kill
    }
    if (p->phase >= POD_STOPPING || p->phase == POD_LAUNCHING) {
        return; // a launch looks at `deleting` when it is done
    }
    bool connected = p->phase == POD_UP && p->link;
    list_remove(&p->wait_link);
    p->phase = POD_STOPPING;
    p->state.ready = false;
    if (p->owner) {
        deployment_sync(p->owner);
    }
    if (connected) {
        stop_send(p);
    } else {
        pod_remove(p);
    }
}

static void launch_done(int rc, int fd, const char *reason, const struct error *err, void *arg)
{
    struct pod *p = arg;
    struct agent *a = p->agent;
    struct error open_err;

    p->phase = POD_UP;
    if (a->closer.closing) { // the replica lives on; the next start adopts it
        if (rc == 0) {
            close(fd);
        }
        pod_unref(p);
        closer_drop(&a->closer);
        return;
    }
    if (rc == ERR_IN_USE && !p->deleting && !p->gone && p->port_tries < PORT_TRIES) {
        p->port_tries++;
        place_slot_give_back(p); // somebody else has these ports: at once with the next ones
        pod_launch(p);
        pod_unref(p);
        closer_drop(&a->closer);
        return;
    }
    p->port_tries = 0;
    spare_refill_soon(a);
    if (rc == 0 && replica_link_open(p, fd, &open_err) < 0) {
        rc = open_err.code;
        reason = "RunContainerError";
        err = &open_err;
    }
    if (rc < 0) {
        launch_failed(p, reason, err);
    }
    if (p->deleting || p->gone) {
        pod_stop(p);
    }
    if (p->refresh_due) {
        follow_refresh(p); // something changed while it was launched
    }
    // While the function comes up there is time for what the activator should know.
    store_hold(a->store, STORE_PATIENT, AGENT_START_HOLD_MS);
    pod_unref(p);
    closer_drop(&a->closer);
}

void pod_launch(struct pod *p)
{
    struct agent *a = p->agent;
    struct error err;
    json_t *root = object_tree(p->object);

    place_slot_take(p);
    struct launch_options o = {
        .loop = a->loop,
        .home = a->home,
        .libexec = a->libexec,
        .id = p->id,
        .spares = &a->spares,
        .log_max_bytes = a->options.log_max_bytes,
        .lifeline_fd = a->options.lifeline_fd,
        .first_port = AGENT_PORT_MIN + (unsigned)p->slot * LAUNCH_PORTS,
        .uid = geteuid() == 0 ? AGENT_UID_MIN + (uid_t)p->slot : 0,
        .pod = root,
        .source = follow_source(p),
        .sweep = p->unclean,
    };
    p->unclean = false;
    p->phase = POD_LAUNCHING;
    p->state = (struct replica_state){.restarts = p->state.restarts};
    p->refs++;
    closer_hold(&a->closer);
    int rc = launch_start(&o, launch_done, p, &err);
    json_decref(root);
    if (rc < 0) {
        launch_failed(p, "CreateContainerConfigError", &err);
        pod_unref(p);
        closer_drop(&a->closer);
    }
}

// What was found running: fd is connected to its control socket.
static bool pod_adopt(struct pod *p, int fd)
{
    struct error err;

    place_adopt(p, launch_port(p->agent->home, p->id));
    p->phase = POD_UP;
    if (replica_link_open(p, fd, &err) < 0) {
        LOG_WARN("cannot adopt a replica", LOG_STR("pod", p->key), LOG_ERR(&err));
        p->phase = POD_CREATING;
        place_give_back(p);
        return false;
    }
    LOG_INFO("replica adopted", LOG_STR("pod", p->key));
    return true;
}

// ---- end

struct removal {
    struct work work;
    struct pod *pod;
    bool unclean;
};

static void removal_run(struct work *work)
{
    struct removal *r = work->data;
    struct agent *a = r->pod->agent;
    static const char *const SOCKETS[] = {"q", "a", "c", "n"};
    char path[4096];

    // Only constant fields of the Pod and the agent are read here.
    if (r->unclean) {
        sweep_strays(r->pod->id);
    }
    snprintf(path, sizeof path, "%s/replicas/%s", a->home, r->pod->id);
    (void)!fs_remove_tree(path, NULL);
    for (size_t i = 0; i < ARRAY_LEN(SOCKETS); i++) {
        snprintf(path, sizeof path, "%s/%s.%s", a->run_dir, r->pod->id, SOCKETS[i]);
        unlink(path);
    }
}

static void removal_done(struct work *work, int status)
{
    struct removal *r = work->data;
    struct agent *a = r->pod->agent;

    (void)status; // a folder that stayed is removed at the next start
    pod_unref(r->pod);
    free(r);
    closer_drop(&a->closer);
}

static void files_remove(struct pod *p)
{
    if (!p->id[0]) {
        return; // it never had any
    }
    struct removal *r = NEW(struct removal);
    r->pod = p;
    r->unclean = p->unclean;
    p->refs++;
    closer_hold(&p->agent->closer);
    if (work_start(&r->work, p->agent->loop, removal_run, removal_done, r, NULL) < 0) {
        removal_done(&(struct work){.data = r}, 0);
    }
}

static void pod_removed(int rc, struct object *object, const struct error *err, void *arg)
{
    struct pod *p = arg;
    struct agent *a = p->agent;

    (void)object;
    if (rc < 0 && rc != ERR_NOT_FOUND) {
        LOG_WARN("cannot remove a Pod", LOG_STR("pod", p->key), LOG_ERR(err));
        p->phase = POD_STOPPING;
        p->retry_ms = loop_now_ms(a->loop) + POD_RETRY_MIN_MS;
        agent_tick_soon(a);
    }
    pod_unref(p);
    closer_drop(&a->closer);
}

static void pod_remove(struct pod *p)
{
    struct agent *a = p->agent;
    struct error err;

    p->phase = POD_REMOVING;
    files_remove(p);
    place_give_back(p);
    if (p->gone) {
        pod_forget(p);
        return;
    }
    p->refs++;
    closer_hold(&a->closer);
    struct store_delete_options now = {.uid = p->object->uid, .grace_s = 0};
    if (store_delete(a->store, "pods", p->ns, p->name, &now, STORE_MACHINE, pod_removed, p, &err) <
        0) {
        pod_removed(err.code, NULL, &err, p);
    }
}

void pod_replica_gone(struct pod *p)
{
    struct error err;

    if (!p->state.ended) {
        sweep_groups(&p->state);
        p->unclean = true;
    }
    p->restarts_before = p->state.restarts + 1; // the next one counts from 0
    p->state = (struct replica_state){.restarts = p->restarts_before};
    if (p->phase == POD_STOPPING) {
        pod_remove(p);
        return;
    }
    error_set(&err, ERR_CLOSED, "the replica's processes ended unexpectedly");
    launch_failed(p, "RunContainerError", &err);
}

void pod_tick(struct pod *p, uint64_t now_ms)
{
    if (now_ms < p->retry_ms) {
        return;
    }
    if (p->phase == POD_FAILED) {
        pod_launch(p);
    } else if (p->phase == POD_STOPPING && !p->link) {
        pod_remove(p);
    }
}

// ---- events

static struct deployment *owner_of(struct agent *a, const json_t *root)
{
    size_t i;
    json_t *ref;
    json_array_foreach(jpeek_arr(root, "metadata.ownerReferences"), i, ref)
    {
        if (slice_eq_str(jpeek_str(ref, "kind"), "Deployment")) {
            return map_get(&a->deployments, jpeek_str(ref, "uid"));
        }
    }
    return NULL;
}

// The id names files that are removed with the Pod, so it must be one that we made, and no other
// Pod's. Otherwise it stays empty and the Pod does not run.
static void id_take(struct pod *p, struct slice id)
{
    char text[AGENT_ID_LEN + 1];

    if (id.len != AGENT_ID_LEN || !slice_copy(id, text, sizeof text) ||
        strspn(text, "0123456789abcdef") != AGENT_ID_LEN) {
        return;
    }
    map_foreach (it, &p->agent->pods) {
        if (strcmp(((struct pod *)it.value)->id, text) == 0) {
            return;
        }
    }
    memcpy(p->id, text, sizeof text);
}

// Its object was deleted and another one has its name, while its replica still ends.
static void pod_set_aside(struct pod *p)
{
    struct agent *a = p->agent;

    map_remove(&a->pods, slice_str(p->key));
    char *key = xasprintf("%s@%s", p->key, p->object->uid); // no Pod's name has an '@'
    free(p->key);
    p->key = key;
    map_set(&a->pods, slice_str(p->key), p);
}

// A Pod that we did not just create: one from before a restart.
static struct pod *pod_known(struct agent *a, struct object *object)
{
    char key[512];
    json_t *root = object_tree(object);

    snprintf(key, sizeof key, "%s/%s", object->ns, object->name);
    struct pod *p = map_get(&a->pods, slice_str(key));
    if (p && p->object && strcmp(p->object->uid, object->uid) != 0) {
        pod_set_aside(p);
        p = NULL;
    }
    if (!p) {
        p = pod_new(a, object->ns, object->name, owner_of(a, root));
        id_take(p, jpeek_str(root, "metadata.annotations.`" POD_REPLICA_ID "`"));
    }
    if (!p->object) {
        p->memory_bytes = pod_memory_request(root);
        p->references = reference_list(root);
    }
    json_decref(root);
    return p;
}

static void object_take(struct pod *p, struct object *object)
{
    struct object *old = p->object;
    p->object = object_ref(object);
    object_unref(old);
}

// Its first event: it is in the store.
static void pod_begin(struct pod *p)
{
    if (p->owner) {
        deployment_sync(p->owner); // it may be one too many by now
    }
    if (p->deleting) {
        return;
    }
    if (p->id[0]) {
        pod_place(p);
    } else {
        pod_trouble_set(p, "CreateContainerConfigError",
                        "on one machine Pods are made by Deployments: this one has no "
                        "annotation " POD_REPLICA_ID " of its own",
                        false);
    }
}

void pod_restore(struct agent *a, struct object *object)
{
    struct pod *p = pod_known(a, object);
    int fd = p->id[0] ? launch_connect(a->home, p->id) : -1;

    object_take(p, object);
    p->deleting = object->deleting;
    if (fd >= 0) {
        (void)!pod_adopt(p, fd);
    }
}

// Its address leads into another folder: the state directory was copied or moved.
static bool elsewhere(const struct pod *p)
{
    json_t *root = object_tree(p->object);
    bool here = p->id[0] == '\0' || pod_addressed(root, p->agent->run_dir, p->id);
    json_decref(root);
    return !here;
}

void pod_restart(struct agent *a, const struct object *object)
{
    CLEANUP(cleanup_free) char *key = xasprintf("%s/%s", object->ns, object->name);
    struct pod *p = map_get(&a->pods, slice_str(key));

    if (!p || p->phase >= POD_STOPPING) {
        return;
    }
    if (!p->deleting && elsewhere(p)) {
        LOG_INFO("this Pod is of another state directory: one of this takes its place",
                 LOG_STR("pod", p->key));
        pod_stop(p);
    } else if (p->deleting) {
        pod_stop(p);
    } else if (p->phase == POD_CREATING) {
        pod_begin(p);
    }
}

void pod_event(struct agent *a, const struct store_event *event)
{
    struct pod *p = pod_known(a, event->object);

    object_take(p, event->object);
    if (event->type == STORE_DELETED) {
        p->gone = true;
        p->refs++;
        pod_stop(p);
        if (p->phase != POD_LAUNCHING && !p->link) {
            pod_forget(p); // otherwise when its replica is gone
        }
        pod_unref(p);
    } else if (event->object->deleting) {
        p->deleting = true;
        pod_stop(p);
    } else if (p->phase == POD_CREATING && !p->deleting) {
        pod_begin(p);
    }
}
