// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The objects that are always there: namespaces default and the system namespace, and the
 * ConfigMaps config-* in the latter. What a user changed in them stays; only the keys of
 * config-network that say our ports follow the options, and the Secret INGRESS_SECRET is made anew
 * at each start with TLS (named in tls-secrets where nothing else is).
 */

#include "loop/certificate.h"
#include "local/store.h"

#define INGRESS_SECRET "localhost-tls"

struct bootstrap_options {
    struct store *store;
    const char *system_namespace;
    uint16_t public_port;
    uint16_t local_port;
    uint16_t tls_port;                 /* 0: the ingress does not speak TLS */
    const struct certificate *ingress; /* with tls_port: what it shows */
};

typedef void (*bootstrap_cb)(int rc, const struct error *err, void *arg);
/* Zero: cb comes once. */
MUST_CHECK int bootstrap_start(const struct bootstrap_options *options, bootstrap_cb cb, void *arg,
                               struct error *err);
