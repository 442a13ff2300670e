// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The controller's picture of the API: one cache per kind, with the little that the reconcilers
 * read, and who refers to whom. Tells the owner which keys to look at when something changes. Owns:
 * the caches and indexes. May not: write anything.
 */

#include "kube/cache.h"
#include "controller/kept.h"
#include "controller/reconcile.h"
#include "controller/ref_index.h"

struct objects_events {
    /* Look at this object. later: it was found so at the start, and looks as if all were done. */
    void (*on_key)(void *arg, enum kind_id kind, const char *ns, const char *name, bool later);
    /* A ConfigMap of the system namespace has changed; data NULL: it is gone. */
    void (*on_config)(void *arg, const char *name, const json_t *data);
    /* All caches have their first list. Once. */
    void (*on_synced)(void *arg);
    /* The objects of another gateway are known, of the kind that objects_gateway asked for. */
    void (*on_gateway)(void *arg);
    void *arg;
};

struct objects;

/* Private: the argument of a cache's callbacks. */
struct objects_cache_arg {
    struct objects *o;
    enum kind_id kind;
};

struct objects {
    struct kube_client *client; /* private, all below */
    struct kube_cache *caches[KIND_ALL];
    struct objects_cache_arg args[KIND_ALL];
    struct kube_request *asked[KIND_ALL]; /* under way: whether workloads of the kind are bound */
    struct objects_events events;
    const struct settings *settings;
    struct keeper keeper;
    struct ref_index refs[REFS_COUNT];
    struct ref_index pods_by_revision;
    struct ref_index revisions_by_owner; /* Configuration ← Revisions */
    struct ref_index mappings_by_target; /* Route ← DomainMappings that lead to it */
    struct ref_index mappings_by_domain; /* domain ← namespaces with a DomainMapping of that name */
    struct ref_index needed_by; /* what Brokers and Triggers name ← they, by kept_need_text */
    struct ref_index gateways_by_owner; /* Route ← hosts with an object of another gateway */
    bool at_rest;                       /* the change that is under way: see on_key */
    bool cluster;                       /* kinds that only a cluster has are watched too */
    size_t n_unsynced;
    size_t n_open;
    void (*close_cb)(void *arg);
    void *close_arg;
};

/* cluster: this is Kubernetes, which has kinds beyond those of one machine. settings: the two
 * namespaces in it; outlives it. On failure objects_close is still needed (and calls its cb). */
MUST_CHECK int objects_start(struct objects *o, struct kube_client *client, bool cluster,
                             const struct settings *settings, const struct objects_events *events,
                             struct error *err);
/* Watches the kind (KIND_INGRESS, KIND_HTTPROUTE) from now on, in the system namespace. */
MUST_CHECK int objects_gateway(struct objects *o, enum kind_id kind, struct error *err);
/* kind where its objects are known, else KIND_COUNT. */
enum kind_id objects_knows(const struct objects *o, enum kind_id kind);
/* What is wrong with that watch, "" when it is open. */
const char *objects_gateway_trouble(const struct objects *o, enum kind_id kind);
/* Watches workloads of the kind that a SinkBinding names from now on. */
void objects_watch_subjects(struct objects *o, const struct kept *binding);
void objects_close(struct objects *o, void (*cb)(void *arg), void *arg);

/* Whether this place has that kind for us: not all are everywhere, and the cache of one that is not
 * stays NULL. Secrets are those of the certificates' namespace only. */
bool objects_is_watched(const struct objects *o, enum kind_id kind);
bool objects_synced(const struct objects *o);
/* The first cache's trouble, "" when all watches are open. */
const char *objects_trouble(const struct objects *o);
size_t objects_count(const struct objects *o, enum kind_id kind);

/* For struct reconcile_env, with arg = the objects. */
json_t *objects_get(void *arg, enum kind_id kind, const char *ns, const char *name);
void objects_replicas(void *arg, const char *ns, const char *revision, struct replicas *out);
void objects_refs(void *arg, enum refs_kind which, const char *ns, const char *name,
                  struct strbuf *out);
void objects_revisions_of(void *arg, const char *ns, const char *configuration,
                          void (*fn)(void *fn_arg, const struct revision_facts *facts),
                          void *fn_arg);
/* The cached resourceVersion, NULL without. */
const char *objects_version(void *arg, enum kind_id kind, const char *ns, const char *name);
void objects_each_of(void *arg, enum kind_id kind, const char *ns,
                     void (*fn)(void *fn_arg, const json_t *object), void *fn_arg);
enum known objects_known(void *arg, enum kind_id kind, const char **out_trouble);
/* on_key for every object of the kind. */
void objects_each(struct objects *o, enum kind_id kind);
