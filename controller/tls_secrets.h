// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The users' TLS Secrets that DomainMappings and config-network name, read one by one and again
 * every few seconds: the controller may get a Secret by its name, but neither list nor watch those
 * of all namespaces. Owns: what was read, of Secrets that somebody still asks for. May not: write.
 */

#include "kube/client.h"
#include "controller/reconcile.h"

struct tls_secrets;

struct tls_secrets_options {
    struct kube_client *client;
    uint64_t check_ms; /* so often is a Secret looked at again */
    /* It is another than before, or another thing is wrong with it. */
    void (*on_change)(void *arg, const char *ns, const char *name);
    void *arg;
};

struct tls_secrets *tls_secrets_new(struct loop *loop, const struct tls_secrets_options *options);
/* For struct reconcile_env: what is known now; what is old is read again in the background. */
void tls_secrets_ask(struct tls_secrets *t, const char *ns, const char *name,
                     struct tls_secret *out);
/* Secrets that are asked for, and those among them with which something is wrong. */
void tls_secrets_count(const struct tls_secrets *t, size_t *out_all, size_t *out_bad);
/* NULL is fine. What is under way ends first; cb (may be NULL) then. The client is closed after. */
void tls_secrets_close(struct tls_secrets *t, void (*cb)(void *arg), void *arg);
