// SPDX-License-Identifier: Apache-2.0
/*
 * Happy path: the user's Secret is good, the copy has its content and says which version that is.
 * Failure modes: a Secret that is not there, is no certificate or has ended: told in the condition,
 * the copy stays. A copy that nobody wants any more is deleted when it is looked at.
 */
#include "controller/certificates.h"

#include <inttypes.h>

#include "base/base64.h"
#include "base/clock.h"
#include "loop/certificate.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/meta.h"

#define CERTIFICATE       "CertificateProvisioned"
#define SOURCE            "lull.dev/certificate-source" /* "NAMESPACE/NAME UID/VERSION" */
#define DOMAIN_PREFIX     "d."
#define LISTED_PREFIX     "l."
#define PROVISION_FAILED  "CertificateProvisionFailed"
#define LISTED_MAX        32
#define PEM_MAX           (1u << 20)
#define SECRET_SOURCE_MAX 800

/* --- names ---------------------------------------------------------------------------------- */

void certificate_name_of_domain(const char *domain, char out[static OBJECT_BUF])
{
    int len = snprintf(out, OBJECT_BUF, DOMAIN_PREFIX "%s", domain);
    if (len >= OBJECT_BUF) { /* a domain has 253 characters at most: two too many */
        uint64_t hash = UINT64_C(14695981039346656037);
        for (const char *c = domain; *c != '\0'; c++) {
            hash = (hash ^ (unsigned char)*c) * UINT64_C(1099511628211);
        }
        (void)snprintf(out, OBJECT_BUF, "h.%016" PRIx64, hash);
    }
}

const char *certificate_domain_of_name(const char *name)
{
    return strncmp(name, DOMAIN_PREFIX, 2) == 0 ? name + 2 : NULL;
}

bool certificates_on(const struct reconcile_env *env)
{
    return env->tls_secret != NULL && env->settings->certificate_namespace[0] != '\0';
}

/* --- copies --------------------------------------------------------------------------------- */

struct copy {
    char name[OBJECT_BUF];
    const char *kind; /* CERTIFICATE_DOMAIN or CERTIFICATE_LISTED */
    const char *host; /* "" : listed */
    const char *uid;  /* of the mapping; "": listed */
    const char *ns;   /* of the user's Secret */
    const char *secret;
    unsigned rank;
};

static json_t *build_meta(const struct copy *c, const char *source)
{
    char rank[16];
    json_t *labels = json_pack("{s:s}", LABEL_CERTIFICATE, c->kind);
    json_t *annotations = json_pack("{s:s}", SOURCE, source);
    snprintf(rank, sizeof(rank), "%u", c->rank);
    if (c->host[0] != '\0') {
        json_object_set_new(labels, LABEL_DOMAIN_MAPPING_UID, json_string(c->uid));
        json_object_set_new(labels, LABEL_DOMAIN_MAPPING_NAMESPACE, json_string(c->ns));
        json_object_set_new(annotations, ANNOTATION_CERTIFICATE_HOST, json_string(c->host));
    } else {
        json_object_set_new(annotations, ANNOTATION_CERTIFICATE_RANK, json_string(rank));
    }
    return json_pack("{s:s,s:o,s:o}", "name", c->name, "labels", labels, "annotations",
                     annotations);
}

/* The copy gets what the user's Secret has now. */
static void sync_copy(const struct reconcile_env *env, const struct copy *c,
                      const struct tls_secret *secret, struct plan *plan)
{
    char source[SECRET_SOURCE_MAX];
    snprintf(source, sizeof(source), "%s/%s %s", c->ns, c->secret, secret->version);
    const char *ns = env->settings->certificate_namespace;
    CLEANUP(jfree) json_t *now = env->get(env->arg, KIND_SECRET, ns, c->name);
    CLEANUP(jfree) json_t *meta = build_meta(c, source);
    if (now != NULL && jequal(jget(now, "metadata.labels"), json_object_get(meta, "labels")) &&
        jequal(jget(now, "metadata.annotations"), json_object_get(meta, "annotations"))) {
        return;
    }
    json_t *data = json_deep_copy(secret->data);
    plan_in(plan, ns);
    if (now == NULL) {
        plan_create(plan, KIND_SECRET, c->name,
                    json_pack("{s:s,s:s,s:O,s:s,s:o}", "apiVersion", "v1", "kind", "Secret",
                              "metadata", meta, "type", "kubernetes.io/tls", "data", data));
    } else {
        plan_patch(plan, KIND_SECRET, c->name,
                   json_pack("{s:O,s:o}", "metadata", meta, "data", data));
    }
    plan_in(plan, NULL);
}

static bool has_copy(const struct reconcile_env *env, const struct copy *c)
{
    CLEANUP(jfree)
    json_t *now = env->get(env->arg, KIND_SECRET, env->settings->certificate_namespace, c->name);
    return now != NULL && strcmp(meta_label(now, LABEL_DOMAIN_MAPPING_UID), c->uid) == 0;
}

/* --- DomainMappings ------------------------------------------------------------------------- */

/* 0: it can be shown. err: why not. */
static int usable(const struct reconcile_env *env, const char *name,
                  const struct tls_secret *secret, struct error *err)
{
    char when[CLOCK_RFC3339_MAX];
    int64_t now_s = env->now_ns / CLOCK_NS_PER_S;
    if (secret->state != TLS_SECRET_GOOD) {
        return error_set(err, ERR_INVALID, "%s", secret->message);
    }
    if (now_s >= secret->ends_s) {
        return error_set(
            err, ERR_INVALID, "Secret \"%.253s\": the certificate ended at %s", name,
            clock_format_rfc3339(secret->ends_s * CLOCK_NS_PER_S, 0, when, sizeof(when)));
    }
    if (now_s < secret->begins_s) {
        return error_set(
            err, ERR_INVALID, "Secret \"%.253s\": the certificate begins at %s", name,
            clock_format_rfc3339(secret->begins_s * CLOCK_NS_PER_S, 0, when, sizeof(when)));
    }
    return 0;
}

/* The certificate counts for the host. */
static bool names_host(const struct tls_secret *secret, const char *host)
{
    CLEANUP(strbuf_fini) struct strbuf pem;
    strbuf_init(&pem, PEM_MAX);
    return secret->state == TLS_SECRET_GOOD &&
           base64_decode(jpeek_str(secret->data, "`tls.crt`"), &pem, NULL) == 0 &&
           certificate_names(strbuf_slice(&pem), host);
}

enum certificate_progress certificate_of_mapping(const struct reconcile_env *env,
                                                 const json_t *mapping, bool may_show,
                                                 struct plan *plan, struct error *err,
                                                 struct condition *out)
{
    struct tls_secret secret;
    struct copy copy = {.kind = CERTIFICATE_DOMAIN,
                        .host = meta_name(mapping),
                        .uid = meta_uid(mapping),
                        .ns = meta_ns(mapping),
                        .secret = jpeek_cstr(mapping, "spec.tls.secretName")};
    certificate_name_of_domain(copy.host, copy.name);
    env->tls_secret(env->arg, copy.ns, copy.secret, &secret);
    plan_again(plan, secret.again_ms);
    if (secret.state == TLS_SECRET_WAIT) {
        return CERTIFICATE_WAITS;
    }
    if (usable(env, copy.secret, &secret, err) < 0) {
        if (has_copy(env, &copy)) {
            (void)error_prefix(err, err->code, "the last good certificate is still shown");
        }
        *out = (struct condition){CERTIFICATE, STATUS_FALSE, PROVISION_FAILED, err->msg, false};
        return CERTIFICATE_SAID;
    }
    if (may_show) {
        sync_copy(env, &copy, &secret, plan);
    }
    *out = (struct condition){CERTIFICATE, STATUS_TRUE, "CertificateExternallyProvided",
                              "TLS certificate was provided externally", false};
    if (!names_host(&secret, copy.host)) {
        (void)error_set(err, ERR_INVALID,
                        "TLS certificate was provided externally; it does not name %.253s, so most "
                        "clients will not trust it",
                        copy.host);
        out->message = err->msg;
    }
    return CERTIFICATE_SAID;
}

/* --- listed certificates -------------------------------------------------------------------- */

/* The next name of tls-secrets; false: there is none. */
static bool next_listed(struct slice *rest, char out[static OBJECT_BUF])
{
    struct slice name;
    while (slice_split(rest, ',', &name)) {
        name = slice_trim(name);
        if (name.len > 0 && name.len + 2 < OBJECT_BUF) {
            return slice_copy(name, out, OBJECT_BUF);
        }
    }
    return false;
}

static bool is_listed(const struct reconcile_env *env, const char *name)
{
    char each[OBJECT_BUF];
    struct slice rest = slice_str(env->settings->network.tls_secrets);
    for (unsigned i = 0; i < LISTED_MAX && next_listed(&rest, each); i++) {
        if (strcmp(each, name) == 0) {
            return true;
        }
    }
    return false;
}

bool certificate_listed_for(const struct reconcile_env *env, const char *host,
                            char out[static OBJECT_BUF])
{
    struct tls_secret secret;
    if (!certificates_on(env)) {
        return false;
    }
    struct slice rest = slice_str(env->settings->network.tls_secrets);
    for (unsigned i = 0; i < LISTED_MAX && next_listed(&rest, out); i++) {
        env->tls_secret(env->arg, env->settings->system_namespace, out, &secret);
        if (names_host(&secret, host)) {
            return true;
        }
    }
    return false;
}

void reconcile_network(const struct reconcile_env *env, const json_t *config, struct plan *plan)
{
    char name[OBJECT_BUF];
    struct error err = {0};
    struct slice rest = slice_str(env->settings->network.tls_secrets);
    if (!certificates_on(env) || strcmp(meta_name(config), CONFIG_NETWORK) != 0) {
        return;
    }
    for (unsigned i = 0; i < LISTED_MAX && plan_room(plan) > 0 && next_listed(&rest, name); i++) {
        struct tls_secret secret;
        struct copy copy = {.kind = CERTIFICATE_LISTED,
                            .host = "",
                            .uid = "",
                            .ns = env->settings->system_namespace,
                            .secret = name,
                            .rank = i};
        (void)snprintf(copy.name, sizeof(copy.name), LISTED_PREFIX "%.250s", name);
        env->tls_secret(env->arg, copy.ns, name, &secret);
        plan_again(plan, secret.again_ms);
        if (secret.state != TLS_SECRET_WAIT && usable(env, name, &secret, &err) == 0) {
            sync_copy(env, &copy, &secret, plan);
        }
    }
    if (plan_room(plan) == 0) {
        plan_again(plan, 1); /* the others in the next round */
    }
}

void reconcile_certificate(const struct reconcile_env *env, const json_t *copy, struct plan *plan)
{
    const char *host = meta_annotation(copy, ANNOTATION_CERTIFICATE_HOST);
    const char *ns = meta_label(copy, LABEL_DOMAIN_MAPPING_NAMESPACE);
    bool wanted = false;
    if (meta_deleting(copy)) {
        return;
    }
    if (strcmp(meta_label(copy, LABEL_CERTIFICATE), CERTIFICATE_LISTED) == 0) {
        wanted =
            strncmp(meta_name(copy), LISTED_PREFIX, 2) == 0 && is_listed(env, meta_name(copy) + 2);
    } else {
        CLEANUP(jfree) json_t *claim = env->get(env->arg, KIND_CLUSTERDOMAINCLAIM, "", host);
        CLEANUP(jfree) json_t *mapping = env->get(env->arg, KIND_DOMAINMAPPING, ns, host);
        wanted = mapping != NULL &&
                 strcmp(meta_uid(mapping), meta_label(copy, LABEL_DOMAIN_MAPPING_UID)) == 0 &&
                 jpeek_str(mapping, "spec.tls.secretName").len > 0 &&
                 slice_eq_str(jpeek_str(claim, "spec.namespace"), ns);
    }
    if (!wanted) {
        plan_delete(plan, KIND_SECRET, meta_name(copy), meta_uid(copy));
    }
}

/* --- hosts ---------------------------------------------------------------------------------- */

static bool opted_out(const json_t *object)
{
    static const char *const keys[] = {"networking.knative.dev/disable-external-domain-tls",
                                       "networking.knative.dev/disable-auto-tls",
                                       "networking.knative.dev/disableAutoTLS"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (strcmp(meta_annotation(object, keys[i]), "true") == 0) {
            return true;
        }
    }
    return false;
}

struct condition certificate_of_host(const struct reconcile_env *env, const json_t *object,
                                     const char *host, bool *out_https)
{
    char listed[OBJECT_BUF];
    *out_https = false;
    if (!certificates_on(env) || !env->settings->network.external_tls || opted_out(object)) {
        return (struct condition){CERTIFICATE, STATUS_TRUE, "TLSNotEnabled",
                                  "external-domain-tls is not enabled", false};
    }
    if (certificate_listed_for(env, host, listed)) {
        *out_https = true;
        return (struct condition){CERTIFICATE, STATUS_TRUE, "", "", false};
    }
    return (struct condition){CERTIFICATE, STATUS_TRUE, "HTTPDowngrade",
                              "No certificate in tls-secrets names the host: it is served over "
                              "HTTP.",
                              false};
}
