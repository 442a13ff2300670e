// SPDX-License-Identifier: Apache-2.0
//
// ConfigMaps and Secrets, followed for the Pods that name them. A change makes the volumes of
// running Pods new (on a pool thread, one at a time per Pod), and starts a Pod at once that could
// not start without the object. Failure modes:
//   object or key is gone, volume cannot be written -> the files stay as they were
//   the watch fell behind                           -> it starts again, and all Pods are looked at
#include <stdlib.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/mem.h"
#include "json/jget.h"
#include "local/agent/node.h"
#include "local/agent/volume_write.h"

static const char *const RESOURCES[] = {
    [REFERENCE_CONFIG_MAP] = "configmaps",
    [REFERENCE_SECRET] = "secrets",
};

static json_t *source_get(enum reference_kind kind, const char *name, void *arg)
{
    const struct pod *p = arg;
    const struct object *o = store_get(p->agent->store, RESOURCES[kind], p->ns, name);
    return o ? object_tree(o) : NULL;
}

struct reference_source follow_source(struct pod *p)
{
    return (struct reference_source){source_get, p};
}

// ---- the volumes of a running Pod

struct refresh {
    struct work work;
    struct pod *pod;
    struct volume_set set;
    char *home;
    int rc;
    struct error err;
};

static void refresh_run(struct work *work)
{
    struct refresh *r = work->data;
    CLEANUP(cleanup_free) char *own = xasprintf("%s/replicas/%s/tmp", r->home, r->pod->id);
    CLEANUP(cleanup_free)
    char *folder = xasprintf("%s/replicas/%s/" VOLUMES_FOLDER, r->home, r->pod->id);
    struct stat st;

    // Its user, also when the replica was adopted. No folder: it is being removed.
    r->rc = stat(own, &st) == 0 ? volumes_write(folder, &r->set, st.st_uid, &r->err) : 0;
}

static void refresh_done(struct work *work, int status)
{
    struct refresh *r = work->data;
    struct pod *p = r->pod;
    struct agent *a = p->agent;

    if (status == 0 && r->rc < 0) {
        LOG_WARN("cannot write a Pod's volumes", LOG_STR("pod", p->key), LOG_ERR(&r->err));
    }
    p->refresh_busy = false;
    if (p->refresh_due) {
        follow_refresh(p);
    }
    volumes_fini(&r->set);
    free(r->home);
    free(r);
    pod_unref(p);
    closer_drop(&a->closer);
}

static const json_t *function_of(const json_t *pod)
{
    size_t i;
    json_t *c;
    json_array_foreach(jpeek_arr(pod, "spec.containers"), i, c)
    {
        if (!slice_eq_str(jpeek_str(c, "name"), POD_PROXY_NAME)) {
            return c;
        }
    }
    return NULL;
}

void follow_refresh(struct pod *p)
{
    struct agent *a = p->agent;

    p->refresh_due = p->refresh_busy || p->phase == POD_LAUNCHING;
    if (p->refresh_due || p->phase != POD_UP || !p->object || a->closer.closing) {
        return;
    }
    struct refresh *r = NEW(struct refresh);
    struct reference_source source = follow_source(p);
    json_t *root = object_tree(p->object);
    int rc = volumes_read(&r->set, &source, root, function_of(root), &r->err);
    json_decref(root);
    if (rc < 0 || r->set.mounts_count == 0) {
        if (rc < 0) {
            LOG_WARN("a Pod's volumes stay as they were", LOG_STR("pod", p->key), LOG_ERR(&r->err));
        }
        volumes_fini(&r->set);
        free(r);
        return;
    }
    r->pod = p;
    r->home = xstrdup(a->home);
    p->refresh_busy = true;
    p->refs++;
    closer_hold(&a->closer);
    if (work_start(&r->work, a->loop, refresh_run, refresh_done, r, &r->err) < 0) {
        r->work.data = r;
        refresh_done(&r->work, ERR_CANCELED);
    }
}

// ---- events

static bool concerns(const struct pod *p, enum reference_kind kind, const struct object *o)
{
    return p->references &&
           (!o || (strcmp(p->ns, o->ns) == 0 && reference_has(p->references, kind, o->name)));
}

// A launch may change the map of Pods, so it is not walked meanwhile. NULL: every object.
static void changed(struct agent *a, enum reference_kind kind, const struct object *o)
{
    struct pod **pods = NULL;
    size_t count = 0;

    map_foreach (it, &a->pods) {
        struct pod *p = it.value;
        if (concerns(p, kind, o)) {
            pods = xreallocarray(pods, count + 1, sizeof *pods);
            pods[count++] = p;
            p->refs++;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (pods[i]->phase == POD_FAILED) {
            pods[i]->retry_ms = 0;
            pod_tick(pods[i], loop_now_ms(a->loop));
        } else {
            follow_refresh(pods[i]);
        }
        pod_unref(pods[i]);
    }
    free(pods);
}

static bool on_event(struct agent *a, enum reference_kind kind, const struct store_event *event)
{
    if (event->type == STORE_GONE) {
        store_watch_close(a->config_watches[kind]);
        a->config_watches[kind] = NULL;
        agent_tick_soon(a);
    } else if (event->type != STORE_DELETED) {
        changed(a, kind, event->object);
    }
    return true;
}

static bool on_config_map(const struct store_event *event, void *arg)
{
    return on_event(arg, REFERENCE_CONFIG_MAP, event);
}

static bool on_secret(const struct store_event *event, void *arg)
{
    return on_event(arg, REFERENCE_SECRET, event);
}

int follow_start(struct agent *a, struct error *err)
{
    static const store_watch_cb CALLBACKS[] = {
        [REFERENCE_CONFIG_MAP] = on_config_map,
        [REFERENCE_SECRET] = on_secret,
    };
    for (enum reference_kind kind = 0; kind < ARRAY_LEN(CALLBACKS); kind++) {
        struct store_selector all = {.resource = RESOURCES[kind]};
        if (a->config_watches[kind] || !store_kind_find(a->store, all.resource)) {
            continue;
        }
        int rc = store_watch_start(a->store, &all, store_version(a->store), CALLBACKS[kind], a,
                                   &a->config_watches[kind], err);
        if (rc < 0) {
            return rc;
        }
        changed(a, kind, NULL); // what happened while nobody watched
    }
    return 0;
}

void follow_stop(struct agent *a)
{
    for (size_t kind = 0; kind < ARRAY_LEN(RESOURCES); kind++) {
        store_watch_close(a->config_watches[kind]);
        a->config_watches[kind] = NULL;
    }
}
