// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a client needs to trust and be trusted: the self-made CA and server certificate, the bearer
 * token, and the kubeconfig that carries them. Blocking; for start-up. All secret files are 0600.
 */

#include <stdint.h>

#include "base/error.h"
#include "loop/certificate.h"

struct pki {
    char *ca_file; /* all owned */
    char *cert_file;
    char *key_file;
    char *token;
};

/*
 * Makes what is absent below `home`: pki/ca.crt, pki/ca.key, pki/server.crt, pki/server.key, token.
 * A certificate that ends within 30 days, or cannot be read, or does not fit its key, is made
 * again.
 */
MUST_CHECK int pki_init(struct pki *pki, const char *home, struct error *err);
void pki_fini(struct pki *pki);

/*
 * A certificate for the public ingress of this machine, signed by our authority: localhost,
 * functions of the namespace default, 127.0.0.1. The caller frees it with certificate_fini.
 */
MUST_CHECK int pki_make_ingress(const struct pki *pki, const char *home, struct certificate *out,
                                struct error *err);

/* Writes home/kubeconfig for https://127.0.0.1:port, when it says something else. */
MUST_CHECK int pki_write_kubeconfig(const struct pki *pki, const char *home, uint16_t port,
                                    const char *user, struct error *err);
