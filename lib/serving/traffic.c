// SPDX-License-Identifier: Apache-2.0
/*
 * Hosts, URLs and the rules of a traffic list.
 * Happy path: text is put together from the configuration. Failure modes: a configuration key that
 * does not parse, a list that breaks a rule: ERR_INVALID with the path.
 */
#include "serving/traffic.h"

#include "base/map.h"
#include "base/num.h"
#include "json/jget.h"
#include "serving/names.h"

enum {
    HTTP_PORT = 80,
    HTTPS_PORT = 443,
    TARGETS_MAX = 1000,
    HOST_MAX = 1024,
};

void network_config_init(struct network_config *config)
{
    *config = (struct network_config){
        .domain = "svc.cluster.local",
        .cluster_domain = "cluster.local",
        .external_port = HTTP_PORT,
        .scheme = "http",
    };
}

static int copy_key(const json_t *data, const char *key, char *out, size_t size, struct error *err)
{
    const json_t *value = json_object_get(data, key);
    if (value == NULL) {
        return 0;
    }
    if (!json_is_string(value)) {
        return error_set(err, ERR_INVALID, "%s: must be a string", key);
    }
    if (!slice_copy(slice_str(json_string_value(value)), out, size)) {
        return error_set(err, ERR_INVALID, "%s: longer than %zu bytes", key, size - 1);
    }
    return 0;
}

/* The domain without a selector; the first in order when there are several. */
static int read_domain(struct network_config *next, const json_t *domain, struct error *err)
{
    const char *key;
    json_t *value;
    const char *best = NULL;
    json_object_foreach((json_t *)(uintptr_t)domain, key, value)
    {
        bool plain =
            json_is_string(value) && slice_trim(slice_str(json_string_value(value))).len == 0;
        if (key[0] != '_' && plain && (best == NULL || strcmp(key, best) < 0)) {
            best = key;
        }
    }
    if (best == NULL) {
        return 0;
    }
    if (!name_is_dns1123_subdomain(best)) {
        return error_set(err, ERR_INVALID, "%s: is no domain name", best);
    }
    slice_copy(slice_str(best), next->domain, sizeof(next->domain));
    return 0;
}

int network_config_read(struct network_config *config, const json_t *network, const json_t *domain,
                        struct error *err)
{
    struct network_config next = *config;
    char port[16] = "";
    char seconds[16] = "";
    int rc = copy_key(network, "default-external-scheme", next.scheme, sizeof(next.scheme), err);
    if (rc == 0 && strcmp(next.scheme, "http") != 0 && strcmp(next.scheme, "https") != 0) {
        rc = error_set(err, ERR_INVALID, "default-external-scheme: must be http or https");
    }
    if (rc == 0) {
        rc = copy_key(network, "address-template", next.address_template,
                      sizeof(next.address_template), err);
    }
    if (rc == 0) {
        rc = copy_key(network, "external-port", port, sizeof(port), err);
    }
    if (rc == 0 && port[0] != '\0') {
        rc = num_parse_i64(slice_str(port), 1, 65535, &next.external_port, err);
        rc = rc < 0 ? error_prefix(err, rc, "external-port") : 0;
    }
    const json_t *claims = json_object_get(network, "autocreate-cluster-domain-claims");
    if (rc == 0 && claims != NULL) {
        rc = num_parse_bool(slice_str(json_string_value(claims)), &next.autocreate_claims, err);
        rc = rc < 0 ? error_prefix(err, rc, "autocreate-cluster-domain-claims") : 0;
    }
    if (rc == 0) {
        rc = copy_key(network, "rollout-duration", seconds, sizeof(seconds), err);
    }
    if (rc == 0 && seconds[0] != '\0') {
        rc = num_parse_i64(slice_str(seconds), 0, INT32_MAX, &next.rollout_duration_s, err);
        rc = rc < 0 ? error_prefix(err, rc, "rollout-duration") : 0;
    }
    if (rc == 0) {
        rc = read_domain(&next, domain, err);
    }
    if (rc == 0) {
        *config = next;
    }
    return rc;
}

void traffic_host(const struct network_config *config, const char *ns, const char *name,
                  const char *tag, struct strbuf *out)
{
    if (tag != NULL && tag[0] != '\0') {
        strbuf_appendf(out, "%s-", tag);
    }
    strbuf_appendf(out, "%s.%s.%s", name, ns, config->domain);
}

void network_url(const struct network_config *config, const char *host, struct strbuf *out)
{
    int64_t usual = strcmp(config->scheme, "https") == 0 ? HTTPS_PORT : HTTP_PORT;
    strbuf_appendf(out, "%s://%s", config->scheme, host);
    if (config->external_port != usual && config->external_port != HTTP_PORT) {
        strbuf_appendf(out, ":%lld", (long long)config->external_port);
    }
}

void traffic_url(const struct network_config *config, const char *ns, const char *name,
                 const char *tag, struct strbuf *out)
{
    CLEANUP(strbuf_fini) struct strbuf host;
    strbuf_init(&host, HOST_MAX);
    traffic_host(config, ns, name, tag, &host);
    network_url(config, host.ptr, out);
}

/* The template's {{.Name}} and {{.Namespace}}; other text as it is. */
static void expand(const char *text, const char *ns, const char *name, struct strbuf *out)
{
    while (*text != '\0') {
        if (strncmp(text, "{{.Name}}", 9) == 0) {
            strbuf_append_str(out, name);
            text += 9;
        } else if (strncmp(text, "{{.Namespace}}", 14) == 0) {
            strbuf_append_str(out, ns);
            text += 14;
        } else {
            strbuf_append_char(out, *text++);
        }
    }
}

void traffic_address(const struct network_config *config, const char *ns, const char *name,
                     struct strbuf *out)
{
    if (config->address_template[0] != '\0') {
        expand(config->address_template, ns, name, out);
    } else {
        strbuf_appendf(out, "http://%s.%s.svc.%s", name, ns, config->cluster_domain);
    }
}

/* --- rules
 * ---------------------------------------------------------------------------------------- */
