// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * ConfigMaps config-network and config-domain: how functions are addressed from outside. Pure.
 * Owns: the domains. Copies made by network_of borrow them.
 */

#include <jansson.h>

#include "base/error.h"
#include "base/strbuf.h"

#define CLUSTER_DOMAIN "cluster.local"

#define DOMAINS_MAX  256
#define TEMPLATE_MAX 512
#define HOST_ROOM    254 /* a DNS name, with its NUL */

struct network_config {
    char domain[254];               /* without config-domain: svc.CLUSTERDOMAIN; see network_of */
    char cluster_domain[254];       /* "cluster.local" */
    int64_t external_port;          /* added to URLs when not 80 (443 with https) */
    char scheme[8];                 /* default-external-scheme */
    int64_t external_tls_port;      /* likewise with https, when not 443 */
    bool redirects;                 /* http-protocol: Redirected */
    bool external_tls;              /* external-domain-tls */
    char tls_secrets[TEMPLATE_MAX]; /* tls-secrets: names in the system namespace, by comma */
    bool autocreate_claims;         /* autocreate-cluster-domain-claims */
    int64_t rollout_duration_s;     /* rollout-duration: of a gradual rollout; 0: at once */
    char address_template[TEMPLATE_MAX]; /* of status.address.url; "": http://NAME.NS.svc.DOMAIN */
    char domain_template[TEMPLATE_MAX];  /* domain-template */
    char tag_template[TEMPLATE_MAX];     /* tag-template */
    char gateway_kind[16];               /* gateway-kind: "Ingress", "HTTPRoute" or "" */
    char gateway_class[254];             /* gateway-ingress-class */
    int64_t gateway_port;                /* gateway-backend-port: of the public ingress, inside */
    json_t *gateway_parents;             /* gateway-parent-refs: of HTTPRoutes; owned, NULL: none */
    json_t *gateway_annotations;         /* gateway-annotations; owned, NULL: none */
    json_t *domains;           /* config-domain: domain -> labels that a Route must have; owned */
    const json_t *labels;      /* private: of the Route that this copy is for; borrowed */
    const json_t *annotations; /* private: likewise */
};

/* Knative's defaults. */
void network_config_init(struct network_config *config);
void network_config_fini(struct network_config *config);
/* The data of config-network; NULL: the defaults again. ERR_INVALID names the key; nothing has
 * changed then. What config-domain said stays in any case. */
MUST_CHECK int network_config_read(struct network_config *config, const json_t *data,
                                   struct error *err);
/* The data of config-domain likewise: each value is empty or YAML (JSON) with a selector. */
MUST_CHECK int domain_config_read(struct network_config *config, const json_t *data,
                                  struct error *err);

/*
 * The settings for one object (a Route): its domain is chosen, its labels and annotations are there
 * for the templates. Borrows from config and metadata. The most specific selector that fits has the
 * domain; of equals the first in order.
 */
struct network_config network_of(const struct network_config *config, const json_t *metadata);
/* The chosen domain is the cluster's own: not to be reached from outside. */
bool network_is_local(const struct network_config *config);

/* What the annotation networking.knative.dev/http-protocol says of an object's requests in the
 * clear. */
enum http_protocol { HTTP_PROTOCOL_DEFAULT, HTTP_PROTOCOL_ENABLED, HTTP_PROTOCOL_REDIRECTED };
/* object with its metadata; what is no known word is as if absent. */
enum http_protocol http_protocol_of(const json_t *object);

/* "https://HOST", with the port where it is not 443. */
void network_tls_url(const struct network_config *config, const char *host, struct strbuf *out);
/* "http://HOST", with the port where it is not the usual one. */
void network_url(const struct network_config *config, const char *host, struct strbuf *out);
