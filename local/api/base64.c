// SPDX-License-Identifier: Apache-2.0

/* Three bytes to four letters, the rest padded with '='. */

#include "local/api/base64.h"

#include "base/strbuf.h"

json_t *base64_json(struct slice in)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, in.len / 3 * 4 + 8);
    const unsigned char *p = (const unsigned char *)in.ptr;
    for (size_t i = 0; i < in.len; i += 3) {
        size_t left = in.len - i;
        unsigned n = (unsigned)p[i] << 16 | (left > 1 ? (unsigned)p[i + 1] << 8 : 0) |
                     (left > 2 ? (unsigned)p[i + 2] : 0);
        char four[4] = {alphabet[n >> 18 & 63], alphabet[n >> 12 & 63],
                        left > 1 ? alphabet[n >> 6 & 63] : '=', left > 2 ? alphabet[n & 63] : '='};
        (void)strbuf_append(&out, four, 4);
    }
    return json_stringn(out.ptr, out.len);
}
