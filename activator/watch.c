// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: each cache projects its objects into a small struct (activator/objects); each event is one
 * call into the route table or the throttler, then a pump. What the tables have copied is dropped
 * from the cache's struct at once, so nothing is kept twice.
 *
 * A Pod that is not Ready yet but has an address is probed by ourselves where the platform reports
 * late (activator/prober); its answer counts like the Pod's own Ready until the Pod says more.
 */
#include "activator/watch.h"

#include "base/log.h"
#include "base/mem.h"
#include "serving/kinds.h"
#include "serving/names.h"
#include "activator/objects.h"
#include "activator/upstream.h"

#define CACHES 5

static void pump(struct watch *w)
{
    handler_pump(w->handler);
}

/* --- Routes --------------------------------------------------------------------------------- */

static int route_project(void *arg, const json_t *object, void *value, struct error *err)
{
    return object_route(object, value);
}

static void route_release(void *arg, void *value)
{
    route_object_fini(value);
}

static void on_route(void *arg, const struct kube_entry *entry)
{
    struct watch *w = arg;
    struct route_object *o = entry->value;
    route_table_put(&w->handler->routes, o->spec);
    route_object_fini(o);
}

static void on_route_update(void *arg, const struct kube_entry *entry, const void *old)
{
    on_route(arg, entry);
}

static void on_route_delete(void *arg, const struct kube_entry *entry)
{
    struct watch *w = arg;
    route_table_remove(&w->handler->routes, slice_str(entry->ns), slice_str(entry->name));
}

/* --- Revisions ------------------------------------------------------------------------------ */

static int revision_project(void *arg, const json_t *object, void *value, struct error *err)
{
    return object_revision(object, value);
}

static void revision_release(void *arg, void *value)
{
    revision_object_fini(value);
}

static struct revision *revision_of(struct watch *w, const char *ns, const char *name, bool create)
{
    return throttler_revision(&w->handler->throttler, slice_str(ns), slice_str(name), create);
}

static void on_revision(void *arg, const struct kube_entry *entry)
{
    struct watch *w = arg;
    struct revision_object *o = entry->value;
    struct revision_facts facts = {
        .concurrency = o->concurrency,
        .timeout_ms = (uint64_t)o->timeout_s * 1000,
        .reason = slice_str(o->reason),
        .message = slice_str(o->message),
    };
    struct revision *r = revision_of(w, entry->ns, entry->name, true);
    revision_learn(&w->handler->throttler, r, &facts, loop_now_ns(w->handler->loop));
    handler_learned(w->handler, r);
    revision_object_fini(o);
    pump(w);
}

static void on_revision_update(void *arg, const struct kube_entry *entry, const void *old)
{
    on_revision(arg, entry);
}

static void on_revision_delete(void *arg, const struct kube_entry *entry)
{
    struct watch *w = arg;
    struct revision *r = revision_of(w, entry->ns, entry->name, false);
    if (r != NULL) {
        revision_forget(&w->handler->throttler, r);
        pump(w);
    }
}

/* --- Pods ----------------------------------------------------------------------------------- */

static int pod_project(void *arg, const json_t *object, void *value, struct error *err)
{
    const struct watch *w = arg;
    return object_pod(object, (enum pod_address)w->config->pod_address, value);
}

static void pod_release(void *arg, void *value)
{
    pod_object_fini(value);
}

/* Where it is by its own word, as long as that counts; NULL: nowhere. */
static const char *announced_at(const struct watch *w, const char *uid)
{
    return w->handler->announce == NULL ? NULL : announce_address(w->handler->announce, uid);
}

static void put_pod(struct watch *w, const struct kube_entry *entry, bool ready)
{
    const struct pod_object *o = entry->value;
    const char *announced = announced_at(w, entry->uid);
    struct replica_facts facts = {
        .uid = slice_str(entry->uid),
        .name = slice_str(entry->name),
        .address = slice_str(o->address != NULL ? o->address : announced),
        .h2c = o->h2c,
        .started = o->running || ready,
        .ready = ready,
        .terminating = o->terminating || o->finished,
    };
    struct replica *p =
        revision_put_replica(&w->handler->throttler, revision_of(w, entry->ns, o->revision, true),
                             &facts, loop_now_ns(w->handler->loop));
    if (facts.terminating) {
        upstream_flush(p); /* its queue-proxy waits for that before it ends */
    }
    pump(w);
}

static void drop_pod(struct watch *w, const char *ns, const char *uid, const struct pod_object *o)
{
    struct throttler *t = &w->handler->throttler;
    struct revision *r = revision_of(w, ns, o->revision, false);
    if (r == NULL) {
        return;
    }
    if (o->blocked != NULL) {
        revision_pod_blocked(r, false, SLICE_EMPTY, loop_now_ns(w->handler->loop));
    }
    revision_remove_replica(t, r, slice_str(uid));
}

static void look_at_pod(const struct kube_entry *entry, struct announced_pod *out)
{
    const struct pod_object *o = entry->value;
    *out = (struct announced_pod){.uid = slice_str(entry->uid),
                                  .revision = slice_str(o->revision),
                                  .address = slice_str(o->address),
                                  .port = o->port,
                                  .ready = o->ready,
                                  .going = o->terminating || o->finished,
                                  .ours = o->ours};
}

/* Whether its own word counts, after what the API has said now. */
static bool is_announced(struct watch *w, const struct kube_entry *entry)
{
    struct announced_pod pod;
    if (w->handler->announce == NULL) {
        return false;
    }
    look_at_pod(entry, &pod);
    announce_pod(w->handler->announce, entry->uid, &pod);
    return announced_at(w, entry->uid) != NULL;
}

/* A Pod that answered a probe of ours keeps counting as ready until it was Ready once by itself. */
static void pod_changed(struct watch *w, const struct kube_entry *entry,
                        const struct pod_object *old)
{
    const struct pod_object *o = entry->value;
    uint64_t now = loop_now_ns(w->handler->loop);
    struct revision *r = revision_of(w, entry->ns, o->revision, true);
    bool was_blocked = old != NULL && old->blocked != NULL;
    if ((o->blocked != NULL) != was_blocked) {
        revision_pod_blocked(r, o->blocked != NULL, slice_str(o->blocked), now);
    }
    bool fell = old != NULL && old->ready && !o->ready;
    bool announced = is_announced(w, entry);
    bool wanted = !o->ready && o->ours && o->running && !announced && o->address != NULL &&
                  !o->terminating && !o->finished;
    bool ready = o->ready || announced;
    if (fell || !wanted) {
        prober_forget(&w->prober, entry->uid);
    }
    if (wanted) {
        struct prober_target target = {
            .ns = entry->ns, .pod = entry->name, .uid = entry->uid, .address = o->address};
        ready = prober_want(&w->prober, &target);
    }
    put_pod(w, entry, ready);
}

static void on_pod(void *arg, const struct kube_entry *entry)
{
    pod_changed(arg, entry, NULL);
}

static void on_pod_update(void *arg, const struct kube_entry *entry, const void *old)
{
    struct watch *w = arg;
    const struct pod_object *before = old;
    const struct pod_object *o = entry->value;
    if (!slice_eq_str(slice_str(before->revision), o->revision)) {
        drop_pod(w, entry->ns, entry->uid, before); /* relabelled: that is a new replica */
        before = NULL;
    }
    pod_changed(w, entry, before);
}

static void on_pod_delete(void *arg, const struct kube_entry *entry)
{
    struct watch *w = arg;
    prober_forget(&w->prober, entry->uid);
    if (w->handler->announce != NULL) {
        announce_pod(w->handler->announce, entry->uid, NULL);
    }
    drop_pod(w, entry->ns, entry->uid, entry->value);
}

/* The queue-proxy of a Pod that is not Ready in the API answered our probe. */
static void on_probed(void *arg, const char *ns, const char *pod)
{
    struct watch *w = arg;
    const struct kube_entry *entry = kube_cache_get(w->pods, ns, pod);
    if (entry != NULL) {
        LOG_DEBUG("a replica answers before its Pod is Ready", LOG_STR("pod", pod));
        put_pod(w, entry, true);
    }
}

/* --- announcements -------------------------------------------------------------------------- */

static const char *revision_uid(void *arg, const char *ns, const char *revision)
{
    const struct watch *w = arg;
    const struct kube_entry *entry =
        w->revisions == NULL ? NULL : kube_cache_get(w->revisions, ns, revision);
    return entry == NULL ? NULL : entry->uid;
}

static bool pod_of(void *arg, const char *ns, const char *pod, struct announced_pod *out)
{
    const struct watch *w = arg;
    const struct kube_entry *entry = w->pods == NULL ? NULL : kube_cache_get(w->pods, ns, pod);
    if (entry != NULL) {
        look_at_pod(entry, out);
    }
    return entry != NULL;
}

static void on_announced_start(void *arg, const char *ns, const char *revision)
{
    struct watch *w = arg;
    struct revision *r = revision_of(w, ns, revision, false);
    if (r != NULL) {
        revision_started(r, loop_now_ns(w->handler->loop));
    }
}

/* It counts from now on, or does not any more. */
static void on_announced(void *arg, const char *ns, const char *pod)
{
    struct watch *w = arg;
    const struct kube_entry *entry = kube_cache_get(w->pods, ns, pod);
    if (entry != NULL) {
        pod_changed(w, entry, entry->value);
    }
}

void watch_announce_hooks(struct watch *w, struct announce_hooks *out)
{
    *out = (struct announce_hooks){.revision_uid = revision_uid,
                                   .pod = pod_of,
                                   .started = on_announced_start,
                                   .changed = on_announced,
                                   .arg = w};
}

/* --- DomainMappings ------------------------------------------------------------------------- */

static int domain_project(void *arg, const json_t *object, void *value, struct error *err)
{
    return object_domain(object, value);
}

static void domain_release(void *arg, void *value)
{
    domain_object_fini(value);
}

static void on_domain(void *arg, const struct kube_entry *entry)
{
    struct watch *w = arg;
    struct domain_object *o = entry->value;
    struct slice host = slice_str(entry->name);
    if (o->keep) {
        return;
    }
    if (o->route == NULL) {
        route_table_unmap_domain(&w->handler->routes, host, slice_str(entry->ns));
    } else {
        route_table_map_domain(&w->handler->routes, host, slice_str(entry->ns), slice_str(o->route),
                               o->http_protocol);
    }
    domain_object_fini(o);
}

static void on_domain_update(void *arg, const struct kube_entry *entry, const void *old)
{
    on_domain(arg, entry);
}

static void on_domain_delete(void *arg, const struct kube_entry *entry)
{
    struct watch *w = arg;
    route_table_unmap_domain(&w->handler->routes, slice_str(entry->name), slice_str(entry->ns));
}

/* --- config-features ------------------------------------------------------------------------ */

static int features_project(void *arg, const json_t *object, void *value, struct error *err)
{
    return object_features(object, value);
}

static void on_features(void *arg, const struct kube_entry *entry)
{
    struct watch *w = arg;
    const struct features_object *o = entry->value;
    if (slice_eq_str(slice_str(entry->name), CONFIG_FEATURES)) {
        w->handler->routes.tag_header = o->tag_header;
    }
}

static void on_features_update(void *arg, const struct kube_entry *entry, const void *old)
{
    on_features(arg, entry);
}

static void on_features_delete(void *arg, const struct kube_entry *entry)
{
    struct watch *w = arg;
    w->handler->routes.tag_header = false;
}

/* --- life ----------------------------------------------------------------------------------- */

static void on_synced(void *arg)
{
    struct watch *w = arg;
    if (++w->lists_in < CACHES) {
        return;
    }
    LOG_INFO("the functions are known", LOG_UINT("routes", route_table_len(&w->handler->routes)),
             LOG_UINT("revisions", kube_cache_len(w->revisions)),
             LOG_UINT("pods", kube_cache_len(w->pods)));
    w->handler->synced = true;
    if (w->synced != NULL) {
        w->synced(w->arg);
    }
}

static int start_cache(struct watch *w, struct kube_client *client,
                       const struct kube_cache_options *options, struct kube_cache **out,
                       struct error *err)
{
    int rc = kube_cache_start(client, options, out, err);
    if (rc == 0) {
        closer_hold(&w->closer);
    }
    return rc;
}

/* What activator/objects.c does not look at. */
static const char *const route_without[] = {"metadata.managedFields", "metadata.ownerReferences",
                                            "spec", "status.conditions", NULL};
static const char *const revision_without[] = {
    "metadata.managedFields",   "metadata.annotations",
    "metadata.labels",          "metadata.ownerReferences",
    "spec.containers",          "spec.volumes",
    "status.containerStatuses", NULL};
static const char *const pod_without[] = {"metadata.managedFields", "metadata.ownerReferences",
                                          NULL};

int watch_start(struct watch *w, const struct watch_options *o, struct error *err)
{
    *w = (struct watch){
        .handler = o->handler, .config = o->config, .synced = o->synced, .arg = o->arg};
    closer_init(&w->closer);
    prober_init(&w->prober, o->handler->loop, on_probed, w);
    struct kube_cache_options routes = {.kind = KUBE_KIND(kind_row(KIND_ROUTE)),
                                        .without = route_without,
                                        .value_size = sizeof(struct route_object),
                                        .project = route_project,
                                        .release = route_release,
                                        .on_add = on_route,
                                        .on_update = on_route_update,
                                        .on_delete = on_route_delete,
                                        .on_synced = on_synced,
                                        .arg = w};
    struct kube_cache_options revisions = {.kind = KUBE_KIND(kind_row(KIND_REVISION)),
                                           .without = revision_without,
                                           .value_size = sizeof(struct revision_object),
                                           .project = revision_project,
                                           .release = revision_release,
                                           .on_add = on_revision,
                                           .on_update = on_revision_update,
                                           .on_delete = on_revision_delete,
                                           .on_synced = on_synced,
                                           .arg = w};
    struct kube_cache_options pods = {.kind = KUBE_KIND(kind_row(KIND_POD)),
                                      .label_selector = LABEL_REVISION,
                                      .without = pod_without,
                                      .value_size = sizeof(struct pod_object),
                                      .project = pod_project,
                                      .release = pod_release,
                                      .on_add = on_pod,
                                      .on_update = on_pod_update,
                                      .on_delete = on_pod_delete,
                                      .on_synced = on_synced,
                                      .arg = w};
    struct kube_cache_options features = {.kind = KUBE_KIND(kind_row(KIND_CONFIGMAP)),
                                          .ns = o->config->system_namespace,
                                          .field_selector = "metadata.name=" CONFIG_FEATURES,
                                          .value_size = sizeof(struct features_object),
                                          .project = features_project,
                                          .on_add = on_features,
                                          .on_update = on_features_update,
                                          .on_delete = on_features_delete,
                                          .on_synced = on_synced,
                                          .arg = w};
    struct kube_cache_options domains = {.kind = KUBE_KIND(kind_row(KIND_DOMAINMAPPING)),
                                         .value_size = sizeof(struct domain_object),
                                         .project = domain_project,
                                         .release = domain_release,
                                         .on_add = on_domain,
                                         .on_update = on_domain_update,
                                         .on_delete = on_domain_delete,
                                         .on_synced = on_synced,
                                         .arg = w};
    int rc = start_cache(w, o->client, &features, &w->features, err);
    rc = rc < 0 ? rc : start_cache(w, o->client, &domains, &w->domains, err);
    rc = rc < 0 ? rc : start_cache(w, o->client, &routes, &w->routes, err);
    rc = rc < 0 ? rc : start_cache(w, o->client, &revisions, &w->revisions, err);
    return rc < 0 ? rc : start_cache(w, o->client, &pods, &w->pods, err);
}

bool watch_synced(const struct watch *w)
{
    return w->lists_in >= CACHES;
}

const char *watch_trouble(const struct watch *w)
{
    const struct kube_cache *all[CACHES] = {w->routes, w->revisions, w->pods, w->features,
                                            w->domains};
    for (size_t i = 0; i < CACHES; i++) {
        if (all[i] != NULL && !kube_cache_connected(all[i])) {
            const char *text = kube_cache_trouble(all[i]);
            return text[0] == '\0' ? "not connected yet" : text;
        }
    }
    return "";
}

static void on_cache_closed(void *arg)
{
    closer_drop(arg);
}

void watch_close(struct watch *w, void (*cb)(void *arg), void *arg)
{
    struct kube_cache *all[CACHES] = {w->routes, w->revisions, w->pods, w->features, w->domains};
    if (w->closer.closing) {
        return;
    }
    prober_close(&w->prober);
    for (size_t i = 0; i < CACHES; i++) {
        if (all[i] != NULL) {
            kube_cache_close(all[i], on_cache_closed, &w->closer);
        }
    }
    (void)closer_close(&w->closer, w->handler->loop, cb, arg);
}
