// SPDX-License-Identifier: Apache-2.0
/*
 * Projection: an object's tree becomes its slim text, packed, and a few facts beside it. Failure
 * mode: an object that cannot be written as text within its bound is an error, and its cache leaves
 * it out.
 */
#include "controller/kept.h"

#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/conditions.h"
#include "controller/destination.h"
#include "controller/meta.h"
#include "controller/object_sample.h"
#include "controller/subject.h"
#include "eventing/names.h"

enum { OBJECT_TEXT_MAX = 2 << 20, SCRATCH_KEPT = 64 << 10 };

void keeper_init(struct keeper *k)
{
    pack_init(&k->pack, slice_str(object_sample));
    strbuf_init(&k->scratch, OBJECT_TEXT_MAX);
}

void keeper_fini(struct keeper *k)
{
    strbuf_fini(&k->scratch);
}

static bool is_gateway(enum kind_id kind)
{
    return kind == KIND_INGRESS || kind == KIND_HTTPROUTE;
}

size_t kept_size(enum kind_id kind)
{
    return kind == KIND_REVISION ? sizeof(struct revision_kept) : sizeof(struct kept);
}

const char *const *kept_without(enum kind_id kind)
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
    static const char *const scaler[] = {"metadata.managedFields", "metadata.labels",
                                         "metadata.annotations", "status.currentMetrics", NULL};
    static const char *const gateway[] = {"metadata.managedFields", "spec", "status", NULL};
    static const char *const secret[] = {"metadata.managedFields", "data", NULL};
    static const char *const pod[] = {"metadata.managedFields", "metadata.annotations",
                                      "metadata.ownerReferences", "spec", NULL};
    static const char *const workload[] = {"metadata.managedFields",
                                           "spec.selector",
                                           "spec.strategy",
                                           "spec.updateStrategy",
                                           "spec.volumeClaimTemplates",
                                           "spec.template.metadata",
                                           "spec.template.spec.volumes",
                                           "spec.template.spec.affinity",
                                           NULL};
    return subject_is_workload(kind)    ? workload
           : kind == KIND_DEPLOYMENT    ? deployment
           : kind == KIND_PODAUTOSCALER ? pod_autoscaler
           : kind == KIND_HPA           ? scaler
           : kind == KIND_POD           ? pod
           : kind == KIND_SECRET        ? secret
           : is_gateway(kind)           ? gateway
                                        : any;
}

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
    bool bare = kind == KIND_DEPLOYMENT || kind == KIND_PODAUTOSCALER || kind == KIND_HPA;
    if (bare) {
        json_object_del(slim, "labels");
    }
    json_t *annotations = json_object_get(slim, "annotations");
    if (bare) {
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
    static const char *const conditions[] = {"conditions", "observedGeneration", "desiredScale",
                                             "actualScale", NULL};
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

void kept_need_text(enum kind_id kind, const char *ns, const char *name,
                    char out[static NEED_TEXT_MAX])
{
    snprintf(out, NEED_TEXT_MAX, "%d/%.253s/%.253s", (int)kind, ns, name);
}

static void add_need(char **needs, size_t *count, enum kind_id kind, const char *ns,
                     const char *name)
{
    char text[NEED_TEXT_MAX];
    if (kind != KIND_COUNT && name[0] != '\0') {
        kept_need_text(kind, ns, name, text);
        needs[(*count)++] = xstrdup(text);
    }
}

static void add_need_of(char **needs, size_t *count, const json_t *ref, const char *own_ns)
{
    const char *ns = jpeek_cstr(ref, "namespace");
    add_need(needs, count, destination_kind(ref), ns[0] == '\0' ? own_ns : ns,
             jpeek_cstr(ref, "name"));
}

/* One object, or all of the kind in the namespace. */
static void add_subject(char **needs, size_t *count, const json_t *subject, const char *ns)
{
    const char *name = jpeek_cstr(subject, "name");
    add_need(needs, count,
             subject_kind(jpeek_cstr(subject, "apiVersion"), jpeek_cstr(subject, "kind")), ns,
             name[0] == '\0' ? NEED_ANY : name);
}

/* What the status of a Broker, a Trigger or a source depends on; the binding of a subject. */
static char **needs_of(const json_t *object, enum kind_id kind)
{
    enum { NEEDS_MAX = 6 };
    char **needs = xcalloc(NEEDS_MAX, sizeof(*needs));
    const char *ns = meta_ns(object);
    size_t count = 0;
    add_need_of(needs, &count, jpeek_obj(object, "spec.delivery.deadLetterSink.ref"), ns);
    if (kind == KIND_TRIGGER) {
        CLEANUP(jfree) json_t *ref = NULL;
        add_need(needs, &count, KIND_BROKER, ns, jpeek_cstr(object, "spec.broker"));
        add_need_of(needs, &count, jpeek_obj(object, "spec.subscriber.ref"), ns);
        (void)!jparse_object(slice_str(meta_annotation(object, ANNOTATION_DEPENDENCY)),
                             OBJECT_TEXT_MAX, &ref, NULL);
        add_need_of(needs, &count, ref, ns);
    }
    add_need_of(needs, &count, jpeek_obj(object, "spec.sink.ref"), ns);
    if (kind == KIND_SINKBINDING) {
        add_subject(needs, &count, jpeek_obj(object, "spec.subject"), ns);
    } else if (subject_is_workload(kind) || kind == KIND_SERVICE || kind == KIND_CONFIGURATION) {
        add_need(needs, &count, KIND_SINKBINDING, ns,
                 meta_annotation(object, ANNOTATION_SINK_BINDING));
    }
    return needs;
}

/* Whether a SinkBinding has been at it. */
static bool is_bound(const json_t *object, enum kind_id kind)
{
    bool can_be = subject_is_workload(kind) || kind == KIND_SERVICE || kind == KIND_CONFIGURATION;
    return can_be && meta_annotation(object, ANNOTATION_SINK_BINDING)[0] != '\0';
}

/* Empty; its memory stays, but for that of an object which is much larger than others. */
static struct strbuf *scratch(struct keeper *k)
{
    if (k->scratch.cap > SCRATCH_KEPT) {
        strbuf_fini(&k->scratch);
    }
    strbuf_clear(&k->scratch);
    return &k->scratch;
}

int kept_read(struct keeper *k, enum kind_id kind, const json_t *object, struct kept *kept,
              struct error *err)
{
    CLEANUP(jfree)
    json_t *small = subject_is_workload(kind) ? subject_slim(kind, object) : slim(object, kind);
    struct strbuf *text = scratch(k);
    int rc = jdump(small, text, err);
    if (rc < 0) {
        return rc;
    }
    const json_t *owner = meta_controller(object);
    const struct kind *owner_kind =
        kind_by_object(jpeek_cstr(owner, "apiVersion"), jpeek_cstr(owner, "kind"));
    kept->packed = pack_text(&k->pack, strbuf_slice(text), &kept->len);
    kept->at_rest = object_is_ready(object) && !meta_deleting(object);
    kept->owner_kind = owner_kind == NULL ? KIND_COUNT : owner_kind->id;
    kept->owner = owner == NULL ? NULL : xstrdup(jpeek_cstr(owner, "name"));
    if (kind == KIND_ROUTE) {
        kept->revisions = names_of(NULL, jpeek_arr(object, "spec.traffic"), "revisionName");
        kept->revisions =
            names_of(kept->revisions, jpeek_arr(object, "status.traffic"), "revisionName");
        kept->follows = names_of(NULL, jpeek_arr(object, "spec.traffic"), "configurationName");
    } else if (kind == KIND_CONFIGURATION) {
        CLEANUP(jfree) json_t *status = json_pack("[O?]", json_object_get(object, "status"));
        kept->revisions = names_of(NULL, status, "latestCreatedRevisionName");
        kept->revisions = names_of(kept->revisions, status, "latestReadyRevisionName");
    }
    if (kind == KIND_REVISION) {
        read_age(object, CONTAINER_OF(kept, struct revision_kept, kept));
    } else if (is_bound(object, kind) || kind == KIND_BROKER || kind == KIND_TRIGGER ||
               kind == KIND_PINGSOURCE || kind == KIND_SINKBINDING || kind == KIND_WEBHOOKSOURCE ||
               kind == KIND_REDISSOURCE || kind == KIND_FILESOURCE) {
        kept->needs = needs_of(object, kind);
    } else if (kind == KIND_DOMAINMAPPING) {
        kept->target = xstrdup(jpeek_cstr(object, "spec.ref.name"));
    } else if (is_gateway(kind)) {
        bool of_route = strcmp(meta_label(object, LABEL_GATEWAY), GATEWAY_ROUTE) == 0;
        free(kept->owner);
        kept->owner_kind = of_route ? KIND_ROUTE : KIND_DOMAINMAPPING;
        kept->owner = xstrdup(of_route ? meta_label(object, LABEL_ROUTE)
                                       : jpeek_cstr(object, "metadata.name"));
        kept->target = xstrdup(
            meta_label(object, of_route ? LABEL_ROUTE_NAMESPACE : LABEL_DOMAIN_MAPPING_NAMESPACE));
    } else if (kind == KIND_CLUSTERDOMAINCLAIM) {
        kept->target = xstrdup(jpeek_cstr(object, "spec.namespace"));
    }
    return 0;
}

json_t *kept_object(struct keeper *k, const struct kept *kept)
{
    json_t *object = NULL;
    struct strbuf *text = scratch(k);
    if (unpack_text(&k->pack, slice_of(kept->packed, kept->len), text, NULL) < 0 ||
        jparse(strbuf_slice(text), OBJECT_TEXT_MAX, &object, NULL) < 0) {
        return NULL;
    }
    return object;
}

void kept_release(struct kept *kept)
{
    free(kept->packed);
    free(kept->owner);
    free(kept->target);
    names_free(kept->revisions);
    names_free(kept->follows);
    names_free(kept->needs);
}
