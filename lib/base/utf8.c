// SPDX-License-Identifier: Apache-2.0
/* Most texts are ASCII: eight bytes at a time are passed over as long as they are. */
#include "base/utf8.h"

#define HIGH_BITS 0x8080808080808080ull

size_t utf8_len(const char *text, size_t n)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t len = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (len == 1) {
        return 1;
    }
    if (p[0] < 0xc2 || p[0] > 0xf4 || len > n) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool outside = (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf4 && p[1] > 0x8f);
    return overlong || outside ? 0 : len;
}

uint32_t utf8_code(const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text;
    uint32_t code = len == 1 ? p[0] : p[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        code = code << 6 | (p[i] & 0x3fu);
    }
    return code;
}

size_t utf8_ascii(struct slice text)
{
    size_t i = 0;
    for (uint64_t word; text.len - i >= sizeof(word); i += sizeof(word)) {
        memcpy(&word, text.ptr + i, sizeof(word));
        if ((word & HIGH_BITS) != 0) {
            break;
        }
    }
    while (i < text.len && (unsigned char)text.ptr[i] < 0x80) {
        i++;
    }
    return i;
}

bool utf8_valid(struct slice text)
{
    for (;;) {
        text = slice_sub(text, utf8_ascii(text), text.len);
        if (text.len == 0) {
            return true;
        }
        size_t len = utf8_len(text.ptr, text.len);
        if (len == 0) {
            return false;
        }
        text = slice_sub(text, len, text.len);
    }
}

size_t utf8_count(struct slice text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        n += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    }
    return n;
}

size_t utf8_put(char *out, uint32_t code)
{
    static const unsigned char marks[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    out[0] = (char)(marks[len == 1 ? 0 : len] | code);
    return len;
}
