// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A certificate with its chain and its key, read once and shown in any number of handshakes: for
 * servers that choose among several (loop/tls.h, `choose`). In loop_tls_dep.
 * Owns: what was read. May not: look at names or dates (loop/certificate.h does).
 */

#include "base/error.h"
#include "base/slice.h"

struct tls_identity;

/*
 * From PEM texts: the certificate first, then its chain. ERR_INVALID: one is missing or no PEM, the
 * key needs a password or is another certificate's, or a key is too short to be used at all.
 */
MUST_CHECK int tls_identity_new(struct slice cert_pem, struct slice key_pem,
                                struct tls_identity **out, struct error *err);
/* Handshakes that have been shown it are not touched. NULL is fine. */
void tls_identity_free(struct tls_identity *identity);
