// SPDX-License-Identifier: Apache-2.0
//
// Start: check the paths, list Deployments and Pods, adopt what runs, end what has no Pod, watch.
// Then everything is an event; one tick retries what failed. A watch that fell behind (GONE) starts
// the listing again. Close leaves the replicas running.
#include "local/agent/agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "local/agent/node.h"

#define TICK_MS          250
#define PUBLISH_DELAY_MS 20
#define LOG_MAX_DEFAULT  (8u << 20)

static void watches_start(struct agent *a);

void agent_tick_soon(struct agent *a)
{
    if (!a->closer.closing && !timer_active(&a->tick)) {
        timer_start(&a->tick, TICK_MS);
    }
}

// A retry may create or forget Pods, so the map is not walked meanwhile.
static bool pods_tick(struct agent *a)
{
    uint64_t now = loop_now_ms(a->loop);
    size_t count = 0;
    bool again = false;
    struct pod **due = xcalloc(map_len(&a->pods) + 1, sizeof *due);

    map_foreach (it, &a->pods) {
        struct pod *p = it.value;
        if (p->phase == POD_FAILED || (p->phase == POD_STOPPING && !p->link)) {
            due[count++] = p;
            p->refs++;
        }
    }
    for (size_t i = 0; i < count; i++) {
        pod_tick(due[i], now);
        again |= due[i]->phase == POD_FAILED || due[i]->phase == POD_STOPPING;
        pod_unref(due[i]);
    }
    free(due);
    return again;
}

static void on_tick(struct timer *timer)
{
    struct agent *a = timer->data;
    bool again = pods_tick(a);

    map_foreach (it, &a->deployments) {
        struct deployment *d = it.value;
        if (d->retry) {
            d->retry = false;
            deployment_sync(d);
        }
    }
    if (!a->deployment_watch || !a->pod_watch || !a->config_watches[0] || !a->config_watches[1]) {
        watches_start(a);
    }
    if (!list_empty(&a->dirty) || !list_empty(&a->dirty_deployments)) {
        agent_publish_soon(a); // what could not be written before
    }
    if (again) {
        agent_tick_soon(a);
    }
}

void agent_publish_soon(struct agent *a)
{
    if (!a->closer.closing && !timer_active(&a->publish)) {
        timer_start(&a->publish, PUBLISH_DELAY_MS);
    }
}

static void on_publish(struct timer *timer)
{
    struct agent *a = timer->data;

    struct list pods, deployments, *node;

    // What cannot be written goes back to the agent's lists.
    list_init(&pods);
    list_init(&deployments);
    list_splice_back(&pods, &a->dirty);
    list_splice_back(&deployments, &a->dirty_deployments);
    while ((node = list_first(&pods)) != NULL) {
        pod_write_status(LIST_ENTRY(node, struct pod, dirty_link)); // takes it off the list
    }
    while ((node = list_first(&deployments)) != NULL) {
        deployment_write_status(LIST_ENTRY(node, struct deployment, dirty_link)); // as well
    }
}

// ---- children

static void on_child(uv_signal_t *handle, int number)
{
    (void)handle;
    (void)number;
    // Replicas are this process' only children; that they ended is seen on the control connection.
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

// ---- watches

static bool on_deployment(const struct store_event *event, void *arg)
{
    struct agent *a = arg;

    if (event->type == STORE_GONE) {
        store_watch_close(a->deployment_watch);
        a->deployment_watch = NULL;
        agent_tick_soon(a);
    } else {
        deployment_event(a, event);
    }
    return true;
}

static bool on_pod(const struct store_event *event, void *arg)
{
    struct agent *a = arg;

    if (event->type == STORE_GONE) {
        store_watch_close(a->pod_watch);
        a->pod_watch = NULL;
        agent_tick_soon(a);
    } else {
        pod_event(a, event);
    }
    return true;
}

static const struct store_selector DEPLOYMENTS = {.resource = "deployments.apps"};
static const struct store_selector PODS = {.resource = "pods"};

struct object_list {
    struct object **objects; // a reference each
    size_t len;
};

static void objects_add(struct object_list *list, struct object *o)
{
    list->objects = xreallocarray(list->objects, list->len + 1, sizeof *list->objects);
    list->objects[list->len++] = object_ref(o);
}

static bool on_listed(struct object *o, void *arg)
{
    objects_add(arg, o);
    return true;
}

// Whether this very object is not in the store any more.
static bool vanished(const struct agent *a, const struct object *o)
{
    const struct object *now = o ? store_get(a->store, o->resource, o->ns, o->name) : NULL;
    return o && (!now || strcmp(now->uid, o->uid) != 0);
}

static void events_give(struct agent *a, struct object_list *list, enum store_event_type type,
                        void (*give)(struct agent *a, const struct store_event *event))
{
    for (size_t i = 0; i < list->len; i++) {
        give(a, &(struct store_event){.type = type, .object = list->objects[i]});
        object_unref(list->objects[i]);
    }
    free(list->objects);
    *list = (struct object_list){0};
}

// Gives the difference between what we know and what the store has as events.
static int deployments_list(struct agent *a, struct error *err)
{
    struct object_list gone = {0}, there = {0};

    map_foreach (it, &a->deployments) {
        struct deployment *d = it.value;
        if (!d->gone && vanished(a, d->object)) {
            objects_add(&gone, d->object);
        }
    }
    events_give(a, &gone, STORE_DELETED, deployment_event);
    int rc = store_list(a->store, &DEPLOYMENTS, on_listed, &there, err);
    events_give(a, &there, STORE_ADDED, deployment_event);
    return rc;
}

static int pods_list(struct agent *a, struct error *err)
{
    struct object_list gone = {0}, there = {0};

    map_foreach (it, &a->pods) {
        struct pod *p = it.value;
        if (!p->gone && vanished(a, p->object)) {
            objects_add(&gone, p->object);
        }
    }
    events_give(a, &gone, STORE_DELETED, pod_event);
    int rc = store_list(a->store, &PODS, on_listed, &there, err);
    events_give(a, &there, STORE_ADDED, pod_event);
    return rc;
}

// A watch starts at the version of the list, in the same turn: nothing is missed.
static void watches_start(struct agent *a)
{
    struct error err;
    int rc = 0;

    if (!a->deployment_watch) {
        rc = deployments_list(a, &err);
        rc = rc ? rc
                : store_watch_start(a->store, &DEPLOYMENTS, store_version(a->store), on_deployment,
                                    a, &a->deployment_watch, &err);
    }
    if (rc == 0 && !a->pod_watch) {
        rc = pods_list(a, &err);
        rc = rc ? rc
                : store_watch_start(a->store, &PODS, store_version(a->store), on_pod, a,
                                    &a->pod_watch, &err);
    }
    rc = rc ? rc : follow_start(a, &err);
    if (rc < 0) {
        LOG_ERROR("cannot follow the store", LOG_ERR(&err));
        agent_tick_soon(a);
    }
}

// ---- start

static bool on_known_deployment(struct object *o, void *arg)
{
    struct agent *a = arg;
    struct deployment *d = NEW(struct deployment);

    d->agent = a;
    d->uid = xstrdup(o->uid);
    deployment_take(d, o);
    list_init(&d->pods);
    list_init(&d->dirty_link);
    map_set(&a->deployments, slice_str(d->uid), d);
    return true;
}

static bool id_known(struct agent *a, struct slice id)
{
    map_foreach (it, &a->pods) {
        if (slice_eq_str(id, ((struct pod *)it.value)->id)) {
            return true;
        }
    }
    return false;
}

// Sockets of replicas without a Pod.
static void stray_sockets_remove(struct agent *a)
{
    DIR *dir = opendir(a->run_dir);
    struct dirent *entry;

    while (dir && (entry = readdir(dir)) != NULL) {
        struct slice id = slice_of(entry->d_name, strcspn(entry->d_name, "."));
        if (id.len == AGENT_ID_LEN && !id_known(a, id)) {
            (void)!unlinkat(dirfd(dir), entry->d_name, 0);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

// Replicas without a Pod: ended and removed. Blocking, at start only.
static void strays_end(struct agent *a)
{
    CLEANUP(cleanup_free) char *folder = xasprintf("%s/replicas", a->home);
    DIR *dir = opendir(folder);
    struct dirent *entry;

    while (dir && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.' || id_known(a, slice_str(entry->d_name))) {
            continue;
        }
        int fd =
            strlen(entry->d_name) == AGENT_ID_LEN ? launch_connect(a->home, entry->d_name) : -1;
        if (fd >= 0) {
            LOG_WARN("ending a replica that has no Pod", LOG_STR("id", entry->d_name));
            (void)!write(fd, "kill\n", 5);
            close(fd);
        }
        CLEANUP(cleanup_free) char *path = fs_join(folder, entry->d_name);
        (void)!fs_remove_tree(path, NULL);
    }
    if (dir) {
        closedir(dir);
    }
}

static int restore(struct agent *a, struct error *err)
{
    struct object_list pods = {0};

    // Deployments first, without a sync: their Pods must be counted before one is created.
    int rc = store_list(a->store, &DEPLOYMENTS, on_known_deployment, a, err);
    rc = rc ? rc : store_list(a->store, &PODS, on_listed, &pods, err);
    for (size_t i = 0; i < pods.len; i++) {
        if (rc == 0) {
            pod_restore(a, pods.objects[i]);
        }
    }
    for (size_t i = 0; i < pods.len; i++) {
        if (rc == 0) {
            pod_restart(a, pods.objects[i]);
        }
        object_unref(pods.objects[i]);
    }
    free(pods.objects);
    if (rc == 0) {
        strays_end(a);
        stray_sockets_remove(a);
        watches_start(a);
    }
    return rc;
}

// As root the functions run as other users, who must be able to reach their bundle.
static int reach_check(const char *home, struct error *err)
{
    CLEANUP(cleanup_free) char *path = xstrdup(home);
    struct stat st;

    for (char *slash = path + strlen(path); geteuid() == 0 && slash; slash = strrchr(path, '/')) {
        *slash = '\0';
        if (path[0] && stat(path, &st) == 0 && !(st.st_mode & S_IXOTH)) {
            return error_set(err, ERR_DENIED,
                             "the unprivileged users that functions run as cannot enter %s: `chmod "
                             "o+x` it, or set LULL_HOME to a folder elsewhere",
                             path);
        }
    }
    return 0;
}

static int paths_check(struct agent *a, struct error *err)
{
    size_t longest = sizeof((struct sockaddr_un *)0)->sun_path - 1;
    size_t added = strlen("/run/r/.c") + AGENT_ID_LEN;
    CLEANUP(cleanup_free) char *replicas = xasprintf("%s/replicas", a->home);

    if (strlen(a->home) + added > longest) {
        return error_set(err, ERR_TOO_BIG,
                         "state directory %.120s: its path may have at most %zu characters (unix "
                         "sockets stand below it); set LULL_HOME to a shorter one",
                         a->home, longest - added);
    }
    int rc = fs_mkdir_p(replicas, 0711, err);
    rc = rc ? rc : fs_mkdir_p(a->run_dir, 0700, err);
    return rc ? rc : reach_check(a->home, err);
}

static void agent_free(struct agent *a)
{
    map_foreach (it, &a->pods) {
        struct pod *p = it.value;
        list_remove(&p->owner_link);
        list_remove(&p->wait_link);
        list_remove(&p->dirty_link);
        pod_unref(p);
    }
    map_foreach (it, &a->deployments) {
        struct deployment *d = it.value;
        object_unref(d->object);
        free(d->uid);
        free(d);
    }
    map_fini(&a->pods);
    map_fini(&a->deployments);
    free(a->home);
    free(a->libexec);
    free(a->run_dir);
    cleanup_close(&a->options.lifeline_fd);
    free(a);
}

static void on_closed(void *data)
{
    struct agent *a = data;
    agent_close_cb cb = a->close_cb;
    void *arg = a->close_arg;

    agent_free(a);
    if (cb) {
        cb(arg);
    }
}

static void on_timer_closed(struct timer *timer)
{
    struct agent *a = timer->data;
    closer_drop(&a->closer);
}

static void on_signal_closed(uv_handle_t *handle)
{
    struct agent *a = handle->data;
    closer_drop(&a->closer);
}

void agent_close(struct agent *a, agent_close_cb cb, void *arg)
{
    a->close_cb = cb;
    a->close_arg = arg;
    if (!closer_close(&a->closer, a->loop, on_closed, a)) {
        return;
    }
    store_watch_close(a->deployment_watch);
    store_watch_close(a->pod_watch);
    follow_stop(a);
    struct list *node;
    while ((node = list_first(&a->links)) != NULL) {
        replica_link_close(replica_link_of(node));
    }
    timer_close(&a->tick, on_timer_closed);
    timer_close(&a->publish, on_timer_closed);
    timer_close(&a->refill, on_timer_closed);
    usage_close(a);
    timer_close(&a->usage.timer, on_timer_closed);
    uv_close((uv_handle_t *)&a->child_signal, on_signal_closed);
}

static struct agent *agent_new(const struct agent_options *o)
{
    struct agent *a = NEW(struct agent);

    a->options = *o;
    a->options.log_max_bytes = o->log_max_bytes ? o->log_max_bytes : LOG_MAX_DEFAULT;
    if (o->max_replicas == 0 || o->max_replicas > AGENT_SLOTS) {
        a->options.max_replicas = AGENT_SLOTS;
    }
    a->store = o->store;
    a->loop = o->loop;
    a->home = xstrdup(o->home);
    a->libexec = xstrdup(o->libexec);
    a->run_dir = xasprintf("%s/run/r", o->home);
    map_init(&a->deployments, MAP_COPY_KEYS);
    map_init(&a->pods, MAP_COPY_KEYS);
    list_init(&a->waiting);
    list_init(&a->dirty);
    list_init(&a->dirty_deployments);
    list_init(&a->links);
    closer_init(&a->closer);
    podlog_init(a);
    usage_init(a);
    a->slot_cursor = (unsigned)(random_u64() % AGENT_SLOTS); // several Lulls may share a machine
    // Clear of the low numbers that a replica's descriptors get.
    a->options.lifeline_fd = o->lifeline_fd >= 0 ? fcntl(o->lifeline_fd, F_DUPFD_CLOEXEC, 16) : -1;
    return a;
}

int agent_start(struct agent **out, const struct agent_options *options, struct error *err)
{
    struct agent *a = agent_new(options);

    int rc = paths_check(a, err);
    if (rc < 0) {
        agent_free(a);
        return rc;
    }
    timer_init(&a->tick, a->loop, on_tick, a);
    timer_init(&a->publish, a->loop, on_publish, a);
    timer_init(&a->refill, a->loop, spare_on_timer, a);
    timer_init(&a->usage.timer, a->loop, usage_on_timer, a);
    rc = uv_signal_init(&a->loop->uv, &a->child_signal);
    REQUIRE(rc == 0);
    a->child_signal.data = a;
    for (int handles = 0; handles < 5; handles++) {
        closer_hold(&a->closer);
    }
    (void)uv_signal_start(&a->child_signal, on_child, SIGCHLD);
    rc = restore(a, err);
    if (rc < 0) {
        agent_close(a, NULL, NULL);
        return rc;
    }
    spare_refill_soon(a);
    *out = a;
    return 0;
}

const struct logs_provider *agent_logs(struct agent *a)
{
    return &a->logs;
}
