// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Whether a web hook comes from who knows a secret: the signatures that GitHub, Stripe and most
 * others send, all of them HMAC-SHA256 of the body in a header. Pure; the time is the caller's.
 *
 *     github   X-Hub-Signature-256: sha256=HEX             of the body
 *     stripe   Stripe-Signature: t=SECONDS,v1=HEX,v1=HEX   of "SECONDS.BODY"; others than v1 do not
 *                                                          count, and SECONDS must be about now
 *     generic  a header of one's own, a prefix, hex or base64, of the body
 */

#include "base/error.h"
#include "base/slice.h"

enum signature_scheme {
    SIGNATURE_NONE, /* anybody may send */
    SIGNATURE_GITHUB,
    SIGNATURE_STRIPE,
    SIGNATURE_GENERIC,
    SIGNATURE_SCHEMES
};

struct signature_rule {
    enum signature_scheme scheme;
    const char *header; /* generic */
    const char *prefix; /* generic; "": none */
    bool base64;        /* generic; else hex */
    int64_t tolerance_s;
};

#define SIGNATURE_TOLERANCE_S 300 /* as Stripe's own libraries have it */

/* "none", "github", …; SIGNATURE_SCHEMES: it is none of them. */
enum signature_scheme signature_scheme_of(struct slice name);
/* The header in which it comes; NULL: in none. */
const char *signature_header(const struct signature_rule *rule);

/*
 * value: of that header (ptr NULL: there was none). Several secrets: any of them counts, so that
 * one can be exchanged for another. ERR_UNAUTHORIZED says why, and nothing of a secret; how long it
 * takes says nothing either.
 */
MUST_CHECK int signature_check(const struct signature_rule *rule, struct slice value,
                               struct slice body, const struct slice *secrets, size_t n_secrets,
                               int64_t now_s, struct error *err);
