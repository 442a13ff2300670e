// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The webhook's certificates as the Secret lull-webhook-certs keeps them: whom the API server is to
 * trust, and the server's certificate with its key. Pure but for the making of keys. Owns: the
 * texts. May not: talk to the API.
 *
 * Nothing is ever cut over: a server certificate is renewed long before its end by the authority
 * that is trusted already; a new authority is trusted beside the old one for months before it signs
 * anything.
 */

#include <jansson.h>

#include "base/error.h"
#include "loop/certificate.h"

enum {
    CERTS_LEAF_S = 90 * 24 * 3600,
    CERTS_LEAF_RENEW_S = 30 * 24 * 3600, /* so long before its end */
    CERTS_CA_RENEW_S = 180 * 24 * 3600,
    CERTS_CA_REST_S = 24 * 3600, /* so long a new authority signs nothing */
};
#define CERTS_CA_S (10LL * 365 * 24 * 3600)

struct certs {
    struct certificate ca;     /* cert_pem: all that are trusted, newest first */
    struct certificate server; /* signed by one of them */
};

enum certs_need {
    CERTS_FINE,
    CERTS_SERVER, /* a new server certificate */
    CERTS_CA,     /* one more authority */
    CERTS_ALL,    /* both, anew: what is there is of no use */
};

/* The host name that the API server calls: the first of the server's. */
void certs_host(const char *ns, char *out, size_t size);
/* From a Secret (borrowed). ERR_INVALID: something is missing or no PEM; out is zeroed then. */
MUST_CHECK int certs_read(const json_t *secret, struct certs *out, struct error *err);
enum certs_need certs_need(const struct certs *certs, const char *ns, int64_t now_s);
/* Makes what is needed in place. Trusted authorities that have ended are dropped. */
MUST_CHECK int certs_renew(struct certs *certs, enum certs_need need, const char *ns, int64_t now_s,
                           struct error *err);
/* The Secret with these in its data: a new one, or secret (borrowed, may be NULL) changed. */
json_t *certs_secret(const struct certs *certs, const char *ns, const json_t *secret);
void certs_fini(struct certs *certs);
