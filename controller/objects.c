// SPDX-License-Identifier: Apache-2.0
/*
 * Caches, and what the reconcilers read of them. An object is kept as kept.h says, a Pod as a few
 * facts (struct pod_view); whom a change concerns says concern.c. Failure modes: an object that
 * cannot be written as text within its bound is left out (its cache logs it).
 */
#include "controller/objects.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/concern.h"
#include "controller/meta.h"
#include "controller/pods.h"
#include "controller/subject.h"
#include "eventing/names.h"

static const enum kind_id watched[] = {
    KIND_CONFIGMAP,
    KIND_SERVICE,
    KIND_CONFIGURATION,
    KIND_REVISION,
    KIND_ROUTE,
    KIND_PODAUTOSCALER,
    KIND_DEPLOYMENT,
    KIND_POD,
    KIND_CORE_SERVICE,
    KIND_DOMAINMAPPING,
    KIND_CLUSTERDOMAINCLAIM,
    KIND_HPA,
    KIND_SECRET,
    KIND_BROKER,
    KIND_TRIGGER,
    KIND_PINGSOURCE,
    KIND_SINKBINDING,
    KIND_WEBHOOKSOURCE,
    KIND_REDISSOURCE,
    KIND_FILESOURCE,
};

bool objects_is_watched(const struct objects *o, enum kind_id kind)
{
    return kind == KIND_SECRET ? o->settings->certificate_namespace[0] != '\0'
                               : kind < KIND_COUNT || o->cluster;
}

/* --- caches to entries
 * ---------------------------------------------------------------------------------- */

static int project(void *arg, const json_t *object, void *value, struct error *err)
{
    const struct objects_cache_arg *ca = arg;
    if (ca->kind == KIND_POD) {
        return pod_read(object, value) ? 0 : 1;
    }
    return kept_read(&ca->o->keeper, ca->kind, object, value, err);
}

static void release(void *arg, void *value)
{
    const struct objects_cache_arg *ca = arg;
    if (ca->kind != KIND_POD) {
        kept_release(value);
    }
}

static void on_add(void *arg, const struct kube_entry *entry)
{
    concern_tell(arg, entry, NULL, entry->value);
}

static void on_update(void *arg, const struct kube_entry *entry, const void *old)
{
    concern_tell(arg, entry, old, entry->value);
}

static void on_delete(void *arg, const struct kube_entry *entry)
{
    concern_tell(arg, entry, entry->value, NULL);
}

static void on_synced(void *arg)
{
    const struct objects_cache_arg *ca = arg;
    struct objects *o = ca->o;
    if (--o->n_unsynced == 0) {
        o->events.on_synced(o->events.arg);
    }
}

static void on_gateway_synced(void *arg)
{
    const struct objects_cache_arg *ca = arg;
    ca->o->events.on_gateway(ca->o->events.arg);
}

static void on_workloads_synced(void *arg)
{
    const struct objects_cache_arg *ca = arg;
    objects_each(ca->o, KIND_SINKBINDING);
}

static bool is_gateway(enum kind_id kind)
{
    return kind == KIND_INGRESS || kind == KIND_HTTPROUTE;
}

/* --- life
 * -------------------------------------------------------------------------------------------------------
 */

static const char *namespace_of(const struct objects *o, enum kind_id kind)
{
    return kind == KIND_CONFIGMAP || is_gateway(kind) ? o->settings->system_namespace
           : kind == KIND_SECRET                      ? o->settings->certificate_namespace
                                                      : NULL;
}

static void on_closed(void *arg);

static int cache_start(struct objects *o, enum kind_id kind, struct error *err)
{
    bool made_by_us = kind == KIND_DEPLOYMENT || kind == KIND_POD || kind == KIND_PODAUTOSCALER ||
                      kind == KIND_HPA;
    struct objects_cache_arg *ca = &o->args[kind];
    *ca = (struct objects_cache_arg){o, kind};
    struct kube_cache_options options = {
        .kind = KUBE_KIND(kind_row(kind)),
        .ns = namespace_of(o, kind),
        .label_selector = made_by_us              ? LABEL_REVISION
                          : kind == KIND_WORKLOAD ? "!" LABEL_REVISION
                          : kind == KIND_SECRET   ? LABEL_CERTIFICATE
                          : is_gateway(kind)      ? LABEL_GATEWAY
                                                  : NULL,
        .without = kept_without(kind),
        .optional = kind == KIND_HPA || concern_is_event_kind(kind) || subject_is_workload(kind),
        .value_size = kind == KIND_POD ? sizeof(struct pod_view) : kept_size(kind),
        .project = project,
        .release = release,
        .on_add = on_add,
        .on_update = on_update,
        .on_delete = on_delete,
        .on_synced = is_gateway(kind)            ? on_gateway_synced
                     : subject_is_workload(kind) ? on_workloads_synced
                                                 : on_synced,
        .arg = ca,
    };
    return kube_cache_start(o->client, &options, &o->caches[kind], err);
}

/* --- workloads: watched when a SinkBinding names their kind, or has left something in one ---- */

static void watch_workloads(struct objects *o, enum kind_id kind)
{
    struct error err = {0};
    if (o->caches[kind] != NULL || o->close_cb != NULL || (!o->cluster && kind != KIND_WORKLOAD)) {
        return;
    }
    if (cache_start(o, kind, &err) == 0) {
        o->n_open++;
    } else {
        LOG_WARN("cannot watch workloads", LOG_STR("kind", kind_row(kind)->kind), LOG_ERR(&err));
    }
}

void objects_watch_subjects(struct objects *o, const struct kept *binding)
{
    for (char *const *need = binding->needs; need != NULL && *need != NULL; need++) {
        enum kind_id kind = (enum kind_id)strtol(*need, NULL, 10);
        if (subject_is_workload(kind) && !subject_is_fixed(kind)) {
            watch_workloads(o, kind);
        }
    }
}

/* One that is bound may be a leftover: of a SinkBinding that went while nobody looked. */
static void on_bound(void *arg, json_t *list, const struct error *err)
{
    const struct objects_cache_arg *ca = arg;
    struct objects *o = ca->o;
    o->asked[ca->kind] = NULL;
    bool none = err == NULL ? json_array_size(jpeek_arr(list, "items")) == 0
                            : err->code == ERR_NOT_FOUND || err->code == ERR_DENIED ||
                                  err->code == ERR_CANCELED;
    if (!none) {
        watch_workloads(o, ca->kind);
    }
    on_closed(o);
}

static int ask_for_bound(struct objects *o, struct error *err)
{
    int rc = 0;
    enum kind_id kind;
    for (size_t i = 0; rc == 0 && (kind = subject_workload_at(i)) != KIND_COUNT; i++) {
        if (subject_is_fixed(kind) || (!o->cluster && kind != KIND_WORKLOAD)) {
            continue;
        }
        o->args[kind] = (struct objects_cache_arg){o, kind};
        struct kube_call call = {
            .kind = KUBE_KIND(kind_row(kind)),
            .label_selector = LABEL_SINK_BOUND,
            .limit = 1,
            .cb = on_bound,
            .arg = &o->args[kind],
        };
        rc = kube_list(o->client, &call, &o->asked[kind], err);
        o->n_open += rc == 0;
    }
    return rc;
}

int objects_start(struct objects *o, struct kube_client *client, bool cluster,
                  const struct settings *settings, const struct objects_events *events,
                  struct error *err)
{
    *o = (struct objects){
        .client = client, .events = *events, .cluster = cluster, .settings = settings};
    keeper_init(&o->keeper);
    for (size_t i = 0; i < REFS_COUNT; i++) {
        ref_index_init(&o->refs[i]);
    }
    ref_index_init(&o->pods_by_revision);
    ref_index_init(&o->revisions_by_owner);
    ref_index_init(&o->mappings_by_target);
    ref_index_init(&o->mappings_by_domain);
    ref_index_init(&o->needed_by);
    ref_index_init(&o->gateways_by_owner);
    for (size_t i = 0; i < ARRAY_LEN(watched); i++) {
        o->n_unsynced += objects_is_watched(o, watched[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(watched); i++) {
        if (!objects_is_watched(o, watched[i])) {
            continue;
        }
        int rc = cache_start(o, watched[i], err);
        if (rc < 0) {
            return rc;
        }
        o->n_open++;
    }
    return ask_for_bound(o, err);
}

int objects_gateway(struct objects *o, enum kind_id kind, struct error *err)
{
    if (o->caches[kind] != NULL) {
        return 0;
    }
    int rc = cache_start(o, kind, err);
    o->n_open += rc == 0 ? 1 : 0;
    return rc;
}

enum kind_id objects_knows(const struct objects *o, enum kind_id kind)
{
    bool known =
        kind != KIND_COUNT && o->caches[kind] != NULL && kube_cache_synced(o->caches[kind]);
    return known ? kind : KIND_COUNT;
}

const char *objects_gateway_trouble(const struct objects *o, enum kind_id kind)
{
    return o->caches[kind] == NULL ? "" : kube_cache_trouble(o->caches[kind]);
}

static void on_closed(void *arg)
{
    struct objects *o = arg;
    if (--o->n_open > 0) {
        return;
    }
    for (size_t i = 0; i < REFS_COUNT; i++) {
        ref_index_fini(&o->refs[i]);
    }
    ref_index_fini(&o->pods_by_revision);
    ref_index_fini(&o->revisions_by_owner);
    ref_index_fini(&o->mappings_by_target);
    ref_index_fini(&o->mappings_by_domain);
    ref_index_fini(&o->needed_by);
    ref_index_fini(&o->gateways_by_owner);
    keeper_fini(&o->keeper);
    o->close_cb(o->close_arg);
}

void objects_close(struct objects *o, void (*cb)(void *arg), void *arg)
{
    o->close_cb = cb;
    o->close_arg = arg;
    o->n_open++; /* for this call */
    for (size_t i = 0; i < ARRAY_LEN(o->asked); i++) {
        if (o->asked[i] != NULL) {
            kube_cancel(o->asked[i]);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(o->caches); i++) {
        if (o->caches[i] != NULL) {
            kube_cache_close(o->caches[i], on_closed, o);
        }
    }
    on_closed(o);
}

/* --- reading
 * ------------------------------------------------------------------------------------------------------
 */

bool objects_synced(const struct objects *o)
{
    return o->n_unsynced == 0;
}

const char *objects_trouble(const struct objects *o)
{
    for (size_t i = 0; i < ARRAY_LEN(watched); i++) {
        const struct kube_cache *cache = o->caches[watched[i]];
        if (cache != NULL && kube_cache_trouble(cache)[0] != '\0') {
            return kube_cache_trouble(cache);
        }
    }
    return "";
}

size_t objects_count(const struct objects *o, enum kind_id kind)
{
    return o->caches[kind] == NULL ? 0 : kube_cache_len(o->caches[kind]);
}

/* What a namespaced object asks for may be cluster-scoped. */
static const char *ns_of(enum kind_id kind, const char *ns)
{
    return kind_row(kind)->namespaced ? ns : NULL;
}

json_t *objects_get(void *arg, enum kind_id kind, const char *ns, const char *name)
{
    struct objects *o = arg;
    const struct kept *kept =
        o->caches[kind] == NULL ? NULL : kube_cache_value(o->caches[kind], ns_of(kind, ns), name);
    return kept == NULL ? NULL : kept_object(&o->keeper, kept);
}

const char *objects_version(void *arg, enum kind_id kind, const char *ns, const char *name)
{
    const struct objects *o = arg;
    if (o->caches[kind] == NULL) {
        return NULL;
    }
    const struct kube_entry *entry = kube_cache_get(o->caches[kind], ns_of(kind, ns), name);
    return entry == NULL ? NULL : entry->resource_version;
}

struct pod_sum {
    const struct objects *o;
    struct replicas *out;
};

static void add_pod(void *arg, const char *ns, const char *name)
{
    const struct pod_sum *sum = arg;
    const struct pod_view *pod = kube_cache_value(sum->o->caches[KIND_POD], ns, name);
    if (pod != NULL) {
        pod_count(pod, sum->out);
    }
}

void objects_replicas(void *arg, const char *ns, const char *revision, struct replicas *out)
{
    const struct objects *o = arg;
    struct pod_sum sum = {o, out};
    *out = (struct replicas){.ready = 0};
    ref_index_each(&o->pods_by_revision, ns, revision, add_pod, &sum);
}

static void add_name(void *arg, const char *ns, const char *name)
{
    struct strbuf *out = arg;
    (void)ns;
    strbuf_appendf(out, "%s%s", out->len > 0 ? "," : "", name);
}

void objects_refs(void *arg, enum refs_kind which, const char *ns, const char *name,
                  struct strbuf *out)
{
    const struct objects *o = arg;
    ref_index_each(&o->refs[which], ns, name, add_name, out);
}

struct revisions {
    const struct objects *o;
    void (*fn)(void *fn_arg, const struct revision_facts *facts);
    void *fn_arg;
};

static void found(void *arg, const char *ns, const char *name)
{
    (void)ns;
    (void)name;
    *(bool *)arg = true;
}

static void add_revision(void *arg, const char *ns, const char *name)
{
    const struct revisions *r = arg;
    const struct kube_entry *entry = kube_cache_get(r->o->caches[KIND_REVISION], ns, name);
    if (entry == NULL) {
        return;
    }
    const struct revision_kept *kept = entry->value;
    struct revision_facts facts = {.name = entry->name,
                                   .uid = entry->uid,
                                   .created_ns = kept->created_ns,
                                   .active_ns = kept->active_ns,
                                   .reserve = kept->reserve,
                                   .keep = kept->keep};
    ref_index_each(&r->o->refs[REFS_ROUTES_TO_REVISION], ns, name, found, &facts.routed);
    r->fn(r->fn_arg, &facts);
}

void objects_revisions_of(void *arg, const char *ns, const char *configuration,
                          void (*fn)(void *fn_arg, const struct revision_facts *facts),
                          void *fn_arg)
{
    const struct objects *o = arg;
    struct revisions revisions = {o, fn, fn_arg};
    ref_index_each(&o->revisions_by_owner, ns, configuration, add_revision, &revisions);
}

struct each {
    struct objects *o;
    enum kind_id kind;
    const char *ns; /* objects_each_of, the rest as well */
    void (*fn)(void *fn_arg, const json_t *object);
    void *fn_arg;
};

static void each_key(void *arg, const struct kube_entry *entry)
{
    const struct each *each = arg;
    const struct objects_events *events = &each->o->events;
    events->on_key(events->arg, each->kind, entry->ns, entry->name, false);
}

void objects_each(struct objects *o, enum kind_id kind)
{
    struct each each = {.o = o, .kind = kind};
    if (o->caches[kind] == NULL) {
        return;
    }
    kube_cache_each(o->caches[kind], each_key, &each);
}

static void each_object(void *arg, const struct kube_entry *entry)
{
    const struct each *each = arg;
    if (strcmp(entry->ns, each->ns) == 0) {
        CLEANUP(jfree) json_t *object = kept_object(&each->o->keeper, entry->value);
        if (object != NULL) {
            each->fn(each->fn_arg, object);
        }
    }
}

void objects_each_of(void *arg, enum kind_id kind, const char *ns,
                     void (*fn)(void *fn_arg, const json_t *object), void *fn_arg)
{
    struct objects *o = arg;
    struct each each = {o, kind, ns, fn, fn_arg};
    if (o->caches[kind] != NULL) {
        kube_cache_each(o->caches[kind], each_object, &each);
    }
}

enum known objects_known(void *arg, enum kind_id kind, const char **out_trouble)
{
    const struct objects *o = arg;
    const struct kube_cache *cache = o->caches[kind];
    if (!o->cluster && subject_is_workload(kind) && kind != KIND_WORKLOAD) {
        return KNOWN_NEVER;
    }
    if (cache != NULL && kube_cache_synced(cache)) {
        return KNOWN;
    }
    const char *trouble = cache == NULL ? "" : kube_cache_trouble(cache);
    *out_trouble = trouble[0] == '\0' ? NULL : trouble;
    return KNOWN_LATER;
}
