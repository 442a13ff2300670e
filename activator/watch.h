// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Feeds the handler from the API: Routes and DomainMappings into its route table, Revisions and
 * their Pods into its throttler. Owns five list-watch caches and what they project; knows nothing
 * of requests.
 *
 * While the API is away everything stays as it was last seen.
 */

#include "loop/closer.h"
#include "kube/cache.h"
#include "activator/announce.h"
#include "activator/handler.h"
#include "activator/prober.h"

struct watch_options {
    struct kube_client *client; /* outlives the watch */
    struct handler *handler;    /* outlives the watch */
    const struct config *config;
    void (*synced)(void *arg); /* the first lists are in; once; may be NULL */
    void *arg;
};

struct watch {
    struct handler *handler; /* private, like the rest */
    const struct config *config;
    struct kube_cache *routes;
    struct kube_cache *revisions;
    struct kube_cache *pods;
    struct kube_cache *features;
    struct kube_cache *domains;
    struct prober prober;
    unsigned lists_in;
    void (*synced)(void *arg);
    void *arg;
    struct closer closer;
};

MUST_CHECK int watch_start(struct watch *w, const struct watch_options *options, struct error *err);
/* How announcements see what the watch knows; before watch_start is fine. */
void watch_announce_hooks(struct watch *w, struct announce_hooks *out);
/* The first lists are in. */
bool watch_synced(const struct watch *w);
/* What is wrong with the connection to the API, "" when nothing is. */
const char *watch_trouble(const struct watch *w);
/* Idempotent; cb comes later. Also after a start that failed. */
void watch_close(struct watch *w, void (*cb)(void *arg), void *arg);
