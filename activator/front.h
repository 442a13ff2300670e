// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * TLS at the public listener: which certificate a client is shown, and whether one in the clear is
 * sent on to HTTPS. Watches the Secrets that the controller keeps for us (label
 * lull.dev/certificate, in a namespace with nothing else in it) and config-network.
 *
 * A certificate that changes counts from the next handshake on; connections stay. One that cannot
 * be read leaves the last good one. Owns: the TLS context, two watches, the certificates. May not:
 * know requests.
 */

#include "base/log.h"
#include "loop/closer.h"
#include "loop/tls.h"
#include "kube/cache.h"
#include "activator/certificates.h"
#include "activator/config.h"
#include "activator/objects.h"

struct front {
    struct loop *loop; /* private, like the rest */
    struct tls_context *context;
    struct certificates table;
    struct network_object network;
    struct kube_cache *secrets;
    struct kube_cache *networks;
    unsigned lists_in;
    uint64_t unreadable; /* Secrets that were left out */
    struct log_limit unnamed;
    void (*synced)(void *arg);
    void *arg;
    struct closer closer;
};

/* Only where config->tls_listen says something. The client outlives it. synced: the first lists are
   in; once. After an error front_close is still needed. */
MUST_CHECK int front_start(struct front *f, struct loop *loop, struct kube_client *client,
                           const struct config *config, void (*synced)(void *arg), void *arg,
                           struct error *err);
/* For the listener; borrowed. */
struct tls_context *front_context(const struct front *f);
/* There is a certificate of this host. */
bool front_covers(const struct front *f, struct slice host);
/* What is wrong with the connection to the API, "" when nothing is. */
const char *front_trouble(const struct front *f);
/* Lines of /metrics; at most max certificates are shown apart. */
void front_write_metrics(const struct front *f, size_t max, struct strbuf *out);
/* Idempotent; cb comes later. The table goes only in front_fini: connections may still be there. */
void front_close(struct front *f, void (*cb)(void *arg), void *arg);
/* After the listeners are closed. Zeroed is fine. */
void front_fini(struct front *f);
