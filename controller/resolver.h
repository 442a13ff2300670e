// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Fixes the images of a Revision by their digests, in the background: pull secrets of the Revision
 * and of its service account, then one question to a registry per image. Owns: the work under way
 * and what came of it, until it is forgotten. May not: write objects.
 */

#include "kube/client.h"
#include "controller/reconcile.h"

struct resolver;

struct resolver_options {
    struct kube_client *client;
    const char *ca_file;             /* who vouches for registries; "": the system's authorities */
    const struct settings *settings; /* as they are at each question */
    /* Something is known now: ask again. */
    void (*on_done)(void *arg, const char *ns, const char *revision);
    void *arg;
};

MUST_CHECK int resolver_new(struct loop *loop, const struct resolver_options *options,
                            struct resolver **out, struct error *err);
/* For struct reconcile_env. Begins when it has not begun yet, and again some time after a failure.
 */
void resolver_ask(struct resolver *r, const json_t *revision, struct digests *out);
void resolver_forget(struct resolver *r, const char *ns, const char *revision);
/* NULL is fine. What is under way ends first; cb (may be NULL) then. The client is closed after. */
void resolver_close(struct resolver *r, void (*cb)(void *arg), void *arg);
