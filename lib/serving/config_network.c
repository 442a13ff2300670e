// SPDX-License-Identifier: Apache-2.0
/*
 * Happy path: each key is read into a fresh copy, the templates are tried, and the copy replaces
 * the old settings. Failure mode: the first key that cannot be read, with its name; nothing has
 * changed then.
 */
#include "serving/config_network.h"

#include <string.h>
#include <strings.h>

#include "base/num.h"
#include "json/jget.h"
#include "serving/config_keys.h"
#include "serving/host_template.h"
#include "serving/names.h"
#include "serving/traffic.h"
#include "yaml/yparse.h"

enum {
    HTTP_PORT = 80,
    HTTPS_PORT = 443,
    TRIAL_MAX = 1024,
};

#define DOMAIN_TEMPLATE "{{.Name}}.{{.Namespace}}.{{.Domain}}"
#define TAG_TEMPLATE    "{{.Tag}}-{{.Name}}"

static void set_defaults(struct network_config *config)
{
    *config = (struct network_config){
        .domain = "svc." CLUSTER_DOMAIN,
        .cluster_domain = CLUSTER_DOMAIN,
        .external_port = HTTP_PORT,
        .external_tls_port = HTTPS_PORT,
        .gateway_port = HTTP_PORT,
        .scheme = "http",
        .domain_template = DOMAIN_TEMPLATE,
        .tag_template = TAG_TEMPLATE,
    };
}

static void drop_gateway(struct network_config *config)
{
    json_decref(config->gateway_parents);
    json_decref(config->gateway_annotations);
    config->gateway_parents = NULL;
    config->gateway_annotations = NULL;
}

void network_config_init(struct network_config *config)
{
    set_defaults(config);
}

void network_config_fini(struct network_config *config)
{
    drop_gateway(config);
    json_decref(config->domains);
    config->domains = NULL;
}

/* --- config-network ------------------------------------------------------------------------- */

/* What the templates make of an example: a host without a path. */
static int try_templates(const struct network_config *config, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, TRIAL_MAX);
    const struct host_values route = {
        .name = "foo", .ns = "bar", .domain = "baz.com", .maps = true};
    const struct host_values tag = {.name = "foo", .tag = "v2"};
    int rc = host_template_print(slice_str(config->domain_template), &route, &out, err);
    if (rc < 0) {
        return error_prefix(err, rc, "domain-template");
    }
    struct slice made = strbuf_slice(&out);
    if (made.len == 0) {
        return error_set(err, ERR_INVALID, "domain-template: empty hostname");
    }
    for (size_t i = 0; i < made.len; i++) {
        char c = made.ptr[i];
        if (c == '/' || c == '?' || c == '#') {
            return error_set(err, ERR_INVALID, "domain template has url path: %.*s",
                             (int)(made.len - i > 100 ? 100 : made.len - i), made.ptr + i);
        }
        if (c <= ' ' || c == '@' || c == ':' || c == 0x7f) {
            return error_set(err, ERR_INVALID,
                             "domain-template: byte %zu of %.100s cannot stand in a host name", i,
                             out.ptr);
        }
    }
    strbuf_clear(&out);
    rc = host_template_print(slice_str(config->tag_template), &tag, &out, err);
    return rc < 0 ? error_prefix(err, rc, "tag-template") : 0;
}

static int read_protocols(struct network_config *next, const json_t *data, struct error *err)
{
    static const char *const protocols[] = {"", "enabled", "disabled", "redirected", NULL};
    static const char *const switches[] = {"", "enabled", "disabled", NULL};
    static const char *const tls[] = {"system-internal-tls", "cluster-local-domain-tls"};
    const char *value = config_text(data, "http-protocol", "httpProtocol");
    if (value != NULL && !config_one_of(value, protocols)) {
        return error_set(err, ERR_INVALID,
                         "httpProtocol %.100s in config-network ConfigMap is not supported", value);
    }
    next->redirects = value != NULL && strcasecmp(value, "redirected") == 0;
    value = config_text(data, "external-domain-tls", "auto-tls");
    value = value == NULL ? config_text(data, "autoTLS", NULL) : value;
    next->external_tls = value != NULL && strcasecmp(value, "enabled") == 0;
    for (size_t i = 0; i < ARRAY_LEN(tls); i++) {
        value = config_text(data, tls[i], NULL);
        if (value != NULL && !config_one_of(value, switches)) {
            return error_set(
                err, ERR_INVALID,
                "%s with value: \"%.100s\" in config-network ConfigMap is not supported", tls[i],
                value);
        }
    }
    return 0;
}

/* A value that is YAML (JSON) itself. *out stays NULL when the key is absent or empty. */
static int read_yaml(const json_t *data, const char *key, json_t **out, struct error *err)
{
    struct yaml_docs docs = {0};
    const char *text = config_text(data, key, NULL);
    if (text == NULL || text[0] == '\0') {
        return 0;
    }
    int rc = yparse(slice_str(text), &docs, err);
    if (rc == 0 && docs.count == 1) {
        *out = json_incref(docs.items[0].value);
    } else if (rc == 0) {
        rc = error_set(err, ERR_INVALID, "must be one YAML document");
    }
    yaml_docs_fini(&docs);
    return rc < 0 ? error_prefix(err, rc, "%s", key) : 0;
}

/* Objects for another gateway, and what stands in them. */
static int read_gateway(struct network_config *next, const json_t *data, struct error *err)
{
    static const char *const kinds[] = {"", "none", "Ingress", "HTTPRoute"};
    const char *kind = config_text(data, "gateway-kind", NULL);
    size_t i = 0;
    while (kind != NULL && i < ARRAY_LEN(kinds) && strcmp(kind, kinds[i]) != 0) {
        i++;
    }
    if (i == ARRAY_LEN(kinds)) {
        return error_set(err, ERR_INVALID, "gateway-kind: must be none, Ingress or HTTPRoute");
    }
    (void)slice_copy(slice_str(kind == NULL || i < 2 ? "" : kind), next->gateway_kind,
                     sizeof(next->gateway_kind));
    int rc = config_copy(data, "gateway-ingress-class", NULL, next->gateway_class,
                         sizeof(next->gateway_class), err);
    rc = rc < 0
             ? rc
             : config_int(data, "gateway-backend-port", NULL, 1, 65535, &next->gateway_port, err);
    rc = rc < 0 ? rc : read_yaml(data, "gateway-parent-refs", &next->gateway_parents, err);
    rc = rc < 0 ? rc : read_yaml(data, "gateway-annotations", &next->gateway_annotations, err);
    if (rc == 0 && next->gateway_parents != NULL && !json_is_array(next->gateway_parents)) {
        rc = error_set(err, ERR_INVALID, "gateway-parent-refs: must be a list");
    }
    if (rc == 0 && next->gateway_annotations != NULL &&
        !json_is_object(next->gateway_annotations)) {
        rc = error_set(err, ERR_INVALID, "gateway-annotations: must be a map of texts");
    }
    return rc;
}

static int read_keys(struct network_config *next, const json_t *data, struct error *err)
{
    int rc = config_copy(data, "default-external-scheme", "defaultExternalScheme", next->scheme,
                         sizeof(next->scheme), err);
    if (rc == 0 && strcmp(next->scheme, "http") != 0 && strcmp(next->scheme, "https") != 0) {
        rc = error_set(err, ERR_INVALID, "default-external-scheme: must be http or https");
    }
    rc = rc < 0 ? rc
                : config_copy(data, "address-template", NULL, next->address_template,
                              sizeof(next->address_template), err);
    rc = rc < 0 ? rc
                : config_copy(data, "domain-template", "domainTemplate", next->domain_template,
                              sizeof(next->domain_template), err);
    rc = rc < 0 ? rc
                : config_copy(data, "tag-template", "tagTemplate", next->tag_template,
                              sizeof(next->tag_template), err);
    rc = rc < 0 ? rc
                : config_bool(data, "autocreate-cluster-domain-claims",
                              "autocreateClusterDomainClaims", &next->autocreate_claims, err);
    rc = rc < 0 ? rc : config_int(data, "external-port", NULL, 1, 65535, &next->external_port, err);
    rc = rc < 0
             ? rc
             : config_int(data, "external-tls-port", NULL, 1, 65535, &next->external_tls_port, err);
    rc = rc < 0 ? rc
                : config_copy(data, "tls-secrets", NULL, next->tls_secrets,
                              sizeof(next->tls_secrets), err);
    rc = rc < 0 ? rc
                : config_int(data, "rollout-duration", "rolloutDuration", INT32_MIN, INT32_MAX,
                             &next->rollout_duration_s, err);
    if (rc == 0 && next->rollout_duration_s < 0) {
        rc =
            error_set(err, ERR_INVALID, "rollout-duration must be a positive integer, but was %lld",
                      (long long)next->rollout_duration_s);
    }
    rc = rc < 0 ? rc : read_protocols(next, data, err);
    rc = rc < 0 ? rc : read_gateway(next, data, err);
    return rc < 0 ? rc : try_templates(next, err);
}

int network_config_read(struct network_config *config, const json_t *data, struct error *err)
{
    struct network_config next;
    set_defaults(&next);
    int rc = read_keys(&next, data, err);
    if (rc < 0) {
        drop_gateway(&next);
    } else {
        drop_gateway(config);
        next.domains = config->domains;
        memcpy(next.domain, config->domain, sizeof(next.domain));
        *config = next;
    }
    return rc;
}

/* --- config-domain -------------------------------------------------------------------------- */

/* The labels of `selector:`; an empty object without. Takes nothing; NULL with err. */
static json_t *read_selector(const json_t *value, struct error *err)
{
    const json_t *selector = json_object_get(value, "selector");
    if (value != NULL && !json_is_object(value)) {
        error_set(err, ERR_INVALID, "must be empty or have a selector");
        return NULL;
    }
    if (selector == NULL || json_is_null(selector)) {
        return json_object();
    }
    const char *key;
    json_t *label;
    if (!json_is_object(selector)) {
        error_set(err, ERR_INVALID, "selector: must be a map of labels");
        return NULL;
    }
    json_object_foreach((json_t *)(uintptr_t)selector, key, label)
    {
        if (!json_is_string(label)) {
            error_set(err, ERR_INVALID, "selector.%.100s: must be a text (in quotes)", key);
            return NULL;
        }
    }
    return json_deep_copy(selector);
}

static json_t *read_domain(const json_t *value, struct error *err)
{
    struct yaml_docs docs = {0};
    if (!json_is_string(value)) {
        error_set(err, ERR_INVALID, "must be a text");
        return NULL;
    }
    if (yparse(slice_of(json_string_value(value), json_string_length(value)), &docs, err) < 0) {
        return NULL;
    }
    json_t *out = NULL;
    if (docs.count > 1) {
        error_set(err, ERR_INVALID, "must be one YAML document");
    } else {
        out = read_selector(docs.count == 0 ? NULL : docs.items[0].value, err);
    }
    yaml_docs_fini(&docs);
    return out;
}

int domain_config_read(struct network_config *config, const json_t *data, struct error *err)
{
    json_t *domains = json_object();
    const char *key;
    json_t *value;
    int rc = 0;
    bool has_default = false;
    json_object_foreach((json_t *)(uintptr_t)data, key, value)
    {
        if (key[0] == '_') {
            continue; /* _example */
        }
        json_t *selector = NULL;
        if (!name_is_dns1123_subdomain(key)) {
            rc = error_set(err, ERR_INVALID, "is no domain name");
        } else if (json_object_size(domains) == DOMAINS_MAX) {
            rc = error_set(err, ERR_INVALID, "more than %d domains", DOMAINS_MAX);
        } else if ((selector = read_domain(value, err)) == NULL) {
            rc = ERR_INVALID;
        }
        if (rc < 0) {
            rc = error_prefix(err, rc, "%.253s", key);
            break;
        }
        has_default = has_default || json_object_size(selector) == 0;
        json_object_set_new(domains, key, selector);
    }
    if (rc < 0) {
        json_decref(domains);
        return rc;
    }
    if (!has_default) {
        json_object_set_new(domains, "svc." CLUSTER_DOMAIN, json_object());
    }
    json_decref(config->domains);
    config->domains = domains;
    struct network_config chosen = network_of(config, NULL);
    memcpy(config->domain, chosen.domain, sizeof(config->domain));
    return 0;
}

static bool selects(const json_t *selector, const json_t *labels)
{
    const char *key;
    json_t *wanted;
    json_object_foreach((json_t *)(uintptr_t)selector, key, wanted)
    {
        const json_t *value = json_object_get(labels, key);
        if (!json_is_string(value) || !json_equal(value, wanted)) {
            return false;
        }
    }
    return true;
}

struct network_config network_of(const struct network_config *config, const json_t *metadata)
{
    struct network_config out = *config;
    const char *best = NULL;
    size_t labels_of_best = 0;
    const char *domain;
    json_t *selector;
    out.labels = json_object_get(metadata, "labels");
    out.annotations = json_object_get(metadata, "annotations");
    json_object_foreach(config->domains, domain, selector)
    {
        size_t count = json_object_size(selector);
        bool better = best == NULL || count > labels_of_best ||
                      (count == labels_of_best && strcmp(domain, best) < 0);
        if (better && selects(selector, out.labels)) {
            best = domain;
            labels_of_best = count;
        }
    }
    if (best != NULL) {
        slice_copy(slice_str(best), out.domain, sizeof(out.domain));
    }
    return out;
}

bool network_is_local(const struct network_config *config)
{
    return strncmp(config->domain, "svc.", 4) == 0 &&
           strcmp(config->domain + 4, config->cluster_domain) == 0;
}

/* --- addresses ------------------------------------------------------------------------------ */

enum http_protocol http_protocol_of(const json_t *object)
{
    static const char *const enabled[] = {"enabled", NULL};
    static const char *const redirected[] = {"redirected", NULL};
    const json_t *annotations = jpeek_obj(object, "metadata.annotations");
    const char *value =
        config_text(annotations, ANNOTATION_HTTP_PROTOCOL, ANNOTATION_HTTP_PROTOCOL_OLD);
    return value == NULL                      ? HTTP_PROTOCOL_DEFAULT
           : config_one_of(value, redirected) ? HTTP_PROTOCOL_REDIRECTED
           : config_one_of(value, enabled)    ? HTTP_PROTOCOL_ENABLED
                                              : HTTP_PROTOCOL_DEFAULT;
}

void network_tls_url(const struct network_config *config, const char *host, struct strbuf *out)
{
    strbuf_appendf(out, "https://%s", host);
    if (config->external_tls_port != HTTPS_PORT) {
        strbuf_appendf(out, ":%lld", (long long)config->external_tls_port);
    }
}

void network_url(const struct network_config *config, const char *host, struct strbuf *out)
{
    int64_t usual = strcmp(config->scheme, "https") == 0 ? HTTPS_PORT : HTTP_PORT;
    strbuf_appendf(out, "%s://%s", config->scheme, host);
    if (config->external_port != usual && config->external_port != HTTP_PORT) {
        strbuf_appendf(out, ":%lld", (long long)config->external_port);
    }
}

/* A template that passed its trial can still fail for one object, by its length; the usual form
 * then. */
static void print(const char *template, const char *usual, const struct host_values *values,
                  struct strbuf *out)
{
    size_t from = out->len;
    if (host_template_print(slice_str(template), values, out, NULL) < 0) {
        strbuf_truncate(out, from);
        (void)!host_template_print(slice_str(usual), values, out, NULL);
    }
}

void traffic_host(const struct network_config *config, const char *ns, const char *name,
                  const char *tag, struct strbuf *out)
{
    CLEANUP(strbuf_fini) struct strbuf label;
    strbuf_init(&label, TRIAL_MAX);
    if (tag != NULL && tag[0] != '\0') {
        const struct host_values values = {.name = name, .tag = tag};
        print(config->tag_template, TAG_TEMPLATE, &values, &label);
        name = label.ptr;
    }
    const struct host_values values = {.name = name,
                                       .ns = ns,
                                       .domain = config->domain,
                                       .maps = true,
                                       .labels = config->labels,
                                       .annotations = config->annotations};
    /* Knative: what is only inside has the cluster's own form. */
    print(network_is_local(config) ? DOMAIN_TEMPLATE : config->domain_template, DOMAIN_TEMPLATE,
          &values, out);
}
