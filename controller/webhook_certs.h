// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Keeps the webhook's certificates: watches the Secret, makes and renews what it holds, and writes
 * whom to trust (caBundle) into the two webhook configurations. Every replica does the same: of two
 * that write at once one wins, the other takes what the first wrote. Owns: three watches, a timer,
 * the certificates. May not: serve.
 */

#include "loop/timer.h"
#include "kube/cache.h"
#include "controller/certs.h"

struct webhook_certs;

/* The certificates to serve with have come or changed; borrowed during the call. */
typedef void (*webhook_certs_cb)(void *arg, const struct certs *certs);

struct webhook_certs_options {
    struct kube_client *client;
    const char *system_namespace; /* outlives it */
    webhook_certs_cb on_certs;
    void *arg;
};

MUST_CHECK int webhook_certs_start(const struct webhook_certs_options *options,
                                   struct webhook_certs **out, struct error *err);
/* NULL is fine. Then cb; the client is closed after it. */
void webhook_certs_close(struct webhook_certs *w, void (*cb)(void *arg), void *arg);
