// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The admission webhook: an HTTPS server for the API server's questions. Every replica of the
 * controller serves it, leader or not; the answers are pure (review.h). Owns: the listener, the TLS
 * contexts, the certificates' keeper. May not: write the objects that it is asked about.
 */

#include "http/simple.h"
#include "controller/review.h"
#include "controller/webhook_certs.h"

struct tls_context;

struct webhook_counters {
    uint64_t reviews;   /* answered */
    uint64_t refused;   /* of those: with a refusal, by a rule */
    uint64_t malformed; /* 400: no review */
};

struct webhook_options {
    struct kube_client *client;
    const char *listen; /* IP:PORT */
    const char *system_namespace;
    const struct serving_config *config; /* as it is at each request */
    bool (*synced)(void *arg);           /* before this says true the settings are not known: 503 */
    void *arg;
};

struct webhook {
    struct webhook_options options; /* private, all but counters */
    struct http_simple *http;
    struct tls_context *tls; /* NULL: no certificate yet */
    struct webhook_certs *certs;
    struct webhook_counters counters;
    bool listening;
    size_t n_open;
    void (*close_cb)(void *arg);
    void *close_arg;
};

/* Listens as soon as there is a certificate. */
MUST_CHECK int webhook_start(struct webhook *w, struct loop *loop,
                             const struct webhook_options *options, struct error *err);
/* Whether it answers. */
bool webhook_ready(const struct webhook *w);
/* A zeroed webhook is fine. cb from the loop or at once; the client is closed after it. */
void webhook_close(struct webhook *w, void (*cb)(void *arg), void *arg);
