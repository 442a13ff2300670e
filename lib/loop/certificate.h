// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Certificates of one's own: a certificate authority and the server certificates that it signs, as
 * PEM texts (P-256). In loop_tls_dep. Owns: nothing but what struct certificate says. May not: read
 * or write files.
 */

#include "base/error.h"
#include "base/slice.h"

struct certificate {
    char *cert_pem; /* owned, both */
    char *key_pem;  /* wiped when freed */
};

/* What a certificate says of itself. Seconds since 1970. */
struct certificate_times {
    int64_t begins_s;
    int64_t ends_s;
};

/* All are valid from a day ago (clocks differ) for lifetime_s from now. out: see fini. */
MUST_CHECK int certificate_make_ca(const char *name, int64_t lifetime_s, struct certificate *out,
                                   struct error *err);
/* alt_names: "DNS:localhost,IP:127.0.0.1". ca->cert_pem may hold several: the first signs. */
MUST_CHECK int certificate_make(const struct certificate *ca, const char *name,
                                const char *alt_names, int64_t lifetime_s, struct certificate *out,
                                struct error *err);
/* Zeroed is fine. */
void certificate_fini(struct certificate *certificate);

/* Of the first certificate in the text. ERR_INVALID: there is none. */
MUST_CHECK int certificate_times(struct slice pem, struct certificate_times *out,
                                 struct error *err);
/* The first certificate of the text is the key's. */
bool certificate_has_key(struct slice cert_pem, struct slice key_pem);
/* It is signed by one of those in ca_pem (at most 16 are looked at). */
bool certificate_signed_by(struct slice cert_pem, struct slice ca_pem);
/* It counts for this host name. */
bool certificate_names(struct slice cert_pem, const char *host);
/* fn for each host name that it counts for, "*.DOMAIN" among them; at most CERTIFICATE_HOSTS_MAX.
   Returns how many. */
#define CERTIFICATE_HOSTS_MAX 256
size_t certificate_hosts(struct slice cert_pem, void (*fn)(void *arg, struct slice host),
                         void *arg);
