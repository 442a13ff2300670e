// SPDX-License-Identifier: Apache-2.0
/*
 * MD5 as RFC 1321 describes it, over one block of memory at a time: whole blocks first, then the
 * padded tail. Nothing can fail.
 */
#include "serving/md5.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const uint8_t shifts[64] = {7, 12, 17, 22, 7, 12, 17, 22, 7, 12, 17, 22, 7, 12, 17, 22,
                                   5, 9,  14, 20, 5, 9,  14, 20, 5, 9,  14, 20, 5, 9,  14, 20,
                                   4, 11, 16, 23, 4, 11, 16, 23, 4, 11, 16, 23, 4, 11, 16, 23,
                                   6, 10, 15, 21, 6, 10, 15, 21, 6, 10, 15, 21, 6, 10, 15, 21};

static uint32_t rotate(uint32_t x, unsigned n)
{
    return (x << n) | (x >> (32 - n));
}

/* The constant of step i: the integer part of 2^32 * |sin(i + 1)|. */
static uint32_t sine(unsigned i)
{
    return (uint32_t)(fabs(sin((double)(i + 1))) * 4294967296.0);
}

static void md5_block(uint32_t state[4], const uint8_t *block)
{
    uint32_t words[16];
    for (unsigned i = 0; i < 16; i++) {
        words[i] = (uint32_t)block[4 * i] | (uint32_t)block[4 * i + 1] << 8 |
                   (uint32_t)block[4 * i + 2] << 16 | (uint32_t)block[4 * i + 3] << 24;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    for (unsigned i = 0; i < 64; i++) {
        uint32_t f = 0;
        unsigned g = 0;
        switch (i / 16) {
        case 0:
            f = (b & c) | (~b & d);
            g = i;
            break;
        case 1:
            f = (d & b) | (~d & c);
            g = (5 * i + 1) % 16;
            break;
        case 2:
            f = b ^ c ^ d;
            g = (3 * i + 5) % 16;
            break;
        default:
            f = c ^ (b | ~d);
            g = (7 * i) % 16;
            break;
        }
        uint32_t next = b + rotate(a + f + sine(i) + words[g], shifts[i]);
        a = d;
        d = c;
        c = b;
        b = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
}

void md5_hex(const void *data, size_t len, char out[static 33])
{
    const uint8_t *bytes = data;
    uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    size_t done = 0;
    for (; len - done >= 64; done += 64) {
        md5_block(state, bytes + done);
    }
    uint8_t tail[128] = {0};
    size_t rest = len - done;
    memcpy(tail, bytes + done, rest);
    tail[rest] = 0x80;
    size_t tail_len = rest < 56 ? 64 : 128;
    uint64_t bits = (uint64_t)len * 8;
    for (unsigned i = 0; i < 8; i++) {
        tail[tail_len - 8 + i] = (uint8_t)(bits >> (8 * i));
    }
    for (size_t i = 0; i < tail_len; i += 64) {
        md5_block(state, tail + i);
    }
    for (unsigned i = 0; i < 16; i++) {
        snprintf(out + 2 * i, 3, "%02x", (unsigned)(uint8_t)(state[i / 4] >> (8 * (i % 4))));
    }
}
