// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Traffic: from a Route's spec and the revisions of its Configurations to status.traffic, and the
 * host names under which it is reached. Pure.
 * Owns: nothing. May not: read a cache; the caller brings a lookup.
 */

#include <jansson.h>

#include "base/error.h"
#include "base/strbuf.h"

/* What config-network and config-domain say about addresses. */
struct network_config {
    char domain[254];           /* of public host names; "localhost" on one machine */
    char cluster_domain[254];   /* "cluster.local" */
    int64_t external_port;      /* added to URLs when not 80 (443 with https) */
    char scheme[8];             /* default-external-scheme */
    bool autocreate_claims;     /* autocreate-cluster-domain-claims */
    int64_t rollout_duration_s; /* rollout-duration: of a gradual rollout; 0: at once */
    char address_template[512]; /* of status.address.url; "": http://NAME.NS.svc.CLUSTERDOMAIN */
};
/* Knative's defaults: without config-domain the domain is svc.CLUSTERDOMAIN. */
void network_config_init(struct network_config *config);
/* data of config-network and of config-domain; each may be NULL. ERR_INVALID names the key. */
MUST_CHECK int network_config_read(struct network_config *config, const json_t *network,
                                   const json_t *domain, struct error *err);

/* "http://hello.default.localhost:8080", with a tag "http://TAG-hello…". tag NULL or "": none. */
void traffic_url(const struct network_config *config, const char *ns, const char *name,
                 const char *tag, struct strbuf *out);
/* "http://HOST", with the port where it is not the usual one. */
void network_url(const struct network_config *config, const char *host, struct strbuf *out);
/* "hello.default.localhost": no scheme, no port. */
void traffic_host(const struct network_config *config, const char *ns, const char *name,
                  const char *tag, struct strbuf *out);
/* status.address.url */
void traffic_address(const struct network_config *config, const char *ns, const char *name,
                     struct strbuf *out);

/* The rules of a Route's traffic. path: where the list stands ("spec.traffic"), for the messages.
 */
MUST_CHECK int traffic_validate(const json_t *traffic, const char *path, struct error *err);
