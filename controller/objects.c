// SPDX-License-Identifier: Apache-2.0
/*
 * Caches to keys. An object is kept as packed JSON text without what no reconciler reads (managed
 * fields, a Deployment's template), a Pod as a few facts. A change of an object concerns itself,
 * its controller, and what refers to it. Failure modes: an object that cannot be written as text
 * within its bound is left out (its cache logs it).
 */
#include "controller/objects.h"

#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/conditions.h"
#include "controller/meta.h"
#include "controller/object_sample.h"
#include "controller/pods.h"

enum { OBJECT_TEXT_MAX = 2 << 20, SCRATCH_KEPT = 64 << 10 };

/* What is kept of an object (all kinds but Pod). */
struct kept {
    char *packed; /* its text, by pack_text */
    size_t len;
    enum kind_id owner_kind; /* KIND_COUNT: none of ours */
    bool at_rest;            /* its status is that of its spec, and nothing is under way or wrong */
    char *owner;
    /* Of a Route the Revisions that spec and status name, of a Configuration the latest ones. */
    char **revisions; /* NULL ends; NULL: none */
    char **follows;   /* Routes: Configurations whose latest revision it follows */
    char *target;     /* DomainMappings: the name in spec.ref; ClusterDomainClaims: the namespace */
};

/* Of a Revision. */
struct revision_kept {
    struct kept kept; /* first: a pointer to this is one to that */
    int64_t created_ns;
    int64_t active_ns;
    bool reserve;
    bool keep;
};

struct pod_kept {
    struct pod_view view;
};

static const enum kind_id watched[] = {
    KIND_CONFIGMAP,    KIND_SERVICE,       KIND_CONFIGURATION,      KIND_REVISION,
    KIND_ROUTE,        KIND_PODAUTOSCALER, KIND_DEPLOYMENT,         KIND_POD,
    KIND_CORE_SERVICE, KIND_DOMAINMAPPING, KIND_CLUSTERDOMAINCLAIM,
};

/* --- projection
 * ------------------------------------------------------------------------------------------ */

static void copy_members(json_t *to, const json_t *from, const char *const *keys)
{
    for (; *keys != NULL; keys++) {
        json_t *value = json_object_get(from, *keys);
        if (value != NULL) {
            json_object_set(to, *keys, value);
        }
    }
}

static json_t *slim_metadata(const json_t *metadata, enum kind_id kind)
{
    static const char *const keys[] = {"name",       "namespace",         "uid",
                                       "generation", "creationTimestamp", "deletionTimestamp",
                                       "labels",     "annotations",       "ownerReferences",
                                       NULL};
    json_t *slim = json_object();
    copy_members(slim, metadata, keys);
    if (kind == KIND_DEPLOYMENT || kind == KIND_PODAUTOSCALER) {
        json_object_del(slim, "labels");
    }
    json_t *annotations = json_object_get(slim, "annotations");
    if (kind == KIND_DEPLOYMENT || kind == KIND_PODAUTOSCALER) {
        json_object_del(slim, "annotations");
    } else if (json_object_get(annotations, ANNOTATION_LAST_APPLIED) != NULL) {
        json_t *copy = json_copy(annotations);
        json_object_del(copy, ANNOTATION_LAST_APPLIED);
        json_object_set_new(slim, "annotations", copy);
    }
    return slim;
}

static json_t *slim(const json_t *object, enum kind_id kind)
{
    static const char *const whole[] = {"spec", "status", "data", NULL};
    static const char *const replicas[] = {"replicas", NULL};
    static const char *const reachability[] = {"reachability", NULL};
    static const char *const target[] = {"type", "externalName", NULL};
    static const char *const conditions[] = {"conditions", NULL};
    const char *const *members = kind == KIND_DEPLOYMENT      ? replicas
                                 : kind == KIND_PODAUTOSCALER ? reachability
                                 : kind == KIND_CORE_SERVICE  ? target
                                                              : NULL;
    json_t *out = json_object();
    json_object_set_new(out, "metadata", slim_metadata(json_object_get(object, "metadata"), kind));
    copy_members(out, object, whole);
    if (members != NULL) {
        json_t *spec = json_object();
        copy_members(spec, json_object_get(object, "spec"), members);
        json_object_set_new(out, "spec", spec);
    }
    if (kind == KIND_DEPLOYMENT || kind == KIND_PODAUTOSCALER) {
        json_t *status = json_object();
        copy_members(status, json_object_get(object, "status"), conditions);
        json_object_set_new(out, "status", status);
    }
    return out;
}

/* Appends `member` of each target, where it is given, to the list. */
static char **names_of(char **names, const json_t *targets, const char *member)
{
    size_t count = 0;
    size_t i;
    const json_t *target;
    while (names != NULL && names[count] != NULL) {
        count++;
    }
    names = xreallocarray(names, count + json_array_size(targets) + 1, sizeof(*names));
    json_array_foreach(targets, i, target)
    {
        const char *name = jpeek_cstr(target, member);
        if (name[0] != '\0') {
            names[count++] = xstrdup(name);
        }
    }
    names[count] = NULL;
    return names;
}

static bool names_have(char *const *names, const char *name)
{
    for (; names != NULL && *names != NULL; names++) {
        if (strcmp(*names, name) == 0) {
            return true;
        }
    }
    return false;
}

static void names_free(char **names)
{
    for (char **n = names; n != NULL && *n != NULL; n++) {
        free(*n);
    }
    free(names);
}

static void read_age(const json_t *object, struct revision_kept *r)
{
    const char *modified = meta_annotation(object, ANNOTATION_ROUTING_STATE_MODIFIED);
    if (clock_parse_rfc3339(jpeek_str(object, "metadata.creationTimestamp"), &r->created_ns, NULL) <
        0) {
        r->created_ns = INT64_MAX;
    }
    if (clock_parse_rfc3339(slice_str(modified), &r->active_ns, NULL) < 0) {
        r->active_ns = r->created_ns;
    }
    r->reserve = strcmp(meta_label(object, LABEL_ROUTING_STATE), "reserve") == 0;
    r->keep = strcasecmp(meta_annotation(object, ANNOTATION_NO_GC), "true") == 0;
}

/* Empty; its memory stays, but for that of an object which is much larger than others. */
static struct strbuf *scratch(struct objects *o)
{
    if (o->scratch.cap > SCRATCH_KEPT) {
        strbuf_fini(&o->scratch);
    }
    strbuf_clear(&o->scratch);
    return &o->scratch;
}

static int project(void *arg, const json_t *object, void *value, struct error *err)
{
    const struct objects_cache_arg *ca = arg;
    if (ca->kind == KIND_POD) {
        struct pod_kept *pod = value;
        return pod_read(object, &pod->view) ? 0 : 1;
    }
    struct kept *kept = value;
    CLEANUP(jfree) json_t *small = slim(object, ca->kind);
    struct strbuf *text = scratch(ca->o);
    int rc = jdump(small, text, err);
    if (rc < 0) {
        return rc;
    }
    const json_t *owner = meta_controller(object);
    const struct kind *owner_kind =
        kind_by_object(jpeek_cstr(owner, "apiVersion"), jpeek_cstr(owner, "kind"));
    kept->packed = pack_text(&ca->o->pack, strbuf_slice(text), &kept->len);
    kept->at_rest = object_is_ready(object) && !meta_deleting(object);
    kept->owner_kind = owner_kind == NULL ? KIND_COUNT : owner_kind->id;
    kept->owner = owner == NULL ? NULL : xstrdup(jpeek_cstr(owner, "name"));
    if (ca->kind == KIND_ROUTE) {
        kept->revisions = names_of(NULL, jpeek_arr(object, "spec.traffic"), "revisionName");
        kept->revisions =
            names_of(kept->revisions, jpeek_arr(object, "status.traffic"), "revisionName");
        kept->follows = names_of(NULL, jpeek_arr(object, "spec.traffic"), "configurationName");
    } else if (ca->kind == KIND_CONFIGURATION) {
        CLEANUP(jfree) json_t *status = json_pack("[O?]", json_object_get(object, "status"));
        kept->revisions = names_of(NULL, status, "latestCreatedRevisionName");
        kept->revisions = names_of(kept->revisions, status, "latestReadyRevisionName");
    }
    if (ca->kind == KIND_REVISION) {
        read_age(object, value);
    } else if (ca->kind == KIND_DOMAINMAPPING) {
        kept->target = xstrdup(jpeek_cstr(object, "spec.ref.name"));
    } else if (ca->kind == KIND_CLUSTERDOMAINCLAIM) {
        kept->target = xstrdup(jpeek_cstr(object, "spec.namespace"));
    }
    return 0;
}

/* NULL when it cannot be read; that would be our own fault. */
static json_t *unpacked(struct objects *o, const struct kept *kept)
{
    json_t *object = NULL;
    struct strbuf *text = scratch(o);
    if (unpack_text(&o->pack, slice_of(kept->packed, kept->len), text, NULL) < 0 ||
        jparse(strbuf_slice(text), OBJECT_TEXT_MAX, &object, NULL) < 0) {
        return NULL;
    }
    return object;
}

static void release(void *arg, void *value)
{
    const struct objects_cache_arg *ca = arg;
    if (ca->kind == KIND_POD) {
        return;
    }
    struct kept *kept = value;
    free(kept->packed);
    free(kept->owner);
    free(kept->target);
    names_free(kept->revisions);
    names_free(kept->follows);
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

static void index_mapping(struct objects *o, const struct kube_entry *entry,
                          const struct kept *kept, bool add)
{
    void (*change)(struct ref_index *, const char *, const char *, const char *) =
        add ? ref_index_add : ref_index_remove;
    change(&o->mappings_by_target, entry->ns, kept->target, entry->name);
    change(&o->mappings_by_domain, "", entry->name, entry->ns);
    key(o, KIND_CLUSTERDOMAINCLAIM, "", entry->name);
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
    ref_index_each(&o->mappings_by_domain, "", entry->name, domain_key, &domain);
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
        map = unpacked(o, kept);
    }
    o->events.on_config(o->events.arg, entry->name,
                        kept == NULL ? NULL : json_object_get(map, "data"));
}

static bool is_ours(enum kind_id kind)
{
    return kind == KIND_SERVICE || kind == KIND_CONFIGURATION || kind == KIND_REVISION ||
           kind == KIND_ROUTE || kind == KIND_DOMAINMAPPING;
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
    if (ca->kind == KIND_ROUTE || ca->kind == KIND_SERVICE) {
        ref_index_each(&o->mappings_by_target, entry->ns, entry->name, mapping_key, o);
    }
    if (is_ours(ca->kind)) {
        key(o, ca->kind, entry->ns, entry->name);
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

/* --- life
 * -------------------------------------------------------------------------------------------------------
 */

/* What `slim` and the readers of Pods leave out anyway, where there is much of it. */
static const char *const *without(enum kind_id kind)
{
    static const char *const any[] = {"metadata.managedFields", NULL};
    static const char *const deployment[] = {"metadata.managedFields",
                                             "metadata.labels",
                                             "metadata.annotations",
                                             "spec.selector",
                                             "spec.strategy",
                                             "spec.template",
                                             NULL};
    static const char *const pod_autoscaler[] = {"metadata.managedFields", "metadata.labels",
                                                 "metadata.annotations", "status.lullDecisions",
                                                 NULL};
    static const char *const pod[] = {"metadata.managedFields", "metadata.annotations",
                                      "metadata.ownerReferences", "spec", NULL};
    return kind == KIND_DEPLOYMENT      ? deployment
           : kind == KIND_PODAUTOSCALER ? pod_autoscaler
           : kind == KIND_POD           ? pod
                                        : any;
}

static int cache_start(struct objects *o, enum kind_id kind, const char *system_namespace,
                       struct error *err)
{
    bool made_by_us = kind == KIND_DEPLOYMENT || kind == KIND_POD || kind == KIND_PODAUTOSCALER;
    struct objects_cache_arg *ca = &o->args[kind];
    *ca = (struct objects_cache_arg){o, kind};
    struct kube_cache_options options = {
        .kind = KUBE_KIND(kind_row(kind)),
        .ns = kind == KIND_CONFIGMAP ? system_namespace : NULL,
        .label_selector = made_by_us ? LABEL_REVISION : NULL,
        .without = without(kind),
        .value_size = kind == KIND_POD        ? sizeof(struct pod_kept)
                      : kind == KIND_REVISION ? sizeof(struct revision_kept)
                                              : sizeof(struct kept),
        .project = project,
        .release = release,
        .on_add = on_add,
        .on_update = on_update,
        .on_delete = on_delete,
        .on_synced = on_synced,
        .arg = ca,
    };
    return kube_cache_start(o->client, &options, &o->caches[kind], err);
}

int objects_start(struct objects *o, struct kube_client *client, const char *system_namespace,
                  const struct objects_events *events, struct error *err)
{
    *o = (struct objects){.client = client, .events = *events, .n_unsynced = ARRAY_LEN(watched)};
    pack_init(&o->pack, slice_str(object_sample));
    strbuf_init(&o->scratch, OBJECT_TEXT_MAX);
    for (size_t i = 0; i < REFS_COUNT; i++) {
        ref_index_init(&o->refs[i]);
    }
    ref_index_init(&o->pods_by_revision);
    ref_index_init(&o->revisions_by_owner);
    ref_index_init(&o->mappings_by_target);
    ref_index_init(&o->mappings_by_domain);
    for (size_t i = 0; i < ARRAY_LEN(watched); i++) {
        int rc = cache_start(o, watched[i], system_namespace, err);
        if (rc < 0) {
            return rc;
        }
        o->n_open++;
    }
    return 0;
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
    strbuf_fini(&o->scratch);
    o->close_cb(o->close_arg);
}

void objects_close(struct objects *o, void (*cb)(void *arg), void *arg)
{
    o->close_cb = cb;
    o->close_arg = arg;
    o->n_open++; /* for this call */
    for (size_t i = 0; i < ARRAY_LEN(watched); i++) {
        if (o->caches[watched[i]] != NULL) {
            kube_cache_close(o->caches[watched[i]], on_closed, o);
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
    const struct kept *kept = kube_cache_value(o->caches[kind], ns_of(kind, ns), name);
    return kept == NULL ? NULL : unpacked(o, kept);
}

const char *objects_version(void *arg, enum kind_id kind, const char *ns, const char *name)
{
    const struct objects *o = arg;
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
    kube_cache_each(o->caches[kind], each_key, &each);
}
