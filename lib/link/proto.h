// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The bytes of a link. Pure: bytes in, bytes out.
 *
 * Frame:  u32 length | u8 version = 1 | u8 type | u16 0 | payload | code
 *         Big endian. length counts what follows it. code is there on TCP only, once the
 *         handshake is done: the first 16 bytes of HMAC-SHA256(key, u64 counter | frame without
 *         the code), with a key and a counter for each direction, so a frame cannot be changed,
 *         repeated, left out, or moved to another connection.
 *
 * Handshake on TCP (types 240..242, without a code):
 *         server → CHALLENGE  server nonce (32)
 *         client → RESPONSE   client nonce (32) | HMAC(secret, "lull link 1 client" | nonces)
 *         server → WELCOME    HMAC(secret, "lull link 1 server" | nonces)
 * Both ends have then shown that they know the secret. Keys: HMAC(secret, "lull link 1 key
 * client" | nonces) for what the client sends, "… key server" for the server. nonces: the server's,
 * then the client's.
 */

#include <openssl/types.h>

#include "base/error.h"
#include "base/strbuf.h"

#define LINK_VERSION     1
#define LINK_HEAD_BYTES  8u
#define LINK_CODE_BYTES  16u
#define LINK_NONCE_BYTES 32u
#define LINK_PROOF_BYTES 32u
#define LINK_LENGTH_MAX  (1u << 20) /* of the length field */
#define LINK_SECRET_MIN  16u

enum link_control { LINK_CHALLENGE = 240, LINK_RESPONSE = 241, LINK_WELCOME = 242 };

struct link_nonces {
    unsigned char server[LINK_NONCE_BYTES];
    unsigned char client[LINK_NONCE_BYTES];
};

/* The state of one connection's frames. Zeroed: no codes (unix sockets, and the handshake). */
struct link_session {
    EVP_MAC_CTX *send; /* owned; NULL: no codes */
    EVP_MAC_CTX *receive;
    uint64_t sent;
    uint64_t received;
};

struct link_frame {
    uint8_t type;
    struct slice payload; /* borrowed from the input */
};

/* The client's or the server's proof. */
void link_proof(struct slice secret, bool server, const struct link_nonces *nonces,
                unsigned char out[LINK_PROOF_BYTES]);
bool link_proof_ok(const unsigned char *a, const unsigned char *b);

/* From now on every frame has a code. */
MUST_CHECK int link_session_begin(struct link_session *session, struct slice secret, bool server,
                                  const struct link_nonces *nonces, struct error *err);
void link_session_fini(struct link_session *session);

/* Appends the frame to out. ERR_TOO_BIG. */
MUST_CHECK int link_encode(struct link_session *session, uint8_t type, struct slice payload,
                           struct strbuf *out, struct error *err);
/*
 * Looks at the start of in. 1: *out is a frame, *used its bytes. 0: more bytes are needed.
 * ERR_PROTOCOL, ERR_TOO_BIG, ERR_DENIED (wrong code): the connection is of no use any more.
 */
MUST_CHECK int link_decode(struct link_session *session, struct slice in, struct link_frame *out,
                           size_t *used, struct error *err);
