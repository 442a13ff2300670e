// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Asks a registry (OCI distribution API) for the digest that a tag stands for. Owns: the requests
 * under way. May not: know Kubernetes.
 */

#include "fetch/fetch.h"
#include "controller/image.h"

struct registry_call;

/* Exactly once, from the loop. digest: "sha256:…", borrowed; empty with an error. */
typedef void (*registry_cb)(void *arg, struct slice digest, const struct error *err);

struct registry_spec {
    const struct image_ref *ref; /* copied */
    const char *auth;            /* base64 of user:password, NULL: none; copied */
    uint64_t timeout_ms;         /* in all */
    registry_cb cb;
    void *arg;
};

MUST_CHECK int registry_ask(struct fetch *fetch, struct loop *loop,
                            const struct registry_spec *spec, struct error *err);
