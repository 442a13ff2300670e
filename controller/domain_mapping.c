// SPDX-License-Identifier: Apache-2.0
/*
 * DomainMapping → the claim of its domain, and the Route that answers there.
 * Happy path: the claim is made (or is there, for this namespace), the reference leads to a Route
 * with traffic, and the conditions say so; activators watch that. Failure modes: the domain belongs
 * to another namespace, or the target is not there: told in the conditions, and looked at again
 * when the claim or the target changes.
 *
 * ClusterDomainClaim: one that a mapping made goes when that mapping has gone; one that a person
 * made stays. Who made it stands in its labels.
 */
#include "serving/domain_mapping.h"

#include <stdarg.h>

#include "json/jget.h"
#include "json/jparse.h"
#include "controller/certificates.h"
#include "controller/conditions.h"
#include "controller/gateway.h"
#include "controller/meta.h"
#include "controller/reconcile.h"

enum { URL_MAX = 512 };

#define DOMAIN_CLAIMED     "DomainClaimed"
#define REFERENCE_RESOLVED "ReferenceResolved"
#define INGRESS_READY      "IngressReady"
#define CERTIFICATE        "CertificateProvisioned"

struct target {
    struct condition resolved;
    char route[OBJECT_BUF];
    char message[ERROR_MSG_MAX];
};

static json_t *build_claim(const json_t *mapping)
{
    return json_pack("{s:s,s:s,s:{s:s,s:{s:s,s:s}},s:{s:s}}", "apiVersion", CLAIM_API_VERSION,
                     "kind", "ClusterDomainClaim", "metadata", "name", meta_name(mapping), "labels",
                     LABEL_DOMAIN_MAPPING_UID, meta_uid(mapping), LABEL_DOMAIN_MAPPING_NAMESPACE,
                     meta_ns(mapping), "spec", "namespace", meta_ns(mapping));
}

/* The condition's texts live in err. */
static struct condition claim_domain(const struct reconcile_env *env, const json_t *mapping,
                                     struct error *err, struct plan *plan)
{
    const char *name = meta_name(mapping);
    if (domain_name_validate(name, err) < 0) {
        return (struct condition){DOMAIN_CLAIMED, STATUS_FALSE, "DomainClaimFailed", err->msg,
                                  false};
    }
    CLEANUP(jfree) json_t *claim = env->get(env->arg, KIND_CLUSTERDOMAINCLAIM, "", name);
    if (claim != NULL && slice_eq_str(jpeek_str(claim, "spec.namespace"), meta_ns(mapping))) {
        return (struct condition){DOMAIN_CLAIMED, STATUS_TRUE, "", "", false};
    }
    if (claim == NULL && env->settings->network.autocreate_claims) {
        plan_create(plan, KIND_CLUSTERDOMAINCLAIM, name, build_claim(mapping));
        return (struct condition){DOMAIN_CLAIMED, STATUS_UNKNOWN, "", "", false};
    }
    return (struct condition){
        DOMAIN_CLAIMED, STATUS_FALSE, "DomainAlreadyClaimed",
        claim != NULL
            ? "The domain name is already in use by another DomainMapping"
            : "There is no ClusterDomainClaim of the domain for this namespace: create one, or set "
              "autocreate-cluster-domain-claims in config-network to \"true\"",
        false};
}

static void not_resolved(struct target *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void not_resolved(struct target *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(t->message, sizeof(t->message), fmt, ap);
    va_end(ap);
    t->resolved =
        (struct condition){REFERENCE_RESOLVED, STATUS_FALSE, "ResolveFailed", t->message, false};
}

/* The kind that a reference may have: a Service or Route of ours. */
static enum kind_id ref_kind(const json_t *ref)
{
    const struct kind *kind =
        kind_by_object(jpeek_cstr(ref, "apiVersion"), jpeek_cstr(ref, "kind"));
    bool fits = kind != NULL && (kind->id == KIND_SERVICE || kind->id == KIND_ROUTE ||
                                 kind->id == KIND_CORE_SERVICE);
    return fits ? kind->id : KIND_COUNT;
}

/* A core Service stands for the Route of its name. */
static void resolve(const struct reconcile_env *env, const json_t *mapping, struct target *t)
{
    const json_t *ref = jpeek_obj(mapping, "spec.ref");
    const char *ns = meta_ns(mapping);
    const char *name = jpeek_cstr(ref, "name");
    struct slice ref_ns = jpeek_str(ref, "namespace");
    enum kind_id kind = ref_kind(ref);
    t->resolved = (struct condition){REFERENCE_RESOLVED, STATUS_TRUE, "", "", false};
    slice_copy(slice_str(name), t->route, sizeof(t->route));
    if (kind == KIND_COUNT) {
        not_resolved(t,
                     "%.100s %.60s cannot be mapped: spec.ref must name a Service or Route of "
                     "serving.knative.dev/v1",
                     jpeek_cstr(ref, "apiVersion"), jpeek_cstr(ref, "kind"));
        return;
    }
    if (ref_ns.len > 0 && !slice_eq_str(ref_ns, ns)) {
        not_resolved(t, "%.253s must be in same namespace as DomainMapping", name);
        return;
    }
    enum kind_id looked = kind == KIND_CORE_SERVICE ? KIND_ROUTE : kind;
    CLEANUP(jfree) json_t *object = env->get(env->arg, looked, ns, name);
    if (object == NULL || meta_deleting(object)) {
        const struct kind *row = kind_row(kind);
        not_resolved(t, "failed to get object %s/%.253s: %s%s%s \"%.253s\" not found", ns, name,
                     row->plural, row->group[0] == '\0' ? "" : ".", row->group, name);
    } else if (jpeek_str(object, "status.address.url").len == 0) {
        not_resolved(t, "address not set for %s \"%.253s\"", kind_row(kind)->kind, name);
    }
}

/* The Route answers: there is something to send requests to. */
static struct condition ingress_of(const struct reconcile_env *env, const json_t *mapping,
                                   const struct target *t, bool claimed)
{
    static const struct condition unready = {INGRESS_READY, STATUS_UNKNOWN, "IngressNotConfigured",
                                             "Ingress has not yet been reconciled.", false};
    if (!claimed || strcmp(t->resolved.status, STATUS_TRUE) != 0) {
        return unready;
    }
    CLEANUP(jfree) json_t *route = env->get(env->arg, KIND_ROUTE, meta_ns(mapping), t->route);
    if (json_array_size(jpeek_arr(route, "status.traffic")) == 0) {
        return unready;
    }
    return (struct condition){INGRESS_READY, STATUS_TRUE, "", "", false};
}

/* WAITS: nothing should be said yet. */
static enum certificate_progress certificate_of(const struct reconcile_env *env,
                                                const json_t *mapping, bool claimed,
                                                struct plan *plan, struct error *err,
                                                struct condition *out, bool *out_https)
{
    *out_https = false;
    if (jpeek_str(mapping, "spec.tls.secretName").len == 0) {
        *out = certificate_of_host(env, mapping, meta_name(mapping), out_https);
        return CERTIFICATE_SAID;
    }
    if (!certificates_on(env)) {
        *out = (struct condition){CERTIFICATE, STATUS_FALSE, "TLSNotSupported",
                                  "spec.tls: the ingress does not end TLS; leave it out, and let a "
                                  "proxy in front of the ingress have the certificate",
                                  false};
        return CERTIFICATE_SAID;
    }
    *out_https = true;
    return certificate_of_mapping(env, mapping, claimed, plan, err, out);
}

void reconcile_domain_mapping(const struct reconcile_env *env, const json_t *mapping,
                              struct plan *plan)
{
    struct error err = {0};
    struct error certificate_err = {0};
    struct condition certificate;
    struct target target;
    bool https;
    if (meta_deleting(mapping)) {
        return;
    }
    struct condition claimed = claim_domain(env, mapping, &err, plan);
    bool is_claimed = strcmp(claimed.status, STATUS_TRUE) == 0;
    if (certificate_of(env, mapping, is_claimed, plan, &certificate_err, &certificate, &https) ==
        CERTIFICATE_WAITS) {
        return;
    }
    resolve(env, mapping, &target);
    struct condition conditions[4] = {
        claimed,
        target.resolved,
        ingress_of(env, mapping, &target, is_claimed),
        certificate,
    };
    if (is_claimed && strcmp(target.resolved.status, STATUS_TRUE) == 0) {
        gateway_sync(env, mapping, "", meta_name(mapping), plan);
    }
    CLEANUP(strbuf_fini) struct strbuf url;
    strbuf_init(&url, URL_MAX);
    (https ? network_tls_url : network_url)(&env->settings->network, meta_name(mapping), &url);
    struct condition ready = conditions_ready(conditions, 4);
    if (strcmp(ready.status, STATUS_FALSE) == 0 && !condition_is(mapping, "Ready", STATUS_FALSE)) {
        plan_event(plan, true, ready.reason, "%s", ready.message);
    }
    plan_status(plan, KIND_DOMAINMAPPING, mapping,
                json_pack("{s:I,s:o,s:s,s:{s:s}}", "observedGeneration",
                          (json_int_t)jpeek_i64(mapping, "metadata.generation"), "conditions",
                          conditions_build(conditions, 4, mapping, env->now), "url", url.ptr,
                          "address", "url", url.ptr));
}

void reconcile_domain_claim(const struct reconcile_env *env, const json_t *claim, struct plan *plan)
{
    if (meta_deleting(claim) || meta_label(claim, LABEL_DOMAIN_MAPPING_UID)[0] == '\0') {
        return;
    }
    CLEANUP(jfree)
    json_t *mapping = env->get(env->arg, KIND_DOMAINMAPPING, jpeek_cstr(claim, "spec.namespace"),
                               meta_name(claim));
    if (mapping == NULL) {
        plan_delete(plan, KIND_CLUSTERDOMAINCLAIM, meta_name(claim), meta_uid(claim));
    }
}
