// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The values of Secrets that a source names: read one by one through the API (so that the right to
 * get them is enough), again now and then, and sooner when the owner has a reason. Owns: the
 * values, which are wiped when they go. May not: log one.
 */

#include "kube/client.h"
#include "broker/source_object.h"

struct source_secret; /* private */

struct source_secrets {
    struct kube_client *client;                      /* private */
    char *ns;                                        /* private */
    struct source_secret *items[SOURCE_SECRETS_MAX]; /* private */
    size_t n;                                        /* private */
    uint64_t due_ms;                                 /* private */
    void (*on_change)(void *arg); /* a value has changed; NULL: nobody wants to know */
    void *arg;
};

void source_secrets_init(struct source_secrets *s, struct kube_client *client, const char *ns);
/* Another list; values of those that stay are kept. */
void source_secrets_use(struct source_secrets *s, const struct secret_ref *refs, size_t n);
void source_secrets_fini(struct source_secrets *s);

/* Now and then; crowd: how many of its kind there are, which read more seldom then. */
void source_secrets_tick(struct source_secrets *s, uint64_t now_ms, size_t crowd);
/* Perhaps they have changed: they are read soon, but at most every few seconds. */
void source_secrets_doubt(struct source_secrets *s, uint64_t now_ms);

/* Those that are known, at most SOURCE_SECRETS_MAX; borrowed until the next turn. */
size_t source_secrets_values(const struct source_secrets *s, struct slice out[static 1]);
/* Why one is not known; NULL: all are. */
const char *source_secrets_trouble(const struct source_secrets *s);
