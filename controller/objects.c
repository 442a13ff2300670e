// SPDX-License-Identifier: Apache-2.0
/*
 * Caches to keys. An object is kept as kept.h says, a Pod as a few facts. A change of an object
 * concerns itself, its controller, and what refers to it. Failure modes: an object that cannot be
 * written as text within its bound is left out (its cache logs it).
 */
#include "controller/objects.h"

#include <stdlib.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/certificates.h"
#include "controller/meta.h"
#include "controller/pods.h"

struct pod_kept {
    struct pod_view view;
};

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

/* Not all are watched everywhere; the cache of one that is not stays NULL. Secrets are those of the
 * certificates' namespace only. */
static bool is_watched(const struct objects *o, enum kind_id kind)
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
        struct pod_kept *pod = value;
        return pod_read(object, &pod->view) ? 0 : 1;
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

/* --- what a change concerns
 * ---------------------------------------------------------------------------------- */

static void key(struct objects *o, enum kind_id kind, const char *ns, const char *name)
{
    o->events.on_key(o->events.arg, kind, ns, name, o->at_rest);
}

static void route_key(void *arg, const char *ns, const char *from)
{
    key(arg, KIND_ROUTE, ns, from);
}

/* Names that one of the two lists has and the other has not: their objects are looked at. */
static bool names_have(char *const *names, const char *name)
{
    for (; names != NULL && *names != NULL; names++) {
        if (strcmp(*names, name) == 0) {
            return true;
        }
    }
    return false;
}

static void names_changed(struct objects *o, enum kind_id kind, const char *ns, char *const *old,
                          char *const *now)
{
    for (int pass = 0; pass < 2; pass++) {
        char *const *have = pass == 0 ? old : now;
        char *const *other = pass == 0 ? now : old;
        for (; have != NULL && *have != NULL; have++) {
            if (!names_have(other, *have)) {
                key(o, kind, ns, *have);
            }
        }
    }
}

static void index_names(struct ref_index *index, const struct kube_entry *entry, char *const *names,
                        bool add)
{
    for (; names != NULL && *names != NULL; names++) {
        (add ? ref_index_add : ref_index_remove)(index, entry->ns, *names, entry->name);
    }
}

static void index_route(struct objects *o, const struct kube_entry *entry, const struct kept *kept,
                        bool add)
{
    index_names(&o->refs[REFS_ROUTES_TO_REVISION], entry, kept->revisions, add);
    index_names(&o->refs[REFS_ROUTES_FOLLOWING], entry, kept->follows, add);
}

static void index_placeholder(struct objects *o, const struct kube_entry *entry,
                              const struct kept *kept, bool add)
{
    if (kept->owner_kind == KIND_ROUTE) {
        char *const names[] = {kept->owner, NULL};
        index_names(&o->refs[REFS_PLACEHOLDERS], entry, names, add);
    }
}

/* Brings the indexes up to date, and names those that are referred to now, or no longer. */
static void refs_changed(const struct objects_cache_arg *ca, const struct kube_entry *entry,
                         const struct kept *old, const struct kept *now)
{
    void (*const index)(struct objects *, const struct kube_entry *, const struct kept *, bool) =
        ca->kind == KIND_ROUTE          ? index_route
        : ca->kind == KIND_CORE_SERVICE ? index_placeholder
                                        : NULL;
    if (index != NULL && old != NULL) {
        index(ca->o, entry, old, false);
    }
    if (index != NULL && now != NULL) {
        index(ca->o, entry, now, true);
    }
    names_changed(ca->o, KIND_REVISION, entry->ns, old == NULL ? NULL : old->revisions,
                  now == NULL ? NULL : now->revisions);
    names_changed(ca->o, KIND_CONFIGURATION, entry->ns, old == NULL ? NULL : old->follows,
                  now == NULL ? NULL : now->follows);
}

static void index_revision(struct objects *o, const struct kube_entry *entry,
                           const struct kept *kept, bool add)
{
    if (kept->owner_kind == KIND_CONFIGURATION) {
        (add ? ref_index_add : ref_index_remove)(&o->revisions_by_owner, entry->ns, kept->owner,
                                                 entry->name);
    }
}

static void mapping_key(void *arg, const char *ns, const char *from)
{
    key(arg, KIND_DOMAINMAPPING, ns, from);
}

/* from: who needs it. */
static void need_key(void *arg, const char *ns, const char *from)
{
    char copy[NEED_TEXT_MAX];
    (void)ns;
    (void)slice_copy(slice_str(from), copy, sizeof(copy));
    char *from_ns = strchr(copy, '/');
    char *name = from_ns == NULL ? NULL : strchr(from_ns + 1, '/');
    if (name != NULL) {
        *from_ns = *name = '\0';
        key(arg, (enum kind_id)strtol(copy, NULL, 10), from_ns + 1, name + 1);
    }
}

/* Brings the index up to date, and names those that need what has changed. */
static void needs_changed(const struct objects_cache_arg *ca, const struct kube_entry *entry,
                          const struct kept *old, const struct kept *now)
{
    char self[NEED_TEXT_MAX];
    struct ref_index *index = &ca->o->needed_by;
    kept_need_text(ca->kind, entry->ns, entry->name, self);
    for (char **need = old == NULL ? NULL : old->needs; need != NULL && *need != NULL; need++) {
        ref_index_remove(index, "", *need, self);
    }
    for (char **need = now == NULL ? NULL : now->needs; need != NULL && *need != NULL; need++) {
        ref_index_add(index, "", *need, self);
    }
    ref_index_each(index, "", self, need_key, ca->o);
}

static const enum kind_id gateways[] = {KIND_INGRESS, KIND_HTTPROUTE};

/* An object for another gateway, by the host. */
static void gateway_key(struct objects *o, const char *host)
{
    for (size_t i = 0; i < ARRAY_LEN(gateways); i++) {
        if (o->caches[gateways[i]] != NULL) {
            key(o, gateways[i], o->settings->system_namespace, host);
        }
    }
}

/* host: of a Route in ns. */
static void route_host_key(void *arg, const char *ns, const char *host)
{
    (void)ns;
    gateway_key(arg, host);
}

static void gateway_changed(const struct objects_cache_arg *ca, const struct kube_entry *entry,
                            const struct kept *old, const struct kept *now)
{
    struct objects *o = ca->o;
    if (old != NULL) {
        ref_index_remove(&o->gateways_by_owner, old->target, old->owner, entry->name);
        key(o, old->owner_kind, old->target, old->owner);
    }
    if (now != NULL) {
        ref_index_add(&o->gateways_by_owner, now->target, now->owner, entry->name);
        key(o, now->owner_kind, now->target, now->owner);
        key(o, ca->kind, entry->ns, entry->name);
    }
}

/* The copy of the domain's certificate, where there is one. */
static void copy_key(struct objects *o, const char *domain)
{
    char name[OBJECT_BUF];
    certificate_name_of_domain(domain, name);
    if (is_watched(o, KIND_SECRET)) {
        key(o, KIND_SECRET, o->settings->certificate_namespace, name);
    }
}

static void index_mapping(struct objects *o, const struct kube_entry *entry,
                          const struct kept *kept, bool add)
{
    void (*change)(struct ref_index *, const char *, const char *, const char *) =
        add ? ref_index_add : ref_index_remove;
    change(&o->mappings_by_target, entry->ns, kept->target, entry->name);
    change(&o->mappings_by_domain, "", entry->name, entry->ns);
    key(o, KIND_CLUSTERDOMAINCLAIM, "", entry->name);
    copy_key(o, entry->name);
    gateway_key(o, entry->name);
}

struct domain {
    struct objects *o;
    const char *name;
};

/* from: a namespace in which the domain is mapped. */
static void domain_key(void *arg, const char *ns, const char *from)
{
    const struct domain *domain = arg;
    (void)ns;
    key(domain->o, KIND_DOMAINMAPPING, from, domain->name);
}

static void claim_changed(struct objects *o, const struct kube_entry *entry)
{
    struct domain domain = {o, entry->name};
    key(o, KIND_CLUSTERDOMAINCLAIM, "", entry->name);
    copy_key(o, entry->name);
    ref_index_each(&o->mappings_by_domain, "", entry->name, domain_key, &domain);
}

/* A copy of a certificate: whether it is wanted; and who wanted it looks after it. */
static void copy_changed(struct objects *o, const struct kube_entry *entry)
{
    struct domain domain = {o, certificate_domain_of_name(entry->name)};
    key(o, KIND_SECRET, entry->ns, entry->name);
    if (domain.name != NULL) {
        ref_index_each(&o->mappings_by_domain, "", domain.name, domain_key, &domain);
    } else {
        key(o, KIND_CONFIGMAP, o->settings->system_namespace, CONFIG_NETWORK);
    }
}

static void pod_changed(struct objects *o, const struct kube_entry *entry, const void *value,
                        bool add)
{
    const struct pod_kept *pod = value;
    (add ? ref_index_add : ref_index_remove)(&o->pods_by_revision, entry->ns, pod->view.revision,
                                             entry->name);
    key(o, KIND_REVISION, entry->ns, pod->view.revision);
}

static void config_changed(struct objects *o, const struct kube_entry *entry,
                           const struct kept *kept)
{
    CLEANUP(jfree) json_t *map = NULL;
    if (kept != NULL) {
        map = kept_object(&o->keeper, kept);
    }
    o->events.on_config(o->events.arg, entry->name,
                        kept == NULL ? NULL : json_object_get(map, "data"));
}

/* Kinds that a cluster may not have: those for events. */
static bool is_of_events(enum kind_id kind)
{
    return kind == KIND_BROKER || kind == KIND_TRIGGER || kind == KIND_PINGSOURCE ||
           kind == KIND_SINKBINDING || kind == KIND_WEBHOOKSOURCE || kind == KIND_REDISSOURCE ||
           kind == KIND_FILESOURCE;
}

static bool is_ours(enum kind_id kind)
{
    return kind == KIND_SERVICE || kind == KIND_CONFIGURATION || kind == KIND_REVISION ||
           kind == KIND_ROUTE || kind == KIND_DOMAINMAPPING || is_of_events(kind);
}

/* old and now: NULL when there is none. */
static void changed(const struct objects_cache_arg *ca, const struct kube_entry *entry,
                    const void *old, const void *now)
{
    struct objects *o = ca->o;
    const struct kept *kept = now != NULL ? now : old;
    o->at_rest = !objects_synced(o) && (!is_ours(ca->kind) || kept->at_rest);
    if (ca->kind == KIND_POD) {
        if (old != NULL) {
            pod_changed(o, entry, old, false);
        }
        if (now != NULL) {
            pod_changed(o, entry, now, true);
        }
        return;
    }
    if (ca->kind == KIND_CONFIGMAP) {
        config_changed(o, entry, now);
        return;
    }
    refs_changed(ca, entry, old, now);
    needs_changed(ca, entry, old, now);
    if (ca->kind == KIND_DOMAINMAPPING || ca->kind == KIND_REVISION) {
        void (*index)(struct objects *, const struct kube_entry *, const struct kept *, bool) =
            ca->kind == KIND_REVISION ? index_revision : index_mapping;
        if (old != NULL) {
            index(o, entry, old, false);
        }
        if (now != NULL) {
            index(o, entry, now, true);
        }
    }
    if (ca->kind == KIND_CLUSTERDOMAINCLAIM) {
        claim_changed(o, entry);
        return;
    }
    if (ca->kind == KIND_SECRET) {
        copy_changed(o, entry);
        return;
    }
    if (ca->kind == KIND_INGRESS || ca->kind == KIND_HTTPROUTE) {
        gateway_changed(ca, entry, old, now);
        return;
    }
    if (ca->kind == KIND_ROUTE) {
        ref_index_each(&o->gateways_by_owner, entry->ns, entry->name, route_host_key, o);
    }
    if (ca->kind == KIND_ROUTE || ca->kind == KIND_SERVICE) {
        ref_index_each(&o->mappings_by_target, entry->ns, entry->name, mapping_key, o);
    }
    if (is_ours(ca->kind)) {
        key(o, ca->kind, entry->ns, entry->name);
    }
    if (ca->kind == KIND_HPA) {
        key(o, KIND_REVISION, entry->ns, entry->name); /* they have one name */
        return;
    }
    if (kept->owner_kind == KIND_SERVICE || kept->owner_kind == KIND_CONFIGURATION ||
        kept->owner_kind == KIND_REVISION || kept->owner_kind == KIND_ROUTE) {
        key(o, kept->owner_kind, entry->ns, kept->owner);
    }
    if ((ca->kind == KIND_CONFIGURATION || ca->kind == KIND_ROUTE) &&
        kept->owner_kind != KIND_SERVICE) {
        key(o, KIND_SERVICE, entry->ns, entry->name); /* one of that name may be waiting for it */
    }
    if (ca->kind == KIND_CORE_SERVICE) {
        key(o, KIND_ROUTE, entry->ns, entry->name); /* its placeholder, or one in its way */
    }
    if (ca->kind == KIND_CONFIGURATION) {
        ref_index_each(&o->refs[REFS_ROUTES_FOLLOWING], entry->ns, entry->name, route_key, o);
    } else if (ca->kind == KIND_REVISION) {
        ref_index_each(&o->refs[REFS_ROUTES_TO_REVISION], entry->ns, entry->name, route_key, o);
    }
}

static void on_add(void *arg, const struct kube_entry *entry)
{
    changed(arg, entry, NULL, entry->value);
}

static void on_update(void *arg, const struct kube_entry *entry, const void *old)
{
    changed(arg, entry, old, entry->value);
}

static void on_delete(void *arg, const struct kube_entry *entry)
{
    changed(arg, entry, entry->value, NULL);
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

static int cache_start(struct objects *o, enum kind_id kind, struct error *err)
{
    bool made_by_us = kind == KIND_DEPLOYMENT || kind == KIND_POD || kind == KIND_PODAUTOSCALER ||
                      kind == KIND_HPA;
    struct objects_cache_arg *ca = &o->args[kind];
    *ca = (struct objects_cache_arg){o, kind};
    struct kube_cache_options options = {
        .kind = KUBE_KIND(kind_row(kind)),
        .ns = namespace_of(o, kind),
        .label_selector = made_by_us            ? LABEL_REVISION
                          : kind == KIND_SECRET ? LABEL_CERTIFICATE
                          : is_gateway(kind)    ? LABEL_GATEWAY
                                                : NULL,
        .without = kept_without(kind),
        .optional = kind == KIND_HPA || is_of_events(kind),
        .value_size = kind == KIND_POD ? sizeof(struct pod_kept) : kept_size(kind),
        .project = project,
        .release = release,
        .on_add = on_add,
        .on_update = on_update,
        .on_delete = on_delete,
        .on_synced = is_gateway(kind) ? on_gateway_synced : on_synced,
        .arg = ca,
    };
    return kube_cache_start(o->client, &options, &o->caches[kind], err);
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
        o->n_unsynced += is_watched(o, watched[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(watched); i++) {
        if (!is_watched(o, watched[i])) {
            continue;
        }
        int rc = cache_start(o, watched[i], err);
        if (rc < 0) {
            return rc;
        }
        o->n_open++;
    }
    return 0;
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
    const struct pod_kept *pod = kube_cache_value(sum->o->caches[KIND_POD], ns, name);
    if (pod != NULL) {
        pod_count(&pod->view, sum->out);
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
};

static void each_key(void *arg, const struct kube_entry *entry)
{
    const struct each *each = arg;
    key(each->o, each->kind, entry->ns, entry->name);
}

void objects_each(struct objects *o, enum kind_id kind)
{
    struct each each = {o, kind};
    o->at_rest = false;
    if (o->caches[kind] == NULL) {
        return;
    }
    kube_cache_each(o->caches[kind], each_key, &each);
}
