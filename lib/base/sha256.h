// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * SHA-256 (FIPS 180-4) and HMAC with it (RFC 2104), for the queue-proxy, which is static and small
 * and has no other use for a crypto library. Who links OpenSSL uses that. Pure.
 */

#include "base/slice.h"

#define SHA256_BYTES 32u
#define SHA256_HEX   64u /* without NUL */

/* SHA-256 of all parts, one behind the other. */
void sha256(const struct slice *parts, size_t n, unsigned char out[static SHA256_BYTES]);
/* HMAC-SHA256 of all parts, one behind the other. */
void hmac_sha256(struct slice key, const struct slice *parts, size_t n,
                 unsigned char out[static SHA256_BYTES]);
/* Lower case, with NUL. Returns buf. */
char *sha256_hex(const unsigned char digest[static SHA256_BYTES], char buf[static SHA256_HEX + 1]);
/* Whether they are equal; the time that it takes tells only whether the lengths are. */
bool secret_eq(struct slice a, struct slice b);
