// SPDX-License-Identifier: Apache-2.0
/* Three bytes to four letters, the rest padded with '='. What has failed adds nothing more. */
#include "base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_append(struct strbuf *out, struct slice bytes)
{
    const unsigned char *p = (const unsigned char *)bytes.ptr;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        unsigned n = (unsigned)p[i] << 16 | (left > 1 ? (unsigned)p[i + 1] << 8 : 0) |
                     (left > 2 ? (unsigned)p[i + 2] : 0);
        char four[4] = {alphabet[n >> 18 & 63], alphabet[n >> 12 & 63],
                        left > 1 ? alphabet[n >> 6 & 63] : '=', left > 2 ? alphabet[n & 63] : '='};
        (void)strbuf_append(out, four, 4);
    }
}

static int value_of(char c)
{
    const char *at = c == '\0' ? NULL : strchr(alphabet, c);
    return at == NULL ? -1 : (int)(at - alphabet);
}

static bool is_space(char c)
{
    return c == '\n' || c == '\r' || c == ' ' || c == '\t';
}

int base64_decode(struct slice text, struct strbuf *out, struct error *err)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t digits = 0, padding = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        int value = value_of(c);
        if (is_space(c)) {
            continue;
        }
        digits++;
        padding += c == '=';
        if (c == '=' ? padding > 2 : value < 0 || padding > 0) {
            return error_set(err, ERR_INVALID, "no base64: byte %zu", i);
        }
        if (c == '=') {
            continue;
        }
        bits = (bits << 6 | (uint32_t)value) & 0xffffff;
        have += 6;
        if (have >= 8) {
            have -= 8;
            (void)strbuf_append_char(out, (char)(uint8_t)(bits >> have));
        }
    }
    if (digits % 4 != 0) {
        return error_set(err, ERR_INVALID, "no base64: it ends too early");
    }
    return strbuf_ok(out) ? 0 : error_set(err, ERR_TOO_BIG, "more than %zu bytes", out->max);
}
