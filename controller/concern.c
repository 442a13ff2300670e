// SPDX-License-Identifier: Apache-2.0
/*
 * A change of an object concerns itself, its controller, and what refers to it: each kind has its
 * rows here, and its indexes are brought up to date on the way. Nothing fails.
 */
#include "controller/concern.h"

#include <stdlib.h>

#include "json/jparse.h"
#include "controller/certificates.h"
#include "controller/meta.h"
#include "controller/pods.h"
#include "controller/subject.h"

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
    kept_need_text(ca->kind, entry->ns, NEED_ANY, self);
    ref_index_each(index, "", self, need_key, ca->o);
}

static bool same_text(const struct kept *old, const struct kept *now)
{
    return old != NULL && now != NULL && old->len == now->len &&
           memcmp(old->packed, now->packed, old->len) == 0;
}

/* A workload of somebody: SinkBindings that mean it, and itself when one has been at it. Most of
 * its changes are none here. */
static void workload_changed(const struct objects_cache_arg *ca, const struct kube_entry *entry,
                             const struct kept *old, const struct kept *now)
{
    if (same_text(old, now)) {
        return;
    }
    needs_changed(ca, entry, old, now);
    if (now != NULL && now->needs != NULL) {
        key(ca->o, ca->kind, entry->ns, entry->name);
    }
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
    if (objects_is_watched(o, KIND_SECRET)) {
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
    const struct pod_view *pod = value;
    (add ? ref_index_add : ref_index_remove)(&o->pods_by_revision, entry->ns, pod->revision,
                                             entry->name);
    key(o, KIND_REVISION, entry->ns, pod->revision);
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

bool concern_is_event_kind(enum kind_id kind)
{
    return kind == KIND_BROKER || kind == KIND_TRIGGER || kind == KIND_PINGSOURCE ||
           kind == KIND_SINKBINDING || kind == KIND_WEBHOOKSOURCE || kind == KIND_REDISSOURCE ||
           kind == KIND_FILESOURCE;
}

static bool is_ours(enum kind_id kind)
{
    return kind == KIND_SERVICE || kind == KIND_CONFIGURATION || kind == KIND_REVISION ||
           kind == KIND_ROUTE || kind == KIND_DOMAINMAPPING || concern_is_event_kind(kind);
}

void concern_tell(const struct objects_cache_arg *ca, const struct kube_entry *entry,
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
    if (subject_is_workload(ca->kind)) {
        workload_changed(ca, entry, old, now);
        return;
    }
    if (ca->kind == KIND_SINKBINDING && now != NULL) {
        objects_watch_subjects(o, now);
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
