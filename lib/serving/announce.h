// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a queue-proxy says to an activator the moment its function listens, before the platform
 * knows the Pod's address, and how either end proves who it is. Pure: bytes in, bytes out.
 *
 * POST ANNOUNCE_PATH, body (each line ends in one LF, in this order):
 *
 *     lull announcement 1
 *     namespace NAMESPACE
 *     revision NAME
 *     revision-uid UID
 *     pod NAME
 *     pod-uid UID
 *     address IP                 the Pod's, numeric
 *     time MILLISECONDS          since 1970
 *     nonce HEX                  32 digits
 *     code HEX                   HMAC-SHA256(key, "lull announcement" LF | all lines before this
 * one)
 *
 * key: HEX of HMAC-SHA256(install secret, "lull announce key" LF | revision UID): a Revision's
 * replicas have one, and it is of no use for any other Revision.
 *
 * The activator asks back at that address, GET / with K-Network-Probe: queue and
 * ANNOUNCE_CHALLENGE: HEX (32 digits); the answer to a well probe then has ANNOUNCE_PROOF: HEX of
 * HMAC-SHA256(key, "lull proof" LF | challenge LF | Pod UID LF | address LF).
 */

#include "base/error.h"
#include "base/sha256.h"
#include "base/strbuf.h"

#define ANNOUNCE_PATH      "/_lull/announce"
#define ANNOUNCE_CHALLENGE "K-Lull-Challenge"
#define ANNOUNCE_PROOF     "K-Lull-Proof"
#define ANNOUNCE_NONCE     32u   /* hex digits of a nonce, and of a challenge */
#define ANNOUNCE_MAX       1500u /* bytes of a whole announcement */

/* Texts are borrowed from where it was read. */
struct announcement {
    struct slice ns;
    struct slice revision;
    struct slice revision_uid;
    struct slice pod;
    struct slice pod_uid;
    struct slice address;
    struct slice nonce;
    int64_t time_ms;
    struct slice code;    /* set by announcement_read */
    struct slice signed_; /* set by announcement_read: what the code is made of */
};

/* The key of the Revision with this UID. */
void announce_key(struct slice secret, struct slice revision_uid, char out[static SHA256_HEX + 1]);

/* Appends it with its code (which is not looked at in `a`). ERR_TOO_BIG. */
MUST_CHECK int announcement_write(const struct announcement *a, struct slice key,
                                  struct strbuf *out, struct error *err);
/* ERR_INVALID says which line is wrong. Does not look at the code but for its form. */
MUST_CHECK int announcement_read(struct slice text, struct announcement *out, struct error *err);
bool announcement_is_signed(const struct announcement *a, struct slice key);

/* Whether a text has the form of a challenge. */
bool announce_challenge_valid(struct slice challenge);
void announce_proof(struct slice key, struct slice challenge, struct slice pod_uid,
                    struct slice address, char out[static SHA256_HEX + 1]);
