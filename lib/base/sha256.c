// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: bytes are gathered into blocks of 64; each goes through the 64 rounds of the standard,
 * whose names (a to h, W, the sigmas) are kept. Failure modes: none.
 */
#include "base/sha256.h"

#include <string.h>

#define BLOCK 64u

struct state {
    uint32_t h[8];
    uint64_t bytes;
    unsigned char block[BLOCK];
};

static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static const uint32_t k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotr(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

static uint32_t load(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void store(unsigned char *p, uint32_t n)
{
    p[0] = (unsigned char)(n >> 24);
    p[1] = (unsigned char)(n >> 16);
    p[2] = (unsigned char)(n >> 8);
    p[3] = (unsigned char)n;
}

static void rounds(struct state *s)
{
    uint32_t w[64];
    uint32_t v[8];
    for (unsigned t = 0; t < 16; t++) {
        w[t] = load(s->block + (size_t)4 * t);
    }
    for (unsigned t = 16; t < 64; t++) {
        uint32_t s0 = rotr(w[t - 15], 7) ^ rotr(w[t - 15], 18) ^ w[t - 15] >> 3;
        uint32_t s1 = rotr(w[t - 2], 17) ^ rotr(w[t - 2], 19) ^ w[t - 2] >> 10;
        w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    memcpy(v, s->h, sizeof(v));
    for (unsigned t = 0; t < 64; t++) {
        uint32_t a = v[0];
        uint32_t e = v[4];
        uint32_t s1 = rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25);
        uint32_t t1 = v[7] + s1 + ((e & v[5]) ^ (~e & v[6])) + k[t] + w[t];
        uint32_t s0 = rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22);
        uint32_t t2 = s0 + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof(v[0]));
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (unsigned i = 0; i < 8; i++) {
        s->h[i] += v[i];
    }
}

static void begin(struct state *s)
{
    memcpy(s->h, first, sizeof(s->h));
    s->bytes = 0;
}

static void add(struct state *s, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        s->block[s->bytes++ % BLOCK] = (unsigned char)bytes.ptr[i];
        if (s->bytes % BLOCK == 0) {
            rounds(s);
        }
    }
}

static void end(struct state *s, unsigned char out[static SHA256_BYTES])
{
    unsigned char length[8];
    uint64_t bits = s->bytes * 8;
    store(length, (uint32_t)(bits >> 32));
    store(length + 4, (uint32_t)bits);
    add(s, slice_of("\x80", 1));
    while (s->bytes % BLOCK != BLOCK - sizeof(length)) {
        add(s, slice_of("\0", 1));
    }
    add(s, slice_of((const char *)length, sizeof(length)));
    for (unsigned i = 0; i < 8; i++) {
        store(out + (size_t)4 * i, s->h[i]);
    }
}

static void hash(const unsigned char *head, size_t head_len, const struct slice *parts, size_t n,
                 unsigned char out[static SHA256_BYTES])
{
    struct state s;
    begin(&s);
    add(&s, slice_of((const char *)head, head_len));
    for (size_t i = 0; i < n; i++) {
        add(&s, parts[i]);
    }
    end(&s, out);
}

void sha256(const struct slice *parts, size_t n, unsigned char out[static SHA256_BYTES])
{
    hash(NULL, 0, parts, n, out);
}

void hmac_sha256(struct slice key, const struct slice *parts, size_t n,
                 unsigned char out[static SHA256_BYTES])
{
    unsigned char pad[BLOCK] = {0};
    unsigned char inner[SHA256_BYTES];
    if (key.len > BLOCK) {
        sha256(&key, 1, pad);
    } else if (key.len > 0) {
        memcpy(pad, key.ptr, key.len);
    }
    for (unsigned i = 0; i < BLOCK; i++) {
        pad[i] ^= 0x36;
    }
    hash(pad, BLOCK, parts, n, inner);
    for (unsigned i = 0; i < BLOCK; i++) {
        pad[i] ^= 0x36 ^ 0x5c;
    }
    struct slice of_inner = slice_of((const char *)inner, sizeof(inner));
    hash(pad, BLOCK, &of_inner, 1, out);
}

char *sha256_hex(const unsigned char digest[static SHA256_BYTES], char buf[static SHA256_HEX + 1])
{
    static const char digits[] = "0123456789abcdef";
    for (unsigned i = 0; i < SHA256_BYTES; i++) {
        buf[2 * i] = digits[digest[i] >> 4];
        buf[2 * i + 1] = digits[digest[i] & 15];
    }
    buf[SHA256_HEX] = '\0';
    return buf;
}

bool secret_eq(struct slice a, struct slice b)
{
    volatile unsigned char differs = 0;
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        differs = (unsigned char)(differs | (a.ptr[i] ^ b.ptr[i]));
    }
    return differs == 0;
}
