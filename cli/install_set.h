// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What `lull install` puts onto a cluster: the objects of deploy/lull.yaml, and with a Redis those
 * of deploy/events.yaml beside or in place of them. Both are built in; images and the Redis' Secret
 * are what is wanted. Pure.
 * Owns: the objects. May not: talk to a cluster.
 */

#include <jansson.h>

#include "base/error.h"
#include "base/strbuf.h"

#define INSTALL_NAMESPACE "lull-system"
/* Copies of certificates; goes with every uninstall. */
#define INSTALL_CERTIFICATES INSTALL_NAMESPACE "-certificates"
#define INSTALL_SECRET       "lull-install"
/* Our own Redis: its name, and that of the Secret with its password and URL. */
#define INSTALL_REDIS       "lull-redis"
#define INSTALL_REDIS_KEY   "url"
#define INSTALL_REDIS_IMAGE "docker.io/library/redis:7.2-bookworm"
#define INSTALL_BROKER      "lull-broker"

enum install_events {
    EVENTS_NONE,
    EVENTS_SECRET,  /* the URL of a Redis is in a Secret */
    EVENTS_BUILTIN, /* a Redis of our own */
};

struct install_choice {
    const char *registry, *tag; /* images are REGISTRY/lull-PART:TAG */
    enum install_events events;
    const char *redis_secret, *redis_key; /* EVENTS_SECRET */
    const char *redis_image;              /* EVENTS_BUILTIN */
};

/* Everything that an install may have made. */
extern const struct install_choice INSTALL_ALL;

struct install_set {
    json_t *objects; /* array, in the order in which they are applied */
};

/* ERR_INVALID: a registry, tag, image, Secret or key that cannot have that name. */
MUST_CHECK int install_text(const struct install_choice *choice, struct strbuf *out,
                            struct error *err);
MUST_CHECK int install_set_load(const struct install_choice *choice, struct install_set *out,
                                struct error *err);
/* A zeroed struct is fine. */
void install_set_fini(struct install_set *set);

/* Stays after an uninstall: the namespace, the kinds, the ConfigMaps. */
bool install_keeps(const json_t *object);
