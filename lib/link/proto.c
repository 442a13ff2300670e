// SPDX-License-Identifier: Apache-2.0
/*
 * Frames and proofs. Lengths are looked at before anything else, codes before a frame is given
 * out, and always all of a code's bytes. A failure of OpenSSL itself ends the connection.
 */
#include "link/proto.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>

#include "base/error.h"
#include "base/mem.h"

static void put_u32(unsigned char *out, uint32_t n)
{
    out[0] = (unsigned char)(n >> 24);
    out[1] = (unsigned char)(n >> 16);
    out[2] = (unsigned char)(n >> 8);
    out[3] = (unsigned char)n;
}

static void put_u64(unsigned char *out, uint64_t n)
{
    put_u32(out, (uint32_t)(n >> 32));
    put_u32(out + 4, (uint32_t)n);
}

static uint32_t get_u32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* HMAC(secret, label | nonces) */
static void derive(struct slice secret, const char *label, const struct link_nonces *nonces,
                   unsigned char out[LINK_PROOF_BYTES])
{
    unsigned char text[32 + 2 * LINK_NONCE_BYTES];
    size_t len = strlen(label);
    REQUIRE(len <= 32);
    memcpy(text, label, len);
    memcpy(text + len, nonces->server, LINK_NONCE_BYTES);
    memcpy(text + len + LINK_NONCE_BYTES, nonces->client, LINK_NONCE_BYTES);
    unsigned out_len = 0;
    const unsigned char *done = HMAC(EVP_sha256(), secret.ptr, (int)secret.len, text,
                                     len + 2 * LINK_NONCE_BYTES, out, &out_len);
    REQUIRE(done != NULL && out_len == LINK_PROOF_BYTES);
}

void link_proof(struct slice secret, bool server, const struct link_nonces *nonces,
                unsigned char out[LINK_PROOF_BYTES])
{
    derive(secret, server ? "lull link 1 server" : "lull link 1 client", nonces, out);
}

bool link_proof_ok(const unsigned char *a, const unsigned char *b)
{
    return CRYPTO_memcmp(a, b, LINK_PROOF_BYTES) == 0;
}

static EVP_MAC_CTX *new_mac(struct slice secret, const char *label,
                            const struct link_nonces *nonces)
{
    unsigned char key[LINK_PROOF_BYTES];
    derive(secret, label, nonces, key);
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = mac == NULL ? NULL : EVP_MAC_CTX_new(mac);
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_END};
    if (ctx != NULL && EVP_MAC_init(ctx, key, sizeof(key), params) != 1) {
        EVP_MAC_CTX_free(ctx);
        ctx = NULL;
    }
    EVP_MAC_free(mac);
    OPENSSL_cleanse(key, sizeof(key));
    return ctx;
}

int link_session_begin(struct link_session *session, struct slice secret, bool server,
                       const struct link_nonces *nonces, struct error *err)
{
    EVP_MAC_CTX *of_client = new_mac(secret, "lull link 1 key client", nonces);
    EVP_MAC_CTX *of_server = new_mac(secret, "lull link 1 key server", nonces);
    link_session_fini(session);
    session->send = server ? of_server : of_client;
    session->receive = server ? of_client : of_server;
    if (of_client == NULL || of_server == NULL) {
        link_session_fini(session);
        return error_set(err, ERR_INTERNAL, "link: OpenSSL has no HMAC-SHA256");
    }
    return 0;
}

void link_session_fini(struct link_session *session)
{
    EVP_MAC_CTX_free(session->send);
    EVP_MAC_CTX_free(session->receive);
    *session = (struct link_session){.send = NULL};
}

/* HMAC(key, counter | bytes), cut to LINK_CODE_BYTES. */
static bool code_of(EVP_MAC_CTX *ctx, uint64_t counter, const unsigned char *bytes, size_t len,
                    unsigned char out[LINK_CODE_BYTES])
{
    unsigned char count[8];
    unsigned char full[32];
    size_t full_len = 0;
    put_u64(count, counter);
    if (EVP_MAC_init(ctx, NULL, 0, NULL) != 1 || EVP_MAC_update(ctx, count, sizeof(count)) != 1 ||
        EVP_MAC_update(ctx, bytes, len) != 1 ||
        EVP_MAC_final(ctx, full, &full_len, sizeof(full)) != 1) {
        return false;
    }
    memcpy(out, full, LINK_CODE_BYTES);
    return true;
}

int link_encode(struct link_session *session, uint8_t type, struct slice payload,
                struct strbuf *out, struct error *err)
{
    size_t code_len = session->send == NULL ? 0 : LINK_CODE_BYTES;
    size_t length = LINK_HEAD_BYTES - 4 + payload.len + code_len;
    char *at = payload.len > LINK_LENGTH_MAX || length > LINK_LENGTH_MAX
                   ? NULL
                   : strbuf_reserve(out, 4 + length);
    if (at == NULL) {
        return error_set(err, ERR_TOO_BIG, "link: a frame of %zu bytes is too big", payload.len);
    }
    unsigned char *bytes = (unsigned char *)at;
    put_u32(bytes, (uint32_t)length);
    bytes[4] = LINK_VERSION;
    bytes[5] = type;
    bytes[6] = 0;
    bytes[7] = 0;
    if (payload.len > 0) {
        memcpy(bytes + LINK_HEAD_BYTES, payload.ptr, payload.len);
    }
    if (session->send != NULL) {
        size_t len = LINK_HEAD_BYTES + payload.len;
        if (!code_of(session->send, session->sent, bytes, len, bytes + len)) {
            return error_set(err, ERR_INTERNAL, "link: OpenSSL could not sign a frame");
        }
        session->sent++;
    }
    strbuf_commit(out, 4 + length);
    return 0;
}

int link_decode(struct link_session *session, struct slice in, struct link_frame *out, size_t *used,
                struct error *err)
{
    const unsigned char *bytes = (const unsigned char *)in.ptr;
    size_t code_len = session->receive == NULL ? 0 : LINK_CODE_BYTES;
    if (in.len < 4) {
        return 0;
    }
    size_t length = get_u32(bytes);
    if (length > LINK_LENGTH_MAX) {
        return error_set(err, ERR_TOO_BIG, "link: a frame of %zu bytes is too big", length);
    }
    if (length < LINK_HEAD_BYTES - 4 + code_len) {
        return error_set(err, ERR_PROTOCOL, "link: a frame of %zu bytes is too short", length);
    }
    if (in.len >= LINK_HEAD_BYTES && (bytes[4] != LINK_VERSION || bytes[6] != 0 || bytes[7] != 0)) {
        return error_set(err, ERR_PROTOCOL, "link: not a frame of version %d", LINK_VERSION);
    }
    if (in.len < 4 + length) {
        return 0;
    }
    size_t signed_len = 4 + length - code_len;
    if (session->receive != NULL) {
        unsigned char code[LINK_CODE_BYTES];
        if (!code_of(session->receive, session->received, bytes, signed_len, code) ||
            CRYPTO_memcmp(code, bytes + signed_len, LINK_CODE_BYTES) != 0) {
            return error_set(err, ERR_DENIED, "link: a frame's code is wrong");
        }
        session->received++;
    }
    out->type = bytes[5];
    out->payload = slice_of(in.ptr + LINK_HEAD_BYTES, signed_len - LINK_HEAD_BYTES);
    *used = 4 + length;
    return 1;
}
