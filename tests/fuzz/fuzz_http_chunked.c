// SPDX-License-Identifier: Apache-2.0
/*
 * A chunked body. Whatever was accepted is read again by a strict reader of its own below: the same
 * body, the same end.
 */
#include "http_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char head_text[] = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

static int hex(char c)
{
    return c >= '0' && c <= '9'                     ? c - '0'
           : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                    : -1;
}

/* The position behind the CRLF of the line that starts at `at`; 0 when there is none. */
static size_t line_end(struct slice s, size_t at)
{
    for (; at + 1 < s.len; at++) {
        if (s.ptr[at] == '\n') {
            return 0;
        }
        if (s.ptr[at] == '\r') {
            return s.ptr[at + 1] == '\n' ? at + 2 : 0;
        }
    }
    return 0;
}

/* RFC 9112, 7.1, to the letter. Returns the length of the whole; 0: not well formed. */
static size_t strict(struct slice s, struct strbuf *body)
{
    size_t at = 0;
    for (;;) {
        uint64_t n = 0;
        size_t digits = 0;
        while (at < s.len && hex(s.ptr[at]) >= 0) {
            n = n * 16 + (uint64_t)hex(s.ptr[at]);
            at++;
            if (n > s.len) {
                return 0;
            }
            digits++;
        }
        if (digits == 0 || at >= s.len || (s.ptr[at] != ';' && s.ptr[at] != '\r')) {
            return 0;
        }
        at = line_end(s, at);
        if (at == 0) {
            return 0;
        }
        if (n == 0) {
            break;
        }
        if (s.len - at < n + 2 || s.ptr[at + n] != '\r' || s.ptr[at + n + 1] != '\n') {
            return 0;
        }
        strbuf_append(body, s.ptr + at, n);
        at += n + 2;
    }
    for (;;) { /* trailers */
        size_t end = line_end(s, at);
        if (end == 0 || end - at == 2) {
            return end;
        }
        at = end;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct strbuf text;
    struct strbuf body;
    struct fuzz_seen whole;
    struct fuzz_seen bytes;
    strbuf_init(&text, size + sizeof(head_text));
    strbuf_init(&body, size);
    strbuf_append_str(&text, head_text);
    strbuf_append(&text, data, size);
    size_t head_len = text.len - size;
    fuzz_both(&whole, &bytes, HTTP_REQUEST, (const uint8_t *)text.ptr, text.len);
    if (whole.result == H1_DONE) {
        size_t len = strict(slice_of((const char *)data, size), &body);
        FUZZ_CHECK(len > 0 && len + head_len == whole.used);
        FUZZ_CHECK(slice_eq(strbuf_slice(&body), strbuf_slice(&whole.body)));
    }
    fuzz_free(&whole);
    fuzz_free(&bytes);
    strbuf_fini(&text);
    strbuf_fini(&body);
    return 0;
}
