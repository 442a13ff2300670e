// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What `lull install` puts onto a cluster: the objects of deploy/lull.yaml, which is built in, with
 * the images that are wanted. Pure.
 * Owns: the objects. May not: talk to a cluster.
 */

#include <jansson.h>

#include "base/error.h"
#include "base/strbuf.h"

#define INSTALL_NAMESPACE "lull-system"
/* Copies of certificates; goes with every uninstall. */
#define INSTALL_CERTIFICATES INSTALL_NAMESPACE "-certificates"
#define INSTALL_SECRET       "lull-install"

struct install_set {
    json_t *objects; /* array, in the order in which they are applied */
};

/*
 * The manifests with images REGISTRY/lull-PART:TAG. ERR_INVALID: registry or tag cannot stand in
 * the name of an image.
 */
MUST_CHECK int install_text(const char *registry, const char *tag, struct strbuf *out,
                            struct error *err);
MUST_CHECK int install_set_load(const char *registry, const char *tag, struct install_set *out,
                                struct error *err);
/* A zeroed struct is fine. */
void install_set_fini(struct install_set *set);

/* Stays after an uninstall: the namespace, the kinds, the ConfigMaps. */
bool install_keeps(const json_t *object);
