// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What an image's name, a registry's challenge and a pull secret say. Pure; owns nothing.
 */

#include <jansson.h>

#include "base/error.h"
#include "base/strbuf.h"

struct image_ref {
    char registry[256]; /* "index.docker.io" where the name has none */
    char repository[256];
    char tag[130];   /* "latest" where the name has none */
    bool has_digest; /* the name is fixed already */
    bool near;       /* of this machine or a private network: may speak plain HTTP */
};

/* ERR_INVALID: it is no image's name. */
MUST_CHECK int image_ref_parse(const char *image, struct image_ref *out, struct error *err);
/* Whether the registry is in a comma-separated list. */
bool image_ref_listed(const struct image_ref *ref, const char *list);

/* The header WWW-Authenticate of a 401. */
struct image_challenge {
    bool basic;
    bool bearer;
    char realm[1024]; /* URL of the token service; bearer only, all three */
    char service[256];
    char scope[512];
};
void image_challenge_parse(struct slice header, struct image_challenge *out);
/* The URL that gives the token; scope: asked for where the challenge names none. */
MUST_CHECK int image_token_url(const struct image_challenge *challenge, const char *scope,
                               struct strbuf *out, struct error *err);

/* base64 of "user:password" for the registry out of a Secret of type dockerconfigjson or dockercfg:
 * 0, or ERR_NOT_FOUND. */
MUST_CHECK int image_credentials(const json_t *secret, const char *registry, struct strbuf *out,
                                 struct error *err);

/* "sha256:" and 64 hex digits. */
bool image_digest_valid(struct slice digest);
